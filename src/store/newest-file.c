// SPDX-License-Identifier: Apache-2.0
/*
 * The hashes of the newest state across an orderly stop. They are written when the machine is
 * closed with everything durable, together with where the stream stood; opening takes the file
 * away, durably, before a hash from it is believed. So there is never a file beside a machine that
 * has gone on: a crash leaves none, and hashes are computed again.
 */
#include "store/newest-file.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/store-internal.h"

#define LEAF "newest.hash"
#define FILE_BYTES_MAX ((size_t)64 << 20)

struct newest_head {
    hf_le32 magic;
    hf_le16 version;
    hf_le16 disk_count;
    hf_le64 epoch;
    struct hf_id capture;
    hf_le64 seq;
    hf_le64 pass;
    hf_le64 pass_batch;
    hf_le64 secret; /* the manifest's */
    hf_le64 total_size;
} __attribute__((packed));
_Static_assert(sizeof(struct newest_head) == 72, "on disk");

static struct newest_head make_head(const struct hf_journal_progress *at, uint64_t secret)
{
    return (struct newest_head){
        .magic = hf_le32_of(HF_HASHES_MAGIC),
        .version = hf_le16_of(HF_STORE_VERSION),
        .epoch = hf_le64_of(at->stream.epoch),
        .capture = at->stream.capture,
        .seq = hf_le64_of(at->seq),
        .pass = hf_le64_of(at->pass),
        .pass_batch = hf_le64_of(at->pass_batch),
        .secret = hf_le64_of(secret),
    };
}

/* ---- Writing ---- */

static int put_disk(struct hf_bytes *out, uint16_t slot, const struct hf_newest_disk *disk)
{
    int r;

    if ((r = hf_bytes_u16(out, slot)) < 0 || (r = hf_bytes_u64(out, disk->block_count)) < 0 ||
        (r = hf_bytes_append(out, disk->flags, disk->block_count)) < 0)
        return r;
    return hf_bytes_append(out, disk->hashes, disk->block_count * sizeof(*disk->hashes));
}

static int encode(const struct hf_newest *newest, struct newest_head *head, struct hf_bytes *out)
{
    uint16_t count = 0;
    int r = hf_bytes_append(out, head, sizeof(*head));

    for (uint16_t i = 0; r == 0 && i < HF_DISKS_MAX; i++) {
        if (newest->disks[i].block_count == 0)
            continue;
        r = put_disk(out, i, &newest->disks[i]);
        count++;
    }
    if (r < 0)
        return r;
    head->disk_count = hf_le16_of(count);
    head->total_size = hf_le64_of(out->size + sizeof(uint64_t));
    memcpy(out->data, head, sizeof(*head));
    return hf_bytes_u64(out, hf_hash64(out->data, out->size));
}

static int write_file(struct hf_io *io, const char *path, const struct hf_bytes *bytes)
{
    struct hf_file *file;
    int r = hf_io_open(io, path, HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE, &file);

    if (r < 0)
        return r;
    r = hf_io_write(file, bytes->data, bytes->size, 0);
    if (r == 0)
        r = hf_io_sync(file);
    hf_io_close(file);
    return r;
}

int hf_newest_save(struct hf_io *io, const struct hf_id *machine, const struct hf_newest *newest,
                   const struct hf_journal_progress *at, uint64_t secret)
{
    struct newest_head head = make_head(at, secret);
    struct hf_bytes bytes = {.size_max = FILE_BYTES_MAX};
    char path[HF_IO_PATH_MAX];
    int r = encode(newest, &head, &bytes);

    hf_machine_path(machine, LEAF, path);
    if (r == 0)
        r = write_file(io, path, &bytes);
    hf_bytes_clear(&bytes);
    hf_machine_path(machine, NULL, path);
    return r == 0 ? hf_io_sync_dir(io, path) : r;
}

/* ---- Reading ---- */

static int take_file(struct hf_io *io, const struct hf_id *machine, struct hf_bytes *out)
{
    char path[HF_IO_PATH_MAX];
    struct hf_io_stat stat;
    struct hf_file *file;
    int r;

    hf_machine_path(machine, LEAF, path);
    r = hf_io_open(io, path, HF_OPEN_READ, &file);
    if (r < 0)
        return r;
    r = hf_io_stat(file, &stat);
    if (r == 0 && stat.size <= FILE_BYTES_MAX)
        r = hf_bytes_append(out, NULL, (size_t)stat.size);
    if (r == 0 && out->size > 0)
        r = hf_io_read_full(file, out->data, out->size, 0);
    hf_io_close(file);
    return r;
}

/* Durably gone before anything of it is used. */
static int remove_file(struct hf_io *io, const struct hf_id *machine)
{
    char path[HF_IO_PATH_MAX];
    int r;

    hf_machine_path(machine, LEAF, path);
    r = hf_io_unlink(io, path);
    if (r < 0)
        return r;
    hf_machine_path(machine, NULL, path);
    return hf_io_sync_dir(io, path);
}

static bool fits(const struct hf_bytes *bytes, const struct newest_head *wanted)
{
    struct newest_head head;
    hf_le64 hash;

    if (bytes->size < sizeof(head) + sizeof(hash))
        return false;
    memcpy(&head, bytes->data, sizeof(head));
    memcpy(&hash, bytes->data + bytes->size - sizeof(hash), sizeof(hash));
    if (hf_le64_get(head.total_size) != bytes->size ||
        hf_le64_get(hash) != hf_hash64(bytes->data, bytes->size - sizeof(hash)))
        return false;
    head.disk_count = wanted->disk_count;
    head.total_size = wanted->total_size;
    return memcmp(&head, wanted, sizeof(head)) == 0;
}

static void get_disk(struct hf_reader *in, struct hf_newest *newest)
{
    uint16_t slot = hf_reader_u16(in);
    uint64_t count = hf_reader_u64(in);
    const void *flags, *hashes;
    struct hf_newest_disk *disk;

    if (count > HF_NEWEST_HASHES_MAX)
        return;
    flags = hf_reader_bytes(in, count);
    hashes = hf_reader_bytes(in, count * sizeof(struct hf_hash128));
    if (flags == NULL || hashes == NULL || slot >= HF_DISKS_MAX)
        return;
    disk = &newest->disks[slot];
    if (disk->block_count != count)
        return;
    memcpy(disk->flags, flags, count);
    memcpy(disk->hashes, hashes, count * sizeof(struct hf_hash128));
}

static void decode(struct hf_newest *newest, const struct hf_bytes *bytes)
{
    struct hf_reader in;
    struct newest_head head;

    memcpy(&head, bytes->data, sizeof(head));
    hf_reader_init(&in, bytes->data + sizeof(head), bytes->size - sizeof(head) - sizeof(uint64_t));
    for (unsigned i = 0; i < hf_le16_get(head.disk_count) && !in.failed; i++)
        get_disk(&in, newest);
}

int hf_newest_load(struct hf_io *io, const struct hf_id *machine, struct hf_newest *newest,
                   const struct hf_journal_progress *at, uint64_t secret)
{
    struct newest_head wanted = make_head(at, secret);
    struct hf_bytes bytes = {.size_max = FILE_BYTES_MAX};
    int read = take_file(io, machine, &bytes);
    int r = read == -ENOENT ? 0 : remove_file(io, machine);

    if (read == 0 && r == 0 && fits(&bytes, &wanted))
        decode(newest, &bytes);
    hf_bytes_clear(&bytes);
    return r;
}
