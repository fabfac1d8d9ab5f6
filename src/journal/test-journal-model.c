// SPDX-License-Identifier: Apache-2.0
/*
 * Random journals against a naive model in memory: for every sector of two small disks and many
 * positions, what the extents of the index resolve to must be what replaying the records says, and
 * the content must be the bytes that were written. Argument: how many journals (default 12).
 */
#include "base/test-support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "journal/journal-test.h"

#define DISK_BYTES ((uint64_t)256 << 10)
#define SECTORS (DISK_BYTES / HF_SECTOR)
#define DISKS 2

static unsigned journal_count = 12;

struct fixture {
    struct hf_io *io;
    struct hf_journal_bench bench;
    struct hf_feed feed;
    struct hf_journal *journal;
    struct hf_random_seeded dice;
};

static uint64_t dice(struct fixture *f, uint64_t sides)
{
    return hf_random_seeded_next(&f->dice) % sides;
}

static void append(struct fixture *f, size_t number)
{
    assert_int_equal(hf_feed_append(&f->feed, number, f->journal), 0);
}

static void reopen(struct fixture *f)
{
    hf_journal_close(f->journal);
    f->journal = NULL;
    assert_int_equal(hf_journal_open(&f->bench.options, NULL, &f->journal), 0);
    /* One that held nothing yet did not survive. */
    assert_int_equal(hf_journal_stream_begin(f->journal, &f->feed.stream), 0);
}

static void random_step(struct fixture *f)
{
    switch (dice(f, 12)) {
    case 0:
        append(f, hf_feed_pass_begin(&f->feed));
        break;
    case 1:
    case 2:
        if (f->feed.pass > 0)
            append(f, hf_feed_pass(&f->feed, 1 + (uint32_t)dice(f, 6)));
        break;
    case 3:
        assert_int_equal(hf_journal_sync(f->journal), 0);
        break;
    case 4:
        if (dice(f, 4) == 0)
            reopen(f);
        break;
    case 5:
        if (dice(f, 6) == 0) {
            hf_feed_stream(&f->feed, f->feed.stream.epoch + dice(f, 2));
            assert_int_equal(hf_journal_stream_begin(f->journal, &f->feed.stream), 0);
        }
        break;
    default:
        append(f, hf_feed_captured(&f->feed, 1 + (uint32_t)dice(f, 8)));
    }
}

static void fixture_make(struct fixture *f, uint64_t seed)
{
    memset(f, 0, sizeof(*f));
    hf_random_seeded_init(&f->dice, seed);
    assert_int_equal(hf_io_memory_new(&f->io), 0);
    hf_journal_bench_init(&f->bench, f->io, seed + 1);
    hf_feed_init(&f->feed, seed + 2);
    f->feed.disk_bytes = DISK_BYTES;
    f->feed.content_max = 4096;
    if (dice(f, 2))
        f->feed.content_max = HF_RECORD_CONTENT_MAX;
    f->bench.options.segment_bytes = 8192 << dice(f, 7);
    assert_int_equal(hf_journal_open(&f->bench.options, NULL, &f->journal), 0);
    assert_int_equal(hf_journal_stream_begin(f->journal, &f->feed.stream), 0);
    for (int i = 0; i < 120; i++)
        random_step(f);
    assert_int_equal(hf_journal_sync(f->journal), 0);
}

static void fixture_free(struct fixture *f)
{
    hf_journal_close(f->journal);
    hf_feed_done(&f->feed);
    hf_io_free(f->io);
}

/* ---- The model: replaying records, those of a pass at its position ---- */

struct record {
    uint64_t position;
    uint64_t serial; /* order of appending */
    uint64_t offset;
    uint64_t length;
    uint8_t *content; /* NULL: zeros */
    uint16_t disk;
};

struct model {
    struct record *records;
    size_t count;
    uint64_t newest;
};

