// SPDX-License-Identifier: Apache-2.0
#include "store/base-image.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/hash.h"
#include "store/store-internal.h"

#define SUM_SIZE sizeof(uint64_t)
#define SUMS_PER_SECTOR (HF_SECTOR / (uint32_t)sizeof(uint64_t))
#define SUMS_PER_WRITE 1024u
#define RUN_BYTES_MAX (1u << 20) /* one operation of a batch of writes */

static bool is_zero_block(const uint8_t *block)
{
    return block[0] == 0 && memcmp(block, block + 1, HF_STORE_BLOCK - 1) == 0;
}

uint64_t hf_base_sum(const void *block)
{
    uint64_t sum;

    if (is_zero_block(block))
        return 0;
    sum = hf_hash64(block, HF_STORE_BLOCK);
    if (sum == 0)
        return 1;
    return sum == HF_SUM_POISON ? HF_SUM_POISON - 1 : sum;
}

static int open_one(struct hf_io *io, const struct hf_id *machine, uint16_t disk, const char *leaf,
                    bool writable, struct hf_file **ret_file)
{
    char path[HF_IO_PATH_MAX];
    unsigned flags = HF_OPEN_READ;
    int r;

    if (writable)
        flags |= HF_OPEN_WRITE | HF_OPEN_CREATE;
    hf_disk_path(machine, disk, leaf, path);
    r = hf_io_open(io, path, flags, ret_file);
    return r == -ENOENT && !writable ? 0 : r;
}

static int make_disk_directory(struct hf_io *io, const struct hf_id *machine, uint16_t disk)
{
    char path[HF_IO_PATH_MAX];
    int r;

    hf_disk_path(machine, disk, NULL, path);
    r = hf_io_mkdir(io, path);
    if (r == -EEXIST)
        return 0;
    if (r < 0)
        return r;
    hf_machine_path(machine, NULL, path);
    return hf_io_sync_dir(io, path);
}

int hf_base_open(struct hf_io *io, const struct hf_id *machine, uint16_t disk, bool writable,
                 struct hf_base_image *ret_base)
{
    struct hf_base_image base = {.io = io};
    char path[HF_IO_PATH_MAX];
    int r = 0;

    if (writable)
        r = make_disk_directory(io, machine, disk);
    if (r == 0)
        r = open_one(io, machine, disk, "base", writable, &base.data);
    if (r == 0)
        r = open_one(io, machine, disk, "base.sums", writable, &base.sums);
    if (r == 0 && writable) {
        hf_disk_path(machine, disk, NULL, path);
        r = hf_io_sync_dir(io, path);
    }
    if (r < 0) {
        hf_base_close(&base);
        return r;
    }
    *ret_base = base;
    pthread_mutex_init(&ret_base->sync_lock, NULL);
    return 0;
}

void hf_base_close(struct hf_base_image *base)
{
    if (base == NULL)
        return;
    hf_io_close(base->data);
    hf_io_close(base->sums);
    base->data = base->sums = NULL;
}

static int read_endless(struct hf_file *file, void *data, size_t size, uint64_t offset)
{
    size_t got = 0;
    int r = 0;

    if (file != NULL)
        r = hf_io_read(file, data, size, offset, &got);
    if (r < 0)
        return r;
    memset((uint8_t *)data + got, 0, size - got);
    return 0;
}

int hf_base_read(struct hf_base_image *base, uint64_t first, uint32_t count, void *content)
{
    return read_endless(base->data, content, (size_t)count * HF_STORE_BLOCK,
                        first * HF_STORE_BLOCK);
}

int hf_base_read_sums(struct hf_base_image *base, uint64_t first, uint32_t count,
                      uint64_t *ret_sums)
{
    int r = read_endless(base->sums, ret_sums, count * SUM_SIZE, first * SUM_SIZE);

    for (uint32_t i = 0; r == 0 && i < count; i++)
        ret_sums[i] = le64toh(ret_sums[i]);
    return r;
}

/*
 * Sums are written in whole sectors, together with their unchanged neighbours: a write that stops
 * short or is cut then ends between sums, never inside one, and each is the old one or the new one.
 */
static int write_sum_sectors(struct hf_base_image *base, uint64_t first, uint32_t count,
                             const uint64_t *sums)
{
    uint64_t raw[SUMS_PER_WRITE + 2 * SUMS_PER_SECTOR];
    uint64_t begin = HF_ALIGN_DOWN(first, SUMS_PER_SECTOR);
    uint64_t size = HF_ALIGN_UP(first + count, SUMS_PER_SECTOR) - begin;
    int r = read_endless(base->sums, raw, size * SUM_SIZE, begin * SUM_SIZE);

    if (r < 0)
        return r;
    for (uint32_t i = 0; i < count; i++)
        raw[first - begin + i] = htole64(sums[i]);
    return hf_io_write(base->sums, raw, size * SUM_SIZE, begin * SUM_SIZE);
}

