// SPDX-License-Identifier: Apache-2.0
/*
 * Which 64 KiB blocks of the newest state have a known hash. A hash is valid until something of its
 * block is appended. Whoever computes one marks the block first, so that a write that comes in
 * between makes the result void. Any thread (one lock of its own, taken last).
 */
#ifndef HF_STORE_NEWEST_H
#define HF_STORE_NEWEST_H

#include <pthread.h>

#include "base/bitmap.h"
#include "base/hash.h"
#include "stream/record.h"

#define HF_NEWEST_BLOCK_SHIFT 16
#define HF_NEWEST_BLOCK (1u << HF_NEWEST_BLOCK_SHIFT)
#define HF_NEWEST_HASHES_MAX (1u << 21) /* kept in memory per machine: 32 MiB */

struct hf_newest_disk {
    uint64_t block_count;
    struct hf_hash128 *hashes;
    uint8_t *flags; /* bit 0: valid, bit 1: being computed */
};

struct hf_newest {
    pthread_mutex_t lock;
    uint64_t kept; /* hashes allocated over all disks */
    struct hf_newest_disk disks[HF_DISKS_MAX];
};

int hf_newest_init(struct hf_newest *newest);
void hf_newest_done(struct hf_newest *newest);
/* The disk has this size now. What does not fit the limit is not kept (and computed each time). */
void hf_newest_size(struct hf_newest *newest, uint16_t disk, uint64_t size_bytes);
/* Something in the range changed. */
void hf_newest_touch(struct hf_newest *newest, uint16_t disk, uint64_t offset, uint64_t length);
/* The whole block is known to hash to this. */
void hf_newest_put(struct hf_newest *newest, uint16_t disk, uint64_t block,
                   const struct hf_hash128 *hash);
bool hf_newest_get(struct hf_newest *newest, uint16_t disk, uint64_t block,
                   struct hf_hash128 *ret_hash);
/* Before reading a block, and after hashing it: kept unless touched in between. */
void hf_newest_begin(struct hf_newest *newest, uint16_t disk, uint64_t block);
void hf_newest_end(struct hf_newest *newest, uint16_t disk, uint64_t block,
                   const struct hf_hash128 *hash);

#endif
