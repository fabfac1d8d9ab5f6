/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Copying what a write is about to put on the disk from its pages into the ring.
 *
 * Address of a page's content: K + page * (4096 / sizeof(struct page)), K constant for a boot (all
 * memory is mapped linearly, and so are the page structs). K is found and verified by user space.
 *
 * A record's space is one of a few constant sizes: the kernel's reserve call wants a constant, and
 * one call for 64 KiB is much cheaper than sixteen. Almost all writes consist of whole 4 KiB
 * pieces; each is one copy to a constant place, or a whole record is when the memory is contiguous.
 * A request whose memory is cut elsewhere goes through a scratch page, 4 KiB at a time.
 *
 * When the ring is full in the middle of a request, the mode becomes DIRTY and the rest of the
 * request goes into the lost map, both before the device gets it (hazard H4).
 */
#ifndef HF_BPF_CAPTURE_COPY_H
#define HF_BPF_CAPTURE_COPY_H

#define HF_PIECE 4096
#define HF_PAGE_STRUCT 64

#define HF_CONTENT(pieces)                                                                         \
    struct hf_content_##pieces {                                                                   \
        __u8 bytes[pieces * HF_PIECE];                                                             \
    };                                                                                             \
    struct hf_space_##pieces {                                                                     \
        struct hf_capture_record head;                                                             \
        struct hf_content_##pieces content;                                                        \
    }
HF_CONTENT(1);
HF_CONTENT(2);
HF_CONTENT(4);
HF_CONTENT(8);
HF_CONTENT(16);

#define HF_SMALL 1024
struct hf_space_small {
    struct hf_capture_record head;
    __u8 content[HF_SMALL];
};

/* Where in a chain of bios the copying stands. */
struct hf_walk {
    __u64 bio;     /* next bio, 0: none */
    __u64 vector;  /* of the current bio */
    __u64 address; /* of the current segment's rest */
    __u64 sector;  /* on the whole disk, of the next byte: a multiple of 512 at record bounds */
    __u64 k;
    __u64 now;
    __u64 start_sectors; /* of the protected window */
    __u32 segment_bytes; /* left in the current segment */
    __u32 bio_bytes;     /* left in the current bio, segment included */
    __u32 index;
    __u32 skip; /* into the segment at index */
    __u32 left; /* of the request */
    __u32 slot;
    __u32 unreadable;
    __u32 scattered; /* memory is cut elsewhere than at 4 KiB */
    __u32 full;
    __u32 single; /* a bio that is not part of a request */
};

static __always_inline int hf_walk_bio(struct hf_walk *walk)
{
    struct bio *bio = (struct bio *)walk->bio;
    struct {
        __u64 sector;
        __u32 size, index, done;
    } __attribute__((packed)) iter;

    if (!bio || bpf_probe_read_kernel(&iter, sizeof(iter),
                                      (char *)bio + bpf_core_field_offset(struct bio, bi_iter)))
        return -1;
    walk->vector = (__u64)BPF_CORE_READ(bio, bi_io_vec);
    walk->bio = walk->single ? 0 : (__u64)BPF_CORE_READ(bio, bi_next);
    walk->bio_bytes = iter.size;
    walk->index = iter.index;
    walk->skip = iter.done;
    return 0;
}

/* Makes sure that a segment is at hand. Not 0: the chain ended early or cannot be read. */
__noinline int hf_walk_segment(struct hf_walk *walk)
{
    struct {
        __u64 page;
        __u32 length, offset;
    } vec;

    if (!walk)
        return -1;
    if (walk->bio_bytes == 0 && hf_walk_bio(walk))
        return -1;
    if (bpf_probe_read_kernel(&vec, sizeof(vec), (void *)(walk->vector + walk->index * 16ULL)))
        return -1;
    if (vec.length <= walk->skip || walk->bio_bytes == 0)
        return -1;
    walk->address = walk->k + vec.page * (HF_PIECE / HF_PAGE_STRUCT) + vec.offset + walk->skip;
    walk->segment_bytes = vec.length - walk->skip;
    if (walk->segment_bytes > walk->bio_bytes)
        walk->segment_bytes = walk->bio_bytes;
    walk->skip = 0;
    walk->index += 1;
    return 0;
}

static __always_inline void hf_walk_advance(struct hf_walk *walk, __u32 bytes)
{
    walk->address += bytes;
    walk->segment_bytes -= bytes;
    walk->bio_bytes -= bytes;
    walk->left -= bytes;
}

/* A piece that cannot be read leaves zeros, and its range goes into the lost map with the record.
 */
static __always_inline void hf_read(struct hf_walk *walk, void *to, __u32 bytes)
{
    if (bpf_probe_read_kernel(to, bytes, (void *)walk->address))
        walk->unreadable = 1;
    hf_walk_advance(walk, bytes);
}

