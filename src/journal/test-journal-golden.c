// SPDX-License-Identifier: Apache-2.0
/*
 * Journals of every released version open for ever. Argument: the directory that holds journal-v1.
 * "write DIRECTORY" makes it anew, for a new version only. The files were left by a writer that
 * stopped without sealing: sealed segments of both lanes with their indexes, an open one, the
 * state.
 */
#include "base/test-support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "journal/journal-test.h"

#define GOLDEN_NAME "journal-v1"
/* What the files say; taken when they were made. */
#define GOLDEN_SEQ 75514
#define GOLDEN_BASE 4096
#define GOLDEN_BATCHES 13
#define GOLDEN_EXTENTS 62
#define GOLDEN_CONTENT_HASH 16343217365046313171ull

static const char *golden_directory;

static void append(struct hf_feed *feed, size_t number, struct hf_journal *journal)
{
    HF_ASSERT(hf_feed_append(feed, number, journal) == 0);
}

static void golden_write(const char *directory)
{
    struct hf_journal_bench bench;
    struct hf_journal *journal = NULL;
    struct hf_journal_progress progress;
    struct hf_feed feed;
    struct hf_io *io;
    uint64_t bytes;

    HF_ASSERT(hf_io_file_new(directory, &io) == 0);
    hf_journal_bench_init(&bench, io, 1);
    bench.options.path = GOLDEN_NAME;
    hf_feed_init(&feed, 2);
    feed.content_max = 2048;
    HF_ASSERT(hf_journal_open(&bench.options, NULL, &journal) == 0);
    HF_ASSERT(hf_journal_stream_begin(journal, &feed.stream) == 0);
    append(&feed, hf_feed_captured(&feed, 3), journal);
    HF_ASSERT(hf_journal_seal(journal) == 0);
    hf_journal_durable(journal, &progress);
    HF_ASSERT(hf_journal_drop_below(journal, progress.position, &bytes) == 0);
    for (int i = 0; i < 4; i++)
        append(&feed, hf_feed_captured(&feed, 6), journal);
    append(&feed, hf_feed_mark(&feed, "golden"), journal);
    append(&feed, hf_feed_pass_begin(&feed), journal);
    append(&feed, hf_feed_pass(&feed, 6), journal);
    append(&feed, hf_feed_pass(&feed, 6), journal);
    append(&feed, hf_feed_pass_end(&feed), journal);
    HF_ASSERT(hf_journal_seal(journal) == 0);
    for (int i = 0; i < 3; i++)
        append(&feed, hf_feed_captured(&feed, 6), journal);
    append(&feed, hf_feed_mark(&feed, "open"), journal);
    HF_ASSERT(hf_journal_sync(journal) == 0);
    hf_journal_close(journal);
    hf_feed_done(&feed);
    hf_io_free(io);
}

/* ---- Into memory: the golden files are never written to ---- */

struct copy {
    struct hf_io *from;
    struct hf_io *to;
};

static int copy_file(void *context, const char *name)
{
    struct copy *copy = context;
    struct hf_file *from = NULL;
    struct hf_file *to = NULL;
    struct hf_io_stat stat;
    uint8_t *data;
    char path[128];

    snprintf(path, sizeof(path), GOLDEN_NAME "/%s", name);
    assert_int_equal(hf_io_open(copy->from, path, HF_OPEN_READ, &from), 0);
    assert_int_equal(hf_io_stat(from, &stat), 0);
    data = malloc(stat.size + 1);
    assert_non_null(data);
    assert_int_equal(hf_io_read_full(from, data, stat.size, 0), 0);
    assert_int_equal(hf_io_open(copy->to, path, HF_OPEN_WRITE | HF_OPEN_CREATE, &to), 0);
    assert_int_equal(hf_io_write(to, data, stat.size, 0), 0);
    free(data);
    hf_io_close(from);
    hf_io_close(to);
    return 0;
}

static int setup(void **state)
{
    struct copy copy;

    assert_int_equal(hf_io_file_new(golden_directory, &copy.from), 0);
    assert_int_equal(hf_io_memory_new(&copy.to), 0);
    assert_int_equal(hf_io_mkdir(copy.to, GOLDEN_NAME), 0);
    assert_int_equal(hf_io_list(copy.from, GOLDEN_NAME, copy_file, &copy), 0);
    hf_io_free(copy.from);
    *state = copy.to;
    return 0;
}

static int teardown(void **state)
{
    hf_io_free(*state);
    return 0;
}

/* ---- Claims ---- */

struct tally {
    struct hf_journal_reader *reader;
    size_t batches;
    size_t extents;
    uint64_t content_hash;
    char marks[64];
};

