// SPDX-License-Identifier: Apache-2.0
#include "base/test-support.h"

#include <stdio.h>
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/bitmap.h"
#include "base/clock.h"

#define SHIFT 4 /* blocks of 16 bytes */

static void a_set_range_is_widened_to_blocks(void **state)
{
    struct hf_bitmap bitmap;

    assert_int_equal(hf_bitmap_init(&bitmap, 1024, SHIFT), 0);
    hf_bitmap_set_range(&bitmap, 31, 2);
    assert_true(hf_bitmap_test(&bitmap, 1));
    assert_true(hf_bitmap_test(&bitmap, 2));
    assert_int_equal(hf_bitmap_count(&bitmap), 2);
    hf_bitmap_set_range(&bitmap, 500, 0);
    assert_int_equal(hf_bitmap_count(&bitmap), 2);
    hf_bitmap_done(&bitmap);
}

static void a_cleared_range_is_narrowed_to_blocks(void **state)
{
    struct hf_bitmap bitmap;

    assert_int_equal(hf_bitmap_init(&bitmap, 1024, SHIFT), 0);
    hf_bitmap_set_all(&bitmap);
    hf_bitmap_clear_range(&bitmap, 15, 34);
    assert_true(hf_bitmap_test(&bitmap, 0));
    assert_false(hf_bitmap_test(&bitmap, 1));
    assert_false(hf_bitmap_test(&bitmap, 2));
    assert_true(hf_bitmap_test(&bitmap, 3));
    hf_bitmap_clear_range(&bitmap, 65, 14);
    assert_int_equal(hf_bitmap_count(&bitmap), 62);
    hf_bitmap_done(&bitmap);
}

static void the_short_last_block_can_be_cleared(void **state)
{
    struct hf_bitmap bitmap;
    uint64_t offset, length;

    assert_int_equal(hf_bitmap_init(&bitmap, 100, SHIFT), 0);
    assert_int_equal(bitmap.bit_count, 7);
    hf_bitmap_set_all(&bitmap);
    hf_bitmap_clear_range(&bitmap, 0, 96);
    assert_true(hf_bitmap_next_range(&bitmap, 0, 1000, &offset, &length));
    assert_int_equal(offset, 96);
    assert_int_equal(length, 4);
    hf_bitmap_clear_range(&bitmap, 96, 3);
    assert_true(hf_bitmap_test(&bitmap, 6));
    hf_bitmap_clear_range(&bitmap, 96, 4);
    assert_false(hf_bitmap_next_range(&bitmap, 0, 1000, &offset, &length));
    hf_bitmap_done(&bitmap);
}

static void ranges_past_the_end_are_ignored(void **state)
{
    struct hf_bitmap bitmap;
    uint64_t offset, length;

    assert_int_equal(hf_bitmap_init(&bitmap, 64 * 16, SHIFT), 0);
    hf_bitmap_set_range(&bitmap, 5000, 100);
    hf_bitmap_set_range(&bitmap, UINT64_MAX - 1, UINT64_MAX);
    assert_int_equal(hf_bitmap_count(&bitmap), 0);
    hf_bitmap_set_range(&bitmap, 63 * 16, UINT64_MAX);
    assert_int_equal(hf_bitmap_count(&bitmap), 1);
    assert_false(hf_bitmap_next_range(&bitmap, UINT64_MAX, 1, &offset, &length));
    assert_false(hf_bitmap_test(&bitmap, UINT64_MAX));
    hf_bitmap_clear_range(&bitmap, 0, UINT64_MAX);
    assert_int_equal(hf_bitmap_count(&bitmap), 0);
    hf_bitmap_done(&bitmap);
}

static void an_empty_disk_has_no_ranges(void **state)
{
    struct hf_bitmap bitmap;
    uint64_t offset, length;

    assert_int_equal(hf_bitmap_init(&bitmap, 0, SHIFT), 0);
    hf_bitmap_set_all(&bitmap);
    assert_false(hf_bitmap_next_range(&bitmap, 0, 1, &offset, &length));
    hf_bitmap_done(&bitmap);
    hf_bitmap_done(&bitmap);
    hf_bitmap_done(NULL);
    assert_null(bitmap.words);
}

static void absurd_geometry_is_refused(void **state)
{
    struct hf_bitmap bitmap;

    assert_int_equal(hf_bitmap_init(&bitmap, 1024, 41), -EINVAL);
    assert_int_equal(hf_bitmap_init(&bitmap, UINT64_MAX, 9), -ENOMEM);
}

/* ---- Against a model with one byte a block ---- */

#define MODEL_BLOCKS 700
#define MODEL_SIZE (MODEL_BLOCKS * 16 - 5)

