/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What happens to one write on one protected disk, in the order that README.md argues for. */
#ifndef HF_BPF_CAPTURE_REQUEST_H
#define HF_BPF_CAPTURE_REQUEST_H

#define HF_OP_WRITE 1
#define HF_OP_DISCARD 3
#define HF_OP_SECURE_ERASE 5
#define HF_OP_WRITE_ZEROES 9
#define HF_OP_MASK 0xff

/* Every operation that changes data has an odd number. */
static __always_inline bool hf_op_changes(__u32 op)
{
    return op & 1;
}

static __always_inline bool hf_op_known(__u32 op)
{
    return op == HF_OP_WRITE || op == HF_OP_DISCARD || op == HF_OP_SECURE_ERASE ||
           op == HF_OP_WRITE_ZEROES;
}

/* The disk in the slot is not the one that was protected. Nothing of it is captured until the agent
 * confirms. */
static __always_inline void hf_refuse(struct hf_capture_control *control,
                                      struct hf_capture_disk *disk, __u32 slot)
{
    if (!(disk->flags & HF_DISK_REFUSED)) {
        __sync_fetch_and_or(&disk->flags, HF_DISK_REFUSED);
        hf_set_dirty(control, HF_CAUSE_DISK_CHANGED);
    }
    hf_lost_all(control, slot, HF_CAUSE_DISK_CHANGED);
}

/* DISK(RESIZE) before the first write that saw the new size. Announced twice when two processors
 * meet it at once: the size counts, not the event. */
static __always_inline void hf_announce_size(struct hf_capture_control *control,
                                             struct hf_capture_disk *disk, __u32 slot,
                                             __u64 sectors, const struct hf_request *request)
{
    struct {
        struct hf_capture_record head;
        struct hf_capture_disk_change change;
    } * space;

    if (HF_READ_ONCE(control->mode) != HF_CAPTURE_DATA)
        return; /* announced by the first write in DATA mode */
    space = bpf_ringbuf_reserve(&hf_ring, sizeof(*space), 0);
    if (!space) {
        __sync_fetch_and_add(&control->reserve_failures, 1);
        hf_set_dirty(control, HF_CAUSE_RING_FULL);
        return;
    }
    hf_head(&space->head, HF_CAPTURE_DISK, slot, 0, sectors << 9, request->now);
    space->head.kind = HF_CAPTURE_DISK_RESIZE;
    space->head.content_bytes = sizeof(space->change);
    space->change.size_bytes = sectors << 9;
    space->change.size_bytes_before = disk->size_sectors << 9;
    space->change.diskseq = disk->diskseq;
    space->change.reserved = 0;
    bpf_ringbuf_submit(space, hf_submit_flags(control));
    HF_WRITE_ONCE(disk->size_sectors, sectors);
}

/* False: not the disk that was protected. */
static __always_inline bool hf_check_identity(struct hf_capture_control *control,
                                              struct hf_capture_disk *disk, __u32 slot,
                                              const struct hf_request *request)
{
    bool own_partition = disk->partition && request->partition == disk->partition;

    if ((disk->flags & HF_DISK_REFUSED) || request->diskseq != disk->diskseq ||
        (own_partition && request->part_start != disk->start_sectors)) {
        hf_refuse(control, disk, slot);
        return false;
    }
    if (!disk->partition && request->disk_sectors != disk->size_sectors)
        hf_announce_size(control, disk, slot, request->disk_sectors, request);
    if (own_partition && request->part_sectors != disk->size_sectors)
        hf_announce_size(control, disk, slot, request->part_sectors, request);
    return true;
}

/* A range without content. */
static __always_inline int hf_put_range(struct hf_capture_control *control,
                                        const struct hf_capture_disk *disk, __u32 slot, __u32 type,
                                        __u64 start, __u64 end, __u64 now)
{
    struct hf_capture_record *space = bpf_ringbuf_reserve(&hf_ring, sizeof(*space), 0);

    if (!space)
        return -1;
    hf_head(space, type, slot, (start - disk->start_sectors) << 9, (end - start) << 9, now);
    bpf_ringbuf_submit(space, hf_submit_flags(control));
    return 0;
}

struct hf_ranges {
    __u64 bio;
    __u64 now;
    __u32 type;
    __u32 slot;
    __u32 full;
    __u32 single;
    __u32 records;
};

static __always_inline void hf_clip(const struct hf_capture_disk *disk, __u64 *start, __u64 *end)
{
    __u64 disk_end = disk->start_sectors + disk->size_sectors;

    if (!disk->partition)
        return;
    if (*start < disk->start_sectors)
        *start = disk->start_sectors;
    if (*end > disk_end)
        *end = disk_end;
}

/* One bio of a discard: each is a range of its own, not always next to the one before. */
static long hf_put_bio(__u32 i, struct hf_ranges *ranges)
{
    struct hf_capture_control *control = hf_get_control();
    struct bio *bio = (struct bio *)ranges->bio;
    __u32 slot = ranges->slot & (HF_CAPTURE_DISKS_MAX - 1);
    struct hf_capture_disk *disk;
    __u64 start, end;

    if (!control || !bio)
        return 1;
    disk = &control->disks[slot];
    start = BPF_CORE_READ(bio, bi_iter.bi_sector);
    end = start + (BPF_CORE_READ(bio, bi_iter.bi_size) >> 9);
    ranges->bio = ranges->single ? 0 : (__u64)BPF_CORE_READ(bio, bi_next);
    hf_clip(disk, &start, &end);
    if (start >= end)
        return 0;
    if (hf_put_range(control, disk, slot, ranges->type, start, end, ranges->now)) {
        ranges->full = 1;
        return 1;
    }
    ranges->records += 1;
    return 0;
}

