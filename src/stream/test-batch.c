// SPDX-License-Identifier: Apache-2.0
/* Building and reading back: what went in comes out, and limits hold. */
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
static uint8_t content[HF_RECORD_CONTENT_MAX];

static struct hf_batch_builder *new_builder(int level, size_t size_max)
{
    struct hf_batch_builder_options options = {.compression_level = level, .size_max = size_max};
    struct hf_batch_builder *builder = NULL;

    assert_int_equal(hf_batch_builder_new(&options, &builder), 0);
    return builder;
}

static struct hf_digest first_digest(void)
{
    struct hf_digest digest;

    hf_digest_begin(&stream.capture, &digest);
    return digest;
}

static struct hf_batch finish_and_parse(struct hf_batch_builder *builder,
                                        struct hf_digest *ret_digest)
{
    struct hf_batch batch;
    const void *data;
    size_t size;

    assert_int_equal(hf_batch_finish(builder, 77, &data, &size, ret_digest), 0);
    assert_int_equal(hf_batch_parse(data, size, &batch), 0);
    assert_int_equal(hf_batch_verify(&batch, NULL), 0);
    return batch;
}

/* A record whose content is made from its place in the list. */
static struct hf_record_in make_record(uint8_t type, uint64_t length, uint64_t seq)
{
    struct hf_record_in record = {
        .seq = seq,
        .seq_end = seq + 64 + length,
        .boot_ns = 5000000 + seq,
        .offset = type <= HF_RECORD_DISCARD ? (seq + 1) * HF_SECTOR : 0,
        .length = length,
        .type = type,
        .flags = (uint8_t)(seq % 7),
        .disk = (uint16_t)(seq % 5),
    };

    if (type != HF_RECORD_ZERO && type != HF_RECORD_DISCARD && length > 0) {
        hf_test_content_fill(seq / 64 % 3, seq, content, length);
        record.content = content;
    }
    return record;
}

static void assert_record_equal(const struct hf_batch *batch, uint32_t index,
                                const struct hf_record_in *record)
{
    const struct hf_batch_record *got = &batch->records[index];
    static uint8_t read[HF_RECORD_CONTENT_MAX];
    size_t length = 99;

    assert_int_equal(hf_le64_get(got->seq), record->seq);
    assert_int_equal(hf_le32_get(got->seq_size), record->seq_end - record->seq);
    assert_int_equal(hf_le64_get(got->offset), record->offset);
    assert_int_equal(hf_le64_get(got->length), record->length);
    assert_int_equal(got->type, record->type);
    assert_int_equal(got->flags, record->flags);
    assert_int_equal(hf_le16_get(got->disk), record->disk);
    assert_int_equal(hf_batch_record_content(batch, index, read, &length), 0);
    assert_int_equal(length, record->content ? record->length : 0);
    assert_memory_equal(read, record->content ? record->content : read, length);
}

static const struct {
    uint8_t type;
    uint64_t length;
} samples[] = {
    {HF_RECORD_MACHINE, 16 + 3000},
    {HF_RECORD_DISK, sizeof(struct hf_disk_body)},
    {HF_RECORD_PASS_BEGIN, sizeof(struct hf_pass_body)},
    {HF_RECORD_WRITE, 512},
    {HF_RECORD_WRITE, 4096},
    {HF_RECORD_WRITE, 16384},
    {HF_RECORD_WRITE, 16896},
    {HF_RECORD_WRITE, 65024},
    {HF_RECORD_WRITE, 65536},
    {HF_RECORD_ZERO, 512},
    {HF_RECORD_ZERO, 1ull << 40},
    {HF_RECORD_DISCARD, 1ull << 30},
    {HF_RECORD_PASS_END, sizeof(struct hf_pass_body)},
    {HF_RECORD_GAP, sizeof(struct hf_gap_body)},
    {HF_RECORD_NOTE, 0},
    {HF_RECORD_NOTE, 5},
    {HF_RECORD_MARK, sizeof(struct hf_mark_body) + 11},
};

