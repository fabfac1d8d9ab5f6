// SPDX-License-Identifier: Apache-2.0
/*
 * Files as an interface, so that journal and store run unchanged over real files, io_uring, memory,
 * and the two back ends that prove them: `fault` (the n-th call fails, writes stop short, the disk
 * fills at byte n, calls take time) and `crash` (a power cut after the n-th call: what was not
 * synced is lost, kept or torn, sector by sector).
 *
 * Calls block. A struct hf_io may be used by any thread; one struct hf_file by any thread for
 * reads, and by one thread at a time for writes and syncs. Paths are relative to the root the back
 * end was made with, never begin with
 * '/', hold no "..", and are at most HF_IO_PATH_MAX bytes.
 */
#ifndef HF_IO_IO_H
#define HF_IO_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF_IO_PATH_MAX 1024
#define HF_IO_BATCH_MAX 64       /* most operations in one hf_io_run */
#define HF_IO_LIST_MAX (1 << 20) /* most names hf_io_list takes from one directory */
#define HF_IO_ALIGN                                                                                \
    4096 /* buffers and ranges of O_DIRECT files are multiples of this unless the file says less   \
          */

struct hf_io;
struct hf_file;

enum hf_open_flags {
    HF_OPEN_READ = 1,
    HF_OPEN_WRITE = 2,
    HF_OPEN_CREATE = 4,    /* make it when absent */
    HF_OPEN_EXCLUSIVE = 8, /* with CREATE: -EEXIST when present */
    HF_OPEN_DIRECT = 16,   /* bypass the page cache; -EINVAL where the back end cannot */
};

enum hf_lock_mode { HF_LOCK_NONE, HF_LOCK_SHARED, HF_LOCK_EXCLUSIVE };

struct hf_io_stat {
    uint64_t size;            /* bytes */
    uint64_t allocated_bytes; /* space it takes; SIZE for back ends that cannot tell */
    uint32_t align_bytes;     /* for DIRECT: offsets, lengths and buffers are multiples of this */
};

/* One operation of a batch. `result` is filled: 0, or a negative errno; short reads and writes are
 * errors (-EIO). */
struct hf_io_op {
    enum { HF_IO_READ, HF_IO_WRITE } kind;
    struct hf_file *file;
    void *data;
    size_t size;
    uint64_t offset;
    int result;
};

/*
 * The table a back end fills. `size` and `version` come first and the table only grows at its end.
 * Every slot is required unless marked optional.
 */
struct hf_io_ops {
    uint32_t size;    /* sizeof(struct hf_io_ops) of the back end's build */
    uint32_t version; /* 1 */
    void (*free)(struct hf_io *io);
    int (*open)(struct hf_io *io, const char *path, unsigned flags, struct hf_file **ret_file);
    void (*close)(struct hf_file *file);
    int (*read)(struct hf_file *file, void *data, size_t size, uint64_t offset, size_t *ret_size);
    int (*write)(struct hf_file *file, const void *data, size_t size, uint64_t offset);
    int (*sync)(struct hf_file *file);
    int (*truncate)(struct hf_file *file, uint64_t size);
    int (*punch)(struct hf_file *file, uint64_t offset, uint64_t length);
    int (*allocate)(struct hf_file *file, uint64_t offset, uint64_t length);
    int (*stat)(struct hf_file *file, struct hf_io_stat *ret_stat);
    int (*next_data)(struct hf_file *file, uint64_t from, uint64_t *ret_offset,
                     uint64_t *ret_length);
    int (*lock)(struct hf_file *file, enum hf_lock_mode mode);
    int (*mkdir)(struct hf_io *io, const char *path);
    int (*rename)(struct hf_io *io, const char *from, const char *to);
    int (*unlink)(struct hf_io *io, const char *path);
    int (*sync_dir)(struct hf_io *io, const char *path);
    int (*list)(struct hf_io *io, const char *path, int (*each)(void *context, const char *name),
                void *context);
    int (*space)(struct hf_io *io, uint64_t *ret_total_bytes, uint64_t *ret_free_bytes);
    int (*run)(struct hf_io *io, struct hf_io_op *ops,
               size_t count); /* optional: default runs them one by one */
};

struct hf_io {
    const struct hf_io_ops *ops;
};

