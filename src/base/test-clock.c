// SPDX-License-Identifier: Apache-2.0
#include "base/test-support.h"

#include <string.h>

#include "base/base.h"
#include "base/clock.h"

static void the_system_clock_never_runs_backwards_and_sleeps(void **state)
{
    struct hf_clock *clock = hf_clock_system();
    uint64_t before = clock->ops->boot_ns(clock);

    clock->ops->sleep_ns(clock, 2 * HF_NS_PER_MS);
    assert_true(clock->ops->boot_ns(clock) >= before + 2 * HF_NS_PER_MS);
    assert_true(clock->ops->wall_ns(clock) > (int64_t)(HF_NS_PER_S * 1600000000));
}

static void the_manual_clock_moves_only_by_sleep(void **state)
{
    struct hf_clock_manual manual;
    struct hf_clock *clock = &manual.clock;

    hf_clock_manual_init(&manual, 1000, -5);
    assert_int_equal(clock->ops->boot_ns(clock), 1000);
    assert_int_equal(clock->ops->boot_ns(clock), 1000);
    clock->ops->sleep_ns(clock, 7);
    assert_int_equal(clock->ops->boot_ns(clock), 1007);
    assert_int_equal(clock->ops->wall_ns(clock), 2);
}

static void the_seeded_generator_repeats_and_seeds_differ(void **state)
{
    struct hf_random_seeded a, b, c;
    uint8_t bytes_a[13], bytes_b[13], bytes_c[13];

    hf_random_seeded_init(&a, 1);
    hf_random_seeded_init(&b, 1);
    hf_random_seeded_init(&c, 2);
    for (int i = 0; i < 100; i++)
        assert_int_equal(hf_random_seeded_next(&a), hf_random_seeded_next(&b));
    assert_int_equal(a.random.ops->fill(&a.random, bytes_a, sizeof(bytes_a)), 0);
    assert_int_equal(b.random.ops->fill(&b.random, bytes_b, sizeof(bytes_b)), 0);
    assert_int_equal(c.random.ops->fill(&c.random, bytes_c, sizeof(bytes_c)), 0);
    assert_memory_equal(bytes_a, bytes_b, sizeof(bytes_a));
    assert_memory_not_equal(bytes_a, bytes_c, sizeof(bytes_a));
}

/* First outputs of xoshiro256** for the state 1, 2, 3, 4, worked out from the published
 * recurrence. */
static void the_generator_is_xoshiro256_star_star(void **state)
{
    struct hf_random_seeded seeded = {.state = {1, 2, 3, 4}};

    assert_int_equal(hf_random_seeded_next(&seeded), 11520);
    assert_int_equal(hf_random_seeded_next(&seeded), 0);
    assert_int_equal(hf_random_seeded_next(&seeded), 1509978240);
    assert_int_equal(hf_random_seeded_next(&seeded), 1215971899390074240);
}

static void the_system_source_fills_everything(void **state)
{
    uint8_t a[1000] = {0}, b[1000] = {0};
    struct hf_random *random = hf_random_system();

    assert_int_equal(random->ops->fill(random, a, sizeof(a)), 0);
    assert_int_equal(random->ops->fill(random, b, sizeof(b)), 0);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a + 900, b + 900, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_system_clock_never_runs_backwards_and_sleeps),
        cmocka_unit_test(the_manual_clock_moves_only_by_sleep),
        cmocka_unit_test(the_seeded_generator_repeats_and_seeds_differ),
        cmocka_unit_test(the_generator_is_xoshiro256_star_star),
        cmocka_unit_test(the_system_source_fills_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