static void round_trip(int level)
{
    struct hf_batch_builder *builder = new_builder(level, HF_BATCH_SIZE_MAX);
    struct hf_digest digest = first_digest(), after;
    struct hf_batch batch;
    uint64_t seq = 4096;

    hf_batch_begin_captured(builder, &stream, seq, &digest);
    for (size_t i = 0; i < 3 * HF_ARRAY_COUNT(samples); i++) {
        size_t s = i % HF_ARRAY_COUNT(samples);
        struct hf_record_in record = make_record(samples[s].type, samples[s].length, seq);

        record.seq_end = seq + 64;
        assert_int_equal(hf_batch_add(builder, &record), 0);
        seq = record.seq_end;
    }
    batch = finish_and_parse(builder, &after);
    assert_int_equal(batch.record_count, 3 * HF_ARRAY_COUNT(samples));
    assert_int_equal(hf_le64_get(batch.header->seq_begin), 4096);
    assert_int_equal(hf_le64_get(batch.header->seq_end), seq);
    assert_int_equal(hf_le64_get(batch.header->epoch), 3);
    assert_int_equal(hf_le64_get(batch.header->wall_ns), 77);
    assert_true(hf_id_equal(&batch.header->capture, &stream.capture));
    assert_int_equal(hf_hash128_compare(&batch.header->digest_after, &after.value), 0);
    for (uint32_t i = 0, at = 4096; i < batch.record_count; i++, at += 64) {
        size_t s = i % HF_ARRAY_COUNT(samples);
        struct hf_record_in record = make_record(samples[s].type, samples[s].length, at);

        record.seq_end = at + 64;
        assert_record_equal(&batch, i, &record);
    }
    hf_batch_builder_free(builder);
}

static void every_record_type_comes_back_as_it_went_in(void **state)
{
    round_trip(HF_COMPRESSION_OFF);
    round_trip(HF_COMPRESSION_FAST);
    round_trip(3);
    round_trip(12);
}

static void random_batches_come_back_whole(void **state)
{
    struct hf_batch_builder *builder = new_builder(HF_COMPRESSION_FAST, 1 << 20);
    struct hf_digest digest = first_digest();
    struct hf_random_seeded random;
    struct hf_batch batch;
    uint64_t seq = 0;

    hf_random_seeded_init(&random, 7);
    for (int i = 0; i < 50; i++) {
        uint32_t count = hf_test_batch_fill(builder, &random, &stream, seq, &digest, 1 + i * 2);

        batch = finish_and_parse(builder, &digest);
        assert_int_equal(batch.record_count, count);
        assert_true(count > 0);
        seq = hf_le64_get(batch.header->seq_end);
    }
    hf_batch_builder_free(builder);
}

/* The chain is over records, so that a restarted agent that cuts elsewhere still agrees. */
static void digest_does_not_depend_on_where_batches_are_cut(void **state)
{
    struct hf_batch_builder *builder = new_builder(HF_COMPRESSION_FAST, HF_BATCH_SIZE_MAX);
    struct hf_digest ends[4];

    for (int cut = 1; cut <= 4; cut++) {
        struct hf_digest digest = first_digest();
        uint64_t seq = 0;

        for (int i = 0; i < 24; i++) {
            struct hf_record_in record = make_record(HF_RECORD_WRITE, (i % 9 + 1) * 4096, seq);

            if (i % cut == 0)
                hf_batch_begin_captured(builder, &stream, seq, &digest);
            assert_int_equal(hf_batch_add(builder, &record), 0);
            seq = record.seq_end;
            if (i % cut == cut - 1)
                finish_and_parse(builder, &digest);
        }
        ends[cut - 1] = digest;
    }
    for (int cut = 1; cut < 4; cut++)
        assert_int_equal(hf_hash128_compare(&ends[0].value, &ends[cut].value), 0);
    hf_batch_builder_free(builder);
}

static void pass_records_lie_at_the_end_of_pass_begin(void **state)
{
    struct hf_batch_builder *builder = new_builder(HF_COMPRESSION_FAST, 1 << 20);
    struct hf_record_in record = make_record(HF_RECORD_WRITE, 8192, 0);
    struct hf_digest digest, captured = first_digest();
    struct hf_batch batch;

    hf_digest_begin_pass(&stream.capture, 5, &digest);
    assert_int_not_equal(hf_hash128_compare(&digest.value, &captured.value), 0);
    hf_batch_begin_pass(builder, &stream, 777216, 5, 12, &digest);
    assert_int_equal(hf_batch_add(builder, &record), 0);
    record.type = HF_RECORD_MARK;
    assert_int_equal(hf_batch_add(builder, &record), -EINVAL);
    batch = finish_and_parse(builder, &digest);
    assert_int_equal(batch.header->lane, HF_LANE_PASS);
    assert_int_equal(hf_le64_get(batch.header->pass), 5);
    assert_int_equal(hf_le64_get(batch.header->pass_batch), 12);
    assert_int_equal(hf_le64_get(batch.header->seq_begin), 777216);
    assert_int_equal(hf_le64_get(batch.header->seq_end), 777216);
    assert_int_equal(hf_le64_get(batch.records[0].seq), 777216);
    assert_int_equal(hf_le32_get(batch.records[0].seq_size), 0);
    hf_batch_builder_free(builder);
}

