// SPDX-License-Identifier: Apache-2.0
/* Bytes that are not what was written are found; limits are checked before anything is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "stream/stream-internal.h"
#include "stream/stream-test.h"

static const struct hf_stream_id stream = {.epoch = 3, .capture = {{1, 2, 3, 4, 5}}};

/* A small batch with every encoding: two zstd frames, a raw one, a zero one, a range, a note. */
static size_t make_batch(enum hf_lane lane, uint8_t **ret_data)
{
    struct hf_batch_builder_options options = {HF_COMPRESSION_FAST, 1 << 20};
    struct hf_batch_builder *builder;
    static uint8_t content[HF_RECORD_CONTENT_MAX];
    struct hf_digest digest;
    const void *data;
    size_t size;

    assert_int_equal(hf_batch_builder_new(&options, &builder), 0);
    hf_digest_begin(&stream.capture, &digest);
    if (lane == HF_LANE_CAPTURED)
        hf_batch_begin_captured(builder, &stream, 0, &digest);
    else
        hf_batch_begin_pass(builder, &stream, 100, 1, 7, &digest);
    hf_test_content_fill(HF_TEST_TEXT, 1, content, 4096);
    hf_test_content_fill(HF_TEST_NOISE, 1, content + 16384, 512);
    for (uint64_t i = 0; i < 4; i++) {
        struct hf_record_in record = {.seq = i * 1000,
                                      .seq_end = i * 1000 + 900,
                                      .boot_ns = 1000 * i,
                                      .offset = 512 * i,
                                      .length = i == 0 ? 16896 : 1024,
                                      .content = i < 2 ? content + 3072 * i : NULL,
                                      .type = HF_RECORD_WRITE,
                                      .disk = (uint16_t)i};

        if (i >= 2)
            record.type = i == 2 ? HF_RECORD_ZERO : HF_RECORD_DISCARD;
        assert_int_equal(hf_batch_add(builder, &record), 0);
    }
    assert_int_equal(hf_batch_finish(builder, 5, &data, &size, &digest), 0);
    *ret_data = malloc(size);
    assert_non_null(*ret_data);
    memcpy(*ret_data, data, size);
    hf_batch_builder_free(builder);
    return size;
}

/* In memory of exactly its size, so that a sanitizer sees a read past the end. */
static int parse_and_verify(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct hf_batch batch;
    uint32_t frame;
    int error;

    assert_non_null(copy);
    memcpy(copy, data, size);
    error = hf_batch_parse(copy, size, &batch);
    if (!error)
        error = hf_batch_verify(&batch, &frame);
    free(copy);
    return error;
}

