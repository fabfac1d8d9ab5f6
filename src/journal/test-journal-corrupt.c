// SPDX-License-Identifier: Apache-2.0
/*
 * Fault 29, V11: any flipped byte of a segment or an index is found by the check, is reported as
 * damage with positions, never turns into other content, and leaves the rest readable. Losing whole
 * files likewise.
 */
#include "base/test-support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "journal/files.h"
#include "journal/journal-test.h"

struct fixture {
    struct hf_io *io;
    struct hf_journal_bench bench;
    struct hf_feed feed;
    struct hf_journal *journal;
    struct hf_journal_progress progress;
};

static void append(struct fixture *f, size_t number)
{
    assert_int_equal(hf_feed_append(&f->feed, number, f->journal), 0);
}

/* Several sealed segments of both lanes, and open ones. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(hf_io_memory_new(&f->io), 0);
    hf_journal_bench_init(&f->bench, f->io, 7);
    hf_feed_init(&f->feed, 21);
    assert_int_equal(hf_journal_open(&f->bench.options, NULL, &f->journal), 0);
    assert_int_equal(hf_journal_stream_begin(f->journal, &f->feed.stream), 0);
    for (int i = 0; i < 8; i++)
        append(f, hf_feed_captured(&f->feed, 4));
    append(f, hf_feed_mark(&f->feed, "first"));
    append(f, hf_feed_pass_begin(&f->feed));
    for (int i = 0; i < 6; i++) {
        append(f, hf_feed_pass(&f->feed, 3));
        append(f, hf_feed_captured(&f->feed, 3));
        assert_int_equal(hf_journal_sync(f->journal), 0);
    }
    hf_journal_durable(f->journal, &f->progress);
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

static void writer_close(struct fixture *f)
{
    hf_journal_close(f->journal);
    f->journal = NULL;
}

static int writer_open(struct fixture *f, struct hf_journal_recovery *ret_recovery)
{
    writer_close(f);
    return hf_journal_open(&f->bench.options, ret_recovery, &f->journal);
}

/* ---- Flipping ---- */

static struct hf_file *file_open(struct fixture *f, const char *name)
{
    char path[HF_IO_PATH_MAX];
    struct hf_file *file = NULL;

    assert_int_equal(hf_journal_path("journal", name, path), 0);
    assert_int_equal(hf_io_open(f->io, path, HF_OPEN_READ | HF_OPEN_WRITE, &file), 0);
    return file;
}

static uint64_t file_bytes(struct fixture *f, const char *name)
{
    struct hf_file *file = file_open(f, name);
    struct hf_io_stat stat;

    assert_int_equal(hf_io_stat(file, &stat), 0);
    hf_io_close(file);
    return stat.size;
}

static void flip(struct fixture *f, const char *name, uint64_t offset)
{
    struct hf_file *file = file_open(f, name);
    uint8_t byte;

    assert_int_equal(hf_io_read_full(file, &byte, 1, offset), 0);
    byte ^= 0x41;
    assert_int_equal(hf_io_write(file, &byte, 1, offset), 0);
    hf_io_close(file);
}

struct names {
    char name[64][40];
    size_t count;
    const char *prefix;
};

static int take_name(void *context, const char *name)
{
    struct names *names = context;

    if (strncmp(name, names->prefix, strlen(names->prefix)) == 0 && names->count < 64)
        snprintf(names->name[names->count++], 40, "%s", name);
    return 0;
}

static void list(struct fixture *f, const char *prefix, struct names *ret_names)
{
    *ret_names = (struct names){.prefix = prefix};
    assert_int_equal(hf_io_list(f->io, "journal", take_name, ret_names), 0);
    assert_true(ret_names->count > 0);
}

/* ---- What is seen ---- */

struct seen {
    const struct fixture *f;
    uint64_t begin; /* of the union of damage */
    uint64_t end;
    size_t count;
    size_t batches;
};

