/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What the capture program and user space share: the records in the ring, the pinned control block
 * and the tables beside it. Plain structs, native byte order (they never leave the machine), sizes
 * asserted, versioned by HF_CAPTURE_LAYOUT: a new agent adopts pinned objects of the same layout
 * and otherwise hands over (a new capture).
 */
#ifndef HF_BPF_CAPTURE_EVENT_H
#define HF_BPF_CAPTURE_EVENT_H

#ifdef __bpf__
typedef __u8 hf_u8;
typedef __u16 hf_u16;
typedef __u32 hf_u32;
typedef __u64 hf_u64;
#else
#include <stdint.h>
typedef uint8_t hf_u8;
typedef uint16_t hf_u16;
typedef uint32_t hf_u32;
typedef uint64_t hf_u64;
#endif

#define HF_CAPTURE_MAGIC 0x3174706361436648ULL /* "HfCacpt1" */
#define HF_CAPTURE_LAYOUT 1                    /* of everything in this file */

/* Limits, all of them. */
#define HF_CAPTURE_DISKS_MAX 64            /* slots; a slot is never used again within a capture */
#define HF_TARGETS_MAX 4                   /* targets with maps of their own */
#define HF_CAPTURE_CONTENT_MAX (64 * 1024) /* written data in one record */
#define HF_CAPTURE_MARK_MAX 4000           /* opaque payload of a mark */
#define HF_CAPTURE_BUCKETS 1024            /* of the table of writes in flight */
#define HF_CAPTURE_BUCKET_WAYS 16
#define HF_CAPTURE_INFLIGHT_MAX (HF_CAPTURE_BUCKETS * HF_CAPTURE_BUCKET_WAYS)
#define HF_CAPTURE_CELLS 65536       /* of the overlap filter */
#define HF_CAPTURE_GRANULE_SHIFT 12  /* a cell stands for 4 KiB: eight sectors */
#define HF_CAPTURE_BIG_GRANULES 1024 /* longer requests are compared one by one instead */
#define HF_AGENT_STATE_BYTES 4096

/* Same numbers as enum hf_record_type of stream/record.h where both have the thing. */
enum hf_capture_type {
    HF_CAPTURE_WRITE = 1,
    HF_CAPTURE_ZERO = 2,
    HF_CAPTURE_DISCARD = 3,
    HF_CAPTURE_MARK = 4, /* kind and payload are the caller's */
    HF_CAPTURE_DISK = 7, /* kind is enum hf_capture_disk_event; content is hf_capture_disk_change */
    HF_CAPTURE_GAP = 9,  /* kind is the enum hf_capture_cause; boot_ns is when it began */
};

enum hf_capture_disk_event {
    HF_CAPTURE_DISK_ADD = 1,
    HF_CAPTURE_DISK_RESIZE = 2,
    HF_CAPTURE_DISK_REMOVE = 3,
};

enum hf_capture_record_flags {
    HF_CAPTURE_RECORD_DIRTY = 1, /* MARK: the mode was DIRTY; this place is not a point */
};

/* Begins every record; `content_bytes` bytes of content follow it. */
struct hf_capture_record {
    hf_u8 layout; /* HF_CAPTURE_LAYOUT */
    hf_u8 type;   /* enum hf_capture_type */
    hf_u16 slot;  /* disk; 0 where it means nothing */
    hf_u32 flags; /* enum hf_capture_record_flags */
    hf_u32 kind;
    hf_u32 content_bytes; /* meaningful bytes behind the header; the space reserved may be larger */
    hf_u64 offset_bytes;  /* on the protected disk (relative to the window for a partition) */
    hf_u64 length_bytes;  /* WRITE: equals content_bytes; DISK: the new size */
    hf_u64 boot_ns;       /* CLOCK_BOOTTIME when the record was reserved */
    hf_u64 lost_events;   /* MARK: hf_capture_control.lost_events at that moment; else 0 */
    hf_u64 number;        /* of the command that put it; 0 for records of the hooks */
};

/* Content of a DISK record. */
struct hf_capture_disk_change {
    hf_u64 size_bytes;
    hf_u64 size_bytes_before;
    hf_u64 diskseq;
    hf_u64 reserved;
};

enum hf_capture_mode {
    HF_CAPTURE_DIRTY = 0, /* only maps grow; also the state of memory that nobody has filled yet */
    HF_CAPTURE_DATA = 1,
};

