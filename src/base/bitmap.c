// SPDX-License-Identifier: Apache-2.0
/*
 * Words of 64 bits; bits past bit_count are always clear, so that counting and searching need no
 * special case for the last word.
 */
#include "base/bitmap.h"

#include <errno.h>
#include <stdlib.h>

#include "base/base.h"

#define WORD_BITS 64
#define BLOCK_SHIFT_MAX 40                /* 1 TiB a bit: beyond any use, and shifts stay defined */
#define BIT_COUNT_MAX ((uint64_t)1 << 36) /* 8 GiB of map */

static uint64_t word_count(const struct hf_bitmap *bitmap)
{
    return (bitmap->bit_count + WORD_BITS - 1) / WORD_BITS;
}

int hf_bitmap_init(struct hf_bitmap *bitmap, uint64_t disk_size, uint32_t block_shift)
{
    uint64_t bit_count;

    if (block_shift > BLOCK_SHIFT_MAX)
        return -EINVAL;
    bit_count = (disk_size >> block_shift) +
                ((disk_size & (((uint64_t)1 << block_shift) - 1)) != 0 ? 1 : 0);
    if (bit_count > BIT_COUNT_MAX)
        return -ENOMEM;
    *bitmap = (struct hf_bitmap){
        .bit_count = bit_count, .block_shift = block_shift, .disk_size = disk_size};
    bitmap->words = calloc(HF_MAX(word_count(bitmap), (uint64_t)1), sizeof(uint64_t));
    return bitmap->words ? 0 : -ENOMEM;
}

void hf_bitmap_done(struct hf_bitmap *bitmap)
{
    if (!bitmap)
        return;
    free(bitmap->words);
    *bitmap = (struct hf_bitmap){0};
}

/* ---- Runs of bits [first, end) ---- */

/* The bits of word `index` that lie in [first, end). */
static uint64_t run_mask(uint64_t index, uint64_t first, uint64_t end)
{
    uint64_t mask = ~(uint64_t)0;

    if (index == first / WORD_BITS)
        mask &= ~(uint64_t)0 << (first % WORD_BITS);
    if (index == end / WORD_BITS)
        mask &= ~(~(uint64_t)0 << (end % WORD_BITS));
    return mask;
}

static void set_bits(struct hf_bitmap *bitmap, uint64_t first, uint64_t end)
{
    if (first >= end)
        return;
    for (uint64_t i = first / WORD_BITS; i <= (end - 1) / WORD_BITS; i++)
        bitmap->words[i] |= run_mask(i, first, end);
}

static void clear_bits(struct hf_bitmap *bitmap, uint64_t first, uint64_t end)
{
    if (first >= end)
        return;
    for (uint64_t i = first / WORD_BITS; i <= (end - 1) / WORD_BITS; i++)
        bitmap->words[i] &= ~run_mask(i, first, end);
}

/* The first bit at or after `bit` whose value is set (flip 0) or clear (flip all ones); bit_count
 * when none. */
static uint64_t find_bit(const struct hf_bitmap *bitmap, uint64_t bit, uint64_t end, uint64_t flip)
{
    uint64_t index = bit / WORD_BITS, last = (end + WORD_BITS - 1) / WORD_BITS, word;

    if (bit >= end)
        return end;
    word = (bitmap->words[index] ^ flip) & (~(uint64_t)0 << (bit % WORD_BITS));
    while (word == 0 && ++index < last)
        word = bitmap->words[index] ^ flip;
    if (word == 0)
        return end;
    return HF_MIN(index * WORD_BITS + (uint64_t)__builtin_ctzll(word), end);
}

/* ---- Ranges of bytes ---- */

static uint64_t range_end(uint64_t offset, uint64_t length)
{
    return length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
}

static uint64_t block_up(const struct hf_bitmap *bitmap, uint64_t byte)
{
    uint64_t block = byte >> bitmap->block_shift;

    return (byte & (((uint64_t)1 << bitmap->block_shift) - 1)) != 0 ? block + 1 : block;
}

void hf_bitmap_set_range(struct hf_bitmap *bitmap, uint64_t offset, uint64_t length)
{
    uint64_t end = block_up(bitmap, range_end(offset, length));

    if (length > 0)
        set_bits(bitmap, offset >> bitmap->block_shift, HF_MIN(end, bitmap->bit_count));
}

/* The last block may be shorter than the others: a range up to the disk's end covers it. */
void hf_bitmap_clear_range(struct hf_bitmap *bitmap, uint64_t offset, uint64_t length)
{
    uint64_t end = range_end(offset, length);
    uint64_t end_bit = end >> bitmap->block_shift;

    if (bitmap->disk_size != 0 && end >= bitmap->disk_size)
        end_bit = bitmap->bit_count;
    clear_bits(bitmap, block_up(bitmap, offset), HF_MIN(end_bit, bitmap->bit_count));
}

void hf_bitmap_set_all(struct hf_bitmap *bitmap)
{
    set_bits(bitmap, 0, bitmap->bit_count);
}

bool hf_bitmap_test(const struct hf_bitmap *bitmap, uint64_t bit)
{
    if (bit >= bitmap->bit_count)
        return false;
    return (bitmap->words[bit / WORD_BITS] >> (bit % WORD_BITS)) & 1;
}

uint64_t hf_bitmap_count(const struct hf_bitmap *bitmap)
{
    uint64_t count = 0;

    for (uint64_t i = 0; i < word_count(bitmap); i++)
        if (bitmap->words[i] != 0)
            count += (uint64_t)__builtin_popcountll(bitmap->words[i]);
    return count;
}

void hf_bitmap_merge(struct hf_bitmap *target, const struct hf_bitmap *source)
{
    HF_ASSERT(target->bit_count == source->bit_count);
    HF_ASSERT(target->block_shift == source->block_shift);
    for (uint64_t i = 0; i < word_count(target); i++)
        target->words[i] |= source->words[i];
}

static uint64_t block_start(const struct hf_bitmap *bitmap, uint64_t bit)
{
    uint64_t start = bit << bitmap->block_shift;

    return bitmap->disk_size != 0 && bit >= bitmap->bit_count ? bitmap->disk_size : start;
}

bool hf_bitmap_next_range(const struct hf_bitmap *bitmap, uint64_t from, uint64_t length_max,
                          uint64_t *ret_offset, uint64_t *ret_length)
{
    uint64_t first, offset, end, end_max;

    HF_ASSERT(length_max > 0);
    first = find_bit(bitmap, HF_MIN(from >> bitmap->block_shift, bitmap->bit_count),
                     bitmap->bit_count, 0);
    if (first == bitmap->bit_count)
        return false;
    offset = HF_MAX(from, block_start(bitmap, first));
    if (bitmap->disk_size != 0 && offset >= bitmap->disk_size)
        return false;
    end_max = range_end(offset, length_max);
    end = block_start(bitmap,
                      find_bit(bitmap, first + 1,
                               HF_MIN(block_up(bitmap, end_max), bitmap->bit_count), ~(uint64_t)0));
    *ret_offset = offset;
    *ret_length = HF_MIN(end, end_max) - offset;
    return true;
}
