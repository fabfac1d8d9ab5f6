// SPDX-License-Identifier: Apache-2.0
/*
 * Moving base_at forward. The order, each step durable before the next:
 *
 *   1  gate exclusive: no lease below F; oldest_openable = F in the manifest; gate open
 *   2  for each group of blocks that records in (base_at, F] touch:
 *      their sums as they will be at F; sync; their content as it is at F
 *   3  sync content
 *   4  base_at = F, with the state and description at F, in the manifest
 *   5  drop segments at or below F
 *
 * Crash argument. After 1, whatever happens, F and later are openable and the journal holds every
 * record above base_at, so content at F can be made from the base image in any mix of old and new
 * blocks: sectors that records touch come from the journal, the others are the same in both. Which
 * of the two a block is (or a tear of both) is settled by its sum, which is never older than the
 * block (resolve.c). So steps 2 and 3 may be done again, from any point, by anybody. After 4
 * nothing at or below F is needed; 5 may be left undone.
 *
 * A block whose content at F cannot be made (damaged base, damaged record) is marked lost by its
 * sum: it reads as an error until something overwrites it whole, and merging goes on.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/lease.h"
#include "store/machine-internal.h"
#include "store/point-internal.h"
#include "store/timeline.h"

#define WINDOW_BLOCKS HF_RESOLVE_BLOCKS_MAX
#define WINDOW_BYTES ((uint64_t)WINDOW_BLOCKS * HF_STORE_BLOCK)
#define WINDOW_COST (16 * HF_KIB) /* what looking at a window costs of a step's budget */
#define WINDOWS_MAX (HF_CONTENT_END_MAX / WINDOW_BYTES)

/* ---- 1: the floor ---- */

static int edit_oldest(void *context, struct hf_manifest *manifest)
{
    manifest->oldest_openable = *(const uint64_t *)context;
    return 0;
}

static int begin_inside_gate(struct hf_machine *machine, uint64_t position)
{
    uint64_t floor;
    int r = hf_lease_floor(machine->store, &machine->id, &floor);

    if (r < 0)
        return r;
    if (floor < position) {
        pthread_mutex_lock(&machine->lock);
        machine->merges_skipped++;
        pthread_mutex_unlock(&machine->lock);
        position = floor;
    }
    if (position <= machine->manifest.base_at)
        return 0;
    r = hf_machine_manifest_edit(machine, edit_oldest, &position);
    if (r < 0)
        return r;
    machine->merge.active = true;
    machine->merge.position = position;
    return 0;
}

int hf_merge_begin(struct hf_machine *machine, uint64_t position)
{
    struct hf_file *gate;
    int r = hf_gate_try(machine->store, &machine->id, HF_LOCK_EXCLUSIVE, &gate);

    if (r == -EAGAIN)
        return 0; /* a reader is coming in: next time */
    if (r < 0)
        return r;
    r = begin_inside_gate(machine, position);
    hf_gate_leave(gate);
    return r;
}

/* ---- 2: which windows ---- */

static int set_window(struct hf_merge *merge, uint64_t window)
{
    size_t word = (size_t)(window / 64);

    if (window >= WINDOWS_MAX)
        return -HF_ETOOBIG;
    if (word >= merge->window_words) {
        size_t words = HF_MAX(word + 1, merge->window_words * 2);
        uint64_t *more = realloc(merge->windows, words * sizeof(*more));

        if (more == NULL)
            return -ENOMEM;
        memset(more + merge->window_words, 0, (words - merge->window_words) * sizeof(*more));
        merge->windows = more;
        merge->window_words = words;
    }
    merge->windows[word] |= UINT64_C(1) << (window % 64);
    return 0;
}

static int on_extent(void *context, const struct hf_journal_extent *extent)
{
    uint64_t last = (extent->offset + extent->length - 1) / WINDOW_BYTES;
    int r = 0;

    for (uint64_t w = extent->offset / WINDOW_BYTES; r == 0 && w <= last; w++)
        r = set_window(context, w);
    return r;
}

