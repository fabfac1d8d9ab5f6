// SPDX-License-Identifier: Apache-2.0
/*
 * Reading a batch. Every number is checked against the bytes that are there before it is used; the
 * layout is canonical (one way to write a batch), so that nothing can hide between its parts.
 */
#include "stream/stream-internal.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

/* Where the walk over the records is. */
struct walk {
    uint64_t seq_end;
    uint32_t frame_next;
    uint32_t payload_next;
    struct hf_digest digest;
};

static bool is_all_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i])
            return false;
    }
    return true;
}

/* The place and meaning of magic, version, header_size, total_size and header_hash are the same in
 * every version: a whole header of a later version is told from a damaged one. */
static int check_identity(const struct hf_batch_header *header)
{
    if (hf_le32_get(header->magic) != HF_BATCH_MAGIC)
        return -HF_ECORRUPT;
    if (hf_le64_get(header->header_hash) !=
        hf_hash64(header, offsetof(struct hf_batch_header, header_hash)))
        return -HF_ECORRUPT;
    if (hf_le16_get(header->version) != HF_BATCH_VERSION || hf_le32_get(header->incompatible) != 0)
        return -HF_EVERSION;
    return 0;
}

static int check_sizes(const struct hf_batch_header *header, size_t size)
{
    uint64_t header_size = hf_le16_get(header->header_size);
    uint64_t record_count = hf_le32_get(header->record_count);
    uint64_t frame_count = hf_le32_get(header->frame_count);
    uint64_t payload_size = hf_le32_get(header->payload_size);
    uint64_t tables_size =
        record_count * sizeof(struct hf_batch_record) + frame_count * sizeof(struct hf_batch_frame);

    if (hf_le32_get(header->total_size) > HF_BATCH_SIZE_MAX ||
        record_count > HF_BATCH_RECORDS_MAX || frame_count > HF_BATCH_FRAMES_MAX)
        return -HF_ETOOBIG;
    if (header_size < sizeof(*header) || header_size > HF_BATCH_HEADER_SIZE_MAX)
        return -HF_ECORRUPT;
    if (hf_le32_get(header->total_size) != size || header_size + tables_size + payload_size != size)
        return -HF_ECORRUPT;
    return 0;
}

static bool lane_is_valid(const struct hf_batch_header *header)
{
    uint64_t seq_begin = hf_le64_get(header->seq_begin);
    uint64_t seq_end = hf_le64_get(header->seq_end);

    switch (header->lane) {
    case HF_LANE_CAPTURED:
        return seq_begin <= seq_end && hf_le64_get(header->pass) == 0 &&
               hf_le64_get(header->pass_batch) == 0;
    case HF_LANE_PASS:
        return seq_begin == seq_end && hf_le64_get(header->pass) > 0;
    default:
        return false;
    }
}

static int check_header(const struct hf_batch_header *header, size_t size)
{
    int error = check_identity(header);

    if (!error)
        error = check_sizes(header, size);
    if (error)
        return error;
    /* A later writer of the same version may use reserved bytes for what may be ignored, and says
     * so. */
    if (hf_le32_get(header->compatible) == 0 &&
        !is_all_zero(header->reserved, sizeof(header->reserved)))
        return -HF_ECORRUPT;
    if (!lane_is_valid(header) ||
        hf_le64_get(header->boot_ns_first) > hf_le64_get(header->boot_ns_last))
        return -HF_ECORRUPT;
    return 0;
}

static void locate(const void *data, size_t size, struct hf_batch *ret_batch)
{
    const struct hf_batch_header *header = data;
    const uint8_t *records = (const uint8_t *)data + hf_le16_get(header->header_size);
    uint32_t record_count = hf_le32_get(header->record_count);
    uint32_t frame_count = hf_le32_get(header->frame_count);
    const uint8_t *frames = records + record_count * sizeof(struct hf_batch_record);

    *ret_batch = (struct hf_batch){
        .data = data,
        .size = size,
        .header = header,
        .records = (const struct hf_batch_record *)records,
        .frames = (const struct hf_batch_frame *)frames,
        .payload = frames + frame_count * sizeof(struct hf_batch_frame),
        .record_count = record_count,
        .frame_count = frame_count,
        .payload_size = hf_le32_get(header->payload_size),
    };
}

/* Behind the 192 bytes of version 1's header, up to the payload. */
static bool tables_hash_fits(const struct hf_batch *batch)
{
    const uint8_t *start = batch->data + sizeof(*batch->header);

    return hf_le64_get(batch->header->tables_hash) ==
           hf_hash64(start, (size_t)(batch->payload - start));
}

static bool frame_is_valid(const struct hf_batch_frame *frame, size_t length)
{
    size_t stored_size = hf_le16_get(frame->stored_size);

    if (frame->reserved != 0)
        return false;
    switch (frame->encoding) {
    case HF_FRAME_RAW:
        return stored_size == length;
    case HF_FRAME_ZSTD:
        return stored_size > 0 && stored_size < length;
    case HF_FRAME_ZERO:
        return stored_size == 0;
    default:
        return false;
    }
}

static bool walk_frames(const struct hf_batch *batch, const struct hf_batch_record *record,
                        uint32_t count, struct walk *walk)
{
    if (hf_le32_get(record->frame_first) != walk->frame_next ||
        count > batch->frame_count - walk->frame_next)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const struct hf_batch_frame *frame = &batch->frames[walk->frame_next + i];
        size_t length = hf_record_frame_length(hf_le64_get(record->length), i);
        uint32_t stored_size = hf_le16_get(frame->stored_size);

        if (!frame_is_valid(frame, length) ||
            hf_le32_get(frame->payload_offset) != walk->payload_next ||
            stored_size > batch->payload_size - walk->payload_next)
            return false;
        walk->payload_next += stored_size;
    }
    return true;
}

