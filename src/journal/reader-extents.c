// SPDX-License-Identifier: Apache-2.0
/*
 * Looking up extents over all segments. Most segments do not hold a given place: the filter of each
 * (one bit test per 64 KiB of the range) says so without touching its file. An index that turns out
 * to be bad in the middle of a lookup is made again from its segment, and the lookup goes on behind
 * what was already given: both hold the same extents in the same order.
 */
#include "journal/reader-internal.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

/* ---- Which segments ---- */

static bool in_positions(const struct hf_reader_segment *segment,
                         const struct hf_index_query *query)
{
    if (segment->position_end <= query->position_min)
        return false;
    if (segment->head.lane == HF_LANE_PASS)
        return segment->position_end <= query->position_max;
    return segment->position_begin < query->position_max;
}

static int filter_ready(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    uint64_t bytes =
        (uint64_t)segment->index.info.sections[HF_INDEX_FILTER].count * HF_FILTER_BLOCK_BYTES;
    int r;

    if (segment->filter_loaded || segment->filter_absent)
        return 0;
    if (reader->filter_bytes + bytes > HF_READER_FILTER_BYTES) {
        segment->filter_absent = true;
        return 0;
    }
    r = hf_index_filter_load(&segment->index, &segment->filter);
    if (r < 0)
        return r;
    segment->filter_loaded = true;
    reader->filter_bytes += bytes;
    return 0;
}

/* Wide extents longer than the filter takes are not in it. */
static bool filter_says_no(const struct hf_reader_segment *segment,
                           const struct hf_index_query *query)
{
    uint64_t first = query->offset >> HF_FILTER_GRANULE_SHIFT;
    uint64_t last = (query->offset + query->length - 1) >> HF_FILTER_GRANULE_SHIFT;

    if (!segment->filter_loaded || segment->index.info.sections[HF_INDEX_WIDE].count > 0 ||
        last - first >= HF_FILTER_LOOKUP_GRANULES_MAX)
        return false;
    if (segment->filter.block_count == 0)
        return true;
    for (uint64_t granule = first; granule <= last; granule++)
        if (hf_filter_test(segment->filter.blocks, segment->filter.block_count, query->disk,
                           granule))
            return false;
    return true;
}

/* ---- One segment ---- */

struct delivery {
    const struct hf_index_query *query;
    uint64_t skip; /* already given before the index was made again */
    uint64_t given;
    bool stopped;
};

static int deliver(void *context, const struct hf_journal_extent *extent)
{
    struct delivery *delivery = context;
    int r;

    if (delivery->skip > 0) {
        delivery->skip--;
        return 0;
    }
    delivery->given++;
    r = delivery->query->each(delivery->query->context, extent);
    delivery->stopped = r != 0;
    return r;
}

static int segment_try(struct hf_journal_reader *reader, struct hf_reader_segment *segment,
                       struct delivery *delivery)
{
    struct hf_index_query query = *delivery->query;
    int r = hf_reader_segment_index(reader, segment);

    if (r == 0)
        r = filter_ready(reader, segment);
    if (r < 0 || filter_says_no(segment, &query))
        return r;
    delivery->skip = delivery->given;
    query.each = deliver;
    query.context = delivery;
    return hf_index_extents(&segment->index, &query);
}

static int segment_extents(struct hf_journal_reader *reader, struct hf_reader_segment *segment,
                           const struct hf_index_query *query)
{
    struct delivery delivery = {.query = query};
    int r = segment_try(reader, segment, &delivery);

    if (r != -HF_ECORRUPT || delivery.stopped)
        return r;
    r = hf_reader_segment_rebuild(reader, segment);
    return r < 0 ? r : segment_try(reader, segment, &delivery);
}

int hf_journal_reader_extents(struct hf_journal_reader *reader, uint16_t disk, uint64_t offset,
                              uint64_t length, uint64_t position_min, uint64_t position_max,
                              int (*each)(void *context, const struct hf_journal_extent *extent),
                              void *context)
{
    struct hf_index_query query = {
        .disk = disk,
        .offset = offset,
        .length = HF_MIN(length, UINT64_MAX - offset),
        .position_min = position_min,
        .position_max = position_max,
        .each = each,
        .context = context,
    };
    int r = 0;

    if (length == 0)
        return 0;
    for (size_t i = reader->segment_count; r == 0 && i > 0; i--)
        if (in_positions(reader->segments[i - 1], &query))
            r = segment_extents(reader, reader->segments[i - 1], &query);
    return r;
}

/* ---- Content ---- */

static int stored_read(struct hf_journal_reader *reader, const struct hf_journal_extent *extent)
{
    struct hf_reader_segment *segment = hf_reader_segment_find(reader, extent->segment);

    if (!segment)
        return -ESTALE;
    if (extent->stored_size > HF_FRAME_CONTENT_MAX)
        return -HF_ECORRUPT;
    if (extent->stored_size == 0)
        return 0;
    return hf_io_read_full(segment->file, reader->frame, extent->stored_size, extent->file_offset);
}

int hf_journal_reader_content(struct hf_journal_reader *reader,
                              const struct hf_journal_extent *extent, void *content)
{
    int r;

    if (extent->type != HF_RECORD_WRITE || extent->length > HF_FRAME_CONTENT_MAX)
        return -EINVAL;
    r = stored_read(reader, extent);
    if (r < 0)
        return r;
    return hf_frame_decode(extent->encoding, reader->frame, extent->stored_size, extent->checksum,
                           content, (size_t)extent->length);
}
