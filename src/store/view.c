// SPDX-License-Identifier: Apache-2.0
/*
 * Opening a view: lease first, manifest second, both inside the gate, so that no merge can pass the
 * position unseen. From then on nothing the writer does changes what the view reads: records at or
 * below its position stay reachable through the segments it has open, and base blocks that a merge
 * changes are covered or settled (resolve.c).
 */
#include "store/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/lease.h"
#include "store/overlay.h"
#include "store/point-internal.h"
#include "store/resolve.h"

#define OVERLAY_BYTES_DEFAULT (4 * HF_GIB)
#define EXTENT_PROBE_BLOCKS 16384u /* 64 MiB looked at in one go where nothing is */

struct view_disk {
    bool there;
    struct hf_machine_disk info;
    struct hf_base_image base;
    struct hf_overlay *overlay;
    pthread_rwlock_t lock; /* guards overlay; taken before the resolver's */
};

struct hf_view {
    struct hf_store *store;
    struct hf_id machine;
    struct hf_view_options options;
    struct hf_lease lease;
    uint64_t base_at;
    struct hf_resolver resolver;
    struct view_disk disks[HF_DISKS_MAX];
    struct hf_io *memory_io; /* owned, for an overlay in memory */
    struct hf_overlay_quota quota;
};

/* ---- Opening ---- */

static bool is_readonly_error(int error)
{
    return error == -EROFS || error == -EACCES || error == -EPERM;
}

static int take_lease(struct hf_view *view)
{
    struct hf_file *gate = NULL;
    int r = hf_gate_enter(view->store, &view->machine, HF_LOCK_SHARED, &gate);

    if (r == 0)
        r = hf_lease_take(view->store, &view->machine, view->options.position, &view->lease);
    if (is_readonly_error(r))
        r = hf_lease_take_readonly(view->store, &view->machine, &view->lease);
    hf_gate_leave(gate);
    return r;
}

static uint64_t merge_floor(void *context)
{
    struct hf_view *view = context;
    struct hf_manifest *manifest = calloc(1, sizeof(*manifest));
    uint64_t floor = view->base_at;

    if (manifest != NULL && hf_manifest_read(view->store->io, &view->machine, manifest) == 0) {
        floor = HF_MIN(manifest->oldest_openable, view->options.position);
        hf_manifest_clear(manifest);
    }
    free(manifest);
    return floor;
}

static int open_disk(struct hf_view *view, const struct hf_machine_reader *reader,
                     const struct hf_state *state, uint16_t slot)
{
    struct view_disk *disk = &view->disks[slot];
    int r;

    if (!hf_state_disk(state, slot, &disk->info) || !disk->info.complete)
        return 0;
    r = hf_base_open(view->store->io, &view->machine, slot, false, &disk->base);
    if (r < 0)
        return r;
    r = -pthread_rwlock_init(&disk->lock, NULL);
    if (r < 0) {
        hf_base_close(&disk->base);
        return r;
    }
    disk->there = true;
    view->resolver.bases[slot] = &disk->base;
    view->resolver.from[slot] = hf_manifest_disk_from(&reader->manifest, slot);
    return 0;
}

static int open_disks(struct hf_view *view, struct hf_machine_reader *reader)
{
    struct hf_state *state = calloc(1, sizeof(*state));
    int r;

    if (state == NULL)
        return -ENOMEM;
    r = hf_machine_reader_state(reader, view->options.position, state);
    if (r == 0) {
        r = hf_resolver_init(&view->resolver, view->store, reader->journal);
        reader->journal = NULL;
    }
    view->resolver.merge_floor = merge_floor;
    view->resolver.context = view;
    for (uint16_t i = 0; r == 0 && i < HF_DISKS_MAX; i++)
        r = open_disk(view, reader, state, i);
    free(state);
    return r;
}

static int open_content(struct hf_view *view)
{
    struct hf_machine_reader *reader = NULL;
    const char *reason;
    int r = hf_machine_reader_open(view->store, &view->machine, &reader);

    if (r < 0)
        return r;
    view->base_at = reader->manifest.base_at;
    r = hf_machine_reader_openable(reader, view->options.position, &reason);
    if (r == 0)
        r = open_disks(view, reader);
    hf_machine_reader_close(reader);
    return r;
}

