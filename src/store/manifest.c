// SPDX-License-Identifier: Apache-2.0
/*
 * Encoding and the two files. Crash argument: generation n lives in file n % 2; writing n + 1
 * leaves the file of n alone, and a torn n + 1 fails its checksum, so reading gives n. Only after
 * the sync is n + 1 acted upon.
 */
#include "store/manifest.h"

#include <stdlib.h>

#include "base/base.h"
#include "base/error.h"
#include "store/store-internal.h"

struct manifest_head {
    hf_le32 magic;
    hf_le16 version;
    hf_le16 header_size;
    hf_le32 compatible;
    hf_le32 incompatible;
    hf_le32 total_size; /* header, body and the closing hash */
    hf_le32 reserved;
    hf_le64 generation;
} __attribute__((packed));
_Static_assert(sizeof(struct manifest_head) == 32, "on disk");

void hf_manifest_clear(struct hf_manifest *manifest)
{
    if (manifest != NULL)
        hf_description_clear(&manifest->description);
}

int hf_manifest_copy(const struct hf_manifest *from, struct hf_manifest *ret_copy)
{
    struct hf_description description;
    int r = hf_description_copy(&from->description, &description);

    if (r < 0)
        return r;
    *ret_copy = *from;
    ret_copy->description = description;
    return 0;
}

uint64_t hf_manifest_disk_from(const struct hf_manifest *manifest, uint16_t disk)
{
    const struct hf_manifest_disk *d = &manifest->disks[disk];

    return d->fill == HF_BASE_DIRECT ? HF_MAX(manifest->base_at, d->fill_position)
                                     : manifest->base_at;
}

uint64_t hf_manifest_secret(const struct hf_manifest *manifest, uint16_t disk)
{
    hf_le16 slot = hf_le16_of(disk);
    uint64_t secret = hf_hash64_seeded(&slot, sizeof(slot), manifest->hash_secret);

    return secret != 0 ? secret : 1;
}

/* ---- Encoding ---- */

static int put_id(struct hf_bytes *out, const struct hf_id *id)
{
    return hf_bytes_append(out, id->bytes, sizeof(id->bytes));
}

static int put_stream(struct hf_bytes *out, const struct hf_state *state)
{
    int r;

    if ((r = hf_bytes_u8(out, state->has_stream)) < 0 ||
        (r = hf_bytes_u64(out, state->stream.epoch)) < 0 ||
        (r = put_id(out, &state->stream.capture)) < 0)
        return r;
    return hf_bytes_u8(out, (uint8_t)(state->consistent | (uint8_t)state->damaged << 1));
}

static int put_pass(struct hf_bytes *out, const struct hf_state_pass *pass)
{
    int r;

    if ((r = hf_bytes_u8(out, (uint8_t)(pass->open | (uint8_t)pass->mends << 1))) < 0 ||
        (r = hf_bytes_u8(out, pass->kind)) < 0 || (r = hf_bytes_u16(out, pass->flags)) < 0 ||
        (r = hf_bytes_u64(out, pass->number)) < 0 || (r = hf_bytes_u64(out, pass->disk_mask)) < 0 ||
        (r = hf_bytes_u64(out, pass->seq)) < 0)
        return r;
    return hf_bytes_u64(out, pass->position);
}

static bool slot_used(const struct hf_manifest *manifest, unsigned slot)
{
    return manifest->disks[slot].fill != HF_BASE_EMPTY || manifest->state.disks[slot].present ||
           manifest->state.disks[slot].ever_complete;
}

static int put_disk(struct hf_bytes *out, const struct hf_manifest *manifest, unsigned slot)
{
    const struct hf_state_disk *s = &manifest->state.disks[slot];
    const struct hf_manifest_disk *d = &manifest->disks[slot];
    uint8_t flags =
        (uint8_t)(s->present | (uint8_t)s->complete << 1 | (uint8_t)s->ever_complete << 2);
    int r;

    if ((r = hf_bytes_u16(out, (uint16_t)slot)) < 0 || (r = hf_bytes_u8(out, flags)) < 0 ||
        (r = hf_bytes_u32(out, s->block_size)) < 0 || (r = hf_bytes_u64(out, s->size_bytes)) < 0 ||
        (r = put_id(out, &s->identity)) < 0 || (r = hf_bytes_text(out, s->name)) < 0 ||
        (r = hf_bytes_u8(out, d->fill)) < 0 || (r = put_id(out, &d->fill_capture)) < 0 ||
        (r = hf_bytes_u64(out, d->fill_pass)) < 0)
        return r;
    return hf_bytes_u64(out, d->fill_position);
}

