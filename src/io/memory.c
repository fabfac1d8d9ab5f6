// SPDX-License-Identifier: Apache-2.0
/* Everything in memory. One lock for all of it: tests and the simulator want one order, not
 * speed. */
#include <errno.h>
#include <stdlib.h>

#include "base/base.h"
#include "io/io-internal.h"
#include "io/memory-internal.h"

static struct hf_mem_io *io_of(struct hf_io *io)
{
    return (struct hf_mem_io *)io;
}

/* Both lockers also find the way from a file to what the call is about. */
static struct hf_mem_io *lock_io(struct hf_io *io)
{
    pthread_mutex_lock(&io_of(io)->lock);
    return io_of(io);
}

static void unlock_io(struct hf_io *io)
{
    pthread_mutex_unlock(&io_of(io)->lock);
}

static struct hf_mem_inode *lock_file(struct hf_file *file)
{
    lock_io(file->io);
    return ((struct hf_mem_file *)file)->inode;
}

static void unlock_file(struct hf_file *file)
{
    unlock_io(file->io);
}

int hf_mem_io_init(struct hf_mem_io *io, const struct hf_io_ops *ops)
{
    *io = (struct hf_mem_io){.io = {.ops = ops}};
    if (hf_mem_inode_new(true, &io->root) != 0)
        return -ENOMEM;
    pthread_mutex_init(&io->lock, NULL);
    return 0;
}

void hf_mem_io_done(struct hf_mem_io *io)
{
    HF_ASSERT(io->open_files == 0);
    hf_mem_inode_unref(io->root);
    pthread_mutex_destroy(&io->lock);
}

static void mem_free(struct hf_io *io)
{
    hf_mem_io_done(io_of(io));
    free(io);
}

/* ---- Files ---- */

static int create_file(struct hf_mem_io *io, const char *path, struct hf_mem_inode **ret_inode)
{
    struct hf_mem_inode *parent, *inode = NULL;
    const char *name;
    int error = hf_mem_lookup_parent(io, path, &parent, &name);

    if (!error)
        error = hf_mem_inode_new(false, &inode);
    if (!error)
        error = hf_mem_directory_set(&parent->directory, name, inode);
    hf_mem_inode_unref(inode); /* the directory holds it, or it goes */
    if (!error)
        *ret_inode = inode;
    return error;
}

static int open_inode(struct hf_mem_io *io, const char *path, unsigned flags,
                      struct hf_mem_inode **ret_inode)
{
    int error = hf_mem_lookup(io, path, ret_inode);

    if (error == -ENOENT && (flags & HF_OPEN_CREATE))
        return create_file(io, path, ret_inode);
    if (error)
        return error;
    if (flags & HF_OPEN_EXCLUSIVE)
        return -EEXIST;
    return (*ret_inode)->is_directory ? -EISDIR : 0;
}

static int mem_open(struct hf_io *io, const char *path, unsigned flags, struct hf_file **ret_file)
{
    struct hf_mem_io *self = lock_io(io);
    struct hf_mem_inode *inode;
    int error = open_inode(self, path, flags, &inode);

    if (!error)
        error = hf_mem_file_new(self, inode, ret_file);
    unlock_io(io);
    return error;
}

static void mem_close(struct hf_file *file)
{
    struct hf_io *io = file->io;

    lock_io(io);
    hf_mem_file_free(io_of(io), file);
    unlock_io(io);
}

static int mem_read(struct hf_file *file, void *data, size_t size, uint64_t offset,
                    size_t *ret_size)
{
    int error = hf_mem_check_direct(file, data, size, offset);

    if (error)
        return error;
    *ret_size = hf_mem_read(lock_file(file), data, size, offset);
    unlock_file(file);
    return 0;
}

static int mem_write(struct hf_file *file, const void *data, size_t size, uint64_t offset)
{
    int error = hf_mem_check_direct(file, data, size, offset);

    if (error)
        return error;
    error = hf_mem_write(lock_file(file), data, size, offset);
    unlock_file(file);
    return error;
}

static int mem_sync(struct hf_file *file)
{
    return 0;
}

static int mem_truncate(struct hf_file *file, uint64_t size)
{
    int error = hf_mem_truncate(lock_file(file), size);

    unlock_file(file);
    return error;
}

static int mem_punch(struct hf_file *file, uint64_t offset, uint64_t length)
{
    hf_sparse_zero(&lock_file(file)->content, offset, length);
    unlock_file(file);
    return 0;
}

static int mem_allocate(struct hf_file *file, uint64_t offset, uint64_t length)
{
    struct hf_mem_inode *inode = lock_file(file);
    int error = 0;

    if (offset + length > inode->size)
        error = hf_mem_truncate(inode, offset + length);
    unlock_file(file);
    return error;
}

