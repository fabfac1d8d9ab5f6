// SPDX-License-Identifier: Apache-2.0
/*
 * The long-input forms of the hashes, compiled twice from hash-variant.h: for any x86-64 (SSE2)
 * and for AVX2. Which one runs is chosen once, by the processor; the values are the same.
 */
#ifndef HF_BASE_HASH_INTERNAL_H
#define HF_BASE_HASH_INTERNAL_H

#include "base/hash.h"

struct hf_hash_variant {
    uint64_t (*hash64)(const void *data, size_t size, uint64_t seed);
    struct hf_hash128 (*hash128)(const void *data, size_t size, uint64_t seed);
};

extern const struct hf_hash_variant hf_hash_baseline;
#ifdef __x86_64__
extern const struct hf_hash_variant hf_hash_avx2;
#endif

#endif
