// SPDX-License-Identifier: Apache-2.0
/* Maps of ranges as bits: bit i stands for the block [i * block_size, (i + 1) * block_size) of a
 * disk. One thread. */
#ifndef HF_BASE_BITMAP_H
#define HF_BASE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hf_bitmap {
    uint64_t *words;
    uint64_t bit_count;
    uint32_t block_shift; /* log2 of the block size in bytes */
    uint64_t disk_size;   /* bytes; the last block may be shorter. 0: all blocks are whole */
};

/* All clear. -ENOMEM; -EINVAL when a bit would stand for over 1 TiB. Freed by hf_bitmap_done. */
int hf_bitmap_init(struct hf_bitmap *bitmap, uint64_t disk_size, uint32_t block_shift);
void hf_bitmap_done(struct hf_bitmap *bitmap); /* NULL-safe, idempotent */

/* Byte ranges are widened to whole blocks when set, and narrowed to whole blocks when cleared: a
 * bit is never lost. What lies past the disk's end is ignored. */
void hf_bitmap_set_range(struct hf_bitmap *bitmap, uint64_t offset, uint64_t length);
void hf_bitmap_clear_range(struct hf_bitmap *bitmap, uint64_t offset, uint64_t length);
void hf_bitmap_set_all(struct hf_bitmap *bitmap);
bool hf_bitmap_test(const struct hf_bitmap *bitmap, uint64_t bit);
uint64_t hf_bitmap_count(const struct hf_bitmap *bitmap);
/* target |= source; same geometry. */
void hf_bitmap_merge(struct hf_bitmap *target, const struct hf_bitmap *source);

/* The first run of set bits at or after byte `from`, at most length_max (> 0) bytes long, cut at
 * the disk's end; it begins at `from` when that lies inside a set block, so that a caller goes on
 * at ret_offset + ret_length. False when there is none. */
bool hf_bitmap_next_range(const struct hf_bitmap *bitmap, uint64_t from, uint64_t length_max,
                          uint64_t *ret_offset, uint64_t *ret_length);

#endif
