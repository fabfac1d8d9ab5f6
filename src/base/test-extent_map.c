// SPDX-License-Identifier: Apache-2.0
#include "base/test-support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/extent_map.h"

static void assert_extent(const struct hf_extent_map *map, uint64_t from, struct hf_extent expected)
{
    struct hf_extent extent;

    assert_true(hf_extent_map_find(map, from, &extent));
    assert_int_equal(extent.offset, expected.offset);
    assert_int_equal(extent.length, expected.length);
    assert_int_equal(extent.value, expected.value);
    assert_int_equal(extent.value_offset, expected.value_offset);
}

static void a_range_inside_another_splits_it(void **state)
{
    struct hf_extent_map *map;

    assert_int_equal(hf_extent_map_new(&map), 0);
    assert_int_equal(hf_extent_map_set(map, 100, 100, 1), 0);
    assert_int_equal(hf_extent_map_set(map, 130, 20, 2), 0);
    assert_int_equal(hf_extent_map_count(map), 3);
    assert_extent(map, 0, (struct hf_extent){100, 30, 1, 0});
    assert_extent(map, 110, (struct hf_extent){110, 20, 1, 10});
    assert_extent(map, 130, (struct hf_extent){130, 20, 2, 0});
    assert_extent(map, 150, (struct hf_extent){150, 50, 1, 50});
    hf_extent_map_free(map);
}

static void removing_leaves_the_pieces_beside_it(void **state)
{
    struct hf_extent_map *map;
    struct hf_extent extent;

    assert_int_equal(hf_extent_map_new(&map), 0);
    assert_int_equal(hf_extent_map_set(map, 0, 10, 1), 0);
    assert_int_equal(hf_extent_map_set(map, 10, 10, 2), 0);
    assert_int_equal(hf_extent_map_set(map, 20, 10, 3), 0);
    assert_int_equal(hf_extent_map_remove(map, 5, 20), 0);
    assert_int_equal(hf_extent_map_count(map), 2);
    assert_extent(map, 0, (struct hf_extent){0, 5, 1, 0});
    assert_extent(map, 5, (struct hf_extent){25, 5, 3, 5});
    assert_false(hf_extent_map_find(map, 30, &extent));
    hf_extent_map_free(map);
}

static void empty_and_overflowing_ranges_are_refused(void **state)
{
    struct hf_extent_map *map;

    assert_int_equal(hf_extent_map_new(&map), 0);
    assert_int_equal(hf_extent_map_set(map, 5, 0, 1), -EINVAL);
    assert_int_equal(hf_extent_map_set(map, UINT64_MAX, 1, 1), -EINVAL);
    assert_int_equal(hf_extent_map_remove(map, 1, UINT64_MAX), -EINVAL);
    assert_int_equal(hf_extent_map_set(map, UINT64_MAX - 1, 1, 1), 0);
    assert_extent(map, 0, (struct hf_extent){UINT64_MAX - 1, 1, 1, 0});
    hf_extent_map_free(map);
    hf_extent_map_free(NULL);
}

/* ---- Against a model with one cell a byte ---- */

#define MODEL_SIZE 600

struct cell {
    uint64_t value;
    uint64_t value_offset;
    bool set;
    bool starts; /* an extent begins here */
};

static void model_set(struct cell *cells, uint64_t offset, uint64_t length, uint64_t value,
                      bool set)
{
    if (offset + length < MODEL_SIZE && cells[offset + length].set)
        cells[offset + length].starts = true;
    for (uint64_t i = 0; i < length; i++)
        cells[offset + i] =
            (struct cell){.value = value, .value_offset = i, .set = set, .starts = set && i == 0};
}

static void assert_same(const struct hf_extent_map *map, const struct cell *cells)
{
    uint64_t position = 0;
    size_t count = 0, model_count = 0;
    struct hf_extent extent;

    for (uint64_t i = 0; i < MODEL_SIZE; i++)
        model_count += cells[i].starts;
    while (hf_extent_map_find(map, position, &extent)) {
        for (; position < extent.offset; position++)
            assert_false(cells[position].set);
        assert_true(cells[position].starts);
        for (uint64_t i = 0; i < extent.length; i++) {
            assert_true(cells[position + i].set);
            assert_int_equal(cells[position + i].value, extent.value);
            assert_int_equal(cells[position + i].value_offset, extent.value_offset + i);
        }
        position += extent.length;
        count++;
    }
    for (; position < MODEL_SIZE; position++)
        assert_false(cells[position].set);
    assert_int_equal(count, model_count);
    assert_int_equal(hf_extent_map_count(map), model_count);
}

static void random_changes_agree_with_a_naive_model(void **state)
{
    static struct cell cells[MODEL_SIZE];
    struct hf_random_seeded seeded;
    struct hf_extent_map *map;

    hf_random_seeded_init(&seeded, 21);
    assert_int_equal(hf_extent_map_new(&map), 0);
    for (uint64_t step = 0; step < 20000; step++) {
        uint64_t offset = hf_random_seeded_next(&seeded) % MODEL_SIZE;
        uint64_t length_max = step % 11 == 0 ? MODEL_SIZE : 24;
        uint64_t length =
            1 + hf_random_seeded_next(&seeded) % HF_MIN(length_max, (uint64_t)MODEL_SIZE - offset);
        bool set = hf_random_seeded_next(&seeded) % 4 != 0;

        assert_int_equal(set ? hf_extent_map_set(map, offset, length, step)
                             : hf_extent_map_remove(map, offset, length),
                         0);
        model_set(cells, offset, length, step, set);
        assert_same(map, cells);
    }
    hf_extent_map_free(map);
}

static uint64_t priority_of(uint64_t x)
{
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccd;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53;
    return x ^ (x >> 33);
}

/* Offsets whose priorities only fall make a list of the tree: recursion would need a frame each. */
static void offsets_chosen_to_make_the_tree_deep_do_no_harm(void **state)
{
    uint64_t lowest = UINT64_MAX, count = 0, band = UINT64_MAX / 2000;
    struct hf_extent_map *map;

    assert_int_equal(hf_extent_map_new(&map), 0);
    for (uint64_t offset = 0; count < 1900; offset++) {
        if (priority_of(offset) >= lowest || priority_of(offset) < lowest - 2 * band)
            continue;
        lowest = priority_of(offset);
        assert_int_equal(hf_extent_map_set(map, offset, 1, count++), 0);
    }
    assert_int_equal(hf_extent_map_count(map), count);
    assert_int_equal(hf_extent_map_remove(map, 0, UINT64_MAX), 0);
    assert_int_equal(hf_extent_map_count(map), 0);
    hf_extent_map_free(map);
}

static void many_extents_are_found_again(void **state)
{
    struct hf_extent_map *map;
    const uint64_t count = 100000;

    assert_int_equal(hf_extent_map_new(&map), 0);
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(hf_extent_map_set(map, (i * 7919 % count) * 8, 4, i), 0);
    assert_int_equal(hf_extent_map_count(map), count);
    for (uint64_t i = 0; i < count; i++)
        assert_extent(map, (i * 7919 % count) * 8,
                      (struct hf_extent){(i * 7919 % count) * 8, 4, i, 0});
    hf_extent_map_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_inside_another_splits_it),
        cmocka_unit_test(removing_leaves_the_pieces_beside_it),
        cmocka_unit_test(empty_and_overflowing_ranges_are_refused),
        cmocka_unit_test(random_changes_agree_with_a_naive_model),
        cmocka_unit_test(offsets_chosen_to_make_the_tree_deep_do_no_harm),
        cmocka_unit_test(many_extents_are_found_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