/* The last, short piece of a request. The bounds are spelled out for the verifier: a compiler
 * proves them away otherwise. */
static __always_inline void hf_read_tail(struct hf_walk *walk, void *to, __u32 bytes)
{
    asm volatile("%0 &= 0x1fff; if %0 < 4097 goto +1; %0 = 4096;" : "+r"(bytes));
    hf_read(walk, to, bytes);
}

/* Fills up to `pieces` pieces; less when the request ends or its memory is cut elsewhere. */
#define HF_FILL(pieces)                                                                            \
    __noinline int hf_fill_##pieces(struct hf_walk *walk, struct hf_content_##pieces *content)     \
    {                                                                                              \
        __u32 i;                                                                                   \
                                                                                                   \
        if (!walk || !content)                                                                     \
            return 0;                                                                              \
        if (walk->segment_bytes >= sizeof(*content)) {                                             \
            hf_read(walk, content->bytes, sizeof(*content));                                       \
            return 0;                                                                              \
        }                                                                                          \
        _Pragma("clang loop unroll(disable)") for (i = 0; i < pieces; i++)                         \
        {                                                                                          \
            if (!walk->left || (!walk->segment_bytes && hf_walk_segment(walk)))                    \
                return 0;                                                                          \
            if (walk->segment_bytes < HF_PIECE) {                                                  \
                if (walk->segment_bytes >= walk->left)                                             \
                    hf_read_tail(walk, content->bytes + i * HF_PIECE, walk->left);                 \
                else                                                                               \
                    walk->scattered = 1;                                                           \
                return 0;                                                                          \
            }                                                                                      \
            hf_read(walk, content->bytes + i * HF_PIECE, HF_PIECE);                                \
        }                                                                                          \
        return 0;                                                                                  \
    }
HF_FILL(1)
HF_FILL(2)
HF_FILL(4)
HF_FILL(8)
HF_FILL(16)

static __always_inline void hf_head(struct hf_capture_record *head, __u32 type, __u32 slot,
                                    __u64 offset, __u64 length, __u64 now)
{
    head->layout = HF_CAPTURE_LAYOUT;
    head->type = type;
    head->slot = slot;
    head->flags = 0;
    head->kind = 0;
    head->content_bytes = 0;
    head->offset_bytes = offset;
    head->length_bytes = length;
    head->boot_ns = now;
    head->lost_events = 0;
    head->number = 0;
}

/* Completes the header of a record that took the request from `before` bytes left to walk->left. */
static __always_inline void hf_head_write(struct hf_walk *walk, struct hf_capture_record *head,
                                          __u32 before)
{
    __u32 bytes = before - walk->left;

    hf_head(head, HF_CAPTURE_WRITE, walk->slot, (walk->sector - walk->start_sectors) << 9, bytes,
            walk->now);
    head->content_bytes = bytes;
    if (walk->unreadable) {
        hf_lost(walk->slot, walk->sector, walk->sector + ((bytes + 511) >> 9),
                HF_CAUSE_PAGE_UNREADABLE);
        walk->unreadable = 0;
    }
    walk->sector += bytes >> 9;
}