static void model_add(struct model *model, const struct hf_batch *batch, uint32_t i, uint64_t base)
{
    const struct hf_batch_record *record = &batch->records[i];
    struct record *added;
    size_t length;

    if (record->type > HF_RECORD_DISCARD)
        return;
    model->records = realloc(model->records, (model->count + 1) * sizeof(*model->records));
    assert_non_null(model->records);
    added = &model->records[model->count];
    *added = (struct record){
        .position = base + hf_le64_get(record->seq) + hf_le32_get(record->seq_size),
        .serial = model->count,
        .offset = hf_le64_get(record->offset),
        .length = hf_le64_get(record->length),
        .disk = hf_le16_get(record->disk),
    };
    model->count++;
    if (record->type != HF_RECORD_WRITE)
        return;
    added->content = malloc(HF_RECORD_CONTENT_MAX);
    assert_non_null(added->content);
    assert_int_equal(hf_batch_record_content(batch, i, added->content, &length), 0);
    assert_int_equal(length, added->length);
}

static int model_batch(void *context, const struct hf_batch *batch, uint64_t position_base)
{
    struct model *model = context;

    for (uint32_t i = 0; i < batch->record_count; i++)
        model_add(model, batch, i, position_base);
    model->newest = HF_MAX(model->newest, position_base + hf_le64_get(batch->header->seq_end));
    return 0;
}

static bool newer(const struct record *a, const struct record *b)
{
    return a->position != b->position ? a->position > b->position : a->serial > b->serial;
}

static const struct record *model_sector(const struct model *model, uint16_t disk, uint64_t offset,
                                         uint64_t min, uint64_t max)
{
    const struct record *found = NULL;

    for (size_t i = 0; i < model->count; i++) {
        const struct record *record = &model->records[i];

        if (record->disk == disk && record->offset <= offset &&
            record->offset + record->length > offset && record->position > min &&
            record->position <= max && (!found || newer(record, found)))
            found = record;
    }
    return found;
}

static void model_free(struct model *model)
{
    for (size_t i = 0; i < model->count; i++)
        free(model->records[i].content);
    free(model->records);
}

/* ---- The index: one lookup, resolved ---- */

struct resolve {
    uint64_t offset;
    uint64_t length;
    struct hf_journal_extent best[SECTORS];
    bool any[SECTORS];
    uint64_t count;
};

static bool extent_newer(const struct hf_journal_extent *a, const struct hf_journal_extent *b)
{
    return a->position != b->position ? a->position > b->position : a->order > b->order;
}

static int resolve_extent(void *context, const struct hf_journal_extent *extent)
{
    struct resolve *resolve = context;

    resolve->count++;
    assert_true(extent->offset < resolve->offset + resolve->length);
    assert_true(extent->offset + extent->length > resolve->offset);
    for (uint64_t s = extent->offset / HF_SECTOR;
         s < (extent->offset + extent->length) / HF_SECTOR && s < SECTORS; s++) {
        if (resolve->any[s] && !extent_newer(extent, &resolve->best[s]))
            continue;
        resolve->any[s] = true;
        resolve->best[s] = *extent;
    }
    return 0;
}

static void compare_sector(struct hf_journal_reader *reader, const struct record *wanted,
                           const struct hf_journal_extent *found, uint64_t offset)
{
    uint8_t content[HF_FRAME_CONTENT_MAX];

    assert_int_equal(found->position, wanted->position);
    if (!wanted->content) {
        assert_true(found->type == HF_RECORD_ZERO || found->type == HF_RECORD_DISCARD);
        return;
    }
    assert_int_equal(found->type, HF_RECORD_WRITE);
    assert_int_equal(hf_journal_reader_content(reader, found, content), 0);
    assert_memory_equal(content + (offset - found->offset),
                        wanted->content + (offset - wanted->offset), HF_SECTOR);
}

static void compare_lookup(struct fixture *f, struct hf_journal_reader *reader,
                           const struct model *model, struct resolve *resolve)
{
    uint16_t disk = (uint16_t)dice(f, DISKS);
    uint64_t min = dice(f, 3) ? 0 : dice(f, model->newest);
    uint64_t max = dice(f, 4) ? dice(f, model->newest + 1) : UINT64_MAX;

    memset(resolve->any, 0, sizeof(resolve->any));
    resolve->offset = dice(f, SECTORS) * HF_SECTOR;
    resolve->length = dice(f, 3) ? (uint64_t)HF_SECTOR << dice(f, 6) : DISK_BYTES;
    resolve->length = HF_MIN(resolve->length, DISK_BYTES - resolve->offset);
    assert_int_equal(hf_journal_reader_extents(reader, disk, resolve->offset, resolve->length, min,
                                               max, resolve_extent, resolve),
                     0);
    for (uint64_t at = resolve->offset; at < resolve->offset + resolve->length; at += HF_SECTOR) {
        const struct record *wanted = model_sector(model, disk, at, min, max);

        assert_int_equal(resolve->any[at / HF_SECTOR], wanted != NULL);
        if (wanted)
            compare_sector(reader, wanted, &resolve->best[at / HF_SECTOR], at);
    }
}

