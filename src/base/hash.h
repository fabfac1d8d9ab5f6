// SPDX-License-Identifier: Apache-2.0
/*
 * Checksums. One family for everything: XXH3 (xxHash 0.8, doc/xxhash_spec.md). 64 bits guard a
 * piece of data against damage, 128 bits name the content of a block and chain the digest of a
 * stream. Not cryptographic: the seed is a per-disk secret where an adversary could otherwise
 * prepare collisions.
 */
#ifndef HF_BASE_HASH_H
#define HF_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hf_hash128 {
    uint8_t bytes[16]; /* canonical (big-endian) form of XXH3-128 */
};

/* XXH3-64 of size bytes. Any thread. */
uint64_t hf_hash64(const void *data, size_t size);

/* XXH3-64 continued: the hash of data with `seed` mixed in; chains a header to what went before.
 * Any thread. */
uint64_t hf_hash64_seeded(const void *data, size_t size, uint64_t seed);

/* XXH3-128 of size bytes under a seed (0: none). Any thread. */
struct hf_hash128 hf_hash128(const void *data, size_t size, uint64_t seed);

/* 0 when equal. Any thread. */
int hf_hash128_compare(const struct hf_hash128 *a, const struct hf_hash128 *b);

#endif
