// SPDX-License-Identifier: Apache-2.0
/* Each message there and back; bodies that are not exactly one message are refused. */
#include "base/test-support.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "wire/message.h"

static const struct hf_id id_a = {{0xa, 1, 2, 3}};
static const struct hf_id id_b = {{0xb, 4, 5, 6}};
static const struct hf_digest digest_c = {{{0xc, 7, 8, 9}}};
static const struct hf_hash128 hashes[3] = {{{1}}, {{2}}, {{3}}};

typedef int (*decode_fn)(const void *body, size_t size);

/* One encoded message; the header was checked. */
static struct hf_bytes out;

static const uint8_t *body(size_t *ret_size)
{
    struct hf_message_header header;

    assert_true(out.size >= sizeof(header));
    memcpy(&header, out.data, sizeof(header));
    assert_int_equal(hf_message_header_check(&header), 0);
    assert_int_equal(hf_le32_get(header.body_size), out.size - sizeof(header));
    *ret_size = out.size - sizeof(header);
    return out.data + sizeof(header);
}

/* Cut anywhere, or with a byte too many: never a message. */
static void assert_exact(decode_fn decode)
{
    size_t size;
    const uint8_t *bytes = body(&size);
    uint8_t *copy;

    for (size_t cut = 0; cut <= size + 1; cut++) {
        copy = calloc(1, cut + 1);
        assert_non_null(copy);
        memcpy(copy, bytes, HF_MIN(cut, size));
        assert_int_equal(decode(copy, cut), cut == size ? 0 : -HF_ECORRUPT);
        free(copy);
    }
    hf_bytes_clear(&out);
}

#define DECODER(name)                                                                              \
    static int try_##name(const void *data, size_t size)                                           \
    {                                                                                              \
        struct hf_msg_##name msg;                                                                  \
        return hf_message_decode_##name(data, size, &msg);                                         \
    }
DECODER(hello)
DECODER(hello_ok)
DECODER(attach)
DECODER(attach_ok)
DECODER(ack)
DECODER(lost)
DECODER(hash_get)
DECODER(hash_list)
DECODER(error)

static int try_credit(const void *data, size_t size)
{
    uint64_t total;

    return hf_message_decode_credit(data, size, &total);
}

static void hello_comes_back(void **state)
{
    struct hf_msg_hello in = {1, 3, id_a, "holdfast 0.1.0"}, msg;
    struct hf_msg_hello_ok in_ok = {1, id_b, "x"}, ok;
    const uint8_t *bytes;
    size_t size;

    assert_int_equal(hf_message_encode_hello(&out, &in), 0);
    bytes = body(&size);
    assert_int_equal(hf_message_decode_hello(bytes, size, &msg), 0);
    assert_memory_equal(&msg, &in, sizeof(in));
    assert_exact(try_hello);
    assert_int_equal(hf_message_encode_hello_ok(&out, &in_ok), 0);
    bytes = body(&size);
    assert_int_equal(hf_message_decode_hello_ok(bytes, size, &ok), 0);
    assert_memory_equal(&ok, &in_ok, sizeof(ok));
    assert_exact(try_hello_ok);
}

static void make_attach(struct hf_msg_attach *attach, uint32_t disk_count)
{
    memset(attach, 0, sizeof(*attach));
    attach->machine = id_a;
    memset(attach->machine_name, 'm', sizeof(attach->machine_name) - 1);
    attach->stream = (struct hf_stream_id){7, id_b};
    attach->lease = 8;
    attach->seq_oldest = 9;
    attach->seq_newest = UINT64_MAX;
    attach->seq_acked = 10;
    attach->digest_acked = digest_c;
    attach->disk_count = disk_count;
    for (uint32_t i = 0; i < HF_MIN(disk_count, HF_DISKS_MAX); i++) {
        attach->disks[i] = (struct hf_msg_disk){(uint16_t)i, 512, 1ull << 40, id_b, ""};
        memset(attach->disks[i].name, 'd', i);
    }
}

