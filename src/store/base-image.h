// SPDX-License-Identifier: Apache-2.0
/*
 * The base image of one disk: a sparse file of content, and a file of sums, one 64-bit XXH3 per 4
 * KiB block. A sum of 0 says that the block is all zeros; every other block has another sum. Both
 * files are as if they were endless: what lies behind their end is zeros.
 *
 * One thread writes; any thread and process reads. Which of content and sum is newer while a merge
 * runs or after it was cut: src/store/README.md, "reader rule".
 */
#ifndef HF_STORE_BASE_IMAGE_H
#define HF_STORE_BASE_IMAGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/store.h"

#define HF_SUM_POISON UINT64_MAX /* the block is known to be lost; no content has this sum */

struct hf_base_image {
    struct hf_io *io;     /* borrowed */
    struct hf_file *data; /* NULL: nothing was ever written (readers) */
    struct hf_file *sums;
    /* A sync may run beside writes and beside another sync (merging, a first pass): what it counts
     * as durable are the changes that had returned when it began. */
    _Atomic uint64_t changes;
    pthread_mutex_t sync_lock; /* guards synced */
    uint64_t synced;           /* so many changes are durable */
};

/* The sum of one block of HF_STORE_BLOCK bytes. Any thread. */
uint64_t hf_base_sum(const void *block);

/* Opens the image; a writer's files are made when absent, a reader's may be missing. */
int hf_base_open(struct hf_io *io, const struct hf_id *machine, uint16_t disk, bool writable,
                 struct hf_base_image *ret_base);
void hf_base_close(struct hf_base_image *base); /* NULL-safe, idempotent */

/* Content and sums of blocks [first, first + count), unverified. Content before sums: the reader
 * rule depends on it. */
int hf_base_read(struct hf_base_image *base, uint64_t first, uint32_t count, void *content);
int hf_base_read_sums(struct hf_base_image *base, uint64_t first, uint32_t count,
                      uint64_t *ret_sums);

int hf_base_write_sums(struct hf_base_image *base, uint64_t first, uint32_t count,
                       const uint64_t *sums);
/* Content of blocks; those with sum 0 become holes instead. */
int hf_base_write(struct hf_base_image *base, uint64_t first, uint32_t count, const void *content,
                  const uint64_t *sums);
int hf_base_sync_sums(struct hf_base_image *base);
int hf_base_sync(struct hf_base_image *base); /* both */
/* Throws everything away (before a first pass begins anew). */
int hf_base_reset(struct hf_base_image *base);

/* Whether blocks [first, first + count) are holes of both files. */
bool hf_base_is_hole(struct hf_base_image *base, uint64_t first, uint64_t count);
/* The first block at or after `first` that may hold something; UINT64_MAX when none does. */
uint64_t hf_base_next_data(struct hf_base_image *base, uint64_t first);
uint64_t hf_base_bytes(struct hf_base_image *base); /* space it takes */

#endif
