// SPDX-License-Identifier: Apache-2.0
/*
 * Format version 1 as it was released: tests/golden/batch-v1.bin must be readable for ever. The
 * file was written once by `test-batch-golden --write FILE` and is never written again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "stream/stream-test.h"

static const char *golden_path;
static const struct hf_stream_id stream = {
    .epoch = 0x1122334455667788,
    .capture = {{0xc0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xcf}},
};

#define SEQ_BEGIN 4096
#define BOOT_NS 1700000000000ull
#define WALL_NS 1767225600123456789ll

static const struct golden_record {
    uint8_t type;
    uint8_t content;
    uint16_t disk;
    uint64_t offset;
    uint64_t length;
} golden_records[] = {
    {HF_RECORD_DISK, HF_TEST_TEXT, 0, 0, sizeof(struct hf_disk_body)},
    {HF_RECORD_WRITE, HF_TEST_TEXT, 0, 1048576, 65536},
    {HF_RECORD_WRITE, HF_TEST_NOISE, 1, 512, 4096},
    {HF_RECORD_WRITE, HF_TEST_ZEROS, 1, 8192, 16896},
    {HF_RECORD_ZERO, 0, 1, 0, 1ull << 33},
    {HF_RECORD_DISCARD, 0, 63, 1ull << 40, 512},
    {HF_RECORD_PASS_BEGIN, HF_TEST_NOISE, 0, 0, sizeof(struct hf_pass_body)},
    {HF_RECORD_PASS_END, HF_TEST_NOISE, 0, 0, sizeof(struct hf_pass_body)},
    {HF_RECORD_GAP, HF_TEST_NOISE, 0, 0, sizeof(struct hf_gap_body)},
    {HF_RECORD_MACHINE, HF_TEST_TEXT, 0, 0, 16 + 1000},
    {HF_RECORD_NOTE, 0, 0, 0, 0},
    {HF_RECORD_MARK, HF_TEST_NOISE, 0, 0, sizeof(struct hf_mark_body) + 9},
};

static bool has_content(const struct golden_record *record)
{
    return record->type != HF_RECORD_ZERO && record->type != HF_RECORD_DISCARD;
}

static int write_golden(const char *path)
{
    struct hf_batch_builder_options options = {3, 1 << 20};
    static uint8_t content[HF_RECORD_CONTENT_MAX];
    struct hf_batch_builder *builder;
    struct hf_digest digest;
    const void *data;
    size_t size;
    FILE *file = fopen(path, "wbx");

    if (!file || hf_batch_builder_new(&options, &builder) < 0)
        return 1;
    hf_digest_begin(&stream.capture, &digest);
    hf_batch_begin_captured(builder, &stream, SEQ_BEGIN, &digest);
    for (uint64_t i = 0; i < HF_ARRAY_COUNT(golden_records); i++) {
        const struct golden_record *golden = &golden_records[i];
        struct hf_record_in record = {.seq = SEQ_BEGIN + i * 100,
                                      .seq_end = SEQ_BEGIN + i * 100 + 80,
                                      .boot_ns = BOOT_NS + i * 1000000,
                                      .offset = golden->offset,
                                      .length = golden->length,
                                      .content = has_content(golden) ? content : NULL,
                                      .type = golden->type,
                                      .disk = golden->disk};

        if (has_content(golden))
            hf_test_content_fill(golden->content, i, content, golden->length);
        if (hf_batch_add(builder, &record) < 0)
            return 1;
    }
    hf_batch_skip_to(builder, SEQ_BEGIN + 2000);
    hf_batch_finish(builder, WALL_NS, &data, &size, &digest);
    fwrite(data, 1, size, file);
    hf_batch_builder_free(builder);
    return fclose(file) ? 1 : 0;
}

static size_t read_golden(uint8_t **ret_data)
{
    FILE *file = fopen(golden_path, "rb");
    uint8_t *data = malloc(HF_BATCH_SIZE_MAX);
    size_t size;

    assert_non_null(file);
    assert_non_null(data);
    size = fread(data, 1, HF_BATCH_SIZE_MAX, file);
    fclose(file);
    *ret_data = data;
    return size;
}

static void version_1_header_is_read(void **state)
{
    struct hf_digest digest;
    struct hf_batch batch;
    uint8_t *data;
    size_t size = read_golden(&data);

    assert_int_equal(hf_batch_parse(data, size, &batch), 0);
    assert_int_equal(hf_batch_verify(&batch, NULL), 0);
    assert_int_equal(hf_le64_get(batch.header->epoch), stream.epoch);
    assert_true(hf_id_equal(&batch.header->capture, &stream.capture));
    assert_int_equal(hf_le64_get(batch.header->seq_begin), SEQ_BEGIN);
    assert_int_equal(hf_le64_get(batch.header->seq_end), SEQ_BEGIN + 2000);
    assert_int_equal(hf_le64_get(batch.header->boot_ns_first), BOOT_NS);
    assert_int_equal(hf_le64_get(batch.header->boot_ns_last), BOOT_NS + 11000000);
    assert_int_equal(hf_le64_get(batch.header->wall_ns), WALL_NS);
    hf_digest_begin(&stream.capture, &digest);
    assert_int_equal(hf_hash128_compare(&digest.value, &batch.header->digest_before), 0);
    free(data);
}

static void version_1_records_are_read(void **state)
{
    static uint8_t want[HF_RECORD_CONTENT_MAX], got[HF_RECORD_CONTENT_MAX];
    struct hf_batch batch;
    uint8_t *data;
    size_t size = read_golden(&data), length;

    assert_int_equal(hf_batch_parse(data, size, &batch), 0);
    assert_int_equal(batch.record_count, HF_ARRAY_COUNT(golden_records));
    for (uint32_t i = 0; i < batch.record_count; i++) {
        const struct golden_record *golden = &golden_records[i];

        assert_int_equal(hf_le64_get(batch.records[i].seq), SEQ_BEGIN + i * 100);
        assert_int_equal(hf_le32_get(batch.records[i].seq_size), 80);
        assert_int_equal(hf_le32_get(batch.records[i].boot_delta_us), i * 1000);
        assert_int_equal(batch.records[i].type, golden->type);
        assert_int_equal(hf_le16_get(batch.records[i].disk), golden->disk);
        assert_int_equal(hf_le64_get(batch.records[i].offset), golden->offset);
        assert_int_equal(hf_le64_get(batch.records[i].length), golden->length);
        assert_int_equal(hf_batch_record_content(&batch, i, got, &length), 0);
        assert_int_equal(length, has_content(golden) ? golden->length : 0);
        hf_test_content_fill(golden->content, i, want, length);
        assert_memory_equal(got, want, length);
    }
    free(data);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_header_is_read),
        cmocka_unit_test(version_1_records_are_read),
    };

    if (argc == 3 && !strcmp(argv[1], "--write"))
        return write_golden(argv[2]);
    if (argc != 2)
        return 2;
    golden_path = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