static void model_set(uint8_t *model, uint64_t offset, uint64_t length)
{
    for (uint64_t i = 0; i < MODEL_BLOCKS; i++)
        if (offset < (i + 1) * 16 && offset + length > i * 16 && length > 0)
            model[i] = 1;
}

static void model_clear(uint8_t *model, uint64_t offset, uint64_t length)
{
    for (uint64_t i = 0; i < MODEL_BLOCKS; i++)
        if (offset <= i * 16 && offset + length >= HF_MIN((i + 1) * 16, (uint64_t)MODEL_SIZE))
            model[i] = 0;
}

static bool model_next(const uint8_t *model, uint64_t from, uint64_t length_max,
                       uint64_t *ret_offset, uint64_t *ret_length)
{
    uint64_t byte = from, end;

    while (byte < MODEL_SIZE && !model[byte / 16])
        byte++;
    if (byte >= MODEL_SIZE)
        return false;
    for (end = byte; end < MODEL_SIZE && model[end / 16] && end - byte < length_max;)
        end++;
    *ret_offset = byte;
    *ret_length = end - byte;
    return true;
}

static void assert_same(const struct hf_bitmap *bitmap, const uint8_t *model, uint64_t from,
                        uint64_t length_max)
{
    uint64_t offset = 0, length = 0, model_offset = 0, model_length = 0, count = 0;

    assert_int_equal(hf_bitmap_next_range(bitmap, from, length_max, &offset, &length),
                     model_next(model, from, length_max, &model_offset, &model_length));
    assert_int_equal(offset, model_offset);
    assert_int_equal(length, model_length);
    for (uint64_t i = 0; i < MODEL_BLOCKS; i++) {
        assert_int_equal(hf_bitmap_test(bitmap, i), model[i]);
        count += model[i];
    }
    assert_int_equal(hf_bitmap_count(bitmap), count);
}

static void random_changes_agree_with_a_naive_model(void **state)
{
    uint8_t model[MODEL_BLOCKS] = {0};
    struct hf_random_seeded seeded;
    struct hf_bitmap bitmap;

    hf_random_seeded_init(&seeded, 20);
    assert_int_equal(hf_bitmap_init(&bitmap, MODEL_SIZE, SHIFT), 0);
    for (int step = 0; step < 20000; step++) {
        uint64_t offset = hf_random_seeded_next(&seeded) % (MODEL_SIZE + 100);
        uint64_t length_max = step % 7 == 0 ? MODEL_SIZE : 300;
        uint64_t length = hf_random_seeded_next(&seeded) % length_max;

        if (hf_random_seeded_next(&seeded) % 2) {
            hf_bitmap_set_range(&bitmap, offset, length);
            model_set(model, offset, length);
        } else {
            hf_bitmap_clear_range(&bitmap, offset, length);
            model_clear(model, offset, length);
        }
        assert_same(&bitmap, model, hf_random_seeded_next(&seeded) % (MODEL_SIZE + 100),
                    1 + hf_random_seeded_next(&seeded) % 2000);
    }
    hf_bitmap_done(&bitmap);
}

static void walking_the_ranges_visits_each_set_byte_once(void **state)
{
    struct hf_bitmap bitmap, other;
    uint64_t from = 0, offset, length, bytes = 0;

    assert_int_equal(hf_bitmap_init(&bitmap, MODEL_SIZE, SHIFT), 0);
    assert_int_equal(hf_bitmap_init(&other, MODEL_SIZE, SHIFT), 0);
    for (uint64_t i = 0; i < MODEL_BLOCKS; i += 3)
        hf_bitmap_set_range(i % 2 ? &bitmap : &other, i * 16, 1);
    hf_bitmap_merge(&bitmap, &other);
    while (hf_bitmap_next_range(&bitmap, from, 7, &offset, &length)) {
        assert_true(offset >= from && length <= 7);
        bytes += length;
        from = offset + length;
    }
    assert_int_equal(bytes, hf_bitmap_count(&bitmap) * 16 - 5 * hf_bitmap_test(&bitmap, 699));
    hf_bitmap_done(&bitmap);
    hf_bitmap_done(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_range_is_widened_to_blocks),
        cmocka_unit_test(a_cleared_range_is_narrowed_to_blocks),
        cmocka_unit_test(the_short_last_block_can_be_cleared),
        cmocka_unit_test(ranges_past_the_end_are_ignored),
        cmocka_unit_test(an_empty_disk_has_no_ranges),
        cmocka_unit_test(absurd_geometry_is_refused),
        cmocka_unit_test(random_changes_agree_with_a_naive_model),
        cmocka_unit_test(walking_the_ranges_visits_each_set_byte_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