static int map_windows(struct hf_machine *machine)
{
    struct hf_merge *merge = &machine->merge;
    struct hf_base_image *base;
    uint64_t from;
    int r = hf_machine_base(machine, (uint16_t)merge->disk, &base);

    if (r < 0)
        return r;
    merge->resolver.bases[merge->disk] = base;
    if (merge->windows != NULL)
        memset(merge->windows, 0, merge->window_words * sizeof(*merge->windows));
    merge->window = 0;
    pthread_mutex_lock(&machine->manifest_lock);
    from = hf_manifest_disk_from(&machine->manifest, (uint16_t)merge->disk);
    pthread_mutex_unlock(&machine->manifest_lock);
    merge->resolver.from[merge->disk] = from;
    if (from < merge->position)
        r = hf_journal_reader_extents(merge->resolver.reader, (uint16_t)merge->disk, 0, INT64_MAX,
                                      from, merge->position, on_extent, merge);
    merge->mapped = r == 0;
    return r;
}

/* UINT64_MAX: none left. */
static uint64_t next_window(const struct hf_merge *merge)
{
    if (merge->window == UINT64_MAX)
        return UINT64_MAX;
    for (uint64_t w = merge->window; w < (uint64_t)merge->window_words * 64; w++) {
        uint64_t word = merge->windows[w / 64] >> (w % 64);

        if (word == 0)
            w |= 63; /* the loop's step goes on to the next word */
        else
            return w + (uint64_t)__builtin_ctzll(word);
    }
    return UINT64_MAX;
}

/* ---- 2: content ---- */

/* Blocks gathered from several windows, between two syncs of the sums. */
struct group {
    uint32_t count;
    uint64_t numbers[HF_MERGE_BLOCKS_MAX];
    uint64_t sums[HF_MERGE_BLOCKS_MAX];
    uint8_t *content;
    uint8_t *window; /* WINDOW_BYTES */
    uint64_t lost;
};

static void group_free(struct group *group)
{
    if (group == NULL)
        return;
    free(group->content);
    free(group->window);
    free(group);
}

static struct group *group_new(void)
{
    struct group *group = calloc(1, sizeof(*group));

    if (group == NULL)
        return NULL;
    group->content = malloc((size_t)HF_MERGE_BLOCKS_MAX * HF_STORE_BLOCK);
    group->window = malloc(WINDOW_BYTES);
    if (group->content == NULL || group->window == NULL) {
        group_free(group);
        return NULL;
    }
    return group;
}

static int group_gather(struct hf_machine *machine, struct group *group, uint64_t window)
{
    bool touched[WINDOW_BLOCKS];
    int errors[WINDOW_BLOCKS];
    struct hf_resolve what = {
        .disk = (uint16_t)machine->merge.disk,
        .first = window * WINDOW_BLOCKS,
        .count = WINDOW_BLOCKS,
        .position = machine->merge.position,
        .touched_only = true,
        .touched = touched,
        .errors = errors,
        .content = group->window,
    };
    int r = hf_resolve_blocks(&machine->merge.resolver, &what);

    for (uint32_t i = 0; r == 0 && i < WINDOW_BLOCKS; i++) {
        const uint8_t *block = group->window + (size_t)i * HF_STORE_BLOCK;

        if (!touched[i])
            continue;
        if (errors[i] < 0 && errors[i] != -HF_ECORRUPT)
            return errors[i];
        group->lost += errors[i] < 0;
        group->numbers[group->count] = what.first + i;
        group->sums[group->count] = errors[i] < 0 ? HF_SUM_POISON : hf_base_sum(block);
        memcpy(group->content + (size_t)group->count * HF_STORE_BLOCK, block, HF_STORE_BLOCK);
        group->count++;
    }
    return r;
}

/* How many blocks from `at` on lie behind each other and are all lost, or all not. */
static uint32_t group_run(const struct group *group, uint32_t at)
{
    uint32_t n = 1;

    while (at + n < group->count && group->numbers[at + n] == group->numbers[at] + n &&
           (group->sums[at + n] == HF_SUM_POISON) == (group->sums[at] == HF_SUM_POISON))
        n++;
    return n;
}

static int group_write_sums(struct group *group, struct hf_base_image *base)
{
    int r = 0;

    for (uint32_t i = 0, n; r == 0 && i < group->count; i += n) {
        n = group_run(group, i);
        r = hf_base_write_sums(base, group->numbers[i], n, &group->sums[i]);
    }
    return r;
}

