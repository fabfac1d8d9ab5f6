// SPDX-License-Identifier: Apache-2.0
/*
 * Building a batch without copying its payload twice: content is encoded straight to its place in
 * the buffer, behind room for the largest tables; the tables grow in arrays of their own and are
 * put right before the payload when the batch is finished.
 *
 *     buffer:  | room for header and tables ... header, records, frames | payload ... |
 */
#include "stream/stream-internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

#define NS_PER_US 1000u

enum builder_state { BUILDER_IDLE, BUILDER_OPEN };

struct hf_batch_builder {
    enum builder_state state;
    size_t size_max;
    size_t tables_room; /* bytes of `buffer` before the payload */
    uint8_t *buffer;
    struct hf_batch_record *records;
    struct hf_batch_frame *frames;
    uint32_t record_max;
    uint32_t frame_max;
    uint32_t record_count;
    uint32_t frame_count;
    uint32_t payload_size;
    struct hf_batch_header header;
    struct hf_digest digest;
    uint64_t seq_end;
    uint64_t boot_ns_first;
    uint64_t boot_ns_last;
    struct hf_frame_encoder encoder;
};

static bool options_are_valid(const struct hf_batch_builder_options *options)
{
    return options->size_max >= HF_BATCH_SIZE_MIN && options->size_max <= HF_BATCH_SIZE_MAX;
}

static int builder_allocate(struct hf_batch_builder *builder)
{
    size_t tables = sizeof(struct hf_batch_header);

    builder->record_max =
        (uint32_t)HF_MIN(HF_BATCH_RECORDS_MAX, builder->size_max / sizeof(struct hf_batch_record));
    builder->frame_max =
        (uint32_t)HF_MIN(HF_BATCH_FRAMES_MAX, builder->size_max / sizeof(struct hf_batch_frame));
    tables += builder->record_max * sizeof(struct hf_batch_record);
    tables += builder->frame_max * sizeof(struct hf_batch_frame);
    builder->tables_room = HF_ALIGN_UP(tables, 64);
    builder->records = malloc(builder->record_max * sizeof(struct hf_batch_record));
    builder->frames = malloc(builder->frame_max * sizeof(struct hf_batch_frame));
    builder->buffer = malloc(builder->tables_room + builder->size_max);
    return builder->records && builder->frames && builder->buffer ? 0 : -ENOMEM;
}

int hf_batch_builder_new(const struct hf_batch_builder_options *options,
                         struct hf_batch_builder **ret_builder)
{
    struct hf_batch_builder *builder;
    int error;

    if (!options_are_valid(options))
        return -EINVAL;
    builder = calloc(1, sizeof(*builder));
    if (!builder)
        return -ENOMEM;
    builder->size_max = options->size_max;
    error = builder_allocate(builder);
    if (error)
        goto out;
    error = hf_frame_encoder_init(&builder->encoder, options->compression_level);
    if (error)
        goto out;
    *ret_builder = builder;
    builder = NULL;
out:
    hf_batch_builder_free(builder);
    return error;
}

void hf_batch_builder_free(struct hf_batch_builder *builder)
{
    if (!builder)
        return;
    hf_frame_encoder_done(&builder->encoder);
    free(builder->buffer);
    free(builder->frames);
    free(builder->records);
    free(builder);
}

static void builder_begin(struct hf_batch_builder *builder, enum hf_lane lane,
                          const struct hf_stream_id *stream, uint64_t seq_begin,
                          const struct hf_digest *digest)
{
    HF_ASSERT(builder->state == BUILDER_IDLE);
    builder->state = BUILDER_OPEN;
    builder->record_count = 0;
    builder->frame_count = 0;
    builder->payload_size = 0;
    builder->boot_ns_first = 0;
    builder->boot_ns_last = 0;
    builder->seq_end = seq_begin;
    builder->digest = *digest;
    builder->header = (struct hf_batch_header){
        .magic = hf_le32_of(HF_BATCH_MAGIC),
        .version = hf_le16_of(HF_BATCH_VERSION),
        .header_size = hf_le16_of(sizeof(struct hf_batch_header)),
        .epoch = hf_le64_of(stream->epoch),
        .capture = stream->capture,
        .seq_begin = hf_le64_of(seq_begin),
        .digest_before = digest->value,
        .lane = (uint8_t)lane,
    };
}

