// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <string.h>

#include "base/hash-variant.h"

/* Up to here XXH3 uses no vector loop, and the check for the variant would cost more than it
 * gains. */
#define SHORT_INPUT_MAX 240

const struct hf_hash_variant hf_hash_baseline = {variant_hash64, variant_hash128};

static const struct hf_hash_variant *choose_variant(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2"))
        return &hf_hash_avx2;
#endif
    return &hf_hash_baseline;
}

/* Two threads that meet here first both store the same pointer. */
static const struct hf_hash_variant *variant(void)
{
    static const struct hf_hash_variant *chosen;
    const struct hf_hash_variant *current = __atomic_load_n(&chosen, __ATOMIC_RELAXED);

    if (!current) {
        current = choose_variant();
        __atomic_store_n(&chosen, current, __ATOMIC_RELAXED);
    }
    return current;
}

uint64_t hf_hash64_seeded(const void *data, size_t size, uint64_t seed)
{
    if (size <= SHORT_INPUT_MAX)
        return variant_hash64(data, size, seed);
    return variant()->hash64(data, size, seed);
}

uint64_t hf_hash64(const void *data, size_t size)
{
    return hf_hash64_seeded(data, size, 0);
}

struct hf_hash128 hf_hash128(const void *data, size_t size, uint64_t seed)
{
    if (size <= SHORT_INPUT_MAX)
        return variant_hash128(data, size, seed);
    return variant()->hash128(data, size, seed);
}

int hf_hash128_compare(const struct hf_hash128 *a, const struct hf_hash128 *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}
