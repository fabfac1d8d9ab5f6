// SPDX-License-Identifier: Apache-2.0
/* What the files that open a journal share; readers use some of it. Private to src/journal. */
#ifndef HF_JOURNAL_RECOVER_INTERNAL_H
#define HF_JOURNAL_RECOVER_INTERNAL_H

#include "journal/journal-internal.h"

struct hf_numbers {
    uint64_t *numbers; /* rising */
    size_t count;
};

/* Which segment and index files a directory holds. Done with hf_journal_listing_done, whatever
 * listing returned. */
struct hf_journal_listing {
    struct hf_numbers segments;
    struct hf_numbers indexes;
};
int hf_journal_list(struct hf_io *io, const char *path, struct hf_journal_listing *ret_listing);
void hf_journal_listing_done(struct hf_journal_listing *listing);
bool hf_numbers_has(const struct hf_numbers *numbers, uint64_t number);

/* Opens the index file of a segment. -ENOENT, HF_ECORRUPT, HF_EVERSION. */
int hf_index_open_number(struct hf_io *io, const char *directory, uint64_t number,
                         struct hf_page_cache *cache, struct hf_index *ret_index);
int hf_index_damage_each(const struct hf_index *index,
                         int (*each)(void *context, const struct hf_journal_damage *damage),
                         void *context);

struct hf_recover {
    struct hf_journal *journal;
    struct hf_journal_recovery result;
    struct hf_numbers bare; /* segments without a usable index */
    bool segment_damaged;   /* the one at hand */
    bool state_lost;
};

/* ---- recover-bare.c ---- */
/* Walks, seals and indexes one segment that has no index. */
int hf_recover_bare(struct hf_recover *recover, uint64_t number);

/* ---- recover-order.c ---- */
/* With all segments known: what is missing between them, and where each lane goes on. */
int hf_recover_order(struct hf_recover *recover);

#endif
