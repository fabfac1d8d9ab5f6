// SPDX-License-Identifier: Apache-2.0
/* What the files of this folder share: the frame codec's state, the digest's step, the limits. */
#ifndef HF_STREAM_INTERNAL_H
#define HF_STREAM_INTERNAL_H

#include <zstd.h>

#include "stream/batch.h"

#define HF_BATCH_HEADER_SIZE_MAX 1024u /* header_size of a later version of the same layout */
#define HF_BATCH_SIZE_MIN                                                                          \
    (128u << 10)                    /* a builder's smallest size_max: the largest record fits      \
                                     */
#define HF_COMPRESSION_LEVEL_MAX 12 /* zstd 1.5.4 is not to be trusted above */
#define HF_COMPRESSION_LEVEL_MIN (-100)

/* ---- digest.c ---- */

/* d(n+1) of one record from d(n). Any thread. */
void hf_digest_add(struct hf_digest *digest, const struct hf_batch_record *record,
                   const struct hf_batch_frame *frames, uint32_t frame_count);

/* Frames that a record has: 0 unless its type has content. */
uint32_t hf_record_frame_count(uint8_t type, uint64_t length);
/* Content of frame `index` of a record: at most HF_FRAME_CONTENT_MAX bytes. */
size_t hf_record_frame_length(uint64_t length, uint32_t index);
/*
 * Type known, disk below HF_DISKS_MAX, range aligned and without overflow, or body as long as its
 * type's struct. On the pass lane only WRITE, ZERO and DISCARD.
 */
bool hf_record_is_valid(uint8_t lane, uint8_t type, uint16_t disk, uint64_t offset,
                        uint64_t length);

/* ---- frame.c ---- */

/* What the encoder remembers of one disk: content that did not compress lately is stored raw
 * untried for a while. */
struct hf_frame_history {
    uint16_t misses;    /* frames in a row that did not compress */
    uint16_t skip;      /* frames to store untried */
    uint16_t skip_next; /* the next such run's length */
};

struct hf_frame_encoder {
    ZSTD_CCtx *context; /* NULL: compression is off */
    struct hf_frame_history history[HF_DISKS_MAX];
};

int hf_frame_encoder_init(struct hf_frame_encoder *encoder, int compression_level);
void hf_frame_encoder_done(struct hf_frame_encoder *encoder); /* idempotent */

/*
 * One frame: `length` bytes of content (1 .. HF_FRAME_CONTENT_MAX) into `stored`, which has room
 * for as many. Fills all of *ret_frame but payload_offset. Cannot fail.
 */
void hf_frame_encode(struct hf_frame_encoder *encoder, uint16_t disk, const void *content,
                     size_t length, void *stored, struct hf_batch_frame *ret_frame);

/* Decompressors are kept in a small pool that any thread takes from. NULL: out of memory. */
ZSTD_DCtx *hf_frame_decoder_take(void);
void hf_frame_decoder_give(ZSTD_DCtx *decoder); /* NULL-safe */
/* hf_frame_decode with a decompressor that the caller holds. */
int hf_frame_decode_with(ZSTD_DCtx *decoder, uint8_t encoding, const void *stored,
                         size_t stored_size, uint64_t checksum, void *content, size_t length);
/* Only compares: `scratch` (HF_FRAME_CONTENT_MAX bytes) is used when the content must be made. */
int hf_frame_verify_with(ZSTD_DCtx *decoder, uint8_t encoding, const void *stored,
                         size_t stored_size, uint64_t checksum, void *scratch, size_t length);

#endif