static int open_overlays(struct hf_view *view)
{
    struct hf_io *io = view->options.overlay_io;
    char text[HF_ID_TEXT_SIZE], path[HF_IO_PATH_MAX];
    struct hf_id id;
    int r = hf_id_make(view->store->random, &id);

    view->quota.bytes_max = view->options.overlay_bytes_max != 0 ? view->options.overlay_bytes_max
                                                                 : OVERLAY_BYTES_DEFAULT;
    if (r == 0 && io == NULL) {
        r = hf_io_memory_new(&view->memory_io);
        io = view->memory_io;
    }
    hf_id_format(&id, text);
    for (uint16_t i = 0; r == 0 && i < HF_DISKS_MAX; i++) {
        struct view_disk *disk = &view->disks[i];

        if (!disk->there)
            continue;
        snprintf(path, sizeof(path), "overlay-%s-%02u", text, i);
        r = hf_overlay_new(io, path, disk->info.size_bytes, &view->quota, &disk->overlay);
    }
    return r;
}

int hf_view_open(struct hf_store *store, const struct hf_id *machine,
                 const struct hf_view_options *options, struct hf_view **ret_view)
{
    struct hf_view *view = calloc(1, sizeof(*view));
    int r;

    if (view == NULL)
        return -ENOMEM;
    view->store = store;
    view->machine = *machine;
    view->options = *options;
    r = take_lease(view);
    if (r == 0)
        r = open_content(view);
    if (r == 0 && options->writable)
        r = open_overlays(view);
    if (r < 0) {
        hf_view_close(view);
        return r;
    }
    *ret_view = view;
    return 0;
}

void hf_view_close(struct hf_view *view)
{
    if (view == NULL)
        return;
    for (unsigned i = 0; i < HF_DISKS_MAX; i++) {
        struct view_disk *disk = &view->disks[i];

        if (!disk->there)
            continue;
        hf_overlay_free(disk->overlay);
        hf_base_close(&disk->base);
        pthread_rwlock_destroy(&disk->lock);
    }
    hf_resolver_done(&view->resolver);
    hf_lease_give_back(&view->lease);
    hf_io_free(view->memory_io);
    free(view);
}

size_t hf_view_disks(struct hf_view *view, struct hf_machine_disk *ret_disks)
{
    size_t count = 0;

    for (unsigned i = 0; i < HF_DISKS_MAX; i++) {
        if (view->disks[i].there)
            ret_disks[count++] = view->disks[i].info;
    }
    return count;
}

/* ---- Reading ---- */

static struct view_disk *disk_of(struct hf_view *view, uint16_t disk)
{
    return disk < HF_DISKS_MAX && view->disks[disk].there ? &view->disks[disk] : NULL;
}

static int check_range(const struct view_disk *disk, uint64_t offset, uint64_t length)
{
    if (disk == NULL)
        return -ENOENT;
    if (offset > disk->info.size_bytes || length > disk->info.size_bytes - offset)
        return -EINVAL;
    return 0;
}

/* One block as it is now, overlay and all. */
static int read_block(struct hf_view *view, struct view_disk *disk, uint64_t block, void *content)
{
    if (disk->overlay != NULL && hf_overlay_look(disk->overlay, block) != HF_OVERLAY_NONE)
        return hf_overlay_read(disk->overlay, block, content);
    return hf_resolve_read(&view->resolver, disk->info.disk, view->options.position,
                           block * HF_STORE_BLOCK, content, HF_STORE_BLOCK);
}

/* How many blocks of [block, end) are all in the overlay, or all not. */
static uint64_t overlay_run(const struct hf_overlay *overlay, uint64_t block, uint64_t end,
                            bool *ret_in)
{
    uint64_t n = 1;

    *ret_in = overlay != NULL && hf_overlay_look(overlay, block) != HF_OVERLAY_NONE;
    if (overlay == NULL)
        return end - block;
    while (block + n < end && (hf_overlay_look(overlay, block + n) != HF_OVERLAY_NONE) == *ret_in)
        n++;
    return n;
}