static void attach_comes_back_with_all_its_disks(void **state)
{
    static struct hf_msg_attach in, msg;
    const uint8_t *bytes;
    size_t size;

    for (uint32_t count = 0; count <= HF_DISKS_MAX; count += 32) {
        make_attach(&in, count);
        assert_int_equal(hf_message_encode_attach(&out, &in), 0);
        bytes = body(&size);
        assert_int_equal(hf_message_decode_attach(bytes, size, &msg), 0);
        assert_memory_equal(&msg, &in, sizeof(in));
        assert_exact(try_attach);
    }
    make_attach(&in, HF_DISKS_MAX + 1);
    assert_int_equal(hf_message_encode_attach(&out, &in), -HF_ETOOBIG);
    assert_int_equal(out.size, 0);
}

static void attach_that_contradicts_itself_is_refused(void **state)
{
    static struct hf_msg_attach in, msg;
    const uint8_t *bytes;
    size_t size;

    for (int what = 0; what < 4; what++) {
        make_attach(&in, 2);
        if (what == 0)
            in.disks[1].disk = 0; /* a slot twice */
        else if (what == 1)
            in.disks[1].disk = HF_DISKS_MAX;
        else if (what == 2)
            in.disks[1].size_bytes = UINT64_MAX;
        else
            in.seq_oldest = in.seq_newest, in.seq_newest = 0;
        assert_int_equal(hf_message_encode_attach(&out, &in), 0);
        bytes = body(&size);
        assert_int_equal(hf_message_decode_attach(bytes, size, &msg), -HF_ECORRUPT);
        hf_bytes_clear(&out);
    }
}

static void attach_ok_comes_back(void **state)
{
    struct hf_msg_attach_ok in, msg;
    const uint8_t *bytes;
    size_t size;

    memset(&in, 0, sizeof(in));
    in.verdict = HF_ATTACH_CHECKSUM;
    in.target = id_a;
    in.stream = (struct hf_stream_id){1, id_b};
    in.seq = 2;
    in.digest = digest_c;
    in.pass = 3;
    in.pass_batch = 4;
    in.pass_digest = digest_c;
    in.credit = 5;
    in.disk_complete_mask = UINT64_MAX;
    assert_int_equal(hf_message_encode_attach_ok(&out, &in), 0);
    bytes = body(&size);
    assert_int_equal(hf_message_decode_attach_ok(bytes, size, &msg), 0);
    assert_memory_equal(&msg, &in, sizeof(in));
    assert_exact(try_attach_ok);
    in.verdict = 6;
    assert_int_equal(hf_message_encode_attach_ok(&out, &in), 0);
    bytes = body(&size);
    assert_int_equal(hf_message_decode_attach_ok(bytes, size, &msg), -HF_ECORRUPT);
    hf_bytes_clear(&out);
}

static void positions_come_back(void **state)
{
    struct hf_msg_ack in_ack = {id_a, 1, 2, digest_c, 3, 4}, ack;
    struct hf_msg_lost in_lost = {id_b, 77}, lost;
    const uint8_t *bytes;
    uint64_t total;
    size_t size;

    assert_int_equal(hf_message_encode_ack(&out, &in_ack), 0);
    bytes = body(&size);
    assert_int_equal(hf_message_decode_ack(bytes, size, &ack), 0);
    assert_memory_equal(&ack, &in_ack, sizeof(ack));
    assert_exact(try_ack);
    assert_int_equal(hf_message_encode_lost(&out, &in_lost), 0);
    bytes = body(&size);
    assert_int_equal(hf_message_decode_lost(bytes, size, &lost), 0);
    assert_memory_equal(&lost, &in_lost, sizeof(lost));
    assert_exact(try_lost);
    assert_int_equal(hf_message_encode_credit(&out, 1ull << 63), 0);
    bytes = body(&size);
    assert_int_equal(hf_message_decode_credit(bytes, size, &total), 0);
    assert_int_equal(total, 1ull << 63);
    assert_exact(try_credit);
}

