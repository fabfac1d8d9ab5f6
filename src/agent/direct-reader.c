// SPDX-License-Identifier: Apache-2.0
#include "agent/disk-reader.h"

#include <stdlib.h>

#include "base/base.h"
#include "base/error.h"
#include "io/io.h"
#include "stream/record.h"

#define READ_BYTES (256u << 10) /* of one operation; several run at once */
#define READ_DEPTH 8

struct direct_reader {
    struct hf_disk_reader reader;
    struct hf_io *io;
    struct hf_file *files[HF_DISKS_MAX];
};

static struct direct_reader *self_of(struct hf_disk_reader *reader)
{
    return (struct direct_reader *)reader;
}

static void reader_close(struct hf_disk_reader *reader, unsigned slot)
{
    struct direct_reader *self = self_of(reader);

    hf_io_close(self->files[slot]);
    self->files[slot] = NULL;
}

static int reader_open(struct hf_disk_reader *reader, unsigned slot, const char *path)
{
    struct direct_reader *self = self_of(reader);

    if (path[0] != '/' || slot >= HF_DISKS_MAX)
        return -EINVAL;
    reader_close(reader, slot);
    return hf_io_open(self->io, path + 1, HF_OPEN_READ | HF_OPEN_DIRECT, &self->files[slot]);
}

static int reader_read(struct hf_disk_reader *reader, unsigned slot, void *data, size_t size,
                       uint64_t offset)
{
    struct direct_reader *self = self_of(reader);
    struct hf_io_op operations[READ_DEPTH];
    int error = self->files[slot] ? 0 : -EBADF;

    while (size > 0 && !error) {
        size_t count = 0;

        for (; count < READ_DEPTH && size > 0; count++) {
            size_t part = HF_MIN(size, (size_t)READ_BYTES);

            operations[count] = (struct hf_io_op){
                .kind = HF_IO_READ,
                .file = self->files[slot],
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
    return error;
}

static void reader_free(struct hf_disk_reader *reader)
{
    struct direct_reader *self = self_of(reader);

    for (unsigned slot = 0; slot < HF_DISKS_MAX; slot++)
        reader_close(reader, slot);
    hf_io_free(self->io);
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
    *ret_reader = &self->reader;
    return 0;
}
