// SPDX-License-Identifier: Apache-2.0
/*
 * The scratch overlay of one disk of a view: 4 KiB blocks in the order they were first written, in
 * a file that is thrown away. The map from block to place lies in memory. Not thread-safe (the view
 * locks).
 */
#ifndef HF_STORE_OVERLAY_H
#define HF_STORE_OVERLAY_H

#include "io/io.h"

struct hf_overlay; /* opaque */

enum hf_overlay_block { HF_OVERLAY_NONE, HF_OVERLAY_ZERO, HF_OVERLAY_DATA };

/* What all overlays of one view may take together. */
struct hf_overlay_quota {
    uint64_t bytes_max;
    uint64_t bytes;
};

/* io, quota: borrowed. path: made, and unlinked again when freed. size: of the disk. */
int hf_overlay_new(struct hf_io *io, const char *path, uint64_t size_bytes,
                   struct hf_overlay_quota *quota, struct hf_overlay **ret_overlay);
void hf_overlay_free(struct hf_overlay *overlay); /* NULL-safe */
enum hf_overlay_block hf_overlay_look(const struct hf_overlay *overlay, uint64_t block);
/* A block that is there. */
int hf_overlay_read(struct hf_overlay *overlay, uint64_t block, void *content);
/* -HF_EQUOTA: no room; the block is unchanged. */
int hf_overlay_write(struct hf_overlay *overlay, uint64_t block, const void *content);
int hf_overlay_zero(struct hf_overlay *overlay, uint64_t block);

#endif