/* Why the mode is DIRTY, or why a range is in the lost map. */
enum hf_capture_cause {
    HF_CAUSE_NONE = 0,
    HF_CAUSE_START = 1, /* never was in DATA mode yet */
    HF_CAUSE_RING_FULL = 2,
    HF_CAUSE_FORCED = 3, /* by the agent: link, operator */
    HF_CAUSE_BUDGET = 4, /* by the agent: a memory or processor budget */
    HF_CAUSE_NO_HEARTBEAT = 5,
    HF_CAUSE_NO_PAGE_ADDRESS = 6, /* where a page's content lies is not known or not verified */
    HF_CAUSE_DISK_CHANGED = 7,    /* other diskseq or start: refused until confirmed */
    HF_CAUSE_NO_PROGRAM = 8,      /* slot 0 of a program array was empty */
    HF_CAUSE_PAGE_UNREADABLE = 9,
    HF_CAUSE_WRITE_FAILED = 10,
    HF_CAUSE_NO_ISSUE = 11, /* completed, but never seen being issued */
    HF_CAUSE_MISSED_COMPLETION = 12,
    HF_CAUSE_OVERLAP = 13,      /* two writes in flight at once over the same sectors */
    HF_CAUSE_PASSTHROUGH = 14,  /* a command of unknown effect: the whole disk */
    HF_CAUSE_TABLE_FULL = 15,   /* more writes in flight than the table holds */
    HF_CAUSE_STRADDLE = 16,     /* a write over the edge of a protected window */
    HF_CAUSE_MISSED_ISSUE = 17, /* the kernel skipped the program (its recursion guard) */
    HF_CAUSE_COUNT = 18,
    HF_CAUSE_SPACE = 32, /* a power of two, so that the verifier sees the bound */
};

enum hf_capture_disk_flags {
    HF_DISK_ACTIVE = 1,
    HF_DISK_BIO_BASED = 2, /* hooked where bios are queued: no requests below this disk */
    HF_DISK_REFUSED = 4,   /* identity changed; waits for hf_capture_disk_confirm */
    HF_DISK_REMOVED = 8,   /* the slot is not used again */
};

/* One protected disk (a gendisk or a window of one). Written by user space while not active, apart
 * from size_sectors and flags. Sectors are of 512 bytes. */
struct hf_capture_disk {
    hf_u32 dev;       /* of the whole disk, the kernel's encoding: major << 20 | minor */
    hf_u32 partition; /* number; 0 for a whole disk */
    hf_u64 diskseq;
    hf_u64 start_sectors; /* of the window on the whole disk */
    hf_u64 size_sectors;  /* of the window; as last announced in the ring */
    hf_u32 flags;         /* enum hf_capture_disk_flags */
    hf_u32 target_mask;   /* bit per target whose maps follow this disk */
    hf_u64 lost_events;   /* ranges of this disk put into a lost map */
    hf_u64 mapped_bytes;  /* the size its bit maps were made for */
    hf_u64 reserved;
};

enum hf_capture_map_kind {
    HF_MAP_UNCONFIRMED = 0, /* every captured or dirty write sets its bits */
    HF_MAP_LOST = 1,        /* what only a pass can make good */
    HF_MAP_KINDS = 2,
};

/* The inner map of one (disk, target, kind, generation): words of 64 bits. The first two are its
 * head, so that a program never combines the geometry of one map with the bits of another. */
#define HF_MAP_HEAD_WORDS 2
#define HF_MAP_HEAD_GEOMETRY 0 /* log2 of the bytes a bit stands for, and bit count << 8 */
#define HF_MAP_HEAD_FLAGS 1
#define HF_MAP_FLAG_ALL 1    /* every bit counts as set */
#define HF_MAP_FLAG_BEYOND 2 /* so does everything behind the last bit */
#define HF_MAP_INDEX(slot, target, kind, generation)                                               \
    ((((slot)*HF_TARGETS_MAX + (target)) * HF_MAP_KINDS + (kind)) * 2 + (generation))
#define HF_MAP_COUNT HF_MAP_INDEX(HF_CAPTURE_DISKS_MAX, 0, 0, 0)

/* Requests in flight by name (address of the request or bio, never followed); 0 is a free place. */
struct hf_capture_bucket {
    hf_u64 requests[HF_CAPTURE_BUCKET_WAYS];
};

/* What is in flight at the same index: bucket * HF_CAPTURE_BUCKET_WAYS + way. */
struct hf_capture_inflight {
    hf_u64 epoch;
    hf_u64 start_sector; /* on the whole disk */
    hf_u64 end_sector;
    hf_u64 boot_ns;
    hf_u32 dev;   /* whole disk */
    hf_u32 flags; /* of the enum below; 0 while the place is free or being filled */
};
enum hf_capture_inflight_flags {
    HF_INFLIGHT_READY = 1,    /* the fields are complete */
    HF_INFLIGHT_BIG = 2,      /* not in the overlap filter */
    HF_INFLIGHT_REQUEUED = 4, /* the driver gave it back; the next issue is the same write */
};

/* The pinned control block: one value of a mapped array. Words of the agent first. */
struct hf_capture_control {
    hf_u64 magic;
    hf_u32 layout;
    hf_u32 size; /* of this struct */
    hf_u8 capture_id[16];
    hf_u8 boot_id[16];
    hf_u64 program_tag; /* of the object behind slot 0 of the program arrays */
    hf_u64 created_boot_ns;
    hf_u64 ring_bytes;
    hf_u64 maps_bytes; /* in use by bit maps */
    hf_u64 maps_bytes_max;

