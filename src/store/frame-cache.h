// SPDX-License-Identifier: Apache-2.0
/* Decoded frames of a journal, least recently used thrown out first, bounded. One thread (its owner
 * locks). */
#ifndef HF_STORE_FRAME_CACHE_H
#define HF_STORE_FRAME_CACHE_H

#include <stdint.h>

#include "stream/record.h"

#define HF_FRAME_CACHE_BYTES (12u << 20)
#define HF_FRAME_CACHE_ENTRIES (HF_FRAME_CACHE_BYTES / HF_FRAME_CONTENT_MAX)
#define HF_FRAME_CACHE_BUCKETS 1024u

struct hf_frame_cache_entry {
    uint64_t segment;
    uint64_t file_offset;
    uint32_t chain; /* next of the bucket, 1-based; 0: end */
    uint32_t newer; /* neighbours in order of use, 1-based */
    uint32_t older;
    uint8_t *content; /* HF_FRAME_CONTENT_MAX bytes */
};

struct hf_frame_cache {
    struct hf_frame_cache_entry entries[HF_FRAME_CACHE_ENTRIES];
    uint32_t buckets[HF_FRAME_CACHE_BUCKETS]; /* 1-based */
    uint32_t used;
    uint32_t newest; /* 1-based */
    uint32_t oldest;
};

/* A zeroed struct is an empty cache. */
void hf_frame_cache_clear(struct hf_frame_cache *cache); /* NULL-safe; empty again */
/* The content, or NULL. Borrowed until the next put. */
const void *hf_frame_cache_get(struct hf_frame_cache *cache, uint64_t segment,
                               uint64_t file_offset);
/* Room for content that is not there yet, to be filled at once; NULL without memory. */
void *hf_frame_cache_put(struct hf_frame_cache *cache, uint64_t segment, uint64_t file_offset);
/* Takes back what put gave last (its content could not be read). */
void hf_frame_cache_drop(struct hf_frame_cache *cache, uint64_t segment, uint64_t file_offset);

#endif