static int put_disks(struct hf_bytes *out, const struct hf_manifest *manifest)
{
    uint16_t count = 0;
    int r;

    for (unsigned i = 0; i < HF_DISKS_MAX; i++)
        count += slot_used(manifest, i);
    if ((r = hf_bytes_u16(out, count)) < 0)
        return r;
    for (unsigned i = 0; i < HF_DISKS_MAX; i++) {
        if (slot_used(manifest, i) && (r = put_disk(out, manifest, i)) < 0)
            return r;
    }
    return 0;
}

static int put_blob(struct hf_bytes *out, const struct hf_bytes *blob)
{
    int r = hf_bytes_u32(out, (uint32_t)blob->size);

    if (r < 0 || blob->size == 0)
        return r;
    return hf_bytes_append(out, blob->data, blob->size);
}

static int put_description(struct hf_bytes *out, const struct hf_description *description)
{
    int r;

    if ((r = put_blob(out, &description->whole)) < 0 ||
        (r = put_blob(out, &description->pending)) < 0 ||
        (r = hf_bytes_u32(out, description->pending_version)) < 0)
        return r;
    return hf_bytes_u16(out, description->pending_parts);
}

static int put_body(struct hf_bytes *out, const struct hf_manifest *manifest)
{
    int r;

    if ((r = put_id(out, &manifest->machine)) < 0 || (r = hf_bytes_text(out, manifest->name)) < 0 ||
        (r = hf_bytes_u64(out, manifest->hash_secret)) < 0 ||
        (r = hf_bytes_u64(out, manifest->epoch)) < 0 ||
        (r = hf_bytes_u64(out, manifest->base_at)) < 0 ||
        (r = hf_bytes_u64(out, manifest->oldest_openable)) < 0 ||
        (r = put_stream(out, &manifest->state)) < 0 ||
        (r = put_pass(out, &manifest->state.pass)) < 0 || (r = put_disks(out, manifest)) < 0)
        return r;
    return put_description(out, &manifest->description);
}

int hf_manifest_encode(const struct hf_manifest *manifest, struct hf_bytes *out)
{
    struct manifest_head head = {
        .magic = hf_le32_of(HF_MANIFEST_MAGIC),
        .version = hf_le16_of(HF_STORE_VERSION),
        .header_size = hf_le16_of(sizeof(head)),
        .generation = hf_le64_of(manifest->generation),
    };
    size_t begin = out->size;
    int r = hf_bytes_append(out, &head, sizeof(head));

    if (r < 0 || (r = put_body(out, manifest)) < 0)
        return r;
    head.total_size = hf_le32_of((uint32_t)(out->size - begin + sizeof(uint64_t)));
    memcpy(out->data + begin, &head, sizeof(head));
    return hf_bytes_u64(out, hf_hash64(out->data + begin, out->size - begin));
}

/* ---- Decoding ---- */

static void get_id(struct hf_reader *in, struct hf_id *ret_id)
{
    const void *bytes = hf_reader_bytes(in, sizeof(ret_id->bytes));

    memset(ret_id, 0, sizeof(*ret_id));
    if (bytes != NULL)
        memcpy(ret_id->bytes, bytes, sizeof(ret_id->bytes));
}

static void get_state(struct hf_reader *in, struct hf_state *state)
{
    uint8_t flags;

    state->has_stream = hf_reader_u8(in) != 0;
    state->stream.epoch = hf_reader_u64(in);
    get_id(in, &state->stream.capture);
    flags = hf_reader_u8(in);
    state->consistent = flags & 1;
    state->damaged = flags >> 1 & 1;
    flags = hf_reader_u8(in);
    state->pass.open = flags & 1;
    state->pass.mends = flags >> 1 & 1;
    state->pass.kind = hf_reader_u8(in);
    state->pass.flags = hf_reader_u16(in);
    state->pass.number = hf_reader_u64(in);
    state->pass.disk_mask = hf_reader_u64(in);
    state->pass.seq = hf_reader_u64(in);
    state->pass.position = hf_reader_u64(in);
}