static int mem_stat(struct hf_file *file, struct hf_io_stat *ret_stat)
{
    hf_mem_stat(lock_file(file), ret_stat);
    unlock_file(file);
    return 0;
}

static int mem_next_data(struct hf_file *file, uint64_t from, uint64_t *ret_offset,
                         uint64_t *ret_length)
{
    int error = hf_mem_next_data(lock_file(file), from, ret_offset, ret_length);

    unlock_file(file);
    return error;
}

static int mem_lock(struct hf_file *file, enum hf_lock_mode mode)
{
    int error;

    lock_file(file);
    error = hf_mem_lock(file, mode);
    unlock_file(file);
    return error;
}

/* ---- Names ---- */

static int make_directory(struct hf_mem_io *io, const char *path)
{
    struct hf_mem_inode *parent, *inode = NULL;
    const char *name;
    int error = hf_mem_lookup_parent(io, path, &parent, &name);

    if (error)
        return error;
    if (hf_mem_directory_find(&parent->directory, name))
        return -EEXIST;
    error = hf_mem_inode_new(true, &inode);
    if (!error)
        error = hf_mem_directory_set(&parent->directory, name, inode);
    hf_mem_inode_unref(inode);
    return error;
}

static int mem_mkdir(struct hf_io *io, const char *path)
{
    int error = make_directory(lock_io(io), path);

    unlock_io(io);
    return error;
}

static int rename_locked(struct hf_mem_io *io, const char *from, const char *to)
{
    struct hf_mem_rename rename;
    int error = hf_mem_rename_check(io, from, to, &rename);

    if (error || rename.same)
        return error;
    error = hf_mem_directory_set(&rename.to_parent->directory, rename.to_name, rename.inode);
    if (!error)
        hf_mem_directory_remove(&rename.from_parent->directory, rename.from_name);
    return error;
}

static int mem_rename(struct hf_io *io, const char *from, const char *to)
{
    int error = rename_locked(lock_io(io), from, to);

    unlock_io(io);
    return error;
}

static int mem_unlink(struct hf_io *io, const char *path)
{
    struct hf_mem_inode *parent;
    const char *name;
    int error = hf_mem_unlink_check(lock_io(io), path, &parent, &name);

    if (!error)
        hf_mem_directory_remove(&parent->directory, name);
    unlock_io(io);
    return error;
}

static int mem_sync_dir(struct hf_io *io, const char *path)
{
    struct hf_mem_inode *inode;
    int error = hf_mem_lookup_directory(lock_io(io), path, &inode);

    unlock_io(io);
    return error;
}

static int collect_names(struct hf_mem_io *io, const char *path, struct hf_name_list *names)
{
    struct hf_mem_inode *inode;
    int error = hf_mem_lookup_directory(io, path, &inode);

    for (size_t i = 0; !error && i < inode->directory.count; i++)
        error = hf_name_list_add(names, inode->directory.entries[i].name);
    return error;
}

static int mem_list(struct hf_io *io, const char *path,
                    int (*each)(void *context, const char *name), void *context)
{
    struct hf_name_list names = {0};
    int error = collect_names(lock_io(io), path, &names);

    unlock_io(io);
    if (!error)
        error = hf_name_list_visit(&names, each, context);
    hf_name_list_done(&names);
    return error;
}

static int mem_space(struct hf_io *io, uint64_t *ret_total_bytes, uint64_t *ret_free_bytes)
{
    uint64_t used = hf_mem_used_bytes(lock_io(io)->root);

    unlock_io(io);
    *ret_total_bytes = HF_MEMORY_SPACE_BYTES;
    *ret_free_bytes = used < HF_MEMORY_SPACE_BYTES ? HF_MEMORY_SPACE_BYTES - used : 0;
    return 0;
}

const struct hf_io_ops hf_mem_ops = {
    .size = sizeof(struct hf_io_ops),
    .version = 1,
    .free = mem_free,
    .open = mem_open,
    .close = mem_close,
    .read = mem_read,
    .write = mem_write,
    .sync = mem_sync,
    .truncate = mem_truncate,
    .punch = mem_punch,
    .allocate = mem_allocate,
    .stat = mem_stat,
    .next_data = mem_next_data,
    .lock = mem_lock,
    .mkdir = mem_mkdir,
    .rename = mem_rename,
    .unlink = mem_unlink,
    .sync_dir = mem_sync_dir,
    .list = mem_list,
    .space = mem_space,
};

int hf_io_memory_new(struct hf_io **ret_io)
{
    struct hf_mem_io *io = calloc(1, sizeof(*io));

    if (!io)
        return -ENOMEM;
    if (hf_mem_io_init(io, &hf_mem_ops) != 0) {
        free(io);
        return -ENOMEM;
    }
    *ret_io = &io->io;
    return 0;
}
