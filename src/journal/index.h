// SPDX-License-Identifier: Apache-2.0
/*
 * The index of one segment: built from its entries in memory, laid out as pages (the same bytes in
 * memory and in the file), and read page by page. Private to src/journal.
 */
#ifndef HF_JOURNAL_INDEX_H
#define HF_JOURNAL_INDEX_H

#include "base/bytes.h"
#include "journal/page-cache.h"
#include "journal/reader.h"
#include "journal/segment.h"

/* ---- Building ---- */

/* What a segment holds, gathered while it is appended to or walked. One thread. */
struct hf_index_builder {
    struct hf_segment_head head;
    struct hf_bytes extents;
    struct hf_bytes wide;
    struct hf_bytes moments;
    struct hf_bytes events;
    struct hf_bytes bodies;
    struct hf_bytes damage;
    uint32_t ordinal;
    uint32_t entry_count;
    uint64_t segment_end;
    uint64_t last_hash;
    uint64_t seq_end;
    struct hf_digest digest_end;
    uint64_t pass_batch_end;
    int64_t wall_first_ns;
    int64_t wall_last_ns;
    int64_t receipt_first_ns;
    int64_t receipt_last_ns;
};

void hf_index_builder_init(struct hf_index_builder *builder, const struct hf_segment_head *head);
void hf_index_builder_done(struct hf_index_builder *builder); /* NULL-safe, idempotent */
/* Extents so far plus those that a batch may add: over HF_SEGMENT_EXTENTS_MAX it must not go in. */
uint64_t hf_index_builder_extents_with(const struct hf_index_builder *builder,
                                       const struct hf_batch *batch);
/* -ENOMEM, HF_ETOOBIG, or HF_ECORRUPT when an event's body is not what its checksum says; the
 * builder is then unusable for anything but done. */
int hf_index_builder_add(struct hf_index_builder *builder, const struct hf_entry *entry);
int hf_index_builder_damage(struct hf_index_builder *builder,
                            const struct hf_journal_damage *damage);
/* The whole index file into image (empty before). Sorts the builder's extents; more may be added
 * afterwards and another image made. */
int hf_index_build(struct hf_index_builder *builder, struct hf_bytes *ret_image);

/* ---- Reading ---- */

/* An index header in the host's form. */
struct hf_index_info {
    struct hf_segment_head head; /* its hash is 0: only the segment itself knows it */
    uint64_t seq_end;
    struct hf_digest digest_end;
    uint64_t pass_batch_end;
    uint64_t segment_end;
    uint64_t last_hash;
    uint32_t entry_count;
    uint32_t page_count;
    int64_t wall_first_ns;
    int64_t wall_last_ns;
    int64_t receipt_first_ns;
    int64_t receipt_last_ns;
    struct {
        uint32_t page_first;
        uint32_t count;
        uint32_t item_size;
    } sections[HF_INDEX_SECTIONS];
};

/* An index that can be read: in a file through a cache, or as an image in memory. */
struct hf_index {
    struct hf_index_info info;
    struct hf_file *file; /* owned; NULL: image */
    struct hf_bytes image;
    struct hf_page_cache *cache; /* borrowed; NULL with an image, or when nothing is kept */
    uint64_t cache_key;
    uint64_t tag;
};

/* Decodes page 0. HF_ECORRUPT, HF_EVERSION. */
int hf_index_info_decode(const uint8_t *page, uint64_t number, struct hf_index_info *ret_info);
/* Takes the file over when it succeeds. cache may be NULL. HF_ECORRUPT, HF_EVERSION, -EIO. */
int hf_index_open_file(struct hf_file *file, uint64_t number, struct hf_page_cache *cache,
                       struct hf_index *ret_index);
/* Takes the image over when it succeeds. */
int hf_index_open_image(struct hf_bytes *image, uint64_t number, struct hf_index *ret_index);
void hf_index_close(struct hf_index *index); /* NULL-safe, idempotent */

/* One page under the reader's eye. Zero-initialised is empty; belongs to one index. */
struct hf_index_cursor {
    const struct hf_index *index;
    enum hf_index_section_kind section;
    bool loaded;
    uint32_t page_number;
    struct hf_index_page page;
};
void hf_index_cursor_init(struct hf_index_cursor *cursor, const struct hf_index *index,
                          enum hf_index_section_kind section);
uint32_t hf_index_cursor_count(const struct hf_index_cursor *cursor);
/* Item i of the section, borrowed until the next call. HF_ECORRUPT, -EIO. */
int hf_index_cursor_item(struct hf_index_cursor *cursor, uint32_t i, const void **ret_item);
/* `size` bytes of a section of single bytes, copied. */
int hf_index_cursor_bytes(struct hf_index_cursor *cursor, uint32_t offset, void *data, size_t size);

/* A lookup of extents. Stops at the first non-zero of each and returns it. */
struct hf_index_query {
    uint16_t disk;
    uint64_t offset;
    uint64_t length;
    uint64_t position_min; /* positions in (min, max] */
    uint64_t position_max;
    int (*each)(void *context, const struct hf_journal_extent *extent);
    void *context;
};
int hf_index_extents(const struct hf_index *index, const struct hf_index_query *query);

/* The resident form of an index's filter: blocks one after the other. */
struct hf_index_filter {
    uint8_t *blocks;
    uint32_t block_count;
};
int hf_index_filter_load(const struct hf_index *index, struct hf_index_filter *ret_filter);
void hf_index_filter_done(struct hf_index_filter *filter);
/* Bits of one granule in its block: false when it certainly does not occur. block_count > 0. */
bool hf_filter_test(const uint8_t *blocks, uint32_t block_count, uint16_t disk, uint64_t granule);
void hf_filter_set(uint8_t *blocks, uint32_t block_count, uint16_t disk, uint64_t granule);

/* Reads every page: 0, or the first error. */
int hf_index_check(const struct hf_index *index);

#endif
