// SPDX-License-Identifier: Apache-2.0
/* Messages to bytes and back. Bodies are read field by field and must be used up exactly. */
#include "wire/message.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

#define BODY_SMALL_MAX 256 /* HELLO, HELLO_OK, ATTACH_OK, ACK, CREDIT, LOST, HASH_GET */
#define BODY_ATTACH_MAX 8192
#define BODY_HASH_LIST_MAX (24 + HF_HASHES_MAX * sizeof(struct hf_hash128))
#define BODY_ERROR_MAX (4 + 2 + HF_ERROR_TEXT_MAX)

static size_t body_size_max(uint16_t type)
{
    switch (type) {
    case HF_MSG_BATCH:
        return HF_BATCH_SIZE_MAX;
    case HF_MSG_ATTACH:
        return BODY_ATTACH_MAX;
    case HF_MSG_HASH_LIST:
        return BODY_HASH_LIST_MAX;
    case HF_MSG_ERROR:
        return BODY_ERROR_MAX;
    case HF_MSG_PING:
    case HF_MSG_PONG:
    case HF_MSG_CLOSE:
    case HF_MSG_CLOSE_OK:
        return 0;
    default:
        return BODY_SMALL_MAX;
    }
}

/* Only what is large may come compressed. */
static int check_compressed(uint16_t type, size_t body_size, size_t raw_size)
{
    if (type != HF_MSG_BATCH && type != HF_MSG_HASH_LIST)
        return -HF_EPROTO;
    if (raw_size > body_size_max(type))
        return -HF_ETOOBIG;
    return body_size > 0 && body_size < raw_size ? 0 : -HF_EPROTO;
}

int hf_message_header_check(const struct hf_message_header *header)
{
    uint16_t type = hf_le16_get(header->type);
    size_t body_size = hf_le32_get(header->body_size);
    size_t raw_size = hf_le32_get(header->raw_size);

    if (type < HF_MSG_HELLO || type > HF_MSG_ERROR || header->reserved != 0 ||
        hf_le32_get(header->reserved2) != 0 || (header->flags & ~HF_MESSAGE_COMPRESSED) != 0)
        return -HF_EPROTO;
    if (body_size > body_size_max(type))
        return -HF_ETOOBIG;
    if (header->flags & HF_MESSAGE_COMPRESSED)
        return check_compressed(type, body_size, raw_size);
    return raw_size == 0 ? 0 : -HF_EPROTO;
}

/* ---- Encoding ---- */

/* A message under way; the first error stays and undoes the whole message at the end. */
struct writer {
    struct hf_bytes *out;
    size_t start;
    int error;
};

static void write_bytes(struct writer *writer, const void *data, size_t size)
{
    if (!writer->error)
        writer->error = hf_bytes_append(writer->out, data, size);
}

static void write_u8(struct writer *writer, uint8_t value)
{
    write_bytes(writer, &value, 1);
}

static void write_u16(struct writer *writer, uint16_t value)
{
    hf_le16 le = hf_le16_of(value);

    write_bytes(writer, &le, sizeof(le));
}

static void write_u32(struct writer *writer, uint32_t value)
{
    hf_le32 le = hf_le32_of(value);

    write_bytes(writer, &le, sizeof(le));
}

static void write_u64(struct writer *writer, uint64_t value)
{
    hf_le64 le = hf_le64_of(value);

    write_bytes(writer, &le, sizeof(le));
}

static void write_text(struct writer *writer, const char *text)
{
    if (!writer->error)
        writer->error = hf_bytes_text(writer->out, text);
}

static void write_id(struct writer *writer, const struct hf_id *id)
{
    write_bytes(writer, id->bytes, sizeof(id->bytes));
}

static void write_digest(struct writer *writer, const struct hf_digest *digest)
{
    write_bytes(writer, digest->value.bytes, sizeof(digest->value.bytes));
}

static void write_stream(struct writer *writer, const struct hf_stream_id *stream)
{
    write_u64(writer, stream->epoch);
    write_id(writer, &stream->capture);
}

static struct writer message_begin(struct hf_bytes *out, enum hf_message_type type)
{
    struct hf_message_header header = {.type = hf_le16_of((uint16_t)type)};
    struct writer writer = {.out = out, .start = out->size};

    write_bytes(&writer, &header, sizeof(header));
    return writer;
}

static int message_end(struct writer *writer)
{
    struct hf_message_header header;
    size_t body_size;

    if (writer->error) {
        writer->out->size = writer->start;
        return writer->error;
    }
    body_size = writer->out->size - writer->start - sizeof(header);
    memcpy(&header, writer->out->data + writer->start, sizeof(header));
    header.body_size = hf_le32_of((uint32_t)body_size);
    HF_ASSERT(hf_message_header_check(&header) == 0);
    memcpy(writer->out->data + writer->start, &header, sizeof(header));
    return 0;
}

int hf_message_encode_hello(struct hf_bytes *out, const struct hf_msg_hello *msg)
{
    struct writer writer = message_begin(out, HF_MSG_HELLO);

    write_u32(&writer, HF_WIRE_MAGIC);
    write_u32(&writer, msg->version_min);
    write_u32(&writer, msg->version_max);
    write_id(&writer, &msg->node);
    write_text(&writer, msg->software);
    return message_end(&writer);
}

