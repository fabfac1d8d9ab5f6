// SPDX-License-Identifier: Apache-2.0
/*
 * The link's life: attach, verdict, streaming, and again with a jittered pause when it breaks. What
 * an attach answer means is decided here; docs/design/issue-a.md has the table.
 */
#include "agent/engine-internal.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "net/net.h"

#define FAILURE_TEXT_MAX 512

/* ---- up and down ---- */

static void set_link(struct hf_engine *engine, enum hf_engine_link link_state, const char *error)
{
    pthread_mutex_lock(&engine->status_lock);
    engine->status.link = link_state;
    if (error)
        snprintf(engine->status.link_error, sizeof(engine->status.link_error), "%s", error);
    else if (link_state == HF_UPLINK_STREAMING)
        engine->status.link_error[0] = '\0';
    pthread_mutex_unlock(&engine->status_lock);
    engine->link_state = link_state;
}

static bool same_failure(struct hf_engine *engine, const char *why)
{
    bool same;

    pthread_mutex_lock(&engine->status_lock);
    same = strncmp(engine->status.link_error, why, sizeof(engine->status.link_error) - 1) == 0;
    pthread_mutex_unlock(&engine->status_lock);
    return same;
}

void hf_engine_link_down(struct hf_engine *engine, const char *why)
{
    struct hf_uplink *link = engine->options.link;
    bool was_streaming = engine->link_state == HF_UPLINK_STREAMING;
    char text[FAILURE_TEXT_MAX];
    int pause_ms;

    snprintf(text, sizeof(text), "%s", why);
    link->ops->close(link, false);
    hf_pass_pause(engine->pass);
    pause_ms = hf_backoff_ms(engine->attempt++, engine->options.random);
    engine->retry_ns = hf_engine_now(engine) + (uint64_t)pause_ms * HF_NS_PER_MS;
    if (was_streaming || !same_failure(engine, text))
        hf_engine_say(engine, HF_LOG_WARN, "no link to the target: %s; trying again", text);
    set_link(engine, HF_UPLINK_DOWN, text);
}

static void fill_disk(struct hf_engine *engine, unsigned slot, struct hf_msg_disk *ret_disk)
{
    struct hf_saved_disk saved;

    hf_state_disk_get(&engine->state, slot, &saved);
    *ret_disk = (struct hf_msg_disk){
        .disk = (uint16_t)slot,
        .block_size = saved.block_size,
        .size_bytes = hf_engine_disk_bytes(engine, slot),
        .identity = saved.identity,
    };
    snprintf(ret_disk->name, sizeof(ret_disk->name), "%s", saved.name);
}

static void start_link(struct hf_engine *engine)
{
    struct hf_uplink *link = engine->options.link;
    struct hf_source *source = engine->options.source;
    const struct hf_saved *now = &engine->state.now;
    uint64_t slots = hf_engine_slots(engine);
    struct hf_msg_attach attach = {
        .machine = engine->options.machine,
        .stream = engine->stream,
        .seq_oldest = now->released.seq,
        .seq_newest = source->ops->producer(source),
        .seq_acked = now->acked.seq,
        .digest_acked = now->acked.digest,
    };
    int error;

    snprintf(attach.machine_name, sizeof(attach.machine_name), "%s", engine->options.machine_name);
    for (unsigned slot = 0; slot < HF_DISKS_MAX; slot++)
        if (slots >> slot & 1)
            fill_disk(engine, slot, &attach.disks[attach.disk_count++]);
    set_link(engine, HF_UPLINK_CONNECTING, NULL);
    error = link->ops->start(link, &attach);
    if (error)
        hf_engine_link_down(engine, hf_strerror(error));
}

/* ---- the verdict ---- */

/* A new stream: begins at 0, so a capture that has released something must begin again. */
static int begin_stream(struct hf_engine *engine, const struct hf_msg_attach_ok *ok,
                        enum hf_pass_kind kind)
{
    struct hf_saved *now = &engine->state.now;

    if (now->released.seq != 0 || ok->seq != 0) {
        hf_engine_say(engine, HF_LOG_INFO, "the target does not have this stream: new capture");
        engine->restart_wanted = true;
        return 0;
    }
    hf_engine_ship_from(engine, &now->released);
    hf_pass_stop(engine->pass);
    now->pass = 0;
    now->pass_kind = 0;
    now->complete_mask = 0;
    now->next_kind = kind;
    hf_state_save(&engine->state);
    engine->replace_pass = true;
    hf_engine_say(engine, HF_LOG_INFO, "attached: %s",
                  kind == HF_PASS_FULL
                      ? "nothing is at the target yet, everything will be copied"
                      : "the target has an older copy, checksums will be compared");
    return 0;
}

