// SPDX-License-Identifier: Apache-2.0
/*
 * Interval map: [offset, offset + length) → (value, value_offset). Setting a range replaces what it
 * covers, splitting neighbours; value_offset says how far into the value a split piece begins. A
 * balanced tree (treap, Seidel & Aragon 1996, seeded by the keys so that equal input gives an equal
 * tree). One thread.
 */
#ifndef HF_BASE_EXTENT_MAP_H
#define HF_BASE_EXTENT_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hf_extent_map; /* opaque */

struct hf_extent {
    uint64_t offset;
    uint64_t length;
    uint64_t value;
    uint64_t value_offset; /* bytes into the value's own range at which this piece begins */
};

int hf_extent_map_new(struct hf_extent_map **ret_map); /* -ENOMEM */
void hf_extent_map_free(struct hf_extent_map *map);    /* NULL-safe */
/* length > 0 and offset + length < 2^64, else -EINVAL. -ENOMEM: the map is unchanged. An extent
 * takes 48 bytes; how many there may be is the caller's to limit. */
int hf_extent_map_set(struct hf_extent_map *map, uint64_t offset, uint64_t length, uint64_t value);
int hf_extent_map_remove(struct hf_extent_map *map, uint64_t offset, uint64_t length);
/* The first extent that ends after `offset` (clipped to begin at `offset`); false when none. */
bool hf_extent_map_find(const struct hf_extent_map *map, uint64_t offset,
                        struct hf_extent *ret_extent);
size_t hf_extent_map_count(const struct hf_extent_map *map);

#endif
