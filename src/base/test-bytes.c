// SPDX-License-Identifier: Apache-2.0
#include "base/test-support.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/error.h"

static void numbers_are_little_endian_and_come_back(void **state)
{
    static const uint8_t expected[] = {0xab, 0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 8,
                                       7,    6,    5,    4,    3,    2,    1};
    struct hf_bytes bytes = {0};
    struct hf_reader reader;

    assert_int_equal(hf_bytes_u8(&bytes, 0xab), 0);
    assert_int_equal(hf_bytes_u16(&bytes, 0x1234), 0);
    assert_int_equal(hf_bytes_u32(&bytes, 0x12345678), 0);
    assert_int_equal(hf_bytes_u64(&bytes, 0x0102030405060708), 0);
    assert_int_equal(bytes.size, sizeof(expected));
    assert_memory_equal(bytes.data, expected, sizeof(expected));
    hf_reader_init(&reader, bytes.data, bytes.size);
    assert_int_equal(hf_reader_u8(&reader), 0xab);
    assert_int_equal(hf_reader_u16(&reader), 0x1234);
    assert_int_equal(hf_reader_u32(&reader), 0x12345678);
    assert_int_equal(hf_reader_u64(&reader), 0x0102030405060708);
    assert_int_equal(hf_reader_finish(&reader), 0);
    hf_bytes_clear(&bytes);
}

static void text_comes_back(void **state)
{
    struct hf_bytes bytes = {0};
    struct hf_reader reader;
    char text[16];

    assert_int_equal(hf_bytes_text(&bytes, "größe"), 0);
    assert_int_equal(hf_bytes_text(&bytes, ""), 0);
    hf_reader_init(&reader, bytes.data, bytes.size);
    hf_reader_text(&reader, text, sizeof(text));
    assert_string_equal(text, "größe");
    hf_reader_text(&reader, text, sizeof(text));
    assert_string_equal(text, "");
    assert_int_equal(hf_reader_finish(&reader), 0);
    hf_bytes_clear(&bytes);
}

static void one_failed_read_fails_all_later_ones(void **state)
{
    struct hf_reader reader;

    hf_reader_init(&reader, "\1\2\3", 3);
    assert_int_equal(hf_reader_u32(&reader), 0);
    assert_true(reader.failed);
    assert_int_equal(hf_reader_u8(&reader), 0);
    assert_null(hf_reader_bytes(&reader, 0));
    assert_int_equal(hf_reader_finish(&reader), -HF_ECORRUPT);
}

static void bytes_left_over_are_an_error(void **state)
{
    struct hf_reader reader;

    hf_reader_init(&reader, "\1\2", 2);
    assert_int_equal(hf_reader_u8(&reader), 1);
    assert_int_equal(hf_reader_finish(&reader), -HF_ECORRUPT);
}

static void assert_text_refused(const char *raw, size_t size, size_t text_size)
{
    struct hf_reader reader;
    char text[16] = "before";

    hf_reader_init(&reader, raw, size);
    hf_reader_text(&reader, text, text_size);
    assert_true(reader.failed);
    assert_string_equal(text, "");
}

static void text_with_nul_bad_utf8_or_too_long_is_refused(void **state)
{
    assert_text_refused("\3\0a\0b", 5, 16);
    assert_text_refused("\2\0\xc0\x80", 4, 16);
    assert_text_refused("\4\0abcd", 6, 4);
    assert_text_refused("\4\0abc", 5, 16);
    assert_text_refused("\4", 1, 16);
}

static void an_empty_buffer_reads_as_nothing(void **state)
{
    struct hf_reader reader;

    hf_reader_init(&reader, NULL, 0);
    assert_non_null(hf_reader_bytes(&reader, 0));
    assert_int_equal(hf_reader_finish(&reader), 0);
}

static void the_limit_refuses_and_leaves_the_buffer_alone(void **state)
{
    struct hf_bytes bytes = {.size_max = 10};

    assert_int_equal(hf_bytes_append(&bytes, "12345678", 8), 0);
    assert_int_equal(hf_bytes_append(&bytes, "abc", 3), -HF_ETOOBIG);
    assert_int_equal(hf_bytes_append(&bytes, NULL, SIZE_MAX), -HF_ETOOBIG);
    assert_int_equal(hf_bytes_text(&bytes, "x"), -HF_ETOOBIG);
    assert_int_equal(bytes.size, 8);
    assert_int_equal(hf_bytes_append(&bytes, "ab", 2), 0);
    assert_memory_equal(bytes.data, "12345678ab", 10);
    hf_bytes_clear(&bytes);
}

static void text_that_is_not_utf8_is_not_written(void **state)
{
    struct hf_bytes bytes = {0};
    char *text = malloc(65537);

    assert_int_equal(hf_bytes_text(&bytes, "\xff"), -EILSEQ);
    memset(text, 'a', 65536);
    text[65536] = '\0';
    assert_int_equal(hf_bytes_text(&bytes, text), -HF_ETOOBIG);
    assert_int_equal(bytes.size, 0);
    free(text);
    hf_bytes_clear(&bytes);
}

static void appended_and_consumed_bytes_stay_in_order(void **state)
{
    struct hf_bytes bytes = {0};
    uint32_t next = 0;

    for (uint32_t i = 0; i < 5000; i++) {
        assert_int_equal(hf_bytes_u32(&bytes, i), 0);
        if (i % 3 == 0)
            continue;
        struct hf_reader reader;

        hf_reader_init(&reader, bytes.data, bytes.size);
        assert_int_equal(hf_reader_u32(&reader), next++);
        hf_bytes_consume(&bytes, sizeof(uint32_t));
    }
    assert_int_equal(bytes.size, (5000 - next) * sizeof(uint32_t));
    hf_bytes_clear(&bytes);
    hf_bytes_clear(&bytes);
    hf_bytes_clear(NULL);
    assert_null(bytes.data);
}

static void zeros_are_appended_without_data(void **state)
{
    struct hf_bytes bytes = {0};

    assert_int_equal(hf_bytes_append(&bytes, "x", 1), 0);
    assert_int_equal(hf_bytes_append(&bytes, NULL, 3), 0);
    assert_memory_equal(bytes.data, "x\0\0\0", 4);
    hf_bytes_clear(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian_and_come_back),
        cmocka_unit_test(text_comes_back),
        cmocka_unit_test(one_failed_read_fails_all_later_ones),
        cmocka_unit_test(bytes_left_over_are_an_error),
        cmocka_unit_test(text_with_nul_bad_utf8_or_too_long_is_refused),
        cmocka_unit_test(an_empty_buffer_reads_as_nothing),
        cmocka_unit_test(the_limit_refuses_and_leaves_the_buffer_alone),
        cmocka_unit_test(text_that_is_not_utf8_is_not_written),
        cmocka_unit_test(appended_and_consumed_bytes_stay_in_order),
        cmocka_unit_test(zeros_are_appended_without_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
