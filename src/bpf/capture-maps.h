/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The pinned maps, and the small functions that read and change the control block. */
#ifndef HF_BPF_CAPTURE_MAPS_H
#define HF_BPF_CAPTURE_MAPS_H

#define HF_COUNT_DISKS_MAX 64

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 64 << 20); /* set before loading */
} hf_ring SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct hf_capture_control);
} hf_control SEC(".maps");

struct hf_state {
    __u8 agent[HF_AGENT_STATE_BYTES];
    __u8 page[4096]; /* answer of HF_COMMAND_READ */
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct hf_state);
} hf_state SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct hf_capture_counters);
} hf_counters SEC(".maps");

/* Whole disk (device number) to the slots that watch it. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, HF_COUNT_DISKS_MAX);
    __type(key, __u32);
    __type(value, struct hf_capture_watch);
} hf_watch SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, HF_CAPTURE_BUCKETS);
    __type(key, __u32);
    __type(value, struct hf_capture_bucket);
} hf_buckets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, HF_CAPTURE_INFLIGHT_MAX);
    __type(key, __u32);
    __type(value, struct hf_capture_inflight);
} hf_inflight SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, HF_CAPTURE_CELLS);
    __type(key, __u32);
    __type(value, __u64);
} hf_cells SEC(".maps");

struct hf_bits_map {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP); /* inner maps differ in size */
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, HF_MAP_COUNT);
    __type(key, __u32);
    __array(values, struct hf_bits_map);
} hf_bits SEC(".maps");

/* A request or bio about to be written, as the hooks found it. Sectors on the whole disk. */
struct hf_request {
    __u64 name; /* address of the request or bio */
    __u64 bio;
    __u64 start;
    __u64 end;
    __u64 diskseq;
    __u64 disk_sectors;
    __u64 part_start;
    __u64 part_sectors;
    __u64 epoch;
    __u64 now;
    __u32 dev;
    __u32 op;
    __u32 partition;
    __u32 bio_based;
};

/* Working memory of one run, off the stack. */
struct hf_scratch {
    struct hf_request request;
    __u8 bytes[8192]; /* where pieces that do not fall on 4 KiB are put together */
};
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 2); /* 0: requests, 1: bios; one may interrupt the other, not itself */
    __type(key, __u32);
    __type(value, struct hf_scratch);
} hf_scratch SEC(".maps");

/* One array a hook: the kernel lets an array hold programs of one prototype only. */
#define HF_PROGRAM_ARRAY(name)                                                                     \
    struct {                                                                                       \
        __uint(type, BPF_MAP_TYPE_PROG_ARRAY);                                                     \
        __uint(max_entries, 1);                                                                    \
        __uint(key_size, 4);                                                                       \
        __uint(value_size, 4);                                                                     \
    } name SEC(".maps")
HF_PROGRAM_ARRAY(hf_slot_issue);
HF_PROGRAM_ARRAY(hf_slot_complete);
HF_PROGRAM_ARRAY(hf_slot_twin);
HF_PROGRAM_ARRAY(hf_slot_requeue);
HF_PROGRAM_ARRAY(hf_slot_queue);
HF_PROGRAM_ARRAY(hf_slot_end);

#define HF_READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define HF_WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

static __always_inline struct hf_capture_control *hf_get_control(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&hf_control, &zero);
}

static __always_inline struct hf_capture_counters *hf_get_counters(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&hf_counters, &zero);
}

static __always_inline struct hf_scratch *hf_get_scratch(__u32 bio_based)
{
    __u32 key = bio_based & 1;

    return bpf_map_lookup_elem(&hf_scratch, &key);
}

static __always_inline void hf_count_cause(struct hf_capture_control *control, __u32 cause)
{
    __sync_fetch_and_add(&control->causes[cause & (HF_CAUSE_SPACE - 1)], 1);
}

/* DIRTY before the write at hand reaches its device. The first cause stays. */
static __always_inline void hf_set_dirty(struct hf_capture_control *control, __u32 cause)
{
    if (__sync_val_compare_and_swap(&control->mode, HF_CAPTURE_DATA, HF_CAPTURE_DIRTY) !=
        HF_CAPTURE_DATA)
        return;
    HF_WRITE_ONCE(control->cause, cause);
    HF_WRITE_ONCE(control->dirty_since_boot_ns, bpf_ktime_get_boot_ns());
    hf_count_cause(control, cause);
}

/* How to hand a record over: almost always silently, the reader looks by itself. */
static __always_inline __u64 hf_submit_flags(struct hf_capture_control *control)
{
    __u64 wake = HF_READ_ONCE(control->wake_position);

    if (wake == ~0ULL || bpf_ringbuf_query(&hf_ring, BPF_RB_PROD_POS) < wake)
        return BPF_RB_NO_WAKEUP;
    if (__sync_val_compare_and_swap(&control->wake_position, wake, ~0ULL) != wake)
        return BPF_RB_NO_WAKEUP;
    return BPF_RB_FORCE_WAKEUP;
}

#endif