static int get_disk(struct hf_reader *in, struct hf_manifest *manifest)
{
    uint16_t slot = hf_reader_u16(in);
    struct hf_state_disk *s;
    struct hf_manifest_disk *d;
    uint8_t flags;

    if (slot >= HF_DISKS_MAX)
        return -HF_ECORRUPT;
    s = &manifest->state.disks[slot];
    d = &manifest->disks[slot];
    flags = hf_reader_u8(in);
    s->present = flags & 1;
    s->complete = flags >> 1 & 1;
    s->ever_complete = flags >> 2 & 1;
    s->block_size = hf_reader_u32(in);
    s->size_bytes = hf_reader_u64(in);
    get_id(in, &s->identity);
    hf_reader_text(in, s->name, sizeof(s->name));
    d->fill = hf_reader_u8(in);
    get_id(in, &d->fill_capture);
    d->fill_pass = hf_reader_u64(in);
    d->fill_position = hf_reader_u64(in);
    return d->fill > HF_BASE_DIRECT || flags > 7 ? -HF_ECORRUPT : 0;
}

static int get_blob(struct hf_reader *in, struct hf_bytes *ret_blob)
{
    uint32_t size = hf_reader_u32(in);
    const void *data;

    if (size > HF_MACHINE_DESCRIPTION_MAX)
        return -HF_ETOOBIG;
    if (size == 0)
        return 0;
    data = hf_reader_bytes(in, size);
    return data == NULL ? -HF_ECORRUPT : hf_bytes_append(ret_blob, data, size);
}

static int get_body(struct hf_reader *in, struct hf_manifest *manifest)
{
    uint16_t count;
    int r;

    get_id(in, &manifest->machine);
    hf_reader_text(in, manifest->name, sizeof(manifest->name));
    manifest->hash_secret = hf_reader_u64(in);
    manifest->epoch = hf_reader_u64(in);
    manifest->base_at = hf_reader_u64(in);
    manifest->oldest_openable = hf_reader_u64(in);
    get_state(in, &manifest->state);
    count = hf_reader_u16(in);
    if (count > HF_DISKS_MAX)
        return -HF_ECORRUPT;
    for (unsigned i = 0; i < count; i++) {
        if ((r = get_disk(in, manifest)) < 0)
            return r;
    }
    if ((r = get_blob(in, &manifest->description.whole)) < 0 ||
        (r = get_blob(in, &manifest->description.pending)) < 0)
        return r;
    manifest->description.pending_version = hf_reader_u32(in);
    manifest->description.pending_parts = hf_reader_u16(in);
    if (manifest->oldest_openable < manifest->base_at)
        return -HF_ECORRUPT;
    return hf_reader_finish(in);
}

/* Checks everything around the body; *ret_body_size bytes follow the header. */
static int check_frame(const void *data, size_t size, struct manifest_head *ret_head,
                       size_t *ret_body_size)
{
    size_t total;
    hf_le64 hash;

    if (size < sizeof(*ret_head) + sizeof(hash))
        return -HF_ECORRUPT;
    memcpy(ret_head, data, sizeof(*ret_head));
    if (hf_le32_get(ret_head->magic) != HF_MANIFEST_MAGIC)
        return -HF_ECORRUPT;
    total = hf_le32_get(ret_head->total_size);
    if (total > HF_MANIFEST_BYTES_MAX)
        return -HF_ETOOBIG;
    if (total < sizeof(*ret_head) + sizeof(hash) || total > size)
        return -HF_ECORRUPT;
    memcpy(&hash, (const uint8_t *)data + total - sizeof(hash), sizeof(hash));
    if (hf_le64_get(hash) != hf_hash64(data, total - sizeof(hash)))
        return -HF_ECORRUPT;
    if (hf_le16_get(ret_head->version) != HF_STORE_VERSION ||
        hf_le32_get(ret_head->incompatible) != 0)
        return -HF_EVERSION;
    if (hf_le16_get(ret_head->header_size) != sizeof(*ret_head))
        return -HF_ECORRUPT;
    *ret_body_size = total - sizeof(*ret_head) - sizeof(hash);
    return 0;
}

int hf_manifest_decode(const void *data, size_t size, struct hf_manifest *ret_manifest)
{
    struct manifest_head head;
    struct hf_manifest *manifest;
    struct hf_reader in;
    size_t body_size = 0;
    int r = check_frame(data, size, &head, &body_size);

    if (r != 0)
        return r;
    manifest = calloc(1, sizeof(*manifest));
    if (manifest == NULL)
        return -ENOMEM;
    manifest->generation = hf_le64_get(head.generation);
    hf_reader_init(&in, (const uint8_t *)data + sizeof(head), body_size);
    r = get_body(&in, manifest);
    if (r == 0)
        *ret_manifest = *manifest;
    else
        hf_manifest_clear(manifest);
    free(manifest);
    return r;
}

