// SPDX-License-Identifier: Apache-2.0
/*
 * The first pass of a disk goes straight into its base image: nothing older is worth keeping, and
 * the journal does not have to carry a whole disk. Only when every disk of a FULL pass is without
 * history: no position at which one of them was complete, and no earlier pass of the same stream
 * (what that one brought is only made whole by captured records and by a pass of the journal).
 *
 * Crash argument. Before the first byte: the journal is synced (so the pass's beginning is
 * durable), the manifest says which pass fills the images, then they are emptied. After a cut
 * during the pass the images hold everything up to the durable progress, and of later batches any
 * part, torn sums included; those batches were never acknowledged, so they come again and are
 * written again. Progress is written after base and sums are synced, to the older of two slots, and
 * synced. The end of the pass enters the journal after that (append.c), and only the end makes the
 * images count.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/machine-internal.h"

#define RUN_BLOCKS HF_RESOLVE_BLOCKS_MAX
#define SLOT_BYTES 4096u

struct progress_slot {
    hf_le32 magic;
    hf_le16 version;
    hf_le16 size;
    hf_le64 generation;
    hf_le64 epoch;
    struct hf_id capture;
    hf_le64 pass;
    hf_le64 pass_seq;
    hf_le64 batch;
    struct hf_hash128 digest;
    hf_le64 reserved[5];
    hf_le64 hash;
} __attribute__((packed));
_Static_assert(sizeof(struct progress_slot) == 128, "on disk");

/* ---- Progress on disk ---- */

static bool decode_slot(const struct progress_slot *slot, struct hf_direct_progress *ret_progress)
{
    if (hf_le32_get(slot->magic) != HF_PROGRESS_MAGIC ||
        hf_le16_get(slot->version) != HF_STORE_VERSION ||
        hf_le64_get(slot->hash) != hf_hash64(slot, offsetof(struct progress_slot, hash)))
        return false;
    *ret_progress = (struct hf_direct_progress){
        .stream = {.epoch = hf_le64_get(slot->epoch), .capture = slot->capture},
        .pass = hf_le64_get(slot->pass),
        .pass_seq = hf_le64_get(slot->pass_seq),
        .batch = hf_le64_get(slot->batch),
        .digest = {slot->digest},
    };
    return true;
}

/* The newer valid slot; *ret_progress is left alone when there is none. */
static int read_progress(struct hf_direct *direct, struct hf_direct_progress *ret_progress)
{
    uint64_t newest = 0;

    for (uint64_t i = 0; i < 2; i++) {
        struct progress_slot slot = {0};
        struct hf_direct_progress progress;
        size_t size;
        int r = hf_io_read(direct->file, &slot, sizeof(slot), i * SLOT_BYTES, &size);

        if (r < 0)
            return r;
        if (size < sizeof(slot) || !decode_slot(&slot, &progress) ||
            hf_le64_get(slot.generation) <= newest)
            continue;
        newest = hf_le64_get(slot.generation);
        *ret_progress = progress;
    }
    direct->generation = HF_MAX(direct->generation, newest);
    return 0;
}

static int open_progress_file(struct hf_machine *machine)
{
    struct hf_direct_progress ignored;
    char path[HF_IO_PATH_MAX];
    int r;

    if (machine->direct.file != NULL)
        return 0;
    hf_machine_path(&machine->id, "progress", path);
    r = hf_io_open(machine->store->io, path, HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE,
                   &machine->direct.file);
    if (r == 0) /* what is written goes on above the generations that are there */
        r = read_progress(&machine->direct, &ignored);
    if (r < 0)
        return r;
    hf_machine_path(&machine->id, NULL, path);
    return hf_io_sync_dir(machine->store->io, path);
}

static int write_progress(struct hf_direct *direct, const struct hf_direct_progress *progress)
{
    struct progress_slot slot = {
        .magic = hf_le32_of(HF_PROGRESS_MAGIC),
        .version = hf_le16_of(HF_STORE_VERSION),
        .size = hf_le16_of(sizeof(slot)),
        .generation = hf_le64_of(direct->generation + 1),
        .epoch = hf_le64_of(progress->stream.epoch),
        .capture = progress->stream.capture,
        .pass = hf_le64_of(progress->pass),
        .pass_seq = hf_le64_of(progress->pass_seq),
        .batch = hf_le64_of(progress->batch),
        .digest = progress->digest.value,
    };
    int r;

    slot.hash = hf_le64_of(hf_hash64(&slot, offsetof(struct progress_slot, hash)));
    r = hf_io_write(direct->file, &slot, sizeof(slot), (direct->generation + 1) % 2 * SLOT_BYTES);
    if (r == 0)
        r = hf_io_sync(direct->file);
    if (r == 0)
        direct->generation++;
    return r;
}

