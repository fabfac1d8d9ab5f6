// SPDX-License-Identifier: Apache-2.0
/*
 * The captured lane: ring → builder → link. The ring is the only buffer; what is gathered here can
 * be dropped at any moment and gathered again to the same bytes, since a record's translation and
 * digest depend on nothing but the ring and the chain before it.
 */
#include "agent/engine-internal.h"

#include "agent/translate.h"
#include "base/base.h"
#include "base/error.h"

#define IDLE_DELAY_DIVISOR 4 /* nothing in flight: ship that much sooner */

/* ---- gathering ---- */

static bool ships_at_once(uint8_t type)
{
    return type != HF_RECORD_WRITE && type != HF_RECORD_ZERO && type != HF_RECORD_DISCARD;
}

static void begin_if_needed(struct hf_engine *engine, uint64_t boot_ns)
{
    if (engine->open)
        return;
    hf_batch_begin_captured(engine->builder, &engine->stream, engine->read.seq,
                            &engine->read.digest);
    engine->open = true;
    engine->gathered = 0;
    engine->gathered_raw_bytes = 0;
    engine->first_boot_ns = boot_ns;
}

/* A disk changed its size: its maps follow, once per record. */
static void act_on_resize(struct hf_engine *engine, const struct hf_capture_view *view)
{
    struct hf_source *source = engine->options.source;
    unsigned slot = view->record->slot;

    if (view->record->type != HF_CAPTURE_DISK || view->record->kind != HF_CAPTURE_DISK_RESIZE ||
        view->position < engine->resized_seq)
        return;
    engine->resized_seq = view->position_end;
    if (source->ops->disk_resized(source, slot) == 0 && engine->state.now.pass)
        engine->replace_pass = true;
    hf_engine_say(engine, HF_LOG_INFO, "disk %u is now %llu bytes; the new part will be copied",
                  slot, (unsigned long long)view->record->length_bytes);
}

/* 1: one record more in the builder; 0: none ready, or no room. */
static int gather_one(struct hf_engine *engine)
{
    struct hf_source *source = engine->options.source;
    struct hf_chain chain = engine->read;
    struct hf_translated translated;
    struct hf_capture_view view;
    int error = source->ops->peek(source, engine->read.seq, &view);

    if (error)
        return error == -EAGAIN ? 0 : error;
    error = hf_translate(&chain, &engine->state, &view, &translated);
    if (error)
        return error;
    begin_if_needed(engine, translated.record.boot_ns);
    error = hf_batch_add(engine->builder, &translated.record);
    if (error == -ENOSPC) {
        engine->full = true;
        return 0;
    }
    if (error)
        return error;
    act_on_resize(engine, &view);
    chain.seq = translated.record.seq_end;
    engine->read = chain;
    engine->last_boot_ns = translated.record.boot_ns;
    engine->gathered++;
    engine->gathered_raw_bytes += translated.record.content ? translated.record.length : 0;
    engine->ship_now = engine->ship_now || ships_at_once(translated.record.type);
    return 1;
}

static int gather(struct hf_engine *engine)
{
    int count = 0, got = 1;

    while (got == 1 && count < HF_ENGINE_STEP_RECORDS && !engine->full) {
        got = gather_one(engine);
        count += got == 1;
    }
    return got < 0 ? got : count > 0;
}

/* ---- shipping ---- */

static bool is_due(struct hf_engine *engine)
{
    uint64_t delay_ns = engine->options.batch_delay_ns;

    if (!engine->open || engine->gathered == 0)
        return false;
    if (engine->full || engine->ship_now)
        return true;
    if (hf_history_oldest(&engine->history) == NULL)
        delay_ns /= IDLE_DELAY_DIVISOR;
    return hf_engine_now(engine) >= engine->first_boot_ns + delay_ns;
}

static int finish(struct hf_engine *engine)
{
    struct hf_clock *clock = engine->options.clock;
    int error = hf_batch_finish(engine->builder, clock->ops->wall_ns(clock), &engine->pending_data,
                                &engine->pending_size, &engine->read.digest);

    engine->open = engine->full = engine->ship_now = false;
    if (error)
        return error;
    engine->pending = true;
    engine->sent = engine->read;
    return 0;
}

static int send_pending(struct hf_engine *engine)
{
    struct hf_uplink *link = engine->options.link;
    struct hf_history_entry entry = {
        .chain = engine->sent,
        .boot_ns_first = engine->first_boot_ns,
        .boot_ns_last = engine->last_boot_ns,
        .records = engine->gathered,
        .bytes = (uint32_t)engine->pending_size,
    };
    int error;

    if (engine->history.count == HF_HISTORY_MAX)
        return 0;
    error = link->ops->batch(link, engine->pending_data, engine->pending_size);
    if (error == -EAGAIN)
        return 0;
    if (error) {
        hf_engine_link_down(engine, link->ops->error_text(link));
        return 1;
    }
    engine->pending = false;
    error = hf_history_push(&engine->history, &entry);
    HF_ASSERT(error == 0);
    pthread_mutex_lock(&engine->status_lock);
    engine->status.batches++;
    engine->status.records += entry.records;
    engine->status.sent_bytes += entry.bytes;
    engine->status.sent_raw_bytes += engine->gathered_raw_bytes;
    engine->status.seq_sent = engine->sent.seq;
    pthread_mutex_unlock(&engine->status_lock);
    return 1;
}