static int see_damage(void *context, const struct hf_journal_damage *damage)
{
    struct seen *seen = context;

    assert_true(damage->error < 0);
    assert_true(damage->position_begin <= damage->position_end);
    seen->begin =
        seen->count ? HF_MIN(seen->begin, damage->position_begin) : damage->position_begin;
    seen->end = HF_MAX(seen->end, damage->position_end);
    seen->count++;
    return 0;
}

static int see_extent(void *context, const struct hf_journal_extent *extent)
{
    return 0;
}

static void check_finds(struct fixture *f, const char *name, uint64_t offset, struct seen *ret_seen)
{
    struct hf_journal_reader *reader = NULL;

    *ret_seen = (struct seen){.f = f};
    assert_int_equal(hf_journal_reader_open(f->io, "journal", &reader), 0);
    if (hf_journal_reader_check(reader, see_damage, NULL, ret_seen) != -HF_EDAMAGED)
        fail_msg("%s: byte %llu flipped and not found", name, (unsigned long long)offset);
    assert_true(ret_seen->count > 0);
    hf_journal_reader_close(reader);
}

static int same_batch(void *context, const struct hf_batch *batch, uint64_t position_base)
{
    struct seen *seen = context;
    const struct hf_feed *feed = &seen->f->feed;

    for (size_t i = 0; i < feed->count; i++) {
        if (feed->batches[i].size == batch->size &&
            memcmp(feed->batches[i].data, batch->data, batch->size) == 0) {
            seen->batches++;
            return 0;
        }
    }
    fail_msg("a batch that was never made");
    return -1;
}

/* Batches before the damage and behind it are still given; none that was never made is. */
static void rest_is_readable(struct fixture *f, struct seen *seen)
{
    struct hf_journal_reader *reader = NULL;
    uint64_t newest = f->progress.position;
    int r;

    assert_int_equal(hf_journal_reader_open(f->io, "journal", &reader), 0);
    r = hf_journal_reader_batches(reader, 0, UINT64_MAX, same_batch, seen);
    assert_true(r == 0 || r == -HF_EDAMAGED);
    seen->batches = 0;
    if (seen->end < newest && seen->begin < seen->end) {
        r = hf_journal_reader_batches(reader, seen->end, newest, same_batch, seen);
        assert_int_equal(r, 0);
        assert_true(seen->batches > 0);
    }
    /* A lookup over everything meets a bad index page and makes the index again. */
    r = hf_journal_reader_extents(reader, 0, 0, UINT64_MAX, 0, UINT64_MAX, see_extent, NULL);
    assert_int_equal(r, 0);
    hf_journal_reader_close(reader);
}

static uint64_t flip_everywhere(struct fixture *f, const char *name, uint64_t end, uint64_t step)
{
    uint64_t flips = 0;

    for (uint64_t at = 0; at < end; at += step, flips++) {
        struct seen seen;

        flip(f, name, at);
        check_finds(f, name, at, &seen);
        rest_is_readable(f, &seen);
        flip(f, name, at);
    }
    return flips;
}

static void a_flipped_byte_of_a_sealed_segment_is_found(void **state)
{
    struct fixture *f = *state;
    struct names names;
    uint64_t flips = 0;

    assert_int_equal(hf_journal_seal(f->journal), 0);
    list(f, "seg-", &names);
    for (size_t i = 0; i < names.count; i++)
        flips += flip_everywhere(f, names.name[i],
                                 file_bytes(f, names.name[i]) - 80 /* the seal entry */, 97);
    printf("%llu flips in segments, all found\n", (unsigned long long)flips);
}