static bool walk_seq(const struct hf_batch *batch, const struct hf_batch_record *record,
                     struct walk *walk)
{
    uint64_t seq = hf_le64_get(record->seq);
    uint32_t seq_size = hf_le32_get(record->seq_size);
    uint64_t seq_end;

    if (batch->header->lane == HF_LANE_PASS)
        return seq == walk->seq_end && seq_size == 0;
    if (seq < walk->seq_end || seq_size == 0 || !hf_add_u64(seq, seq_size, &seq_end) ||
        seq_end > hf_le64_get(batch->header->seq_end))
        return false;
    walk->seq_end = seq_end;
    return true;
}

static bool walk_record(const struct hf_batch *batch, const struct hf_batch_record *record,
                        struct walk *walk)
{
    uint64_t length = hf_le64_get(record->length);
    uint32_t count;

    if (!hf_record_is_valid(batch->header->lane, record->type, hf_le16_get(record->disk),
                            hf_le64_get(record->offset), length) ||
        !walk_seq(batch, record, walk))
        return false;
    count = hf_record_frame_count(record->type, length);
    if (!walk_frames(batch, record, count, walk))
        return false;
    hf_digest_add(&walk->digest, record, batch->frames + walk->frame_next, count);
    walk->frame_next += count;
    return true;
}

/* Every record, every frame, nothing left over, and the chain ends where the header says. */
static bool records_are_valid(const struct hf_batch *batch)
{
    struct walk walk = {
        .seq_end = hf_le64_get(batch->header->seq_begin),
        .digest = {.value = batch->header->digest_before},
    };

    for (uint32_t i = 0; i < batch->record_count; i++) {
        if (!walk_record(batch, &batch->records[i], &walk))
            return false;
    }
    return walk.frame_next == batch->frame_count && walk.payload_next == batch->payload_size &&
           !hf_hash128_compare(&walk.digest.value, &batch->header->digest_after);
}

int hf_batch_parse(const void *data, size_t size, struct hf_batch *ret_batch)
{
    struct hf_batch batch;
    int error;

    if (size < sizeof(struct hf_batch_header))
        return -HF_ECORRUPT;
    error = check_header(data, size);
    if (error)
        return error;
    locate(data, size, &batch);
    if (!tables_hash_fits(&batch) || !records_are_valid(&batch))
        return -HF_ECORRUPT;
    *ret_batch = batch;
    return 0;
}

static int verify_frames(const struct hf_batch *batch, ZSTD_DCtx *decoder, uint32_t *ret_frame)
{
    uint8_t scratch[HF_FRAME_CONTENT_MAX];

    for (uint32_t r = 0; r < batch->record_count; r++) {
        const struct hf_batch_record *record = &batch->records[r];
        uint64_t length = hf_le64_get(record->length);
        uint32_t first = hf_le32_get(record->frame_first);
        uint32_t count = hf_record_frame_count(record->type, length);

        for (uint32_t i = 0; i < count; i++) {
            const struct hf_batch_frame *frame = &batch->frames[first + i];
            int error = hf_frame_verify_with(
                decoder, frame->encoding, batch->payload + hf_le32_get(frame->payload_offset),
                hf_le16_get(frame->stored_size), hf_le64_get(frame->checksum), scratch,
                hf_record_frame_length(length, i));

            if (error) {
                *ret_frame = first + i;
                return error;
            }
        }
    }
    return 0;
}

int hf_batch_verify(const struct hf_batch *batch, uint32_t *ret_frame)
{
    ZSTD_DCtx *decoder = hf_frame_decoder_take();
    uint32_t frame = 0;
    int error;

    if (!decoder)
        return -ENOMEM;
    error = verify_frames(batch, decoder, &frame);
    hf_frame_decoder_give(decoder);
    /* A changed byte that the decompressor does not look at: the content is right, the bytes are
     * not those that were sent. */
    if (!error && hf_hash64(batch->payload, batch->payload_size) !=
                      hf_le64_get(batch->header->payload_hash)) {
        frame = batch->frame_count;
        error = -HF_ECORRUPT;
    }
    if (error && ret_frame)
        *ret_frame = frame;
    return error;
}

static int read_content(const struct hf_batch *batch, const struct hf_batch_record *record,
                        uint32_t frame_count, ZSTD_DCtx *decoder, uint8_t *content)
{
    uint32_t first = hf_le32_get(record->frame_first);
    int error = 0;

    for (uint32_t i = 0; i < frame_count && !error; i++) {
        const struct hf_batch_frame *frame = &batch->frames[first + i];

        error = hf_frame_decode_with(decoder, frame->encoding,
                                     batch->payload + hf_le32_get(frame->payload_offset),
                                     hf_le16_get(frame->stored_size), hf_le64_get(frame->checksum),
                                     content + i * HF_FRAME_CONTENT_MAX,
                                     hf_record_frame_length(hf_le64_get(record->length), i));
    }
    return error;
}

int hf_batch_record_content(const struct hf_batch *batch, uint32_t index, void *content,
                            size_t *ret_length)
{
    const struct hf_batch_record *record = &batch->records[index];
    ZSTD_DCtx *decoder;
    uint32_t count;
    int error;

    HF_ASSERT(index < batch->record_count);
    count = hf_record_frame_count(record->type, hf_le64_get(record->length));
    if (count == 0) {
        *ret_length = 0;
        return 0;
    }
    decoder = hf_frame_decoder_take();
    if (!decoder)
        return -ENOMEM;
    error = read_content(batch, record, count, decoder, content);
    hf_frame_decoder_give(decoder);
    if (!error)
        *ret_length = hf_le64_get(record->length);
    return error;
}
