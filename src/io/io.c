// SPDX-License-Identifier: Apache-2.0
/*
 * What holds for every back end: arguments are checked here, so that memory and crash refuse what
 * a real file would refuse, and a file whose sync failed takes no more changes (fault 27).
 */
#include "io/io.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

#define OPS_VERSION 1
#define OPEN_FLAGS_ALL                                                                             \
    (HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE | HF_OPEN_EXCLUSIVE | HF_OPEN_DIRECT)

/* ---- Checks ---- */

static bool path_component_valid(const char *component, size_t size)
{
    if (size == 0)
        return false;
    return !(component[0] == '.' && (size == 1 || (size == 2 && component[1] == '.')));
}

/* Empty components are refused as well: "a//b" and "a/b" are one file on a real file system and
 * must not be two elsewhere. */
static int check_path(const char *path)
{
    if (strnlen(path, HF_IO_PATH_MAX + 1) > HF_IO_PATH_MAX)
        return -EINVAL;
    for (;;) {
        size_t size = strcspn(path, "/");

        if (!path_component_valid(path, size))
            return -EINVAL;
        if (path[size] == '\0')
            return 0;
        path += size + 1;
    }
}

static int check_directory(const char *path)
{
    return path[0] == '\0' ? 0 : check_path(path);
}

static int check_flags(unsigned flags)
{
    if ((flags & ~(unsigned)OPEN_FLAGS_ALL) != 0 || (flags & (HF_OPEN_READ | HF_OPEN_WRITE)) == 0)
        return -EINVAL;
    if ((flags & HF_OPEN_EXCLUSIVE) && !(flags & HF_OPEN_CREATE))
        return -EINVAL;
    return (flags & HF_OPEN_CREATE) && !(flags & HF_OPEN_WRITE) ? -EINVAL : 0;
}

static int check_range(uint64_t offset, uint64_t length)
{
    uint64_t end;

    return hf_add_u64(offset, length, &end) && end <= INT64_MAX ? 0 : -EINVAL;
}

static int check_read(const struct hf_file *file, uint64_t offset, uint64_t length)
{
    if (!(file->flags & HF_OPEN_READ))
        return -EBADF;
    return check_range(offset, length);
}

static int check_change(const struct hf_file *file, uint64_t offset, uint64_t length)
{
    if (!(file->flags & HF_OPEN_WRITE))
        return -EBADF;
    if (file->sync_failed)
        return -HF_ESYNC;
    return check_range(offset, length);
}

/* ---- Files ---- */

void hf_io_free(struct hf_io *io)
{
    if (io)
        io->ops->free(io);
}

int hf_io_open(struct hf_io *io, const char *path, unsigned flags, struct hf_file **ret_file)
{
    struct hf_file *file;
    int error;

    HF_ASSERT(io->ops->version == OPS_VERSION);
    HF_ASSERT(io->ops->size >= sizeof(struct hf_io_ops));
    error = check_path(path);
    if (!error)
        error = check_flags(flags);
    if (!error)
        error = io->ops->open(io, path, flags, &file);
    if (error)
        return error;
    file->io = io;
    file->flags = flags;
    file->sync_failed = false;
    *ret_file = file;
    return 0;
}

void hf_io_close(struct hf_file *file)
{
    if (file)
        file->io->ops->close(file);
}

int hf_io_read(struct hf_file *file, void *data, size_t size, uint64_t offset, size_t *ret_size)
{
    int error = check_read(file, offset, size);

    if (error)
        return error;
    if (size == 0) {
        *ret_size = 0;
        return 0;
    }
    return file->io->ops->read(file, data, size, offset, ret_size);
}

int hf_io_read_full(struct hf_file *file, void *data, size_t size, uint64_t offset)
{
    size_t got = 0;
    int error = hf_io_read(file, data, size, offset, &got);

    if (error)
        return error;
    HF_ASSERT(got <= size);
    return got == size ? 0 : -HF_ECORRUPT;
}

int hf_io_write(struct hf_file *file, const void *data, size_t size, uint64_t offset)
{
    int error = check_change(file, offset, size);

    if (error || size == 0)
        return error;
    return file->io->ops->write(file, data, size, offset);
}

int hf_io_sync(struct hf_file *file)
{
    int error;

    if (file->sync_failed)
        return -HF_ESYNC;
    error = file->io->ops->sync(file);
    if (error)
        file->sync_failed = true;
    return error;
}

