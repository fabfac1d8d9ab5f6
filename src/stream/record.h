// SPDX-License-Identifier: Apache-2.0
/*
 * The change stream: what a protected machine writes, on all its disks, as one ordered run of
 * records.
 *
 * A stream is named by (epoch, capture). The sequence of a captured record is its byte position in
 * the capture ring since that capture began; a record occupies [seq, seq_end) and the next one
 * begins at seq_end: any gap is visible. A state "at sequence S" is everything whose seq_end <= S.
 *
 * Content (the data of a WRITE, the body of a MARK, ...) is cut into frames of at most
 * HF_FRAME_CONTENT_MAX bytes, counted from the start of the record. Each frame has a checksum over
 * its *uncompressed* content, made where it was captured and kept unchanged through every hop and
 * on disk (A8).
 */
#ifndef HF_STREAM_RECORD_H
#define HF_STREAM_RECORD_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/id.h"

#define HF_SECTOR 512                    /* offsets and lengths on disks are multiples of this */
#define HF_FRAME_CONTENT_MAX (16 * 1024) /* so that a random read of a view decompresses little */
#define HF_RECORD_CONTENT_MAX (64 * 1024)
#define HF_DISKS_MAX                                                                               \
    64 /* disks of one machine; a disk's number is its slot, 0..63, never reused in a capture */

enum hf_record_type {
    HF_RECORD_WRITE = 1, /* content replaces [offset, offset + length) */
    HF_RECORD_ZERO = 2,  /* the range now reads as zeros, by promise of the device */
    HF_RECORD_DISCARD =
        3,              /* the content is undefined from here on; served as zeros, never compared */
    HF_RECORD_MARK = 4, /* a recovery point: body is struct hf_mark_body */
    HF_RECORD_PASS_BEGIN = 5, /* body is struct hf_pass_body: no point is offered from here ... */
    HF_RECORD_PASS_END = 6,   /* ... to here; same body */
    HF_RECORD_DISK = 7,       /* a disk came, went or changed size: body is struct hf_disk_body */
    HF_RECORD_MACHINE =
        8, /* the machine's description: body is struct hf_machine_body + JSON part */
    HF_RECORD_GAP =
        9, /* writes were not captured; they are in the lost map: body is struct hf_gap_body */
    HF_RECORD_NOTE =
        10, /* nothing for the content: an agent's own mark (a map generation's end, a handover) */
};

enum hf_mark_kind {
    HF_MARK_CRASH = 1, /* as after a power cut at that moment */
    HF_MARK_APP = 2,   /* hooks ran and file systems were frozen */
    HF_MARK_FINAL = 3, /* the source is quiesced for good (planned failover) */
};

/* Bodies travel and rest as these bytes: packed, little-endian, reserved bytes zero. */

#define HF_MARK_NAME_MAX 128
struct hf_mark_body {
    uint8_t kind; /* enum hf_mark_kind */
    uint8_t version;
    hf_le16 flags;
    hf_le16 name_length;
    hf_le16 group_members; /* consistency group: members expected; 0 when the point stands alone */
    struct hf_id point;    /* identity of the recovery point */
    struct hf_id group;    /* zero when there is none */
    hf_le64 wall_ns;       /* the machine's wall clock when the mark was set */
    hf_le64 wall_uncertainty_ns;
    /* followed by name_length bytes of UTF-8 */
} __attribute__((packed));
_Static_assert(sizeof(struct hf_mark_body) == 56, "on disk");

enum hf_pass_kind {
    HF_PASS_FULL = 1, /* everything: initial replication */
    HF_PASS_MAP = 2,  /* the lost map */
    HF_PASS_HASH = 3, /* ranges whose hashes differ */
};
enum hf_pass_flags {
    HF_PASS_COMPLETE =
        1, /* END: nothing is outstanding, points may be offered again from here on */
    HF_PASS_ADDED_DISK = 2, /* only disks that were never complete: points of the others go on */
};
struct hf_pass_body {
    uint8_t kind; /* enum hf_pass_kind */
    uint8_t version;
    hf_le16 flags;
    hf_le32 reserved;
    hf_le64 pass;      /* number of the pass: rises within a stream, from 1 */
    hf_le64 disk_mask; /* bit per disk slot in its scope */
    hf_le64
        batches; /* END: pass batches 0 .. batches-1 belong to it, all of them must be present */
} __attribute__((packed));
_Static_assert(sizeof(struct hf_pass_body) == 32, "on disk");

enum hf_disk_change { HF_DISK_ADD = 1, HF_DISK_RESIZE = 2, HF_DISK_REMOVE = 3 };
#define HF_DISK_NAME_MAX 64
struct hf_disk_body {
    uint8_t change; /* enum hf_disk_change */
    uint8_t version;
    hf_le16 disk;       /* slot */
    hf_le32 block_size; /* logical block size in bytes */
    hf_le64 size_bytes;
    struct hf_id identity;       /* of the disk itself: hash of serial, WWN or UUID */
    char name[HF_DISK_NAME_MAX]; /* how the machine calls it ("vda"), NUL-padded */
} __attribute__((packed));
_Static_assert(sizeof(struct hf_disk_body) == 96, "on disk");

/* The description is JSON of at most HF_MACHINE_DESCRIPTION_MAX bytes, in parts that fit a ring
 * record. */
#define HF_MACHINE_DESCRIPTION_MAX (64 * 1024)
struct hf_machine_body {
    hf_le32 version; /* rises with every change */
    hf_le16 part;
    hf_le16 parts;
    hf_le32 part_length;
    hf_le32 total_length;
    /* followed by part_length bytes */
} __attribute__((packed));
_Static_assert(sizeof(struct hf_machine_body) == 16, "on disk");

enum hf_gap_cause {
    HF_GAP_RING_FULL = 1,
    HF_GAP_FORCED = 2, /* by budget, link or operator */
    HF_GAP_NO_HEARTBEAT = 3,
    HF_GAP_LOST_HOP = 4, /* a hop lost what it had acknowledged */
    HF_GAP_PAGE = 5,     /* content could not be read at the hook */
    HF_GAP_DISK_CHANGED = 6,
};
struct hf_gap_body {
    uint8_t cause; /* enum hf_gap_cause */
    uint8_t version;
    hf_le16 reserved;
    hf_le32 reserved2;
    hf_le64 since_boot_ns; /* when it began */
} __attribute__((packed));
_Static_assert(sizeof(struct hf_gap_body) == 16, "on disk");

/* Which stream. */
struct hf_stream_id {
    uint64_t epoch;       /* issued by the primary target, rises at failover */
    struct hf_id capture; /* random, made with the ring and its maps */
};

/*
 * The running digest: d(0) = XXH3-128 of the capture id; d(n+1) = XXH3-128 over d(n), the record's
 * fields and its frame checksums. Independent of how records are cut into batches, so both ends can
 * compare it at any record boundary.
 */
struct hf_digest {
    struct hf_hash128 value;
};
void hf_digest_begin(const struct hf_id *capture, struct hf_digest *ret_digest);
/* A pass has a chain of its own: d(0) = XXH3-128 over the capture id and the pass's number. */
void hf_digest_begin_pass(const struct hf_id *capture, uint64_t pass, struct hf_digest *ret_digest);

#endif