static __always_inline void hf_put_ranges(struct hf_capture_control *control, __u32 slot,
                                          const struct hf_request *request)
{
    struct hf_ranges ranges = {.bio = request->bio,
                               .now = request->now,
                               .type = request->op == HF_OP_WRITE_ZEROES ? HF_CAPTURE_ZERO
                                                                         : HF_CAPTURE_DISCARD,
                               .slot = slot,
                               .single = request->bio_based};
    struct hf_capture_counters *counters;

    bpf_loop(1 << 16, hf_put_bio, &ranges, 0);
    counters = hf_get_counters();
    if (counters)
        counters->records += ranges.records;
    if (!ranges.full)
        return;
    __sync_fetch_and_add(&control->reserve_failures, 1);
    hf_set_dirty(control, HF_CAUSE_RING_FULL);
    hf_lost(slot, request->start, request->end, HF_CAUSE_RING_FULL);
}

static __always_inline void hf_check_heartbeat(struct hf_capture_control *control, __u64 now)
{
    __u64 timeout = HF_READ_ONCE(control->heartbeat_timeout_ns);
    __u64 last = HF_READ_ONCE(control->heartbeat_boot_ns);

    if (timeout && now > last && now - last > timeout)
        hf_set_dirty(control, HF_CAUSE_NO_HEARTBEAT);
}

static __always_inline void hf_count_request(__u32 mode, const struct hf_request *request)
{
    struct hf_capture_counters *counters = hf_get_counters();

    if (!counters)
        return;
    counters->requests += 1;
    if (mode == HF_CAPTURE_DATA)
        return;
    counters->dirty_requests += 1;
    counters->dirty_bytes += (request->end - request->start) << 9;
}

static __always_inline void hf_capture_content(struct hf_capture_control *control,
                                               struct hf_capture_disk *disk, __u32 slot,
                                               const struct hf_request *request)
{
    bool inside = !disk->partition || (request->start >= disk->start_sectors &&
                                       request->end <= disk->start_sectors + disk->size_sectors);

    if (request->op != HF_OP_WRITE)
        hf_put_ranges(control, slot, request);
    else if (!inside)
        hf_lost(slot, request->start, request->end, HF_CAUSE_STRADDLE);
    else if (!control->page_to_address) {
        hf_set_dirty(control, HF_CAUSE_NO_PAGE_ADDRESS);
        hf_lost(slot, request->start, request->end, HF_CAUSE_NO_PAGE_ADDRESS);
    } else
        hf_copy(control, request, disk, slot);
}

/* The request on one slot. The generations are read before the mode: user space changes them in the
 * other order, so a write that was not captured has its bits in the generation that the next pass
 * reads. */
__noinline int hf_capture_on(__u32 slot, struct hf_request *request)
{
    struct hf_capture_control *control = hf_get_control();
    struct hf_capture_disk *disk;
    __u32 generations, mode;
    __u64 start, end;

    if (!control || !request || slot >= HF_CAPTURE_DISKS_MAX)
        return 0;
    disk = &control->disks[slot];
    if (!(disk->flags & HF_DISK_ACTIVE) ||
        request->bio_based != !!(disk->flags & HF_DISK_BIO_BASED))
        return 0;
    generations = HF_READ_ONCE(control->generations);
    if (!hf_op_known(request->op)) {
        hf_lost_all(control, slot, HF_CAUSE_PASSTHROUGH);
        return 0;
    }
    if (!hf_check_identity(control, disk, slot, request))
        return 0;
    start = request->start;
    end = request->end;
    hf_clip(disk, &start, &end);
    if (start >= end)
        return 0;
    hf_bits_set_targets(disk, slot, HF_MAP_UNCONFIRMED, generations, start - disk->start_sectors,
                        end - disk->start_sectors);
    hf_check_heartbeat(control, request->now);
    mode = HF_READ_ONCE(control->mode);
    hf_count_request(mode, request);
    if (mode == HF_CAPTURE_DATA)
        hf_capture_content(control, disk, slot, request);
    else
        hf_bits_set_targets(disk, slot, HF_MAP_LOST, generations, start - disk->start_sectors,
                            end - disk->start_sectors);
    return 0;
}

/* The extent of all ranges of a discard: what is in flight is compared with the whole of it. */
struct hf_hull {
    __u64 bio;
    __u64 start;
    __u64 end;
};

static long hf_hull_bio(__u32 i, struct hf_hull *hull)
{
    struct bio *bio = (struct bio *)hull->bio;
    __u64 start, end;

    if (!bio)
        return 1;
    start = BPF_CORE_READ(bio, bi_iter.bi_sector);
    end = start + (BPF_CORE_READ(bio, bi_iter.bi_size) >> 9);
    if (start < hull->start)
        hull->start = start;
    if (end > hull->end)
        hull->end = end;
    hull->bio = (__u64)BPF_CORE_READ(bio, bi_next);
    return 0;
}

static __always_inline void hf_take_hull(struct hf_request *request)
{
    struct hf_hull hull = {.bio = request->bio, .start = request->start, .end = request->end};

    bpf_loop(1 << 16, hf_hull_bio, &hull, 0);
    request->start = hull.start;
    request->end = hull.end;
}

#endif