static void space_between_records_belongs_to_the_batch(void **state)
{
    struct hf_batch_builder *builder = new_builder(HF_COMPRESSION_OFF, 1 << 20);
    struct hf_digest digest = first_digest(), after;
    struct hf_record_in record = make_record(HF_RECORD_WRITE, 4096, 1000);
    struct hf_batch batch;

    hf_batch_begin_captured(builder, &stream, 512, &digest);
    hf_batch_skip_to(builder, 600);
    assert_int_equal(hf_batch_add(builder, &record), 0);
    hf_batch_skip_to(builder, 9000);
    batch = finish_and_parse(builder, &after);
    assert_int_equal(hf_le64_get(batch.header->seq_begin), 512);
    assert_int_equal(hf_le64_get(batch.header->seq_end), 9000);
    assert_int_equal(hf_le64_get(batch.records[0].seq), 1000);

    /* Only space: still a batch, and the digest stays where it was. */
    hf_batch_begin_captured(builder, &stream, 9000, &after);
    hf_batch_skip_to(builder, 10000);
    batch = finish_and_parse(builder, &digest);
    assert_int_equal(batch.record_count, 0);
    assert_int_equal(hf_hash128_compare(&digest.value, &after.value), 0);
    hf_batch_builder_free(builder);
}

static void records_that_no_batch_takes_are_refused(void **state)
{
    struct hf_batch_builder *builder = new_builder(HF_COMPRESSION_OFF, 1 << 20);
    struct hf_digest digest = first_digest();
    struct hf_record_in good = make_record(HF_RECORD_WRITE, 4096, 1000);
    struct hf_record_in bad[] = {good, good, good, good, good, good, good, good, good, good};

    bad[0].length = 0;
    bad[1].length = 1000;
    bad[2].length = HF_RECORD_CONTENT_MAX + HF_SECTOR;
    bad[3].offset = 100;
    bad[4].offset = INT64_MAX - 511;
    bad[5].disk = HF_DISKS_MAX;
    bad[6].type = 99;
    bad[7].content = NULL;
    bad[8].seq_end = bad[8].seq;
    bad[9].seq = 10;
    hf_batch_begin_captured(builder, &stream, 512, &digest);
    for (size_t i = 0; i < HF_ARRAY_COUNT(bad); i++)
        assert_int_equal(hf_batch_add(builder, &bad[i]), -EINVAL);
    good.type = HF_RECORD_MARK;
    good.length = sizeof(struct hf_mark_body) - 1;
    assert_int_equal(hf_batch_add(builder, &good), -EINVAL);
    assert_int_equal(hf_batch_record_count(builder), 0);
    hf_batch_builder_free(builder);
}

static void full_batch_takes_nothing_more_and_stays_whole(void **state)
{
    struct hf_batch_builder *builder = new_builder(HF_COMPRESSION_FAST, HF_BATCH_SIZE_MIN);
    struct hf_digest digest = first_digest();
    struct hf_batch batch;
    uint64_t seq = 0;
    uint32_t count = 0;
    size_t size;
    int error;

    hf_batch_begin_captured(builder, &stream, 0, &digest);
    do {
        struct hf_record_in record = make_record(HF_RECORD_WRITE, HF_RECORD_CONTENT_MAX, seq);

        size = hf_batch_size(builder);
        error = hf_batch_add(builder, &record);
        seq = record.seq_end;
        count += !error;
    } while (!error);
    assert_int_equal(error, -ENOSPC);
    assert_true(count >= 1);
    assert_int_equal(hf_batch_size(builder), size);
    batch = finish_and_parse(builder, &digest);
    assert_int_equal(batch.record_count, count);
    assert_int_equal(batch.size, size);
    hf_batch_builder_free(builder);
}

