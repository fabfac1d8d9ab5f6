// SPDX-License-Identifier: Apache-2.0
/* Opens an index and finds things in it, a page at a time. Nothing read from a file is believed
 * before its page's hash was compared. */
#include "journal/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

#define PAGE_ITEMS_BYTES ((uint32_t)sizeof(((struct hf_index_page *)0)->items))

static const uint32_t item_sizes[HF_INDEX_SECTIONS] = {
    [HF_INDEX_EXTENTS] = sizeof(struct hf_index_extent),
    [HF_INDEX_FENCES] = sizeof(struct hf_index_fence),
    [HF_INDEX_WIDE] = sizeof(struct hf_index_wide),
    [HF_INDEX_FILTER] = HF_FILTER_BLOCK_BYTES,
    [HF_INDEX_MOMENTS] = sizeof(struct hf_index_moment),
    [HF_INDEX_EVENTS] = sizeof(struct hf_index_event),
    [HF_INDEX_BODIES] = 1,
    [HF_INDEX_DAMAGE] = sizeof(struct hf_index_damage),
};

static int info_check(const struct hf_index_header *header, uint64_t number)
{
    if (hf_le64_get(header->magic) != HF_INDEX_MAGIC)
        return -HF_ECORRUPT;
    if (hf_le32_get(header->version) != HF_INDEX_VERSION || hf_le32_get(header->incompatible) != 0)
        return -HF_EVERSION;
    if (hf_le64_get(header->header_hash) !=
        hf_hash64(header, offsetof(struct hf_index_header, header_hash)))
        return -HF_ECORRUPT;
    if (hf_le64_get(header->number) != number)
        return -HF_ECORRUPT;
    if (header->lane != HF_LANE_CAPTURED && header->lane != HF_LANE_PASS)
        return -HF_ECORRUPT;
    return 0;
}

/* Sections lie one behind the other, each in as few pages as it needs. */
static int sections_decode(const struct hf_index_header *header, struct hf_index_info *info)
{
    uint64_t page = 1;

    for (int kind = 0; kind < HF_INDEX_SECTIONS; kind++) {
        uint32_t count = hf_le32_get(header->sections[kind].count);
        uint32_t per_page = PAGE_ITEMS_BYTES / item_sizes[kind];

        if (hf_le32_get(header->sections[kind].item_size) != item_sizes[kind] ||
            hf_le32_get(header->sections[kind].page_first) != page)
            return -HF_ECORRUPT;
        info->sections[kind].page_first = (uint32_t)page;
        info->sections[kind].count = count;
        info->sections[kind].item_size = item_sizes[kind];
        page += ((uint64_t)count + per_page - 1) / per_page;
    }
    return page == hf_le32_get(header->page_count) ? 0 : -HF_ECORRUPT;
}

static void info_head(const struct hf_index_header *header, struct hf_segment_head *head)
{
    *head = (struct hf_segment_head){
        .number = hf_le64_get(header->number),
        .id = header->id,
        .stream = {.epoch = hf_le64_get(header->epoch), .capture = header->capture},
        .base = hf_le64_get(header->base),
        .seq_begin = hf_le64_get(header->seq_begin),
        .digest_begin = {.value = header->digest_begin},
        .pass = hf_le64_get(header->pass),
        .pass_batch = hf_le64_get(header->pass_batch_begin),
        .lane = header->lane,
    };
}

int hf_index_info_decode(const uint8_t *page, uint64_t number, struct hf_index_info *ret_info)
{
    struct hf_index_header header;
    struct hf_index_info info = {0};
    int r;

    memcpy(&header, page, sizeof(header));
    r = info_check(&header, number);
    if (r == 0)
        r = sections_decode(&header, &info);
    if (r < 0)
        return r;
    for (size_t i = sizeof(header); i < HF_PAGE_BYTES; i++)
        if (page[i] != 0)
            return -HF_ECORRUPT;
    info_head(&header, &info.head);
    info.seq_end = hf_le64_get(header.seq_end);
    info.digest_end.value = header.digest_end;
    info.pass_batch_end = hf_le64_get(header.pass_batch_end);
    info.segment_end = hf_le64_get(header.segment_end);
    info.last_hash = hf_le64_get(header.last_hash);
    info.entry_count = hf_le32_get(header.entry_count);
    info.page_count = hf_le32_get(header.page_count);
    info.wall_first_ns = (int64_t)hf_le64_get(header.wall_first_ns);
    info.wall_last_ns = (int64_t)hf_le64_get(header.wall_last_ns);
    info.receipt_first_ns = (int64_t)hf_le64_get(header.receipt_first_ns);
    info.receipt_last_ns = (int64_t)hf_le64_get(header.receipt_last_ns);
    *ret_info = info;
    return 0;
}

int hf_index_open_file(struct hf_file *file, uint64_t number, struct hf_page_cache *cache,
                       struct hf_index *ret_index)
{
    struct hf_index index = {.file = file, .cache = cache};
    uint8_t page[HF_PAGE_BYTES];
    size_t got = 0;
    int r = hf_io_read(file, page, sizeof(page), 0, &got);

