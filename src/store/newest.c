// SPDX-License-Identifier: Apache-2.0
#include "store/newest.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum { VALID = 1, COMPUTING = 2 };

int hf_newest_init(struct hf_newest *newest)
{
    memset(newest, 0, sizeof(*newest));
    return -pthread_mutex_init(&newest->lock, NULL);
}

static void drop_disk(struct hf_newest *newest, struct hf_newest_disk *disk)
{
    newest->kept -= disk->block_count;
    free(disk->hashes);
    free(disk->flags);
    memset(disk, 0, sizeof(*disk));
}

void hf_newest_done(struct hf_newest *newest)
{
    for (unsigned i = 0; i < HF_DISKS_MAX; i++)
        drop_disk(newest, &newest->disks[i]);
    pthread_mutex_destroy(&newest->lock);
}

static void set_size(struct hf_newest *newest, struct hf_newest_disk *disk, uint64_t block_count)
{
    if (disk->block_count == block_count)
        return;
    drop_disk(newest, disk);
    if (newest->kept + block_count > HF_NEWEST_HASHES_MAX)
        return;
    disk->hashes = calloc(block_count, sizeof(*disk->hashes));
    disk->flags = calloc(block_count, 1);
    if (disk->hashes == NULL || disk->flags == NULL) {
        free(disk->hashes);
        free(disk->flags);
        memset(disk, 0, sizeof(*disk));
        return;
    }
    disk->block_count = block_count;
    newest->kept += block_count;
}

/* The last block may be short: a change of size is a change of its content. */
void hf_newest_size(struct hf_newest *newest, uint16_t disk, uint64_t size_bytes)
{
    struct hf_newest_disk *d = &newest->disks[disk];

    pthread_mutex_lock(&newest->lock);
    set_size(newest, d, HF_ALIGN_UP(size_bytes, HF_NEWEST_BLOCK) >> HF_NEWEST_BLOCK_SHIFT);
    if (d->block_count > 0)
        d->flags[d->block_count - 1] = 0;
    pthread_mutex_unlock(&newest->lock);
}

void hf_newest_touch(struct hf_newest *newest, uint16_t disk, uint64_t offset, uint64_t length)
{
    struct hf_newest_disk *d = &newest->disks[disk];
    uint64_t first = offset >> HF_NEWEST_BLOCK_SHIFT;
    uint64_t end = HF_ALIGN_UP(offset + length, HF_NEWEST_BLOCK) >> HF_NEWEST_BLOCK_SHIFT;

    pthread_mutex_lock(&newest->lock);
    end = HF_MIN(end, d->block_count);
    if (first < end)
        memset(d->flags + first, 0, end - first);
    pthread_mutex_unlock(&newest->lock);
}

void hf_newest_put(struct hf_newest *newest, uint16_t disk, uint64_t block,
                   const struct hf_hash128 *hash)
{
    struct hf_newest_disk *d = &newest->disks[disk];

    pthread_mutex_lock(&newest->lock);
    if (block < d->block_count) {
        d->hashes[block] = *hash;
        d->flags[block] = VALID;
    }
    pthread_mutex_unlock(&newest->lock);
}

bool hf_newest_get(struct hf_newest *newest, uint16_t disk, uint64_t block,
                   struct hf_hash128 *ret_hash)
{
    struct hf_newest_disk *d = &newest->disks[disk];
    bool valid;

    pthread_mutex_lock(&newest->lock);
    valid = block < d->block_count && (d->flags[block] & VALID);
    if (valid)
        *ret_hash = d->hashes[block];
    pthread_mutex_unlock(&newest->lock);
    return valid;
}

void hf_newest_begin(struct hf_newest *newest, uint16_t disk, uint64_t block)
{
    struct hf_newest_disk *d = &newest->disks[disk];

    pthread_mutex_lock(&newest->lock);
    if (block < d->block_count)
        d->flags[block] = COMPUTING;
    pthread_mutex_unlock(&newest->lock);
}

void hf_newest_end(struct hf_newest *newest, uint16_t disk, uint64_t block,
                   const struct hf_hash128 *hash)
{
    struct hf_newest_disk *d = &newest->disks[disk];

    pthread_mutex_lock(&newest->lock);
    if (block < d->block_count && (d->flags[block] & COMPUTING)) {
        d->hashes[block] = *hash;
        d->flags[block] = VALID;
    }
    pthread_mutex_unlock(&newest->lock);
}
