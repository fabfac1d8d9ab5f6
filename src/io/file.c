// SPDX-License-Identifier: Apache-2.0
/*
 * Plain files with blocking system calls. Every call is restarted after a signal, and a short read
 * or write goes on where it stopped.
 */
#include "io/file-internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/base.h"
#include "base/error.h"
#include "io/io-internal.h"

#define ZERO_SIZE ((size_t)64 * 1024) /* written at a time where holes cannot be punched */

static struct hf_file_io *io_of(struct hf_io *io)
{
    return (struct hf_file_io *)io;
}

static struct hf_file_file *file_of(struct hf_file *file)
{
    return (struct hf_file_file *)file;
}

/* ---- Opening ---- */

int hf_file_io_init(struct hf_file_io *file_io, const struct hf_io_ops *ops, const char *root)
{
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    *file_io = (struct hf_file_io){.io = {.ops = ops}, .root_fd = fd};
    return 0;
}

void hf_file_io_done(struct hf_file_io *file_io)
{
    close(file_io->root_fd);
}

static void file_free(struct hf_io *io)
{
    hf_file_io_done(io_of(io));
    free(io);
}

static int open_flags(unsigned flags)
{
    int result = O_CLOEXEC | O_NOCTTY;

    if ((flags & HF_OPEN_READ) && (flags & HF_OPEN_WRITE))
        result |= O_RDWR;
    else
        result |= flags & HF_OPEN_WRITE ? O_WRONLY : O_RDONLY;
    if (flags & HF_OPEN_CREATE)
        result |= O_CREAT;
    if (flags & HF_OPEN_EXCLUSIVE)
        result |= O_EXCL;
    if (flags & HF_OPEN_DIRECT)
        result |= O_DIRECT;
    return result;
}

/* Never assumed: the kernel says, or the block device does; else the safe HF_IO_ALIGN. */
static uint32_t file_alignment(int fd)
{
    int sector_bytes;
#ifdef STATX_DIOALIGN
    struct statx info;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
        (info.stx_mask & STATX_DIOALIGN) && info.stx_dio_offset_align != 0)
        return HF_MAX(info.stx_dio_offset_align, info.stx_dio_mem_align);
#endif
    if (ioctl(fd, BLKSSZGET, &sector_bytes) == 0 && sector_bytes > 0)
        return (uint32_t)sector_bytes;
    return HF_IO_ALIGN;
}

/* open(2) takes a directory for reading; a file is what was asked for. */
static int check_file_kind(int fd)
{
    struct stat info;

    if (fstat(fd, &info) != 0)
        return -errno;
    return S_ISDIR(info.st_mode) ? -EISDIR : 0;
}