/* ---- Beginning ---- */

static bool is_first_pass_locked(const struct hf_machine *machine)
{
    const struct hf_state_pass *pass = &machine->state.pass;

    if (pass->kind != HF_PASS_FULL || pass->disk_mask == 0)
        return false;
    for (unsigned i = 0; i < HF_DISKS_MAX; i++) {
        const struct hf_manifest_disk *disk = &machine->manifest.disks[i];

        if (!(pass->disk_mask >> i & 1))
            continue;
        if (machine->state.disks[i].ever_complete)
            return false;
        if (disk->fill == HF_BASE_DIRECT &&
            hf_id_equal(&disk->fill_capture, &machine->state.stream.capture))
            return false;
    }
    return true;
}

static bool is_first_pass(struct hf_machine *machine)
{
    bool first;

    pthread_mutex_lock(&machine->manifest_lock);
    first = is_first_pass_locked(machine);
    pthread_mutex_unlock(&machine->manifest_lock);
    return first;
}

static void make_active(struct hf_machine *machine)
{
    const struct hf_state_pass *pass = &machine->state.pass;
    struct hf_direct *direct = &machine->direct;
    struct hf_direct_progress begin = {
        .stream = machine->state.stream,
        .pass = pass->number,
        .pass_seq = pass->seq,
    };

    hf_digest_begin_pass(&begin.stream.capture, begin.pass, &begin.digest);
    pthread_mutex_lock(&machine->lock);
    direct->active = true;
    direct->started = false;
    direct->disk_mask = pass->disk_mask;
    direct->position = pass->position;
    direct->appended = begin;
    direct->durable = begin;
    pthread_mutex_unlock(&machine->lock);
}

void hf_direct_on_pass_begin(struct hf_machine *machine)
{
    if (is_first_pass(machine)) {
        make_active(machine);
        return;
    }
    pthread_mutex_lock(&machine->lock);
    machine->direct.active = false;
    pthread_mutex_unlock(&machine->lock);
}

static int edit_fill(void *context, struct hf_manifest *manifest)
{
    const struct hf_machine *machine = context;
    const struct hf_direct *direct = &machine->direct;

    for (unsigned i = 0; i < HF_DISKS_MAX; i++) {
        if (!(direct->disk_mask >> i & 1))
            continue;
        manifest->disks[i] = (struct hf_manifest_disk){
            .fill = HF_BASE_DIRECT,
            .fill_capture = direct->appended.stream.capture,
            .fill_pass = direct->appended.pass,
            .fill_position = direct->position,
        };
    }
    return 0;
}

static int empty_images(struct hf_machine *machine)
{
    int r = 0;

    for (uint16_t i = 0; r == 0 && i < HF_DISKS_MAX; i++) {
        struct hf_base_image *base;

        if (!(machine->direct.disk_mask >> i & 1))
            continue;
        r = hf_machine_base(machine, i, &base);
        if (r == 0)
            r = hf_base_reset(base);
        hf_newest_touch(&machine->newest, i, 0, UINT64_MAX / 2);
    }
    return r;
}

int hf_direct_start(struct hf_machine *machine)
{
    int r;

    if (machine->direct.started)
        return 0;
    r = hf_machine_sync(machine);
    if (r == 0)
        r = open_progress_file(machine);
    if (r < 0)
        return r;
    pthread_mutex_lock(&machine->fill_lock);
    r = hf_machine_manifest_edit(machine, edit_fill, machine);
    if (r == 0)
        r = empty_images(machine);
    pthread_mutex_unlock(&machine->fill_lock);
    if (r == 0)
        machine->direct.started = true;
    return r;
}

static bool fills_by(const struct hf_machine *machine, const struct hf_state_pass *pass)
{
    for (unsigned i = 0; i < HF_DISKS_MAX; i++) {
        const struct hf_manifest_disk *disk = &machine->manifest.disks[i];

        if ((pass->disk_mask >> i & 1) && disk->fill == HF_BASE_DIRECT &&
            disk->fill_pass == pass->number && disk->fill_position == pass->position &&
            hf_id_equal(&disk->fill_capture, &machine->state.stream.capture))
            return true;
    }
    return false;
}

