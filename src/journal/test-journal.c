// SPDX-License-Identifier: Apache-2.0
/* The writer and the reader together, on a healthy disk. */
#include "base/test-support.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "journal/journal-test.h"

struct fixture {
    struct hf_io *io;
    struct hf_journal_bench bench;
    struct hf_feed feed;
    struct hf_journal *journal;
    struct hf_journal_recovery recovery;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(hf_io_memory_new(&f->io), 0);
    hf_journal_bench_init(&f->bench, f->io, 7);
    hf_feed_init(&f->feed, 11);
    assert_int_equal(hf_journal_open(&f->bench.options, &f->recovery, &f->journal), 0);
    assert_int_equal(hf_journal_stream_begin(f->journal, &f->feed.stream), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    hf_journal_close(f->journal);
    hf_feed_done(&f->feed);
    hf_io_free(f->io);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    hf_journal_close(f->journal);
    f->journal = NULL;
    assert_int_equal(hf_journal_open(&f->bench.options, &f->recovery, &f->journal), 0);
}

static void append(struct fixture *f, size_t number)
{
    assert_int_equal(hf_feed_append(&f->feed, number, f->journal), 0);
}

static struct hf_journal_reader *reader_open(struct fixture *f)
{
    struct hf_journal_reader *reader = NULL;

