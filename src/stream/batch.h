// SPDX-License-Identifier: Apache-2.0
/*
 * A batch: a run of consecutive records, the unit of transport, journalling and acknowledgement.
 * The same bytes travel (wire message BATCH) and rest (journal entry). docs/formats/batch.md is the
 * specification.
 *
 *     header | record table | frame table | payload
 *
 * A batch belongs to a lane: the captured records, gapless by sequence; or one pass, gapless by
 * batch number and ordered, as a whole, at the sequence of its PASS_BEGIN.
 */
#ifndef HF_STREAM_BATCH_H
#define HF_STREAM_BATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "stream/record.h"

#define HF_BATCH_MAGIC 0x31424648u /* "HFB1" */
#define HF_BATCH_VERSION 1
#define HF_BATCH_SIZE_MAX (4u << 20) /* bytes of a whole batch */
#define HF_BATCH_RECORDS_MAX 16384u
#define HF_BATCH_FRAMES_MAX 32768u

enum hf_lane { HF_LANE_CAPTURED = 1, HF_LANE_PASS = 2 };

enum hf_frame_encoding {
    HF_FRAME_RAW = 0,
    HF_FRAME_ZSTD = 1, /* one independent zstd frame, content size present */
    HF_FRAME_ZERO = 2, /* all zeros, no payload */
};

struct hf_batch_header {
    hf_le32 magic;
    hf_le16 version;
    hf_le16 header_size; /* 192; a reader skips what it does not know when `incompatible` allows */
    hf_le32 compatible;
    hf_le32 incompatible; /* any unknown bit: refuse */
    hf_le32 total_size;   /* bytes of the whole batch */
    hf_le32 record_count;
    hf_le32 frame_count;
    hf_le32 payload_size;
    hf_le64 epoch;
    struct hf_id capture;
    hf_le64 seq_begin; /* captured: the records cover [seq_begin, seq_end); pass: both are the end
                          (seq_end) of the PASS_BEGIN record */
    hf_le64 seq_end;
    hf_le64 pass;          /* 0 on the captured lane */
    hf_le64 pass_batch;    /* number within the pass, from 0 */
    hf_le64 boot_ns_first; /* the machine's boot-time clock at its first and last record */
    hf_le64 boot_ns_last;
    hf_le64 wall_ns;                 /* the machine's wall clock at boot_ns_last */
    struct hf_hash128 digest_before; /* running digest of the lane before and after this batch */
    struct hf_hash128 digest_after;
    uint8_t lane; /* enum hf_lane */
    uint8_t reserved[23];
    hf_le64 payload_hash; /* XXH3-64 of the payload as stored */
    hf_le64 tables_hash;  /* XXH3-64 of all bytes behind the 192 of this header, up to the payload:
                             record and frame table */
    hf_le64 header_hash;  /* XXH3-64 of all header bytes before this field */
} __attribute__((packed));
_Static_assert(sizeof(struct hf_batch_header) == 192, "on the wire and on disk");

struct hf_batch_record {
    hf_le64 seq;
    hf_le64 offset;
    hf_le64 length;        /* bytes on disk, or of the body */
    hf_le32 seq_size;      /* seq_end - seq, on the captured lane */
    hf_le32 boot_delta_us; /* after boot_ns_first */
    uint8_t type;          /* enum hf_record_type */
    uint8_t flags;
    hf_le16 disk;
    hf_le32 frame_first; /* its frames are consecutive: ceil(length / HF_FRAME_CONTENT_MAX) of them
                            when it has content */
} __attribute__((packed));
_Static_assert(sizeof(struct hf_batch_record) == 40, "on the wire and on disk");

struct hf_batch_frame {
    hf_le64 checksum; /* XXH3-64 of the uncompressed content */
    hf_le32 payload_offset;
    hf_le16 stored_size; /* bytes in the payload; 16384 at most */
    uint8_t encoding;    /* enum hf_frame_encoding */
    uint8_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct hf_batch_frame) == 16, "on the wire and on disk");

/* ---- Building ---- */

struct hf_batch_builder; /* opaque; one thread */

struct hf_batch_builder_options {
    int compression_level; /* zstd level, HF_COMPRESSION_OFF, or negative (fast); -100 .. 12 */
    size_t size_max;       /* 128 KiB .. HF_BATCH_SIZE_MAX */
};
#define HF_COMPRESSION_OFF 1000
#define HF_COMPRESSION_FAST (-5)

