// SPDX-License-Identifier: Apache-2.0
#include "base/test-support.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash-internal.h"
#include "base/hash.h"

/* Values that the specification's reference code gives: they name data on disks and must never
 * change. */
static void the_values_are_those_of_xxh3(void **state)
{
    static const uint8_t empty128[16] = {0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
                                         0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f};
    struct hf_hash128 hash = hf_hash128("", 0, 0);

    assert_int_equal(hf_hash64("", 0), 0x2d06800538d394c2);
    assert_memory_equal(hash.bytes, empty128, sizeof(empty128));
}

static void a_seed_changes_the_value_and_zero_is_no_seed(void **state)
{
    const char *text = "holdfast";

    assert_int_equal(hf_hash64_seeded(text, 8, 0), hf_hash64(text, 8));
    assert_int_not_equal(hf_hash64_seeded(text, 8, 1), hf_hash64(text, 8));
}

static void comparing_tells_equal_from_different(void **state)
{
    struct hf_hash128 a = hf_hash128("a", 1, 0), b = hf_hash128("b", 1, 0);
    struct hf_hash128 seeded = hf_hash128("a", 1, 9), again = hf_hash128("a", 1, 0);

    assert_int_equal(hf_hash128_compare(&a, &again), 0);
    assert_int_not_equal(hf_hash128_compare(&a, &b), 0);
    assert_int_not_equal(hf_hash128_compare(&a, &seeded), 0);
}

static void every_variant_gives_the_same_values(void **state)
{
#ifdef __x86_64__
    struct hf_random_seeded seeded;
    uint8_t *data;

    if (!__builtin_cpu_supports("avx2")) {
        print_message("no AVX2 on this processor: nothing to compare\n");
        skip();
    }
    data = malloc(70000);
    assert_non_null(data);
    hf_random_seeded_init(&seeded, 3);
    assert_int_equal(seeded.random.ops->fill(&seeded.random, data, 70000), 0);
    for (size_t size = 0; size < 70000; size += 1 + size / 9) {
        struct hf_hash128 a = hf_hash_baseline.hash128(data, size, size);
        struct hf_hash128 b = hf_hash_avx2.hash128(data, size, size);
        struct hf_hash128 chosen = hf_hash128(data, size, size);

        assert_int_equal(hf_hash_baseline.hash64(data, size, size),
                         hf_hash_avx2.hash64(data, size, size));
        assert_int_equal(hf_hash_baseline.hash64(data, size, size),
                         hf_hash64_seeded(data, size, size));
        assert_int_equal(hf_hash128_compare(&a, &b), 0);
        assert_int_equal(hf_hash128_compare(&a, &chosen), 0);
    }
    free(data);
#else
    assert_non_null(hf_hash_baseline.hash64);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_values_are_those_of_xxh3),
        cmocka_unit_test(a_seed_changes_the_value_and_zero_is_no_seed),
        cmocka_unit_test(comparing_tells_equal_from_different),
        cmocka_unit_test(every_variant_gives_the_same_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
