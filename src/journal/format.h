// SPDX-License-Identifier: Apache-2.0
/*
 * What the journal's files look like; private to src/journal. docs/formats/journal.md is the
 * specification and says why. Everything is packed, little-endian, reserved bytes are zero.
 */
#ifndef HF_JOURNAL_FORMAT_H
#define HF_JOURNAL_FORMAT_H

#include "base/bytes.h"
#include "base/hash.h"
#include "base/id.h"
#include "stream/batch.h"

#define HF_PAGE_BYTES 4096u

/* ---- Segment ---- */

#define HF_SEGMENT_MAGIC 0x31304745534c4648ull /* "HFLSEG01" */
#define HF_SEGMENT_VERSION 1u
#define HF_SEGMENT_DATA_OFFSET HF_PAGE_BYTES /* the first entry; the rest of page 0 is zero */

struct hf_segment_header {
    hf_le64 magic;
    hf_le32 version;
    hf_le32 header_size;
    hf_le32 compatible;
    hf_le32 incompatible; /* any unknown bit: refuse */
    struct hf_id id;      /* random, never used before */
    hf_le64 number;
    hf_le64 epoch;
    struct hf_id capture;
    hf_le64 base;
    hf_le64 seq_begin; /* captured: of its first entry; pass: of PASS_BEGIN */
    struct hf_hash128 digest_begin;
    hf_le64 pass;
    hf_le64 pass_batch; /* of its first entry */
    hf_le64 created_wall_ns;
    uint8_t lane; /* enum hf_lane */
    uint8_t reserved[55];
    hf_le64 header_hash; /* XXH3-64 of all bytes before; also what the first entry chains to */
} __attribute__((packed));
_Static_assert(sizeof(struct hf_segment_header) == 192, "on disk");

#define HF_ENTRY_MAGIC 0x31454648u /* "HFE1" */
#define HF_ENTRY_ALIGN 8u
enum hf_entry_kind { HF_ENTRY_BATCH = 1, HF_ENTRY_SEAL = 2 };

struct hf_entry_header {
    hf_le32 magic;
    uint8_t kind; /* enum hf_entry_kind */
    uint8_t reserved[3];
    hf_le32 size;        /* bytes of the batch that follows, then zeros up to HF_ENTRY_ALIGN */
    hf_le32 number;      /* in its segment, from 0 */
    hf_le64 segment_tag; /* first eight bytes of the segment's id */
    hf_le64 offset;      /* of this entry in the file: a misdirected write is seen */
    hf_le64 previous;    /* header_hash of the entry before, or of the segment header */
    hf_le64 durable;     /* everything below this file offset was synced when this was written */
    hf_le64 receipt_ns;  /* the store's wall clock */
    hf_le64 body_hash;   /* XXH3-64 of the batch */
    hf_le64 reserved2;
    hf_le64 header_hash; /* XXH3-64 of all header bytes before, body_hash and previous included */
} __attribute__((packed));
_Static_assert(sizeof(struct hf_entry_header) == 80, "on disk");

#define HF_ENTRY_BYTES_MAX (sizeof(struct hf_entry_header) + HF_BATCH_SIZE_MAX + HF_ENTRY_ALIGN)

/* ---- Index ---- */

#define HF_INDEX_MAGIC 0x3130584449474c48ull /* "HLGIDX01" */
#define HF_INDEX_VERSION 1u

enum hf_index_section_kind {
    HF_INDEX_EXTENTS, /* frames of WRITE, sorted by disk, offset, position, ordinal */
    HF_INDEX_FENCES,  /* the first key of each page of EXTENTS */
    HF_INDEX_WIDE,    /* ZERO and DISCARD, sorted the same way */
    HF_INDEX_FILTER,  /* which 64 KiB granules occur: a blocked Bloom filter */
    HF_INDEX_MOMENTS, /* one per captured batch */
    HF_INDEX_EVENTS,  /* records that are not content */
    HF_INDEX_BODIES,  /* their bodies, one after the other */
    HF_INDEX_DAMAGE,  /* what was bad when the index was built */
    HF_INDEX_SECTIONS
};

struct hf_index_section {
    hf_le32 page_first;
    hf_le32 count; /* items */
    hf_le32 item_size;
    hf_le32 reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct hf_index_section) == 16, "on disk");

struct hf_index_header {
    hf_le64 magic;
    hf_le32 version;
    hf_le32 header_size;
    hf_le32 compatible;
    hf_le32 incompatible;
    struct hf_id id; /* of the segment */
    hf_le64 number;
    hf_le64 epoch;
    struct hf_id capture;
    hf_le64 base;
    hf_le64 seq_begin;
    hf_le64 seq_end;
    struct hf_hash128 digest_begin;
    struct hf_hash128 digest_end;
    hf_le64 pass;
    hf_le64 pass_batch_begin;
    hf_le64 pass_batch_end;
    hf_le64 segment_end; /* file offset behind the last entry */
    hf_le64 last_hash;   /* header_hash of the last entry */
    hf_le64 wall_first_ns;
    hf_le64 wall_last_ns;
    hf_le64 receipt_first_ns;
    hf_le64 receipt_last_ns;
    hf_le64 reserved;
    hf_le32 page_count; /* of the whole file, this page included */
    hf_le32 entry_count;
    struct hf_index_section sections[HF_INDEX_SECTIONS];
    uint8_t lane;
    uint8_t reserved2[31];
    hf_le64 header_hash;
} __attribute__((packed));
_Static_assert(sizeof(struct hf_index_header) == 384, "on disk");

