// SPDX-License-Identifier: Apache-2.0
/*
 * Set-associative, as a processor's cache: a page can lie in WAYS places only, so that finding,
 * replacing and bounding need no lists. Within a set the one used longest ago goes.
 */
#include "journal/page-cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "journal/format.h"

#define CACHE_WAYS 8u

struct cache_slot {
    uint64_t key; /* 0: empty */
    uint32_t page_number;
    uint64_t used; /* tick of the last use */
    uint8_t *page; /* allocated once, kept */
};

struct hf_page_cache {
    struct cache_slot *slots;
    size_t set_count;
    uint64_t tick;
    uint64_t key_last;
};

int hf_page_cache_new(size_t size_bytes, struct hf_page_cache **ret_cache)
{
    struct hf_page_cache *cache = calloc(1, sizeof(*cache));

    if (!cache)
        return -ENOMEM;
    cache->set_count = HF_MAX(size_bytes / HF_PAGE_BYTES / CACHE_WAYS, (size_t)1);
    cache->slots = calloc(cache->set_count * CACHE_WAYS, sizeof(*cache->slots));
    if (!cache->slots) {
        free(cache);
        return -ENOMEM;
    }
    *ret_cache = cache;
    return 0;
}

void hf_page_cache_free(struct hf_page_cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < cache->set_count * CACHE_WAYS; i++)
        free(cache->slots[i].page);
    free(cache->slots);
    free(cache);
}

uint64_t hf_page_cache_key(struct hf_page_cache *cache)
{
    return ++cache->key_last;
}

static struct cache_slot *cache_set(struct hf_page_cache *cache, uint64_t key, uint32_t page_number)
{
    uint64_t mixed = (key << 20 ^ page_number) * 0x9e3779b97f4a7c15ull;

    return cache->slots + (mixed >> 24) % cache->set_count * CACHE_WAYS;
}

const void *hf_page_cache_find(struct hf_page_cache *cache, uint64_t key, uint32_t page_number)
{
    struct cache_slot *set = cache_set(cache, key, page_number);

    for (size_t i = 0; i < CACHE_WAYS; i++) {
        if (set[i].key == key && set[i].page_number == page_number) {
            set[i].used = ++cache->tick;
            return set[i].page;
        }
    }
    return NULL;
}

void hf_page_cache_insert(struct hf_page_cache *cache, uint64_t key, uint32_t page_number,
                          const void *page)
{
    struct cache_slot *set = cache_set(cache, key, page_number);
    struct cache_slot *oldest = set;

    for (size_t i = 1; i < CACHE_WAYS; i++)
        if (set[i].used < oldest->used)
            oldest = &set[i];
    if (!oldest->page)
        oldest->page = malloc(HF_PAGE_BYTES);
    if (!oldest->page)
        return;
    memcpy(oldest->page, page, HF_PAGE_BYTES);
    oldest->key = key;
    oldest->page_number = page_number;
    oldest->used = ++cache->tick;
}
