// SPDX-License-Identifier: Apache-2.0
/*
 * A file system in memory, as the memory and crash back ends use it: inodes, directories, open
 * files, locks. The caller holds the back end's lock. Calls return 0 or a negative errno.
 */
#ifndef HF_IO_MEMORY_INTERNAL_H
#define HF_IO_MEMORY_INTERNAL_H

#include <pthread.h>

#include "io/io.h"
#include "io/sparse.h"

#define HF_MEMORY_SPACE_BYTES ((uint64_t)1 << 40) /* what `space` calls the whole */

struct hf_mem_inode;
struct hf_crash_content;

struct hf_mem_entry {
    char *name;
    struct hf_mem_inode *inode; /* a reference */
};

/* Entries in byte order of their names. Zero-initialised is empty. */
struct hf_mem_directory {
    struct hf_mem_entry *entries;
    size_t count;
    size_t capacity;
};

struct hf_mem_inode {
    unsigned references; /* entries, open files, and whoever else called hf_mem_inode_ref */
    bool is_directory;
    struct hf_mem_directory directory;
    struct hf_sparse content;
    uint64_t size;
    uint64_t shared_holders;
    struct hf_file *exclusive_holder;
    /* The crash back end's: what a power cut would leave. NULL in the memory back end. */
    struct hf_crash_content *crash;
    struct hf_mem_directory durable_directory;
    bool reachable; /* scratch of a restart */
};

struct hf_mem_file {
    struct hf_file file;
    struct hf_mem_inode *inode;
    enum hf_lock_mode lock_mode;
};

struct hf_mem_io {
    struct hf_io io;
    pthread_mutex_t lock; /* guards everything below and all inodes */
    struct hf_mem_inode *root;
    unsigned open_files;
};

/* ---- Inodes and directories (memory-tree.c) ---- */

int hf_mem_inode_new(bool is_directory, struct hf_mem_inode **ret_inode); /* one reference */
struct hf_mem_inode *hf_mem_inode_ref(struct hf_mem_inode *inode);
void hf_mem_inode_unref(struct hf_mem_inode *inode); /* NULL-safe */

struct hf_mem_inode *hf_mem_directory_find(const struct hf_mem_directory *directory,
                                           const char *name);
/* Puts `inode` (a new reference) under the name, in place of what was there. -ENOMEM: unchanged. */
int hf_mem_directory_set(struct hf_mem_directory *directory, const char *name,
                         struct hf_mem_inode *inode);
void hf_mem_directory_remove(struct hf_mem_directory *directory, const char *name);
void hf_mem_directory_clear(struct hf_mem_directory *directory);

/* "" is the root. -ENOENT, -ENOTDIR. The inode is borrowed. */
int hf_mem_lookup(struct hf_mem_io *io, const char *path, struct hf_mem_inode **ret_inode);
int hf_mem_lookup_directory(struct hf_mem_io *io, const char *path,
                            struct hf_mem_inode **ret_inode);
/* The directory that holds (or would hold) the last component, and that component, in place. */
int hf_mem_lookup_parent(struct hf_mem_io *io, const char *path, struct hf_mem_inode **ret_parent,
                         const char **ret_name);

/* What rename may do; the caller then changes the directories. ret_same: both names are one inode
 * already and nothing is to be done. */
struct hf_mem_rename {
    struct hf_mem_inode *from_parent;
    struct hf_mem_inode *to_parent;
    const char *from_name;
    const char *to_name;
    struct hf_mem_inode *inode;
    bool same;
};
int hf_mem_rename_check(struct hf_mem_io *io, const char *from, const char *to,
                        struct hf_mem_rename *ret_rename);
int hf_mem_unlink_check(struct hf_mem_io *io, const char *path, struct hf_mem_inode **ret_parent,
                        const char **ret_name);
uint64_t hf_mem_used_bytes(const struct hf_mem_inode *inode); /* of it and all below */

/* ---- Open files (memory-file.c) ---- */

int hf_mem_file_new(struct hf_mem_io *io, struct hf_mem_inode *inode, struct hf_file **ret_file);
void hf_mem_file_free(struct hf_mem_io *io, struct hf_file *file);
/* What the kernel would refuse for a DIRECT file. */
int hf_mem_check_direct(const struct hf_file *file, const void *data, uint64_t size,
                        uint64_t offset);
size_t hf_mem_read(const struct hf_mem_inode *inode, void *data, size_t size, uint64_t offset);
int hf_mem_write(struct hf_mem_inode *inode, const void *data, size_t size, uint64_t offset);
int hf_mem_truncate(struct hf_mem_inode *inode, uint64_t size);
void hf_mem_stat(const struct hf_mem_inode *inode, struct hf_io_stat *ret_stat);
int hf_mem_next_data(const struct hf_mem_inode *inode, uint64_t from, uint64_t *ret_offset,
                     uint64_t *ret_length);
int hf_mem_lock(struct hf_file *file, enum hf_lock_mode mode);

/* ---- Slots that both back ends share as they are (memory.c) ---- */

int hf_mem_io_init(struct hf_mem_io *io, const struct hf_io_ops *ops);
void hf_mem_io_done(struct hf_mem_io *io); /* asserts that every file is closed */
extern const struct hf_io_ops hf_mem_ops;

#endif