int hf_engine_ship(struct hf_engine *engine)
{
    int work = 0, error;

    if (!engine->pending) {
        work = gather(engine);
        if (work < 0) {
            hf_engine_diverged(engine, "the ring holds a record that cannot be read");
            return 1;
        }
        if (is_due(engine)) {
            error = finish(engine);
            if (error)
                return error;
        }
    }
    return engine->pending ? send_pending(engine) || work : work;
}

/* Questions of a HASH pass, as many as the link takes. One that it does not take is kept: for the
 * pass it is asked, and asked once only. *ret_work: something went out. */
static int ship_questions(struct hf_engine *engine, int *ret_work)
{
    struct hf_uplink *link = engine->options.link;
    int error = 0;

    while (!error &&
           (engine->question_waits || hf_pass_hash_get(engine->pass, &engine->question))) {
        error = link->ops->hash_get(link, &engine->question);
        engine->question_waits = error == -EAGAIN;
        if (!error)
            *ret_work = 1;
    }
    return error == -EAGAIN ? 0 : error;
}

/* A pass's data goes out behind its PASS_BEGIN, and whenever the captured lane has nothing. */
int hf_engine_ship_pass(struct hf_engine *engine)
{
    struct hf_uplink *link = engine->options.link;
    const void *data;
    size_t size;
    int error, work = 0;

    if (engine->state.now.pass == 0 || engine->pending)
        return 0;
    error = ship_questions(engine, &work);
    if (error == 0 && engine->sent.seq >= engine->state.now.pass_seq &&
        hf_pass_peek(engine->pass, &data, &size)) {
        error = link->ops->batch(link, data, size);
        if (error == 0) {
            hf_pass_pop(engine->pass);
            work = 1;
        }
    }
    if (error && error != -EAGAIN)
        hf_engine_link_down(engine, link->ops->error_text(link));
    return work;
}

/* ---- starting over and checking ---- */

static void builder_drop(struct hf_batch_builder *builder)
{
    struct hf_digest digest;
    const void *data;
    size_t size;

    (void)hf_batch_finish(builder, 0, &data, &size, &digest);
}

void hf_engine_ship_from(struct hf_engine *engine, const struct hf_chain *chain)
{
    if (engine->open)
        builder_drop(engine->builder);
    engine->open = engine->pending = engine->full = engine->ship_now = false;
    engine->gathered = 0;
    engine->read = engine->sent = *chain;
    hf_history_reset(&engine->history);
}

/* Adds the record behind chain->seq; finishes the batch when it is full. */
static int walk_one(struct hf_engine *engine, struct hf_batch_builder *builder,
                    struct hf_chain *chain, uint64_t end)
{
    struct hf_source *source = engine->options.source;
    struct hf_translated translated;
    struct hf_capture_view view;
    const void *data;
    size_t size;
    int error = source->ops->peek(source, chain->seq, &view);

    if (error || view.position_end > end)
        return error && error != -EAGAIN ? error : -HF_EDIVERGED;
    error = hf_translate(chain, &engine->state, &view, &translated);
    if (!error)
        error = hf_batch_add(builder, &translated.record);
    if (error == -ENOSPC) {
        error = hf_batch_finish(builder, 0, &data, &size, &chain->digest);
        hf_batch_begin_captured(builder, &engine->stream, chain->seq, &chain->digest);
        if (!error)
            error = hf_batch_add(builder, &translated.record);
    }
    if (!error)
        chain->seq = view.position_end;
    return error;
}

int hf_engine_walk(struct hf_engine *engine, const struct hf_chain *from, uint64_t seq,
                   struct hf_chain *ret_chain)
{
    struct hf_batch_builder_options options = {
        .compression_level = HF_COMPRESSION_OFF,
        .size_max = HF_BATCH_SIZE_MAX,
    };
    struct hf_batch_builder *builder;
    struct hf_chain chain = *from;
    const void *data;
    size_t size;
    int error = hf_batch_builder_new(&options, &builder);

    if (error)
        return error;
    hf_batch_begin_captured(builder, &engine->stream, chain.seq, &chain.digest);
    while (!error && chain.seq < seq)
        error = walk_one(engine, builder, &chain, seq);
    if (!error)
        error = hf_batch_finish(builder, 0, &data, &size, &chain.digest);
    if (!error)
        *ret_chain = chain;
    hf_batch_builder_free(builder);
    return error;
}