static int group_write_content(struct group *group, struct hf_base_image *base)
{
    int r = 0;

    for (uint32_t i = 0, n; r == 0 && i < group->count; i += n) {
        n = group_run(group, i);
        if (group->sums[i] != HF_SUM_POISON)
            r = hf_base_write(base, group->numbers[i], n,
                              group->content + (size_t)i * HF_STORE_BLOCK, &group->sums[i]);
    }
    return r;
}

/* A first pass may have taken the image over since the disk was mapped: what is left to merge is of
 * no use to it then, and would spoil it. */
static bool still_ours(struct hf_machine *machine)
{
    bool ours;

    pthread_mutex_lock(&machine->manifest_lock);
    ours = hf_manifest_disk_from(&machine->manifest, (uint16_t)machine->merge.disk) ==
           machine->merge.resolver.from[machine->merge.disk];
    pthread_mutex_unlock(&machine->manifest_lock);
    return ours;
}

static int group_write_locked(struct hf_machine *machine, struct group *group)
{
    struct hf_base_image *base = machine->merge.resolver.bases[machine->merge.disk];
    int r;

    if (!still_ours(machine)) {
        machine->merge.window = UINT64_MAX;
        return 0;
    }
    r = group_write_sums(group, base);
    if (r < 0)
        return r;
    r = hf_base_sync_sums(base);
    if (r < 0) {
        machine->merge.failed = true;
        return r;
    }
    return group_write_content(group, base);
}

static int group_write(struct hf_machine *machine, struct group *group)
{
    int r;

    pthread_mutex_lock(&machine->fill_lock);
    r = group_write_locked(machine, group);
    pthread_mutex_unlock(&machine->fill_lock);
    if (r < 0)
        return r;
    pthread_mutex_lock(&machine->lock);
    machine->merged_bytes += (uint64_t)group->count * HF_STORE_BLOCK;
    machine->lost_blocks += group->lost;
    pthread_mutex_unlock(&machine->lock);
    return 0;
}

/* One group of the current disk; *budget falls by what it cost. Its windows only count as done when
 * all of it was written. */
static int merge_group(struct hf_machine *machine, uint64_t *budget)
{
    struct hf_merge *merge = &machine->merge;
    struct group *group = group_new();
    uint64_t begin = merge->window, cost = 0, w;
    int r = 0;

    if (group == NULL)
        return -ENOMEM;
    while (r == 0 && cost < *budget && group->count + WINDOW_BLOCKS <= HF_MERGE_BLOCKS_MAX &&
           (w = next_window(merge)) != UINT64_MAX) {
        uint32_t before = group->count;

        r = group_gather(machine, group, w);
        merge->window = w + 1;
        cost += WINDOW_COST + (uint64_t)(group->count - before) * HF_STORE_BLOCK;
    }
    if (r == 0 && group->count > 0)
        r = group_write(machine, group);
    if (r < 0)
        merge->window = begin;
    *budget -= HF_MIN(*budget, cost);
    group_free(group);
    return r;
}

/* ---- 3 to 5: the end ---- */

static int sync_content(struct hf_machine *machine)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < HF_DISKS_MAX; i++) {
        if (machine->base_open[i])
            r = hf_base_sync(&machine->bases[i]);
    }
    if (r < 0)
        machine->merge.failed = true;
    return r;
}

struct new_base {
    uint64_t position;
    struct hf_state state;
    struct hf_description description;
};

static int edit_base(void *context, struct hf_manifest *manifest)
{
    struct new_base *next = context;

    manifest->base_at = next->position;
    manifest->state = next->state;
    hf_description_clear(&manifest->description);
    return hf_description_copy(&next->description, &manifest->description);
}

/* State and description at the new base_at, from those at the old one. */
static int find_new_base(struct hf_machine *machine, const struct hf_manifest *manifest,
                         struct new_base *next)
{
    struct hf_timeline timeline;
    struct hf_replay replay = {
        .reader = machine->merge.resolver.reader,
        .manifest = manifest,
        .position = machine->merge.position,
    };
    int r = hf_timeline_build(replay.reader, manifest, replay.position, &timeline);

