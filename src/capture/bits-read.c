// SPDX-License-Identifier: Apache-2.0
/* Reading and clearing bit maps. */
#include "capture/capture-internal.h"

static uint64_t disk_bytes_of(const struct hf_capture *capture, unsigned slot)
{
    return capture->control->disks[slot].size_sectors << 9;
}

static uint64_t flags_of(const struct hf_capture_bits *bits)
{
    return __atomic_load_n(&bits->words[HF_MAP_HEAD_FLAGS], __ATOMIC_ACQUIRE);
}

/* One word of bits, as it counts: flags included. */
static uint64_t word_of(const struct hf_capture_bits *bits, uint64_t index)
{
    if (flags_of(bits) & HF_MAP_FLAG_ALL)
        return ~0ull;
    return __atomic_load_n(&bits->words[HF_MAP_HEAD_WORDS + index], __ATOMIC_ACQUIRE);
}

/* The first bit at or behind `from` that is `wanted`; bit_count when there is none. */
static uint64_t find_bit(const struct hf_capture_bits *bits, uint64_t from, bool wanted)
{
    while (from < bits->bit_count) {
        uint64_t word = word_of(bits, from / 64);

        if (!wanted)
            word = ~word;
        word &= ~0ull << (from & 63);
        if (word)
            return (from & ~63ull) + (uint64_t)__builtin_ctzll(word);
        from = (from | 63) + 1;
    }
    return bits->bit_count;
}

/* Behind the last bit there is only the flag. */
static bool next_beyond(const struct hf_capture_bits *bits, uint64_t from, uint64_t disk_bytes,
                        uint64_t *ret_start, uint64_t *ret_end)
{
    uint64_t start = HF_MAX(from, bits->bit_count << bits->shift);

    if (!(flags_of(bits) & (HF_MAP_FLAG_BEYOND | HF_MAP_FLAG_ALL)) || start >= disk_bytes)
        return false;
    *ret_start = start;
    *ret_end = disk_bytes;
    return true;
}

static bool next_run(const struct hf_capture_bits *bits, uint64_t from, uint64_t disk_bytes,
                     uint64_t *ret_start, uint64_t *ret_end)
{
    uint64_t first = find_bit(bits, from >> bits->shift, true);

    if (first == bits->bit_count)
        return next_beyond(bits, from, disk_bytes, ret_start, ret_end);
    *ret_start = HF_MAX(from, first << bits->shift);
    *ret_end = HF_MIN(disk_bytes, find_bit(bits, first, false) << bits->shift);
    return *ret_start < *ret_end;
}

int hf_capture_map_next(struct hf_capture *capture, unsigned slot, unsigned target,
                        enum hf_capture_map_kind kind, enum hf_capture_generation generation,
                        uint64_t from_bytes, uint64_t length_max, uint64_t *ret_offset_bytes,
                        uint64_t *ret_length_bytes)
{
    const struct hf_capture_bits *bits =
        hf_capture_bits_of(capture, slot, target, kind, generation);
    uint64_t start, end;

    if (!bits)
        return -ENODEV;
    if (!next_run(bits, from_bytes, disk_bytes_of(capture, slot), &start, &end))
        return 0;
    *ret_offset_bytes = start;
    *ret_length_bytes = HF_MIN(end - start, length_max);
    return 1;
}

int64_t hf_capture_map_bit_bytes(struct hf_capture *capture, unsigned slot)
{
    for (unsigned target = 0; target < HF_TARGETS_MAX; target++) {
        const struct hf_capture_bits *bits =
            hf_capture_bits_of(capture, slot, target, HF_MAP_LOST, HF_GENERATION_CURRENT);

        if (bits)
            return (int64_t)1 << bits->shift;
    }
    return -ENODEV;
}

int hf_capture_map_read(struct hf_capture *capture, unsigned slot, unsigned target,
                        enum hf_capture_map_kind kind, enum hf_capture_generation generation,
                        uint64_t *ret_words, size_t word_count)
{
    const struct hf_capture_bits *bits =
        hf_capture_bits_of(capture, slot, target, kind, generation);
    uint64_t disk_bits, words;

    if (!bits)
        return -ENODEV;
    disk_bits = (disk_bytes_of(capture, slot) + (1ull << bits->shift) - 1) >> bits->shift;
    words = (disk_bits + 63) / 64;
    if (words > word_count)
        return -ERANGE;
    for (size_t i = 0; i < word_count; i++) {
        if (i >= words)
            ret_words[i] = 0;
        else if (i < bits->bit_count / 64)
            ret_words[i] = word_of(bits, i);
        else
            ret_words[i] = flags_of(bits) ? ~0ull : 0;
    }
    if (words && disk_bits % 64)
        ret_words[words - 1] &= (1ull << disk_bits % 64) - 1;
    return 0;
}

int hf_capture_map_bytes(struct hf_capture *capture, unsigned slot, unsigned target,
                         enum hf_capture_map_kind kind, enum hf_capture_generation generation,
                         uint64_t *ret_bytes)
{
    const struct hf_capture_bits *bits =
        hf_capture_bits_of(capture, slot, target, kind, generation);
    uint64_t sum = 0, start, end = 0;

    if (!bits)
        return -ENODEV;
    while (next_run(bits, end, disk_bytes_of(capture, slot), &start, &end))
        sum += end - start;
    *ret_bytes = sum;
    return 0;
}

static void clear_bits(struct hf_capture_bits *bits, uint64_t first, uint64_t end)
{
    uint64_t *words = bits->words + HF_MAP_HEAD_WORDS;

    end = HF_MIN(end, bits->bit_count);
    while (first < end) {
        uint64_t stop = HF_MIN(end, (first | 63) + 1);
        uint64_t mask = ~0ull << (first & 63);

        if (stop & 63)
            mask &= (1ull << (stop & 63)) - 1;
        __atomic_fetch_and(&words[first / 64], ~mask, __ATOMIC_SEQ_CST);
        first = stop;
    }
}

int hf_capture_map_clear(struct hf_capture *capture, unsigned slot, unsigned target,
                         enum hf_capture_map_kind kind, uint64_t offset_bytes,
                         uint64_t length_bytes)
{
    struct hf_capture_bits *bits =
        hf_capture_bits_of(capture, slot, target, kind, HF_GENERATION_OLD);
    uint64_t block, end;

    if (!bits)
        return -ENODEV;
    if (!hf_add_u64(offset_bytes, length_bytes, &end))
        return -EINVAL;
    hf_capture_bits_spread(bits);
    block = 1ull << bits->shift;
    if (end >= disk_bytes_of(capture, slot)) {
        end = HF_MAX(HF_ALIGN_UP(end, block), bits->bit_count << bits->shift);
        if (offset_bytes <= bits->bit_count << bits->shift)
            __atomic_fetch_and(&bits->words[HF_MAP_HEAD_FLAGS], ~(uint64_t)HF_MAP_FLAG_BEYOND,
                               __ATOMIC_SEQ_CST);
    }
    clear_bits(bits, (offset_bytes + block - 1) >> bits->shift, end >> bits->shift);
    return 0;
}
