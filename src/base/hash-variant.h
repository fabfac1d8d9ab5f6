// SPDX-License-Identifier: Apache-2.0
/* The body of hash.c and hash-avx2.c. All of xxHash is static here (XXH_INLINE_ALL), so code made
 * for AVX2 cannot leak into the baseline through the linker. */
#ifndef HF_BASE_HASH_VARIANT_H
#define HF_BASE_HASH_VARIANT_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/hash-internal.h"

static uint64_t variant_hash64(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

static struct hf_hash128 variant_hash128(const void *data, size_t size, uint64_t seed)
{
    struct hf_hash128 hash;
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(data, size, seed));
    _Static_assert(sizeof(hash) == sizeof(canonical), "both are 128 bits");
    memcpy(&hash, &canonical, sizeof(hash));
    return hash;
}

#endif
