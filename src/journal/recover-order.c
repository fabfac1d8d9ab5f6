// SPDX-License-Identifier: Apache-2.0
/*
 * All segments are known. The captured lane of a stream has no gaps: a segment begins where the one
 * before it ended. Whatever is missing although nothing dropped it is damage with exact positions
 * (V2). Then: which stream is the newest, and how far.
 */
#include "journal/recover-internal.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

static bool damage_covers(const struct hf_journal *journal, uint64_t begin, uint64_t end)
{
    for (size_t i = 0; i < journal->damage_count; i++)
        if (journal->damage[i].position_begin <= begin && journal->damage[i].position_end >= end)
            return true;
    return false;
}

static int gap_report(struct hf_recover *recover, uint64_t segment, uint64_t begin, uint64_t end)
{
    struct hf_journal_damage damage = {
        .segment = segment,
        .position_begin = begin,
        .position_end = end,
        .error = -ENOENT,
    };

    if (begin >= end || damage_covers(recover->journal, begin, end))
        return 0;
    return hf_journal_damage_add(recover->journal, &damage);
}

/* Segments lie by position, so those of a stream are together and in order. */
static int gaps_find(struct hf_recover *recover)
{
    const struct hf_journal *journal = recover->journal;
    const struct hf_known_segment *before = NULL;
    int r = 0;

    for (size_t i = 0; r == 0 && i < journal->segment_count; i++) {
        const struct hf_known_segment *segment = &journal->segments[i];
        uint64_t expected = HF_MAX(journal->state.floor, segment->head.base);

        if (segment->head.lane != HF_LANE_CAPTURED)
            continue;
        if (before && before->head.base == segment->head.base)
            expected = HF_MAX(expected, before->info.position_end);
        else if (recover->state_lost)
            expected = segment->info.position_begin;
        r = gap_report(recover, segment->info.number, expected, segment->info.position_begin);
        before = segment;
    }
    return r;
}

static void newest_stream(struct hf_journal *journal)
{
    const struct hf_journal_state *state = &journal->state;

    journal->has_stream = state->has_stream;
    journal->base = state->base;
    if (state->has_stream)
        journal->appended = state->progress;
    for (size_t i = 0; i < journal->segment_count; i++) {
        const struct hf_segment_head *head = &journal->segments[i].head;

        if (journal->has_stream && head->base <= journal->base)
            continue;
        journal->has_stream = true;
        journal->base = head->base;
        journal->appended =
            (struct hf_journal_progress){.stream = head->stream, .position = head->base};
        hf_digest_begin(&head->stream.capture, &journal->appended.digest);
    }
}

static void progress_captured(struct hf_journal *journal, const struct hf_known_segment *segment)
{
    struct hf_journal_progress *progress = &journal->appended;

    if (segment->seq_end <= progress->seq)
        return;
    progress->seq = segment->seq_end;
    progress->digest = segment->digest_end;
    progress->position = segment->info.position_end;
}

static void progress_pass(struct hf_journal *journal, const struct hf_known_segment *segment)
{
    struct hf_journal_progress *progress = &journal->appended;
    const struct hf_segment_head *head = &segment->head;

    if (head->pass < progress->pass ||
        (head->pass == progress->pass && segment->pass_batch_end <= progress->pass_batch))
        return;
    progress->pass = head->pass;
    progress->pass_seq = head->seq_begin;
    progress->pass_batch = segment->pass_batch_end;
    progress->pass_digest = segment->digest_end;
}

static void progress_find(struct hf_journal *journal)
{
    struct hf_journal_state *state = &journal->state;

    newest_stream(journal);
    for (size_t i = 0; i < journal->segment_count; i++) {
        const struct hf_known_segment *segment = &journal->segments[i];

        state->position_max = HF_MAX(state->position_max, segment->info.position_end);
        state->epoch_max = HF_MAX(state->epoch_max, segment->head.stream.epoch);
        if (segment->head.base != journal->base)
            continue;
        if (segment->head.lane == HF_LANE_CAPTURED)
            progress_captured(journal, segment);
        else
            progress_pass(journal, segment);
    }
    journal->durable = journal->appended;
}

/* What the state knew to be durable, is not dropped, and is in no segment. */
static int tail_find(struct hf_recover *recover)
{
    const struct hf_journal *journal = recover->journal;
    const struct hf_journal_state *state = &journal->state;
    uint64_t end = state->floor;

    if (!state->has_stream)
        return 0;
    for (size_t i = 0; i < journal->segment_count; i++)
        if (journal->segments[i].head.lane == HF_LANE_CAPTURED)
            end = HF_MAX(end, journal->segments[i].info.position_end);
    end = HF_MAX(end, state->base);
    return gap_report(recover, 0, end, state->progress.position);
}

int hf_recover_order(struct hf_recover *recover)
{
    int r = gaps_find(recover);

    if (r == 0)
        r = tail_find(recover);
    if (r == 0)
        progress_find(recover->journal);
    return r;
}