static void record_and_time_limits_hold(void **state)
{
    struct hf_batch_builder *builder = new_builder(HF_COMPRESSION_OFF, HF_BATCH_SIZE_MAX);
    struct hf_digest digest = first_digest();
    struct hf_record_in late = make_record(HF_RECORD_ZERO, 512, 1u << 30);
    struct hf_batch batch;

    hf_batch_begin_captured(builder, &stream, 0, &digest);
    for (uint32_t i = 0; i <= HF_BATCH_RECORDS_MAX; i++) {
        struct hf_record_in record = make_record(HF_RECORD_ZERO, 512, i * 1000);

        assert_int_equal(hf_batch_add(builder, &record), i < HF_BATCH_RECORDS_MAX ? 0 : -ENOSPC);
    }
    batch = finish_and_parse(builder, &digest);
    assert_int_equal(batch.record_count, HF_BATCH_RECORDS_MAX);

    hf_batch_begin_captured(builder, &stream, 0, &digest);
    late.boot_ns = 1;
    assert_int_equal(hf_batch_add(builder, &late), 0);
    late.seq = late.seq_end;
    late.seq_end += 64;
    late.boot_ns = 2 + (uint64_t)UINT32_MAX * 1000 + 999;
    assert_int_equal(hf_batch_add(builder, &late), -ENOSPC);
    late.boot_ns = 0; /* before the first: a little disorder between processors is no error */
    assert_int_equal(hf_batch_add(builder, &late), 0);
    finish_and_parse(builder, &digest);
    hf_batch_builder_free(builder);
}

static void builder_options_have_limits(void **state)
{
    static const struct hf_batch_builder_options bad[] = {
        {HF_COMPRESSION_FAST, HF_BATCH_SIZE_MAX + 1},
        {HF_COMPRESSION_FAST, HF_BATCH_SIZE_MIN - 1},
        {13, HF_BATCH_SIZE_MAX},
        {-101, HF_BATCH_SIZE_MAX},
    };
    struct hf_batch_builder *builder = NULL;

    for (size_t i = 0; i < HF_ARRAY_COUNT(bad); i++)
        assert_int_equal(hf_batch_builder_new(&bad[i], &builder), -EINVAL);
    assert_null(builder);
    hf_batch_builder_free(NULL);
}

static uint8_t encoding_of(struct hf_frame_encoder *encoder, enum hf_test_content kind, size_t size)
{
    static uint64_t seed;
    static uint8_t stored[HF_FRAME_CONTENT_MAX], back[HF_FRAME_CONTENT_MAX];
    struct hf_batch_frame frame;

    hf_test_content_fill(kind, ++seed, content, size);
    hf_frame_encode(encoder, 0, content, size, stored, &frame);
    assert_int_equal(hf_frame_decode(frame.encoding, stored, hf_le16_get(frame.stored_size),
                                     hf_le64_get(frame.checksum), back, size),
                     0);
    assert_memory_equal(back, content, size);
    return frame.encoding;
}

static void content_decides_how_a_frame_is_stored(void **state)
{
    struct hf_frame_encoder encoder;

    assert_int_equal(hf_frame_encoder_init(&encoder, HF_COMPRESSION_FAST), 0);
    assert_int_equal(encoding_of(&encoder, HF_TEST_ZEROS, 16384), HF_FRAME_ZERO);
    assert_int_equal(encoding_of(&encoder, HF_TEST_ZEROS, 5), HF_FRAME_ZERO);
    assert_int_equal(encoding_of(&encoder, HF_TEST_TEXT, 16384), HF_FRAME_ZSTD);
    assert_int_equal(encoding_of(&encoder, HF_TEST_TEXT, 4096), HF_FRAME_ZSTD);
    assert_int_equal(encoding_of(&encoder, HF_TEST_TEXT, 100), HF_FRAME_RAW);
    assert_int_equal(encoding_of(&encoder, HF_TEST_NOISE, 16384), HF_FRAME_RAW);
    hf_frame_encoder_done(&encoder);
    assert_int_equal(hf_frame_encoder_init(&encoder, HF_COMPRESSION_OFF), 0);
    assert_int_equal(encoding_of(&encoder, HF_TEST_TEXT, 16384), HF_FRAME_RAW);
    assert_int_equal(encoding_of(&encoder, HF_TEST_ZEROS, 16384), HF_FRAME_ZERO);
    hf_frame_encoder_done(&encoder);
}

static void one_byte_that_is_not_zero_is_stored(void **state)
{
    static uint8_t stored[HF_FRAME_CONTENT_MAX];
    struct hf_frame_encoder encoder;
    struct hf_batch_frame frame;

    assert_int_equal(hf_frame_encoder_init(&encoder, HF_COMPRESSION_OFF), 0);
    for (size_t i = 0; i < 4096; i++) {
        memset(content, 0, 4096);
        content[i] = 1;
        hf_frame_encode(&encoder, 0, content, 4096, stored, &frame);
        assert_int_equal(frame.encoding, HF_FRAME_RAW);
    }
    hf_frame_encoder_done(&encoder);
}

