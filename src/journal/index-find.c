// SPDX-License-Identifier: Apache-2.0
/*
 * Finding extents. A WRITE extent is at most HF_FRAME_CONTENT_MAX long, so those that overlap a
 * range begin less than that before it: one search in the fences, then pages in order. ZERO and
 * DISCARD can be as long as a disk; end_max, which only rises within a disk, finds the first that
 * can overlap.
 */
#include "journal/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

/* ---- The filter ---- */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static uint64_t filter_key(uint16_t disk, uint64_t granule)
{
    return mix(granule ^ (uint64_t)disk << 48);
}

/* 9 bits a probe; the block comes from the upper half, the probes from a second mix. */
static uint8_t *filter_block(uint8_t *blocks, uint32_t block_count, uint64_t key)
{
    return blocks + (key >> 32) * block_count / ((uint64_t)1 << 32) * HF_FILTER_BLOCK_BYTES;
}

void hf_filter_set(uint8_t *blocks, uint32_t block_count, uint16_t disk, uint64_t granule)
{
    uint64_t key = filter_key(disk, granule);
    uint8_t *block = filter_block(blocks, block_count, key);
    uint64_t bits = mix(key);

    for (unsigned i = 0; i < HF_FILTER_PROBES; i++, bits >>= 9)
        block[(bits & 511) / 8] |= (uint8_t)(1u << (bits & 7));
}

bool hf_filter_test(const uint8_t *blocks, uint32_t block_count, uint16_t disk, uint64_t granule)
{
    uint64_t key = filter_key(disk, granule);
    const uint8_t *block = filter_block((uint8_t *)blocks, block_count, key);
    uint64_t bits = mix(key);

    for (unsigned i = 0; i < HF_FILTER_PROBES; i++, bits >>= 9)
        if (!(block[(bits & 511) / 8] & 1u << (bits & 7)))
            return false;
    return true;
}

int hf_index_filter_load(const struct hf_index *index, struct hf_index_filter *ret_filter)
{
    struct hf_index_cursor cursor;
    uint32_t count;
    uint8_t *blocks;
    int r = 0;

    hf_index_cursor_init(&cursor, index, HF_INDEX_FILTER);
    count = hf_index_cursor_count(&cursor);
    blocks = malloc(HF_MAX((size_t)count * HF_FILTER_BLOCK_BYTES, (size_t)1));
    if (!blocks)
        return -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        const void *block;

        r = hf_index_cursor_item(&cursor, i, &block);
        if (r == 0)
            memcpy(blocks + (size_t)i * HF_FILTER_BLOCK_BYTES, block, HF_FILTER_BLOCK_BYTES);
    }
    if (r < 0) {
        free(blocks);
        return r;
    }
    *ret_filter = (struct hf_index_filter){.blocks = blocks, .block_count = count};
    return 0;
}

void hf_index_filter_done(struct hf_index_filter *filter)
{
    free(filter->blocks);
    *filter = (struct hf_index_filter){0};
}

/* ---- Searching ---- */

/* The first item for which `before` is false, in [0, count]; items are ordered so that it is true
 * first. */
static int search_items(struct hf_index_cursor *cursor,
                        bool (*before)(const void *item, uint16_t disk, uint64_t offset),
                        uint16_t disk, uint64_t offset, uint32_t *ret_i)
{
    uint32_t low = 0;
    uint32_t high = hf_index_cursor_count(cursor);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const void *item;
        int r = hf_index_cursor_item(cursor, middle, &item);

        if (r < 0)
            return r;
        if (before(item, disk, offset))
            low = middle + 1;
        else
            high = middle;
    }
    *ret_i = low;
    return 0;
}

static bool fence_before(const void *item, uint16_t disk, uint64_t offset)
{
    const struct hf_index_fence *fence = item;
    uint16_t fence_disk = hf_le16_get(fence->disk);

    return fence_disk < disk || (fence_disk == disk && hf_le64_get(fence->offset) < offset);
}

static bool wide_before(const void *item, uint16_t disk, uint64_t offset)
{
    const struct hf_index_wide *wide = item;
    uint16_t wide_disk = hf_le16_get(wide->disk);

    return wide_disk < disk || (wide_disk == disk && hf_le64_get(wide->end_max) <= offset);
}

