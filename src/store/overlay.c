// SPDX-License-Identifier: Apache-2.0
#include "store/overlay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/store-internal.h"

#define LEAF_ENTRIES 1024u
#define ENTRY_ZERO 1u  /* reads as zeros, takes no room */
#define ENTRY_FIRST 2u /* + slot in the file */

struct hf_overlay {
    struct hf_io *io;
    struct hf_file *file;
    char path[HF_IO_PATH_MAX];
    struct hf_overlay_quota *quota;
    uint32_t **leafs;
    uint64_t leaf_count;
    uint32_t slots; /* taken in the file */
};

int hf_overlay_new(struct hf_io *io, const char *path, uint64_t size_bytes,
                   struct hf_overlay_quota *quota, struct hf_overlay **ret_overlay)
{
    struct hf_overlay *overlay = calloc(1, sizeof(*overlay));
    uint64_t blocks = HF_ALIGN_UP(size_bytes, HF_STORE_BLOCK) / HF_STORE_BLOCK;
    int r = -ENOMEM;

    if (overlay == NULL)
        return -ENOMEM;
    overlay->io = io;
    overlay->quota = quota;
    overlay->leaf_count = blocks / LEAF_ENTRIES + 1;
    snprintf(overlay->path, sizeof(overlay->path), "%s", path);
    overlay->leafs = calloc(overlay->leaf_count, sizeof(*overlay->leafs));
    if (overlay->leafs != NULL)
        r = hf_io_open(io, path, HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE | HF_OPEN_EXCLUSIVE,
                       &overlay->file);
    if (r < 0) {
        hf_overlay_free(overlay);
        return r;
    }
    *ret_overlay = overlay;
    return 0;
}

void hf_overlay_free(struct hf_overlay *overlay)
{
    if (overlay == NULL)
        return;
    if (overlay->file != NULL) {
        hf_io_unlink(overlay->io, overlay->path);
        hf_io_close(overlay->file);
    }
    for (uint64_t i = 0; overlay->leafs != NULL && i < overlay->leaf_count; i++)
        free(overlay->leafs[i]);
    free(overlay->leafs);
    free(overlay);
}

static uint32_t entry_of(const struct hf_overlay *overlay, uint64_t block)
{
    const uint32_t *leaf;

    HF_ASSERT(block / LEAF_ENTRIES < overlay->leaf_count);
    leaf = overlay->leafs[block / LEAF_ENTRIES];
    return leaf == NULL ? 0 : leaf[block % LEAF_ENTRIES];
}

enum hf_overlay_block hf_overlay_look(const struct hf_overlay *overlay, uint64_t block)
{
    uint32_t entry = entry_of(overlay, block);

    if (entry == 0)
        return HF_OVERLAY_NONE;
    return entry == ENTRY_ZERO ? HF_OVERLAY_ZERO : HF_OVERLAY_DATA;
}

int hf_overlay_read(struct hf_overlay *overlay, uint64_t block, void *content)
{
    uint32_t entry = entry_of(overlay, block);

    HF_ASSERT(entry != 0);
    if (entry == ENTRY_ZERO) {
        memset(content, 0, HF_STORE_BLOCK);
        return 0;
    }
    return hf_io_read_full(overlay->file, content, HF_STORE_BLOCK,
                           (uint64_t)(entry - ENTRY_FIRST) * HF_STORE_BLOCK);
}

static int entry_room(struct hf_overlay *overlay, uint64_t block, uint32_t **ret_entry)
{
    uint32_t **leaf = &overlay->leafs[block / LEAF_ENTRIES];

    HF_ASSERT(block / LEAF_ENTRIES < overlay->leaf_count);
    if (*leaf == NULL)
        *leaf = calloc(LEAF_ENTRIES, sizeof(**leaf));
    if (*leaf == NULL)
        return -ENOMEM;
    *ret_entry = &(*leaf)[block % LEAF_ENTRIES];
    return 0;
}

int hf_overlay_write(struct hf_overlay *overlay, uint64_t block, const void *content)
{
    uint32_t *entry;
    uint32_t slot;
    int r = entry_room(overlay, block, &entry);

    if (r < 0)
        return r;
    if (*entry >= ENTRY_FIRST)
        return hf_io_write(overlay->file, content, HF_STORE_BLOCK,
                           (uint64_t)(*entry - ENTRY_FIRST) * HF_STORE_BLOCK);
    if (overlay->quota->bytes + HF_STORE_BLOCK > overlay->quota->bytes_max ||
        overlay->slots >= UINT32_MAX - ENTRY_FIRST)
        return -HF_EQUOTA;
    slot = overlay->slots;
    r = hf_io_write(overlay->file, content, HF_STORE_BLOCK, (uint64_t)slot * HF_STORE_BLOCK);
    if (r < 0)
        return r;
    overlay->slots++;
    overlay->quota->bytes += HF_STORE_BLOCK;
    *entry = slot + ENTRY_FIRST;
    return 0;
}

/* A block that has a place keeps it: zeros are written there, so that room is never lost twice. */
int hf_overlay_zero(struct hf_overlay *overlay, uint64_t block)
{
    static const uint8_t zeros[HF_STORE_BLOCK];
    uint32_t *entry;
    int r = entry_room(overlay, block, &entry);

    if (r < 0)
        return r;
    if (*entry >= ENTRY_FIRST)
        return hf_overlay_write(overlay, block, zeros);
    *entry = ENTRY_ZERO;
    return 0;
}
