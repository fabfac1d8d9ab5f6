// SPDX-License-Identifier: Apache-2.0
#include "store/export.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

#define EXPORT_CHUNK HF_MIB
#define EXPORT_STRETCH (256 * HF_MIB) /* extents asked for in one go */

struct export
{
    struct hf_view *view;
    uint16_t disk;
    struct hf_file *file;
    const struct hf_export_options *options;
    uint64_t total_bytes;
    uint64_t data_bytes;
    uint8_t *chunk;
};

static int tell_progress(struct export *export, uint64_t done_bytes)
{
    if (export->options == NULL || export->options->progress == NULL)
        return 0;
    return export->options->progress(export->options->context, done_bytes, export->total_bytes);
}

static int copy_extent(void *context, uint64_t offset, uint64_t length, bool hole)
{
    struct export *export = context;
    int r = 0;

    for (uint64_t done = 0, n; r == 0 && !hole && done < length; done += n) {
        n = HF_MIN(length - done, EXPORT_CHUNK);
        r = hf_view_read(export->view, export->disk, offset + done, export->chunk, n);
        if (r == 0)
            r = hf_io_write(export->file, export->chunk, n, offset + done);
        export->data_bytes += n;
        if (r == 0)
            r = tell_progress(export, offset + done + n);
    }
    return r;
}

static int copy_all(struct export *export)
{
    int r = hf_io_truncate(export->file, export->total_bytes);

    for (uint64_t at = 0, n; r == 0 && at < export->total_bytes; at += n) {
        n = HF_MIN(export->total_bytes - at, EXPORT_STRETCH);
        r = hf_view_extents(export->view, export->disk, at, n, copy_extent, export);
        if (r == 0)
            r = tell_progress(export, at + n);
    }
    return r == 0 ? hf_io_sync(export->file) : r;
}

static int find_size(struct export *export)
{
    struct hf_machine_disk disks[HF_DISKS_MAX];
    size_t count = hf_view_disks(export->view, disks);

    for (size_t i = 0; i < count; i++) {
        if (disks[i].disk == export->disk) {
            export->total_bytes = disks[i].size_bytes;
            return 0;
        }
    }
    return -ENOENT;
}

int hf_view_export(struct hf_view *view, uint16_t disk, struct hf_io *io, const char *path,
                   const struct hf_export_options *options, uint64_t *ret_data_bytes)
{
    struct export export = {.view = view, .disk = disk, .options = options};
    int r = find_size(&export);

    if (r < 0)
        return r;
    r = hf_io_open(io, path, HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE | HF_OPEN_EXCLUSIVE,
                   &export.file);
    if (r < 0)
        return r;
    export.chunk = malloc(EXPORT_CHUNK);
    r = export.chunk == NULL ? -ENOMEM : copy_all(&export);
    hf_io_close(export.file);
    free(export.chunk);
    if (r != 0)
        hf_io_unlink(io, path);
    else if (ret_data_bytes != NULL)
        *ret_data_bytes = export.data_bytes;
    return r;
}