int hf_base_write_sums(struct hf_base_image *base, uint64_t first, uint32_t count,
                       const uint64_t *sums)
{
    int r = 0;

    for (uint32_t done = 0, n; r == 0 && done < count; done += n) {
        n = HF_MIN(count - done, SUMS_PER_WRITE);
        r = write_sum_sectors(base, first + done, n, sums + done);
    }
    base->changes++;
    return r;
}

static int punch_blocks(struct hf_base_image *base, uint64_t first, uint32_t count)
{
    struct hf_io_stat stat;
    uint64_t begin = first * HF_STORE_BLOCK, end = begin + (uint64_t)count * HF_STORE_BLOCK;
    int r = hf_io_stat(base->data, &stat);

    if (r < 0 || begin >= stat.size)
        return r;
    return hf_io_punch(base->data, begin, HF_MIN(end, stat.size) - begin);
}

/* How many blocks from `at` on are all of one kind, zero or not. */
static uint32_t same_kind(const uint64_t *sums, uint32_t at, uint32_t count)
{
    uint32_t n = 1;

    while (at + n < count && (sums[at + n] == 0) == (sums[at] == 0))
        n++;
    return n;
}

int hf_base_write(struct hf_base_image *base, uint64_t first, uint32_t count, const void *content,
                  const uint64_t *sums)
{
    struct hf_io_op ops[HF_IO_BATCH_MAX];
    size_t op_count = 0;
    int r = 0;

    for (uint32_t i = 0, n; r == 0 && i < count; i += n) {
        n = HF_MIN(same_kind(sums, i, count), RUN_BYTES_MAX / HF_STORE_BLOCK);
        if (sums[i] == 0) {
            r = punch_blocks(base, first + i, n);
            continue;
        }
        ops[op_count++] = (struct hf_io_op){
            .kind = HF_IO_WRITE,
            .file = base->data,
            .data = (uint8_t *)(uintptr_t)content + (size_t)i * HF_STORE_BLOCK,
            .size = (size_t)n * HF_STORE_BLOCK,
            .offset = (first + i) * HF_STORE_BLOCK,
        };
        if (op_count == HF_IO_BATCH_MAX) {
            r = hf_io_run(base->io, ops, op_count);
            op_count = 0;
        }
    }
    if (r == 0 && op_count > 0)
        r = hf_io_run(base->io, ops, op_count);
    base->changes++;
    return r;
}

int hf_base_sync_sums(struct hf_base_image *base)
{
    return hf_io_sync(base->sums);
}

int hf_base_sync(struct hf_base_image *base)
{
    uint64_t changes;
    int r = 0;

    pthread_mutex_lock(&base->sync_lock);
    changes = base->changes;
    if (changes != base->synced) {
        r = hf_io_sync(base->sums);
        if (r == 0)
            r = hf_io_sync(base->data);
        if (r == 0)
            base->synced = changes;
    }
    pthread_mutex_unlock(&base->sync_lock);
    return r;
}

int hf_base_reset(struct hf_base_image *base)
{
    int r = hf_io_truncate(base->sums, 0);

    if (r == 0)
        r = hf_io_truncate(base->data, 0);
    base->changes++;
    return r;
}

static bool file_is_hole(struct hf_file *file, uint64_t offset, uint64_t length)
{
    uint64_t data_offset, data_length;
    int r;

    if (file == NULL)
        return true;
    r = hf_io_next_data(file, offset, &data_offset, &data_length);
    return r == -ENXIO || (r == 0 && data_offset >= offset + length);
}

bool hf_base_is_hole(struct hf_base_image *base, uint64_t first, uint64_t count)
{
    return file_is_hole(base->data, first * HF_STORE_BLOCK, count * HF_STORE_BLOCK) &&
           file_is_hole(base->sums, first * SUM_SIZE, count * SUM_SIZE);
}

static uint64_t next_in_file(struct hf_file *file, uint64_t first, uint64_t unit)
{
    uint64_t offset, length;
    int r;

    if (file == NULL)
        return UINT64_MAX;
    r = hf_io_next_data(file, first * unit, &offset, &length);
    if (r == -ENXIO)
        return UINT64_MAX;
    return r < 0 ? first : HF_MAX(offset / unit, first);
}

uint64_t hf_base_next_data(struct hf_base_image *base, uint64_t first)
{
    uint64_t data = next_in_file(base->data, first, HF_STORE_BLOCK);
    uint64_t sums = next_in_file(base->sums, first, SUM_SIZE);

    return HF_MIN(data, sums);
}

uint64_t hf_base_bytes(struct hf_base_image *base)
{
    struct hf_io_stat stat;
    uint64_t bytes = 0;

    if (base->data != NULL && hf_io_stat(base->data, &stat) == 0)
        bytes += stat.allocated_bytes;
    if (base->sums != NULL && hf_io_stat(base->sums, &stat) == 0)
        bytes += stat.allocated_bytes;
    return bytes;
}
