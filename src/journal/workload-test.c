// SPDX-License-Identifier: Apache-2.0
#include "journal/workload-test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

/* ---- The script ---- */

static const struct hf_workload_step one_round[] = {
    {.op = WORK_CAPTURED, .argument = 4},
    {.op = WORK_SYNC},
    {.op = WORK_CAPTURED, .argument = 6},
    {.op = WORK_MARK},
    {.op = WORK_SYNC},
    {.op = WORK_PASS_BEGIN},
    {.op = WORK_PASS, .argument = 5},
    {.op = WORK_CAPTURED, .argument = 5},
    {.op = WORK_SYNC},
    {.op = WORK_PASS, .argument = 8},
    {.op = WORK_PASS, .argument = 2},
    {.op = WORK_CAPTURED, .argument = 8},
    {.op = WORK_CAPTURED, .argument = 8},
    {.op = WORK_SYNC},
    {.op = WORK_SEAL},
    {.op = WORK_CAPTURED, .argument = 3},
    {.op = WORK_PASS, .argument = 3},
    {.op = WORK_PASS_END},
    {.op = WORK_SYNC},
    {.op = WORK_DROP, .argument = 12000},
    {.op = WORK_CAPTURED, .argument = 7},
    {.op = WORK_REOPEN},
    {.op = WORK_CAPTURED, .argument = 3},
    {.op = WORK_SYNC},
    {.op = WORK_MARK},
    {.op = WORK_STREAM, .argument = 2},
    {.op = WORK_CAPTURED, .argument = 5},
    {.op = WORK_SYNC},
    {.op = WORK_PASS_BEGIN},
    {.op = WORK_PASS, .argument = 4},
    {.op = WORK_SYNC},
    {.op = WORK_PASS_BEGIN}, /* the pass before is overtaken */
    {.op = WORK_PASS, .argument = 4},
    {.op = WORK_SYNC},
    {.op = WORK_SEAL},
    {.op = WORK_DROP, .argument = 0},
    {.op = WORK_REOPEN},
    {.op = WORK_PASS, .argument = 2},
    {.op = WORK_CAPTURED, .argument = 9},
    {.op = WORK_SYNC},
    {.op = WORK_CAPTURED, .argument = 9},
};

static void step_make(struct hf_workload *workload, struct hf_workload_step *step, uint32_t round)
{
    struct hf_feed *feed = &workload->feed;

    switch (step->op) {
    case WORK_CAPTURED:
        step->batch = hf_feed_captured(feed, step->argument);
        break;
    case WORK_MARK:
        step->batch = hf_feed_mark(feed, "mark");
        break;
    case WORK_PASS_BEGIN:
        step->batch = hf_feed_pass_begin(feed);
        break;
    case WORK_PASS:
        step->batch = hf_feed_pass(feed, step->argument);
        break;
    case WORK_PASS_END:
        step->batch = hf_feed_pass_end(feed);
        break;
    case WORK_STREAM:
        hf_feed_stream(feed, step->argument + round);
        break;
    default:
        break;
    }
    step->stream = feed->stream;
}

void hf_workload_init(struct hf_workload *workload, uint32_t rounds)
{
    size_t per_round = HF_ARRAY_COUNT(one_round);

    hf_feed_init(&workload->feed, 42);
    workload->count = rounds * per_round;
    workload->steps = calloc(workload->count, sizeof(*workload->steps));
    HF_ASSERT(workload->steps);
    for (uint32_t round = 0; round < rounds; round++)
        memcpy(workload->steps + round * per_round, one_round, sizeof(one_round));
    for (size_t i = 0; i < workload->count; i++)
        step_make(workload, &workload->steps[i], (uint32_t)(i / per_round));
}

void hf_workload_done(struct hf_workload *workload)
{
    hf_feed_done(&workload->feed);
    free(workload->steps);
}

/* ---- Running ---- */

struct run {
    const struct hf_workload *workload;
    struct hf_journal_bench bench;
    struct hf_journal *journal;
    struct hf_workload_acked *acked;
    size_t replay; /* a patient sender's place */
};

static bool same_stream(const struct hf_stream_id *a, const struct hf_stream_id *b)
{
    return a->epoch == b->epoch && hf_id_equal(&a->capture, &b->capture);
}

