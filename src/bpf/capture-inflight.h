/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Writes in flight: from the moment a request is handed to its driver until the block layer says
 * that it is complete. For passes (hazard H1), failed writes (H3) and overlapping ones (H7).
 *
 * The table is a plain array, not a hash map: claiming a place is one compare-and-swap, nothing
 * takes a lock that an interrupt could find held, and user space reads it without a system call. A
 * place is found by the request's address in one bucket of 16.
 *
 * Overlap. Each request first appears in the table (READY), then adds one to a count for each of
 * its sectors (cells, hashed), then looks at what it added to. Of two requests that share a sector
 * the one that adds later sees the other's count, and then finds it in the table: exact, because
 * cells of different places may coincide. A request leaves in the other order. The same argument
 * with `big_inflight` in place of the cells covers requests too long for them.
 */
#ifndef HF_BPF_CAPTURE_INFLIGHT_H
#define HF_BPF_CAPTURE_INFLIGHT_H

struct hf_cells_walk {
    __u64 start;
    __u64 end;
    __u64 granule;
    __u32 dev;
    __u32 hit;
};

static long hf_cells_add(__u32 i, struct hf_cells_walk *walk)
{
    __u64 granule = walk->granule + i;
    __u64 ones = hf_capture_cell_ones(granule, walk->start, walk->end);
    __u32 key = hf_capture_cell(walk->dev, granule);
    __u64 *cell = bpf_map_lookup_elem(&hf_cells, &key);

    if (cell && (__sync_fetch_and_add(cell, ones) & (ones * 0xff)))
        walk->hit = 1;
    return 0;
}

static long hf_cells_sub(__u32 i, struct hf_cells_walk *walk)
{
    __u64 granule = walk->granule + i;
    __u64 ones = hf_capture_cell_ones(granule, walk->start, walk->end);
    __u32 key = hf_capture_cell(walk->dev, granule);
    __u64 *cell = bpf_map_lookup_elem(&hf_cells, &key);

    if (cell)
        __sync_fetch_and_add(cell, -ones);
    return 0;
}

static __always_inline __u64 hf_granules(__u64 start, __u64 end)
{
    __u32 shift = HF_CAPTURE_GRANULE_SHIFT - 9;

    return ((end - 1) >> shift) - (start >> shift) + 1;
}

static __always_inline void hf_cells_leave(const struct hf_capture_inflight *entry)
{
    struct hf_cells_walk walk = {.start = entry->start_sector,
                                 .end = entry->end_sector,
                                 .granule = entry->start_sector >> (HF_CAPTURE_GRANULE_SHIFT - 9),
                                 .dev = entry->dev};
    __u64 count = hf_granules(walk.start, walk.end);

    if (count == 1)
        hf_cells_sub(0, &walk);
    else if (count <= HF_CAPTURE_BIG_GRANULES)
        bpf_loop((__u32)count, hf_cells_sub, &walk, 0);
}

/* Takes the request out of the overlap filter, whichever way it was in it. Who exchanged the flags
 * for 0 does this: user space may give an entry up that is too old. */
static __always_inline void hf_filter_leave(struct hf_capture_control *control,
                                            const struct hf_capture_inflight *entry, __u32 flags)
{
    if (flags & HF_INFLIGHT_BIG)
        __sync_fetch_and_add(&control->big_inflight, -1ULL);
    else
        hf_cells_leave(entry);
}

/* Verified once each: inlined, their sixteen branches would multiply with everything behind them.
 */
__noinline int hf_bucket_find(struct hf_capture_bucket *bucket, __u64 name)
{
    int found = -1;

    if (!bucket)
        return -1;
#pragma clang loop unroll(full)
    for (int i = 0; i < HF_CAPTURE_BUCKET_WAYS; i++)
        if (bucket->requests[i] == name)
            found = i;
    return found;
}

