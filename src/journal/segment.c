// SPDX-License-Identifier: Apache-2.0
#include "journal/segment.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

uint64_t hf_segment_tag(const struct hf_id *id)
{
    uint64_t tag;

    memcpy(&tag, id->bytes, sizeof(tag));
    return le64toh(tag);
}

void hf_segment_head_encode(struct hf_segment_head *head, uint8_t *page)
{
    struct hf_segment_header header = {
        .magic = hf_le64_of(HF_SEGMENT_MAGIC),
        .version = hf_le32_of(HF_SEGMENT_VERSION),
        .header_size = hf_le32_of(sizeof(header)),
        .id = head->id,
        .number = hf_le64_of(head->number),
        .epoch = hf_le64_of(head->stream.epoch),
        .capture = head->stream.capture,
        .base = hf_le64_of(head->base),
        .seq_begin = hf_le64_of(head->seq_begin),
        .digest_begin = head->digest_begin.value,
        .pass = hf_le64_of(head->pass),
        .pass_batch = hf_le64_of(head->pass_batch),
        .created_wall_ns = hf_le64_of((uint64_t)head->created_wall_ns),
        .lane = head->lane,
    };

    head->hash = hf_hash64(&header, offsetof(struct hf_segment_header, header_hash));
    header.header_hash = hf_le64_of(head->hash);
    memset(page, 0, HF_PAGE_BYTES);
    memcpy(page, &header, sizeof(header));
}

static bool all_zero(const uint8_t *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

static int head_check(const struct hf_segment_header *header, uint64_t number)
{
    if (hf_le64_get(header->magic) != HF_SEGMENT_MAGIC)
        return -HF_ECORRUPT;
    if (hf_le32_get(header->version) != HF_SEGMENT_VERSION ||
        hf_le32_get(header->incompatible) != 0)
        return -HF_EVERSION;
    if (hf_le64_get(header->header_hash) !=
        hf_hash64(header, offsetof(struct hf_segment_header, header_hash)))
        return -HF_ECORRUPT;
    if (hf_le64_get(header->number) != number)
        return -HF_ECORRUPT;
    if (header->lane != HF_LANE_CAPTURED && header->lane != HF_LANE_PASS)
        return -HF_ECORRUPT;
    return 0;
}

int hf_segment_head_decode(const uint8_t *page, uint64_t number, struct hf_segment_head *ret_head)
{
    struct hf_segment_header header;
    int r;

    memcpy(&header, page, sizeof(header));
    r = head_check(&header, number);
    if (r < 0)
        return r;
    if (!all_zero(page + sizeof(header), HF_PAGE_BYTES - sizeof(header)))
        return -HF_ECORRUPT;
    *ret_head = (struct hf_segment_head){
        .number = number,
        .id = header.id,
        .stream = {.epoch = hf_le64_get(header.epoch), .capture = header.capture},
        .base = hf_le64_get(header.base),
        .seq_begin = hf_le64_get(header.seq_begin),
        .digest_begin = {.value = header.digest_begin},
        .pass = hf_le64_get(header.pass),
        .pass_batch = hf_le64_get(header.pass_batch),
        .created_wall_ns = (int64_t)hf_le64_get(header.created_wall_ns),
        .lane = header.lane,
        .hash = hf_le64_get(header.header_hash),
    };
    return 0;
}

int hf_segment_head_read(struct hf_file *file, uint64_t number, struct hf_segment_head *ret_head)
{
    uint8_t *page = aligned_alloc(HF_IO_ALIGN, HF_PAGE_BYTES);
    size_t got = 0;
    int r;

    if (!page)
        return -ENOMEM;
    r = hf_io_read(file, page, HF_PAGE_BYTES, 0, &got);
    if (r == 0)
        r = got == HF_PAGE_BYTES ? hf_segment_head_decode(page, number, ret_head) : -HF_ECORRUPT;
    free(page);
    return r;
}

uint64_t hf_entry_bytes(uint64_t size)
{
    return HF_ALIGN_UP(sizeof(struct hf_entry_header) + size, HF_ENTRY_ALIGN);
}

uint64_t hf_entry_encode(const struct hf_entry_fields *fields, struct hf_entry_header *ret_header)
{
    struct hf_entry_header header = {
        .magic = hf_le32_of(HF_ENTRY_MAGIC),
        .kind = fields->kind,
        .size = hf_le32_of(fields->size),
        .number = hf_le32_of(fields->number),
        .segment_tag = hf_le64_of(fields->segment_tag),
        .offset = hf_le64_of(fields->offset),
        .previous = hf_le64_of(fields->previous),
        .durable = hf_le64_of(fields->durable),
        .receipt_ns = hf_le64_of((uint64_t)fields->receipt_ns),
        .body_hash = hf_le64_of(fields->body_hash),
    };
    uint64_t hash = hf_hash64(&header, offsetof(struct hf_entry_header, header_hash));

    header.header_hash = hf_le64_of(hash);
    *ret_header = header;
    return hash;
}

uint64_t hf_entry_payload_offset(const struct hf_entry *entry, uint64_t payload_offset)
{
    return entry->offset + sizeof(struct hf_entry_header) +
           (uint64_t)(entry->batch.payload - entry->batch.data) + payload_offset;
}

uint64_t hf_entry_position_begin(const struct hf_segment_head *head, const struct hf_entry *entry)
{
    return head->base + hf_le64_get(entry->batch.header->seq_begin);
}

uint64_t hf_entry_position_end(const struct hf_segment_head *head, const struct hf_entry *entry)
{
    return head->base + hf_le64_get(entry->batch.header->seq_end);
}