void hf_batch_begin_captured(struct hf_batch_builder *builder, const struct hf_stream_id *stream,
                             uint64_t seq_begin, const struct hf_digest *digest)
{
    builder_begin(builder, HF_LANE_CAPTURED, stream, seq_begin, digest);
}

void hf_batch_begin_pass(struct hf_batch_builder *builder, const struct hf_stream_id *stream,
                         uint64_t pass_seq, uint64_t pass, uint64_t pass_batch,
                         const struct hf_digest *digest)
{
    HF_ASSERT(pass > 0);
    builder_begin(builder, HF_LANE_PASS, stream, pass_seq, digest);
    builder->header.pass = hf_le64_of(pass);
    builder->header.pass_batch = hf_le64_of(pass_batch);
}

/* Where the record lies in the order: what the caller says on the captured lane, the pass's own
 * place on a pass lane. */
static bool record_seq(const struct hf_batch_builder *builder, const struct hf_record_in *record,
                       uint64_t *ret_seq, uint32_t *ret_seq_size)
{
    if (builder->header.lane == HF_LANE_PASS) {
        *ret_seq = builder->seq_end;
        *ret_seq_size = 0;
        return true;
    }
    if (record->seq < builder->seq_end || record->seq_end <= record->seq ||
        record->seq_end - record->seq > UINT32_MAX)
        return false;
    *ret_seq = record->seq;
    *ret_seq_size = (uint32_t)(record->seq_end - record->seq);
    return true;
}

/* Microseconds after the first record. Records of two processors may be a little out of order in
 * time; one before the first is given its time. */
static bool record_delta(const struct hf_batch_builder *builder, uint64_t boot_ns,
                         uint32_t *ret_delta_us)
{
    uint64_t delta_us;

    if (builder->record_count == 0 || boot_ns <= builder->boot_ns_first) {
        *ret_delta_us = 0;
        return true;
    }
    delta_us = (boot_ns - builder->boot_ns_first) / NS_PER_US;
    if (delta_us > UINT32_MAX)
        return false;
    *ret_delta_us = (uint32_t)delta_us;
    return true;
}

/* As if nothing could be compressed, so that a record is never half in. */
static bool record_fits(const struct hf_batch_builder *builder, uint32_t frame_count,
                        uint64_t content_size)
{
    size_t more = sizeof(struct hf_batch_record) + frame_count * sizeof(struct hf_batch_frame) +
                  (frame_count > 0 ? content_size : 0);

    return builder->record_count < builder->record_max &&
           frame_count <= builder->frame_max - builder->frame_count &&
           hf_batch_size(builder) + more <= builder->size_max;
}

static void builder_add_frames(struct hf_batch_builder *builder, const struct hf_record_in *record,
                               uint32_t frame_count)
{
    const uint8_t *content = record->content;

    for (uint32_t i = 0; i < frame_count; i++) {
        struct hf_batch_frame *frame = &builder->frames[builder->frame_count++];

        hf_frame_encode(&builder->encoder, record->disk, content + i * HF_FRAME_CONTENT_MAX,
                        hf_record_frame_length(record->length, i),
                        builder->buffer + builder->tables_room + builder->payload_size, frame);
        frame->payload_offset = hf_le32_of(builder->payload_size);
        builder->payload_size += hf_le16_get(frame->stored_size);
    }
}

