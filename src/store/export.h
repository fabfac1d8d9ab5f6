// SPDX-License-Identifier: Apache-2.0
/* Copies a disk of a view to a plain file: raw, sparse. */
#ifndef HF_STORE_EXPORT_H
#define HF_STORE_EXPORT_H

#include "store/view.h"

struct hf_export_options {
    /* Non-zero ends the export and is returned. May be NULL. total: bytes of the disk. */
    int (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes);
    void *context;
};

/*
 * Writes the disk to `path` below io's root (created; -EEXIST when there is one), synced when it
 * returns 0. After an error the file is removed: half an image is never left to be mistaken for a
 * whole one (fault 34). *ret_data_bytes (may be NULL): written, holes not counted. Blocks.
 */
int hf_view_export(struct hf_view *view, uint16_t disk, struct hf_io *io, const char *path,
                   const struct hf_export_options *options, uint64_t *ret_data_bytes);

#endif
