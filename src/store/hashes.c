// SPDX-License-Identifier: Apache-2.0
/*
 * Hashes of the newest state, for checksum passes. Kept ones are given back; others are read
 * through base image and journal and kept. A block that cannot be read because it is damaged gets a
 * hash that no content has under this seed but by chance: the pass then sends it again, which mends
 * it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/machine-internal.h"

#define READ_BYTES ((uint64_t)HF_RESOLVE_BLOCKS_MAX * HF_STORE_BLOCK)

int hf_machine_hash_secret(struct hf_machine *machine, uint16_t disk, uint64_t *ret_secret)
{
    if (disk >= HF_DISKS_MAX)
        return -ENOENT;
    *ret_secret = machine->hash_secrets[disk];
    return 0;
}

struct request {
    struct hf_machine *machine;
    uint16_t disk;
    uint32_t block_size;
    uint64_t size_bytes; /* of the disk */
    struct hf_hash128 *hashes;
    uint64_t offset;
    uint8_t *content; /* READ_BYTES */
};

static struct hf_hash128 no_content_hash(const struct request *request, uint64_t offset)
{
    hf_le64 key[2] = {hf_le64_of(offset),
                      hf_le64_of(request->machine->hash_secrets[request->disk])};

    return hf_hash128(key, sizeof(key), request->machine->hash_secrets[request->disk] ^ 1);
}

static uint64_t block_length(const struct request *request, uint64_t offset)
{
    return HF_MIN(request->block_size, request->size_bytes - offset);
}

static int read_one(struct request *request, uint64_t offset, struct hf_hash128 *ret_hash)
{
    uint64_t length = block_length(request, offset);
    int r = hf_resolve_read(&request->machine->newest_resolver, request->disk, UINT64_MAX, offset,
                            request->content, length);

    if (r == -HF_ECORRUPT) {
        *ret_hash = no_content_hash(request, offset);
        return 1;
    }
    if (r == 0)
        *ret_hash =
            hf_hash128(request->content, length, request->machine->hash_secrets[request->disk]);
    return r;
}

static int keep_one(struct request *request, uint64_t offset, const struct hf_hash128 *hash)
{
    if (request->block_size == HF_NEWEST_BLOCK)
        hf_newest_end(&request->machine->newest, request->disk, offset / HF_NEWEST_BLOCK, hash);
    return 0;
}

static int compute_one_by_one(struct request *request, uint64_t offset, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t at = offset + (uint64_t)i * request->block_size;
        struct hf_hash128 *hash = &request->hashes[(at - request->offset) / request->block_size];
        int r = read_one(request, at, hash);

        if (r < 0)
            return r;
        if (r == 0)
            keep_one(request, at, hash);
    }
    return 0;
}

/* Blocks that lie behind each other, at most READ_BYTES of them. */
static int compute_run(struct request *request, uint64_t offset, uint32_t count)
{
    uint64_t end = offset + (uint64_t)count * request->block_size;
    uint64_t length = HF_MIN(end, request->size_bytes) - offset;
    uint64_t secret = request->machine->hash_secrets[request->disk];
    int r = hf_resolve_read(&request->machine->newest_resolver, request->disk, UINT64_MAX, offset,
                            request->content, length);

    if (r == -HF_ECORRUPT)
        return compute_one_by_one(request, offset, count);
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        uint64_t at = offset + (uint64_t)i * request->block_size;
        struct hf_hash128 *hash = &request->hashes[(at - request->offset) / request->block_size];

        *hash = hf_hash128(request->content + (at - offset), block_length(request, at), secret);
        keep_one(request, at, hash);
    }
    return r;
}

static bool is_kept(struct request *request, uint32_t index)
{
    uint64_t offset = request->offset + (uint64_t)index * request->block_size;

    if (request->block_size != HF_NEWEST_BLOCK)
        return false;
    if (hf_newest_get(&request->machine->newest, request->disk, offset / HF_NEWEST_BLOCK,
                      &request->hashes[index]))
        return true;
    hf_newest_begin(&request->machine->newest, request->disk, offset / HF_NEWEST_BLOCK);
    return false;
}

static int serve(struct request *request, uint32_t count)
{
    uint32_t run_max = (uint32_t)(READ_BYTES / request->block_size);
    bool *kept = calloc(count, sizeof(*kept));
    struct hf_journal_progress durable;
    int r;

    if (kept == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        kept[i] = is_kept(request, i);
    /* a reader sees what is durable: so that everything noted before the marks is read after them
     */
    r = hf_machine_sync(request->machine);
    hf_journal_durable(request->machine->journal, &durable);
    if (r == 0)
        r = hf_resolver_refresh(&request->machine->newest_resolver);
    if (r == 0)
        r = hf_resolver_covers(&request->machine->newest_resolver, &durable);
    for (uint32_t i = 0, n; r == 0 && i < count; i += n) {
        for (n = 1; i + n < count && n < run_max && kept[i + n] == kept[i];)
            n++;
        if (!kept[i])
            r = compute_run(request, request->offset + (uint64_t)i * request->block_size, n);
    }
    free(kept);
    return r;
}

/* Bases and their starting positions as they are now; before the journal is refreshed, so that no
 * record is missing on either side. */
static int prepare_resolver(struct hf_machine *machine, uint16_t disk)
{
    struct hf_base_image *base;
    int r = 0;

    if (!machine->has_newest_resolver)
        r = hf_machine_resolver_open(machine, &machine->newest_resolver);
    if (r < 0)
        return r;
    machine->has_newest_resolver = true;
    r = hf_machine_base(machine, disk, &base);
    if (r < 0)
        return r;
    machine->newest_resolver.bases[disk] = base;
    pthread_mutex_lock(&machine->manifest_lock);
    machine->newest_resolver.from[disk] = hf_manifest_disk_from(&machine->manifest, disk);
    pthread_mutex_unlock(&machine->manifest_lock);
    return 0;
}

static int serve_locked(struct hf_machine *machine, struct request *request, uint32_t count)
{
    int r = prepare_resolver(machine, request->disk);

    if (r < 0)
        return r;
    request->content = malloc(READ_BYTES);
    if (request->content == NULL)
        return -ENOMEM;
    r = serve(request, count);
    free(request->content);
    return r;
}

int hf_machine_hashes(struct hf_machine *machine, uint16_t disk, uint64_t offset,
                      uint32_t block_size, uint32_t count, struct hf_hash128 *ret_hashes)
{
    struct request request = {
        .machine = machine,
        .disk = disk,
        .block_size = block_size,
        .hashes = ret_hashes,
        .offset = offset,
    };
    struct hf_machine_disk info;
    uint64_t blocks;
    int r = hf_machine_disk_info(machine, disk, &info);

    if (r < 0)
        return r;
    if ((block_size != HF_NEWEST_BLOCK && block_size != HF_STORE_BLOCK) || offset % block_size != 0)
        return -EINVAL;
    request.size_bytes = info.size_bytes;
    blocks = HF_ALIGN_UP(info.size_bytes, block_size) / block_size;
    if (offset / block_size > blocks || count > blocks - offset / block_size)
        return -EINVAL;
    if (count == 0)
        return 0;
    pthread_mutex_lock(&machine->hash_lock);
    r = serve_locked(machine, &request, count);
    pthread_mutex_unlock(&machine->hash_lock);
    return r;
}
