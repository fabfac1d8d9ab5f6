// SPDX-License-Identifier: Apache-2.0
/*
 * Errors on demand over another back end. Every call that changes something has a number, so that
 * a sweep can let each of them fail in turn; batches run one by one for that reason.
 *
 * Each file open for writing has a second inner file beside it, never DIRECT, through which the
 * old content is read before a change and put back when a sync fails. Over the crash back end
 * what is put back counts as changes of that back end, and two open files of one path do not
 * know of each other's unsynced data.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/clock.h"
#include "io/fault-internal.h"
#include "io/io-test.h"

struct fault_io {
    struct hf_io io;
    struct hf_io *inner;
    struct hf_fault_plan plan;
    pthread_mutex_t lock; /* guards the counters */
    uint64_t change_count;
    uint64_t read_count;
    uint64_t written_bytes;
};

struct fault_file {
    struct hf_file file;
    struct hf_file *inner;
    struct hf_file *undo_inner; /* NULL when not open for writing */
    struct hf_fault_undo_list undo;
};

static struct fault_io *io_of(struct hf_io *io)
{
    return (struct fault_io *)io;
}

static struct fault_file *file_of(struct hf_file *file)
{
    return (struct fault_file *)file;
}

/* ---- Deciding ---- */

static uint64_t count_call(struct fault_io *self, uint64_t *counter)
{
    uint64_t number;

    pthread_mutex_lock(&self->lock);
    number = (*counter)++;
    pthread_mutex_unlock(&self->lock);
    if (self->plan.delay_ns > 0)
        self->plan.clock->ops->sleep_ns(self->plan.clock, self->plan.delay_ns);
    return number;
}

static int decide(const struct fault_io *self, uint64_t number, int64_t fail_at)
{
    if (fail_at < 0 || number < (uint64_t)fail_at)
        return 0;
    if (number > (uint64_t)fail_at && !self->plan.persistent)
        return 0;
    return self->plan.error;
}

static int begin_change(struct hf_io *io)
{
    struct fault_io *self = io_of(io);

    return decide(self, count_call(self, &self->change_count), self->plan.fail_change);
}

static int begin_read(struct hf_io *io)
{
    struct fault_io *self = io_of(io);

    return decide(self, count_call(self, &self->read_count), self->plan.fail_read);
}

struct hf_fault_plan *hf_io_fault_plan(struct hf_io *io)
{
    return &io_of(io)->plan;
}

uint64_t hf_io_fault_changes(struct hf_io *io)
{
    uint64_t count;

    pthread_mutex_lock(&io_of(io)->lock);
    count = io_of(io)->change_count;
    pthread_mutex_unlock(&io_of(io)->lock);
    return count;
}

uint64_t hf_io_fault_reads(struct hf_io *io)
{
    uint64_t count;

    pthread_mutex_lock(&io_of(io)->lock);
    count = io_of(io)->read_count;
    pthread_mutex_unlock(&io_of(io)->lock);
    return count;
}

/* ---- Opening ---- */

/* Only making a file is a change: so what is there is opened first. */
static int open_inner(struct hf_io *io, const char *path, unsigned flags,
                      struct hf_file **ret_inner)
{
    const unsigned making = HF_OPEN_CREATE | HF_OPEN_EXCLUSIVE;
    struct hf_io *inner_io = io_of(io)->inner;
    struct hf_file *inner;
    int error = hf_io_open(inner_io, path, flags & ~making, &inner);

    if (error == -ENOENT && (flags & HF_OPEN_CREATE)) {
        error = begin_change(io);
        return error ? error : hf_io_open(inner_io, path, flags, ret_inner);
    }
    if (!error && (flags & HF_OPEN_EXCLUSIVE)) {
        hf_io_close(inner);
        return -EEXIST;
    }
    if (error == -EISDIR && (flags & HF_OPEN_EXCLUSIVE))
        return -EEXIST;
    if (!error)
        *ret_inner = inner;
    return error;
}

static void fault_close(struct hf_file *file)
{
    struct fault_file *self = file_of(file);

    hf_fault_undo_clear(&self->undo);
    hf_io_close(self->undo_inner);
    hf_io_close(self->inner);
    free(self);
}

static int fault_open(struct hf_io *io, const char *path, unsigned flags, struct hf_file **ret_file)
{
    struct fault_file *self = calloc(1, sizeof(*self));
    int error = -ENOMEM;

    if (self)
        error = open_inner(io, path, flags, &self->inner);
    if (!error && (flags & HF_OPEN_WRITE))
        error = hf_io_open(io_of(io)->inner, path, HF_OPEN_READ | HF_OPEN_WRITE, &self->undo_inner);
    if (error && self)
        fault_close(&self->file);
    if (!error)
        *ret_file = &self->file;
    return error;
}

/* ---- Content ---- */

static int fault_read(struct hf_file *file, void *data, size_t size, uint64_t offset,
                      size_t *ret_size)
{
    int error = begin_read(file->io);

    return error ? error : hf_io_read(file_of(file)->inner, data, size, offset, ret_size);
}

/* How much of a write still fits the disk. */
static size_t room_left(struct fault_io *self, size_t size)
{
    uint64_t limit = self->plan.full_after_bytes, left;

    if (limit == 0)
        return size;
    pthread_mutex_lock(&self->lock);
    left = self->written_bytes < limit ? limit - self->written_bytes : 0;
    pthread_mutex_unlock(&self->lock);
    return (size_t)HF_MIN(left, (uint64_t)size);
}