static int file_open(struct hf_io *io, const char *path, unsigned flags, struct hf_file **ret_file)
{
    struct hf_file_file *opened;
    int fd, error;

    do {
        fd = openat(io_of(io)->root_fd, path, open_flags(flags), 0600);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    error = check_file_kind(fd);
    opened = error ? NULL : calloc(1, sizeof(*opened));
    if (!opened) {
        close(fd);
        return error ? error : -ENOMEM;
    }
    opened->fd = fd;
    opened->align_bytes = file_alignment(fd);
    *ret_file = &opened->file;
    return 0;
}

static void file_close(struct hf_file *file)
{
    close(file_of(file)->fd);
    free(file);
}

/* ---- Content ---- */

/* A direct read that ends off the alignment met the end of the file; asking on from there would
 * be refused as misaligned. */
static int file_read(struct hf_file *file, void *data, size_t size, uint64_t offset,
                     size_t *ret_size)
{
    struct hf_file_file *self = file_of(file);
    size_t done = 0;

    while (done < size) {
        ssize_t got = pread(self->fd, (char *)data + done, size - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        done += (size_t)got;
        if (got == 0 || ((file->flags & HF_OPEN_DIRECT) && done % self->align_bytes != 0))
            break;
    }
    *ret_size = done;
    return 0;
}

static int file_write(struct hf_file *file, const void *data, size_t size, uint64_t offset)
{
    size_t done = 0;

    while (done < size) {
        ssize_t put = pwrite(file_of(file)->fd, (const char *)data + done, size - done,
                             (off_t)(offset + done));

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        if (put == 0)
            return -EIO;
        done += (size_t)put;
    }
    return 0;
}

int hf_file_run_op(const struct hf_io_op *op)
{
    size_t got = 0;
    int error;

    if (op->kind == HF_IO_WRITE)
        return file_write(op->file, op->data, op->size, op->offset);
    error = file_read(op->file, op->data, op->size, op->offset, &got);
    if (error)
        return error;
    return got == op->size ? 0 : -EIO;
}

/* Not restarted: a sync that a signal broke off has an unknown outcome, and is not to be repeated
 * (fault 27). */
static int file_sync(struct hf_file *file)
{
    return fdatasync(file_of(file)->fd) == 0 ? 0 : -errno;
}

static int file_truncate(struct hf_file *file, uint64_t size)
{
    while (ftruncate(file_of(file)->fd, (off_t)size) != 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int file_size(int fd, uint64_t *ret_size)
{
    off_t end = lseek(fd, 0, SEEK_END);

    if (end < 0)
        return -errno;
    *ret_size = (uint64_t)end;
    return 0;
}

static int file_zero(struct hf_file *file, uint64_t offset, uint64_t length)
{
    static const char zeros[ZERO_SIZE] __attribute__((aligned(HF_IO_ALIGN)));
    uint64_t size = 0, end;
    int error = file_size(file_of(file)->fd, &size);

    if (error)
        return error;
    end = HF_MIN(offset + length, size);
    while (!error && offset < end) {
        size_t part = HF_MIN(end - offset, (uint64_t)ZERO_SIZE);

        error = file_write(file, zeros, part, offset);
        offset += part;
    }
    return error;
}

static int file_fallocate(int fd, int mode, uint64_t offset, uint64_t length)
{
    while (fallocate(fd, mode, (off_t)offset, (off_t)length) != 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int file_punch(struct hf_file *file, uint64_t offset, uint64_t length)
{
    int error = file_fallocate(file_of(file)->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               offset, length);

    return error == -EOPNOTSUPP ? file_zero(file, offset, length) : error;
}

static int file_allocate(struct hf_file *file, uint64_t offset, uint64_t length)
{
    int error = file_fallocate(file_of(file)->fd, 0, offset, length);

    if (error != -EOPNOTSUPP)
        return error;
    return -posix_fallocate(file_of(file)->fd, (off_t)offset, (off_t)length);
}

static int file_stat(struct hf_file *file, struct hf_io_stat *ret_stat)
{
    struct hf_file_file *self = file_of(file);
    struct hf_io_stat result = {.align_bytes = self->align_bytes};
    struct stat info;

    if (fstat(self->fd, &info) != 0)
        return -errno;
    if (S_ISBLK(info.st_mode)) {
        if (ioctl(self->fd, BLKGETSIZE64, &result.size) != 0)
            return -errno;
        result.allocated_bytes = result.size;
    } else {
        result.size = (uint64_t)info.st_size;
        result.allocated_bytes = (uint64_t)info.st_blocks * 512;
    }
    *ret_stat = result;
    return 0;
}

/* Where holes cannot be asked for, everything may hold data. */
static int next_data_unknown(int fd, uint64_t from, uint64_t *ret_offset, uint64_t *ret_length)
{
    uint64_t size = 0;
    int error = file_size(fd, &size);

    if (error)
        return error;
    if (from >= size)
        return -ENXIO;
    *ret_offset = from;
    *ret_length = size - from;
    return 0;
}

static int file_next_data(struct hf_file *file, uint64_t from, uint64_t *ret_offset,
                          uint64_t *ret_length)
{
    int fd = file_of(file)->fd;
    off_t start = lseek(fd, (off_t)from, SEEK_DATA), end;

    if (start < 0 && (errno == EINVAL || errno == EOPNOTSUPP))
        return next_data_unknown(fd, from, ret_offset, ret_length);
    if (start < 0)
        return -errno;
    end = lseek(fd, start, SEEK_HOLE);
    if (end < 0)
        return -errno;
    if (end <= start) /* changed in between: what is there now begins anew */
        return next_data_unknown(fd, (uint64_t)start, ret_offset, ret_length);
    *ret_offset = (uint64_t)start;
    *ret_length = (uint64_t)(end - start);
    return 0;
}

static int file_lock(struct hf_file *file, enum hf_lock_mode mode)
{
    static const short types[] = {
        [HF_LOCK_NONE] = F_UNLCK, [HF_LOCK_SHARED] = F_RDLCK, [HF_LOCK_EXCLUSIVE] = F_WRLCK};
    struct flock request = {.l_type = types[mode], .l_whence = SEEK_SET};

    if (fcntl(file_of(file)->fd, F_OFD_SETLK, &request) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

/* ---- Names ---- */

static int file_mkdir(struct hf_io *io, const char *path)
{
    return mkdirat(io_of(io)->root_fd, path, 0700) == 0 ? 0 : -errno;
}

static int file_rename(struct hf_io *io, const char *from, const char *to)
{
    int root = io_of(io)->root_fd;

    return renameat(root, from, root, to) == 0 ? 0 : -errno;
}

static int file_unlink(struct hf_io *io, const char *path)
{
    int root = io_of(io)->root_fd;

    if (unlinkat(root, path, 0) == 0)
        return 0;
    if (errno != EISDIR)
        return -errno;
    return unlinkat(root, path, AT_REMOVEDIR) == 0 ? 0 : -errno;
}

static int open_directory(struct hf_io *io, const char *path)
{
    int fd = openat(io_of(io)->root_fd, path[0] ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static int file_sync_dir(struct hf_io *io, const char *path)
{
    int fd = open_directory(io, path), error;

    if (fd < 0)
        return fd;
    error = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return error;
}

static int read_names(DIR *directory, struct hf_name_list *names)
{
    for (;;) {
        struct dirent *entry;
        int error;

        errno = 0;
        entry = readdir(directory);
        if (!entry)
            return -errno;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        error = hf_name_list_add(names, entry->d_name);
        if (error)
            return error;
    }
}

static int file_list(struct hf_io *io, const char *path,
                     int (*each)(void *context, const char *name), void *context)
{
    struct hf_name_list names = {0};
    int fd = open_directory(io, path), error;
    DIR *directory;

    if (fd < 0)
        return fd;
    directory = fdopendir(fd);
    if (!directory) {
        error = -errno;
        close(fd);
        return error;
    }
    error = read_names(directory, &names);
    closedir(directory);
    if (!error)
        error = hf_name_list_visit(&names, each, context);
    hf_name_list_done(&names);
    return error;
}

static int file_space(struct hf_io *io, uint64_t *ret_total_bytes, uint64_t *ret_free_bytes)
{
    struct statvfs info;

    if (fstatvfs(io_of(io)->root_fd, &info) != 0)
        return -errno;
    *ret_total_bytes = (uint64_t)info.f_blocks * info.f_frsize;
    *ret_free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    return 0;
}

const struct hf_io_ops hf_file_ops = {
    .size = sizeof(struct hf_io_ops),
    .version = 1,
    .free = file_free,
    .open = file_open,
    .close = file_close,
    .read = file_read,
    .write = file_write,
    .sync = file_sync,
    .truncate = file_truncate,
    .punch = file_punch,
    .allocate = file_allocate,
    .stat = file_stat,
    .next_data = file_next_data,
    .lock = file_lock,
    .mkdir = file_mkdir,
    .rename = file_rename,
    .unlink = file_unlink,
    .sync_dir = file_sync_dir,
    .list = file_list,
    .space = file_space,
};

int hf_io_file_new(const char *root, struct hf_io **ret_io)
{
    struct hf_file_io *file_io = calloc(1, sizeof(*file_io));
    int error;

    if (!file_io)
        return -ENOMEM;
    error = hf_file_io_init(file_io, &hf_file_ops, root);
    if (error) {
        free(file_io);
        return error;
    }
    *ret_io = &file_io->io;
    return 0;
}
