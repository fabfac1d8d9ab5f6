// SPDX-License-Identifier: Apache-2.0
#include "stream/stream-test.h"

#include <string.h>

#include "base/base.h"
#include "stream/stream-internal.h"

void hf_test_content_fill(enum hf_test_content kind, uint64_t seed, void *content, size_t size)
{
    static const char line[] = "a page of a database that is mostly the same words again; ";
    struct hf_random_seeded random;
    uint8_t *bytes = content;

    hf_random_seeded_init(&random, seed);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = kind == HF_TEST_NOISE ? hf_random_seeded_next(&random) : 0;

        if (kind == HF_TEST_TEXT && i % 64 == 0)
            word = hf_random_seeded_next(&random) % 1000 + 1;
        else if (kind == HF_TEST_TEXT)
            memcpy(&word, line + i % 48, 8);
        memcpy(bytes + i, &word, HF_MIN(size - i, 8));
    }
}

static uint64_t random_length(struct hf_random_seeded *random)
{
    uint64_t roll = hf_random_seeded_next(random);

    if (roll % 4 == 0)
        return HF_RECORD_CONTENT_MAX;
    return (roll / 4 % (roll % 4 == 1 ? 8 : 128) + 1) * HF_SECTOR;
}

uint32_t hf_test_batch_fill(struct hf_batch_builder *builder, struct hf_random_seeded *random,
                            const struct hf_stream_id *stream, uint64_t seq_begin,
                            const struct hf_digest *digest, uint32_t count)
{
    static _Thread_local uint8_t content[HF_RECORD_CONTENT_MAX];
    uint64_t seq = seq_begin;

    hf_batch_begin_captured(builder, stream, seq_begin, digest);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t roll = hf_random_seeded_next(random);
        struct hf_record_in record = {
            .seq = seq + (roll % 5 == 0 ? 64 : 0),
            .boot_ns = 1000000 + i * 1000,
            .offset = roll % 1000 * HF_SECTOR,
            .length = random_length(random),
            .content = content,
            .type = HF_RECORD_WRITE,
            .disk = roll / 1000 % 3,
        };

        if (roll % 7 == 0) {
            record.type = roll % 2 ? HF_RECORD_ZERO : HF_RECORD_DISCARD;
            record.content = NULL;
        } else {
            hf_test_content_fill(roll % 3, roll, content, record.length);
        }
        record.seq_end = record.seq + 64 + (record.content ? record.length : 0);
        if (hf_batch_add(builder, &record) < 0)
            return i;
        seq = record.seq_end;
    }
    return count;
}

static void sign_digest(struct hf_batch_header *header, const struct hf_batch_record *records,
                        const struct hf_batch_frame *frames)
{
    struct hf_digest digest = {header->digest_before};
    uint32_t frame_count = hf_le32_get(header->frame_count);

    for (uint32_t i = 0; i < hf_le32_get(header->record_count); i++) {
        uint32_t count = hf_record_frame_count(records[i].type, hf_le64_get(records[i].length));
        uint32_t first = hf_le32_get(records[i].frame_first);

        if (count > HF_RECORD_CONTENT_MAX / HF_FRAME_CONTENT_MAX || first > frame_count ||
            count > frame_count - first)
            return; /* no chain to sign: the reader must find out by itself */
        hf_digest_add(&digest, &records[i], frames + first, count);
    }
    header->digest_after = digest.value;
}

void hf_test_batch_sign(void *data)
{
    struct hf_batch_header *header = data;
    uint8_t *tables = (uint8_t *)data + sizeof(*header);
    uint8_t *records = (uint8_t *)data + hf_le16_get(header->header_size);
    uint8_t *frames = records + hf_le32_get(header->record_count) * sizeof(struct hf_batch_record);
    uint8_t *payload = frames + hf_le32_get(header->frame_count) * sizeof(struct hf_batch_frame);

    sign_digest(header, (void *)records, (void *)frames);
    header->payload_hash = hf_le64_of(hf_hash64(payload, hf_le32_get(header->payload_size)));
    header->tables_hash = hf_le64_of(hf_hash64(tables, (size_t)(payload - tables)));
    header->header_hash =
        hf_le64_of(hf_hash64(header, offsetof(struct hf_batch_header, header_hash)));
}
