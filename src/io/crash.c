// SPDX-License-Identifier: Apache-2.0
/*
 * A disk that can lose power: the memory back end, plus for every change a record of what is not
 * durable yet (crash-content.c, crash-names.c). README.md states the model. Reads work on after
 * the cut: nobody is left to care, and tests may want to look.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "io/crash-internal.h"

struct crash_io {
    struct hf_mem_io mem; /* its lock guards everything here */
    struct hf_io_ops ops;
    struct hf_crash_names names;
    uint64_t change_count;
    uint64_t cut_at; /* UINT64_MAX: the power stays on */
    /* Every directory ever made and not yet dropped (a reference each): what running code sees and
     * what is durable may together form rings, which counting references cannot free. */
    struct hf_mem_inode **directories;
    size_t directory_count;
    size_t directory_capacity;
};

bool hf_crash_chance(struct hf_crash_fate *fate, unsigned percent)
{
    return hf_random_seeded_next(&fate->random) % 100 < percent;
}

unsigned hf_crash_percent(struct hf_crash_fate *fate)
{
    return 25 * (unsigned)(hf_random_seeded_next(&fate->random) % 5);
}

/* ---- Locking and counting ---- */

static struct crash_io *lock_io(struct hf_io *io)
{
    struct crash_io *self = (struct crash_io *)io;

    pthread_mutex_lock(&self->mem.lock);
    return self;
}

static int unlock_io(struct crash_io *self, int error)
{
    pthread_mutex_unlock(&self->mem.lock);
    return error;
}

static struct hf_mem_inode *inode_of(struct hf_file *file)
{
    return ((struct hf_mem_file *)file)->inode;
}

/* Every change passes here before it does anything. */
static int begin_change(struct crash_io *self, uint64_t *ret_number)
{
    uint64_t number = self->change_count++;

    if (number >= self->cut_at)
        return -EIO;
    *ret_number = number;
    return 0;
}

static int register_directory(struct crash_io *self, struct hf_mem_inode *inode)
{
    if (self->directory_count == self->directory_capacity) {
        size_t capacity = HF_MAX(self->directory_capacity * 2, (size_t)8);
        struct hf_mem_inode **directories =
            reallocarray(self->directories, capacity, sizeof(*directories));

        if (!directories)
            return -ENOMEM;
        self->directories = directories;
        self->directory_capacity = capacity;
    }
    self->directories[self->directory_count++] = hf_mem_inode_ref(inode);
    return 0;
}

/* ---- Content ---- */

static int crash_write(struct hf_file *file, const void *data, size_t size, uint64_t offset)
{
    struct crash_io *self = lock_io(file->io);
    uint64_t number = 0;
    int error = begin_change(self, &number);

    if (!error)
        error = hf_mem_check_direct(file, data, size, offset);
    if (!error)
        error = hf_crash_write(inode_of(file), number, data, size, offset);
    return unlock_io(self, error);
}

static int crash_sync(struct hf_file *file)
{
    struct crash_io *self = lock_io(file->io);
    uint64_t number;
    int error = begin_change(self, &number);

    if (!error)
        error = hf_crash_content_sync(inode_of(file));
    return unlock_io(self, error);
}

static int crash_truncate(struct hf_file *file, uint64_t size)
{
    struct crash_io *self = lock_io(file->io);
    uint64_t number = 0;
    int error = begin_change(self, &number);

    if (!error)
        error = hf_crash_truncate(inode_of(file), number, size);
    return unlock_io(self, error);
}

static int crash_punch(struct hf_file *file, uint64_t offset, uint64_t length)
{
    struct crash_io *self = lock_io(file->io);
    uint64_t number = 0;
    int error = begin_change(self, &number);

    if (!error)
        error = hf_crash_punch(inode_of(file), number, offset, length);
    return unlock_io(self, error);
}

static int crash_allocate(struct hf_file *file, uint64_t offset, uint64_t length)
{
    struct crash_io *self = lock_io(file->io);
    uint64_t number = 0;
    int error = begin_change(self, &number);

    if (!error)
        error = hf_crash_allocate(inode_of(file), number, offset + length);
    return unlock_io(self, error);
}

/* ---- Names ---- */

/* Puts a new inode under a free name. */
static int create(struct crash_io *self, const char *path, struct hf_mem_inode *inode)
{
    struct hf_crash_slot slot = {.inode = inode};
    const char *name;
    uint64_t number;
    int error = hf_mem_lookup_parent(&self->mem, path, &slot.directory, &name);

    if (!error && hf_mem_directory_find(&slot.directory->directory, name))
        error = -EEXIST;
    if (!error)
        error = begin_change(self, &number);
    if (error)
        return error;
    slot.name = (char *)name;
    error = hf_crash_names_add(&self->names, inode->is_directory ? HF_CRASH_MKDIR : HF_CRASH_CREATE,
                               &slot, 1, NULL);
    if (error)
        return error;
    error = hf_mem_directory_set(&slot.directory->directory, name, inode);
    if (error)
        hf_crash_names_drop_last(&self->names);
    return error;
}