static bool overlaps(const struct hf_index_query *query, const struct hf_journal_extent *extent)
{
    return extent->offset < query->offset + query->length &&
           extent->offset + extent->length > query->offset &&
           extent->position > query->position_min && extent->position <= query->position_max;
}

static uint64_t order_of(const struct hf_index *index, uint32_t ordinal)
{
    return index->info.head.number << 32 | ordinal;
}

static void extent_decode(const struct hf_index *index, const struct hf_index_extent *item,
                          struct hf_journal_extent *extent)
{
    *extent = (struct hf_journal_extent){
        .offset = hf_le64_get(item->offset),
        .length = hf_le32_get(item->length),
        .position = hf_le64_get(item->position),
        .order = order_of(index, hf_le32_get(item->ordinal)),
        .segment = index->info.head.number,
        .file_offset = hf_le32_get(item->file_offset),
        .checksum = hf_le64_get(item->checksum),
        .stored_size = hf_le16_get(item->stored_size),
        .encoding = item->encoding,
        .type = item->type,
    };
}

static void wide_decode(const struct hf_index *index, const struct hf_index_wide *item,
                        struct hf_journal_extent *extent)
{
    *extent = (struct hf_journal_extent){
        .offset = hf_le64_get(item->offset),
        .length = hf_le64_get(item->length),
        .position = hf_le64_get(item->position),
        .order = order_of(index, hf_le32_get(item->ordinal)),
        .segment = index->info.head.number,
        .type = item->type,
    };
}

static int find_writes_from(const struct hf_index *index, const struct hf_index_query *query,
                            uint32_t first)
{
    struct hf_index_cursor cursor;
    uint32_t count;

    hf_index_cursor_init(&cursor, index, HF_INDEX_EXTENTS);
    count = hf_index_cursor_count(&cursor);
    for (uint32_t i = first; i < count; i++) {
        struct hf_journal_extent extent;
        const struct hf_index_extent *item;
        const void *data;
        int r = hf_index_cursor_item(&cursor, i, &data);

        if (r < 0)
            return r;
        item = data;
        extent_decode(index, item, &extent);
        if (hf_le16_get(item->disk) > query->disk ||
            (hf_le16_get(item->disk) == query->disk &&
             extent.offset >= query->offset + query->length))
            return 0;
        if (hf_le16_get(item->disk) == query->disk && overlaps(query, &extent)) {
            r = query->each(query->context, &extent);
            if (r != 0)
                return r;
        }
    }
    return 0;
}

static int find_writes(const struct hf_index *index, const struct hf_index_query *query)
{
    const uint32_t per_page =
        sizeof(((struct hf_index_page *)0)->items) / sizeof(struct hf_index_extent);
    uint64_t from = query->offset - HF_MIN(query->offset, (uint64_t)HF_FRAME_CONTENT_MAX - 1);
    struct hf_index_cursor fences;
    uint32_t page;
    int r;

    hf_index_cursor_init(&fences, index, HF_INDEX_FENCES);
    r = search_items(&fences, fence_before, query->disk, from, &page);
    if (r < 0)
        return r;
    /* The page before the first whose first key is not smaller may hold the key as well. */
    return find_writes_from(index, query, (page > 0 ? page - 1 : 0) * per_page);
}

static int find_wide(const struct hf_index *index, const struct hf_index_query *query)
{
    struct hf_index_cursor cursor;
    uint32_t i;
    int r;

    hf_index_cursor_init(&cursor, index, HF_INDEX_WIDE);
    r = search_items(&cursor, wide_before, query->disk, query->offset, &i);
    for (; r == 0 && i < hf_index_cursor_count(&cursor); i++) {
        const struct hf_index_wide *item;
        struct hf_journal_extent extent;
        const void *data;

        r = hf_index_cursor_item(&cursor, i, &data);
        if (r < 0)
            return r;
        item = data;
        if (hf_le16_get(item->disk) != query->disk ||
            hf_le64_get(item->offset) >= query->offset + query->length)
            return 0;
        wide_decode(index, item, &extent);
        if (overlaps(query, &extent))
            r = query->each(query->context, &extent);
    }
    return r;
}

int hf_index_extents(const struct hf_index *index, const struct hf_index_query *query)
{
    int r = find_writes(index, query);

    return r != 0 ? r : find_wide(index, query);
}