static void hash_get_names_whole_blocks_of_a_disk(void **state)
{
    const struct hf_msg_hash_get good = {5, 63, 65536, 1ull << 30, HF_HASHES_MAX};
    struct hf_msg_hash_get bad[] = {good, good, good, good, good, good}, msg;
    const uint8_t *bytes;
    size_t size;

    assert_int_equal(hf_message_encode_hash_get(&out, &good), 0);
    bytes = body(&size);
    assert_int_equal(hf_message_decode_hash_get(bytes, size, &msg), 0);
    assert_int_equal(msg.request, 5);
    assert_int_equal(msg.disk, 63);
    assert_int_equal(msg.block_size, 65536);
    assert_int_equal(msg.offset, 1ull << 30);
    assert_int_equal(msg.count, HF_HASHES_MAX);
    assert_exact(try_hash_get);
    bad[0].disk = 64;
    bad[1].block_size = 0;
    bad[2].block_size = 8192;
    bad[3].offset = 4096;
    bad[4].offset = UINT64_MAX & ~65535ull;
    bad[5].count = 0;
    for (size_t i = 0; i < HF_ARRAY_COUNT(bad); i++) {
        assert_int_equal(hf_message_encode_hash_get(&out, &bad[i]), 0);
        bytes = body(&size);
        assert_int_equal(hf_message_decode_hash_get(bytes, size, &msg), -HF_ECORRUPT);
        hf_bytes_clear(&out);
    }
    bad[0].count = HF_HASHES_MAX + 1;
    assert_int_equal(hf_message_encode_hash_get(&out, &bad[0]), -HF_ETOOBIG);
}

static void hash_list_comes_back_or_says_why_not(void **state)
{
    struct hf_msg_hash_list in = {1, 2, 0, 3, hashes}, msg;
    struct hf_msg_hash_list failed = {9, 0, -EIO, 0, NULL};
    const uint8_t *bytes;
    size_t size;

    assert_int_equal(hf_message_encode_hash_list(&out, &in), 0);
    bytes = body(&size);
    assert_int_equal(hf_message_decode_hash_list(bytes, size, &msg), 0);
    assert_int_equal(msg.count, 3);
    assert_int_equal(msg.secret, 2);
    assert_memory_equal(msg.hashes, hashes, sizeof(hashes));
    assert_exact(try_hash_list);
    assert_int_equal(hf_message_encode_hash_list(&out, &failed), 0);
    bytes = body(&size);
    assert_int_equal(hf_message_decode_hash_list(bytes, size, &msg), 0);
    assert_int_equal(msg.error, -EIO);
    assert_int_equal(msg.count, 0);
    assert_exact(try_hash_list);
    in.error = -EIO; /* hashes and an error */
    assert_int_equal(hf_message_encode_hash_list(&out, &in), 0);
    bytes = body(&size);
    assert_int_equal(hf_message_decode_hash_list(bytes, size, &msg), -HF_ECORRUPT);
    hf_bytes_clear(&out);
}

static void error_text_is_bounded_and_utf8(void **state)
{
    struct hf_msg_error in = {HF_WIRE_EBUSY, ""}, msg;
    const uint8_t *bytes;
    size_t size;

    memset(in.text, 'e', sizeof(in.text) - 1);
    assert_int_equal(hf_message_encode_error(&out, &in), 0);
    bytes = body(&size);
    assert_int_equal(hf_message_decode_error(bytes, size, &msg), 0);
    assert_string_equal(msg.text, in.text);
    out.data[16 + 4 + 2] = 0xff;
    assert_int_equal(hf_message_decode_error(out.data + 16, size, &msg), -HF_ECORRUPT);
    out.data[16 + 4 + 2] = 'e';
    assert_exact(try_error);
    in.text[5] = (char)0xff;
    assert_true(hf_message_encode_error(&out, &in) < 0);
    assert_int_equal(out.size, 0);
}

static struct hf_message_header header_of(uint32_t body_size, uint16_t type, uint8_t flags,
                                          uint32_t raw_size)
{
    return (struct hf_message_header){.body_size = hf_le32_of(body_size),
                                      .type = hf_le16_of(type),
                                      .flags = flags,
                                      .raw_size = hf_le32_of(raw_size)};
}