    if (r < 0)
        return r;
    next->position = replay.position;
    replay.boundaries = timeline.boundaries;
    replay.boundary_count = timeline.boundary_count;
    r = hf_replay_run(&replay, &next->state);
    hf_timeline_clear(&timeline);
    if (r < 0)
        return r;
    return hf_description_replay(replay.reader, manifest, replay.position, &next->description);
}

/* From a copy: an epoch that rises or a first pass that begins replaces the manifest meanwhile. */
static int find_from_copy(struct hf_machine *machine, struct new_base *next)
{
    struct hf_manifest *copy = calloc(1, sizeof(*copy));
    int r;

    if (copy == NULL)
        return -ENOMEM;
    pthread_mutex_lock(&machine->manifest_lock);
    r = hf_manifest_copy(&machine->manifest, copy);
    pthread_mutex_unlock(&machine->manifest_lock);
    if (r == 0)
        r = find_new_base(machine, copy, next);
    hf_manifest_clear(copy);
    free(copy);
    return r;
}

static int drop_segments(struct hf_machine *machine, uint64_t position)
{
    uint64_t bytes;
    int r;

    pthread_mutex_lock(&machine->append_lock);
    r = hf_journal_drop_below(machine->journal, position, &bytes);
    hf_retention_forget(&machine->retention, position);
    pthread_mutex_unlock(&machine->append_lock);
    return r;
}

static void resolver_close(struct hf_merge *merge)
{
    if (merge->has_resolver)
        hf_resolver_done(&merge->resolver);
    merge->has_resolver = false;
}

static int merge_finish(struct hf_machine *machine)
{
    struct new_base *next = calloc(1, sizeof(*next));
    int r = -ENOMEM;

    if (next != NULL)
        r = find_from_copy(machine, next);
    if (r == 0)
        r = sync_content(machine);
    if (r == 0)
        r = hf_machine_manifest_edit(machine, edit_base, next);
    if (r == 0) {
        uint64_t position = machine->merge.position;

        machine->merge.active = false;
        machine->merge.prepared = false;
        r = drop_segments(machine, position);
        /* it would hold the files that were dropped */
        if (hf_resolver_refresh(&machine->merge.resolver) < 0)
            resolver_close(&machine->merge);
    }
    if (next != NULL)
        hf_description_clear(&next->description);
    free(next);
    return r;
}

static int merge_prepare(struct hf_machine *machine)
{
    struct hf_journal_progress durable;
    struct hf_merge *merge = &machine->merge;
    int r;

    if (merge->prepared)
        return 0;
    hf_journal_durable(machine->journal, &durable);
    if (merge->has_resolver)
        r = hf_resolver_refresh(&merge->resolver);
    else
        r = hf_machine_resolver_open(machine, &merge->resolver);
    if (r < 0)
        return r;
    merge->has_resolver = true;
    r = hf_resolver_covers(&merge->resolver, &durable);
    if (r < 0)
        return r;
    merge->prepared = true;
    merge->disk = 0;
    merge->mapped = false;
    return 0;
}

static bool disk_may_matter(struct hf_machine *machine, unsigned disk)
{
    bool matters;

    pthread_mutex_lock(&machine->lock);
    matters = machine->state.disks[disk].present || machine->state.disks[disk].size_bytes > 0;
    pthread_mutex_unlock(&machine->lock);
    return matters;
}

int hf_merge_step(struct hf_machine *machine, uint64_t budget_bytes)
{
    struct hf_merge *merge = &machine->merge;
    int r;

    if (merge->failed)
        return -HF_ESYNC;
    r = merge_prepare(machine);
    while (r == 0 && merge->disk < HF_DISKS_MAX && budget_bytes > 0) {
        if (!disk_may_matter(machine, merge->disk)) {
            merge->disk++;
            continue;
        }
        if (!merge->mapped)
            r = map_windows(machine);
        if (r < 0)
            break;
        if (next_window(merge) != UINT64_MAX) {
            r = merge_group(machine, &budget_bytes);
            continue;
        }
        merge->disk++;
        merge->mapped = false;
    }
    if (r == 0 && merge->disk == HF_DISKS_MAX)
        r = merge_finish(machine);
    return r < 0 ? r : 1;
}

void hf_merge_done(struct hf_merge *merge)
{
    resolver_close(merge);
    free(merge->windows);
    merge->windows = NULL;
}