static int create_file(struct crash_io *self, const char *path, struct hf_mem_inode **ret_inode)
{
    struct hf_mem_inode *inode = NULL;
    int error = hf_mem_inode_new(false, &inode);

    if (!error)
        error = hf_crash_content_new(&inode->crash);
    if (!error)
        error = create(self, path, inode);
    hf_mem_inode_unref(inode); /* the directory holds it, or it goes */
    if (!error)
        *ret_inode = inode;
    return error;
}

static int open_inode(struct crash_io *self, const char *path, unsigned flags,
                      struct hf_mem_inode **ret_inode)
{
    int error = hf_mem_lookup(&self->mem, path, ret_inode);

    if (error == -ENOENT && (flags & HF_OPEN_CREATE))
        return create_file(self, path, ret_inode);
    if (error)
        return error;
    if (flags & HF_OPEN_EXCLUSIVE)
        return -EEXIST;
    return (*ret_inode)->is_directory ? -EISDIR : 0;
}

static int crash_open(struct hf_io *io, const char *path, unsigned flags, struct hf_file **ret_file)
{
    struct crash_io *self = lock_io(io);
    struct hf_mem_inode *inode;
    int error = open_inode(self, path, flags, &inode);

    if (!error)
        error = hf_mem_file_new(&self->mem, inode, ret_file);
    return unlock_io(self, error);
}

static int crash_mkdir(struct hf_io *io, const char *path)
{
    struct crash_io *self = lock_io(io);
    struct hf_mem_inode *inode = NULL;
    int error = hf_mem_inode_new(true, &inode);

    if (!error)
        error = register_directory(self, inode);
    if (!error) {
        error = create(self, path, inode);
        if (error)
            hf_mem_inode_unref(self->directories[--self->directory_count]);
    }
    hf_mem_inode_unref(inode);
    return unlock_io(self, error);
}

static int unlink_locked(struct crash_io *self, const char *path)
{
    struct hf_crash_slot slot = {0};
    const char *name;
    uint64_t number;
    int error = begin_change(self, &number);

    if (!error)
        error = hf_mem_unlink_check(&self->mem, path, &slot.directory, &name);
    if (error)
        return error;
    slot.name = (char *)name;
    error = hf_crash_names_add(&self->names, HF_CRASH_UNLINK, &slot, 1,
                               hf_mem_directory_find(&slot.directory->directory, name));
    if (!error)
        hf_mem_directory_remove(&slot.directory->directory, name);
    return error;
}

static int crash_unlink(struct hf_io *io, const char *path)
{
    struct crash_io *self = lock_io(io);

    return unlock_io(self, unlink_locked(self, path));
}

static int rename_locked(struct crash_io *self, const char *from, const char *to)
{
    struct hf_mem_rename rename = {0};
    uint64_t number;
    int error = begin_change(self, &number);

    if (!error)
        error = hf_mem_rename_check(&self->mem, from, to, &rename);
    if (error || rename.same)
        return error;
    struct hf_crash_slot slots[] = {
        {.directory = rename.from_parent, .name = (char *)rename.from_name},
        {.directory = rename.to_parent, .name = (char *)rename.to_name, .inode = rename.inode}};

    error = hf_crash_names_add(&self->names, HF_CRASH_RENAME, slots, 2,
                               hf_mem_directory_find(&rename.to_parent->directory, rename.to_name));
    if (error)
        return error;
    error = hf_mem_directory_set(&rename.to_parent->directory, rename.to_name, rename.inode);
    if (error)
        hf_crash_names_drop_last(&self->names);
    else
        hf_mem_directory_remove(&rename.from_parent->directory, rename.from_name);
    return error;
}

static int crash_rename(struct hf_io *io, const char *from, const char *to)
{
    struct crash_io *self = lock_io(io);

    return unlock_io(self, rename_locked(self, from, to));
}

static int crash_sync_dir(struct hf_io *io, const char *path)
{
    struct crash_io *self = lock_io(io);
    struct hf_mem_inode *directory;
    uint64_t number;
    int error = begin_change(self, &number);

    if (!error)
        error = hf_mem_lookup_directory(&self->mem, path, &directory);
    if (!error)
        error = hf_crash_names_sync(&self->names, directory);
    return unlock_io(self, error);
}

/* ---- Power ---- */

/* Calls each(context, inode) for all that is durably reachable from `directory`, itself included,
 * in byte order of names. The durable tree has no rings: see crash-names.c. */