    assert_int_equal(hf_journal_reader_open(f->io, "journal", &reader), 0);
    return reader;
}

static void assert_same_progress(const struct hf_journal_progress *a,
                                 const struct hf_journal_progress *b)
{
    assert_memory_equal(a, b, sizeof(*a));
}

static void what_was_synced_is_there_after_opening_again(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_progress before;
    struct hf_journal_progress after;
    struct hf_journal_reader *reader;

    for (int i = 0; i < 40; i++)
        append(f, hf_feed_captured(&f->feed, 6));
    assert_int_equal(hf_journal_sync(f->journal), 0);
    hf_journal_durable(f->journal, &before);
    assert_int_equal(before.seq, f->feed.seq);
    assert_memory_equal(&before.digest, &f->feed.digest, sizeof(before.digest));
    reopen(f);
    hf_journal_durable(f->journal, &after);
    assert_same_progress(&before, &after);
    assert_int_equal(f->recovery.torn_bytes, 0);
    assert_int_equal(f->recovery.batches, 40);
    assert_true(f->recovery.segments > 1);
    assert_int_equal(hf_journal_stream_begin(f->journal, &f->feed.stream), 0);
    append(f, hf_feed_captured(&f->feed, 3));
    assert_int_equal(hf_journal_sync(f->journal), 0);
    hf_journal_durable(f->journal, &after);
    reader = reader_open(f);
    assert_int_equal(hf_feed_compare(&f->feed, reader, &after, 0), 41);
    hf_journal_reader_close(reader);
}

/* V10: applied twice is applied once. */
static void a_batch_that_is_there_already_changes_nothing(void **state)
{
    struct fixture *f = *state;
    size_t first = hf_feed_captured(&f->feed, 3);
    size_t second = hf_feed_captured(&f->feed, 3);
    struct hf_journal_progress before;
    struct hf_journal_progress after;

    append(f, first);
    append(f, second);
    hf_journal_appended(f->journal, &before);
    assert_int_equal(hf_feed_append(&f->feed, first, f->journal), -EALREADY);
    assert_int_equal(hf_feed_append(&f->feed, second, f->journal), -EALREADY);
    hf_journal_appended(f->journal, &after);
    assert_same_progress(&before, &after);
}

static void a_gap_and_another_digest_are_refused(void **state)
{
    struct fixture *f = *state;
    struct hf_feed other;
    size_t skipped;

    append(f, hf_feed_captured(&f->feed, 3));
    skipped = hf_feed_captured(&f->feed, 3);
    assert_int_equal(hf_feed_append(&f->feed, hf_feed_captured(&f->feed, 3), f->journal),
                     -HF_EPROTO);
    append(f, skipped);
    hf_feed_init(&other, 99);
    other.stream = f->feed.stream;
    other.seq = f->feed.batches[skipped].seq_end;
    other.digest.value.bytes[0] = 1;
    assert_int_equal(hf_feed_append(&other, hf_feed_captured(&other, 1), f->journal),
                     -HF_EDIVERGED);
    hf_feed_done(&other);
}

/* Fault 18. */
static void a_lower_epoch_is_fenced_also_after_opening_again(void **state)
{
    struct fixture *f = *state;
    struct hf_stream_id old = f->feed.stream;
    size_t stale = hf_feed_captured(&f->feed, 1);

    hf_feed_stream(&f->feed, 5);
    assert_int_equal(hf_journal_stream_begin(f->journal, &f->feed.stream), 0);
    append(f, hf_feed_captured(&f->feed, 1));
    assert_int_equal(hf_journal_sync(f->journal), 0);
    assert_int_equal(hf_journal_stream_begin(f->journal, &old), -HF_EFENCED);
    reopen(f);
    assert_int_equal(hf_journal_stream_begin(f->journal, &old), -HF_EFENCED);
    assert_int_equal(hf_feed_append(&f->feed, stale, f->journal), -HF_EFENCED);
}

static void positions_rise_over_streams(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_progress first;
    struct hf_journal_progress second;
    struct hf_journal_reader *reader;
    struct hf_stream_id old = f->feed.stream;

    append(f, hf_feed_captured(&f->feed, 10));
    assert_int_equal(hf_journal_sync(f->journal), 0);
    hf_journal_durable(f->journal, &first);
    hf_feed_stream(&f->feed, 1);
    assert_int_equal(hf_journal_stream_begin(f->journal, &f->feed.stream), 0);
    hf_journal_durable(f->journal, &second);
    assert_true(second.position > first.position);
    assert_int_equal(second.position % 4096, 0);
    append(f, hf_feed_captured(&f->feed, 10));
    assert_int_equal(hf_journal_sync(f->journal), 0);
    hf_journal_durable(f->journal, &second);
    reader = reader_open(f);
    assert_int_equal(hf_feed_compare(&f->feed, reader, &second, 0), 2);
    hf_journal_reader_close(reader);
    assert_int_equal(hf_journal_stream_begin(f->journal, &old), -HF_EDIVERGED);
}

static void a_pass_goes_on_after_opening_again(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_progress progress;
    struct hf_journal_reader *reader;
    size_t late;

    append(f, hf_feed_captured(&f->feed, 4));
    append(f, hf_feed_pass_begin(&f->feed));
    for (int i = 0; i < 10; i++) {
        append(f, hf_feed_pass(&f->feed, 8));
        append(f, hf_feed_captured(&f->feed, 2));
    }
    assert_int_equal(hf_journal_sync(f->journal), 0);
    reopen(f);
    hf_journal_durable(f->journal, &progress);
    assert_int_equal(progress.pass, 1);
    assert_int_equal(progress.pass_batch, 10);
    assert_int_equal(progress.pass_seq, f->feed.pass_seq);
    late = hf_feed_pass(&f->feed, 1);
    assert_int_equal(hf_feed_append(&f->feed, hf_feed_pass(&f->feed, 1), f->journal), -HF_EPROTO);
    append(f, late);
    append(f, late + 1);
    append(f, hf_feed_pass_begin(&f->feed));
    append(f, hf_feed_pass(&f->feed, 1));
    assert_int_equal(hf_feed_append(&f->feed, late, f->journal), -EALREADY);
    assert_int_equal(hf_journal_sync(f->journal), 0);
    hf_journal_durable(f->journal, &progress);
    assert_int_equal(progress.pass, 2);
    reader = reader_open(f);
    assert_int_equal(hf_feed_compare(&f->feed, reader, &progress, 0), (long)f->feed.count);
    hf_journal_reader_close(reader);
}

/* A2: what a power cut could take back is not shown. */
static void a_reader_sees_what_is_durable_and_no_more(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_progress durable;
    struct hf_journal_progress seen;
    struct hf_journal_reader *reader;

    append(f, hf_feed_captured(&f->feed, 3));
    assert_int_equal(hf_journal_sync(f->journal), 0);
    hf_journal_durable(f->journal, &durable);
    append(f, hf_feed_captured(&f->feed, 3));
    reader = reader_open(f);
    assert_int_equal(hf_journal_reader_newest(reader, &seen), 0);
    assert_int_equal(seen.seq, durable.seq);
    assert_int_equal(hf_journal_sync(f->journal), 0);
    assert_int_equal(hf_journal_reader_refresh(reader), 0);
    assert_int_equal(hf_journal_reader_newest(reader, &seen), 0);
    assert_int_equal(seen.seq, f->feed.seq);
    assert_memory_equal(&seen.digest, &f->feed.digest, sizeof(seen.digest));
    hf_journal_reader_close(reader);
}

/* P6: after the writer is gone a read-only tool sees everything whole, and makes it durable. */
static void without_a_writer_a_reader_sees_the_whole_tail(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_progress seen;
    struct hf_journal_reader *reader;

    append(f, hf_feed_captured(&f->feed, 3));
    assert_int_equal(hf_journal_sync(f->journal), 0);
    append(f, hf_feed_captured(&f->feed, 3));
    hf_journal_close(f->journal);
    f->journal = NULL;
    reader = reader_open(f);
    assert_int_equal(hf_journal_reader_newest(reader, &seen), 0);
    assert_int_equal(seen.seq, f->feed.seq);
    assert_int_equal(hf_feed_compare(&f->feed, reader, &seen, 0), 2);
    hf_journal_reader_close(reader);
}

/* What a finished pass left open goes with the rest. */
static void a_pass_below_the_floor_is_dropped_although_it_was_open(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_progress progress;
    struct hf_segment_info info;
    uint64_t bytes = 0;

    append(f, hf_feed_pass_begin(&f->feed));
    append(f, hf_feed_pass(&f->feed, 3));
    append(f, hf_feed_pass_end(&f->feed));
    assert_int_equal(hf_journal_sync(f->journal), 0);
    assert_int_equal(hf_journal_segment_count(f->journal), 2);
    hf_journal_durable(f->journal, &progress);
    assert_int_equal(hf_journal_drop_below(f->journal, progress.position, &bytes), 0);
    assert_true(bytes > 0);
    assert_int_equal(hf_journal_segment_count(f->journal), 1);
    assert_int_equal(hf_journal_segment_info(f->journal, 0, &info), 0);
    assert_int_equal(info.lane, HF_LANE_CAPTURED);
}

static int remember_event(void *context, const struct hf_journal_event *event)
{
    char *text = context;
    const struct hf_mark_body *mark = event->body;
    size_t at = strlen(text);

    assert_int_equal(event->type, HF_RECORD_MARK);
    assert_int_equal(event->body_length, sizeof(*mark) + hf_le16_get(mark->name_length));
    assert_true(event->receipt_ns > 0 && event->wall_ns > 0);
    memcpy(text + at, mark + 1, hf_le16_get(mark->name_length));
    text[at + hf_le16_get(mark->name_length)] = '\0';
    return 0;
}

static int count_moment(void *context, const struct hf_journal_moment *moment)
{
    size_t *count = context;

    assert_true(moment->position_begin < moment->position_end);
    assert_true(moment->wall_first_ns <= moment->wall_last_ns);
    ++*count;
    return 0;
}

static void events_and_moments_come_in_order(void **state)
{
    struct fixture *f = *state;
    char text[64] = "";
    size_t moments = 0;
    struct hf_journal_reader *reader;
    struct hf_journal_progress middle;

    for (char c = 'a'; c <= 'm'; c++) {
        append(f, hf_feed_mark(&f->feed, (char[]){c, '\0'}));
        append(f, hf_feed_captured(&f->feed, 8));
        if (c == 'f')
            hf_journal_appended(f->journal, &middle);
    }
    assert_int_equal(hf_journal_sync(f->journal), 0);
    reader = reader_open(f);
    assert_int_equal(hf_journal_reader_events(reader, 0, UINT64_MAX, remember_event, text), 0);
    assert_string_equal(text, "abcdefghijklm");
    assert_int_equal(hf_journal_reader_moments(reader, 0, UINT64_MAX, count_moment, &moments), 0);
    assert_int_equal(moments, 26);
    text[0] = '\0';
    assert_int_equal(
        hf_journal_reader_events(reader, middle.position, UINT64_MAX, remember_event, text), 0);
    assert_string_equal(text, "ghijklm");
    moments = 0;
    assert_int_equal(hf_journal_reader_moments(reader, 0, middle.position, count_moment, &moments),
                     0);
    assert_int_equal(moments, 12);
    hf_journal_reader_close(reader);
}

/* Fault 20: dropped is whole segments below the position; resume outlives them all (fault 19). */
static void progress_outlives_every_segment(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_progress before;
    struct hf_journal_progress after;
    uint64_t bytes = 0;

    append(f, hf_feed_captured(&f->feed, 3));
    append(f, hf_feed_pass_begin(&f->feed));
    append(f, hf_feed_pass(&f->feed, 3));
    for (int i = 0; i < 20; i++)
        append(f, hf_feed_captured(&f->feed, 8));
    assert_int_equal(hf_journal_seal(f->journal), 0);
    hf_journal_durable(f->journal, &before);
    assert_true(hf_journal_bytes(f->journal) > 0);
    assert_int_equal(hf_journal_drop_below(f->journal, before.position, &bytes), 0);
    assert_true(bytes > 0);
    assert_int_equal(hf_journal_bytes(f->journal), 0);
    assert_int_equal(hf_journal_segment_count(f->journal), 0);
    reopen(f);
    hf_journal_durable(f->journal, &after);
    assert_same_progress(&before, &after);
    assert_int_equal(f->recovery.segments, 0);
    assert_int_equal(f->recovery.damaged_segments, 0);
    append(f, hf_feed_captured(&f->feed, 1));
    append(f, hf_feed_pass(&f->feed, 1));
}

static void dropping_takes_whole_segments_below_only(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_progress progress;
    struct hf_segment_info info;
    struct hf_journal_reader *reader;
    uint64_t bytes = 0;
    uint64_t cut;
    size_t count;

    for (int i = 0; i < 60; i++)
        append(f, hf_feed_captured(&f->feed, 6));
    assert_int_equal(hf_journal_sync(f->journal), 0);
    hf_journal_durable(f->journal, &progress);
    count = hf_journal_segment_count(f->journal);
    assert_true(count > 4);
    assert_int_equal(hf_journal_segment_info(f->journal, 2, &info), 0);
    cut = info.position_end - 1;
    assert_int_equal(hf_journal_drop_below(f->journal, cut, &bytes), 0);
    assert_int_equal(hf_journal_segment_count(f->journal), count - 2);
    assert_int_equal(hf_journal_segment_info(f->journal, 0, &info), 0);
    assert_true(info.position_end > cut);
    reader = reader_open(f);
    assert_true(hf_feed_compare(&f->feed, reader, &progress, info.position_begin) > 0);
    hf_journal_reader_close(reader);
    reopen(f);
    assert_int_equal(f->recovery.damaged_segments, 0);
    assert_int_equal(hf_journal_damage_each(f->journal, NULL, NULL), 0);
}

static void a_second_writer_is_refused(void **state)
{
    struct fixture *f = *state;
    struct hf_journal *second = NULL;

    assert_int_equal(hf_journal_open(&f->bench.options, NULL, &second), -EBUSY);
    assert_null(second);
}

/* A view holds its reader while retention goes on (A3). */
static void a_reader_goes_on_reading_what_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_progress progress;
    struct hf_journal_reader *reader;
    uint64_t bytes;

