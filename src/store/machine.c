// SPDX-License-Identifier: Apache-2.0
/* The writer's handle: made, opened, closed; its manifest and its base images. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/machine-internal.h"
#include "store/newest-file.h"
#include "store/timeline.h"

#define WINDOW_NS_DEFAULT (2 * 3600 * HF_NS_PER_S)

/* ---- Making one ---- */

static int make_file(struct hf_io *io, const struct hf_id *machine, const char *leaf)
{
    char path[HF_IO_PATH_MAX];
    struct hf_file *file;
    int r;

    hf_machine_path(machine, leaf, path);
    r = hf_io_open(io, path, HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE, &file);
    if (r == 0)
        hf_io_close(file);
    return r;
}

static int make_directories(struct hf_store *store, const struct hf_id *machine)
{
    char path[HF_IO_PATH_MAX];
    int r;

    hf_machine_path(machine, NULL, path);
    r = hf_make_directory(store->io, path);
    if (r == 0)
        r = hf_io_sync_dir(store->io, "machines");
    hf_machine_path(machine, "leases", path);
    if (r == 0)
        r = hf_make_directory(store->io, path);
    if (r == 0)
        r = make_file(store->io, machine, "lock");
    return r == 0 ? make_file(store->io, machine, "gate") : r;
}

static int take_lock(struct hf_machine *machine)
{
    char path[HF_IO_PATH_MAX];
    int r;

    hf_machine_path(&machine->id, "lock", path);
    r = hf_io_open(machine->store->io, path, HF_OPEN_READ | HF_OPEN_WRITE, &machine->lock_file);
    if (r < 0)
        return r;
    r = hf_io_lock(machine->lock_file, HF_LOCK_EXCLUSIVE);
    return r == -EAGAIN ? -EBUSY : r;
}

static int stop_at_name(void *context, const char *name)
{
    return 1;
}

/* A machine whose making was cut short has no journal yet: the manifest comes first. */
static bool has_journal(struct hf_machine *machine)
{
    char path[HF_IO_PATH_MAX];

    hf_machine_path(&machine->id, "journal", path);
    return hf_io_list(machine->store->io, path, stop_at_name, NULL) != -ENOENT;
}

static int first_manifest(struct hf_machine *machine)
{
    struct hf_manifest *manifest = &machine->manifest;
    char path[HF_IO_PATH_MAX];
    int r;

    memset(manifest, 0, sizeof(*manifest));
    manifest->machine = machine->id;
    hf_state_init(&manifest->state);
    r = machine->store->random->ops->fill(machine->store->random, &manifest->hash_secret,
                                          sizeof(manifest->hash_secret));
    if (r < 0)
        return r;
    r = hf_manifest_write(&machine->manifest_writer, manifest);
    hf_machine_path(&machine->id, NULL, path);
    return r == 0 ? hf_io_sync_dir(machine->store->io, path) : r;
}

static int load_manifest(struct hf_machine *machine)
{
    int r = hf_manifest_read(machine->store->io, &machine->id, &machine->manifest);

    if (r < 0 && machine->options.create && !has_journal(machine))
        r = first_manifest(machine);
    for (uint16_t i = 0; r == 0 && i < HF_DISKS_MAX; i++)
        machine->hash_secrets[i] = hf_manifest_secret(&machine->manifest, i);
    return r;
}

/* ---- Opening ---- */

static void init_locks(struct hf_machine *machine)
{
    pthread_mutex_init(&machine->maintain_lock, NULL);
    pthread_mutex_init(&machine->hash_lock, NULL);
    pthread_mutex_init(&machine->append_lock, NULL);
    pthread_mutex_init(&machine->fill_lock, NULL);
    pthread_mutex_init(&machine->manifest_lock, NULL);
    pthread_mutex_init(&machine->lock, NULL);
    pthread_mutex_init(&machine->direct.sync_lock, NULL);
}