int hf_message_encode_hello_ok(struct hf_bytes *out, const struct hf_msg_hello_ok *msg)
{
    struct writer writer = message_begin(out, HF_MSG_HELLO_OK);

    write_u32(&writer, msg->version);
    write_id(&writer, &msg->node);
    write_text(&writer, msg->software);
    return message_end(&writer);
}

static void write_disk(struct writer *writer, const struct hf_msg_disk *disk)
{
    write_u16(writer, disk->disk);
    write_u32(writer, disk->block_size);
    write_u64(writer, disk->size_bytes);
    write_id(writer, &disk->identity);
    write_text(writer, disk->name);
}

int hf_message_encode_attach(struct hf_bytes *out, const struct hf_msg_attach *msg)
{
    struct writer writer;

    if (msg->disk_count > HF_DISKS_MAX)
        return -HF_ETOOBIG;
    writer = message_begin(out, HF_MSG_ATTACH);
    write_id(&writer, &msg->machine);
    write_text(&writer, msg->machine_name);
    write_stream(&writer, &msg->stream);
    write_u64(&writer, msg->lease);
    write_u64(&writer, msg->seq_oldest);
    write_u64(&writer, msg->seq_newest);
    write_u64(&writer, msg->seq_acked);
    write_digest(&writer, &msg->digest_acked);
    write_u32(&writer, msg->disk_count);
    for (uint32_t i = 0; i < msg->disk_count; i++)
        write_disk(&writer, &msg->disks[i]);
    return message_end(&writer);
}

int hf_message_encode_attach_ok(struct hf_bytes *out, const struct hf_msg_attach_ok *msg)
{
    struct writer writer = message_begin(out, HF_MSG_ATTACH_OK);

    write_u8(&writer, msg->verdict);
    write_id(&writer, &msg->target);
    write_stream(&writer, &msg->stream);
    write_u64(&writer, msg->seq);
    write_digest(&writer, &msg->digest);
    write_u64(&writer, msg->pass);
    write_u64(&writer, msg->pass_batch);
    write_digest(&writer, &msg->pass_digest);
    write_u64(&writer, msg->credit);
    write_u64(&writer, msg->disk_complete_mask);
    return message_end(&writer);
}

int hf_message_encode_ack(struct hf_bytes *out, const struct hf_msg_ack *msg)
{
    struct writer writer = message_begin(out, HF_MSG_ACK);

    write_id(&writer, &msg->target);
    write_u64(&writer, msg->hop_seq);
    write_u64(&writer, msg->target_seq);
    write_digest(&writer, &msg->target_digest);
    write_u64(&writer, msg->pass);
    write_u64(&writer, msg->pass_batch);
    return message_end(&writer);
}

int hf_message_encode_credit(struct hf_bytes *out, uint64_t total_bytes)
{
    struct writer writer = message_begin(out, HF_MSG_CREDIT);

    write_u64(&writer, total_bytes);
    return message_end(&writer);
}

int hf_message_encode_lost(struct hf_bytes *out, const struct hf_msg_lost *msg)
{
    struct writer writer = message_begin(out, HF_MSG_LOST);

    write_id(&writer, &msg->target);
    write_u64(&writer, msg->from_seq);
    return message_end(&writer);
}

int hf_message_encode_hash_get(struct hf_bytes *out, const struct hf_msg_hash_get *msg)
{
    struct writer writer;

    if (msg->count > HF_HASHES_MAX)
        return -HF_ETOOBIG;
    writer = message_begin(out, HF_MSG_HASH_GET);
    write_u64(&writer, msg->request);
    write_u16(&writer, msg->disk);
    write_u32(&writer, msg->block_size);
    write_u64(&writer, msg->offset);
    write_u32(&writer, msg->count);
    return message_end(&writer);
}

int hf_message_encode_hash_list(struct hf_bytes *out, const struct hf_msg_hash_list *msg)
{
    struct writer writer;

    if (msg->count > HF_HASHES_MAX)
        return -HF_ETOOBIG;
    writer = message_begin(out, HF_MSG_HASH_LIST);
    write_u64(&writer, msg->request);
    write_u64(&writer, msg->secret);
    write_u32(&writer, (uint32_t)msg->error);
    write_u32(&writer, msg->count);
    if (msg->count > 0)
        write_bytes(&writer, msg->hashes, msg->count * sizeof(*msg->hashes));
    return message_end(&writer);
}

int hf_message_encode_error(struct hf_bytes *out, const struct hf_msg_error *msg)
{
    struct writer writer = message_begin(out, HF_MSG_ERROR);

    write_u32(&writer, msg->code);
    write_text(&writer, msg->text);
    return message_end(&writer);
}

int hf_message_encode_empty(struct hf_bytes *out, enum hf_message_type type)
{
    struct writer writer = message_begin(out, type);

    HF_ASSERT(type >= HF_MSG_PING && type <= HF_MSG_CLOSE_OK);
    return message_end(&writer);
}

void hf_message_batch_header(size_t size, struct hf_message_header *ret_header)
{
    HF_ASSERT(size <= HF_BATCH_SIZE_MAX);
    *ret_header = (struct hf_message_header){
        .body_size = hf_le32_of((uint32_t)size),
        .type = hf_le16_of(HF_MSG_BATCH),
    };
}
