// SPDX-License-Identifier: Apache-2.0
/* Bodies of messages from bytes that nobody vouches for. */
#include "wire/message.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

static void read_copy(struct hf_reader *reader, void *data, size_t size)
{
    const void *bytes = hf_reader_bytes(reader, size);

    if (bytes)
        memcpy(data, bytes, size);
}

static void read_id(struct hf_reader *reader, struct hf_id *id)
{
    read_copy(reader, id->bytes, sizeof(id->bytes));
}

static void read_digest(struct hf_reader *reader, struct hf_digest *digest)
{
    read_copy(reader, digest->value.bytes, sizeof(digest->value.bytes));
}

static void read_stream(struct hf_reader *reader, struct hf_stream_id *stream)
{
    stream->epoch = hf_reader_u64(reader);
    read_id(reader, &stream->capture);
}

/* Whole, and what its numbers say makes sense. */
static int finish(const struct hf_reader *reader, bool is_valid)
{
    int error = hf_reader_finish(reader);

    return error || is_valid ? error : -HF_ECORRUPT;
}

int hf_message_decode_hello(const void *body, size_t size, struct hf_msg_hello *ret_msg)
{
    struct hf_reader reader;
    uint32_t magic;

    memset(ret_msg, 0, sizeof(*ret_msg));
    hf_reader_init(&reader, body, size);
    magic = hf_reader_u32(&reader);
    ret_msg->version_min = hf_reader_u32(&reader);
    ret_msg->version_max = hf_reader_u32(&reader);
    read_id(&reader, &ret_msg->node);
    hf_reader_text(&reader, ret_msg->software, sizeof(ret_msg->software));
    return finish(&reader, magic == HF_WIRE_MAGIC && ret_msg->version_min > 0 &&
                               ret_msg->version_min <= ret_msg->version_max);
}

int hf_message_decode_hello_ok(const void *body, size_t size, struct hf_msg_hello_ok *ret_msg)
{
    struct hf_reader reader;

    memset(ret_msg, 0, sizeof(*ret_msg));
    hf_reader_init(&reader, body, size);
    ret_msg->version = hf_reader_u32(&reader);
    read_id(&reader, &ret_msg->node);
    hf_reader_text(&reader, ret_msg->software, sizeof(ret_msg->software));
    return finish(&reader, true);
}

static bool read_disk(struct hf_reader *reader, struct hf_msg_disk *disk)
{
    disk->disk = hf_reader_u16(reader);
    disk->block_size = hf_reader_u32(reader);
    disk->size_bytes = hf_reader_u64(reader);
    read_id(reader, &disk->identity);
    hf_reader_text(reader, disk->name, sizeof(disk->name));
    return disk->disk < HF_DISKS_MAX && disk->size_bytes <= INT64_MAX;
}

/* Each slot at most once. */
static bool read_disks(struct hf_reader *reader, struct hf_msg_attach *msg)
{
    uint64_t seen = 0;

    if (msg->disk_count > HF_DISKS_MAX)
        return false;
    for (uint32_t i = 0; i < msg->disk_count && !reader->failed; i++) {
        if (!read_disk(reader, &msg->disks[i]) || (seen & 1ull << msg->disks[i].disk))
            return false;
        seen |= 1ull << msg->disks[i].disk;
    }
    return true;
}

int hf_message_decode_attach(const void *body, size_t size, struct hf_msg_attach *ret_msg)
{
    struct hf_reader reader;

    memset(ret_msg, 0, sizeof(*ret_msg));
    hf_reader_init(&reader, body, size);
    read_id(&reader, &ret_msg->machine);
    hf_reader_text(&reader, ret_msg->machine_name, sizeof(ret_msg->machine_name));
    read_stream(&reader, &ret_msg->stream);
    ret_msg->lease = hf_reader_u64(&reader);
    ret_msg->seq_oldest = hf_reader_u64(&reader);
    ret_msg->seq_newest = hf_reader_u64(&reader);
    ret_msg->seq_acked = hf_reader_u64(&reader);
    read_digest(&reader, &ret_msg->digest_acked);
    ret_msg->disk_count = hf_reader_u32(&reader);
    if (!read_disks(&reader, ret_msg))
        return -HF_ECORRUPT;
    return finish(&reader, ret_msg->seq_oldest <= ret_msg->seq_newest);
}

