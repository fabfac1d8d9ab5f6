// SPDX-License-Identifier: Apache-2.0
/*
 * The frame codec: at most 16 KiB of content, stored as zeros, raw, or one zstd frame.
 *
 * Compression is tried only where it pays. Content of a disk that did not compress RUN times in a
 * row is stored raw, untried, for a run of frames that doubles up to SKIP_MAX; then a frame is
 * tried again. So incompressible data costs one attempt in SKIP_MAX, and compressible data that
 * follows it goes raw for at most SKIP_MAX frames (1 MiB).
 */
#include "stream/stream-internal.h"

#include <stdatomic.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

#define SAVING_SHARE 8    /* compressed is kept when it saves at least 1/8 */
#define COMPRESS_MIN 256u /* shorter content is a body or a rest: not worth a frame header */
#define MISS_RUN 4        /* misses in a row before frames go untried */
#define SKIP_FIRST 8
#define SKIP_MAX 64
#define DECODERS_MAX 16 /* kept for reuse; about 160 KiB each */

static _Atomic(ZSTD_DCtx *) decoders[DECODERS_MAX];

int hf_frame_encoder_init(struct hf_frame_encoder *encoder, int compression_level)
{
    memset(encoder, 0, sizeof(*encoder));
    if (compression_level == HF_COMPRESSION_OFF)
        return 0;
    if (compression_level > HF_COMPRESSION_LEVEL_MAX ||
        compression_level < HF_COMPRESSION_LEVEL_MIN)
        return -EINVAL;
    encoder->context = ZSTD_createCCtx();
    if (!encoder->context)
        return -ENOMEM;
    if (ZSTD_isError(
            ZSTD_CCtx_setParameter(encoder->context, ZSTD_c_compressionLevel, compression_level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(encoder->context, ZSTD_c_contentSizeFlag, 1)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(encoder->context, ZSTD_c_checksumFlag, 0))) {
        hf_frame_encoder_done(encoder);
        return -EINVAL;
    }
    return 0;
}

void hf_frame_encoder_done(struct hf_frame_encoder *encoder)
{
    ZSTD_freeCCtx(encoder->context); /* NULL-safe */
    encoder->context = NULL;
}

/* memcmp with itself one step on runs at memory speed; most content fails at its first bytes. */
static bool is_zero(const uint8_t *content, size_t length)
{
    static const uint8_t zeros[16];
    size_t head = HF_MIN(length, sizeof(zeros));

    return !memcmp(content, zeros, head) &&
           (length == head || !memcmp(content, content + head, length - head));
}

static void history_missed(struct hf_frame_history *history)
{
    if (++history->misses < MISS_RUN)
        return;
    history->skip_next = history->skip_next ? HF_MIN(history->skip_next * 2, SKIP_MAX) : SKIP_FIRST;
    history->skip = history->skip_next;
    history->misses = MISS_RUN - 1; /* one more miss is enough next time */
}

/* The compressed size, or 0 when the frame is to be stored raw. */
static size_t compress(struct hf_frame_encoder *encoder, uint16_t disk, const void *content,
                       size_t length, void *stored)
{
    struct hf_frame_history *history = &encoder->history[disk % HF_DISKS_MAX];
    size_t size;

    if (!encoder->context || length < COMPRESS_MIN)
        return 0;
    if (history->skip > 0) {
        history->skip--;
        return 0;
    }
    size =
        ZSTD_compress2(encoder->context, stored, length - length / SAVING_SHARE, content, length);
    if (ZSTD_isError(size)) { /* it does not fit: not worth it */
        history_missed(history);
        return 0;
    }
    memset(history, 0, sizeof(*history));
    return size;
}

void hf_frame_encode(struct hf_frame_encoder *encoder, uint16_t disk, const void *content,
                     size_t length, void *stored, struct hf_batch_frame *ret_frame)
{
    uint8_t encoding = HF_FRAME_ZERO;
    size_t size = 0;

    HF_ASSERT(length > 0 && length <= HF_FRAME_CONTENT_MAX);
    if (!is_zero(content, length)) {
        size = compress(encoder, disk, content, length, stored);
        encoding = size > 0 ? HF_FRAME_ZSTD : HF_FRAME_RAW;
        if (encoding == HF_FRAME_RAW) {
            memcpy(stored, content, length);
            size = length;
        }
    }
    ret_frame->checksum = hf_le64_of(hf_hash64(content, length));
    ret_frame->stored_size = hf_le16_of((uint16_t)size);
    ret_frame->encoding = encoding;
    ret_frame->reserved = 0;
}

ZSTD_DCtx *hf_frame_decoder_take(void)
{
    for (size_t i = 0; i < DECODERS_MAX; i++) {
        ZSTD_DCtx *decoder = NULL;

        if (atomic_load_explicit(&decoders[i], memory_order_relaxed))
            decoder = atomic_exchange(&decoders[i], NULL);
        if (decoder)
            return decoder;
    }
    return ZSTD_createDCtx();
}

void hf_frame_decoder_give(ZSTD_DCtx *decoder)
{
    for (size_t i = 0; decoder && i < DECODERS_MAX; i++) {
        ZSTD_DCtx *none = NULL;

        if (atomic_compare_exchange_strong(&decoders[i], &none, decoder))
            return;
    }
    ZSTD_freeDCtx(decoder); /* NULL-safe */
}

/* Exactly one zstd frame, which declares exactly `length` bytes: nothing skippable, nothing
 * behind it, and no allocation that the input could choose the size of. */
static int decompress(ZSTD_DCtx *decoder, const void *stored, size_t stored_size, void *content,
                      size_t length)
{
    if (ZSTD_getFrameContentSize(stored, stored_size) != length ||
        ZSTD_findFrameCompressedSize(stored, stored_size) != stored_size)
        return -HF_ECORRUPT;
    if (ZSTD_decompressDCtx(decoder, content, length, stored, stored_size) != length)
        return -HF_ECORRUPT;
    return 0;
}

/* Makes the content, unchecked. */
static int expand(ZSTD_DCtx *decoder, uint8_t encoding, const void *stored, size_t stored_size,
                  void *content, size_t length)
{
    switch (encoding) {
    case HF_FRAME_ZSTD:
        return decompress(decoder, stored, stored_size, content, length);
    case HF_FRAME_RAW:
        if (stored_size != length)
            return -HF_ECORRUPT;
        memcpy(content, stored, length);
        return 0;
    case HF_FRAME_ZERO:
        if (stored_size != 0)
            return -HF_ECORRUPT;
        memset(content, 0, length);
        return 0;
    default:
        return -HF_ECORRUPT;
    }
}

int hf_frame_decode_with(ZSTD_DCtx *decoder, uint8_t encoding, const void *stored,
                         size_t stored_size, uint64_t checksum, void *content, size_t length)
{
    int error;

    if (length == 0 || length > HF_FRAME_CONTENT_MAX)
        return -HF_ECORRUPT;
    error = expand(decoder, encoding, stored, stored_size, content, length);
    if (error)
        return error;
    return hf_hash64(content, length) == checksum ? 0 : -HF_ECORRUPT;
}

int hf_frame_verify_with(ZSTD_DCtx *decoder, uint8_t encoding, const void *stored,
                         size_t stored_size, uint64_t checksum, void *scratch, size_t length)
{
    if (encoding == HF_FRAME_RAW && stored_size == length) /* hashed where it lies */
        return hf_hash64(stored, length) == checksum ? 0 : -HF_ECORRUPT;
    return hf_frame_decode_with(decoder, encoding, stored, stored_size, checksum, scratch, length);
}

int hf_frame_decode(uint8_t encoding, const void *stored, size_t stored_size, uint64_t checksum,
                    void *content, size_t length)
{
    ZSTD_DCtx *decoder = NULL;
    int error;

    if (encoding == HF_FRAME_ZSTD) {
        decoder = hf_frame_decoder_take();
        if (!decoder)
            return -ENOMEM;
    }
    error = hf_frame_decode_with(decoder, encoding, stored, stored_size, checksum, content, length);
    hf_frame_decoder_give(decoder);
    return error;
}
