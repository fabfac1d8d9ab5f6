// SPDX-License-Identifier: Apache-2.0
/* A bounded cache of verified index pages, shared by all the segments of one reader. One thread.
 * Private to src/journal. */
#ifndef HF_JOURNAL_PAGE_CACHE_H
#define HF_JOURNAL_PAGE_CACHE_H

#include <stddef.h>
#include <stdint.h>

struct hf_page_cache; /* opaque */

/* Never holds more than size_bytes of pages; memory is taken as pages come. -ENOMEM. */
int hf_page_cache_new(size_t size_bytes, struct hf_page_cache **ret_cache);
void hf_page_cache_free(struct hf_page_cache *cache); /* NULL-safe */

/* The page, borrowed until the next insert, or NULL. */
const void *hf_page_cache_find(struct hf_page_cache *cache, uint64_t key, uint32_t page_number);
/* Copies the page in, over the one of its set that was used longest ago. A lack of memory is not an
 * error: the page is then not kept. */
void hf_page_cache_insert(struct hf_page_cache *cache, uint64_t key, uint32_t page_number,
                          const void *page);
/* A key that was never given before. */
uint64_t hf_page_cache_key(struct hf_page_cache *cache);

#endif
