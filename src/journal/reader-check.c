// SPDX-License-Identifier: Apache-2.0
/*
 * Reads and verifies everything. A segment is walked by the damage rule, every frame decompressed
 * and compared, and its index made again in memory: the file must hold exactly those bytes.
 */
#include "journal/reader-internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

struct check {
    struct hf_journal_reader *reader;
    struct hf_reader_segment *segment;
    struct hf_index_builder builder;
    int (*damage)(void *context, const struct hf_journal_damage *damage);
    void (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes);
    void *context;
    uint64_t done_bytes;
    uint64_t total_bytes;
    bool found;
};

static int report(struct check *check, const struct hf_journal_damage *damage)
{
    check->found = true;
    return check->damage ? check->damage(check->context, damage) : 0;
}

static bool already_known(const struct hf_journal_reader *reader,
                          const struct hf_journal_damage *damage)
{
    for (size_t i = 0; i < reader->damage_count; i++)
        if (reader->damage[i].segment == damage->segment &&
            reader->damage[i].file_offset == damage->file_offset &&
            reader->damage[i].position_begin == damage->position_begin)
            return true;
    return false;
}

static int check_damage(void *context, const struct hf_journal_damage *damage)
{
    struct check *check = context;
    int r = hf_index_builder_damage(&check->builder, damage);

    if (r < 0 || already_known(check->reader, damage))
        return r;
    return report(check, damage);
}

/* Frames that do not hold what their checksums say although the entry's own hash fits: they were
 * bad when they came. */
static int check_entry(void *context, const struct hf_entry *entry)
{
    struct check *check = context;
    const struct hf_segment_head *head = &check->segment->head;
    struct hf_journal_damage damage = {
        .segment = head->number,
        .file_offset = entry->offset,
        .position_begin = hf_entry_position_begin(head, entry),
        .position_end = hf_entry_position_end(head, entry),
        .error = -HF_ECORRUPT,
    };
    uint32_t frame;
    int r = hf_batch_verify(&entry->batch, &frame);

    if (r == -HF_ECORRUPT)
        return report(check, &damage);
    if (r == 0)
        r = hf_index_builder_add(&check->builder, entry);
    if (check->progress)
        check->progress(check->context, check->done_bytes + entry->end, check->total_bytes);
    return r;
}

static int report_segment(struct check *check, uint64_t position_end, int error)
{
    const struct hf_reader_segment *segment = check->segment;
    struct hf_journal_damage damage = {
        .segment = segment->number,
        .position_begin = segment->position_begin,
        .position_end = position_end,
        .error = error,
    };

    return report(check, &damage);
}

/* The segment's first page. Its entries do not need it, an index being there, but it is bad. */
static int check_head(struct check *check)
{
    struct hf_reader_segment *segment = check->segment;
    struct hf_segment_head head;
    int r = hf_segment_head_read(segment->file, segment->number, &head);

    if (r == 0 && hf_id_equal(&head.id, &segment->head.id))
        return 0;
    return report_segment(check, segment->position_begin, r < 0 ? r : -HF_ECORRUPT);
}

static int page_equal(const struct hf_index *index, const struct hf_bytes *image, uint64_t offset,
                      bool *ret_equal)
{
    uint8_t page[HF_PAGE_BYTES];
    size_t got = 0;
    int r = hf_io_read(index->file, page, sizeof(page), offset, &got);

    *ret_equal = got == sizeof(page) && memcmp(page, image->data + offset, sizeof(page)) == 0;
    return r;
}

/* What recovery recorded about a lost end cannot be seen in the entries. */
static int adopt_damage(void *context, const struct hf_journal_damage *damage)
{
    struct check *check = context;

    return hf_index_builder_damage(&check->builder, damage);
}

static int check_index(struct check *check)
{
    struct hf_reader_segment *segment = check->segment;
    struct hf_bytes image = {0};
    bool equal = true;
    int r;

    if (segment->index_bad)
        return report_segment(check, segment->position_begin, -HF_ECORRUPT);
    if (!segment->sealed || segment->rebuilt)
        return 0;
    hf_bytes_clear(&check->builder.damage);
    r = hf_index_damage_each(&segment->index, adopt_damage, check);
    if (r == 0)
        r = hf_index_build(&check->builder, &image);
    for (uint64_t at = 0; r == 0 && equal && at < image.size; at += HF_PAGE_BYTES)
        r = page_equal(&segment->index, &image, at, &equal);
    hf_bytes_clear(&image);
    if (r == -ENOMEM)
        return r;
    if (r == 0 && equal)
        return 0;
    return report_segment(check, segment->position_begin, r < 0 ? r : -HF_ECORRUPT);
}

static int check_segment(struct check *check, struct hf_reader_segment *segment)
{
    struct hf_walk walk;
    bool before = check->found;
    int r;

    check->segment = segment;
    check->found = false;
    r = check_head(check);
    if (r == 0)
        r = hf_reader_walk_init(&walk, segment);
    hf_index_builder_init(&check->builder, &segment->head);
    if (r == 0) {
        walk.each = check_entry;
        walk.damage = check_damage;
        walk.context = check;
        r = hf_walk_run(&walk);
        if (r == -EIO)
            r = report_segment(check, segment->position_end, r);
        else if (r == 0 && !check->found)
            r = check_index(check);
    }
    hf_index_builder_done(&check->builder);
    check->found |= before;
    check->done_bytes += segment->segment_end;
    return r;
}

static int report_known(void *context, const struct hf_journal_damage *damage)
{
    return report(context, damage);
}

int hf_journal_reader_check(struct hf_journal_reader *reader,
                            int (*damage)(void *context, const struct hf_journal_damage *damage),
                            void (*progress)(void *context, uint64_t done_bytes,
                                             uint64_t total_bytes),
                            void *context)
{
    struct check check = {
        .reader = reader, .damage = damage, .progress = progress, .context = context};
    int r;

    for (size_t i = 0; i < reader->segment_count; i++)
        check.total_bytes += reader->segments[i]->segment_end;
    r = hf_journal_reader_damage(reader, report_known, &check);
    for (size_t i = 0; r == 0 && i < reader->segment_count; i++)
        r = check_segment(&check, reader->segments[i]);
    if (r == 0 && check.found)
        r = -HF_EDAMAGED;
    return r;
}