/* ---- Files ---- */

static const char *const leafs[2] = {"manifest.0", "manifest.1"};

/* -ENOENT also for an empty file: one that was made and never synced. */
static int read_one(struct hf_io *io, const char *path, struct hf_manifest *ret_manifest)
{
    struct hf_file *file = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    int r = hf_io_open(io, path, HF_OPEN_READ, &file);

    if (r < 0)
        return r;
    data = malloc(HF_MANIFEST_BYTES_MAX);
    r = data == NULL ? -ENOMEM : hf_io_read(file, data, HF_MANIFEST_BYTES_MAX, 0, &size);
    if (r == 0)
        r = size == 0 ? -ENOENT : hf_manifest_decode(data, size, ret_manifest);
    free(data);
    hf_io_close(file);
    return r;
}

/* Reads both into two fresh structs; results[i] says which are valid. */
static void read_both(struct hf_io *io, const struct hf_id *machine, struct hf_manifest *both,
                      int *results)
{
    char path[HF_IO_PATH_MAX];

    for (int i = 0; i < 2; i++) {
        hf_machine_path(machine, leafs[i], path);
        results[i] = read_one(io, path, &both[i]);
        if (results[i] == 0 && !hf_id_equal(&both[i].machine, machine)) {
            hf_manifest_clear(&both[i]);
            results[i] = -HF_EIDENTITY;
        }
    }
}

static int pick(struct hf_manifest *both, const int *results, struct hf_manifest *ret_manifest)
{
    int newer;

    if (results[0] < 0 && results[1] < 0) {
        if (results[0] == -ENOENT && results[1] == -ENOENT)
            return -ENOENT;
        return results[0] == -ENOENT ? results[1] : results[0];
    }
    newer = results[1] == 0 && (results[0] < 0 || both[1].generation > both[0].generation);
    *ret_manifest = both[newer];
    if (results[!newer] == 0)
        hf_manifest_clear(&both[!newer]);
    return 0;
}

int hf_manifest_read(struct hf_io *io, const struct hf_id *machine,
                     struct hf_manifest *ret_manifest)
{
    struct hf_manifest *both = calloc(2, sizeof(*both));
    int results[2];
    int r;

    if (both == NULL)
        return -ENOMEM;
    read_both(io, machine, both, results);
    r = pick(both, results, ret_manifest);
    free(both);
    return r;
}

/* A file whose sync failed is replaced by a new inode: the old one's next sync would prove nothing.
 */
static int replace_spoilt(struct hf_manifest_writer *writer, const struct hf_id *machine, int slot)
{
    char path[HF_IO_PATH_MAX];
    int r;

    if (!writer->spoilt[slot])
        return 0;
    hf_machine_path(machine, leafs[slot], path);
    r = hf_io_unlink(writer->io, path);
    return r == -ENOENT ? 0 : r;
}

static int write_slot(struct hf_manifest_writer *writer, const struct hf_id *machine, int slot,
                      const struct hf_bytes *bytes)
{
    char path[HF_IO_PATH_MAX];
    struct hf_file *file = NULL;
    bool created = false;
    int r;

    hf_machine_path(machine, leafs[slot], path);
    r = hf_io_open(writer->io, path, HF_OPEN_READ | HF_OPEN_WRITE, &file);
    if (r == -ENOENT) {
        created = true;
        r = hf_io_open(writer->io, path, HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE, &file);
    }
    if (r < 0)
        return r;
    r = hf_io_write(file, bytes->data, bytes->size, 0);
    if (r == 0)
        r = hf_io_sync(file);
    hf_io_close(file);
    if (r == 0 && created) {
        hf_machine_path(machine, NULL, path);
        r = hf_io_sync_dir(writer->io, path);
    }
    return r;
}

int hf_manifest_write(struct hf_manifest_writer *writer, struct hf_manifest *manifest)
{
    struct hf_bytes bytes = {.size_max = HF_MANIFEST_BYTES_MAX};
    int slot = (int)((manifest->generation + 1) % 2);
    int r;

    manifest->generation++;
    r = hf_manifest_encode(manifest, &bytes);
    if (r == 0)
        r = replace_spoilt(writer, &manifest->machine, slot);
    if (r == 0) {
        r = write_slot(writer, &manifest->machine, slot, &bytes);
        writer->spoilt[slot] = r < 0;
    }
    if (r < 0)
        manifest->generation--;
    hf_bytes_clear(&bytes);
    return r;
}
