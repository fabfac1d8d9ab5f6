// SPDX-License-Identifier: Apache-2.0
#include "io/sparse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define LEAF_CHUNKS 1024
#define CHUNK HF_SPARSE_CHUNK_BYTES

struct hf_sparse_leaf {
    uint8_t *chunks[LEAF_CHUNKS];
};

static uint8_t *chunk_at(const struct hf_sparse *sparse, uint64_t index)
{
    uint64_t leaf = index / LEAF_CHUNKS;

    if (leaf >= sparse->leaf_count || !sparse->leaves[leaf])
        return NULL;
    return sparse->leaves[leaf]->chunks[index % LEAF_CHUNKS];
}

static int leaf_make(struct hf_sparse *sparse, uint64_t leaf)
{
    if (leaf >= sparse->leaf_count) {
        size_t count = HF_MAX(leaf + 1, (uint64_t)sparse->leaf_count * 2);
        struct hf_sparse_leaf **leaves = reallocarray(sparse->leaves, count, sizeof(*leaves));

        if (!leaves)
            return -ENOMEM;
        memset(leaves + sparse->leaf_count, 0, (count - sparse->leaf_count) * sizeof(*leaves));
        sparse->leaves = leaves;
        sparse->leaf_count = count;
    }
    if (!sparse->leaves[leaf])
        sparse->leaves[leaf] = calloc(1, sizeof(*sparse->leaves[leaf]));
    return sparse->leaves[leaf] ? 0 : -ENOMEM;
}

static int chunk_make(struct hf_sparse *sparse, uint64_t index)
{
    uint8_t **slot;

    if (chunk_at(sparse, index))
        return 0;
    if (leaf_make(sparse, index / LEAF_CHUNKS) != 0)
        return -ENOMEM;
    slot = &sparse->leaves[index / LEAF_CHUNKS]->chunks[index % LEAF_CHUNKS];
    *slot = calloc(1, CHUNK);
    if (!*slot)
        return -ENOMEM;
    sparse->chunk_count++;
    return 0;
}

static void chunk_drop(struct hf_sparse *sparse, uint64_t index)
{
    uint8_t **slot;

    if (!chunk_at(sparse, index))
        return;
    slot = &sparse->leaves[index / LEAF_CHUNKS]->chunks[index % LEAF_CHUNKS];
    free(*slot);
    *slot = NULL;
    sparse->chunk_count--;
}

void hf_sparse_clear(struct hf_sparse *sparse)
{
    if (!sparse)
        return;
    for (size_t i = 0; i < sparse->leaf_count; i++) {
        if (!sparse->leaves[i])
            continue;
        for (size_t j = 0; j < LEAF_CHUNKS; j++)
            free(sparse->leaves[i]->chunks[j]);
        free(sparse->leaves[i]);
    }
    free(sparse->leaves);
    *sparse = (struct hf_sparse){0};
}

/* How much of a range lies in the chunk of its first byte. */
static size_t part_in_chunk(uint64_t offset, uint64_t length)
{
    return HF_MIN(length, CHUNK - offset % CHUNK);
}

void hf_sparse_read(const struct hf_sparse *sparse, void *data, size_t size, uint64_t offset)
{
    uint8_t *target = data;

    while (size > 0) {
        const uint8_t *chunk = chunk_at(sparse, offset / CHUNK);
        size_t part = part_in_chunk(offset, size);

        if (chunk)
            memcpy(target, chunk + offset % CHUNK, part);
        else
            memset(target, 0, part);
        target += part;
        offset += part;
        size -= part;
    }
}

int hf_sparse_write(struct hf_sparse *sparse, const void *data, size_t size, uint64_t offset)
{
    const uint8_t *source = data;

    if (size > HF_SPARSE_SIZE_MAX || offset > HF_SPARSE_SIZE_MAX - size)
        return -EFBIG;
    for (uint64_t i = offset / CHUNK; size > 0 && i <= (offset + size - 1) / CHUNK; i++)
        if (chunk_make(sparse, i) != 0)
            return -ENOMEM;
    while (size > 0) {
        size_t part = part_in_chunk(offset, size);

        memcpy(chunk_at(sparse, offset / CHUNK) + offset % CHUNK, source, part);
        source += part;
        offset += part;
        size -= part;
    }
    return 0;
}

void hf_sparse_zero(struct hf_sparse *sparse, uint64_t offset, uint64_t length)
{
    uint64_t end_max = (uint64_t)sparse->leaf_count * LEAF_CHUNKS * CHUNK;
    uint64_t end = length > UINT64_MAX - offset ? end_max : HF_MIN(offset + length, end_max);

    while (offset < end) {
        size_t part = part_in_chunk(offset, end - offset);
        uint8_t *chunk = chunk_at(sparse, offset / CHUNK);

        if (part == CHUNK)
            chunk_drop(sparse, offset / CHUNK);
        else if (chunk)
            memset(chunk + offset % CHUNK, 0, part);
        offset += part;
    }
}

static uint64_t next_chunk(const struct hf_sparse *sparse, uint64_t index, bool present)
{
    uint64_t count = (uint64_t)sparse->leaf_count * LEAF_CHUNKS;

    while (index < count && (chunk_at(sparse, index) != NULL) != present) {
        if (present && !sparse->leaves[index / LEAF_CHUNKS])
            index = (index / LEAF_CHUNKS + 1) * LEAF_CHUNKS;
        else
            index++;
    }
    return HF_MIN(index, count);
}

bool hf_sparse_next(const struct hf_sparse *sparse, uint64_t from, uint64_t *ret_offset,
                    uint64_t *ret_length)
{
    uint64_t count = (uint64_t)sparse->leaf_count * LEAF_CHUNKS;
    uint64_t first = next_chunk(sparse, from / CHUNK, true), end;

    if (first >= count)
        return false;
    end = next_chunk(sparse, first, false);
    *ret_offset = HF_MAX(from, first * CHUNK);
    *ret_length = end * CHUNK - *ret_offset;
    return true;
}

int hf_sparse_copy(struct hf_sparse *target, const struct hf_sparse *source)
{
    uint64_t count = (uint64_t)source->leaf_count * LEAF_CHUNKS;

    hf_sparse_clear(target);
    for (uint64_t i = next_chunk(source, 0, true); i < count; i = next_chunk(source, i + 1, true)) {
        if (hf_sparse_write(target, chunk_at(source, i), CHUNK, i * CHUNK) != 0) {
            hf_sparse_clear(target);
            return -ENOMEM;
        }
    }
    return 0;
}

uint64_t hf_sparse_bytes(const struct hf_sparse *sparse)
{
    return sparse->chunk_count * CHUNK;
}
