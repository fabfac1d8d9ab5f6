// SPDX-License-Identifier: Apache-2.0
/*
 * Disks read past the page cache. The engine closes and opens them (a disk removed, a new capture)
 * while the pass's worker may be reading: who reads holds the file, and the last one closes it, so
 * that neither waits for the other and a disk that hangs does not hang the engine.
 */
#include "agent/disk-reader.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/error.h"
#include "io/io.h"
#include "stream/record.h"

#define READ_BYTES (256u << 10) /* of one operation; several run at once */
#define READ_DEPTH 8

struct opened {
    struct hf_file *file;
    unsigned references;
};

struct direct_reader {
    struct hf_disk_reader reader;
    struct hf_io *io;
    pthread_mutex_t lock; /* guards all below */
    struct opened *disks[HF_DISKS_MAX];
};

static struct direct_reader *self_of(struct hf_disk_reader *reader)
{
    return (struct direct_reader *)reader;
}

static void opened_drop(struct direct_reader *self, struct opened *opened)
{
    unsigned left;

    if (!opened)
        return;
    pthread_mutex_lock(&self->lock);
    left = --opened->references;
    pthread_mutex_unlock(&self->lock);
    if (left)
        return;
    hf_io_close(opened->file);
    free(opened);
}

/* Puts another in the slot's place, or nothing. */
static void exchange(struct direct_reader *self, unsigned slot, struct opened *opened)
{
    struct opened *before;

    pthread_mutex_lock(&self->lock);
    before = self->disks[slot];
    self->disks[slot] = opened;
    pthread_mutex_unlock(&self->lock);
    opened_drop(self, before);
}

static struct opened *opened_take(struct direct_reader *self, unsigned slot)
{
    struct opened *opened;

    pthread_mutex_lock(&self->lock);
    opened = self->disks[slot];
    if (opened)
        opened->references++;
    pthread_mutex_unlock(&self->lock);
    return opened;
}

static void reader_close(struct hf_disk_reader *reader, unsigned slot)
{
    exchange(self_of(reader), slot, NULL);
}

static int reader_open(struct hf_disk_reader *reader, unsigned slot, const char *path)
{
    struct direct_reader *self = self_of(reader);
    struct opened *opened;
    int error;

    if (path[0] != '/' || slot >= HF_DISKS_MAX)
        return -EINVAL;
    reader_close(reader, slot);
    opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->references = 1;
    error = hf_io_open(self->io, path + 1, HF_OPEN_READ | HF_OPEN_DIRECT, &opened->file);
    if (error) {
        free(opened);
        return error;
    }
    exchange(self, slot, opened);
    return 0;
}

static int reader_read(struct hf_disk_reader *reader, unsigned slot, void *data, size_t size,
                       uint64_t offset)
{
    struct direct_reader *self = self_of(reader);
    struct opened *opened = opened_take(self, slot);
    struct hf_io_op operations[READ_DEPTH];
    int error = opened ? 0 : -EBADF;

    while (size > 0 && !error) {
        size_t count = 0;

        for (; count < READ_DEPTH && size > 0; count++) {
            size_t part = HF_MIN(size, (size_t)READ_BYTES);

            operations[count] = (struct hf_io_op){
                .kind = HF_IO_READ,
                .file = opened->file,
                .data = data,
                .size = part,
                .offset = offset,
            };
            data = (uint8_t *)data + part;
            offset += part;
            size -= part;
        }
        error = hf_io_run(self->io, operations, count);
    }
    opened_drop(self, opened);
    return error;
}

static void reader_free(struct hf_disk_reader *reader)
{
    struct direct_reader *self = self_of(reader);

    for (unsigned slot = 0; slot < HF_DISKS_MAX; slot++)
        reader_close(reader, slot);
    hf_io_free(self->io);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static const struct hf_disk_reader_ops ops = {
    .size = sizeof(struct hf_disk_reader_ops),
    .version = 1,
    .free = reader_free,
    .open = reader_open,
    .close = reader_close,
    .read = reader_read,
};

int hf_direct_reader_new(struct hf_disk_reader **ret_reader)
{
    struct direct_reader *self = calloc(1, sizeof(*self));
    int error;

    if (!self)
        return -ENOMEM;
    self->reader.ops = &ops;
    error = hf_io_best_new("/", &self->io);
    if (error) {
        free(self);
        return error;
    }
    pthread_mutex_init(&self->lock, NULL);
    *ret_reader = &self->reader;
    return 0;
}
