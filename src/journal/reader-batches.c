// SPDX-License-Identifier: Apache-2.0
/*
 * Whole batches in the order of the state they make. Segments lie by position; a pass's segment is
 * put where its position falls between two captured batches.
 */
#include "journal/reader-internal.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

struct batch_work {
    struct hf_journal_reader *reader;
    uint64_t position_min;
    uint64_t position_max;
    int (*each)(void *context, const struct hf_batch *batch, uint64_t position_base);
    void *context;
    size_t pass_next;                  /* index of the next segment that may be a pass's */
    struct hf_reader_segment *segment; /* the captured one under walk */
    bool beyond;                       /* position_max was reached: the walk was stopped for that */
};

static bool is_wanted_pass(const struct batch_work *work, const struct hf_reader_segment *segment)
{
    return segment->head.lane == HF_LANE_PASS && segment->position_end > work->position_min &&
           segment->position_end <= work->position_max;
}

static int pass_entry(void *context, const struct hf_entry *entry)
{
    struct batch_work *work = context;
    const struct hf_reader_segment *segment = work->reader->segments[work->pass_next];

    return work->each(work->context, &entry->batch, segment->head.base);
}

/* Damage inside what was asked for stops everything: the caller must not build on it. Without any
 * position (a lost state, a segment without a header) it is not known to be inside; what is missing
 * from the captured lane shows as a gap of its own. */
static int damage_stop(void *context, const struct hf_journal_damage *damage)
{
    struct batch_work *work = context;

    if (damage->position_begin == 0 && damage->position_end == 0)
        return 0;
    if (damage->position_begin >= work->position_max ||
        (damage->position_end <= work->position_min &&
         damage->position_end > damage->position_begin))
        return 0;
    return -HF_EDAMAGED;
}

static int pass_segment(struct batch_work *work)
{
    struct hf_walk walk;
    int r = hf_reader_walk_init(&walk, work->reader->segments[work->pass_next]);

    walk.each = pass_entry;
    walk.damage = damage_stop;
    walk.context = work;
    return r < 0 ? r : hf_walk_run(&walk);
}

/* The passes that lie at or before `position`. */
static int passes_before(struct batch_work *work, uint64_t position)
{
    struct hf_journal_reader *reader = work->reader;
    int r = 0;

    for (; r == 0 && work->pass_next < reader->segment_count; work->pass_next++) {
        const struct hf_reader_segment *segment = reader->segments[work->pass_next];

        if (segment->position_begin > position)
            return 0;
        if (is_wanted_pass(work, segment))
            r = pass_segment(work);
    }
    return r;
}

static int captured_entry(void *context, const struct hf_entry *entry)
{
    struct batch_work *work = context;
    const struct hf_segment_head *head = &work->segment->head;
    uint64_t begin = hf_entry_position_begin(head, entry);
    int r;

    if (hf_entry_position_end(head, entry) <= work->position_min)
        return 0;
    if (begin >= work->position_max) {
        work->beyond = true;
        return 1;
    }
    r = passes_before(work, begin);
    return r != 0 ? r : work->each(work->context, &entry->batch, head->base);
}

/* The last batch that begins at or before position_min is where the walk may begin: a merge goes
 * through a segment in many small steps. */
static int seek_moment(struct batch_work *work, struct hf_walk *walk)
{
    struct hf_index_cursor cursor;
    uint32_t low = 0;
    uint32_t high;
    int r = hf_reader_segment_index(work->reader, work->segment);

    if (r < 0)
        return r;
    hf_index_cursor_init(&cursor, &work->segment->index, HF_INDEX_MOMENTS);
    high = hf_index_cursor_count(&cursor);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct hf_index_moment *moment;
        const void *item;

        r = hf_index_cursor_item(&cursor, middle, &item);
        if (r < 0)
            return r;
        moment = item;
        if (hf_le64_get(moment->position_end) <= work->position_min) {
            low = middle + 1;
            walk->offset = hf_le64_get(moment->file_offset);
            walk->seq_end = hf_le64_get(moment->position_begin) - work->segment->head.base;
            walk->unchained = true;
        } else {
            high = middle;
        }
    }
    return 0;
}

static int captured_segment(struct batch_work *work, struct hf_reader_segment *segment)
{
    struct hf_walk walk;
    int r = hf_reader_walk_init(&walk, segment);

    work->segment = segment;
    if (r == 0)
        r = seek_moment(work, &walk);
    if (r < 0 && r != -HF_ECORRUPT)
        return r;
    walk.each = captured_entry;
    walk.damage = damage_stop;
    walk.context = work;
    work->beyond = false;
    r = hf_walk_run(&walk);
    return work->beyond ? 0 : r;
}

static int known_damage(struct batch_work *work)
{
    return hf_journal_reader_damage(work->reader, damage_stop, work);
}

int hf_journal_reader_batches(
    struct hf_journal_reader *reader, uint64_t position_min, uint64_t position_max,
    int (*each)(void *context, const struct hf_batch *batch, uint64_t position_base), void *context)
{
    struct batch_work work = {.reader = reader,
                              .position_min = position_min,
                              .position_max = position_max,
                              .each = each,
                              .context = context};
    int r = known_damage(&work);

    for (size_t i = 0; r == 0 && i < reader->segment_count; i++) {
        struct hf_reader_segment *segment = reader->segments[i];

        if (segment->head.lane == HF_LANE_CAPTURED && segment->position_end > position_min &&
            segment->position_begin < position_max)
            r = captured_segment(&work, segment);
    }
    return r != 0 ? r : passes_before(&work, position_max);
}
