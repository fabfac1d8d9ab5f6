// SPDX-License-Identifier: Apache-2.0
/*
 * Syncing, and what happens after a write or a sync failed. Kernels drop the dirty pages of a
 * failed write-back and call the next sync a success (fault 27), so a file whose sync failed is
 * never synced or appended to again. Its entries that were not yet durable are read back; those
 * that are whole by their checksums go to a new segment, which is synced; the old one is indexed up
 * to where it was durable. What was lost is forgotten: progress goes back to what is durable, the
 * caller gets HF_ESYNC, and the sender, told or asked again, sends the rest once more.
 */
#include "journal/journal-internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

void hf_progress_copy(struct hf_journal_progress *to, const struct hf_journal_progress *from,
                      uint8_t lane)
{
    if (lane == HF_LANE_CAPTURED) {
        to->seq = from->seq;
        to->digest = from->digest;
        to->position = from->position;
    } else {
        to->pass = from->pass;
        to->pass_seq = from->pass_seq;
        to->pass_batch = from->pass_batch;
        to->pass_digest = from->pass_digest;
    }
}

/* ---- Syncing ---- */

/* What one sync is going to make durable. */
struct sync_work {
    struct hf_open_segment *open;
    struct hf_journal_progress progress;
    uint64_t end;
    uint64_t position;
    bool named;
    int error;
    bool needed;
};

static void sync_prepare(struct hf_journal *journal, uint8_t lane, struct sync_work *work)
{
    struct hf_open_segment *open;

    pthread_mutex_lock(&journal->lock);
    open = *hf_journal_lane(journal, lane);
    *work = (struct sync_work){.open = open, .progress = journal->appended};
    if (open) {
        work->end = open->builder.segment_end;
        work->position = open->builder.head.base + open->builder.seq_end;
        work->named = open->name_durable;
        work->error = open->error;
        work->needed = work->end != open->durable || !work->named;
    }
    pthread_mutex_unlock(&journal->lock);
}

static void sync_publish(struct hf_journal *journal, uint8_t lane, const struct sync_work *work)
{
    struct hf_watermark watermark = {
        .segment = work->open->builder.head.id,
        .number = work->open->builder.head.number,
        .durable = work->end,
        .position = work->position,
    };

    pthread_mutex_lock(&journal->lock);
    work->open->durable = work->end;
    work->open->name_durable = true;
    hf_progress_copy(&journal->durable, &work->progress, lane);
    pthread_mutex_unlock(&journal->lock);
    /* It only repeats what is true already: without it readers know a little later. */
    (void)hf_watermark_write(journal->watermark, lane, &watermark);
}

int hf_journal_sync_lane(struct hf_journal *journal, uint8_t lane)
{
    struct sync_work work;
    int r;

    sync_prepare(journal, lane, &work);
    if (!work.open || work.error || !work.needed)
        return work.error;
    r = hf_io_sync(work.open->file);
    if (r == 0 && !work.named)
        r = hf_io_sync_dir(journal->io, journal->path);
    if (r == 0) {
        sync_publish(journal, lane, &work);
        return 0;
    }
    pthread_mutex_lock(&journal->lock);
    work.open->error = r;
    pthread_mutex_unlock(&journal->lock);
    return r;
}

static bool covers(const struct hf_journal_progress *durable,
                   const struct hf_journal_progress *wanted)
{
    if (durable->stream.epoch != wanted->stream.epoch ||
        !hf_id_equal(&durable->stream.capture, &wanted->stream.capture))
        return false;
    if (durable->seq < wanted->seq || durable->pass < wanted->pass)
        return false;
    return durable->pass > wanted->pass || durable->pass_batch >= wanted->pass_batch;
}

/* One of the two threads meets the failure first and rescues; the other only finds the result. */
static int sync_failed(struct hf_journal *journal, const struct hf_journal_progress *wanted)
{
    struct hf_journal_progress durable;
    int r = 0;

    pthread_mutex_lock(&journal->append_lock);
    for (uint8_t lane = HF_LANE_CAPTURED; lane <= HF_LANE_PASS; lane++) {
        int error = hf_journal_rescue(journal, lane);

        r = r ? r : error;
    }
    pthread_mutex_unlock(&journal->append_lock);
    hf_journal_durable(journal, &durable);
    if (r == 0 && !covers(&durable, wanted))
        r = -HF_ESYNC;
    return r;
}

int hf_journal_sync(struct hf_journal *journal)
{
    struct hf_journal_progress wanted;
    int error;
    int r = 0;

    pthread_mutex_lock(&journal->sync_lock);
    pthread_mutex_lock(&journal->lock);
    wanted = journal->appended;
    error = journal->error;
    pthread_mutex_unlock(&journal->lock);
    for (uint8_t lane = HF_LANE_CAPTURED; !error && lane <= HF_LANE_PASS; lane++) {
        int failure = hf_journal_sync_lane(journal, lane);

        r = r ? r : failure;
    }
    pthread_mutex_unlock(&journal->sync_lock);
    if (error)
        return error;
    return r == 0 ? 0 : sync_failed(journal, &wanted);
}