static void acked_note(struct hf_workload_acked *acked, const struct hf_journal_progress *progress)
{
    for (size_t i = 0; i < acked->count; i++) {
        if (same_stream(&acked->progress[i].stream, &progress->stream) &&
            acked->progress[i].pass == progress->pass) {
            acked->progress[i] = *progress;
            return;
        }
    }
    HF_ASSERT(acked->count < HF_WORKLOAD_ACKED_MAX);
    acked->progress[acked->count++] = *progress;
}

void hf_workload_note(struct hf_workload_acked *acked, struct hf_journal *journal)
{
    struct hf_journal_progress progress;

    hf_journal_durable(journal, &progress);
    if (progress.position > 0)
        acked_note(acked, &progress);
}

static int run_sync(struct run *run)
{
    struct hf_journal_progress progress;
    int r = hf_journal_sync(run->journal);

    if (r < 0)
        return r;
    hf_journal_durable(run->journal, &progress);
    acked_note(run->acked, &progress);
    return 0;
}

static int run_drop(struct run *run, uint32_t less)
{
    struct hf_journal_progress progress;
    uint64_t bytes;

    hf_journal_durable(run->journal, &progress);
    if (progress.position <= less)
        return 0;
    run->acked->floor = HF_MAX(run->acked->floor, progress.position - less);
    return hf_journal_drop_below(run->journal, progress.position - less, &bytes);
}

static int run_open(struct run *run)
{
    hf_journal_close(run->journal);
    run->journal = NULL;
    return hf_journal_open(&run->bench.options, NULL, &run->journal);
}

static int run_step(struct run *run, const struct hf_workload_step *step)
{
    switch (step->op) {
    case WORK_SYNC:
        return run_sync(run);
    case WORK_SEAL:
        return hf_journal_seal(run->journal);
    case WORK_DROP:
        return run_drop(run, step->argument);
    case WORK_REOPEN:
        return run_open(run);
    case WORK_STREAM:
        return hf_journal_stream_begin(run->journal, &step->stream);
    default:
        return hf_feed_append(&run->workload->feed, step->batch, run->journal);
    }
}

static bool is_append(const struct hf_workload_step *step)
{
    return step->op <= WORK_PASS_END;
}

/* What a sender does after an error: opens again when it must, asks how far the other side is, and
 * sends the rest. */
static int run_again(struct run *run, size_t upto)
{
    const struct hf_workload *workload = run->workload;
    int r = 0;

    if (!run->journal || hf_journal_sync(run->journal) == -HF_ESYNC)
        r = run_open(run);
    for (size_t i = 0; r == 0 && i <= upto; i++) {
        const struct hf_workload_step *step = &workload->steps[i];

        if (i == upto && !is_append(step))
            return run_step(run, step);
        if (step->op == WORK_STREAM) {
            r = hf_journal_stream_begin(run->journal, &step->stream);
            if (r == -HF_EFENCED || r == -HF_EDIVERGED)
                r = 0;
        } else if (is_append(step)) {
            r = hf_feed_append(&workload->feed, step->batch, run->journal);
            if (r == -EALREADY || r == -HF_EFENCED || r == -HF_EPROTO)
                r = 0;
        }
    }
    return r;
}

int hf_workload_run(const struct hf_workload *workload, struct hf_io *io, bool patient,
                    struct hf_workload_acked *ret_acked)
{
    struct run run = {.workload = workload, .acked = ret_acked};
    int r;

    memset(ret_acked, 0, sizeof(*ret_acked));
    hf_journal_bench_init(&run.bench, io, 5);
    r = run_open(&run);
    if (r < 0 && patient)
        r = run_open(&run);
    if (r == 0)
        r = hf_journal_stream_begin(run.journal, &workload->feed.batches[0].stream);
    for (size_t i = 0; r == 0 && i < workload->count; i++) {
        r = run_step(&run, &workload->steps[i]);
        if (r < 0 && patient)
            r = run_again(&run, i);
    }
    hf_journal_close(run.journal);
    return r;
}

/* ---- Checking ---- */

