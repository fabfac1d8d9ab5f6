// SPDX-License-Identifier: Apache-2.0
/*
 * Giving space back. State first, synced: from then on nothing that is dropped is missed. Then the
 * segment file before its index, so that a crash between leaves either both, or an index alone,
 * which the next open takes away because it lies below the floor.
 */
#include "journal/journal-internal.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

static bool droppable(const struct hf_known_segment *segment, uint64_t position)
{
    return segment->info.position_end <= position;
}

static bool any_droppable(const struct hf_journal *journal, uint64_t position)
{
    for (size_t i = 0; i < journal->segment_count; i++)
        if (droppable(&journal->segments[i], position))
            return true;
    return false;
}

static int unlink_present(struct hf_io *io, const char *path)
{
    int r = hf_io_unlink(io, path);

    return r == -ENOENT ? 0 : r;
}

static int segment_unlink(struct hf_journal *journal, uint64_t number)
{
    char path[HF_IO_PATH_MAX];
    int r = hf_segment_path(journal->path, number, path);

    if (r == 0)
        r = unlink_present(journal->io, path);
    if (r == 0)
        r = hf_index_path(journal->path, number, path);
    if (r == 0)
        r = unlink_present(journal->io, path);
    return r;
}

static void table_remove(struct hf_journal *journal, size_t i)
{
    pthread_mutex_lock(&journal->lock);
    journal->segment_count--;
    memmove(&journal->segments[i], &journal->segments[i + 1],
            (journal->segment_count - i) * sizeof(*journal->segments));
    pthread_mutex_unlock(&journal->lock);
}

/* Damage below the floor concerns nobody any more. */
static void damage_forget(struct hf_journal *journal, uint64_t position)
{
    size_t kept = 0;

    for (size_t i = 0; i < journal->damage_count; i++)
        if (journal->damage[i].position_end > position)
            journal->damage[kept++] = journal->damage[i];
    journal->damage_count = kept;
}

static int drop_all(struct hf_journal *journal, uint64_t position, uint64_t *bytes)
{
    size_t i = 0;

    while (i < journal->segment_count) {
        struct hf_known_segment segment = journal->segments[i];
        int r;

        if (!droppable(&segment, position)) {
            i++;
            continue;
        }
        r = segment_unlink(journal, segment.info.number);
        if (r < 0)
            return r;
        *bytes += segment.info.file_bytes + segment.index_bytes;
        table_remove(journal, i);
    }
    return 0;
}

/* A pass that lies below is over; nothing else would ever seal its last segment. */
static int seal_old_pass(struct hf_journal *journal, uint64_t position)
{
    const struct hf_open_segment *open = *hf_journal_lane(journal, HF_LANE_PASS);

    if (journal->error || !open || open->builder.head.base + open->builder.seq_end > position)
        return 0;
    return hf_journal_seal_lane(journal, HF_LANE_PASS);
}

static int drop_locked(struct hf_journal *journal, uint64_t position, uint64_t *bytes)
{
    int synced;
    int r = seal_old_pass(journal, position);

    if (r < 0)
        return r;
    if (!any_droppable(journal, position))
        return 0;
    journal->state.floor = HF_MAX(journal->state.floor, position);
    r = hf_journal_state_write(journal);
    if (r < 0)
        return r;
    r = drop_all(journal, position, bytes);
    damage_forget(journal, position);
    synced = hf_io_sync_dir(journal->io, journal->path);
    if (journal->reserve_absent)
        hf_journal_reserve_take(journal);
    return r < 0 ? r : synced;
}

int hf_journal_drop_below(struct hf_journal *journal, uint64_t position, uint64_t *ret_bytes)
{
    uint64_t bytes = 0;
    int r;

    pthread_mutex_lock(&journal->append_lock);
    r = drop_locked(journal, position, &bytes);
    pthread_mutex_unlock(&journal->append_lock);
    if (r == 0 && ret_bytes)
        *ret_bytes = bytes;
    return r;
}
