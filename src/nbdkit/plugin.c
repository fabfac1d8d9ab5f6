// SPDX-License-Identifier: Apache-2.0
/*
 * holdfast-nbdkit-plugin: serves one disk, or all disks by export name, of a machine as it was at a
 * point. The view is opened before nbdkit goes to the background, so that a wrong point is an error
 * on the terminal; its lease lives as long as the server. Thrown away with it: what was written.
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/error.h"
#include "nbdkit/select.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
#define EXTENTS_BYTES_MAX (64 * HF_MIB) /* looked at in one request; the client asks again */
#define BLOCK_PREFERRED 16384u          /* a frame of the journal */
#define BLOCK_MAX (32u << 20)

static struct hf_nbdkit_options options = {.point = "latest"};
static struct hf_nbdkit_view served;

static int config(const char *key, const char *value)
{
    int flag;

    if (strcmp(key, "store") == 0)
        return (options.store = nbdkit_realpath(value)) == NULL ? -1 : 0;
    if (strcmp(key, "machine") == 0)
        options.machine = value;
    else if (strcmp(key, "point") == 0)
        options.point = value;
    else if (strcmp(key, "disk") == 0)
        options.disk = value;
    else if (strcmp(key, "overlay") == 0)
        return (options.overlay = nbdkit_realpath(value)) == NULL ? -1 : 0;
    else if (strcmp(key, "overlay-size") == 0) {
        int64_t size = nbdkit_parse_size(value);

        if (size < 0)
            return -1;
        options.overlay_bytes_max = (uint64_t)size;
    } else if (strcmp(key, "writable") == 0) {
        flag = nbdkit_parse_bool(value);
        if (flag < 0)
            return -1;
        options.writable = flag;
    } else {
        nbdkit_error("unknown parameter '%s'", key);
        return -1;
    }
    return 0;
}

static int config_complete(void)
{
    if (options.store == NULL) {
        nbdkit_error("the parameter store=DIR is missing");
        return -1;
    }
    return 0;
}

/* A view holds two files per segment of the journal. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int get_ready(void)
{
    char text[HF_NBDKIT_ERROR_MAX];

    raise_file_limit();
    if (hf_nbdkit_view_open(&options, &served, text, sizeof(text)) == 0)
        return 0;
    nbdkit_error("%s", text);
    return -1;
}

static void unload(void)
{
    hf_nbdkit_view_close(&served);
    free(options.store);
    free(options.overlay);
}

static int list_exports(int readonly, int is_tls, struct nbdkit_exports *exports)
{
    for (size_t i = 0; i < served.disk_count; i++) {
        if (nbdkit_add_export(exports, served.disks[i].name, NULL) < 0)
            return -1;
    }
    return 0;
}

static const char *default_export(int readonly, int is_tls)
{
    return served.disks[0].name;
}

/* The handle is the disk. Read-only clients of a writable view see what was written. */
struct handle {
    const struct hf_machine_disk *disk;
    bool readonly;
};

static void *open_export(int readonly)
{
    const struct hf_machine_disk *disk = hf_nbdkit_view_disk(&served, nbdkit_export_name());
    struct handle *handle;

    if (disk == NULL) {
        nbdkit_error("there is no disk '%s' at this point", nbdkit_export_name());
        return NULL;
    }
    handle = calloc(1, sizeof(*handle));
    if (handle == NULL) {
        nbdkit_error("out of memory");
        return NULL;
    }
    handle->disk = disk;
    handle->readonly = readonly || !options.writable;
    return handle;
}

static void close_export(void *handle)
{
    free(handle);
}

static int64_t get_size(void *handle)
{
    return (int64_t)((struct handle *)handle)->disk->size_bytes;
}

static int can_write(void *handle)
{
    return !((struct handle *)handle)->readonly;
}

static int can_flush(void *handle)
{
    return 1;
}

static int can_extents(void *handle)
{
    return 1;
}

static int can_fua(void *handle)
{
    return NBDKIT_FUA_NATIVE;
}

static int can_multi_conn(void *handle)
{
    return ((struct handle *)handle)->readonly;
}

