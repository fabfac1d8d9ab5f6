// SPDX-License-Identifier: Apache-2.0
/*
 * Acknowledgements, and what they allow: releasing the ring, clearing the old generation of the
 * unconfirmed maps, clearing a pass's ranges. Each is allowed only by a position at which the
 * target's digest equals our own (fault 7), and is written into the pinned state first.
 *
 * Generations (H5): every bit of OLD has its record before the NOTE that the swap put into the
 * ring. When the target is durable, with our digest, beyond that NOTE, OLD is confirmed. CURRENT
 * goes on growing meanwhile and is never cleared by anything but becoming OLD.
 */
#include "agent/engine-internal.h"

#include "base/base.h"
#include "base/error.h"

/* ---- generations ---- */

static int clear_old_generation(struct hf_engine *engine)
{
    struct hf_source *source = engine->options.source;
    uint64_t slots = hf_engine_slots(engine);
    int error = 0;

    for (unsigned slot = 0; slot < HF_DISKS_MAX && !error; slot++)
        if (slots >> slot & 1)
            error = source->ops->map_clear(source, slot, engine->options.target, HF_MAP_UNCONFIRMED,
                                           0, hf_engine_disk_bytes(engine, slot));
    return error;
}

static void confirm_generation(struct hf_engine *engine)
{
    struct hf_saved *now = &engine->state.now;

    if (now->generation_seq == 0 || now->acked.seq < now->generation_seq)
        return;
    if (clear_old_generation(engine))
        return; /* tried again at the next acknowledgement */
    now->generation_seq = 0;
    hf_state_save(&engine->state);
    engine->generation_ns = hf_engine_now(engine);
    pthread_mutex_lock(&engine->status_lock);
    engine->status.generations_cleared++;
    pthread_mutex_unlock(&engine->status_lock);
}

void hf_engine_generation_upkeep(struct hf_engine *engine)
{
    struct hf_source *source = engine->options.source;
    struct hf_saved *now = &engine->state.now;
    struct hf_capture_view view;
    uint64_t position, producer = source->ops->producer(source);

    if (now->generation_seq != 0 || engine->mode != HF_CAPTURE_DATA ||
        producer == engine->generation_producer ||
        hf_engine_now(engine) < engine->generation_ns + engine->options.generation_ns)
        return;
    engine->generation_ns = hf_engine_now(engine);
    if (source->ops->generation_swap(source, HF_MAP_UNCONFIRMED, engine->options.target,
                                     HF_RECORD_NOTE, &engine->generation_ns,
                                     sizeof(engine->generation_ns), &position) ||
        source->ops->peek(source, position, &view))
        return; /* the next swap takes the bits back */
    now->generation_seq = view.position_end;
    engine->generation_producer = source->ops->producer(source);
    hf_state_save(&engine->state);
}

/* ---- acknowledgements ---- */

static void measure_lag(struct hf_engine *engine, const struct hf_history_entry *entry,
                        uint64_t boot_ns)
{
    uint64_t first_us = (boot_ns - HF_MIN(boot_ns, entry->boot_ns_first)) / 1000;
    uint64_t last_us = (boot_ns - HF_MIN(boot_ns, entry->boot_ns_last)) / 1000;
    uint32_t half = entry->records / 2;

    /* Records lie between first and last: half of them are counted at either end. */
    hf_histogram_add(&engine->status.lag, first_us, entry->records - half);
    hf_histogram_add(&engine->status.lag, last_us, half);
}

static void release(struct hf_engine *engine, const struct hf_chain *acked, uint64_t hop_seq)
{
    struct hf_source *source = engine->options.source;
    struct hf_saved *now = &engine->state.now;
    const struct hf_history_entry *hop = hf_history_find(&engine->history, hop_seq);

    now->acked = *acked;
    if (acked->seq > now->released.seq)
        now->released = *acked;
    if (hop && hop->chain.seq > now->released.seq)
        now->released = hop->chain;
    hf_state_save(&engine->state);
    (void)source->ops->release(source, now->released.seq);
}