#define HF_TAKE(control, walk, pieces)                                                             \
    {                                                                                              \
        struct hf_space_##pieces *space =                                                          \
            bpf_ringbuf_reserve(&hf_ring, sizeof(struct hf_space_##pieces), 0);                    \
        __u32 before = (walk)->left;                                                               \
                                                                                                   \
        if (!space)                                                                                \
            return -1;                                                                             \
        hf_fill_##pieces(walk, &space->content);                                                   \
        hf_head_write(walk, &space->head, before);                                                 \
        bpf_ringbuf_submit(space, hf_submit_flags(control));                                       \
        return 0;                                                                                  \
    }

/* The space that wastes little: the next larger size when the rest fills three quarters of it. */
static __always_inline int hf_take(struct hf_capture_control *control, struct hf_walk *walk)
{
    __u32 left = walk->left;

    if (left >= 48 * 1024)
        HF_TAKE(control, walk, 16);
    if (left >= 24 * 1024)
        HF_TAKE(control, walk, 8);
    if (left >= 12 * 1024)
        HF_TAKE(control, walk, 4);
    if (left >= 6 * 1024)
        HF_TAKE(control, walk, 2);
    HF_TAKE(control, walk, 1);
}

struct hf_gather {
    struct hf_walk *walk;
    __u32 done;
    __u32 want;
};

/* One piece into the scratch page. */
static long hf_gather_piece(__u32 i, struct hf_gather *gather)
{
    struct hf_walk *walk = gather->walk;
    struct hf_scratch *scratch = hf_get_scratch(walk->single);
    __u32 bytes, at = gather->done;

    if (!scratch || at >= gather->want)
        return 1;
    if (!walk->segment_bytes && hf_walk_segment(walk))
        return 1;
    bytes = gather->want - at;
    if (bytes > walk->segment_bytes)
        bytes = walk->segment_bytes;
    at &= HF_PIECE - 1;
    asm volatile("%0 &= 0x1fff; if %0 < 4097 goto +1; %0 = 4096;" : "+r"(bytes));
    hf_read(walk, scratch->bytes + at, bytes);
    gather->done += bytes;
    return 0;
}

/* Up to 4 KiB of scattered memory: into the scratch page, then into the ring. */
__noinline int hf_take_scattered(struct hf_walk *walk)
{
    struct hf_capture_control *control = hf_get_control();
    struct hf_gather gather = {.walk = walk};
    struct hf_scratch *scratch;
    struct hf_space_1 *space;
    __u32 before;

    if (!walk || !control)
        return -1;
    scratch = hf_get_scratch(walk->single);
    if (!scratch)
        return -1;
    before = walk->left;
    gather.want = before < HF_PIECE ? before : HF_PIECE;
    bpf_loop(HF_PIECE, hf_gather_piece, &gather, 0);
    gather.done &= ~511u;
    walk->left = before; /* until the record is certain */
    space = bpf_ringbuf_reserve(&hf_ring, sizeof(*space), 0);
    if (!space)
        return -1;
    walk->left -= gather.done;
    bpf_probe_read_kernel(space->content.bytes, HF_PIECE, scratch->bytes);
    hf_head_write(walk, &space->head, before);
    bpf_ringbuf_submit(space, hf_submit_flags(control));
    return 0;
}

/* A short write that lies in one segment, such as a log's. */
static __always_inline int hf_take_small(struct hf_capture_control *control, struct hf_walk *walk)
{
    struct hf_space_small *space = bpf_ringbuf_reserve(&hf_ring, sizeof(*space), 0);
    __u32 before = walk->left;
    __u32 bytes = before;

    if (!space)
        return -1;
    asm volatile("%0 &= 0x7ff; if %0 < 1025 goto +1; %0 = 1024;" : "+r"(bytes));
    hf_read(walk, space->content, bytes);
    hf_head_write(walk, &space->head, before);
    bpf_ringbuf_submit(space, hf_submit_flags(control));
    return 0;
}

/* One record. Returns 1 when the request is done or cannot go on. */
static long hf_copy_record(__u32 i, struct hf_walk *walk)
{
    struct hf_capture_control *control = hf_get_control();
    __u32 before = walk->left;
    int rc;

    if (!control || !before)
        return 1;
    if (!walk->segment_bytes && hf_walk_segment(walk))
        return 1;
    if (before <= HF_SMALL && walk->segment_bytes >= before)
        rc = hf_take_small(control, walk);
    else if (walk->scattered || (walk->segment_bytes < HF_PIECE && walk->segment_bytes < before))
        rc = hf_take_scattered(walk);
    else
        rc = hf_take(control, walk);
    if (rc) {
        walk->full = 1;
        return 1;
    }
    return walk->left == 0 || walk->left == before;
}

static __always_inline void hf_count_copied(const struct hf_walk *walk, __u32 bytes, __u32 records)
{
    struct hf_capture_counters *counters = hf_get_counters();

    if (!counters)
        return;
    counters->content_bytes += bytes - walk->left;
    counters->records += records;
}

/* Content of a write, as records. What did not get into the ring is in the lost map when this
 * returns. */
static __always_inline void hf_copy(struct hf_capture_control *control,
                                    const struct hf_request *request,
                                    const struct hf_capture_disk *disk, __u32 slot)
{
    __u32 bytes = (__u32)(request->end - request->start) << 9;
    struct hf_walk walk = {.bio = request->bio,
                           .sector = request->start,
                           .k = control->page_to_address,
                           .now = request->now,
                           .start_sectors = disk->start_sectors,
                           .left = bytes,
                           .slot = slot,
                           .single = request->bio_based};
    long records = 1;

    if (hf_copy_record(0, &walk) == 0)
        records += bpf_loop(1 << 20, hf_copy_record, &walk, 0);
    hf_count_copied(&walk, bytes, (__u32)records);
    if (!walk.left)
        return;
    if (walk.full) {
        __sync_fetch_and_add(&control->reserve_failures, 1);
        hf_set_dirty(control, HF_CAUSE_RING_FULL);
    }
    hf_lost(slot, walk.sector, request->end,
            walk.full ? HF_CAUSE_RING_FULL : HF_CAUSE_PAGE_UNREADABLE);
}

#endif
