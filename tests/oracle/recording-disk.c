// SPDX-License-Identifier: Apache-2.0
/*
 * A disk that keeps an independent record (nbdkit plugin): behind nbdfuse and a loop device it is
 * the hardware under a protected disk. Enters begin and end of every write, zeroing and discard,
 * and keeps the content in a plain file to compare with.
 *
 *     nbdkit ./oracle-recording-disk.so file=IMAGE size=BYTES record=FILE [discard=zero|keep]
 * [delay_us=N]
 *
 * discard=keep leaves old data in place, as devices may: a replica that calls that a difference is
 * wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "oracle/record.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static char *image_path;
static char *record_path;
static int64_t disk_bytes = -1;
static bool discard_keeps;
static int delay_us;
static int image_fd = -1;
static struct oracle_record *record;

static int disk_config(const char *key, const char *value)
{
    if (strcmp(key, "file") == 0)
        return (image_path = nbdkit_absolute_path(value)) != NULL ? 0 : -1;
    if (strcmp(key, "record") == 0)
        return (record_path = nbdkit_absolute_path(value)) != NULL ? 0 : -1;
    if (strcmp(key, "size") == 0)
        return (disk_bytes = nbdkit_parse_size(value)) >= 0 ? 0 : -1;
    if (strcmp(key, "delay_us") == 0)
        return nbdkit_parse_int("delay_us", value, &delay_us);
    if (strcmp(key, "discard") == 0) {
        discard_keeps = strcmp(value, "keep") == 0;
        return 0;
    }
    nbdkit_error("unknown parameter '%s'", key);
    return -1;
}

static int disk_config_complete(void)
{
    if (image_path != NULL && record_path != NULL && disk_bytes > 0)
        return 0;
    nbdkit_error("file=, size= and record= are needed");
    return -1;
}

static int disk_get_ready(void)
{
    int fd = open(record_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    void *memory = MAP_FAILED;

    image_fd = open(image_path, O_RDWR | O_CREAT, 0600);
    if (fd >= 0 && ftruncate(fd, (off_t)ORACLE_RECORD_BYTES) == 0)
        memory = mmap(NULL, ORACLE_RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (image_fd < 0 || memory == MAP_FAILED || ftruncate(image_fd, disk_bytes) < 0) {
        nbdkit_error("cannot open %s or %s: %m", image_path, record_path);
        return -1;
    }
    record = memory;
    record->magic = ORACLE_MAGIC;
    record->disks = 1;
    record->disk_bytes = (uint64_t)disk_bytes;
    return 0;
}

static void disk_unload(void)
{
    if (record != NULL)
        munmap(record, ORACLE_RECORD_BYTES);
    if (image_fd >= 0)
        close(image_fd);
    free(image_path);
    free(record_path);
}

static void *disk_open(int readonly)
{
    return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t disk_get_size(void *handle)
{
    return disk_bytes;
}

static int disk_can_multi_conn(void *handle)
{
    return 1;
}

static struct oracle_entry *enter(enum oracle_kind kind, uint32_t count, uint64_t offset)
{
    uint64_t number = atomic_fetch_add(&record->count, 1);
    struct oracle_entry *entry;

    if (number >= ORACLE_ENTRIES_MAX)
        return NULL;
    entry = &record->entries[number];
    entry->offset = offset;
    entry->length = count;
    entry->submit_ns = oracle_now_ns();
    atomic_thread_fence(memory_order_seq_cst);
    entry->kind = (uint16_t)kind;
    if (delay_us > 0)
        usleep((useconds_t)delay_us);
    return entry;
}

static int leave(struct oracle_entry *entry, int result)
{
    if (result < 0)
        nbdkit_set_error(errno);
    else if (entry != NULL)
        entry->complete_ns = oracle_now_ns();
    return result < 0 ? -1 : 0;
}

static int disk_pread(void *handle, void *buffer, uint32_t count, uint64_t offset, uint32_t flags)
{
    return pread(image_fd, buffer, count, (off_t)offset) == (ssize_t)count ? 0 : -1;
}

static int disk_pwrite(void *handle, const void *buffer, uint32_t count, uint64_t offset,
                       uint32_t flags)
{
    struct oracle_entry *entry = enter(ORACLE_WRITE, count, offset);

    return leave(entry, pwrite(image_fd, buffer, count, (off_t)offset) == (ssize_t)count ? 0 : -1);
}

static int make_zero(uint32_t count, uint64_t offset)
{
    return fallocate(image_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, count);
}

static int disk_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    struct oracle_entry *entry = enter(ORACLE_ZERO, count, offset);

    return leave(entry, make_zero(count, offset));
}

static int disk_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    struct oracle_entry *entry = enter(ORACLE_DISCARD, count, offset);

    return leave(entry, discard_keeps ? 0 : make_zero(count, offset));
}

static int disk_flush(void *handle, uint32_t flags)
{
    return fdatasync(image_fd);
}

static struct nbdkit_plugin plugin = {
    .name = "oracle-recording-disk",
    .version = "1",
    .unload = disk_unload,
    .config = disk_config,
    .config_complete = disk_config_complete,
    .get_ready = disk_get_ready,
    .open = disk_open,
    .get_size = disk_get_size,
    .can_multi_conn = disk_can_multi_conn,
    .pread = disk_pread,
    .pwrite = disk_pwrite,
    .zero = disk_zero,
    .trim = disk_trim,
    .flush = disk_flush,
};

NBDKIT_REGISTER_PLUGIN(plugin)
