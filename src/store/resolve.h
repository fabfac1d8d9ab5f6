// SPDX-License-Identifier: Apache-2.0
/*
 * Resolves content: base image with the journal painted over it, up to a position. Views, the
 * newest state's hashes and merging itself read through this one thing. Everything that comes out
 * was verified, either by a frame's checksum or by a block's sum.
 */
#ifndef HF_STORE_RESOLVE_H
#define HF_STORE_RESOLVE_H

#include <pthread.h>

#include "journal/reader.h"
#include "store/base-image.h"
#include "store/frame-cache.h"
#include "store/store-internal.h"

#define HF_RESOLVE_BLOCKS_MAX 256u /* blocks of HF_STORE_BLOCK in one call: 1 MiB */
#define HF_SECTORS_PER_BLOCK (HF_STORE_BLOCK / HF_SECTOR)
#define HF_SETTLE_ATTEMPTS 64u /* re-reads of a block that a merge is changing ... */
#define HF_SETTLE_PAUSE_NS (5 * HF_NS_PER_MS)

struct hf_resolver {
    struct hf_store *store; /* borrowed */
    pthread_mutex_t lock;   /* guards reader and cache; taken last, held for one journal call */
    struct hf_journal_reader *reader; /* owned */
    struct hf_frame_cache cache;
    struct hf_base_image *bases[HF_DISKS_MAX]; /* borrowed; NULL: empty */
    uint64_t from[HF_DISKS_MAX];               /* what the base images hold at least */
    /* Up to where a merge may have changed the base images by now. */
    uint64_t (*merge_floor)(void *context);
    void *context;
};

/* Takes the reader over (also when it fails). Fill bases, from, merge_floor before reading. */
int hf_resolver_init(struct hf_resolver *resolver, struct hf_store *store,
                     struct hf_journal_reader *reader);
void hf_resolver_done(struct hf_resolver *resolver); /* NULL-safe on a zeroed struct */
int hf_resolver_refresh(struct hf_resolver *resolver);

/*
 * Whether the reader sees everything up to `durable`, as it was before the refresh. After a write
 * of the journal failed, readers may see less than is durable for a while: enough for a view, which
 * then ends earlier, but nothing may be merged or hashed by it. 0, -EAGAIN, or an error of reading.
 */
int hf_resolver_covers(struct hf_resolver *resolver, const struct hf_journal_progress *durable);

/* What is wanted of blocks, and what was found. */
struct hf_resolve {
    uint16_t disk;
    uint64_t first; /* block */
    uint32_t count; /* at most HF_RESOLVE_BLOCKS_MAX */
    uint64_t position;
    bool touched_only; /* leave blocks alone that the journal says nothing of */
    bool *touched;     /* count entries; may be NULL */
    int *errors;       /* per block: 0 or why it cannot be had; NULL: the first error ends it */
    uint8_t *content;  /* count * HF_STORE_BLOCK bytes */
};
/* Any thread. 0, -HF_ECORRUPT, -EIO, -ENOMEM. */
int hf_resolve_blocks(struct hf_resolver *resolver, const struct hf_resolve *what);

/* Byte-granular, any length; no bounds are checked. Any thread. */
int hf_resolve_read(struct hf_resolver *resolver, uint16_t disk, uint64_t position, uint64_t offset,
                    void *data, size_t length);

/* Whether the journal has nothing at all in a range and the base image nothing but holes. false
 * when unsure. Any thread. */
bool hf_resolve_is_untouched(struct hf_resolver *resolver, uint16_t disk, uint64_t position,
                             uint64_t first, uint64_t count);

/* Which blocks certainly read as zeros. hole: count entries. Any thread. */
int hf_resolve_holes(struct hf_resolver *resolver, uint16_t disk, uint64_t position, uint64_t first,
                     uint32_t count, bool *hole);

#endif
