// SPDX-License-Identifier: Apache-2.0
/*
 * When to merge, how far, and what to tell about it. History goes in this order: what is older than
 * the window; then, when the journal is over its limit or the file system is nearly full, the
 * window itself from its old end; and when that is not enough appends are refused. The newest point
 * is never given up, and while no new points come (a pass, a gap) the window before it stays whole
 * (A4).
 */
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/machine-internal.h"

/* Nothing may be merged beyond this: what is durable, what is certain to be complete, the newest
 * point. append_lock held. */
static uint64_t merge_limit(struct hf_machine *machine)
{
    struct hf_journal_progress durable;
    uint64_t limit = machine->retention.has_openable ? machine->retention.openable_position : 0;

    hf_journal_durable(machine->journal, &durable);
    limit = HF_MIN(limit, durable.position);
    if (machine->state.pass.open && machine->state.pass.position > 0)
        limit = HF_MIN(limit, machine->state.pass.position - 1);
    return limit;
}

static bool over_limit(struct hf_machine *machine)
{
    uint64_t max = machine->options.retention.journal_bytes_max;

    return max != 0 && hf_journal_bytes(machine->journal) > max;
}

/* Where base_at should go next; 0: nowhere. */
static uint64_t choose_position(struct hf_machine *machine, bool pressed, uint64_t budget_bytes)
{
    uint64_t base_at = machine->manifest.base_at, limit, floor = 0;

    pthread_mutex_lock(&machine->append_lock);
    if (hf_machine_renew(machine) < 0) {
        pthread_mutex_unlock(&machine->append_lock);
        return 0;
    }
    limit = merge_limit(machine);
    pressed |= over_limit(machine);
    if (pressed)
        floor = limit;
    else if (!hf_retention_floor(&machine->retention, machine->options.retention.window_ns, &floor))
        floor = 0;
    floor = HF_MIN(floor, limit);
    if (floor > base_at)
        floor = hf_retention_next(&machine->retention, base_at + HF_MAX(budget_bytes, 1), floor);
    pthread_mutex_unlock(&machine->append_lock);
    if (pressed) {
        pthread_mutex_lock(&machine->lock);
        if (machine->space != HF_SPACE_REFUSING)
            machine->space = HF_SPACE_SHORTENED;
        pthread_mutex_unlock(&machine->lock);
    }
    return floor > base_at ? floor : 0;
}

/* Returns whether history must make room. */
static bool look_at_space(struct hf_machine *machine)
{
    const struct hf_retention *retention = &machine->options.retention;
    uint64_t total, available;
    enum hf_space_state space = HF_SPACE_FINE;

    if (hf_io_space(machine->store->io, &total, &available) < 0)
        return false;
    if (available < retention->free_bytes_refuse)
        space = HF_SPACE_REFUSING;
    else if (available < retention->free_bytes_warn)
        space = HF_SPACE_WARN;
    pthread_mutex_lock(&machine->lock);
    machine->space = space;
    pthread_mutex_unlock(&machine->lock);
    return space != HF_SPACE_FINE;
}

static int maintain_locked(struct hf_machine *machine, uint64_t budget_bytes)
{
    bool pressed = look_at_space(machine);
    uint64_t position;
    int r = 0;

    if (machine->merge.failed)
        return -HF_ESYNC;
    if (!machine->merge.active) {
        position = choose_position(machine, pressed, budget_bytes);
        if (position > 0)
            r = hf_merge_begin(machine, position);
    }
    if (r < 0 || !machine->merge.active)
        return r;
    return hf_merge_step(machine, HF_MAX(budget_bytes, 1));
}

int hf_machine_maintain(struct hf_machine *machine, uint64_t budget_bytes)
{
    int r;

    pthread_mutex_lock(&machine->maintain_lock);
    r = maintain_locked(machine, budget_bytes);
    pthread_mutex_unlock(&machine->maintain_lock);
    return r;
}

/* ---- Status ---- */

static int count_damage(void *context, const struct hf_journal_damage *damage)
{
    (*(uint64_t *)context)++;
    return 0;
}

static void fill_from_manifest(struct hf_machine *machine, struct hf_machine_status *status)
{
    pthread_mutex_lock(&machine->manifest_lock);
    status->summary.machine = machine->id;
    memcpy(status->summary.name, machine->manifest.name, sizeof(status->summary.name));
    status->summary.epoch = machine->manifest.epoch;
    status->summary.base_at = machine->manifest.base_at;
    status->summary.oldest_openable = machine->manifest.oldest_openable;
    status->summary.generation = machine->manifest.generation;
    pthread_mutex_unlock(&machine->manifest_lock);
}

static void fill_from_state(struct hf_machine *machine, struct hf_machine_status *status)
{
    pthread_mutex_lock(&machine->lock);
    status->summary.consistent = machine->state.consistent;
    status->summary.partial = !hf_state_any_complete(&machine->state);
    for (unsigned i = 0; i < HF_DISKS_MAX; i++)
        status->summary.disk_count += machine->state.disks[i].present;
    status->space = machine->space;
    status->merged_bytes = machine->merged_bytes;
    status->merges_skipped = machine->merges_skipped;
    status->lost_blocks = machine->lost_blocks;
    pthread_mutex_unlock(&machine->lock);
    for (unsigned i = 0; i < HF_DISKS_MAX; i++) {
        if (machine->base_open[i])
            status->summary.base_bytes += hf_base_bytes(&machine->bases[i]);
    }
}

static void fill_from_journal(struct hf_machine *machine, struct hf_machine_status *status)
{
    struct hf_journal_progress progress;

    pthread_mutex_lock(&machine->append_lock);
    hf_journal_appended(machine->journal, &progress);
    status->summary.newest = progress.position;
    status->summary.newest_wall_ns = machine->retention.receipt_ns;
    status->summary.journal_bytes = hf_journal_bytes(machine->journal);
    status->window_ns =
        hf_retention_history_ns(&machine->retention, status->summary.oldest_openable);
    status->clock_jumps = machine->retention.jumps;
    hf_journal_damage_each(machine->journal, count_damage, &status->damaged_segments);
    pthread_mutex_unlock(&machine->append_lock);
}

int hf_machine_status(struct hf_machine *machine, struct hf_machine_status *ret_status)
{
    struct hf_machine_status status = {0};

    fill_from_manifest(machine, &status);
    fill_from_state(machine, &status);
    fill_from_journal(machine, &status);
    *ret_status = status;
    return 0;
}