static void destroy_locks(struct hf_machine *machine)
{
    pthread_mutex_destroy(&machine->maintain_lock);
    pthread_mutex_destroy(&machine->hash_lock);
    pthread_mutex_destroy(&machine->append_lock);
    pthread_mutex_destroy(&machine->fill_lock);
    pthread_mutex_destroy(&machine->manifest_lock);
    pthread_mutex_destroy(&machine->lock);
    pthread_mutex_destroy(&machine->direct.sync_lock);
}

static int open_journal(struct hf_machine *machine, struct hf_journal_recovery *ret_recovery)
{
    char path[HF_IO_PATH_MAX];
    struct hf_journal_options options = {
        .io = machine->store->io,
        .path = path,
        .random = machine->store->random,
        .clock = machine->store->clock,
        .segment_bytes = machine->options.segment_bytes,
    };

    hf_machine_path(&machine->id, "journal", path);
    return hf_journal_open(&options, ret_recovery, &machine->journal);
}

static int on_moment(void *context, const struct hf_journal_moment *moment)
{
    struct hf_machine *machine = context;

    hf_retention_batch(&machine->retention, moment->position_end, moment->receipt_ns);
    return 0;
}

/* Ages are rebuilt as if the newest point were of the newest batch: exact again with the next. */
static int replay_history(struct hf_machine *machine)
{
    struct hf_journal_reader *reader;
    struct hf_timeline timeline;
    char path[HF_IO_PATH_MAX];
    uint64_t position;
    int r;

    hf_machine_path(&machine->id, "journal", path);
    r = hf_journal_reader_open(machine->store->io, path, &reader);
    if (r < 0)
        return r;
    r = hf_timeline_build(reader, &machine->manifest, UINT64_MAX, &timeline);
    if (r == 0) {
        pthread_mutex_lock(&machine->lock);
        machine->state = timeline.state;
        pthread_mutex_unlock(&machine->lock);
        r = hf_journal_reader_moments(reader, machine->manifest.base_at, UINT64_MAX, on_moment,
                                      machine);
        if (hf_timeline_last_openable(&timeline, UINT64_MAX, &position))
            hf_retention_point(&machine->retention, position);
        hf_timeline_clear(&timeline);
    }
    hf_journal_reader_close(reader);
    return r;
}

/* The journal rescues what it can of a segment whose sync failed and says so when something is
 * gone; it will come again, from the source. */
int hf_machine_renew(struct hf_machine *machine)
{
    int r;

    if (!machine->stale)
        return 0;
    r = hf_journal_sync(machine->journal);
    if (r < 0)
        return r;
    hf_retention_init(&machine->retention, machine->options.retention.window_ns);
    r = replay_history(machine);
    if (r == 0)
        r = hf_direct_open(machine);
    for (uint16_t i = 0; r == 0 && i < HF_DISKS_MAX; i++)
        hf_newest_touch(&machine->newest, i, 0, UINT64_MAX / 2);
    if (r == 0)
        machine->stale = false;
    return r;
}

static int load_hashes(struct hf_machine *machine)
{
    struct hf_journal_progress progress;

    hf_machine_durable(machine, &progress);
    return hf_newest_load(machine->store->io, &machine->id, &machine->newest, &progress,
                          machine->manifest.hash_secret);
}

static bool same_progress(const struct hf_journal_progress *a, const struct hf_journal_progress *b)
{
    return a->seq == b->seq && a->pass == b->pass && a->pass_batch == b->pass_batch &&
           a->stream.epoch == b->stream.epoch &&
           hf_id_equal(&a->stream.capture, &b->stream.capture);
}

/* An orderly stop keeps the hashes; when something is not durable there is nothing to keep. */
static void save_hashes(struct hf_machine *machine)
{
    struct hf_journal_progress appended, durable;

    hf_machine_appended(machine, &appended);
    hf_machine_durable(machine, &durable);
    /* after a failed sync they may be of content that is gone */
    if (!machine->stale && same_progress(&appended, &durable))
        hf_newest_save(machine->store->io, &machine->id, &machine->newest, &durable,
                       machine->manifest.hash_secret);
}