static int visit(struct hf_mem_inode *inode, int (*each)(void *context, struct hf_mem_inode *inode),
                 void *context)
{
    int error = each(context, inode);

    for (size_t i = 0; !error && i < inode->durable_directory.count; i++)
        error = visit(inode->durable_directory.entries[i].inode, each, context);
    return error;
}

static int find_newest_write(void *context, struct hf_mem_inode *inode)
{
    uint64_t *newest = context, number;

    if (inode->is_directory)
        return 0;
    number = hf_crash_newest_write(inode);
    if (number != UINT64_MAX && (*newest == UINT64_MAX || number > *newest))
        *newest = number;
    return 0;
}

/* Running code sees what is durable. */
static int restart_directory(struct hf_mem_inode *inode)
{
    const struct hf_mem_directory *durable = &inode->durable_directory;
    int error = 0;

    hf_mem_directory_clear(&inode->directory);
    for (size_t i = 0; !error && i < durable->count; i++)
        error = hf_mem_directory_set(&inode->directory, durable->entries[i].name,
                                     durable->entries[i].inode);
    return error;
}

static int restart_inode(void *context, struct hf_mem_inode *inode)
{
    return inode->is_directory ? restart_directory(inode)
                               : hf_crash_content_restart(inode, context);
}

static int mark_reachable(void *context, struct hf_mem_inode *inode)
{
    inode->reachable = true;
    return 0;
}

/* Empties the directories that are not reachable and forgets them. */
static void drop_unreachable(struct crash_io *self)
{
    size_t kept = 0;

    for (size_t i = 0; i < self->directory_count; i++)
        self->directories[i]->reachable = false;
    visit(self->mem.root, mark_reachable, NULL);
    for (size_t i = 0; i < self->directory_count; i++) {
        struct hf_mem_inode *inode = self->directories[i];

        if (inode->reachable) {
            self->directories[kept++] = inode;
            continue;
        }
        hf_mem_directory_clear(&inode->directory);
        hf_mem_directory_clear(&inode->durable_directory);
        hf_mem_inode_unref(inode);
    }
    self->directory_count = kept;
}

static int restart_locked(struct crash_io *self, struct hf_crash_fate *fate)
{
    int error;

    if (self->mem.open_files > 0)
        return -EBUSY;
    error = hf_crash_names_restart(&self->names, fate);
    if (!error)
        error = visit(self->mem.root, find_newest_write, &fate->torn_write);
    if (!error)
        error = visit(self->mem.root, restart_inode, fate);
    drop_unreachable(self);
    self->change_count = 0;
    self->cut_at = UINT64_MAX;
    return error;
}

int hf_io_crash_restart(struct hf_io *io, enum hf_crash_survive survive, uint64_t seed)
{
    struct crash_io *self = lock_io(io);
    struct hf_crash_fate fate = {.survive = survive, .torn_write = UINT64_MAX};

    hf_random_seeded_init(&fate.random, seed);
    return unlock_io(self, restart_locked(self, &fate));
}

void hf_io_crash_cut_at(struct hf_io *io, uint64_t change_number)
{
    struct crash_io *self = lock_io(io);

    self->cut_at = change_number;
    unlock_io(self, 0);
}

uint64_t hf_io_crash_changes(struct hf_io *io)
{
    struct crash_io *self = lock_io(io);
    uint64_t count = self->change_count;

    unlock_io(self, 0);
    return count;
}

/* ---- Making ---- */

static void crash_free(struct hf_io *io)
{
    struct crash_io *self = (struct crash_io *)io;

    hf_crash_names_clear(&self->names);
    hf_mem_directory_clear(&self->mem.root->durable_directory);
    drop_unreachable(self);
    free(self->directories);
    hf_mem_io_done(&self->mem);
    free(self);
}

/* What a change does not touch is the memory back end's. */
static void fill_ops(struct hf_io_ops *ops)
{
    *ops = hf_mem_ops;
    ops->free = crash_free;
    ops->open = crash_open;
    ops->write = crash_write;
    ops->sync = crash_sync;
    ops->truncate = crash_truncate;
    ops->punch = crash_punch;
    ops->allocate = crash_allocate;
    ops->mkdir = crash_mkdir;
    ops->rename = crash_rename;
    ops->unlink = crash_unlink;
    ops->sync_dir = crash_sync_dir;
}

int hf_io_crash_new(struct hf_io **ret_io)
{
    struct crash_io *self = calloc(1, sizeof(*self));

    if (!self)
        return -ENOMEM;
    fill_ops(&self->ops);
    if (hf_mem_io_init(&self->mem, &self->ops) != 0) {
        free(self);
        return -ENOMEM;
    }
    self->cut_at = UINT64_MAX;
    *ret_io = &self->mem.io;
    return 0;
}