static bool same_pass(const struct hf_direct_progress *a, const struct hf_direct_progress *b)
{
    return a->pass == b->pass && a->pass_seq == b->pass_seq && a->stream.epoch == b->stream.epoch &&
           hf_id_equal(&a->stream.capture, &b->stream.capture);
}

int hf_direct_open(struct hf_machine *machine)
{
    struct hf_direct_progress found = {0};
    int r;

    pthread_mutex_lock(&machine->lock);
    machine->direct.active = false;
    pthread_mutex_unlock(&machine->lock);
    if (machine->state.pass.number == 0)
        return 0;
    if (!fills_by(machine, &machine->state.pass)) {
        if (machine->state.pass.open)
            hf_direct_on_pass_begin(machine);
        return 0;
    }
    r = open_progress_file(machine);
    if (r == 0)
        r = read_progress(&machine->direct, &found);
    if (r < 0)
        return r;
    make_active(machine);
    if (!same_pass(&found, &machine->direct.durable)) {
        /* nothing of it was ever acknowledged: it begins again, from empty images */
        machine->direct.active = machine->state.pass.open;
        return 0;
    }
    machine->direct.started = true;
    machine->direct.appended = machine->direct.durable = found;
    return 0;
}

/* ---- Writing ---- */

/* Content gathered for one run of whole blocks. */
struct run {
    struct hf_machine *machine;
    struct hf_base_image *base; /* NULL: nothing gathered */
    uint64_t first;
    uint32_t count;
};

static int run_flush(struct run *run)
{
    uint64_t sums[RUN_BLOCKS];
    int r;

    if (run->base == NULL)
        return 0;
    for (uint32_t i = 0; i < run->count; i++)
        sums[i] = hf_base_sum(run->machine->run + (size_t)i * HF_STORE_BLOCK);
    r = hf_base_write_sums(run->base, run->first, run->count, sums);
    if (r == 0)
        r = hf_base_write(run->base, run->first, run->count, run->machine->run, sums);
    run->base = NULL;
    run->count = 0;
    return r;
}

/*
 * Room for one block. Its old content is read when only a part comes; it is not held against its
 * sum: it may be what a cut left of a batch that is coming again.
 */
static int run_block(struct run *run, struct hf_base_image *base, uint64_t block, bool whole,
                     uint8_t **ret_block)
{
    bool last = run->base == base && run->count > 0 && block == run->first + run->count - 1;
    int r = 0;

    if (!last &&
        (run->base != base || block != run->first + run->count || run->count == RUN_BLOCKS)) {
        r = run_flush(run);
        run->base = base;
        run->first = block;
    }
    if (r < 0)
        return r;
    run->count += !last;
    *ret_block = run->machine->run + (size_t)(run->count - 1) * HF_STORE_BLOCK;
    return last || whole ? 0 : hf_base_read(base, block, 1, *ret_block);
}

static int run_write(struct run *run, struct hf_base_image *base, uint64_t offset,
                     const uint8_t *content, uint64_t length)
{
    while (length > 0) {
        uint64_t skip = offset % HF_STORE_BLOCK;
        uint64_t n = HF_MIN(length, HF_STORE_BLOCK - skip);
        uint8_t *block;
        int r = run_block(run, base, offset / HF_STORE_BLOCK, n == HF_STORE_BLOCK, &block);

        if (r < 0)
            return r;
        if (content == NULL)
            memset(block + skip, 0, n);
        else
            memcpy(block + skip, content, n);
        content = content == NULL ? NULL : content + n;
        offset += n;
        length -= n;
    }
    return 0;
}

/* Zeros where nothing ever was cost nothing, however many they are. */
static int run_zero(struct run *run, struct hf_base_image *base, uint64_t offset, uint64_t length)
{
    uint64_t end = offset + length;
    int r = run_flush(run);

    while (r == 0 && offset < end) {
        uint64_t data = hf_base_next_data(base, offset / HF_STORE_BLOCK);
        uint64_t n;

        if (data != UINT64_MAX && data * HF_STORE_BLOCK > offset)
            offset = data * HF_STORE_BLOCK;
        if (data == UINT64_MAX || offset >= end)
            break;
        n = HF_MIN(end - offset, HF_MIB - offset % HF_MIB);
        r = run_write(run, base, offset, NULL, n);
        if (r == 0)
            r = run_flush(run);
        offset += n;
    }
    return r;
}