static int open_content(struct hf_machine *machine, struct hf_journal_recovery *ret_recovery)
{
    int r = open_journal(machine, ret_recovery);

    if (r == 0)
        r = replay_history(machine);
    if (r == 0)
        r = hf_direct_open(machine);
    for (uint16_t i = 0; r == 0 && i < HF_DISKS_MAX; i++) {
        if (machine->state.disks[i].present)
            hf_newest_size(&machine->newest, i, machine->state.disks[i].size_bytes);
    }
    if (r == 0)
        r = load_hashes(machine);
    if (r == 0 && machine->manifest.oldest_openable > machine->manifest.base_at) {
        machine->merge.active = true; /* cut short: done again by the next upkeep */
        machine->merge.position = machine->manifest.oldest_openable;
    }
    return r;
}

static struct hf_machine *machine_new(struct hf_store *store, const struct hf_id *id,
                                      const struct hf_machine_options *options)
{
    struct hf_machine *machine = calloc(1, sizeof(*machine));

    if (machine == NULL)
        return NULL;
    init_locks(machine);
    hf_newest_init(&machine->newest);
    machine->store = store;
    machine->id = *id;
    machine->options = *options;
    if (machine->options.retention.window_ns == 0)
        machine->options.retention.window_ns = WINDOW_NS_DEFAULT;
    machine->manifest_writer.io = store->io;
    hf_retention_init(&machine->retention, machine->options.retention.window_ns);
    machine->pending = calloc(HF_PENDING_HASHES_MAX, sizeof(*machine->pending));
    machine->scratch = malloc(HF_RECORD_CONTENT_MAX);
    machine->run = malloc((size_t)HF_RESOLVE_BLOCKS_MAX * HF_STORE_BLOCK);
    if (machine->pending == NULL || machine->scratch == NULL || machine->run == NULL) {
        hf_machine_close(machine);
        return NULL;
    }
    return machine;
}

int hf_machine_open(struct hf_store *store, const struct hf_id *id,
                    const struct hf_machine_options *options,
                    struct hf_journal_recovery *ret_recovery, struct hf_machine **ret_machine)
{
    struct hf_machine *machine = machine_new(store, id, options);
    struct hf_journal_recovery recovery = {0};
    int r = 0;

    if (machine == NULL)
        return -ENOMEM;
    if (options->create)
        r = make_directories(store, id);
    if (r == 0)
        r = take_lock(machine);
    if (r == 0)
        r = load_manifest(machine);
    if (r == 0)
        r = open_content(machine, &recovery);
    if (r < 0) {
        hf_machine_close(machine);
        return r;
    }
    machine->opened = true;
    if (ret_recovery != NULL)
        *ret_recovery = recovery;
    *ret_machine = machine;
    return 0;
}

void hf_machine_close(struct hf_machine *machine)
{
    if (machine == NULL)
        return;
    if (machine->opened)
        save_hashes(machine);
    hf_merge_done(&machine->merge);
    if (machine->has_newest_resolver)
        hf_resolver_done(&machine->newest_resolver);
    hf_journal_close(machine->journal);
    for (unsigned i = 0; i < HF_DISKS_MAX; i++)
        hf_base_close(&machine->bases[i]);
    hf_io_close(machine->direct.file);
    hf_io_close(machine->lock_file);
    hf_newest_done(&machine->newest);
    hf_manifest_clear(&machine->manifest);
    destroy_locks(machine);
    free(machine->pending);
    free(machine->scratch);
    free(machine->run);
    free(machine);
}

/* ---- Manifest ---- */

static int edit_locked(struct hf_machine *machine,
                       int (*edit)(void *context, struct hf_manifest *manifest), void *context)
{
    struct hf_manifest *next = calloc(1, sizeof(*next));
    int r;

    if (next == NULL)
        return -ENOMEM;
    r = hf_manifest_copy(&machine->manifest, next);
    if (r == 0)
        r = edit(context, next);
    if (r == 0)
        r = hf_manifest_write(&machine->manifest_writer, next);
    if (r == 0) {
        hf_manifest_clear(&machine->manifest);
        machine->manifest = *next;
    } else {
        hf_manifest_clear(next);
    }
    free(next);
    return r;
}

