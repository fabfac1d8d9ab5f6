// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "base/base.h"
#include "io/memory-internal.h"

int hf_mem_file_new(struct hf_mem_io *io, struct hf_mem_inode *inode, struct hf_file **ret_file)
{
    struct hf_mem_file *file = calloc(1, sizeof(*file));

    if (!file)
        return -ENOMEM;
    file->inode = hf_mem_inode_ref(inode);
    io->open_files++;
    *ret_file = &file->file;
    return 0;
}

void hf_mem_file_free(struct hf_mem_io *io, struct hf_file *file)
{
    HF_ASSERT(io->open_files > 0);
    io->open_files--;
    hf_mem_lock(file, HF_LOCK_NONE);
    hf_mem_inode_unref(((struct hf_mem_file *)file)->inode);
    free(file);
}

/* ---- Content ---- */

/* The strictest that HF_IO_ALIGN allows, so that code which passes here passes on any disk. */
int hf_mem_check_direct(const struct hf_file *file, const void *data, uint64_t size,
                        uint64_t offset)
{
    if (!(file->flags & HF_OPEN_DIRECT))
        return 0;
    return ((uintptr_t)data | size | offset) % HF_IO_ALIGN == 0 ? 0 : -EINVAL;
}

size_t hf_mem_read(const struct hf_mem_inode *inode, void *data, size_t size, uint64_t offset)
{
    size_t part;

    if (offset >= inode->size)
        return 0;
    part = HF_MIN(size, inode->size - offset);
    hf_sparse_read(&inode->content, data, part, offset);
    return part;
}

int hf_mem_write(struct hf_mem_inode *inode, const void *data, size_t size, uint64_t offset)
{
    int error = hf_sparse_write(&inode->content, data, size, offset);

    if (!error)
        inode->size = HF_MAX(inode->size, offset + size);
    return error;
}

int hf_mem_truncate(struct hf_mem_inode *inode, uint64_t size)
{
    if (size > HF_SPARSE_SIZE_MAX)
        return -EFBIG;
    if (size < inode->size)
        hf_sparse_zero(&inode->content, size, UINT64_MAX);
    inode->size = size;
    return 0;
}

void hf_mem_stat(const struct hf_mem_inode *inode, struct hf_io_stat *ret_stat)
{
    *ret_stat = (struct hf_io_stat){.size = inode->size,
                                    .allocated_bytes = hf_sparse_bytes(&inode->content),
                                    .align_bytes = HF_IO_ALIGN};
}

int hf_mem_next_data(const struct hf_mem_inode *inode, uint64_t from, uint64_t *ret_offset,
                     uint64_t *ret_length)
{
    uint64_t offset, length;

    if (!hf_sparse_next(&inode->content, from, &offset, &length) || offset >= inode->size)
        return -ENXIO;
    *ret_offset = offset;
    *ret_length = HF_MIN(length, inode->size - offset);
    return 0;
}

/* ---- Locks ---- */

static bool lock_is_free(const struct hf_mem_file *file, enum hf_lock_mode mode)
{
    const struct hf_mem_inode *inode = file->inode;
    uint64_t other_shared = inode->shared_holders - (file->lock_mode == HF_LOCK_SHARED ? 1 : 0);

    if (mode == HF_LOCK_NONE)
        return true;
    if (inode->exclusive_holder && inode->exclusive_holder != &file->file)
        return false;
    return mode == HF_LOCK_SHARED || other_shared == 0;
}

int hf_mem_lock(struct hf_file *file, enum hf_lock_mode mode)
{
    struct hf_mem_file *self = (struct hf_mem_file *)file;
    struct hf_mem_inode *inode = self->inode;

    if (!lock_is_free(self, mode))
        return -EAGAIN;
    if (self->lock_mode == HF_LOCK_SHARED)
        inode->shared_holders--;
    if (self->lock_mode == HF_LOCK_EXCLUSIVE)
        inode->exclusive_holder = NULL;
    if (mode == HF_LOCK_SHARED)
        inode->shared_holders++;
    if (mode == HF_LOCK_EXCLUSIVE)
        inode->exclusive_holder = file;
    self->lock_mode = mode;
    return 0;
}