static void a_flipped_byte_of_an_index_is_found_and_costs_nothing(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_reader *reader = NULL;
    struct names names;
    uint64_t flips = 0;

    assert_int_equal(hf_journal_seal(f->journal), 0);
    list(f, "idx-", &names);
    for (size_t i = 0; i < names.count; i++)
        flips += flip_everywhere(f, names.name[i], file_bytes(f, names.name[i]), 211);
    flip(f, names.name[0], 100);
    assert_int_equal(hf_journal_reader_open(f->io, "journal", &reader), 0);
    assert_int_equal(hf_feed_compare(&f->feed, reader, &f->progress, 0), (long)f->feed.count);
    hf_journal_reader_close(reader);
    assert_int_equal(writer_open(f, NULL), 0);
    assert_int_equal(hf_journal_reader_open(f->io, "journal", &reader), 0);
    assert_int_equal(hf_journal_reader_check(reader, NULL, NULL, NULL), 0);
    hf_journal_reader_close(reader);
    printf("%llu flips in indexes, all found\n", (unsigned long long)flips);
}

/* The damage rule: bad in the middle with later entries that claim more is never cut. */
static void damage_in_an_unsealed_segment_is_reported_and_not_cut(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_progress after;
    struct hf_journal_recovery recovery;
    struct hf_journal_reader *reader = NULL;
    struct seen seen = {.f = f};
    struct names names;
    size_t damaged = 0;

    list(f, "seg-", &names);
    writer_close(f);
    flip(f, names.name[names.count - 1], 4096 + 200);
    assert_int_equal(writer_open(f, &recovery), 0);
    assert_int_equal(recovery.damaged_segments, 1);
    assert_int_equal(recovery.torn_bytes, 0);
    hf_journal_durable(f->journal, &after);
    assert_memory_equal(&after, &f->progress, sizeof(after));
    assert_int_equal(hf_journal_damage_each(f->journal, see_damage, &seen), 0);
    assert_int_equal(seen.count, 1);
    for (size_t i = 0; i < hf_journal_segment_count(f->journal); i++) {
        struct hf_segment_info info;

        assert_int_equal(hf_journal_segment_info(f->journal, i, &info), 0);
        damaged += info.damaged;
    }
    assert_int_equal(damaged, 1);
    /* Remembered in the index from then on. */
    assert_int_equal(writer_open(f, &recovery), 0);
    assert_int_equal(recovery.damaged_segments, 1);
    seen = (struct seen){.f = f};
    assert_int_equal(hf_journal_reader_open(f->io, "journal", &reader), 0);
    assert_int_equal(hf_journal_reader_damage(reader, see_damage, &seen), 0);
    assert_int_equal(seen.count, 1);
    hf_journal_reader_close(reader);
}

/* Behind the durable end a bad byte is a torn tail: cut, and no damage. */
static void a_bad_tail_that_nothing_claims_is_cut(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_recovery recovery;
    struct hf_journal_progress after;
    struct hf_segment_info info;
    char name[40];
    size_t last;

    append(f, hf_feed_captured(&f->feed, 2));
    append(f, hf_feed_captured(&f->feed, 2));
    last = hf_journal_segment_count(f->journal) - 2; /* captured before pass among the open ones */
    assert_int_equal(hf_journal_segment_info(f->journal, last, &info), 0);
    assert_int_equal(info.lane, HF_LANE_CAPTURED);
    snprintf(name, sizeof(name), "seg-%016llx", (unsigned long long)info.number);
    writer_close(f);
    flip(f, name, info.file_bytes - 100);
    assert_int_equal(writer_open(f, &recovery), 0);
    assert_int_equal(recovery.damaged_segments, 0);
    assert_true(recovery.torn_bytes > 0);
    hf_journal_durable(f->journal, &after);
    assert_true(after.seq >= f->progress.seq && after.seq < f->feed.seq);
}

static void unlink_named(struct fixture *f, const char *name)
{
    char path[HF_IO_PATH_MAX];

    assert_int_equal(hf_journal_path("journal", name, path), 0);
    assert_int_equal(hf_io_unlink(f->io, path), 0);
}