int hf_message_decode_attach_ok(const void *body, size_t size, struct hf_msg_attach_ok *ret_msg)
{
    struct hf_reader reader;

    memset(ret_msg, 0, sizeof(*ret_msg));
    hf_reader_init(&reader, body, size);
    ret_msg->verdict = hf_reader_u8(&reader);
    read_id(&reader, &ret_msg->target);
    read_stream(&reader, &ret_msg->stream);
    ret_msg->seq = hf_reader_u64(&reader);
    read_digest(&reader, &ret_msg->digest);
    ret_msg->pass = hf_reader_u64(&reader);
    ret_msg->pass_batch = hf_reader_u64(&reader);
    read_digest(&reader, &ret_msg->pass_digest);
    ret_msg->credit = hf_reader_u64(&reader);
    ret_msg->disk_complete_mask = hf_reader_u64(&reader);
    return finish(&reader,
                  ret_msg->verdict >= HF_ATTACH_RESUME && ret_msg->verdict <= HF_ATTACH_SUPERSEDED);
}

int hf_message_decode_ack(const void *body, size_t size, struct hf_msg_ack *ret_msg)
{
    struct hf_reader reader;

    memset(ret_msg, 0, sizeof(*ret_msg));
    hf_reader_init(&reader, body, size);
    read_id(&reader, &ret_msg->target);
    ret_msg->hop_seq = hf_reader_u64(&reader);
    ret_msg->target_seq = hf_reader_u64(&reader);
    read_digest(&reader, &ret_msg->target_digest);
    ret_msg->pass = hf_reader_u64(&reader);
    ret_msg->pass_batch = hf_reader_u64(&reader);
    return finish(&reader, true);
}

int hf_message_decode_credit(const void *body, size_t size, uint64_t *ret_total_bytes)
{
    struct hf_reader reader;

    hf_reader_init(&reader, body, size);
    *ret_total_bytes = hf_reader_u64(&reader);
    return finish(&reader, true);
}

int hf_message_decode_lost(const void *body, size_t size, struct hf_msg_lost *ret_msg)
{
    struct hf_reader reader;

    memset(ret_msg, 0, sizeof(*ret_msg));
    hf_reader_init(&reader, body, size);
    read_id(&reader, &ret_msg->target);
    ret_msg->from_seq = hf_reader_u64(&reader);
    return finish(&reader, true);
}

/* Block sizes are the two that the store has hashes for; the range starts at a block. */
static bool hash_get_is_valid(const struct hf_msg_hash_get *get)
{
    uint64_t length, end;

    return (get->block_size == 65536 || get->block_size == 4096) && get->count > 0 &&
           get->count <= HF_HASHES_MAX && get->disk < HF_DISKS_MAX &&
           get->offset % get->block_size == 0 && hf_mul_u64(get->count, get->block_size, &length) &&
           hf_add_u64(get->offset, length, &end) && end <= INT64_MAX;
}

int hf_message_decode_hash_get(const void *body, size_t size, struct hf_msg_hash_get *ret_msg)
{
    struct hf_reader reader;
    int error;

    memset(ret_msg, 0, sizeof(*ret_msg));
    hf_reader_init(&reader, body, size);
    ret_msg->request = hf_reader_u64(&reader);
    ret_msg->disk = hf_reader_u16(&reader);
    ret_msg->block_size = hf_reader_u32(&reader);
    ret_msg->offset = hf_reader_u64(&reader);
    ret_msg->count = hf_reader_u32(&reader);
    error = hf_reader_finish(&reader);
    if (error)
        return error;
    return hash_get_is_valid(ret_msg) ? 0 : -HF_ECORRUPT;
}

int hf_message_decode_hash_list(const void *body, size_t size, struct hf_msg_hash_list *ret_msg)
{
    struct hf_reader reader;

    memset(ret_msg, 0, sizeof(*ret_msg));
    hf_reader_init(&reader, body, size);
    ret_msg->request = hf_reader_u64(&reader);
    ret_msg->secret = hf_reader_u64(&reader);
    ret_msg->error = (int32_t)hf_reader_u32(&reader);
    ret_msg->count = hf_reader_u32(&reader);
    if (ret_msg->count > HF_HASHES_MAX)
        return -HF_ECORRUPT;
    ret_msg->hashes = hf_reader_bytes(&reader, ret_msg->count * sizeof(*ret_msg->hashes));
    return finish(&reader, ret_msg->error <= 0 && (ret_msg->error == 0 || ret_msg->count == 0));
}

int hf_message_decode_error(const void *body, size_t size, struct hf_msg_error *ret_msg)
{
    struct hf_reader reader;

    memset(ret_msg, 0, sizeof(*ret_msg));
    hf_reader_init(&reader, body, size);
    ret_msg->code = hf_reader_u32(&reader);
    hf_reader_text(&reader, ret_msg->text, sizeof(ret_msg->text));
    return finish(&reader, true);
}
