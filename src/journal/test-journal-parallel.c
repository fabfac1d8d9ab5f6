// SPDX-License-Identifier: Apache-2.0
/*
 * One thread appends, seals and drops, a second syncs beside it, readers open, refresh and read all
 * the while. What a reader sees never goes back, is gapless, continues its digest, and was durable.
 * Argument: a directory, to use real files in it; otherwise memory.
 */
#include "base/test-support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/error.h"
#include "journal/journal-test.h"

#define BATCHES 600

static const char *directory;

struct shared {
    struct hf_io *io;
    struct hf_journal_bench bench;
    struct hf_feed feed;
    struct hf_journal *journal;
    atomic_bool done;
    atomic_int error; /* the first of any thread */
    atomic_ulong floor;
    atomic_ulong syncs;
};

static void note(struct shared *shared, int r)
{
    int none = 0;

    if (r < 0)
        atomic_compare_exchange_strong(&shared->error, &none, r);
}

static size_t make(struct hf_feed *feed, int i)
{
    if (i % 50 == 10)
        return hf_feed_pass_begin(feed);
    if (i % 50 > 10 && i % 3 == 0 && i > 50)
        return hf_feed_pass(feed, 4);
    return i % 20 == 5 ? hf_feed_mark(feed, "mark") : hf_feed_captured(feed, 5);
}

static void drop_some(struct shared *shared)
{
    struct hf_journal_progress durable;
    uint64_t bytes;

    hf_journal_durable(shared->journal, &durable);
    if (durable.seq < 400000)
        return;
    /* Before the drop: a reader that starts in between must not expect what goes. */
    atomic_store(&shared->floor, durable.position - 300000);
    note(shared, hf_journal_drop_below(shared->journal, durable.position - 300000, &bytes));
}

static void *writer(void *argument)
{
    struct shared *shared = argument;

    for (int i = 0; i < BATCHES && !atomic_load(&shared->error); i++) {
        note(shared, hf_feed_append(&shared->feed, make(&shared->feed, i), shared->journal));
        if (i % 40 == 39)
            note(shared, hf_journal_seal(shared->journal));
        if (i % 25 == 24)
            drop_some(shared);
        if (i % 8 == 0)
            sched_yield();
    }
    atomic_store(&shared->done, true);
    return NULL;
}

static void *syncer(void *argument)
{
    struct shared *shared = argument;

    while (!atomic_load(&shared->done)) {
        note(shared, hf_journal_sync(shared->journal));
        atomic_fetch_add(&shared->syncs, 1);
        sched_yield();
    }
    note(shared, hf_journal_sync(shared->journal));
    return NULL;
}

/* ---- Reading ---- */

struct look {
    struct hf_journal_reader *reader;
    uint64_t seq;
    struct hf_digest digest;
    bool any;
    uint64_t batches;
    uint64_t extents;
};

static int look_batch(void *context, const struct hf_batch *batch, uint64_t position_base)
{
    struct look *look = context;
    const struct hf_batch_header *header = batch->header;

    if (header->lane != HF_LANE_CAPTURED)
        return 0;
    if (look->any && (hf_le64_get(header->seq_begin) != look->seq ||
                      hf_hash128_compare(&header->digest_before, &look->digest.value) != 0))
        return -HF_ECORRUPT;
    look->any = true;
    look->seq = hf_le64_get(header->seq_end);
    look->digest.value = header->digest_after;
    look->batches++;
    return 0;
}

static int look_extent(void *context, const struct hf_journal_extent *extent)
{
    struct look *look = context;
    uint8_t content[HF_FRAME_CONTENT_MAX];

    look->extents++;
    return extent->type == HF_RECORD_WRITE
               ? hf_journal_reader_content(look->reader, extent, content)
               : 0;
}

static int no_damage(void *context, const struct hf_journal_damage *damage)
{
    fprintf(stderr, "damage: segment %llu, positions %llu to %llu\n",
            (unsigned long long)damage->segment, (unsigned long long)damage->position_begin,
            (unsigned long long)damage->position_end);
    return -HF_EDAMAGED;
}