/* The chain at the target's position, by our own knowledge. */
static int chain_at(struct hf_engine *engine, uint64_t seq, struct hf_chain *ret_chain)
{
    const struct hf_saved *now = &engine->state.now;
    const struct hf_history_entry *entry = hf_history_find(&engine->history, seq);
    const struct hf_history_entry *newest = hf_history_newest(&engine->history);
    const struct hf_chain *from = &now->released;

    if (entry) {
        *ret_chain = entry->chain;
        return 0;
    }
    if (now->acked.seq == seq || now->released.seq == seq) {
        *ret_chain = now->acked.seq == seq ? now->acked : now->released;
        return 0;
    }
    if (newest && newest->chain.seq < seq)
        from = &newest->chain;
    return seq < from->seq ? -HF_EDIVERGED : hf_engine_walk(engine, from, seq, ret_chain);
}

static int resume_pass(struct hf_engine *engine, const struct hf_msg_attach_ok *ok)
{
    struct hf_saved *now = &engine->state.now;
    uint64_t batch = 0;
    int error = 0;

    if (now->pass == 0)
        return 0;
    if (ok->pass > now->pass)
        return -HF_EDIVERGED;
    if (ok->pass == now->pass)
        batch = ok->pass_batch;
    if (batch < now->pass_batch)
        return -HF_EDIVERGED; /* it was acknowledged, and its bits are cleared */
    if (!hf_pass_active(engine->pass))
        error = hf_engine_pass_restart(engine);
    if (error)
        return error;
    now->pass_batch = batch;
    hf_state_save(&engine->state);
    hf_pass_resume(engine->pass, batch, batch ? &ok->pass_digest : NULL);
    return 0;
}

/* Disks that the target never had whole though it knows how the newest pass ended, and that no pass
 * is under way for. */
static int lose_incomplete(struct hf_engine *engine, const struct hf_msg_attach_ok *ok)
{
    struct hf_saved *now = &engine->state.now;
    uint64_t incomplete = hf_engine_slots(engine) & ~ok->disk_complete_mask;

    if (ok->seq < now->pass_end_seq)
        return 0;
    if (now->pass_kind) /* also one that is about to be replaced: the maps have what it had left */
        incomplete &= ~now->pass_mask;
    now->complete_mask &= ~incomplete;
    return incomplete ? hf_engine_lose_all(engine, incomplete) : 0;
}

static int resume_stream(struct hf_engine *engine, const struct hf_msg_attach_ok *ok)
{
    struct hf_chain chain;
    int error = chain_at(engine, ok->seq, &chain);

    if (error)
        return error == -ENOMEM ? error : -HF_EDIVERGED; /* nothing of ours ends there */
    if (hf_hash128_compare(&chain.digest.value, &ok->digest.value) != 0)
        return -HF_EDIVERGED;
    if (chain.seq > engine->state.now.acked.seq)
        hf_engine_advance(engine, &chain, 0, hf_engine_now(engine));
    hf_engine_ship_from(engine, &chain);
    error = resume_pass(engine, ok);
    return error ? error : lose_incomplete(engine, ok);
}

static void superseded(struct hf_engine *engine, const char *why)
{
    struct hf_uplink *link = engine->options.link;
    struct hf_source *source = engine->options.source;

    hf_engine_say(engine, HF_LOG_ERROR,
                  "superseded: %s. Nothing is sent any more, tracking goes on in maps. If this "
                  "machine is to be protected again, reverse the replication at the target",
                  why);
    link->ops->close(link, true);
    hf_pass_pause(engine->pass);
    (void)source->ops->force_dirty(source, HF_CAUSE_FORCED);
    set_link(engine, HF_UPLINK_SUPERSEDED, why);
}

