// SPDX-License-Identifier: Apache-2.0
#include "store/frame-cache.h"

#include <stdlib.h>
#include <string.h>

static uint32_t *bucket_of(struct hf_frame_cache *cache, uint64_t segment, uint64_t file_offset)
{
    uint64_t key = (segment * 0x9e3779b97f4a7c15u) ^ (file_offset * 0xff51afd7ed558ccdu);

    return &cache->buckets[(key >> 40) % HF_FRAME_CACHE_BUCKETS];
}

static struct hf_frame_cache_entry *at(struct hf_frame_cache *cache, uint32_t number)
{
    return &cache->entries[number - 1];
}

static void unlink_use(struct hf_frame_cache *cache, uint32_t number)
{
    struct hf_frame_cache_entry *entry = at(cache, number);

    if (entry->newer != 0)
        at(cache, entry->newer)->older = entry->older;
    else
        cache->newest = entry->older;
    if (entry->older != 0)
        at(cache, entry->older)->newer = entry->newer;
    else
        cache->oldest = entry->newer;
}

static void link_newest(struct hf_frame_cache *cache, uint32_t number)
{
    struct hf_frame_cache_entry *entry = at(cache, number);

    entry->newer = 0;
    entry->older = cache->newest;
    if (cache->newest != 0)
        at(cache, cache->newest)->newer = number;
    else
        cache->oldest = number;
    cache->newest = number;
}

static void link_oldest(struct hf_frame_cache *cache, uint32_t number)
{
    struct hf_frame_cache_entry *entry = at(cache, number);

    entry->older = 0;
    entry->newer = cache->oldest;
    if (cache->oldest != 0)
        at(cache, cache->oldest)->older = number;
    else
        cache->newest = number;
    cache->oldest = number;
}

static uint32_t find(struct hf_frame_cache *cache, uint64_t segment, uint64_t file_offset)
{
    uint32_t number = *bucket_of(cache, segment, file_offset);

    while (number != 0 &&
           (at(cache, number)->segment != segment || at(cache, number)->file_offset != file_offset))
        number = at(cache, number)->chain;
    return number;
}

static void unlink_bucket(struct hf_frame_cache *cache, uint32_t number)
{
    struct hf_frame_cache_entry *entry = at(cache, number);
    uint32_t *link = bucket_of(cache, entry->segment, entry->file_offset);

    while (*link != 0 && *link != number)
        link = &at(cache, *link)->chain;
    if (*link == number)
        *link = entry->chain;
}

const void *hf_frame_cache_get(struct hf_frame_cache *cache, uint64_t segment, uint64_t file_offset)
{
    uint32_t number = find(cache, segment, file_offset);

    if (number == 0)
        return NULL;
    unlink_use(cache, number);
    link_newest(cache, number);
    return at(cache, number)->content;
}

/* An entry to fill: a fresh one while there is room, else the one used longest ago. */
static uint32_t take_entry(struct hf_frame_cache *cache)
{
    uint32_t number;

    if (cache->used < HF_FRAME_CACHE_ENTRIES) {
        number = cache->used + 1;
        at(cache, number)->content = malloc(HF_FRAME_CONTENT_MAX);
        if (at(cache, number)->content != NULL) {
            cache->used++;
            return number;
        }
    }
    number = cache->oldest;
    if (number != 0) {
        unlink_use(cache, number);
        unlink_bucket(cache, number);
    }
    return number;
}

void *hf_frame_cache_put(struct hf_frame_cache *cache, uint64_t segment, uint64_t file_offset)
{
    uint32_t number = take_entry(cache);
    uint32_t *bucket;

    if (number == 0)
        return NULL;
    bucket = bucket_of(cache, segment, file_offset);
    at(cache, number)->segment = segment;
    at(cache, number)->file_offset = file_offset;
    at(cache, number)->chain = *bucket;
    *bucket = number;
    link_newest(cache, number);
    return at(cache, number)->content;
}

void hf_frame_cache_drop(struct hf_frame_cache *cache, uint64_t segment, uint64_t file_offset)
{
    uint32_t number = find(cache, segment, file_offset);

    if (number == 0)
        return;
    unlink_bucket(cache, number);
    unlink_use(cache, number);
    at(cache, number)->segment = UINT64_MAX;
    at(cache, number)->file_offset = UINT64_MAX;
    link_oldest(cache, number);
}

void hf_frame_cache_clear(struct hf_frame_cache *cache)
{
    if (cache == NULL)
        return;
    for (uint32_t i = 0; i < cache->used; i++)
        free(cache->entries[i].content);
    memset(cache, 0, sizeof(*cache));
}