int hf_batch_add(struct hf_batch_builder *builder, const struct hf_record_in *record)
{
    uint32_t frame_count = hf_record_frame_count(record->type, record->length);
    uint32_t seq_size, delta_us;
    struct hf_batch_record *entry;
    uint64_t seq;

    HF_ASSERT(builder->state == BUILDER_OPEN);
    if (!hf_record_is_valid(builder->header.lane, record->type, record->disk, record->offset,
                            record->length) ||
        !record_seq(builder, record, &seq, &seq_size) || (frame_count > 0 && !record->content))
        return -EINVAL;
    if (!record_fits(builder, frame_count, record->length) ||
        !record_delta(builder, record->boot_ns, &delta_us))
        return -ENOSPC;
    entry = &builder->records[builder->record_count];
    *entry = (struct hf_batch_record){
        .seq = hf_le64_of(seq),
        .offset = hf_le64_of(record->offset),
        .length = hf_le64_of(record->length),
        .seq_size = hf_le32_of(seq_size),
        .boot_delta_us = hf_le32_of(delta_us),
        .type = record->type,
        .flags = record->flags,
        .disk = hf_le16_of(record->disk),
        .frame_first = hf_le32_of(builder->frame_count),
    };
    if (builder->record_count++ == 0)
        builder->boot_ns_first = record->boot_ns;
    builder->boot_ns_last = HF_MAX(builder->boot_ns_last, record->boot_ns);
    builder->seq_end = seq + seq_size;
    builder_add_frames(builder, record, frame_count);
    hf_digest_add(&builder->digest, entry, builder->frames + builder->frame_count - frame_count,
                  frame_count);
    return 0;
}

void hf_batch_skip_to(struct hf_batch_builder *builder, uint64_t seq_end)
{
    HF_ASSERT(builder->state == BUILDER_OPEN);
    HF_ASSERT(builder->header.lane == HF_LANE_CAPTURED && seq_end >= builder->seq_end);
    builder->seq_end = seq_end;
}

size_t hf_batch_record_count(const struct hf_batch_builder *builder)
{
    return builder->record_count;
}

static size_t tables_size(const struct hf_batch_builder *builder)
{
    return builder->record_count * sizeof(struct hf_batch_record) +
           builder->frame_count * sizeof(struct hf_batch_frame);
}

size_t hf_batch_size(const struct hf_batch_builder *builder)
{
    return sizeof(struct hf_batch_header) + tables_size(builder) + builder->payload_size;
}

static void header_fill(struct hf_batch_builder *builder, int64_t wall_ns, const uint8_t *tables,
                        const uint8_t *payload)
{
    struct hf_batch_header *header = &builder->header;

    header->total_size = hf_le32_of((uint32_t)hf_batch_size(builder));
    header->record_count = hf_le32_of(builder->record_count);
    header->frame_count = hf_le32_of(builder->frame_count);
    header->payload_size = hf_le32_of(builder->payload_size);
    header->seq_end = hf_le64_of(builder->seq_end);
    header->boot_ns_first = hf_le64_of(builder->boot_ns_first);
    header->boot_ns_last = hf_le64_of(builder->boot_ns_last);
    header->wall_ns = hf_le64_of((uint64_t)wall_ns);
    header->digest_after = builder->digest.value;
    header->payload_hash = hf_le64_of(hf_hash64(payload, builder->payload_size));
    header->tables_hash = hf_le64_of(hf_hash64(tables, tables_size(builder)));
    header->header_hash =
        hf_le64_of(hf_hash64(header, offsetof(struct hf_batch_header, header_hash)));
}

int hf_batch_finish(struct hf_batch_builder *builder, int64_t wall_ns, const void **ret_data,
                    size_t *ret_size, struct hf_digest *ret_digest)
{
    size_t records_size = builder->record_count * sizeof(struct hf_batch_record);
    uint8_t *payload = builder->buffer + builder->tables_room;
    uint8_t *tables = payload - tables_size(builder);
    uint8_t *start = tables - sizeof(struct hf_batch_header);

    HF_ASSERT(builder->state == BUILDER_OPEN);
    memcpy(tables, builder->records, records_size);
    memcpy(tables + records_size, builder->frames,
           builder->frame_count * sizeof(struct hf_batch_frame));
    header_fill(builder, wall_ns, tables, payload);
    memcpy(start, &builder->header, sizeof(builder->header));
    builder->state = BUILDER_IDLE;
    *ret_data = start;
    *ret_size = hf_batch_size(builder);
    *ret_digest = builder->digest;
    return 0;
}