int hf_engine_attached(struct hf_engine *engine, const struct hf_msg_attach_ok *ok)
{
    struct hf_saved *now = &engine->state.now;
    int error = 0;

    if (ok->verdict == HF_ATTACH_SUPERSEDED) {
        superseded(engine, "the machine runs elsewhere under a newer epoch");
        return 0;
    }
    now->epoch = engine->stream.epoch = ok->stream.epoch;
    now->target = ok->target;
    hf_state_save(&engine->state);
    set_link(engine, HF_UPLINK_STREAMING, NULL);
    engine->attempt = 0;
    pthread_mutex_lock(&engine->status_lock);
    engine->status.attaches++;
    pthread_mutex_unlock(&engine->status_lock);
    if (ok->verdict == HF_ATTACH_NEW)
        error = begin_stream(engine, ok, HF_PASS_FULL);
    else if (ok->verdict == HF_ATTACH_CHECKSUM)
        error = begin_stream(engine, ok, HF_PASS_HASH);
    else if (ok->verdict == HF_ATTACH_RESUME)
        error = resume_stream(engine, ok);
    else
        error = -HF_EDIVERGED;
    if (error == -HF_EDIVERGED || error == -HF_ECORRUPT) { /* a ring that cannot be read over */
        hf_engine_diverged(engine, "the target does not hold this stream as it was acknowledged");
        return 0;
    }
    if (!error && ok->verdict == HF_ATTACH_RESUME)
        hf_engine_say(engine, HF_LOG_INFO, "attached: going on at %llu",
                      (unsigned long long)ok->seq);
    return error;
}

void hf_engine_diverged(struct hf_engine *engine, const char *why)
{
    hf_engine_say(engine, HF_LOG_ERROR,
                  "diverged: %s. A new capture begins and checksums are compared; recovery points "
                  "at the target stay",
                  why);
    engine->restart_wanted = true;
}

/* ---- a new capture ---- */

static int restart_capture(struct hf_engine *engine)
{
    struct hf_source *source = engine->options.source;
    uint64_t epoch = engine->state.now.epoch;
    int error;

    engine->options.link->ops->close(engine->options.link, false);
    set_link(engine, HF_UPLINK_DOWN, NULL);
    hf_pass_stop(engine->pass);
    error = source->ops->restart(source);
    if (!error)
        error = hf_engine_adopt(engine);
    if (error)
        return error;
    engine->state.now.epoch = engine->stream.epoch = epoch;
    hf_state_save(&engine->state);
    engine->restart_wanted = false;
    engine->retry_ns = 0;
    error = hf_engine_disks_restore(engine);
    return error ? error : hf_engine_describe_again(engine);
}

/* ---- events ---- */

static void on_error(struct hf_engine *engine, const struct hf_msg_error *error)
{
    char text[FAILURE_TEXT_MAX + 64];

    if (error->code == HF_WIRE_EFENCED) {
        superseded(engine, error->text);
        return;
    }
    snprintf(text, sizeof(text), "refused by the target: %.400s (code %u)", error->text,
             error->code);
    hf_engine_link_down(engine, text);
}

static int on_event(struct hf_engine *engine, const struct hf_uplink_event *event)
{
    int error;

    switch (event->type) {
    case HF_MSG_ATTACH_OK:
        return hf_engine_attached(engine, &event->u.attach_ok);
    case HF_MSG_ACK:
        hf_engine_ack(engine, &event->u.ack, event->boot_ns);
        return 0;
    case HF_MSG_LOST:
        hf_engine_say(engine, HF_LOG_WARN,
                      "a hop lost what it had acknowledged: unconfirmed ranges are sent again");
        error = hf_engine_lost(engine);
        return error;
    case HF_MSG_HASH_LIST:
        hf_pass_hash_list(engine->pass, &event->u.hash_list);
        return 0;
    case HF_MSG_ERROR:
        on_error(engine, &event->u.error);
        return 0;
    default:
        return 0;
    }
}

static bool link_is_up(const struct hf_engine *engine)
{
    return engine->link_state == HF_UPLINK_CONNECTING || engine->link_state == HF_UPLINK_STREAMING;
}

int hf_engine_link_step(struct hf_engine *engine)
{
    struct hf_uplink *link = engine->options.link;
    struct hf_uplink_event event;
    int work = 0, got = 1, error = 0;

    if (engine->restart_wanted) {
        error = restart_capture(engine);
        return error ? error : 1;
    }
    if (engine->link_state == HF_UPLINK_DOWN && !engine->stopped &&
        hf_engine_now(engine) >= engine->retry_ns) {
        start_link(engine);
        work = 1;
    }
    while (link_is_up(engine) && !engine->restart_wanted && got > 0 && !error) {
        got = link->ops->next(link, &event);
        if (got > 0)
            error = on_event(engine, &event);
        if (got < 0)
            hf_engine_link_down(engine, link->ops->error_text(link));
        work = work || got != 0;
    }
    return error ? error : work;
}