    if (r == 0)
        r = got == sizeof(page) ? hf_index_info_decode(page, number, &index.info) : -HF_ECORRUPT;
    if (r < 0)
        return r;
    index.tag = hf_segment_tag(&index.info.head.id);
    index.cache_key = cache ? hf_page_cache_key(cache) : 0;
    *ret_index = index;
    return 0;
}

int hf_index_open_image(struct hf_bytes *image, uint64_t number, struct hf_index *ret_index)
{
    struct hf_index index = {0};
    int r = image->size >= HF_PAGE_BYTES ? hf_index_info_decode(image->data, number, &index.info)
                                         : -HF_ECORRUPT;

    if (r < 0)
        return r;
    index.tag = hf_segment_tag(&index.info.head.id);
    index.image = *image;
    *image = (struct hf_bytes){0};
    *ret_index = index;
    return 0;
}

void hf_index_close(struct hf_index *index)
{
    if (!index)
        return;
    hf_io_close(index->file);
    index->file = NULL;
    hf_bytes_clear(&index->image);
}

/* ---- Pages ---- */

static int page_check(const struct hf_index *index, const struct hf_index_page *page,
                      uint32_t number)
{
    uint64_t hash =
        hf_hash64_seeded((const uint8_t *)page + 8, sizeof(*page) - sizeof(page->hash), index->tag);

    if (hf_le64_get(page->hash) != hash || hf_le32_get(page->number) != number)
        return -HF_ECORRUPT;
    return 0;
}

static int page_from_file(const struct hf_index *index, uint32_t number, struct hf_index_page *page)
{
    const void *kept =
        index->cache ? hf_page_cache_find(index->cache, index->cache_key, number) : NULL;
    int r;

    if (kept) {
        memcpy(page, kept, sizeof(*page));
        return 0;
    }
    r = hf_io_read_full(index->file, page, sizeof(*page), (uint64_t)number * HF_PAGE_BYTES);
    if (r == 0)
        r = page_check(index, page, number);
    if (r == 0 && index->cache)
        hf_page_cache_insert(index->cache, index->cache_key, number, page);
    return r;
}

static int page_load(const struct hf_index *index, uint32_t number, struct hf_index_page *page)
{
    size_t offset = (size_t)number * HF_PAGE_BYTES;

    if (index->file)
        return page_from_file(index, number, page);
    if (offset + HF_PAGE_BYTES > index->image.size)
        return -HF_ECORRUPT;
    memcpy(page, index->image.data + offset, sizeof(*page));
    return page_check(index, page, number);
}

/* ---- Cursors ---- */

void hf_index_cursor_init(struct hf_index_cursor *cursor, const struct hf_index *index,
                          enum hf_index_section_kind section)
{
    cursor->index = index;
    cursor->section = section;
    cursor->loaded = false;
}

uint32_t hf_index_cursor_count(const struct hf_index_cursor *cursor)
{
    return cursor->index->info.sections[cursor->section].count;
}

static int cursor_load(struct hf_index_cursor *cursor, uint32_t number)
{
    int r;

    if (cursor->loaded && cursor->page_number == number)
        return 0;
    cursor->loaded = false;
    r = page_load(cursor->index, number, &cursor->page);
    if (r == 0 && cursor->page.section != cursor->section)
        r = -HF_ECORRUPT;
    if (r < 0)
        return r;
    cursor->loaded = true;
    cursor->page_number = number;
    return 0;
}

int hf_index_cursor_item(struct hf_index_cursor *cursor, uint32_t i, const void **ret_item)
{
    uint32_t item_size = item_sizes[cursor->section];
    uint32_t per_page = PAGE_ITEMS_BYTES / item_size;
    int r;

    HF_ASSERT(i < hf_index_cursor_count(cursor));
    r = cursor_load(cursor,
                    cursor->index->info.sections[cursor->section].page_first + i / per_page);
    if (r < 0)
        return r;
    *ret_item = cursor->page.items + (size_t)(i % per_page) * item_size;
    return 0;
}

int hf_index_cursor_bytes(struct hf_index_cursor *cursor, uint32_t offset, void *data, size_t size)
{
    uint8_t *to = data;

    if ((uint64_t)offset + size > hf_index_cursor_count(cursor))
        return -HF_ECORRUPT;
    while (size > 0) {
        size_t piece = HF_MIN(size, (size_t)(PAGE_ITEMS_BYTES - offset % PAGE_ITEMS_BYTES));
        const void *from;
        int r = hf_index_cursor_item(cursor, offset, &from);

        if (r < 0)
            return r;
        memcpy(to, from, piece);
        to += piece;
        offset += (uint32_t)piece;
        size -= piece;
    }
    return 0;
}

int hf_index_check(const struct hf_index *index)
{
    struct hf_index_page page;
    int r = 0;

    for (uint32_t number = 1; r == 0 && number < index->info.page_count; number++)
        r = page_load(index, number, &page);
    return r;
}