static void fault_17_every_flipped_bit_is_detected(void **state)
{
    uint8_t *data;
    size_t size = make_batch(HF_LANE_CAPTURED, &data);

    assert_int_equal(parse_and_verify(data, size), 0);
    for (size_t bit = 0; bit < size * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(parse_and_verify(data, size), -HF_ECORRUPT);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(parse_and_verify(data, size), 0);
    free(data);
}

static void fault_17_every_truncation_is_detected(void **state)
{
    uint8_t *data;
    size_t size = make_batch(HF_LANE_CAPTURED, &data);

    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(parse_and_verify(data, cut), -HF_ECORRUPT);
    free(data);
}

static void verify_names_the_first_bad_frame(void **state)
{
    uint8_t *data;
    size_t size = make_batch(HF_LANE_CAPTURED, &data);
    struct hf_batch batch;
    uint32_t frame = 99;

    assert_int_equal(hf_batch_parse(data, size, &batch), 0);
    assert_int_equal(batch.frame_count, 3);
    data[hf_le32_get(batch.frames[1].payload_offset) + (size_t)(batch.payload - data)] ^= 1;
    assert_int_equal(hf_batch_verify(&batch, &frame), -HF_ECORRUPT);
    assert_int_equal(frame, 1);
    free(data);
}

/* ---- Well signed, and wrong all the same ---- */

struct parts {
    struct hf_batch_header *header;
    struct hf_batch_record *records;
    struct hf_batch_frame *frames;
};

struct mutation {
    const char *what;
    void (*change)(struct parts *parts);
    int error;
};

static void set_version(struct parts *p)
{
    p->header->version = hf_le16_of(2);
}
static void set_incompatible(struct parts *p)
{
    p->header->incompatible = hf_le32_of(1);
}
static void set_total(struct parts *p)
{
    p->header->total_size = hf_le32_of(HF_BATCH_SIZE_MAX + 1);
}
static void set_records(struct parts *p)
{
    p->header->record_count = hf_le32_of(HF_BATCH_RECORDS_MAX + 1);
}
static void set_frames(struct parts *p)
{
    p->header->frame_count = hf_le32_of(HF_BATCH_FRAMES_MAX + 1);
}
static void set_payload(struct parts *p)
{
    p->header->payload_size = hf_le32_of(UINT32_MAX);
}
static void set_header_small(struct parts *p)
{
    p->header->header_size = hf_le16_of(64);
}
static void set_header_large(struct parts *p)
{
    p->header->header_size = hf_le16_of(2048);
}
static void set_lane(struct parts *p)
{
    p->header->lane = 3;
}
static void set_reserved(struct parts *p)
{
    p->header->reserved[22] = 1;
}
static void set_pass_on_captured(struct parts *p)
{
    p->header->pass = hf_le64_of(1);
}
static void set_backward(struct parts *p)
{
    p->header->seq_begin = hf_le64_of(9000);
}
static void set_end_inside(struct parts *p)
{
    p->header->seq_end = hf_le64_of(3899);
}
static void set_time_backward(struct parts *p)
{
    p->header->boot_ns_first = hf_le64_of(UINT64_MAX);
}
static void set_overlap(struct parts *p)
{
    p->records[1].seq = hf_le64_of(899);
}
static void set_no_width(struct parts *p)
{
    p->records[1].seq_size = hf_le32_of(0);
}
static void set_type(struct parts *p)
{
    p->records[0].type = 200;
}
static void set_disk(struct parts *p)
{
    p->records[0].disk = hf_le16_of(HF_DISKS_MAX);
}
static void set_length(struct parts *p)
{
    p->records[0].length = hf_le64_of(1ull << 62);
}
static void set_unaligned(struct parts *p)
{
    p->records[2].offset = hf_le64_of(1);
}
static void set_wrapping(struct parts *p)
{
    p->records[2].offset = hf_le64_of(UINT64_MAX - 511);
}
static void set_frame_first(struct parts *p)
{
    p->records[1].frame_first = hf_le32_of(1);
}
static void set_frame_first_huge(struct parts *p)
{
    p->records[0].frame_first = hf_le32_of(UINT32_MAX);
}
static void set_more_frames(struct parts *p)
{
    p->records[1].length = hf_le64_of(HF_RECORD_CONTENT_MAX);
}
static void set_fewer_frames(struct parts *p)
{
    p->records[1].type = HF_RECORD_ZERO;
}
static void set_frame_outside(struct parts *p)
{
    p->frames[2].stored_size = hf_le16_of(60000);
}
static void set_frame_shared(struct parts *p)
{
    p->frames[2].payload_offset = hf_le32_of(0);
}
static void set_encoding(struct parts *p)
{
    p->frames[0].encoding = 3;
}
static void set_frame_reserved(struct parts *p)
{
    p->frames[0].reserved = 1;
}
static void set_zero_with_bytes(struct parts *p)
{
    p->frames[0].encoding = HF_FRAME_ZERO;
}
static void set_raw_short(struct parts *p)
{
    p->frames[0].encoding = HF_FRAME_RAW;
}

static const struct mutation mutations[] = {
    {"version", set_version, -HF_EVERSION},
    {"incompatible flag", set_incompatible, -HF_EVERSION},
    {"size over the limit", set_total, -HF_ETOOBIG},
    {"records over the limit", set_records, -HF_ETOOBIG},
    {"frames over the limit", set_frames, -HF_ETOOBIG},
    {"payload size", set_payload, -HF_ECORRUPT},
    {"header too small", set_header_small, -HF_ECORRUPT},
    {"header too large", set_header_large, -HF_ECORRUPT},
    {"lane", set_lane, -HF_ECORRUPT},
    {"reserved", set_reserved, -HF_ECORRUPT},
    {"pass on the captured lane", set_pass_on_captured, -HF_ECORRUPT},
    {"begins after its end", set_backward, -HF_ECORRUPT},
    {"ends inside a record", set_end_inside, -HF_ECORRUPT},
    {"time backward", set_time_backward, -HF_ECORRUPT},
    {"overlapping records", set_overlap, -HF_ECORRUPT},
    {"record without width", set_no_width, -HF_ECORRUPT},
    {"record type", set_type, -HF_ECORRUPT},
    {"disk", set_disk, -HF_ECORRUPT},
    {"length", set_length, -HF_ECORRUPT},
    {"unaligned", set_unaligned, -HF_ECORRUPT},
    {"wrapping range", set_wrapping, -HF_ECORRUPT},
    {"frames shared by records", set_frame_first, -HF_ECORRUPT},
    {"first frame far away", set_frame_first_huge, -HF_ECORRUPT},
    {"more frames than there are", set_more_frames, -HF_ECORRUPT},
    {"frames of nobody", set_fewer_frames, -HF_ECORRUPT},
    {"frame past the payload", set_frame_outside, -HF_ECORRUPT},
    {"frames sharing payload", set_frame_shared, -HF_ECORRUPT},
    {"encoding", set_encoding, -HF_ECORRUPT},
    {"frame's reserved byte", set_frame_reserved, -HF_ECORRUPT},
    {"zero frame with bytes", set_zero_with_bytes, -HF_ECORRUPT},
    {"raw frame of another size", set_raw_short, -HF_ECORRUPT},
};

static struct parts parts_of(uint8_t *data)
{
    struct parts parts = {.header = (void *)data, .records = (void *)(data + 192)};

    parts.frames = (void *)(parts.records + hf_le32_get(parts.header->record_count));
    return parts;
}

static int change_and_parse(const uint8_t *data, size_t size, void (*change)(struct parts *))
{
    uint8_t *copy = malloc(size);
    struct parts parts;
    int error;

    assert_non_null(copy);
    memcpy(copy, data, size);
    parts = parts_of(copy);
    change(&parts);
    /* The counts may now point anywhere: sign with the true ones, then the header alone. */
    if (!memcmp(copy, data, 16) && hf_le32_get(parts.header->record_count) == 4 &&
        hf_le32_get(parts.header->frame_count) == 3 &&
        hf_le32_get(parts.header->payload_size) < size)
        hf_test_batch_sign(copy);
    parts.header->header_hash =
        hf_le64_of(hf_hash64(copy, offsetof(struct hf_batch_header, header_hash)));
    error = parse_and_verify(copy, size);
    free(copy);
    return error;
}

static void well_signed_nonsense_is_refused(void **state)
{
    uint8_t *data;
    size_t size = make_batch(HF_LANE_CAPTURED, &data);

    for (size_t i = 0; i < HF_ARRAY_COUNT(mutations); i++) {
        int error = change_and_parse(data, size, mutations[i].change);

        if (error != mutations[i].error)
            print_message("%s: %d\n", mutations[i].what, error);
        assert_int_equal(error, mutations[i].error);
    }
    free(data);
}

static void set_pass_zero(struct parts *p)
{
    p->header->pass = hf_le64_of(0);
}
static void set_pass_width(struct parts *p)
{
    p->records[0].seq_size = hf_le32_of(1);
}
static void set_pass_seq(struct parts *p)
{
    p->records[0].seq = hf_le64_of(101);
}
static void set_pass_mark(struct parts *p)
{
    p->records[2].type = HF_RECORD_NOTE;
    p->records[2].length = hf_le64_of(0);
}

static void pass_lane_takes_only_its_own(void **state)
{
    void (*const changes[])(struct parts *) = {set_pass_zero, set_pass_width, set_pass_seq,
                                               set_pass_mark};
    uint8_t *data;
    size_t size = make_batch(HF_LANE_PASS, &data);

    assert_int_equal(parse_and_verify(data, size), 0);
    for (size_t i = 0; i < HF_ARRAY_COUNT(changes); i++)
        assert_int_equal(change_and_parse(data, size, changes[i]), -HF_ECORRUPT);
    free(data);
}

static void digest_chain_must_end_where_the_header_says(void **state)
{
    uint8_t *data;
    size_t size = make_batch(HF_LANE_CAPTURED, &data);
    struct hf_batch_header *header = (void *)data;

    header->digest_before.bytes[3] ^= 1;
    header->header_hash =
        hf_le64_of(hf_hash64(data, offsetof(struct hf_batch_header, header_hash)));
    assert_int_equal(parse_and_verify(data, size), -HF_ECORRUPT);
    free(data);
}

/* A later writer of version 1 with a longer header and reserved bytes in use says so in
 * `compatible`, and is read. */
static void longer_header_and_compatible_flags_are_skipped(void **state)
{
    uint8_t *data, *longer;
    size_t size = make_batch(HF_LANE_CAPTURED, &data);
    struct hf_batch_header *header;

    longer = malloc(size + 16);
    assert_non_null(longer);
    memcpy(longer, data, 192);
    memset(longer + 192, 0xab, 16);
    memcpy(longer + 208, data + 192, size - 192);
    header = (void *)longer;
    header->header_size = hf_le16_of(208);
    header->total_size = hf_le32_of((uint32_t)size + 16);
    header->compatible = hf_le32_of(4);
    header->reserved[0] = 9;
    hf_test_batch_sign(longer);
    assert_int_equal(parse_and_verify(longer, size + 16), 0);
    longer[200] ^= 1;
    assert_int_equal(parse_and_verify(longer, size + 16), -HF_ECORRUPT);
    free(longer);
    free(data);
}

/* Fault 21: a checksum that fits whatever a damaged compressor made is not possible; the content's
 * checksum was made before compression. */
static void fault_21_content_changed_by_the_compressor_is_detected(void **state)
{
    static uint8_t content[4096], stored[8192], back[4096];
    uint64_t checksum;
    size_t stored_size;

    hf_test_content_fill(HF_TEST_TEXT, 3, content, sizeof(content));
    checksum = hf_hash64(content, sizeof(content));
    content[77] ^= 1;
    stored_size = ZSTD_compress(stored, sizeof(stored), content, sizeof(content), 1);
    assert_false(ZSTD_isError(stored_size));
    assert_int_equal(
        hf_frame_decode(HF_FRAME_ZSTD, stored, stored_size, checksum, back, sizeof(back)),
        -HF_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fault_17_every_flipped_bit_is_detected),
        cmocka_unit_test(fault_17_every_truncation_is_detected),
        cmocka_unit_test(verify_names_the_first_bad_frame),
        cmocka_unit_test(well_signed_nonsense_is_refused),
        cmocka_unit_test(pass_lane_takes_only_its_own),
        cmocka_unit_test(digest_chain_must_end_where_the_header_says),
        cmocka_unit_test(longer_header_and_compatible_flags_are_skipped),
        cmocka_unit_test(fault_21_content_changed_by_the_compressor_is_detected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