static int read_from_overlay(struct view_disk *disk, uint64_t offset, uint8_t *data,
                             uint64_t length)
{
    uint8_t content[HF_STORE_BLOCK];

    while (length > 0) {
        uint64_t block = offset / HF_STORE_BLOCK, skip = offset % HF_STORE_BLOCK;
        uint64_t n = HF_MIN(length, HF_STORE_BLOCK - skip);
        int r = hf_overlay_read(disk->overlay, block, content);

        if (r < 0)
            return r;
        memcpy(data, content + skip, n);
        data += n;
        offset += n;
        length -= n;
    }
    return 0;
}

static int read_locked(struct hf_view *view, struct view_disk *disk, uint64_t offset, uint8_t *data,
                       uint64_t length)
{
    uint64_t end = offset + length;

    while (offset < end) {
        uint64_t block = offset / HF_STORE_BLOCK;
        uint64_t last = HF_ALIGN_UP(end, HF_STORE_BLOCK) / HF_STORE_BLOCK;
        bool in_overlay;
        uint64_t run = overlay_run(disk->overlay, block, last, &in_overlay);
        uint64_t run_end = HF_MIN(end, (block + run) * HF_STORE_BLOCK);
        int r;

        if (in_overlay)
            r = read_from_overlay(disk, offset, data, run_end - offset);
        else
            r = hf_resolve_read(&view->resolver, disk->info.disk, view->options.position, offset,
                                data, run_end - offset);
        if (r < 0)
            return r;
        data += run_end - offset;
        offset = run_end;
    }
    return 0;
}

int hf_view_read(struct hf_view *view, uint16_t disk, uint64_t offset, void *data, size_t length)
{
    struct view_disk *d = disk_of(view, disk);
    int r = check_range(d, offset, length);

    if (r < 0)
        return r;
    pthread_rwlock_rdlock(&d->lock);
    r = read_locked(view, d, offset, data, length);
    pthread_rwlock_unlock(&d->lock);
    return r;
}

/* ---- Writing ---- */

static int write_block_part(struct hf_view *view, struct view_disk *disk, uint64_t block,
                            uint64_t skip, const void *data, uint64_t length)
{
    uint8_t content[HF_STORE_BLOCK];
    int r = 0;

    if (length == HF_STORE_BLOCK && data == NULL)
        return hf_overlay_zero(disk->overlay, block);
    if (length == HF_STORE_BLOCK)
        return hf_overlay_write(disk->overlay, block, data);
    r = read_block(view, disk, block, content);
    if (r < 0)
        return r;
    if (data == NULL)
        memset(content + skip, 0, length);
    else
        memcpy(content + skip, data, length);
    return hf_overlay_write(disk->overlay, block, content);
}

/* data NULL: zeros. */
static int change(struct hf_view *view, uint16_t disk, uint64_t offset, const uint8_t *data,
                  uint64_t length)
{
    struct view_disk *d = disk_of(view, disk);
    int r = check_range(d, offset, length);

    if (r < 0)
        return r;
    if (d->overlay == NULL)
        return -EROFS;
    pthread_rwlock_wrlock(&d->lock);
    while (r == 0 && length > 0) {
        uint64_t skip = offset % HF_STORE_BLOCK;
        uint64_t n = HF_MIN(length, HF_STORE_BLOCK - skip);

        r = write_block_part(view, d, offset / HF_STORE_BLOCK, skip, data, n);
        data = data == NULL ? NULL : data + n;
        offset += n;
        length -= n;
    }
    pthread_rwlock_unlock(&d->lock);
    return r;
}

int hf_view_write(struct hf_view *view, uint16_t disk, uint64_t offset, const void *data,
                  size_t length)
{
    return change(view, disk, offset, data, length);
}

int hf_view_zero(struct hf_view *view, uint16_t disk, uint64_t offset, uint64_t length)
{
    return change(view, disk, offset, NULL, length);
}