/* ---- After a failure ---- */

struct rescue {
    struct hf_journal *journal;
    uint8_t lane;
    struct hf_open_segment *old;
    uint64_t durable;                /* of the old segment */
    struct hf_index_builder builder; /* of the old segment up to there */
    struct hf_open_segment *fresh;   /* takes what was not durable; NULL: nothing yet */
    struct hf_journal_progress progress;
    bool damaged;
};

static int rescue_copy(struct rescue *rescue, const struct hf_entry *entry)
{
    struct hf_journal *journal = rescue->journal;
    struct hf_segment_head head;
    int r = 0;

    if (!rescue->fresh) {
        head = hf_open_segment_head(journal, entry->batch.header);
        r = hf_open_segment_new(journal, &head, &rescue->fresh);
    }
    if (r == 0)
        r = hf_open_segment_write(journal, rescue->fresh, &entry->batch, entry->receipt_ns,
                                  &rescue->progress);
    return r;
}

static int rescue_entry(void *context, const struct hf_entry *entry)
{
    struct rescue *rescue = context;

    if (entry->end <= rescue->durable)
        return hf_index_builder_add(&rescue->builder, entry);
    return rescue_copy(rescue, entry);
}

static int rescue_damage(void *context, const struct hf_journal_damage *damage)
{
    struct rescue *rescue = context;
    int r = hf_journal_damage_add(rescue->journal, damage);

    rescue->damaged = true;
    return r < 0 ? r : hf_index_builder_damage(&rescue->builder, damage);
}

static int rescue_walk(struct rescue *rescue)
{
    struct hf_walk walk;

    hf_walk_init(&walk, rescue->old->file, &rescue->old->builder.head);
    walk.known_durable = rescue->durable;
    walk.each = rescue_entry;
    walk.damage = rescue_damage;
    walk.context = rescue;
    return hf_walk_run(&walk);
}

/* The failed segment as it will be found from now on. Its index can be made again at the next open,
 * so that a failure here loses nothing. */
static int rescue_old(struct rescue *rescue)
{
    struct hf_journal *journal = rescue->journal;
    char path[HF_IO_PATH_MAX];
    int r;

    if (rescue->builder.entry_count == 0 && !rescue->damaged) {
        r = hf_segment_path(journal->path, rescue->builder.head.number, path);
        return r < 0 ? r : hf_io_unlink(journal->io, path);
    }
    return hf_journal_index_install(journal, &rescue->builder, rescue->damaged, true);
}

/* The lane goes on in the fresh segment, or begins one with the next append. */
static int rescue_install(struct rescue *rescue)
{
    struct hf_journal *journal = rescue->journal;
    struct hf_open_segment **open = hf_journal_lane(journal, rescue->lane);

    pthread_mutex_lock(&journal->lock);
    hf_progress_copy(&journal->appended, &rescue->progress, rescue->lane);
    *open = rescue->fresh;
    rescue->fresh = NULL;
    pthread_mutex_unlock(&journal->lock);
    return hf_journal_sync_lane(journal, rescue->lane);
}

/* sync_lock held as well. *ret_lost: entries that nobody was told about are gone. */
static int rescue_locked(struct hf_journal *journal, uint8_t lane, bool *ret_lost)
{
    struct hf_open_segment *old = *hf_journal_lane(journal, lane);
    struct hf_journal_progress wanted = journal->appended;
    struct rescue rescue = {.journal = journal, .lane = lane, .old = old};
    int r;

    rescue.progress = journal->durable;
    rescue.durable = old->durable;
    hf_index_builder_init(&rescue.builder, &old->builder.head);
    r = rescue_walk(&rescue);
    if (r == 0)
        r = rescue_install(&rescue);
    if (r == 0)
        (void)rescue_old(&rescue);
    if (r == 0)
        hf_open_segment_free(old);
    hf_open_segment_free(rescue.fresh);
    hf_index_builder_done(&rescue.builder);
    *ret_lost = !covers(&journal->durable, &wanted);
    return r;
}

int hf_journal_rescue(struct hf_journal *journal, uint8_t lane)
{
    struct hf_open_segment *open;
    bool lost = false;
    int r = 0;

    pthread_mutex_lock(&journal->sync_lock);
    open = *hf_journal_lane(journal, lane);
    if (journal->error) {
        r = journal->error;
    } else if (open && open->error) {
        r = rescue_locked(journal, lane, &lost);
        if (r < 0) {
            pthread_mutex_lock(&journal->lock);
            journal->error = -HF_ESYNC;
            pthread_mutex_unlock(&journal->lock);
        }
        r = r < 0 || lost ? -HF_ESYNC : 0;
    }
    pthread_mutex_unlock(&journal->sync_lock);
    return r;
}
