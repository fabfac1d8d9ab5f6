/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Setting bits in the maps of a disk, for every target that follows it. */
#ifndef HF_BPF_CAPTURE_BITS_H
#define HF_BPF_CAPTURE_BITS_H

struct hf_bits_walk {
    __u64 first_word;
    __u64 last_word;
    __u64 first_mask;
    __u64 last_mask;
    __u32 index;
};

static long hf_bits_word(__u32 i, struct hf_bits_walk *walk)
{
    void *inner = bpf_map_lookup_elem(&hf_bits, &walk->index);
    __u64 word_index = walk->first_word + i;
    __u64 mask = ~0ULL;
    __u64 *word;
    __u32 key = (__u32)word_index + HF_MAP_HEAD_WORDS;

    if (!inner)
        return 1;
    if (i == 0)
        mask &= walk->first_mask;
    if (word_index == walk->last_word)
        mask &= walk->last_mask;
    word = bpf_map_lookup_elem(inner, &key);
    if (!word)
        return 1;
    if ((HF_READ_ONCE(*word) & mask) !=
        mask) /* a locked instruction only where it changes something */
        __sync_fetch_and_or(word, mask);
    return 0;
}

static __always_inline void hf_bits_flag(void *inner, __u64 flag)
{
    __u32 key = HF_MAP_HEAD_FLAGS;
    __u64 *word = bpf_map_lookup_elem(inner, &key);

    if (word && !(HF_READ_ONCE(*word) & flag))
        __sync_fetch_and_or(word, flag);
}

/* Sectors are relative to the protected disk. */
__noinline int hf_bits_set(__u32 index, __u64 start_sector, __u64 end_sector)
{
    struct hf_bits_walk walk = {.index = index};
    void *inner = bpf_map_lookup_elem(&hf_bits, &walk.index);
    __u32 key = HF_MAP_HEAD_GEOMETRY;
    __u64 *head, first, last, count;
    __u32 shift;

    if (!inner || end_sector <= start_sector)
        return 0;
    head = bpf_map_lookup_elem(inner, &key);
    if (!head)
        return 0;
    shift = ((*head & 0xff) - 9) & 63;
    count = *head >> 8;
    first = start_sector >> shift;
    last = (end_sector - 1) >> shift;
    if (last >= count) {
        hf_bits_flag(inner, HF_MAP_FLAG_BEYOND);
        if (first >= count)
            return 0;
        last = count - 1;
    }
    walk.first_word = first >> 6;
    walk.last_word = last >> 6;
    walk.first_mask = ~0ULL << (first & 63);
    walk.last_mask = ~0ULL >> (63 - (last & 63));
    if (hf_bits_word(0, &walk) == 0 && walk.last_word > walk.first_word) {
        walk.first_word += 1;
        walk.first_mask = ~0ULL;
        bpf_loop((__u32)(walk.last_word - walk.first_word + 1), hf_bits_word, &walk, 0);
    }
    return 0;
}

/* One kind of map of one slot, all targets. `generations` was read before the mode, see README.md.
 */
static __always_inline void hf_bits_set_targets(const struct hf_capture_disk *disk, __u32 slot,
                                                __u32 kind, __u32 generations, __u64 start,
                                                __u64 end)
{
    __u32 target, generation;

    for (target = 0; target < HF_TARGETS_MAX; target++) {
        if (!(disk->target_mask & (1u << target)))
            continue;
        generation = (generations >> (target * HF_MAP_KINDS + kind)) & 1;
        hf_bits_set(HF_MAP_INDEX(slot, target, kind, generation), start, end);
    }
}

/* The part of [start, end) (sectors on the whole disk) that the slot protects goes into its lost
 * maps. */
__noinline int hf_lost(__u32 slot, __u64 start, __u64 end, __u32 cause)
{
    struct hf_capture_control *control = hf_get_control();
    struct hf_capture_disk *disk;
    __u64 disk_start;

    if (!control || slot >= HF_CAPTURE_DISKS_MAX)
        return 0;
    disk = &control->disks[slot];
    disk_start = disk->start_sectors;
    if (start < disk_start)
        start = disk_start;
    if (disk->partition && end > disk_start + disk->size_sectors)
        end = disk_start + disk->size_sectors;
    if (end <= start)
        return 0;
    hf_bits_set_targets(disk, slot, HF_MAP_LOST, HF_READ_ONCE(control->generations),
                        start - disk_start, end - disk_start);
    __sync_fetch_and_add(&disk->lost_events, 1);
    __sync_fetch_and_add(&control->lost_events, 1);
    hf_count_cause(control, cause);
    return 0;
}

/* All of the disk: what happened to it is not known. */
static __always_inline void hf_lost_all(struct hf_capture_control *control, __u32 slot, __u32 cause)
{
    __u32 generations = HF_READ_ONCE(control->generations);
    __u32 target, index;
    void *inner;

    for (target = 0; target < HF_TARGETS_MAX; target++) {
        index = HF_MAP_INDEX(slot, target, HF_MAP_LOST,
                             (generations >> (target * HF_MAP_KINDS + HF_MAP_LOST)) & 1);
        inner = bpf_map_lookup_elem(&hf_bits, &index);
        if (inner)
            hf_bits_flag(inner, HF_MAP_FLAG_ALL);
    }
    __sync_fetch_and_add(&control->lost_events, 1);
    hf_count_cause(control, cause);
}

/* The same for every slot that watches the whole disk. */
__noinline int hf_lost_on(__u32 dev, __u64 start, __u64 end, __u32 cause)
{
    struct hf_capture_watch *watch = bpf_map_lookup_elem(&hf_watch, &dev);
    __u32 i;

    if (!watch)
        return 0;
    for (i = 0; i < HF_CAPTURE_WINDOWS_MAX; i++)
        if (i < watch->count)
            hf_lost(watch->slots[i], start, end, cause);
    return 0;
}

#endif