struct hf_record_in {
    uint64_t seq; /* both ignored on the pass lane, whose records lie at pass_seq */
    uint64_t seq_end;
    uint64_t boot_ns;
    uint64_t offset;
    uint64_t length;
    const void *content; /* NULL for ZERO and DISCARD; borrowed during the call */
    uint8_t type;
    uint8_t flags;
    uint16_t disk;
};

/* Allocates everything a builder will need (zstd adds its own with the first content). -EINVAL for
 * options out of range, -ENOMEM. One thread at a time; the caller frees it. */
int hf_batch_builder_new(const struct hf_batch_builder_options *options,
                         struct hf_batch_builder **ret_builder);
void hf_batch_builder_free(struct hf_batch_builder *builder); /* NULL-safe */

/* Begins a batch on the captured lane at seq_begin, continuing `digest`; or on a pass lane. The
 * builder is empty or finished. */
void hf_batch_begin_captured(struct hf_batch_builder *builder, const struct hf_stream_id *stream,
                             uint64_t seq_begin, const struct hf_digest *digest);
void hf_batch_begin_pass(struct hf_batch_builder *builder, const struct hf_stream_id *stream,
                         uint64_t pass_seq, uint64_t pass, uint64_t pass_batch,
                         const struct hf_digest *digest);

/*
 * Adds one record: hashes and compresses its content into the batch. -ENOSPC when it does not fit
 * any more, judged as if it did not compress (the batch is unchanged: finish it and begin the next;
 * an empty batch takes any valid record). -EINVAL for a record that no batch takes: see the rules
 * in docs/formats/batch.md. On the captured lane record->seq must be >= the end so far: space
 * between (a record the kernel threw away) belongs to the batch and holds nothing.
 */
int hf_batch_add(struct hf_batch_builder *builder, const struct hf_record_in *record);

/* Moves the captured lane's end forward over ring space that holds no record. seq_end >= the end so
 * far. */
void hf_batch_skip_to(struct hf_batch_builder *builder, uint64_t seq_end);

/* Records added since the batch began. */
size_t hf_batch_record_count(const struct hf_batch_builder *builder);
size_t hf_batch_size(const struct hf_batch_builder *builder); /* bytes if it were finished now */

/* Writes the header; *ret_data (borrowed until the next begin or free) is the whole batch. Always
 * 0. */
int hf_batch_finish(struct hf_batch_builder *builder, int64_t wall_ns, const void **ret_data,
                    size_t *ret_size, struct hf_digest *ret_digest);

/* ---- Reading: never trusts a byte ---- */

/* A checked, borrowed look at the bytes of a batch. Plain data; valid while the bytes are. */
struct hf_batch {
    const uint8_t *data;
    size_t size;
    const struct hf_batch_header *header;
    const struct hf_batch_record *records;
    const struct hf_batch_frame *frames;
    const uint8_t *payload;
    uint32_t record_count;
    uint32_t frame_count;
    uint32_t payload_size;
};

/*
 * Checks sizes, limits, both hashes, the order and bounds of records and frames, gaplessness on the
 * captured lane and the digest chain from digest_before to digest_after. Does not decompress.
 * HF_ECORRUPT, HF_EVERSION, HF_ETOOBIG.
 */
int hf_batch_parse(const void *data, size_t size, struct hf_batch *ret_batch);

/* Decompresses every frame and compares its checksum; then the hash of the payload. HF_ECORRUPT
 * with the first bad frame in *ret_frame (may be NULL; frame_count when only the payload's hash is
 * wrong); -ENOMEM. Any thread. */
int hf_batch_verify(const struct hf_batch *batch, uint32_t *ret_frame);

/*
 * The content of one frame, verified. `length` is its content size (the record's rest, at most
 * HF_FRAME_CONTENT_MAX); content has room for it. Works on a frame read back from disk too:
 * `stored` is its payload bytes. HF_ECORRUPT, -ENOMEM. Any thread; decompressors come from a shared
 * pool.
 */
int hf_frame_decode(uint8_t encoding, const void *stored, size_t stored_size, uint64_t checksum,
                    void *content, size_t length);

/* The whole content or body of record `index`, verified, into content (HF_RECORD_CONTENT_MAX
 * bytes). *ret_length bytes: 0 for ZERO and DISCARD. HF_ECORRUPT, -ENOMEM. */
int hf_batch_record_content(const struct hf_batch *batch, uint32_t index, void *content,
                            size_t *ret_length);

#endif