int hf_machine_manifest_edit(struct hf_machine *machine,
                             int (*edit)(void *context, struct hf_manifest *manifest),
                             void *context)
{
    int r;

    pthread_mutex_lock(&machine->manifest_lock);
    r = edit_locked(machine, edit, context);
    pthread_mutex_unlock(&machine->manifest_lock);
    return r;
}

uint64_t hf_machine_epoch(struct hf_machine *machine)
{
    uint64_t epoch;

    pthread_mutex_lock(&machine->manifest_lock);
    epoch = machine->manifest.epoch;
    pthread_mutex_unlock(&machine->manifest_lock);
    return epoch;
}

static int edit_epoch(void *context, struct hf_manifest *manifest)
{
    uint64_t epoch = *(const uint64_t *)context;

    if (epoch < manifest->epoch)
        return -HF_EFENCED;
    manifest->epoch = epoch;
    return 0;
}

int hf_machine_epoch_raise(struct hf_machine *machine, uint64_t epoch)
{
    if (epoch == hf_machine_epoch(machine))
        return 0;
    return hf_machine_manifest_edit(machine, edit_epoch, &epoch);
}

static int edit_name(void *context, struct hf_manifest *manifest)
{
    const char *name = context;

    memset(manifest->name, 0, sizeof(manifest->name));
    memcpy(manifest->name, name, strlen(name));
    return 0;
}

int hf_machine_name_set(struct hf_machine *machine, const char *name)
{
    bool same;

    if (strlen(name) >= HF_MACHINE_NAME_MAX)
        return -ENAMETOOLONG;
    pthread_mutex_lock(&machine->manifest_lock);
    same = strcmp(machine->manifest.name, name) == 0;
    pthread_mutex_unlock(&machine->manifest_lock);
    if (same)
        return 0;
    return hf_machine_manifest_edit(machine, edit_name, (void *)(uintptr_t)name);
}

/* ---- Base images and resolvers ---- */

int hf_machine_base(struct hf_machine *machine, uint16_t disk, struct hf_base_image **ret_base)
{
    static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
    int r = 0;

    HF_ASSERT(disk < HF_DISKS_MAX);
    pthread_mutex_lock(&opening);
    if (!machine->base_open[disk]) {
        r = hf_base_open(machine->store->io, &machine->id, disk, true, &machine->bases[disk]);
        machine->base_open[disk] = r == 0;
    }
    pthread_mutex_unlock(&opening);
    if (r == 0)
        *ret_base = &machine->bases[disk];
    return r;
}

static uint64_t merge_floor(void *context)
{
    struct hf_machine *machine = context;
    uint64_t floor;

    pthread_mutex_lock(&machine->manifest_lock);
    floor = machine->manifest.oldest_openable;
    pthread_mutex_unlock(&machine->manifest_lock);
    return floor;
}

int hf_machine_resolver_open(struct hf_machine *machine, struct hf_resolver *ret_resolver)
{
    struct hf_journal_reader *reader;
    char path[HF_IO_PATH_MAX];
    int r;

    hf_machine_path(&machine->id, "journal", path);
    r = hf_journal_reader_open(machine->store->io, path, &reader);
    if (r == 0)
        r = hf_resolver_init(ret_resolver, machine->store, reader);
    if (r < 0)
        return r;
    ret_resolver->merge_floor = merge_floor;
    ret_resolver->context = machine;
    return 0;
}

int hf_machine_disk_info(struct hf_machine *machine, uint16_t disk,
                         struct hf_machine_disk *ret_disk)
{
    bool there;

    pthread_mutex_lock(&machine->lock);
    there = hf_state_disk(&machine->state, disk, ret_disk);
    pthread_mutex_unlock(&machine->lock);
    return there ? 0 : -ENOENT;
}