    for (int i = 0; i < 20; i++)
        append(f, hf_feed_captured(&f->feed, 6));
    assert_int_equal(hf_journal_seal(f->journal), 0);
    hf_journal_durable(f->journal, &progress);
    reader = reader_open(f);
    assert_int_equal(hf_journal_drop_below(f->journal, progress.position, &bytes), 0);
    assert_int_equal(hf_feed_compare(&f->feed, reader, &progress, 0), 20);
    hf_journal_reader_close(reader);
}

static void a_healthy_journal_passes_the_check(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_reader *reader;

    for (int i = 0; i < 30; i++)
        append(f, i % 7 ? hf_feed_captured(&f->feed, 6) : hf_feed_mark(&f->feed, "m"));
    assert_int_equal(hf_journal_sync(f->journal), 0);
    reader = reader_open(f);
    assert_int_equal(hf_journal_reader_check(reader, NULL, NULL, NULL), 0);
    hf_journal_reader_close(reader);
    reopen(f);
    reader = reader_open(f);
    assert_int_equal(hf_journal_reader_check(reader, NULL, NULL, NULL), 0);
    hf_journal_reader_close(reader);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_was_synced_is_there_after_opening_again),
        CASE(a_batch_that_is_there_already_changes_nothing),
        CASE(a_gap_and_another_digest_are_refused),
        CASE(a_lower_epoch_is_fenced_also_after_opening_again),
        CASE(positions_rise_over_streams),
        CASE(a_pass_goes_on_after_opening_again),
        CASE(a_reader_sees_what_is_durable_and_no_more),
        CASE(without_a_writer_a_reader_sees_the_whole_tail),
        CASE(a_pass_below_the_floor_is_dropped_although_it_was_open),
        CASE(events_and_moments_come_in_order),
        CASE(progress_outlives_every_segment),
        CASE(dropping_takes_whole_segments_below_only),
        CASE(a_second_writer_is_refused),
        CASE(a_reader_goes_on_reading_what_is_dropped),
        CASE(a_healthy_journal_passes_the_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
