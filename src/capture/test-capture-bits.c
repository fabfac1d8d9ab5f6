// SPDX-License-Identifier: Apache-2.0
/* The parts of the capture that need no kernel: geometry, bit maps, the overlap filter's
 * arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "capture/capture-internal.h"

#define MIB ((uint64_t)1 << 20)
#define TIB ((uint64_t)1 << 40)
#define WORDS 4

/* A handle with one disk of 1 MiB in slot 3, bits of 4 KiB, target 0. */
struct fake {
    struct hf_capture capture;
    struct hf_capture_control control;
    uint64_t words[HF_MAP_KINDS * 2][HF_MAP_HEAD_WORDS + WORDS];
};

static int set_up(void **state)
{
    struct fake *fake = calloc(1, sizeof(*fake));

    assert_non_null(fake);
    fake->capture.control = &fake->control;
    fake->control.disks[3] = (struct hf_capture_disk){
        .flags = HF_DISK_ACTIVE, .size_sectors = MIB / 512 - 1, .target_mask = 1};
    for (unsigned i = 0; i < HF_MAP_KINDS * 2; i++)
        fake->capture.bits[HF_MAP_INDEX(3, 0, 0, 0) + i] =
            (struct hf_capture_bits){.words = fake->words[i], .bit_count = 256, .shift = 12};
    *state = fake;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static uint64_t bytes_of(struct fake *fake, enum hf_capture_generation generation)
{
    uint64_t bytes = 0;

    assert_int_equal(hf_capture_map_bytes(&fake->capture, 3, 0, HF_MAP_LOST, generation, &bytes),
                     0);
    return bytes;
}

static void bits_are_as_small_as_the_budget_allows(void **state)
{
    assert_int_equal(hf_capture_bits_shift(100 * MIB, 1 * MIB), 12);
    for (uint64_t disk = MIB; disk <= 64 * TIB; disk *= 2) {
        uint32_t shift = hf_capture_bits_shift(disk, 12 * MIB);

        assert_true(shift >= 12);
        assert_true(hf_capture_bits_memory(disk, shift) <= 12 * MIB);
        assert_true(shift == 12 || hf_capture_bits_memory(disk, shift - 1) > 12 * MIB);
    }
    assert_int_equal(hf_capture_bits_shift(MIB, 4 * 4096 - 1), 0);
}

static void ranges_are_widened_when_set_and_narrowed_when_cleared(void **state)
{
    struct fake *fake = *state;
    struct hf_capture *capture = &fake->capture;
    uint64_t offset, length;

    assert_int_equal(hf_capture_map_set(capture, 3, 0, HF_MAP_LOST, 5000, 1), 0);
    assert_int_equal(hf_capture_map_set(capture, 3, 0, HF_MAP_LOST, 8191, 2), 0);
    assert_int_equal(hf_capture_map_next(capture, 3, 0, HF_MAP_LOST, HF_GENERATION_CURRENT, 0, MIB,
                                         &offset, &length),
                     1);
    assert_int_equal(offset, 4096);
    assert_int_equal(length, 8192);
    fake->control.generations = 1u << HF_MAP_LOST;
    assert_int_equal(hf_capture_map_clear(capture, 3, 0, HF_MAP_LOST, 4097, 8191), 0);
    assert_int_equal(bytes_of(fake, HF_GENERATION_OLD), 4096);
    assert_int_equal(hf_capture_map_clear(capture, 3, 0, HF_MAP_LOST, 4096, 4096), 0);
    assert_int_equal(bytes_of(fake, HF_GENERATION_OLD), 0);
}

static void the_last_block_ends_where_the_disk_ends(void **state)
{
    struct fake *fake = *state;
    uint64_t size = MIB - 512;

    assert_int_equal(hf_capture_map_set(&fake->capture, 3, 0, HF_MAP_LOST, 0, size), 0);
    assert_int_equal(bytes_of(fake, HF_GENERATION_CURRENT), size);
    fake->control.generations = 1u << HF_MAP_LOST;
    assert_int_equal(hf_capture_map_clear(&fake->capture, 3, 0, HF_MAP_LOST, 0, size), 0);
    assert_int_equal(bytes_of(fake, HF_GENERATION_OLD), 0);
}

static void a_flag_for_everything_counts_and_can_be_cleared_in_parts(void **state)
{
    struct fake *fake = *state;

    hf_capture_bits_set_all(&fake->capture, 3, HF_CAUSE_PASSTHROUGH);
    assert_int_equal(bytes_of(fake, HF_GENERATION_CURRENT), MIB - 512);
    assert_int_equal(fake->control.lost_events, 1);
    fake->control.generations = 1u << HF_MAP_LOST;
    assert_int_equal(hf_capture_map_clear(&fake->capture, 3, 0, HF_MAP_LOST, 0, MIB / 2), 0);
    assert_int_equal(bytes_of(fake, HF_GENERATION_OLD), MIB / 2 - 512);
}

static void what_lies_behind_the_maps_is_not_forgotten(void **state)
{
    struct fake *fake = *state;
    uint64_t offset, length;

    fake->control.disks[3].size_sectors = 4 * MIB / 512;
    assert_int_equal(hf_capture_map_set(&fake->capture, 3, 0, HF_MAP_LOST, 3 * MIB, 4096), 0);
    assert_int_equal(hf_capture_map_next(&fake->capture, 3, 0, HF_MAP_LOST, HF_GENERATION_CURRENT,
                                         0, 8 * MIB, &offset, &length),
                     1);
    assert_int_equal(offset, MIB);
    assert_int_equal(length, 3 * MIB);
}

static void folding_keeps_every_bit(void **state)
{
    struct fake *fake = *state;

    assert_int_equal(hf_capture_map_set(&fake->capture, 3, 0, HF_MAP_LOST, 0, 4096), 0);
    fake->control.generations = 1u << HF_MAP_LOST;
    assert_int_equal(hf_capture_map_set(&fake->capture, 3, 0, HF_MAP_LOST, 65536, 4096), 0);
    hf_capture_bits_fold(&fake->capture, 3, 0, HF_MAP_LOST);
    assert_int_equal(bytes_of(fake, HF_GENERATION_OLD), 0);
    assert_int_equal(bytes_of(fake, HF_GENERATION_CURRENT), 8192);
}

static void copies_of_a_map_end_with_the_disk(void **state)
{
    struct fake *fake = *state;
    uint64_t words[WORDS + 2] = {0};

    fake->control.disks[3].size_sectors = 100 * 4096 / 512;
    hf_capture_bits_set_all(&fake->capture, 3, HF_CAUSE_FORCED);
    assert_int_equal(
        hf_capture_map_read(&fake->capture, 3, 0, HF_MAP_LOST, HF_GENERATION_CURRENT, words, 1),
        -ERANGE);
    assert_int_equal(hf_capture_map_read(&fake->capture, 3, 0, HF_MAP_LOST, HF_GENERATION_CURRENT,
                                         words, WORDS + 2),
                     0);
    assert_true(words[0] == ~0ull);
    assert_true(words[1] == (1ull << 36) - 1);
    assert_true(words[2] == 0 && words[5] == 0);
    assert_int_equal(
        hf_capture_map_read(&fake->capture, 4, 0, HF_MAP_LOST, HF_GENERATION_CURRENT, words, WORDS),
        -ENODEV);
}

static void cells_count_exactly_the_sectors_of_a_write(void **state)
{
    for (uint64_t start = 0; start < 40; start++)
        for (uint64_t end = start + 1; end <= 48; end++) {
            unsigned sectors = 0;

            for (uint64_t granule = start / 8; granule <= (end - 1) / 8; granule++) {
                uint64_t ones = hf_capture_cell_ones(granule, start, end);

                assert_true((ones & ~0x0101010101010101ull) == 0);
                for (unsigned i = 0; i < 8; i++) {
                    uint64_t sector = granule * 8 + i;

                    assert_int_equal(ones >> (i * 8) & 1, sector >= start && sector < end);
                }
                sectors += (unsigned)__builtin_popcountll(ones);
            }
            assert_int_equal(sectors, end - start);
        }
}

static void places_in_the_tables_are_within_bounds(void **state)
{
    for (uint64_t i = 1; i < 100000; i++) {
        assert_true(hf_capture_cell(7u << 20, i * 977) < HF_CAPTURE_CELLS);
        assert_true(hf_capture_bucket_index(i * 320 + 0xffff888000000000ull) < HF_CAPTURE_BUCKETS);
    }
    assert_int_equal(hf_capture_cell(1, 257) - hf_capture_cell(1, 256), 1); /* neighbours */
}

static void every_cause_has_a_name(void **state)
{
    for (unsigned i = 0; i < HF_CAUSE_COUNT; i++)
        assert_string_not_equal(hf_capture_cause_name(i), "unknown");
    assert_string_equal(hf_capture_cause_name(HF_CAUSE_COUNT), "unknown");
}

static void what_is_not_a_disk_has_no_identity(void **state)
{
    struct hf_disk_identity identity;

    assert_int_equal(hf_disk_identify("/dev/null", &identity), -ENOTBLK);
    assert_int_equal(hf_disk_identify("/no/such/disk", &identity), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_are_as_small_as_the_budget_allows),
        cmocka_unit_test_setup_teardown(ranges_are_widened_when_set_and_narrowed_when_cleared,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_block_ends_where_the_disk_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flag_for_everything_counts_and_can_be_cleared_in_parts,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_lies_behind_the_maps_is_not_forgotten, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(folding_keeps_every_bit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(copies_of_a_map_end_with_the_disk, set_up, tear_down),
        cmocka_unit_test(cells_count_exactly_the_sectors_of_a_write),
        cmocka_unit_test(places_in_the_tables_are_within_bounds),
        cmocka_unit_test(every_cause_has_a_name),
        cmocka_unit_test(what_is_not_a_disk_has_no_identity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