/* A free place for the name, or -1. */
__noinline int hf_bucket_claim(struct hf_capture_bucket *bucket, __u64 name)
{
    if (!bucket)
        return -1;
#pragma clang loop unroll(full)
    for (int i = 0; i < HF_CAPTURE_BUCKET_WAYS; i++)
        if (HF_READ_ONCE(bucket->requests[i]) == 0 &&
            __sync_val_compare_and_swap(&bucket->requests[i], 0, name) == 0)
            return i;
    return -1;
}

static __always_inline void hf_scan_entry(const struct hf_request *request,
                                          struct hf_capture_inflight *entry, __u32 *found)
{
    __u64 start = request->start, end = request->end;

    if (!(HF_READ_ONCE(entry->flags) & HF_INFLIGHT_READY) || entry->dev != request->dev)
        return;
    if (start < entry->start_sector)
        start = entry->start_sector;
    if (end > entry->end_sector)
        end = entry->end_sector;
    if (start >= end)
        return;
    *found = 1;
    hf_lost_on(request->dev, start, end, HF_CAUSE_OVERLAP);
}

struct hf_scan_walk {
    const struct hf_request *request;
    __u32 found;
};

static long hf_scan_place(__u32 i, struct hf_scan_walk *walk)
{
    __u32 key = i / HF_CAPTURE_BUCKET_WAYS;
    struct hf_capture_bucket *bucket = bpf_map_lookup_elem(&hf_buckets, &key);
    struct hf_capture_inflight *entry;
    __u64 name;

    if (!bucket)
        return 1;
    name = bucket->requests[i & (HF_CAPTURE_BUCKET_WAYS - 1)];
    if (!name || name == walk->request->name)
        return 0;
    entry = bpf_map_lookup_elem(&hf_inflight, &i);
    if (entry)
        hf_scan_entry(walk->request, entry, &walk->found);
    return 0;
}

/* Compares with everything in flight. Rare: a hit of the filter, or a very long request about. */
static __always_inline void hf_overlap_check(struct hf_capture_control *control,
                                             const struct hf_request *request)
{
    struct hf_scan_walk walk = {.request = request};

    __sync_fetch_and_add(&control->overlap_checks, 1);
    bpf_loop(HF_CAPTURE_INFLIGHT_MAX, hf_scan_place, &walk, 0);
    if (walk.found)
        __sync_fetch_and_add(&control->overlaps, 1);
}

static __always_inline void hf_filter_enter(struct hf_capture_control *control,
                                            const struct hf_request *request, bool big)
{
    struct hf_cells_walk walk = {.start = request->start,
                                 .end = request->end,
                                 .granule = request->start >> (HF_CAPTURE_GRANULE_SHIFT - 9),
                                 .dev = request->dev,
                                 .hit = big};
    __u64 count = hf_granules(walk.start, walk.end);

    if (big)
        __sync_fetch_and_add(&control->big_inflight, 1);
    else if (count == 1)
        hf_cells_add(0, &walk);
    else
        bpf_loop((__u32)count, hf_cells_add, &walk, 0);
    if (walk.hit || HF_READ_ONCE(control->big_inflight))
        hf_overlap_check(control, request);
}

/* A place that still bears this name: given back by the driver, or its completion was kept from us,
 * and then nobody knows whether it failed. */
static __always_inline void hf_inflight_again(struct hf_capture_control *control,
                                              struct hf_capture_inflight *entry)
{
    __u32 flags = __sync_lock_test_and_set(&entry->flags, 0);

    if (!(flags & HF_INFLIGHT_READY))
        return;
    hf_filter_leave(control, entry, flags);
    if (flags & HF_INFLIGHT_REQUEUED)
        return;
    __sync_fetch_and_add(&control->missed_completions, 1);
    hf_lost_on(entry->dev, entry->start_sector, entry->end_sector, HF_CAUSE_MISSED_COMPLETION);
}