static uint64_t compare_journal(uint64_t seed)
{
    static struct resolve resolve;
    struct hf_journal_reader *reader = NULL;
    struct model model = {0};
    struct fixture f;

    fixture_make(&f, seed);
    assert_int_equal(hf_journal_reader_open(f.io, "journal", &reader), 0);
    assert_int_equal(hf_journal_reader_batches(reader, 0, UINT64_MAX, model_batch, &model), 0);
    assert_true(model.count > 0);
    resolve.count = 0;
    for (int i = 0; i < 60; i++)
        compare_lookup(&f, reader, &model, &resolve);
    hf_journal_reader_close(reader);
    model_free(&model);
    fixture_free(&f);
    return resolve.count;
}

static void lookups_agree_with_a_naive_model(void **state)
{
    uint64_t extents = 0;

    for (unsigned seed = 1; seed <= journal_count; seed++)
        extents += compare_journal(seed);
    assert_true(extents > 1000);
    printf("model: %u journals, %llu extents\n", journal_count, (unsigned long long)extents);
}

/* ---- Batches between two positions ---- */

struct range {
    uint64_t min;
    uint64_t max;
    uint64_t last;
    size_t count;
};

static int range_batch(void *context, const struct hf_batch *batch, uint64_t position_base)
{
    struct range *range = context;
    uint64_t begin = position_base + hf_le64_get(batch->header->seq_begin);
    uint64_t end = position_base + hf_le64_get(batch->header->seq_end);

    if (batch->header->lane == HF_LANE_CAPTURED) {
        assert_true(end > range->min && begin < range->max);
        assert_true(begin >= range->last);
        range->last = begin;
    } else {
        assert_true(end > range->min && end <= range->max);
        /* After the captured batch that holds its PASS_BEGIN, before the next. */
        assert_true(range->last < end);
    }
    range->count++;
    return 0;
}

static int batch_counts(void *context, const struct hf_batch *batch, uint64_t position_base)
{
    struct range *range = context;
    uint64_t begin = position_base + hf_le64_get(batch->header->seq_begin);
    uint64_t end = position_base + hf_le64_get(batch->header->seq_end);

    if (batch->header->lane == HF_LANE_CAPTURED)
        range->count += end > range->min && begin < range->max;
    else
        range->count += end > range->min && end <= range->max;
    return 0;
}

static void batches_between_two_positions_are_those_that_overlap(void **state)
{
    for (unsigned seed = 100; seed < 100 + journal_count; seed++) {
        struct hf_journal_reader *reader = NULL;
        struct hf_journal_progress newest;
        struct fixture f;

        fixture_make(&f, seed);
        assert_int_equal(hf_journal_reader_open(f.io, "journal", &reader), 0);
        assert_int_equal(hf_journal_reader_newest(reader, &newest), 0);
        for (int i = 0; i < 20; i++) {
            struct range got = {.min = dice(&f, newest.position)};
            struct range wanted;

            got.max = got.min + 1 + dice(&f, newest.position);
            wanted = got;
            assert_int_equal(hf_journal_reader_batches(reader, got.min, got.max, range_batch, &got),
                             0);
            assert_int_equal(
                hf_journal_reader_batches(reader, 0, UINT64_MAX, batch_counts, &wanted), 0);
            assert_int_equal(got.count, wanted.count);
        }
        hf_journal_reader_close(reader);
        fixture_free(&f);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookups_agree_with_a_naive_model),
        cmocka_unit_test(batches_between_two_positions_are_those_that_overlap),
    };

    if (argc > 1)
        journal_count = (unsigned)strtoul(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