static int check_digest(const struct hf_workload *workload,
                        const struct hf_journal_progress *progress)
{
    const struct hf_feed *feed = &workload->feed;

    if (progress->seq == 0)
        return 0;
    for (size_t i = 0; i < feed->count; i++) {
        const struct hf_feed_batch *batch = &feed->batches[i];

        if (batch->lane == HF_LANE_CAPTURED && batch->seq_end == progress->seq &&
            same_stream(&batch->stream, &progress->stream))
            return hf_hash128_compare(&batch->digest_after.value, &progress->digest.value) ? -1 : 0;
    }
    return -1;
}

static int check_covers(const struct hf_journal_progress *found,
                        const struct hf_journal_progress *acked)
{
    if (!same_stream(&found->stream, &acked->stream))
        return found->position > acked->position ? 0 : -1;
    if (found->seq < acked->seq || found->pass < acked->pass)
        return -1;
    return found->pass == acked->pass && found->pass_batch < acked->pass_batch ? -1 : 0;
}

static int no_damage(void *context, const struct hf_journal_damage *damage)
{
    fprintf(stderr, "%s: damage in segment %llu at %llu, positions %llu to %llu, %s\n",
            (const char *)context, (unsigned long long)damage->segment,
            (unsigned long long)damage->file_offset, (unsigned long long)damage->position_begin,
            (unsigned long long)damage->position_end, hf_error_name(damage->error));
    return -HF_EDAMAGED;
}

static int check_reader(const struct hf_workload *workload, struct hf_io *io, const char *when,
                        const struct hf_workload_acked *acked)
{
    struct hf_journal_reader *reader = NULL;
    int r = hf_journal_reader_open(io, "journal", &reader);

    for (size_t i = 0; r == 0 && i < acked->count; i++)
        if (hf_feed_compare(&workload->feed, reader, &acked->progress[i], acked->floor) < 0)
            r = -1;
    if (r == 0)
        r = hf_journal_reader_check(reader, no_damage, NULL, (void *)when);
    hf_journal_reader_close(reader);
    if (r < 0)
        fprintf(stderr, "%s: the reader says %s\n", when, hf_error_name(r));
    return r;
}

/* The next batch of the stream that was found, so that the journal can go on. */
static int check_goes_on(const struct hf_workload *workload, struct hf_journal *journal,
                         const struct hf_journal_progress *found)
{
    const struct hf_feed *feed = &workload->feed;
    int r = found->position ? hf_journal_stream_begin(journal, &found->stream) : 0;

    for (size_t i = 0; r == 0 && i < feed->count; i++) {
        const struct hf_feed_batch *batch = &feed->batches[i];

        if (found->position && same_stream(&batch->stream, &found->stream) &&
            batch->lane == HF_LANE_CAPTURED && batch->seq_begin == found->seq)
            r = hf_feed_append(feed, i, journal);
    }
    return r < 0 ? r : hf_journal_sync(journal);
}

static int check_once(const struct hf_workload *workload, struct hf_io *io, const char *when,
                      struct hf_workload_acked *acked)
{
    struct hf_journal_bench bench;
    struct hf_journal_recovery recovery;
    struct hf_journal_progress found;
    struct hf_journal *journal = NULL;
    int r;

    hf_journal_bench_init(&bench, io, 77);
    r = hf_journal_open(&bench.options, &recovery, &journal);
    if (r < 0) {
        fprintf(stderr, "%s: opening: %s\n", when, hf_error_name(r));
        return r;
    }
    hf_journal_durable(journal, &found);
    for (size_t i = 0; r == 0 && i < acked->count; i++)
        r = check_covers(&found, &acked->progress[i]);
    if (r == 0)
        r = check_digest(workload, &found);
    if (r < 0)
        fprintf(stderr, "%s: progress went back or its digest is another\n", when);
    if (r == 0)
        r = hf_journal_damage_each(journal, no_damage, (void *)when);
    if (r == 0)
        r = check_reader(workload, io, when, acked);
    if (r == 0)
        r = check_goes_on(workload, journal, &found);
    if (r == 0 && found.position) {
        hf_journal_durable(journal, &found);
        acked_note(acked, &found);
    }
    hf_journal_close(journal);
    return r;
}

int hf_workload_check(const struct hf_workload *workload, struct hf_io *io,
                      const struct hf_workload_acked *acked)
{
    struct hf_workload_acked wanted = *acked;
    int r = check_once(workload, io, "first opening", &wanted);

    return r < 0 ? r : check_once(workload, io, "second opening", &wanted);
}