struct hf_index_page {
    hf_le64 hash;   /* XXH3-64 of bytes 8..4095, seeded with the segment's tag */
    hf_le32 number; /* of this page in the file */
    hf_le16 count;  /* items on it */
    uint8_t section;
    uint8_t reserved;
    uint8_t items[HF_PAGE_BYTES - 16];
} __attribute__((packed));
_Static_assert(sizeof(struct hf_index_page) == HF_PAGE_BYTES, "on disk");

struct hf_index_extent {
    hf_le64 offset;
    hf_le64 position;
    hf_le64 checksum;
    hf_le32 file_offset;
    hf_le32 ordinal; /* order of appending in this segment */
    hf_le32 length;  /* HF_FRAME_CONTENT_MAX at most */
    hf_le16 stored_size;
    hf_le16 disk;
    uint8_t encoding;
    uint8_t type;
    uint8_t reserved[6];
} __attribute__((packed));
_Static_assert(sizeof(struct hf_index_extent) == 48, "on disk");

struct hf_index_fence {
    hf_le64 offset;
    hf_le16 disk;
    uint8_t reserved[6];
} __attribute__((packed));
_Static_assert(sizeof(struct hf_index_fence) == 16, "on disk");

struct hf_index_wide {
    hf_le64 offset;
    hf_le64 length;
    hf_le64 position;
    hf_le64 end_max; /* greatest offset + length of this disk up to here: what a search needs */
    hf_le32 ordinal;
    hf_le16 disk;
    uint8_t type;
    uint8_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct hf_index_wide) == 40, "on disk");

#define HF_FILTER_BLOCK_BYTES 64u
#define HF_FILTER_GRANULE_SHIFT 16 /* 64 KiB */
#define HF_FILTER_BITS_PER_KEY 12u
#define HF_FILTER_PROBES 5u
#define HF_FILTER_WIDE_GRANULES_MAX                                                                \
    16u /* a wider ZERO or DISCARD is not in the filter: the wide section is always asked */
#define HF_FILTER_LOOKUP_GRANULES_MAX 64u /* a wider lookup does not ask the filter */

struct hf_index_moment {
    hf_le64 position_begin;
    hf_le64 position_end;
    hf_le64 wall_first_ns;
    hf_le64 wall_last_ns;
    hf_le64 receipt_ns;
    hf_le64 file_offset; /* of the entry */
} __attribute__((packed));
_Static_assert(sizeof(struct hf_index_moment) == 48, "on disk");

struct hf_index_event {
    hf_le64 position;
    hf_le64 wall_ns;
    hf_le64 receipt_ns;
    hf_le64 boot_ns;
    hf_le32 body_offset; /* in BODIES */
    hf_le32 body_length;
    uint8_t type;
    uint8_t reserved[7];
} __attribute__((packed));
_Static_assert(sizeof(struct hf_index_event) == 48, "on disk");

struct hf_index_damage {
    hf_le64 file_offset;
    hf_le64 position_begin;
    hf_le64 position_end;
    hf_le32 error; /* as a positive number */
    hf_le32 reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct hf_index_damage) == 32, "on disk");

/* A segment takes no batch that would bring it over this many extents: bounds the memory of
 * building and rebuilding an index. */
#define HF_SEGMENT_EXTENTS_MAX 262144u
#define HF_SEGMENT_BODIES_MAX (32u << 20) /* likewise, of event bodies */
#define HF_SEGMENT_DAMAGE_MAX 1024u

/* ---- State and watermark ---- */

#define HF_STATE_MAGIC 0x31305354534c4648ull /* "HFLSTS01" */
#define HF_STATE_VERSION 1u
struct hf_state_file {
    hf_le64 magic;
    hf_le32 version;
    hf_le32 size;
    hf_le32 compatible;
    hf_le32 incompatible;
    hf_le64 generation;
    hf_le64 number_next; /* of segments */
    hf_le64 floor;       /* everything at or below may have been dropped */
    hf_le64 position_max;
    hf_le64 epoch_max;
    hf_le64 epoch; /* the newest stream, and how far it is durable */
    struct hf_id capture;
    hf_le64 base;
    hf_le64 seq;
    struct hf_hash128 digest;
    hf_le64 pass;
    hf_le64 pass_seq;
    hf_le64 pass_batch;
    struct hf_hash128 pass_digest;
    uint8_t has_stream;
    uint8_t reserved[87];
    hf_le64 hash;
} __attribute__((packed));
_Static_assert(sizeof(struct hf_state_file) == 256, "on disk");

#define HF_WATERMARK_MAGIC 0x31304b4d574c4648ull /* "HFLWMK01" */
#define HF_WATERMARK_SLOT_BYTES 512u             /* one per lane, each in a sector of its own */
struct hf_watermark_slot {
    hf_le64 magic;
    struct hf_id segment;
    hf_le64 number;
    hf_le64 durable;  /* file offset */
    hf_le64 position; /* captured: end of what is durable; pass: its batches */
    hf_le64 reserved;
    hf_le64 hash;
} __attribute__((packed));
_Static_assert(sizeof(struct hf_watermark_slot) == 64, "on disk");

#endif