static int write_part(struct hf_file *file, const void *data, size_t size, uint64_t offset)
{
    struct fault_file *self = file_of(file);
    struct fault_io *io = io_of(file->io);
    int error;

    if (size == 0)
        return 0;
    error = hf_fault_undo_add(&self->undo, self->undo_inner, offset, size);
    if (!error)
        error = hf_io_write(self->inner, data, size, offset);
    if (!error) {
        pthread_mutex_lock(&io->lock);
        io->written_bytes += size;
        pthread_mutex_unlock(&io->lock);
    }
    return error;
}

static int fault_write(struct hf_file *file, const void *data, size_t size, uint64_t offset)
{
    struct fault_io *io = io_of(file->io);
    int error = begin_change(file->io);
    size_t fits = error ? size / 2 : room_left(io, size);

    if (!error && fits == size)
        return write_part(file, data, size, offset);
    if (io->plan.short_write)
        (void)write_part(file, data, fits, offset); /* DIRECT may refuse half a block */
    return error ? error : -ENOSPC;
}

static int fault_sync(struct hf_file *file)
{
    struct fault_file *self = file_of(file);
    int error = begin_change(file->io);

    if (error) {
        (void)hf_fault_undo_apply(&self->undo, self->undo_inner);
        return error;
    }
    error = hf_io_sync(self->inner);
    if (!error)
        hf_fault_undo_clear(&self->undo);
    return error;
}

static int fault_truncate(struct hf_file *file, uint64_t size)
{
    struct fault_file *self = file_of(file);
    int error = begin_change(file->io);

    if (!error)
        error = hf_fault_undo_add(&self->undo, self->undo_inner, size, UINT64_MAX);
    return error ? error : hf_io_truncate(self->inner, size);
}

static int fault_punch(struct hf_file *file, uint64_t offset, uint64_t length)
{
    struct fault_file *self = file_of(file);
    int error = begin_change(file->io);

    if (!error)
        error = hf_fault_undo_add(&self->undo, self->undo_inner, offset, length);
    return error ? error : hf_io_punch(self->inner, offset, length);
}

static int fault_allocate(struct hf_file *file, uint64_t offset, uint64_t length)
{
    struct fault_file *self = file_of(file);
    int error = begin_change(file->io);

    if (!error)
        error = hf_fault_undo_add(&self->undo, self->undo_inner, offset, 0);
    return error ? error : hf_io_allocate(self->inner, offset, length);
}

static int fault_stat(struct hf_file *file, struct hf_io_stat *ret_stat)
{
    return hf_io_stat(file_of(file)->inner, ret_stat);
}

static int fault_next_data(struct hf_file *file, uint64_t from, uint64_t *ret_offset,
                           uint64_t *ret_length)
{
    return hf_io_next_data(file_of(file)->inner, from, ret_offset, ret_length);
}

static int fault_lock(struct hf_file *file, enum hf_lock_mode mode)
{
    return hf_io_lock(file_of(file)->inner, mode);
}

/* ---- Names ---- */

static int fault_mkdir(struct hf_io *io, const char *path)
{
    int error = begin_change(io);

    return error ? error : hf_io_mkdir(io_of(io)->inner, path);
}

static int fault_rename(struct hf_io *io, const char *from, const char *to)
{
    int error = begin_change(io);

    return error ? error : hf_io_rename(io_of(io)->inner, from, to);
}

static int fault_unlink(struct hf_io *io, const char *path)
{
    int error = begin_change(io);

    return error ? error : hf_io_unlink(io_of(io)->inner, path);
}

static int fault_sync_dir(struct hf_io *io, const char *path)
{
    int error = begin_change(io);

    return error ? error : hf_io_sync_dir(io_of(io)->inner, path);
}

static int fault_list(struct hf_io *io, const char *path,
                      int (*each)(void *context, const char *name), void *context)
{
    return hf_io_list(io_of(io)->inner, path, each, context);
}

/* A disk that is to fill says how much is left until then. */
static int fault_space(struct hf_io *io, uint64_t *ret_total_bytes, uint64_t *ret_free_bytes)
{
    struct fault_io *self = io_of(io);

    if (self->plan.full_after_bytes == 0)
        return hf_io_space(self->inner, ret_total_bytes, ret_free_bytes);
    *ret_total_bytes = self->plan.full_after_bytes;
    *ret_free_bytes = room_left(self, SIZE_MAX);
    return 0;
}

static void fault_free(struct hf_io *io)
{
    pthread_mutex_destroy(&io_of(io)->lock);
    free(io);
}

static const struct hf_io_ops fault_ops = {
    .size = sizeof(struct hf_io_ops),
    .version = 1,
    .free = fault_free,
    .open = fault_open,
    .close = fault_close,
    .read = fault_read,
    .write = fault_write,
    .sync = fault_sync,
    .truncate = fault_truncate,
    .punch = fault_punch,
    .allocate = fault_allocate,
    .stat = fault_stat,
    .next_data = fault_next_data,
    .lock = fault_lock,
    .mkdir = fault_mkdir,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .sync_dir = fault_sync_dir,
    .list = fault_list,
    .space = fault_space,
};

int hf_io_fault_new(struct hf_io *inner, struct hf_io **ret_io)
{
    struct fault_io *self = calloc(1, sizeof(*self));

    if (!self)
        return -ENOMEM;
    self->io.ops = &fault_ops;
    self->inner = inner;
    self->plan = (struct hf_fault_plan){
        .fail_change = -1, .fail_read = -1, .error = -EIO, .clock = hf_clock_system()};
    pthread_mutex_init(&self->lock, NULL);
    *ret_io = &self->io;
    return 0;
}