int hf_io_truncate(struct hf_file *file, uint64_t size)
{
    int error = check_change(file, 0, size);

    return error ? error : file->io->ops->truncate(file, size);
}

int hf_io_punch(struct hf_file *file, uint64_t offset, uint64_t length)
{
    int error = check_change(file, offset, length);

    if (error || length == 0)
        return error;
    return file->io->ops->punch(file, offset, length);
}

int hf_io_allocate(struct hf_file *file, uint64_t offset, uint64_t length)
{
    int error = check_change(file, offset, length);

    if (error || length == 0)
        return error;
    return file->io->ops->allocate(file, offset, length);
}

int hf_io_stat(struct hf_file *file, struct hf_io_stat *ret_stat)
{
    return file->io->ops->stat(file, ret_stat);
}

int hf_io_next_data(struct hf_file *file, uint64_t from, uint64_t *ret_offset, uint64_t *ret_length)
{
    int error = check_range(from, 0);

    return error ? error : file->io->ops->next_data(file, from, ret_offset, ret_length);
}

static int check_lock(const struct hf_file *file, enum hf_lock_mode mode)
{
    switch (mode) {
    case HF_LOCK_NONE:
        return 0;
    case HF_LOCK_SHARED:
        return file->flags & HF_OPEN_READ ? 0 : -EBADF;
    case HF_LOCK_EXCLUSIVE:
        return file->flags & HF_OPEN_WRITE ? 0 : -EBADF;
    }
    return -EINVAL;
}

int hf_io_lock(struct hf_file *file, enum hf_lock_mode mode)
{
    int error = check_lock(file, mode);

    return error ? error : file->io->ops->lock(file, mode);
}

/* ---- Names ---- */

int hf_io_mkdir(struct hf_io *io, const char *path)
{
    int error = check_path(path);

    return error ? error : io->ops->mkdir(io, path);
}

int hf_io_rename(struct hf_io *io, const char *from, const char *to)
{
    int error = check_path(from);

    if (!error)
        error = check_path(to);
    return error ? error : io->ops->rename(io, from, to);
}

int hf_io_unlink(struct hf_io *io, const char *path)
{
    int error = check_path(path);

    return error ? error : io->ops->unlink(io, path);
}

int hf_io_sync_dir(struct hf_io *io, const char *path)
{
    int error = check_directory(path);

    return error ? error : io->ops->sync_dir(io, path);
}

int hf_io_list(struct hf_io *io, const char *path, int (*each)(void *context, const char *name),
               void *context)
{
    int error = check_directory(path);

    return error ? error : io->ops->list(io, path, each, context);
}

int hf_io_space(struct hf_io *io, uint64_t *ret_total_bytes, uint64_t *ret_free_bytes)
{
    return io->ops->space(io, ret_total_bytes, ret_free_bytes);
}

/* ---- Batches ---- */

static int check_op(const struct hf_io_op *op)
{
    if (op->size == 0)
        return -EINVAL;
    return op->kind == HF_IO_READ ? check_read(op->file, op->offset, op->size)
                                  : check_change(op->file, op->offset, op->size);
}

static int run_op(struct hf_io_op *op)
{
    size_t got = 0;
    int error = check_op(op);

    if (error)
        return error;
    if (op->kind == HF_IO_WRITE)
        return hf_io_write(op->file, op->data, op->size, op->offset);
    error = hf_io_read(op->file, op->data, op->size, op->offset, &got);
    if (error)
        return error;
    return got == op->size ? 0 : -EIO;
}

static bool ops_are_valid(const struct hf_io *io, const struct hf_io_op *ops, size_t count)
{
    bool valid = true;

    for (size_t i = 0; i < count; i++) {
        HF_ASSERT(ops[i].file->io == io);
        if (check_op(&ops[i]) != 0)
            valid = false;
    }
    return valid;
}

/* A batch with an operation that a check refuses goes one by one, so that the others still run and
 * each result says why. */
int hf_io_run(struct hf_io *io, struct hf_io_op *ops, size_t count)
{
    if (count > HF_IO_BATCH_MAX)
        return -EINVAL;
    if (ops_are_valid(io, ops, count) && io->ops->run)
        return io->ops->run(io, ops, count);
    for (size_t i = 0; i < count; i++)
        ops[i].result = run_op(&ops[i]);
    for (size_t i = 0; i < count; i++)
        if (ops[i].result)
            return ops[i].result;
    return 0;
}
