// SPDX-License-Identifier: Apache-2.0
/* The store's own file, and looking at what is in the store. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/reader-internal.h"

#define STORE_FILE "holdfast-store"
#define STORE_FILE_NEW "holdfast-store.new"

struct store_body {
    hf_le32 magic;
    hf_le16 version;
    hf_le16 size;
    hf_le32 compatible;
    hf_le32 incompatible;
    struct hf_id id;
    hf_le64 reserved[3];
    hf_le64 hash;
} __attribute__((packed));
_Static_assert(sizeof(struct store_body) == 64, "on disk");

/* ---- Making ---- */

static int count_name(void *context, const char *name)
{
    bool ours = strcmp(name, STORE_FILE_NEW) == 0 || strcmp(name, "machines") == 0;

    return ours ? 0 : -ENOTEMPTY;
}

static int write_body(struct hf_io *io, const struct hf_id *id)
{
    struct store_body body = {
        .magic = hf_le32_of(HF_STORE_MAGIC),
        .version = hf_le16_of(HF_STORE_VERSION),
        .size = hf_le16_of(sizeof(body)),
        .id = *id,
    };
    struct hf_file *file;
    int r;

    body.hash = hf_le64_of(hf_hash64(&body, offsetof(struct store_body, hash)));
    r = hf_io_open(io, STORE_FILE_NEW, HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE, &file);
    if (r < 0)
        return r;
    r = hf_io_write(file, &body, sizeof(body), 0);
    if (r == 0)
        r = hf_io_sync(file);
    hf_io_close(file);
    return r;
}

/* What a cut leaves behind is taken for empty and made again; the name comes last. */
int hf_store_create(struct hf_io *io, struct hf_random *random)
{
    struct hf_id id;
    int r = hf_io_list(io, "", count_name, NULL);

    if (r == 0)
        r = hf_id_make(random, &id);
    if (r == 0)
        r = hf_make_directory(io, "machines");
    if (r == 0)
        r = write_body(io, &id);
    if (r == 0)
        r = hf_io_sync_dir(io, "");
    if (r == 0)
        r = hf_io_rename(io, STORE_FILE_NEW, STORE_FILE);
    return r == 0 ? hf_io_sync_dir(io, "") : r;
}

static int read_body(struct hf_io *io, struct store_body *ret_body)
{
    struct hf_file *file;
    int r = hf_io_open(io, STORE_FILE, HF_OPEN_READ, &file);

    if (r < 0)
        return r;
    r = hf_io_read_full(file, ret_body, sizeof(*ret_body), 0);
    hf_io_close(file);
    if (r < 0)
        return r;
    if (hf_le32_get(ret_body->magic) != HF_STORE_MAGIC ||
        hf_le64_get(ret_body->hash) != hf_hash64(ret_body, offsetof(struct store_body, hash)))
        return -HF_ECORRUPT;
    if (hf_le16_get(ret_body->version) != HF_STORE_VERSION ||
        hf_le32_get(ret_body->incompatible) != 0)
        return -HF_EVERSION;
    return 0;
}

int hf_store_open(struct hf_io *io, struct hf_clock *clock, struct hf_random *random,
                  struct hf_store **ret_store)
{
    struct store_body body;
    struct hf_store *store;
    int r = read_body(io, &body);

    if (r < 0)
        return r;
    store = calloc(1, sizeof(*store));
    if (store == NULL)
        return -ENOMEM;
    *store = (struct hf_store){.io = io, .clock = clock, .random = random, .id = body.id};
    *ret_store = store;
    return 0;
}

void hf_store_close(struct hf_store *store)
{
    free(store);
}

void hf_store_id(struct hf_store *store, struct hf_id *ret_id)
{
    *ret_id = store->id;
}

/* ---- Listing ---- */

static int add_file_bytes(struct hf_io *io, const char *path, uint64_t *bytes)
{
    struct hf_io_stat stat;
    struct hf_file *file;
    int r = hf_io_open(io, path, HF_OPEN_READ, &file);

    if (r < 0)
        return 0; /* gone meanwhile */
    if (hf_io_stat(file, &stat) == 0)
        *bytes += stat.allocated_bytes;
    hf_io_close(file);
    return 0;
}

struct size_walk {
    struct hf_store *store;
    const struct hf_id *machine;
    uint64_t bytes;
};

static int on_journal_file(void *context, const char *name)
{
    struct size_walk *walk = context;
    char path[HF_IO_PATH_MAX];
    size_t length;

    hf_machine_path(walk->machine, "journal/", path);
    length = strlen(path);
    if (length + strlen(name) >= sizeof(path))
        return 0;
    memcpy(path + length, name, strlen(name) + 1);
    return add_file_bytes(walk->store->io, path, &walk->bytes);
}

static uint64_t journal_bytes(struct hf_store *store, const struct hf_id *machine)
{
    struct size_walk walk = {.store = store, .machine = machine};
    char path[HF_IO_PATH_MAX];

    hf_machine_path(machine, "journal", path);
    hf_io_list(store->io, path, on_journal_file, &walk);
    return walk.bytes;
}

static uint64_t base_bytes(struct hf_store *store, const struct hf_id *machine,
                           const struct hf_state *state)
{
    char path[HF_IO_PATH_MAX];
    uint64_t bytes = 0;

    for (uint16_t i = 0; i < HF_DISKS_MAX; i++) {
        if (!state->disks[i].present && !state->disks[i].ever_complete)
            continue;
        hf_disk_path(machine, i, "base", path);
        add_file_bytes(store->io, path, &bytes);
        hf_disk_path(machine, i, "base.sums", path);
        add_file_bytes(store->io, path, &bytes);
    }
    return bytes;
}

static void summarize(struct hf_machine_reader *reader, struct hf_machine_summary *summary)
{
    const struct hf_state *state = &reader->timeline.state;

    memcpy(summary->name, reader->manifest.name, sizeof(summary->name));
    summary->epoch = reader->manifest.epoch;
    summary->consistent = state->consistent;
    summary->partial = !hf_state_any_complete(state);
    summary->base_at = reader->manifest.base_at;
    summary->oldest_openable = reader->manifest.oldest_openable;
    summary->newest = reader->timeline.newest;
    summary->newest_wall_ns = reader->timeline.newest_wall_ns;
    summary->generation = reader->manifest.generation;
    for (unsigned i = 0; i < HF_DISKS_MAX; i++)
        summary->disk_count += state->disks[i].present;
    summary->journal_bytes = journal_bytes(reader->store, &reader->machine);
    summary->base_bytes = base_bytes(reader->store, &reader->machine, state);
}

struct list_walk {
    struct hf_store *store;
    int (*each)(void *context, const struct hf_machine_summary *summary);
    void *context;
    unsigned count;
};

static int on_machine(void *context, const char *name)
{
    struct list_walk *walk = context;
    struct hf_machine_summary summary = {0};
    struct hf_machine_reader *reader;

    if (hf_id_parse(name, &summary.machine) < 0)
        return 0;
    if (++walk->count > HF_STORE_MACHINES_MAX)
        return -HF_ETOOBIG;
    summary.error = hf_machine_reader_open(walk->store, &summary.machine, &reader);
    if (summary.error == 0) {
        summarize(reader, &summary);
        hf_machine_reader_close(reader);
    }
    return walk->each(walk->context, &summary);
}

int hf_store_machines(struct hf_store *store,
                      int (*each)(void *context, const struct hf_machine_summary *summary),
                      void *context)
{
    struct list_walk walk = {.store = store, .each = each, .context = context};

    return hf_io_list(store->io, "machines", on_machine, &walk);
}