void hf_engine_advance(struct hf_engine *engine, const struct hf_chain *chain, uint64_t hop_seq,
                       uint64_t boot_ns)
{
    struct hf_chain acked = *chain; /* chain may point into the history */
    const struct hf_history_entry *entry;

    release(engine, &acked, hop_seq);
    pthread_mutex_lock(&engine->status_lock);
    for (;;) {
        entry = hf_history_oldest(&engine->history);
        if (!entry || entry->chain.seq > acked.seq)
            break;
        measure_lag(engine, entry, boot_ns);
        hf_history_pop(&engine->history);
    }
    engine->status.seq_acked = acked.seq;
    pthread_mutex_unlock(&engine->status_lock);
    confirm_generation(engine);
}

static void ack_captured(struct hf_engine *engine, const struct hf_msg_ack *ack, uint64_t boot_ns)
{
    const struct hf_history_entry *entry;

    if (ack->target_seq <= engine->state.now.acked.seq) {
        if (ack->hop_seq > engine->state.now.released.seq)
            release(engine, &engine->state.now.acked, ack->hop_seq);
        return;
    }
    entry = hf_history_find(&engine->history, ack->target_seq);
    if (!entry) {
        hf_engine_diverged(engine, "the target acknowledged a position that was never sent");
        return;
    }
    if (hf_hash128_compare(&entry->chain.digest.value, &ack->target_digest.value) != 0) {
        hf_engine_diverged(engine, "the target acknowledged with another digest");
        return;
    }
    hf_engine_advance(engine, &entry->chain, ack->hop_seq, boot_ns);
}

void hf_engine_ack(struct hf_engine *engine, const struct hf_msg_ack *ack, uint64_t boot_ns)
{
    struct hf_saved *now = &engine->state.now;

    ack_captured(engine, ack, boot_ns);
    if (now->pass == 0 || ack->pass != now->pass || ack->pass_batch <= now->pass_batch)
        return;
    now->pass_batch = ack->pass_batch;
    hf_state_save(&engine->state);
    hf_pass_acked(engine->pass, ack->pass_batch);
}

/* ---- a hop lost what it had acknowledged ---- */

static int lose_generation(struct hf_engine *engine, unsigned slot,
                           enum hf_capture_generation generation, bool *ret_any)
{
    struct hf_source *source = engine->options.source;
    unsigned target = engine->options.target;
    uint64_t from = 0, offset, length;
    int found, error = 0;

    for (;;) {
        found = source->ops->map_next(source, slot, target, HF_MAP_UNCONFIRMED, generation, from,
                                      UINT64_MAX, &offset, &length);
        if (found <= 0)
            return found;
        error = source->ops->map_set(source, slot, target, HF_MAP_LOST, offset, length);
        if (error)
            return error;
        *ret_any = true;
        from = offset + length;
    }
}

/* Everything unconfirmed is in doubt: into the lost maps, and a GAP, so that no point is claimed
 * until the pass that the losses bring about has ended. Without anything unconfirmed there is no
 * doubt, no pass, and nothing that would end a GAP. */
int hf_engine_lost(struct hf_engine *engine)
{
    struct hf_gap_body gap = {
        .cause = HF_GAP_LOST_HOP,
        .version = 1,
        .since_boot_ns = hf_le64_of(hf_engine_now(engine)),
    };
    uint64_t slots = hf_engine_slots(engine);
    bool any = false;
    int error = 0;

    for (unsigned slot = 0; slot < HF_DISKS_MAX && !error; slot++) {
        if ((slots >> slot & 1) == 0)
            continue;
        error = lose_generation(engine, slot, HF_GENERATION_OLD, &any);
        if (!error)
            error = lose_generation(engine, slot, HF_GENERATION_CURRENT, &any);
    }
    pthread_mutex_lock(&engine->status_lock);
    engine->status.lost_messages++;
    pthread_mutex_unlock(&engine->status_lock);
    if (error || !any)
        return error;
    /* Without room for it, PASS_BEGIN says the same a moment later. */
    (void)hf_engine_put(engine, HF_RECORD_GAP, &gap, sizeof(gap), false, NULL);
    return 0;
}
