// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "io/crash-internal.h"
#include "io/memory-internal.h"

/* ---- Inodes ---- */

int hf_mem_inode_new(bool is_directory, struct hf_mem_inode **ret_inode)
{
    struct hf_mem_inode *inode = calloc(1, sizeof(*inode));

    if (!inode)
        return -ENOMEM;
    inode->references = 1;
    inode->is_directory = is_directory;
    *ret_inode = inode;
    return 0;
}

struct hf_mem_inode *hf_mem_inode_ref(struct hf_mem_inode *inode)
{
    inode->references++;
    return inode;
}

/* Recursion is as deep as directories nest, which a path's length bounds. */
void hf_mem_inode_unref(struct hf_mem_inode *inode)
{
    if (!inode || --inode->references > 0)
        return;
    hf_crash_content_free(inode->crash);
    hf_mem_directory_clear(&inode->directory);
    hf_mem_directory_clear(&inode->durable_directory);
    hf_sparse_clear(&inode->content);
    free(inode);
}

/* ---- Directories ---- */

/* Where the name is, or would go. */
static size_t entry_position(const struct hf_mem_directory *directory, const char *name)
{
    size_t low = 0, high = directory->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(directory->entries[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct hf_mem_entry *find_entry(const struct hf_mem_directory *directory, const char *name)
{
    size_t position = entry_position(directory, name);

    if (position == directory->count || strcmp(directory->entries[position].name, name) != 0)
        return NULL;
    return &directory->entries[position];
}

struct hf_mem_inode *hf_mem_directory_find(const struct hf_mem_directory *directory,
                                           const char *name)
{
    struct hf_mem_entry *entry = find_entry(directory, name);

    return entry ? entry->inode : NULL;
}

static int directory_grow(struct hf_mem_directory *directory)
{
    size_t capacity = HF_MAX(directory->capacity * 2, (size_t)8);
    struct hf_mem_entry *entries = reallocarray(directory->entries, capacity, sizeof(*entries));

    if (!entries)
        return -ENOMEM;
    directory->entries = entries;
    directory->capacity = capacity;
    return 0;
}

static int directory_insert(struct hf_mem_directory *directory, const char *name,
                            struct hf_mem_inode *inode)
{
    size_t position = entry_position(directory, name);
    struct hf_mem_entry *entry;
    char *copy;

    if (directory->count == directory->capacity && directory_grow(directory) != 0)
        return -ENOMEM;
    copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    entry = &directory->entries[position];
    memmove(entry + 1, entry, (directory->count - position) * sizeof(*entry));
    entry->name = copy;
    entry->inode = hf_mem_inode_ref(inode);
    directory->count++;
    return 0;
}

int hf_mem_directory_set(struct hf_mem_directory *directory, const char *name,
                         struct hf_mem_inode *inode)
{
    struct hf_mem_entry *entry = find_entry(directory, name);
    struct hf_mem_inode *old;

    if (!entry)
        return directory_insert(directory, name, inode);
    old = entry->inode;
    entry->inode = hf_mem_inode_ref(inode);
    hf_mem_inode_unref(old);
    return 0;
}

void hf_mem_directory_remove(struct hf_mem_directory *directory, const char *name)
{
    struct hf_mem_entry *entry = find_entry(directory, name);
    struct hf_mem_inode *inode;
    char *copy;

    if (!entry)
        return;
    inode = entry->inode;
    copy = entry->name;
    directory->count--;
    memmove(entry, entry + 1,
            (directory->count - (size_t)(entry - directory->entries)) * sizeof(*entry));
    free(copy);
    hf_mem_inode_unref(inode);
}

void hf_mem_directory_clear(struct hf_mem_directory *directory)
{
    struct hf_mem_directory old = *directory;

    *directory = (struct hf_mem_directory){0};
    for (size_t i = 0; i < old.count; i++) {
        free(old.entries[i].name);
        hf_mem_inode_unref(old.entries[i].inode);
    }
    free(old.entries);
}

/* ---- Paths ---- */

static int lookup_component(struct hf_mem_inode *parent, const char *name, size_t size,
                            struct hf_mem_inode **ret_inode)
{
    char component[HF_IO_PATH_MAX + 1];
    struct hf_mem_inode *inode;

    if (!parent->is_directory)
        return -ENOTDIR;
    HF_ASSERT(size < sizeof(component));
    memcpy(component, name, size);
    component[size] = '\0';
    inode = hf_mem_directory_find(&parent->directory, component);
    if (!inode)
        return -ENOENT;
    *ret_inode = inode;
    return 0;
}

/* Follows the first `size` bytes of the path. */
static int lookup(struct hf_mem_io *io, const char *path, size_t size,
                  struct hf_mem_inode **ret_inode)
{
    struct hf_mem_inode *inode = io->root;
    size_t position = 0;

    while (position < size) {
        size_t part = HF_MIN(strcspn(path + position, "/"), size - position);
        int error = lookup_component(inode, path + position, part, &inode);

        if (error)
            return error;
        position += part + 1;
    }
    *ret_inode = inode;
    return 0;
}

int hf_mem_lookup(struct hf_mem_io *io, const char *path, struct hf_mem_inode **ret_inode)
{
    return lookup(io, path, strlen(path), ret_inode);
}

static int lookup_directory(struct hf_mem_io *io, const char *path, size_t size,
                            struct hf_mem_inode **ret_inode)
{
    struct hf_mem_inode *inode = NULL;
    int error = lookup(io, path, size, &inode);

    if (error)
        return error;
    if (!inode->is_directory)
        return -ENOTDIR;
    *ret_inode = inode;
    return 0;
}

int hf_mem_lookup_directory(struct hf_mem_io *io, const char *path, struct hf_mem_inode **ret_inode)
{
    return lookup_directory(io, path, strlen(path), ret_inode);
}

int hf_mem_lookup_parent(struct hf_mem_io *io, const char *path, struct hf_mem_inode **ret_parent,
                         const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 0;
    int error = lookup_directory(io, path, size, ret_parent);

    if (!error)
        *ret_name = slash ? slash + 1 : path;
    return error;
}

/* ---- Rules of unlink and rename ---- */

int hf_mem_unlink_check(struct hf_mem_io *io, const char *path, struct hf_mem_inode **ret_parent,
                        const char **ret_name)
{
    struct hf_mem_inode *inode = NULL;
    int error = hf_mem_lookup(io, path, &inode);

    if (error)
        return error;
    if (inode->is_directory && inode->directory.count > 0)
        return -ENOTEMPTY;
    return hf_mem_lookup_parent(io, path, ret_parent, ret_name);
}

static int check_replaced(const struct hf_mem_inode *inode, const struct hf_mem_inode *old)
{
    if (inode->is_directory && !old->is_directory)
        return -ENOTDIR;
    if (!inode->is_directory && old->is_directory)
        return -EISDIR;
    return old->directory.count > 0 ? -ENOTEMPTY : 0;
}

/* Whether `to` names something below `from`. */
static bool is_below(const char *from, const char *to)
{
    size_t size = strlen(from);

    return strncmp(from, to, size) == 0 && to[size] == '/';
}

int hf_mem_rename_check(struct hf_mem_io *io, const char *from, const char *to,
                        struct hf_mem_rename *ret_rename)
{
    struct hf_mem_rename rename = {0};
    struct hf_mem_inode *old;
    int error = hf_mem_lookup(io, from, &rename.inode);

    if (!error)
        error = hf_mem_lookup_parent(io, from, &rename.from_parent, &rename.from_name);
    if (!error && is_below(from, to))
        error = -EINVAL;
    if (!error)
        error = hf_mem_lookup_parent(io, to, &rename.to_parent, &rename.to_name);
    if (error)
        return error;
    old = hf_mem_directory_find(&rename.to_parent->directory, rename.to_name);
    rename.same = old == rename.inode;
    if (old && !rename.same)
        error = check_replaced(rename.inode, old);
    if (!error)
        *ret_rename = rename;
    return error;
}

uint64_t hf_mem_used_bytes(const struct hf_mem_inode *inode)
{
    uint64_t bytes = hf_sparse_bytes(&inode->content);

    for (size_t i = 0; i < inode->directory.count; i++)
        bytes += hf_mem_used_bytes(inode->directory.entries[i].inode);
    return bytes;
}