static int write_record(struct run *run, const struct hf_batch *batch, uint32_t index)
{
    const struct hf_batch_record *record = &batch->records[index];
    struct hf_machine *machine = run->machine;
    uint64_t offset = hf_le64_get(record->offset), length = hf_le64_get(record->length), end;
    struct hf_base_image *base;
    size_t content_length;
    int r;

    if (!(machine->direct.disk_mask >> hf_le16_get(record->disk) & 1) ||
        !hf_add_u64(offset, length, &end) || end > HF_CONTENT_END_MAX)
        return -HF_EPROTO;
    r = hf_machine_base(machine, hf_le16_get(record->disk), &base);
    if (r < 0)
        return r;
    if (record->type != HF_RECORD_WRITE)
        return run_zero(run, base, offset, length);
    r = hf_batch_record_content(batch, index, machine->scratch, &content_length);
    return r < 0 ? r : run_write(run, base, offset, machine->scratch, content_length);
}

static int check_order(const struct hf_direct *direct, const struct hf_batch *batch)
{
    uint64_t number = hf_le64_get(batch->header->pass_batch);

    if (direct->failed)
        return -HF_ESYNC;
    if (number < direct->appended.batch)
        return -EALREADY;
    if (number > direct->appended.batch)
        return -HF_EPROTO;
    if (hf_hash128_compare(&batch->header->digest_before, &direct->appended.digest.value) != 0)
        return -HF_EDIVERGED;
    return 0;
}

int hf_direct_append(struct hf_machine *machine, const struct hf_batch *batch)
{
    struct run run = {.machine = machine};
    int r = check_order(&machine->direct, batch);

    if (r == 0 && !machine->state.pass.open)
        r = -HF_EPROTO;
    if (r == 0)
        r = hf_direct_start(machine);
    for (uint32_t i = 0; r == 0 && i < batch->record_count; i++) {
        uint8_t type = batch->records[i].type;

        if (type != HF_RECORD_WRITE && type != HF_RECORD_ZERO && type != HF_RECORD_DISCARD)
            r = -HF_EPROTO;
        else
            r = write_record(&run, batch, i);
    }
    if (r == 0)
        r = run_flush(&run);
    if (r < 0)
        return r;
    pthread_mutex_lock(&machine->lock);
    machine->direct.appended.batch++;
    machine->direct.appended.digest.value = batch->header->digest_after;
    pthread_mutex_unlock(&machine->lock);
    return 0;
}

/* ---- Syncing ---- */

static int sync_images(struct hf_machine *machine)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < HF_DISKS_MAX; i++) {
        if (machine->base_open[i])
            r = hf_base_sync(&machine->bases[i]);
    }
    return r;
}

static bool is_behind(struct hf_machine *machine, struct hf_direct_progress *ret_appended)
{
    struct hf_direct *direct = &machine->direct;
    bool behind;

    pthread_mutex_lock(&machine->lock);
    *ret_appended = direct->appended;
    behind = direct->active && (direct->appended.batch != direct->durable.batch ||
                                !same_pass(&direct->appended, &direct->durable));
    pthread_mutex_unlock(&machine->lock);
    return behind;
}

static void set_durable(struct hf_machine *machine, const struct hf_direct_progress *appended)
{
    pthread_mutex_lock(&machine->lock);
    if (same_pass(&machine->direct.durable, appended))
        machine->direct.durable = *appended;
    pthread_mutex_unlock(&machine->lock);
}

int hf_direct_sync(struct hf_machine *machine)
{
    struct hf_direct_progress appended;
    int r = 0;

    /* Looked at under the lock: of two syncs the later one must not write the older progress. */
    pthread_mutex_lock(&machine->direct.sync_lock);
    if (machine->direct.failed) {
        r = -HF_ESYNC;
    } else if (is_behind(machine, &appended)) {
        r = sync_images(machine);
        if (r == 0)
            r = write_progress(&machine->direct, &appended);
        if (r == 0)
            set_durable(machine, &appended);
        else
            machine->direct.failed = true;
    }
    pthread_mutex_unlock(&machine->direct.sync_lock);
    return r;
}

void hf_direct_override(struct hf_machine *machine, const struct hf_direct_progress *from,
                        struct hf_journal_progress *progress)
{
    pthread_mutex_lock(&machine->lock);
    if (machine->direct.active && from->stream.epoch == progress->stream.epoch &&
        hf_id_equal(&from->stream.capture, &progress->stream.capture)) {
        progress->pass = from->pass;
        progress->pass_seq = from->pass_seq;
        progress->pass_batch = from->batch;
        progress->pass_digest = from->digest;
    }
    pthread_mutex_unlock(&machine->lock);
}
