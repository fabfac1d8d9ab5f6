// SPDX-License-Identifier: Apache-2.0
/* Events and moments, from the indexes alone: listing points never reads a segment. */
#include "journal/reader-internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

struct hf_walk_range {
    uint64_t position_min;
    uint64_t position_max;
};

/* The captured segments that reach into (min, max], each through give(); a bad index is made again
 * once, and the items that were already given are not given twice. */
struct give_work {
    struct hf_journal_reader *reader;
    struct hf_reader_segment *segment;
    struct hf_walk_range range;
    uint32_t next; /* item */
    bool stopped;
    int (*each_event)(void *context, const struct hf_journal_event *event);
    int (*each_moment)(void *context, const struct hf_journal_moment *moment);
    void *context;
    uint8_t *body; /* HF_RECORD_CONTENT_MAX */
};

static int give_event(struct give_work *work, const struct hf_index_event *item)
{
    const struct hf_segment_head *head = &work->segment->head;
    struct hf_index_cursor bodies;
    struct hf_journal_event event = {
        .position = hf_le64_get(item->position),
        .type = item->type,
        .stream = head->stream,
        .seq = hf_le64_get(item->position) - head->base,
        .wall_ns = (int64_t)hf_le64_get(item->wall_ns),
        .receipt_ns = (int64_t)hf_le64_get(item->receipt_ns),
        .boot_ns = hf_le64_get(item->boot_ns),
        .body = work->body,
        .body_length = hf_le32_get(item->body_length),
    };
    int r;

    if (event.position <= work->range.position_min || event.position > work->range.position_max)
        return 0;
    if (event.body_length > HF_RECORD_CONTENT_MAX)
        return -HF_ECORRUPT;
    hf_index_cursor_init(&bodies, &work->segment->index, HF_INDEX_BODIES);
    r = hf_index_cursor_bytes(&bodies, hf_le32_get(item->body_offset), work->body,
                              event.body_length);
    if (r < 0)
        return r;
    r = work->each_event(work->context, &event);
    work->stopped = r != 0;
    return r;
}

static int give_moment(struct give_work *work, const struct hf_index_moment *item)
{
    struct hf_journal_moment moment = {
        .position_begin = hf_le64_get(item->position_begin),
        .position_end = hf_le64_get(item->position_end),
        .stream = work->segment->head.stream,
        .wall_first_ns = (int64_t)hf_le64_get(item->wall_first_ns),
        .wall_last_ns = (int64_t)hf_le64_get(item->wall_last_ns),
        .receipt_ns = (int64_t)hf_le64_get(item->receipt_ns),
    };
    int r;

    if (moment.position_end <= work->range.position_min ||
        moment.position_begin >= work->range.position_max)
        return 0;
    r = work->each_moment(work->context, &moment);
    work->stopped = r != 0;
    return r;
}

static int give_items(struct give_work *work)
{
    struct hf_index_cursor cursor;
    int r = hf_reader_segment_index(work->reader, work->segment);

    if (r < 0)
        return r;
    hf_index_cursor_init(&cursor, &work->segment->index,
                         work->each_event ? HF_INDEX_EVENTS : HF_INDEX_MOMENTS);
    while (r == 0 && work->next < hf_index_cursor_count(&cursor)) {
        const void *item;

        r = hf_index_cursor_item(&cursor, work->next, &item);
        if (r == 0)
            r = work->each_event ? give_event(work, item) : give_moment(work, item);
        if (r == 0)
            work->next++;
    }
    return r;
}

static int give_segment(struct give_work *work, struct hf_reader_segment *segment)
{
    int r;

    work->segment = segment;
    work->next = 0;
    r = give_items(work);
    if (r != -HF_ECORRUPT || work->stopped)
        return r;
    r = hf_reader_segment_rebuild(work->reader, segment);
    return r < 0 ? r : give_items(work);
}

static int give_all(struct give_work *work)
{
    struct hf_journal_reader *reader = work->reader;
    int r = 0;

    for (size_t i = 0; r == 0 && i < reader->segment_count; i++) {
        struct hf_reader_segment *segment = reader->segments[i];

        if (segment->head.lane == HF_LANE_CAPTURED &&
            segment->position_end > work->range.position_min &&
            segment->position_begin < work->range.position_max)
            r = give_segment(work, segment);
    }
    return r;
}

int hf_journal_reader_events(struct hf_journal_reader *reader, uint64_t position_min,
                             uint64_t position_max,
                             int (*each)(void *context, const struct hf_journal_event *event),
                             void *context)
{
    struct give_work work = {.reader = reader,
                             .range = {position_min, position_max},
                             .each_event = each,
                             .context = context,
                             .body = malloc(HF_RECORD_CONTENT_MAX)};
    int r = work.body ? give_all(&work) : -ENOMEM;

    free(work.body);
    return r;
}

int hf_journal_reader_moments(struct hf_journal_reader *reader, uint64_t position_min,
                              uint64_t position_max,
                              int (*each)(void *context, const struct hf_journal_moment *moment),
                              void *context)
{
    struct give_work work = {.reader = reader,
                             .range = {position_min, position_max},
                             .each_moment = each,
                             .context = context};

    return give_all(&work);
}