static int tally_batch(void *context, const struct hf_batch *batch, uint64_t position_base)
{
    struct tally *tally = context;

    assert_int_equal(position_base, GOLDEN_BASE);
    tally->batches++;
    return 0;
}

static int tally_extent(void *context, const struct hf_journal_extent *extent)
{
    struct tally *tally = context;
    uint8_t content[HF_FRAME_CONTENT_MAX];

    tally->extents++;
    if (extent->type != HF_RECORD_WRITE)
        return 0;
    assert_int_equal(hf_journal_reader_content(tally->reader, extent, content), 0);
    /* The order of extents is free: the sum is not. */
    tally->content_hash += hf_hash64_seeded(content, extent->length, extent->offset);
    return 0;
}

static int tally_event(void *context, const struct hf_journal_event *event)
{
    struct tally *tally = context;
    const struct hf_mark_body *mark = event->body;
    size_t at = strlen(tally->marks);

    if (event->type == HF_RECORD_MARK)
        snprintf(tally->marks + at, sizeof(tally->marks) - at, "%.*s;",
                 (int)hf_le16_get(mark->name_length), (const char *)(mark + 1));
    return 0;
}

static void assert_golden(struct hf_io *io, struct tally *tally)
{
    struct hf_journal_progress newest;

    *tally = (struct tally){0};
    assert_int_equal(hf_journal_reader_open(io, GOLDEN_NAME, &tally->reader), 0);
    assert_int_equal(hf_journal_reader_newest(tally->reader, &newest), 0);
    assert_int_equal(newest.seq, GOLDEN_SEQ);
    assert_int_equal(newest.position, GOLDEN_BASE + GOLDEN_SEQ);
    assert_int_equal(newest.pass, 1);
    assert_int_equal(newest.pass_batch, 2);
    assert_int_equal(hf_journal_reader_batches(tally->reader, 0, UINT64_MAX, tally_batch, tally),
                     0);
    for (uint16_t disk = 0; disk < 2; disk++)
        assert_int_equal(hf_journal_reader_extents(tally->reader, disk, 0, UINT64_MAX, 0,
                                                   UINT64_MAX, tally_extent, tally),
                         0);
    assert_int_equal(hf_journal_reader_events(tally->reader, 0, UINT64_MAX, tally_event, tally), 0);
    assert_int_equal(hf_journal_reader_check(tally->reader, NULL, NULL, NULL), 0);
    hf_journal_reader_close(tally->reader);
    assert_int_equal(tally->batches, GOLDEN_BATCHES);
    assert_int_equal(tally->extents, GOLDEN_EXTENTS);
    assert_true(tally->content_hash == GOLDEN_CONTENT_HASH);
    assert_string_equal(tally->marks, "golden;open;");
}

static void a_reader_of_today_reads_version_1(void **state)
{
    struct tally tally;

    assert_golden(*state, &tally);
}

static void a_writer_of_today_goes_on_with_version_1(void **state)
{
    struct hf_journal_bench bench;
    struct hf_journal_recovery recovery;
    struct hf_journal_progress progress;
    struct hf_journal *journal = NULL;
    struct tally tally;

    hf_journal_bench_init(&bench, *state, 3);
    bench.options.path = GOLDEN_NAME;
    assert_int_equal(hf_journal_open(&bench.options, &recovery, &journal), 0);
    assert_int_equal(recovery.damaged_segments, 0);
    assert_int_equal(recovery.torn_bytes, 0);
    hf_journal_durable(journal, &progress);
    assert_int_equal(progress.seq, GOLDEN_SEQ);
    assert_int_equal(hf_journal_stream_begin(journal, &progress.stream), 0);
    hf_journal_close(journal);
    assert_golden(*state, &tally);
}

/* ---- Regressions against what is refused ---- */

static void a_later_version_is_refused(void **state)
{
    struct hf_journal_reader *reader = NULL;
    struct hf_file *file = NULL;
    uint8_t version = 2;

    assert_int_equal(hf_io_open(*state, GOLDEN_NAME "/idx-0000000000000002",
                                HF_OPEN_READ | HF_OPEN_WRITE, &file),
                     0);
    assert_int_equal(hf_io_write(file, &version, 1, 8), 0);
    hf_io_close(file);
    assert_int_equal(hf_journal_reader_open(*state, GOLDEN_NAME, &reader), -HF_EVERSION);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_reader_of_today_reads_version_1, setup, teardown),
        cmocka_unit_test_setup_teardown(a_writer_of_today_goes_on_with_version_1, setup, teardown),
        cmocka_unit_test_setup_teardown(a_later_version_is_refused, setup, teardown),
    };

    if (argc > 2 && strcmp(argv[1], "write") == 0) {
        golden_write(argv[2]);
        return 0;
    }
    if (argc < 2)
        return 2;
    golden_directory = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