/* Everything that this reader sees hangs together and ends where it says it does. */
static int look_all(struct shared *shared, struct look *look, struct hf_journal_progress *newest)
{
    struct hf_journal_progress durable;
    int r = hf_journal_reader_newest(look->reader, newest);

    if (r == -ENOENT)
        return 0;
    hf_journal_durable(shared->journal, &durable);
    if (r == 0 && newest->seq > durable.seq)
        return -HF_EPROTO;
    look->any = false;
    if (r == 0)
        r = hf_journal_reader_damage(look->reader, no_damage, NULL);
    if (r == 0)
        r = hf_journal_reader_batches(look->reader, 0, UINT64_MAX, look_batch, look);
    if (r == 0 && look->any && look->seq != newest->seq)
        r = -HF_EDIVERGED;
    if (r == 0)
        r = hf_journal_reader_extents(look->reader, 0, 0, 100000, 0, newest->position, look_extent,
                                      look);
    return r;
}

static void *read_on(void *argument)
{
    struct shared *shared = argument;
    struct look look = {0};
    uint64_t last = 0;
    int rounds = 0;
    int r = 0;

    while (r == 0 && (!atomic_load(&shared->done) || rounds < 3)) {
        struct hf_journal_progress newest = {0};

        if (!look.reader)
            r = hf_journal_reader_open(shared->io, "journal", &look.reader);
        else
            r = hf_journal_reader_refresh(look.reader);
        if (r == 0)
            r = look_all(shared, &look, &newest);
        if (r == 0 && newest.position < last)
            r = -HF_EDIVERGED;
        last = newest.position;
        if (++rounds % 7 == 0) {
            hf_journal_reader_close(look.reader);
            look.reader = NULL;
        }
    }
    hf_journal_reader_close(look.reader);
    note(shared, r);
    if (look.batches == 0 || look.extents == 0)
        note(shared, -ENODATA);
    return NULL;
}

static void readers_see_a_growing_prefix_while_all_goes_on(void **state)
{
    void *(*const bodies[])(void *) = {writer, syncer, read_on, read_on};
    pthread_t threads[HF_ARRAY_COUNT(bodies)];
    static struct shared shared;
    struct hf_journal_reader *reader = NULL;
    struct hf_journal_progress durable;

    memset(&shared, 0, sizeof(shared));
    assert_int_equal(
        directory ? hf_io_file_new(directory, &shared.io) : hf_io_memory_new(&shared.io), 0);
    hf_journal_bench_init(&shared.bench, shared.io, 1);
    hf_feed_init(&shared.feed, 2);
    assert_int_equal(hf_journal_open(&shared.bench.options, NULL, &shared.journal), 0);
    assert_int_equal(hf_journal_stream_begin(shared.journal, &shared.feed.stream), 0);
    for (size_t i = 0; i < HF_ARRAY_COUNT(bodies); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], &shared), 0);
    for (size_t i = 0; i < HF_ARRAY_COUNT(bodies); i++)
        pthread_join(threads[i], NULL);
    if (shared.error)
        fail_msg("%s", hf_error_name(shared.error));
    hf_journal_durable(shared.journal, &durable);
    assert_int_equal(durable.seq, shared.feed.seq);
    assert_int_equal(hf_journal_reader_open(shared.io, "journal", &reader), 0);
    assert_true(hf_feed_compare(&shared.feed, reader, &durable, shared.floor) > 0);
    hf_journal_reader_close(reader);
    printf("%lu syncs beside %d appends\n", (unsigned long)shared.syncs, BATCHES);
    hf_journal_close(shared.journal);
    hf_feed_done(&shared.feed);
    hf_io_free(shared.io);
}

/* A journal of its own, below the directory given. */
static const char *fresh_directory(const char *below)
{
    static char path[1024];

    snprintf(path, sizeof(path), "%s/hf-journal-XXXXXX", below);
    return mkdtemp(path);
}

static int unlink_name(void *context, const char *name)
{
    char path[1024];

    snprintf(path, sizeof(path), "journal/%s", name);
    return hf_io_unlink(context, path);
}

static int clean(void **state)
{
    struct hf_io *io = NULL;
    char path[1100];

    if (!directory || hf_io_file_new(directory, &io) < 0)
        return 0;
    (void)hf_io_list(io, "journal", unlink_name, io);
    hf_io_free(io);
    snprintf(path, sizeof(path), "%s/journal", directory);
    rmdir(path);
    rmdir(directory);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_a_growing_prefix_while_all_goes_on),
    };

    directory = argc > 1 ? fresh_directory(argv[1]) : NULL;
    return cmocka_run_group_tests(tests, NULL, clean);
}