/* V2: loss is reported with its range. */
static void a_segment_taken_away_is_reported_with_its_positions(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_reader *reader = NULL;
    struct hf_segment_info info;
    struct seen seen = {.f = f};
    char name[40];

    assert_int_equal(hf_journal_seal(f->journal), 0);
    assert_int_equal(hf_journal_segment_info(f->journal, 1, &info), 0);
    assert_int_equal(info.lane, HF_LANE_CAPTURED);
    writer_close(f);
    snprintf(name, sizeof(name), "seg-%016llx", (unsigned long long)info.number);
    unlink_named(f, name);
    for (int round = 0; round < 2; round++) {
        seen = (struct seen){.f = f};
        assert_int_equal(hf_journal_reader_open(f->io, "journal", &reader), 0);
        assert_int_equal(hf_journal_reader_damage(reader, see_damage, &seen), 0);
        assert_int_equal(hf_journal_reader_batches(reader, 0, UINT64_MAX, same_batch, &seen),
                         -HF_EDAMAGED);
        hf_journal_reader_close(reader);
        assert_true(seen.count >= 1);
        assert_int_equal(seen.begin, info.position_begin);
        assert_int_equal(seen.end, info.position_end);
        name[0] = 'i', name[1] = 'd', name[2] = 'x';
        if (round == 0)
            unlink_named(f, name);
    }
    seen = (struct seen){.f = f};
    assert_int_equal(writer_open(f, NULL), 0);
    assert_int_equal(hf_journal_damage_each(f->journal, see_damage, &seen), 0);
    assert_int_equal(seen.begin, info.position_begin);
    assert_int_equal(seen.end, info.position_end);
}

static void without_any_index_everything_is_still_found(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_reader *reader = NULL;
    struct names names;

    assert_int_equal(hf_journal_seal(f->journal), 0);
    writer_close(f);
    list(f, "idx-", &names);
    for (size_t i = 0; i < names.count; i++)
        unlink_named(f, names.name[i]);
    assert_int_equal(hf_journal_reader_open(f->io, "journal", &reader), 0);
    assert_int_equal(hf_feed_compare(&f->feed, reader, &f->progress, 0), (long)f->feed.count);
    hf_journal_reader_close(reader);
    assert_int_equal(writer_open(f, NULL), 0);
    assert_int_equal(hf_journal_damage_each(f->journal, see_damage, &(struct seen){0}), 0);
    list(f, "idx-", &names);
}

/* One state copy may go; with both gone nothing is given twice. */
static void a_bad_state_file_is_survived(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_progress after;
    struct seen seen = {.f = f};
    struct names names;
    uint64_t bytes;

    assert_int_equal(hf_journal_drop_below(f->journal, f->progress.position / 2, &bytes), 0);
    assert_int_equal(hf_journal_seal(f->journal), 0);
    assert_int_equal(hf_journal_drop_below(f->journal, f->progress.position - 9000, &bytes), 0);
    list(f, "state.", &names);
    writer_close(f);
    for (size_t i = 0; i < names.count; i++)
        flip(f, names.name[i], 60);
    assert_int_equal(writer_open(f, NULL), 0);
    hf_journal_durable(f->journal, &after);
    assert_int_equal(after.seq, f->progress.seq);
    assert_int_equal(hf_journal_damage_each(f->journal, see_damage, &seen), 0);
    assert_int_equal(seen.count, 1);
    /* Written anew: the next opening finds nothing wrong. */
    seen = (struct seen){.f = f};
    assert_int_equal(writer_open(f, NULL), 0);
    assert_int_equal(hf_journal_damage_each(f->journal, see_damage, &seen), 0);
    assert_int_equal(seen.count, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_flipped_byte_of_a_sealed_segment_is_found),
        CASE(a_flipped_byte_of_an_index_is_found_and_costs_nothing),
        CASE(damage_in_an_unsealed_segment_is_reported_and_not_cut),
        CASE(a_bad_tail_that_nothing_claims_is_cut),
        CASE(a_segment_taken_away_is_reported_with_its_positions),
        CASE(without_any_index_everything_is_still_found),
        CASE(a_bad_state_file_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
