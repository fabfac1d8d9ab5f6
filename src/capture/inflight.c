// SPDX-License-Identifier: Apache-2.0
/* User space's view of the table of writes in flight. */
#include "capture/capture-internal.h"

/* Whether the place holds a write to [start, end) of the disk; *entry is a copy. */
static bool place_touches(const struct hf_capture *capture, unsigned place,
                          const struct hf_capture_disk *disk, uint64_t start, uint64_t end,
                          struct hf_capture_inflight *entry)
{
    const struct hf_capture_bucket *bucket = &capture->buckets[place / HF_CAPTURE_BUCKET_WAYS];

    if (!__atomic_load_n(&bucket->requests[place % HF_CAPTURE_BUCKET_WAYS], __ATOMIC_ACQUIRE))
        return false;
    *entry = capture->inflight[place];
    return entry->dev == disk->dev && entry->start_sector < end && entry->end_sector > start;
}

int hf_capture_inflight_before(struct hf_capture *capture, unsigned slot, uint64_t offset_bytes,
                               uint64_t length_bytes, uint64_t epoch)
{
    const struct hf_capture_disk *disk;
    struct hf_capture_inflight entry;
    uint64_t start, end;
    int count = 0;

    if (!hf_capture_slot_used(capture, slot))
        return -ENODEV;
    disk = &capture->control->disks[slot];
    start = disk->start_sectors + offset_bytes / 512;
    end = disk->start_sectors + (offset_bytes + length_bytes + 511) / 512;
    for (unsigned place = 0; place < HF_CAPTURE_INFLIGHT_MAX; place++)
        if (place_touches(capture, place, disk, start, end, &entry) && entry.epoch < epoch)
            count++;
    return count;
}

static void leave_cells(struct hf_capture *capture, const struct hf_capture_inflight *entry)
{
    uint64_t granule = entry->start_sector >> (HF_CAPTURE_GRANULE_SHIFT - 9);
    uint64_t last = (entry->end_sector - 1) >> (HF_CAPTURE_GRANULE_SHIFT - 9);

    for (; granule <= last; granule++)
        __atomic_fetch_sub(&capture->cells[hf_capture_cell(entry->dev, granule)],
                           hf_capture_cell_ones(granule, entry->start_sector, entry->end_sector),
                           __ATOMIC_SEQ_CST);
}

static void lose_range(struct hf_capture *capture, unsigned slot,
                       const struct hf_capture_inflight *entry)
{
    const struct hf_capture_disk *disk = &capture->control->disks[slot];
    uint64_t start = HF_MAX(entry->start_sector, disk->start_sectors);
    uint64_t end = HF_MIN(entry->end_sector, disk->start_sectors + disk->size_sectors);

    if (disk->dev != entry->dev || start >= end)
        return;
    for (unsigned target = 0; target < HF_TARGETS_MAX; target++)
        (void)hf_capture_map_set(capture, slot, target, HF_MAP_LOST,
                                 (start - disk->start_sectors) << 9, (end - start) << 9);
}

static void leave_filter(struct hf_capture *capture, const struct hf_capture_inflight *entry,
                         uint32_t flags)
{
    if (flags & HF_INFLIGHT_BIG)
        __atomic_fetch_sub(&capture->control->big_inflight, 1, __ATOMIC_SEQ_CST);
    else
        leave_cells(capture, entry);
}

/* Gives one place up. The kernel's programs and we agree who does it by exchanging the flags. */
static int expire_place(struct hf_capture *capture, unsigned place, uint64_t older_than_boot_ns)
{
    struct hf_capture_bucket *bucket = &capture->buckets[place / HF_CAPTURE_BUCKET_WAYS];
    uint64_t *name = &bucket->requests[place % HF_CAPTURE_BUCKET_WAYS];
    uint64_t request = __atomic_load_n(name, __ATOMIC_ACQUIRE);
    struct hf_capture_inflight *entry = &capture->inflight[place];
    struct hf_capture_inflight copy = *entry;
    uint32_t flags;

    if (!request || !(copy.flags & HF_INFLIGHT_READY) || copy.boot_ns >= older_than_boot_ns)
        return 0;
    flags = __atomic_exchange_n(&entry->flags, 0, __ATOMIC_SEQ_CST);
    if (!(flags & HF_INFLIGHT_READY) || entry->boot_ns != copy.boot_ns) {
        __atomic_fetch_or(&entry->flags, flags, __ATOMIC_SEQ_CST);
        return 0;
    }
    for (unsigned slot = 0; slot < HF_CAPTURE_DISKS_MAX; slot++)
        if (hf_capture_slot_used(capture, slot))
            lose_range(capture, slot, &copy);
    leave_filter(capture, &copy, flags);
    __atomic_fetch_add(&capture->control->missed_completions, 1, __ATOMIC_SEQ_CST);
    __atomic_compare_exchange_n(name, &request, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return 1;
}

int hf_capture_inflight_expire(struct hf_capture *capture, uint64_t age_ms)
{
    uint64_t now = hf_capture_boot_ns();
    uint64_t age_ns = age_ms * HF_NS_PER_MS;
    int count = 0;

    if (age_ns > now)
        return 0;
    for (unsigned place = 0; place < HF_CAPTURE_INFLIGHT_MAX; place++)
        count += expire_place(capture, place, now - age_ns);
    return count;
}

void hf_capture_inflight_forget(struct hf_capture *capture, uint32_t dev)
{
    for (unsigned place = 0; place < HF_CAPTURE_INFLIGHT_MAX; place++) {
        struct hf_capture_bucket *bucket = &capture->buckets[place / HF_CAPTURE_BUCKET_WAYS];
        struct hf_capture_inflight *entry = &capture->inflight[place];
        uint32_t flags;

        if (entry->dev != dev)
            continue;
        flags = __atomic_exchange_n(&entry->flags, 0, __ATOMIC_SEQ_CST);
        if (!(flags & HF_INFLIGHT_READY))
            continue;
        leave_filter(capture, entry, flags);
        __atomic_store_n(&bucket->requests[place % HF_CAPTURE_BUCKET_WAYS], 0, __ATOMIC_SEQ_CST);
    }
}