static void headers_with_unknown_types_or_flags_are_refused(void **state)
{
    struct hf_message_header reserved = header_of(0, HF_MSG_PING, 0, 0);
    struct hf_message_header bad[] = {
        header_of(0, 0, 0, 0),
        header_of(0, HF_MSG_ERROR + 1, 0, 0),
        header_of(0, 0xffff, 0, 0),
        header_of(8, HF_MSG_CREDIT, 2, 0),
        header_of(8, HF_MSG_CREDIT, 0x80, 0),
        header_of(8, HF_MSG_CREDIT, 0, 8),
        header_of(8, HF_MSG_CREDIT, HF_MESSAGE_COMPRESSED, 100),
        header_of(0, HF_MSG_BATCH, HF_MESSAGE_COMPRESSED, 100),
        header_of(100, HF_MSG_BATCH, HF_MESSAGE_COMPRESSED, 100),
    };

    for (size_t i = 0; i < HF_ARRAY_COUNT(bad); i++)
        assert_int_equal(hf_message_header_check(&bad[i]), -HF_EPROTO);
    assert_int_equal(hf_message_header_check(&reserved), 0);
    reserved.reserved = 1;
    assert_int_equal(hf_message_header_check(&reserved), -HF_EPROTO);
    reserved.reserved = 0;
    reserved.reserved2 = hf_le32_of(1);
    assert_int_equal(hf_message_header_check(&reserved), -HF_EPROTO);
}

/* Fault 26: a 2 GiB header is refused by its sixteen bytes. */
static void fault_26_lengths_over_the_types_limit_are_refused(void **state)
{
    static const struct {
        uint16_t type;
        uint32_t limit;
    } limits[] = {
        {HF_MSG_HELLO, 256},
        {HF_MSG_HELLO_OK, 256},
        {HF_MSG_ATTACH, 8192},
        {HF_MSG_ATTACH_OK, 256},
        {HF_MSG_BATCH, 4 << 20},
        {HF_MSG_ACK, 256},
        {HF_MSG_CREDIT, 256},
        {HF_MSG_LOST, 256},
        {HF_MSG_HASH_GET, 256},
        {HF_MSG_HASH_LIST, 24 + 16384 * 16},
        {HF_MSG_PING, 0},
        {HF_MSG_PONG, 0},
        {HF_MSG_CLOSE, 0},
        {HF_MSG_CLOSE_OK, 0},
        {HF_MSG_ERROR, 4 + 2 + 512},
    };
    struct hf_message_header header;

    for (size_t i = 0; i < HF_ARRAY_COUNT(limits); i++) {
        header = header_of(limits[i].limit, limits[i].type, 0, 0);
        assert_int_equal(hf_message_header_check(&header), 0);
        header = header_of(limits[i].limit + 1, limits[i].type, 0, 0);
        assert_int_equal(hf_message_header_check(&header), -HF_ETOOBIG);
        header = header_of(1u << 31, limits[i].type, 0, 0);
        assert_int_equal(hf_message_header_check(&header), -HF_ETOOBIG);
    }
    header = header_of(1000, HF_MSG_BATCH, HF_MESSAGE_COMPRESSED, (4u << 20) + 1);
    assert_int_equal(hf_message_header_check(&header), -HF_ETOOBIG);
    header = header_of(1000, HF_MSG_BATCH, HF_MESSAGE_COMPRESSED, 4u << 20);
    assert_int_equal(hf_message_header_check(&header), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_comes_back),
        cmocka_unit_test(attach_comes_back_with_all_its_disks),
        cmocka_unit_test(attach_that_contradicts_itself_is_refused),
        cmocka_unit_test(attach_ok_comes_back),
        cmocka_unit_test(positions_come_back),
        cmocka_unit_test(hash_get_names_whole_blocks_of_a_disk),
        cmocka_unit_test(hash_list_comes_back_or_says_why_not),
        cmocka_unit_test(error_text_is_bounded_and_utf8),
        cmocka_unit_test(headers_with_unknown_types_or_flags_are_refused),
        cmocka_unit_test(fault_26_lengths_over_the_types_limit_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