static void incompressible_content_is_rarely_tried(void **state)
{
    struct hf_frame_encoder encoder;
    int tried = 0, until = 0;

    assert_int_equal(hf_frame_encoder_init(&encoder, HF_COMPRESSION_FAST), 0);
    for (int i = 0; i < 1000; i++) {
        tried += encoder.history[0].skip == 0;
        assert_int_equal(encoding_of(&encoder, HF_TEST_NOISE, 16384), HF_FRAME_RAW);
    }
    assert_in_range(tried, 10, 40);
    while (encoding_of(&encoder, HF_TEST_TEXT, 16384) == HF_FRAME_RAW)
        until++;
    assert_in_range(until, 0, 64); /* at most 1 MiB later it compresses again */
    assert_int_equal(encoding_of(&encoder, HF_TEST_TEXT, 16384), HF_FRAME_ZSTD);
    hf_frame_encoder_done(&encoder);
}

/* Fault 21: a hostile frame cannot choose how much is written or allocated. */
static void fault_21_frames_that_lie_about_their_size_are_corrupt(void **state)
{
    static uint8_t big[1 << 20], stored[1 << 16], back[HF_FRAME_CONTENT_MAX];
    uint64_t checksum = hf_hash64(big, 16384);
    size_t bomb = ZSTD_compress(stored, sizeof(stored), big, sizeof(big), 1);
    size_t one, two;

    assert_int_equal(hf_frame_decode(HF_FRAME_ZSTD, stored, bomb, checksum, back, 16384),
                     -HF_ECORRUPT);
    one = ZSTD_compress(stored, sizeof(stored), big, 8192, 1);
    two = one + ZSTD_compress(stored + one, sizeof(stored) - one, big, 8192, 1);
    assert_int_equal(hf_frame_decode(HF_FRAME_ZSTD, stored, two, checksum, back, 16384),
                     -HF_ECORRUPT);
    one = ZSTD_compress(stored, sizeof(stored), big, 16384, 1);
    assert_int_equal(hf_frame_decode(HF_FRAME_ZSTD, stored, one, checksum, back, 16384), 0);
    assert_int_equal(hf_frame_decode(HF_FRAME_ZSTD, stored, one, checksum, back, 16000),
                     -HF_ECORRUPT);
    assert_int_equal(hf_frame_decode(HF_FRAME_ZSTD, stored, one + 1, checksum, back, 16384),
                     -HF_ECORRUPT);
    assert_int_equal(hf_frame_decode(HF_FRAME_RAW, stored, one, checksum, back, 16384),
                     -HF_ECORRUPT);
    assert_int_equal(hf_frame_decode(HF_FRAME_ZERO, stored, 1, checksum, back, 16384),
                     -HF_ECORRUPT);
    assert_int_equal(hf_frame_decode(HF_FRAME_ZERO, stored, 0, checksum ^ 1, back, 16384),
                     -HF_ECORRUPT);
    assert_int_equal(hf_frame_decode(HF_FRAME_RAW, big, 0, 0, back, 0), -HF_ECORRUPT);
    assert_int_equal(hf_frame_decode(HF_FRAME_RAW, big, 20000, 0, back, 20000), -HF_ECORRUPT);
    assert_int_equal(hf_frame_decode(9, big, 16384, checksum, back, 16384), -HF_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_type_comes_back_as_it_went_in),
        cmocka_unit_test(random_batches_come_back_whole),
        cmocka_unit_test(digest_does_not_depend_on_where_batches_are_cut),
        cmocka_unit_test(pass_records_lie_at_the_end_of_pass_begin),
        cmocka_unit_test(space_between_records_belongs_to_the_batch),
        cmocka_unit_test(records_that_no_batch_takes_are_refused),
        cmocka_unit_test(full_batch_takes_nothing_more_and_stays_whole),
        cmocka_unit_test(record_and_time_limits_hold),
        cmocka_unit_test(builder_options_have_limits),
        cmocka_unit_test(content_decides_how_a_frame_is_stored),
        cmocka_unit_test(one_byte_that_is_not_zero_is_stored),
        cmocka_unit_test(incompressible_content_is_rarely_tried),
        cmocka_unit_test(fault_21_frames_that_lie_about_their_size_are_corrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
