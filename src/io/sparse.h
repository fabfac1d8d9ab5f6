// SPDX-License-Identifier: Apache-2.0
/* Content of a file in memory: what was never written takes no room and reads as zeros. It has no
 * size of its own. One thread at a time. */
#ifndef HF_IO_SPARSE_H
#define HF_IO_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF_SPARSE_CHUNK_BYTES ((uint64_t)16 * 1024)
#define HF_SPARSE_SIZE_MAX ((uint64_t)1 << 46) /* 64 TiB */

struct hf_sparse_leaf;

/* Zero-initialised is empty. */
struct hf_sparse {
    struct hf_sparse_leaf **leaves;
    size_t leaf_count;
    uint64_t chunk_count;
};

void hf_sparse_clear(struct hf_sparse *sparse); /* empty again; NULL-safe */
void hf_sparse_read(const struct hf_sparse *sparse, void *data, size_t size, uint64_t offset);
/* -ENOMEM or -EFBIG: nothing was written. */
int hf_sparse_write(struct hf_sparse *sparse, const void *data, size_t size, uint64_t offset);
/* Never fails; whole chunks are given back. */
void hf_sparse_zero(struct hf_sparse *sparse, uint64_t offset, uint64_t length);
/* The first run of chunks at or after `from` that hold something; false when none. */
bool hf_sparse_next(const struct hf_sparse *sparse, uint64_t from, uint64_t *ret_offset,
                    uint64_t *ret_length);
/* Makes target equal to source. -ENOMEM: target is then empty. */
int hf_sparse_copy(struct hf_sparse *target, const struct hf_sparse *source);
uint64_t hf_sparse_bytes(const struct hf_sparse *sparse);

#endif