/* Before the request reaches its driver. */
__noinline int hf_inflight_enter(struct hf_request *request)
{
    struct hf_capture_control *control = hf_get_control();
    struct hf_capture_bucket *bucket;
    struct hf_capture_inflight *entry;
    __u32 key;
    bool big;
    int way;

    if (!request || !control)
        return 0;
    key = hf_capture_bucket_index(request->name);
    bucket = bpf_map_lookup_elem(&hf_buckets, &key);
    if (!bucket)
        return 0;
    way = hf_bucket_find(bucket, request->name);
    key *= HF_CAPTURE_BUCKET_WAYS;
    if (way >= 0) {
        key += way;
        entry = bpf_map_lookup_elem(&hf_inflight, &key);
        if (entry)
            hf_inflight_again(control, entry);
    } else {
        way = hf_bucket_claim(bucket, request->name);
        key += way;
        entry = way < 0 ? NULL : bpf_map_lookup_elem(&hf_inflight, &key);
    }
    if (!entry) {
        hf_lost_on(request->dev, request->start, request->end, HF_CAUSE_TABLE_FULL);
        return 0;
    }
    big = hf_granules(request->start, request->end) > HF_CAPTURE_BIG_GRANULES;
    entry->epoch = request->epoch;
    entry->start_sector = request->start;
    entry->end_sector = request->end;
    entry->boot_ns = request->now;
    entry->dev = request->dev;
    HF_WRITE_ONCE(entry->flags, big ? HF_INFLIGHT_READY | HF_INFLIGHT_BIG : HF_INFLIGHT_READY);
    hf_filter_enter(control, request, big);
    return 0;
}

struct hf_completion {
    __u64 name;
    __u64 start;
    __u64 end;
    __u32 dev;
    __u32 error;
    __u32 partial; /* more of the request is still to come */
    __u32 twin;    /* the second look at it */
    __u32 quiet;   /* a request that is not known says nothing */
    __u32 reserved;
};

/* Before the completion is reported upward. */
__noinline int hf_inflight_leave(struct hf_completion *done)
{
    struct hf_capture_control *control = hf_get_control();
    struct hf_capture_bucket *bucket;
    struct hf_capture_inflight *entry;
    __u32 key, flags;
    int way;

    if (!done || !control)
        return 0;
    key = hf_capture_bucket_index(done->name);
    bucket = bpf_map_lookup_elem(&hf_buckets, &key);
    if (!bucket)
        return 0;
    way = hf_bucket_find(bucket, done->name);
    if (way < 0) {
        if (!done->quiet)
            hf_lost_on(done->dev, done->start, done->end, HF_CAUSE_NO_ISSUE);
        return 0;
    }
    key = key * HF_CAPTURE_BUCKET_WAYS + way;
    entry = bpf_map_lookup_elem(&hf_inflight, &key);
    if (!entry)
        return 0;
    if (done->twin)
        __sync_fetch_and_add(&control->twin_completions, 1);
    if (done->error)
        hf_lost_on(done->dev, entry->start_sector, entry->end_sector, HF_CAUSE_WRITE_FAILED);
    if (done->partial)
        return 0;
    flags = __sync_lock_test_and_set(&entry->flags, 0);
    if (flags & HF_INFLIGHT_READY)
        hf_filter_leave(control, entry, flags);
    HF_WRITE_ONCE(bucket->requests[way & (HF_CAPTURE_BUCKET_WAYS - 1)], 0);
    return 0;
}

/* The driver gave the request back; it will be issued again under the same name, or fail. */
__noinline int hf_inflight_requeue(struct hf_completion *back)
{
    struct hf_capture_bucket *bucket;
    struct hf_capture_inflight *entry;
    __u32 key;
    int way;

    if (!back)
        return 0;
    key = hf_capture_bucket_index(back->name);
    bucket = bpf_map_lookup_elem(&hf_buckets, &key);
    if (!bucket)
        return 0;
    way = hf_bucket_find(bucket, back->name);
    if (way < 0)
        return 0;
    key = key * HF_CAPTURE_BUCKET_WAYS + way;
    entry = bpf_map_lookup_elem(&hf_inflight, &key);
    if (entry)
        __sync_fetch_and_or(&entry->flags, HF_INFLIGHT_REQUEUED);
    return 0;
}

#endif