/* The overlay is thrown away with the view, so there is nothing that a power cut could take. */
int hf_view_flush(struct hf_view *view, uint16_t disk)
{
    return disk_of(view, disk) == NULL ? -ENOENT : 0;
}

/* ---- Extents ---- */

struct extent_run {
    int (*each)(void *context, uint64_t offset, uint64_t length, bool hole);
    void *context;
    uint64_t begin; /* of the range asked for */
    uint64_t end;
    uint64_t offset; /* the run gathered so far, not yet told */
    uint64_t length;
    bool hole;
};

static int tell(struct extent_run *run)
{
    uint64_t from = HF_MAX(run->offset, run->begin);
    uint64_t to = HF_MIN(run->offset + run->length, run->end);

    if (from >= to)
        return 0;
    return run->each(run->context, from, to - from, run->hole);
}

static int add_run(struct extent_run *run, uint64_t block, uint64_t count, bool hole)
{
    int r = 0;

    if (run->length > 0 && run->hole == hole) {
        run->length += count * HF_STORE_BLOCK;
        return 0;
    }
    if (run->length > 0)
        r = tell(run);
    run->offset = block * HF_STORE_BLOCK;
    run->length = count * HF_STORE_BLOCK;
    run->hole = hole;
    return r;
}

static int add_blocks(struct hf_view *view, struct view_disk *disk, struct extent_run *run,
                      uint64_t block, uint32_t count)
{
    bool hole[HF_RESOLVE_BLOCKS_MAX];
    int r = hf_resolve_holes(&view->resolver, disk->info.disk, view->options.position, block, count,
                             hole);

    for (uint32_t i = 0; r == 0 && i < count; i++) {
        if (disk->overlay != NULL) {
            enum hf_overlay_block look = hf_overlay_look(disk->overlay, block + i);

            hole[i] = look == HF_OVERLAY_ZERO || (look == HF_OVERLAY_NONE && hole[i]);
        }
        r = add_run(run, block + i, 1, hole[i]);
    }
    return r;
}

static bool is_untouched(struct hf_view *view, struct view_disk *disk, uint64_t block,
                         uint64_t count)
{
    bool in_overlay;

    if (disk->overlay != NULL &&
        (overlay_run(disk->overlay, block, block + count, &in_overlay) < count || in_overlay))
        return false;
    return hf_resolve_is_untouched(&view->resolver, disk->info.disk, view->options.position, block,
                                   count);
}

static int walk_extents(struct hf_view *view, struct view_disk *disk, struct extent_run *run)
{
    uint64_t block = run->begin / HF_STORE_BLOCK;
    uint64_t last = HF_ALIGN_UP(run->end, HF_STORE_BLOCK) / HF_STORE_BLOCK;
    uint64_t busy_until = 0; /* the probe found something up to here */
    int r = 0;

    while (r == 0 && block < last) {
        uint64_t probe = HF_MIN(last - block, EXTENT_PROBE_BLOCKS);
        uint32_t n = (uint32_t)HF_MIN(last - block, HF_RESOLVE_BLOCKS_MAX);

        if (block >= busy_until && is_untouched(view, disk, block, probe)) {
            r = add_run(run, block, probe, true);
            block += probe;
            continue;
        }
        busy_until = HF_MAX(busy_until, block + probe);
        r = add_blocks(view, disk, run, block, n);
        block += n;
    }
    return r != 0 || run->length == 0 ? r : tell(run);
}

int hf_view_extents(struct hf_view *view, uint16_t disk, uint64_t offset, uint64_t length,
                    int (*each)(void *context, uint64_t offset, uint64_t length, bool hole),
                    void *context)
{
    struct view_disk *d = disk_of(view, disk);
    struct extent_run run = {
        .each = each, .context = context, .begin = offset, .end = offset + length};
    int r = check_range(d, offset, length);

    if (r < 0)
        return r;
    pthread_rwlock_rdlock(&d->lock);
    r = walk_extents(view, d, &run);
    pthread_rwlock_unlock(&d->lock);
    return r;
}