/* A back end's own file struct begins with this. hf_io_open fills it; back ends only read it. */
struct hf_file {
    struct hf_io *io;
    unsigned flags; /* as opened */
    bool
        sync_failed; /* fault 27: changes and syncs give -HF_ESYNC from here on; reads still work */
};

/* ---- Making back ends. Each returns 0 and a struct owned by the caller (hf_io_free), or a
 * negative errno. ---- */

/* Plain files below the directory `root` (which exists). */
int hf_io_file_new(const char *root, struct hf_io **ret_io);
/* The same through io_uring; -ENOSYS or -EPERM where the kernel refuses it. `depth`
 * is 1..HF_IO_BATCH_MAX. */
int hf_io_uring_new(const char *root, unsigned depth, struct hf_io **ret_io);
/* io_uring when it works here, else plain files. */
int hf_io_best_new(const char *root, struct hf_io **ret_io);
/* Everything in memory; DIRECT is accepted. For tests and the simulator. */
int hf_io_memory_new(struct hf_io **ret_io);
void hf_io_free(struct hf_io *io); /* NULL-safe; every file must be closed */

/* ---- Calls ---- */

/* Opens a file below the root; `flags` as above. The caller closes it. */
/* A path that breaks the rules above, flags without READ or WRITE, or a range past 2^63-1 give
 * -EINVAL from every call. New files are 0600, new directories 0700. */
int hf_io_open(struct hf_io *io, const char *path, unsigned flags, struct hf_file **ret_file);
void hf_io_close(struct hf_file *file); /* NULL-safe */
/* Reads up to size bytes; fewer only at the end of the file (0 behind it). */
int hf_io_read(struct hf_file *file, void *data, size_t size, uint64_t offset, size_t *ret_size);
/* Reads exactly size bytes; HF_ECORRUPT when the file ends before. */
int hf_io_read_full(struct hf_file *file, void *data, size_t size, uint64_t offset);
/* Writes all of it or fails; after a failure any part may have been written. */
int hf_io_write(struct hf_file *file, const void *data, size_t size, uint64_t offset);
/* fdatasync(2): content and size are durable when it returns 0. After a failure the file must not
 * be trusted again: the kernel may have dropped the dirty pages and would call the next sync a
 * success (fault 27); so every later change and sync through it gives -HF_ESYNC. */
int hf_io_sync(struct hf_file *file);
int hf_io_truncate(struct hf_file *file, uint64_t size);
/* Makes a range read as zeros and gives its space back where it can; the size stays. */
int hf_io_punch(struct hf_file *file, uint64_t offset, uint64_t length);
/* Reserves space, so that a later write there does not meet a full disk; may enlarge the file with
 * zeros. */
int hf_io_allocate(struct hf_file *file, uint64_t offset, uint64_t length);
int hf_io_stat(struct hf_file *file, struct hf_io_stat *ret_stat);
/* The first run at or after `from` that may hold data (SEEK_DATA); -ENXIO when only a hole is left.
 */
int hf_io_next_data(struct hf_file *file, uint64_t from, uint64_t *ret_offset,
                    uint64_t *ret_length);
/* Advisory, per open file (OFD), given up by close: -EAGAIN when another open file holds it in the
 * way; never waits. SHARED needs a file open for READ, EXCLUSIVE one open for WRITE. */
int hf_io_lock(struct hf_file *file, enum hf_lock_mode mode);
int hf_io_mkdir(struct hf_io *io, const char *path); /* -EEXIST when present */
int hf_io_rename(struct hf_io *io, const char *from, const char *to);
/* Also removes an empty directory; -ENOTEMPTY for another. */
int hf_io_unlink(struct hf_io *io, const char *path);
/* Makes the names in directory `path` ("" is the root) durable. */
int hf_io_sync_dir(struct hf_io *io, const char *path);
/* Calls each(context, name) for every name but . and .., in byte order; stops at its first non-zero
 * and returns that. `each` may change the directory. -HF_ETOOBIG over HF_IO_LIST_MAX names. */
int hf_io_list(struct hf_io *io, const char *path, int (*each)(void *context, const char *name),
               void *context);
int hf_io_space(struct hf_io *io, uint64_t *ret_total_bytes, uint64_t *ret_free_bytes);
/* Runs all operations, at once where the back end can; each has its result. Returns the first
 * failure in order, or 0. */
int hf_io_run(struct hf_io *io, struct hf_io_op *ops, size_t count);

#endif