    hf_u64 heartbeat_boot_ns;
    hf_u64 heartbeat_timeout_ns; /* 0: never */
    hf_u64 wake_position;        /* a record at or behind it wakes the reader once; ~0: do not */
    hf_u64 page_to_address;      /* K: see capture-copy.h; 0: unknown */
    hf_u64 epoch;                /* rises at every pass */
    hf_u32 generations;          /* bit target * HF_MAP_KINDS + kind: the generation in use */
    hf_u32 reserved0;

    hf_u32 mode;  /* enum hf_capture_mode */
    hf_u32 cause; /* enum hf_capture_cause, of the mode while it is DIRTY */
    hf_u64 dirty_since_boot_ns;
    hf_u64 lost_events; /* ranges put into a lost map since the capture began */
    hf_u64 reserve_failures;
    hf_u64 big_inflight;           /* requests in flight that the overlap filter does not hold */
    hf_u64 causes[HF_CAUSE_SPACE]; /* how often each */
    hf_u64 missed_completions;
    hf_u64 twin_completions; /* that only the second program saw */
    hf_u64 overlaps;
    hf_u64 overlap_checks; /* hits of the filter, false ones included */
    hf_u64 stall_ns_max;   /* longest time content waited in the ring */
    hf_u64 fill_bytes_max;
    hf_u64 issue_misses_seen;
    hf_u64 reserved1[8];

    struct hf_capture_disk disks[HF_CAPTURE_DISKS_MAX];
};

/* Counters of one processor. */
struct hf_capture_counters {
    hf_u64 records;
    hf_u64 content_bytes;
    hf_u64 requests;
    hf_u64 dirty_requests;
    hf_u64 dirty_bytes;
    hf_u64 last_completion[2]; /* request the first completion program saw last; not a counter */
    hf_u64 reserved;
};

/* Argument of the command program (bpf_prog_test_run): its context. */
enum hf_capture_command_kind {
    HF_COMMAND_MARK = 1, /* record of `type`, `kind`, payload */
    HF_COMMAND_PAGE =
        2, /* struct page of the file descriptor `argument`; the caller's page table root */
    HF_COMMAND_READ =
        3, /* 4 KiB at the kernel address `argument`, to the state map's second page */
    HF_COMMAND_KSYMS = 4, /* page_offset_base and vmemmap_base where the kernel names them */
};
#define HF_COMMAND_NEED_DATA 1  /* MARK: refuse in DIRTY mode */
#define HF_COMMAND_NEXT_EPOCH 2 /* MARK: raise the epoch behind the record */
struct hf_capture_command {
    hf_u32 command;
    hf_u32 flags;
    hf_u32 type;
    hf_u32 kind;
    hf_u32 slot;
    hf_u32 payload_bytes;
    hf_u64 offset_bytes;
    hf_u64 length_bytes;
    hf_u64 boot_ns; /* 0: now */
    hf_u64 argument;
    hf_u64 number;
    hf_u64 ret_values[2];
    hf_u8 payload[4096];
};

/* Slots that watch one whole disk. */
#define HF_CAPTURE_WINDOWS_MAX 8
struct hf_capture_watch {
    hf_u32 count;
    hf_u8 slots[HF_CAPTURE_WINDOWS_MAX];
    hf_u32 reserved;
};

/* The overlap filter: a cell holds one count (a byte) for each of the eight sectors of a granule.
 * Neighbouring granules have neighbouring cells, runs of 256 lie anywhere. */
static inline __attribute__((always_inline)) hf_u32 hf_capture_cell(hf_u32 dev, hf_u64 granule)
{
    hf_u64 run = (granule >> 8) + ((hf_u64)dev << 40);

    return (hf_u32)((((run * 0x9E3779B97F4A7C15ULL) >> 40) << 8) + (granule & 255)) &
           (HF_CAPTURE_CELLS - 1);
}

/* One in each byte of a granule's sectors that [start, end) covers. */
static inline __attribute__((always_inline)) hf_u64 hf_capture_cell_ones(hf_u64 granule,
                                                                         hf_u64 start, hf_u64 end)
{
    hf_u64 base = granule << (HF_CAPTURE_GRANULE_SHIFT - 9);
    hf_u64 ones = 0x0101010101010101ULL;

    if (start > base)
        ones <<= ((start - base) & 7) * 8;
    if (end < base + 8)
        ones &= (1ULL << (((end - base) & 7) * 8)) - 1;
    return ones;
}

static inline __attribute__((always_inline)) hf_u32 hf_capture_bucket_index(hf_u64 request)
{
    return (hf_u32)((request * 0x9E3779B97F4A7C15ULL) >> 54) & (HF_CAPTURE_BUCKETS - 1);
}

#ifndef __bpf__
_Static_assert(sizeof(struct hf_capture_record) == 56, "shared with the program");
_Static_assert(sizeof(struct hf_capture_disk_change) == 32, "shared with the program");
_Static_assert(sizeof(struct hf_capture_disk) == 64, "shared with the program");
_Static_assert(sizeof(struct hf_capture_inflight) == 40, "shared with the program");
_Static_assert(sizeof(struct hf_capture_counters) == 64, "shared with the program");
_Static_assert(sizeof(struct hf_capture_command) == 4176, "shared with the program");
#endif

#endif
