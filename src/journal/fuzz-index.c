// SPDX-License-Identifier: Apache-2.0
/* Any bytes as an index: as they are, and once more with the hashes of its pages made right. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "fuzz.h"
#include "journal/index.h"

static void sign_header(uint8_t *data, size_t size)
{
    struct hf_index_header *header = (struct hf_index_header *)data;

    header->magic = hf_le64_of(HF_INDEX_MAGIC);
    header->version = hf_le32_of(HF_INDEX_VERSION);
    header->incompatible = hf_le32_of(0);
    header->number = hf_le64_of(1);
    header->page_count = hf_le32_of((uint32_t)(size / HF_PAGE_BYTES));
    header->header_hash =
        hf_le64_of(hf_hash64(header, offsetof(struct hf_index_header, header_hash)));
}

static void sign_pages(uint8_t *data, size_t size)
{
    struct hf_id id = ((struct hf_index_header *)data)->id;
    uint64_t tag = hf_segment_tag(&id);

    for (size_t at = HF_PAGE_BYTES; at + HF_PAGE_BYTES <= size; at += HF_PAGE_BYTES) {
        struct hf_index_page *page = (struct hf_index_page *)(data + at);

        page->number = hf_le32_of((uint32_t)(at / HF_PAGE_BYTES));
        page->hash =
            hf_le64_of(hf_hash64_seeded(data + at + 8, sizeof(*page) - sizeof(page->hash), tag));
    }
}

static int fuzz_extent(void *context, const struct hf_journal_extent *extent)
{
    size_t *left = context;

    HF_ASSERT(extent->position > 0);
    return --*left == 0;
}

static void look_up(const struct hf_index *index)
{
    size_t left = 100000;
    struct hf_index_query query = {
        .length = UINT64_MAX, .position_max = UINT64_MAX, .each = fuzz_extent, .context = &left};

    (void)hf_index_extents(index, &query);
    query.disk = 1;
    query.offset = 65536;
    query.length = 4096;
    (void)hf_index_extents(index, &query);
}

static void read_items(const struct hf_index *index)
{
    for (int section = 0; section < HF_INDEX_SECTIONS; section++) {
        struct hf_index_cursor cursor;
        const void *item;

        hf_index_cursor_init(&cursor, index, (enum hf_index_section_kind)section);
        for (uint32_t i = 0; i < hf_index_cursor_count(&cursor); i++)
            if (hf_index_cursor_item(&cursor, i, &item) < 0)
                break;
    }
}

static void try_index(const uint8_t *data, size_t size)
{
    struct hf_bytes image = {0};
    struct hf_index_filter filter;
    struct hf_index index;

    if (size == 0 || hf_bytes_append(&image, data, size) < 0)
        return;
    if (hf_index_open_image(&image, 1, &index) == 0) {
        look_up(&index);
        read_items(&index);
        (void)hf_index_check(&index);
        if (hf_index_filter_load(&index, &filter) == 0) {
            if (filter.block_count > 0)
                (void)hf_filter_test(filter.blocks, filter.block_count, 1, 77);
            hf_index_filter_done(&filter);
        }
        hf_index_close(&index);
    }
    hf_bytes_clear(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);

    if (copy) {
        memcpy(copy, data, size);
        try_index(copy, size);
        if (size >= HF_PAGE_BYTES) {
            sign_header(copy, size);
            sign_pages(copy, size);
            try_index(copy, size);
        }
    }
    free(copy);
    return 0;
}