static int block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
    *minimum = 1;
    *preferred = BLOCK_PREFERRED;
    *maximum = BLOCK_MAX;
    return 0;
}

/* What the NBD protocol has a word for; everything else is EIO. */
static int give_error(int error, const char *what, uint64_t offset)
{
    if (error == 0)
        return 0;
    if (error != -HF_EQUOTA && error != -ENOSPC)
        nbdkit_error("%s at %llu: %s", what, (unsigned long long)offset, hf_strerror(error));
    if (error == -HF_EQUOTA || error == -ENOSPC)
        nbdkit_set_error(ENOSPC);
    else if (error == -EINVAL || error == -ENOMEM)
        nbdkit_set_error(-error);
    else if (error == -EROFS)
        nbdkit_set_error(EPERM);
    else
        nbdkit_set_error(EIO);
    return -1;
}

static uint16_t disk_of(void *handle)
{
    return ((struct handle *)handle)->disk->disk;
}

static int do_read(void *handle, void *data, uint32_t count, uint64_t offset, uint32_t flags)
{
    return give_error(hf_view_read(served.view, disk_of(handle), offset, data, count), "read",
                      offset);
}

static int do_write(void *handle, const void *data, uint32_t count, uint64_t offset, uint32_t flags)
{
    return give_error(hf_view_write(served.view, disk_of(handle), offset, data, count), "write",
                      offset);
}

static int do_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    return give_error(hf_view_zero(served.view, disk_of(handle), offset, count), "zero", offset);
}

static int do_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    return give_error(hf_view_zero(served.view, disk_of(handle), offset, count), "trim", offset);
}

static int do_flush(void *handle, uint32_t flags)
{
    return give_error(hf_view_flush(served.view, disk_of(handle)), "flush", 0);
}

struct extent_answer {
    struct nbdkit_extents *extents;
    bool one;
};

static int add_extent(void *context, uint64_t offset, uint64_t length, bool hole)
{
    struct extent_answer *answer = context;
    uint32_t type = hole ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0;

    if (nbdkit_add_extent(answer->extents, offset, length, type) < 0)
        return -EIO;
    return answer->one;
}

static int do_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                      struct nbdkit_extents *extents)
{
    struct extent_answer answer = {extents, flags & NBDKIT_FLAG_REQ_ONE};
    uint64_t length = HF_MIN((uint64_t)count, EXTENTS_BYTES_MAX);
    int r = hf_view_extents(served.view, disk_of(handle), offset, length, add_extent, &answer);

    return give_error(r > 0 ? 0 : r, "extents", offset);
}

static struct nbdkit_plugin plugin = {
    .name = "holdfast",
    .longname = "Holdfast: a protected machine as it was at a point",
    .version = "0.1.0",
    .config = config,
    .config_complete = config_complete,
    .config_help =
        "store=DIR            (required) the store's directory\n"
        "machine=ID|NAME      which machine; may be left out when there is one\n"
        "point=POINT          latest, latest-mark, latest-app, an id, a time, pos:N, seq:N, -10s\n"
        "disk=N|NAME          which disk; without it clients choose by export name\n"
        "writable=BOOL        writes go to a scratch overlay that is thrown away\n"
        "overlay=DIR          where the overlay lies (default: memory)\n"
        "overlay-size=SIZE    how much may be written (default 4G)",
    .magic_config_key = "store",
    .get_ready = get_ready,
    .unload = unload,
    .list_exports = list_exports,
    .default_export = default_export,
    .open = open_export,
    .close = close_export,
    .get_size = get_size,
    .can_write = can_write,
    .can_flush = can_flush,
    .can_trim = can_write,
    .can_zero = can_write,
    .can_fast_zero = can_write,
    .can_fua = can_fua,
    .can_extents = can_extents,
    .can_multi_conn = can_multi_conn,
    .block_size = block_size,
    .pread = do_read,
    .pwrite = do_write,
    .zero = do_zero,
    .trim = do_trim,
    .flush = do_flush,
    .extents = do_extents,
    .errno_is_preserved = 0,
};

struct nbdkit_plugin *plugin_init(void);
NBDKIT_REGISTER_PLUGIN(plugin)
