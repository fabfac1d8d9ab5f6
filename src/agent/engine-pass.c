// SPDX-License-Identifier: Apache-2.0
/*
 * When passes begin and end, and how the capture comes back from DIRTY.
 *
 * One rule starts every pass that nobody asked for: the capture counts ranges put into a lost map,
 * and when that number differs from what it was at the newest PASS_BEGIN, a pass is due. An
 * overflow, a failed write, a disk that was added or grew, a LOST hop: all end here.
 *
 * From DIRTY the capture itself puts GAP, goes to DATA and puts PASS_BEGIN; a pass that was under
 * way is replaced by one over what it had left and what was lost since, and keeps its kind. The old
 * one never ends and needs no cleaning.
 *
 * Crash argument. Before the maps are swapped the state says: no pass is under way, its number is
 * used up, and lost_events is one that the capture never has. So whoever dies from there
 * until the new pass is saved, the next agent sends nothing as the old pass (its map is the new
 * one's by then, and what was lost since would be ordered at the wrong place and cleared), and
 * begins another one, whose swap takes the unfinished generation back. pass_kind stays until a pass
 * has ended.
 */
#include "agent/engine-internal.h"

#include "agent/translate.h"
#include "base/base.h"
#include "base/error.h"

#define LOST_EVENTS_NEVER UINT64_MAX /* no count of the capture: a pass is due */
#define LOW_MARK_DIVISOR 4 /* back to DATA when the backlog is below this part of the ring */

static const char *kind_name(enum hf_pass_kind kind)
{
    static const char *const names[] = {"", "full copy", "copy of lost ranges", "checksum pass"};

    return names[kind];
}

int hf_engine_lose_all(struct hf_engine *engine, uint64_t mask)
{
    struct hf_source *source = engine->options.source;
    int error = 0;

    for (unsigned slot = 0; slot < HF_DISKS_MAX && !error; slot++)
        if (mask >> slot & 1)
            error = source->ops->map_set(source, slot, engine->options.target, HF_MAP_LOST, 0,
                                         hf_engine_disk_bytes(engine, slot));
    return error;
}

/* Disks with something in their lost maps. */
static uint64_t lossy_slots(struct hf_engine *engine)
{
    struct hf_source *source = engine->options.source;
    uint64_t slots = hf_engine_slots(engine), lossy = 0, offset, length;

    for (unsigned slot = 0; slot < HF_DISKS_MAX; slot++)
        for (int generation = 0; generation < 2; generation++)
            if ((slots >> slot & 1) &&
                source->ops->map_next(source, slot, engine->options.target, HF_MAP_LOST,
                                      (enum hf_capture_generation)generation, 0, UINT64_MAX,
                                      &offset, &length) == 1)
                lossy |= (uint64_t)1 << slot;
    return lossy;
}

/* ---- beginning ---- */

static int pass_plan_start(struct hf_engine *engine, uint64_t total_bytes)
{
    const struct hf_saved *now = &engine->state.now;
    struct hf_pass_plan plan = {
        .kind = (enum hf_pass_kind)now->pass_kind,
        .number = now->pass,
        .pass_seq = now->pass_seq,
        .epoch = now->pass_epoch,
        .disk_mask = now->pass_mask & hf_engine_slots(engine),
        .total_bytes = total_bytes,
        .stream = engine->stream,
    };

    return hf_pass_start(engine->pass, &plan);
}

int hf_engine_pass_restart(struct hf_engine *engine)
{
    return pass_plan_start(engine, engine->state.now.pass_total_bytes);
}

/* What the next pass is, before it has a place in the order. */
static void choose(struct hf_engine *engine, struct hf_pass_body *ret_body)
{
    struct hf_saved *now = &engine->state.now;
    uint64_t slots = hf_engine_slots(engine), lossy = lossy_slots(engine);
    uint64_t added = lossy & ~now->complete_mask;
    enum hf_pass_kind kind = HF_PASS_MAP;
    bool added_only = now->complete_mask != 0 && lossy != 0 && lossy == added &&
                      now->next_kind == 0 && now->pass_kind == 0 && engine->mode == HF_CAPTURE_DATA;

    if (now->next_kind != 0)
        kind = (enum hf_pass_kind)now->next_kind;
    else if (now->pass_kind) /* an added disk's did not cover the others: it mends nothing */
        kind =
            now->complete_mask & ~now->pass_mask ? HF_PASS_MAP : (enum hf_pass_kind)now->pass_kind;
    else if (added_only)
        kind = HF_PASS_FULL;
    *ret_body = (struct hf_pass_body){
        .kind = (uint8_t)kind,
        .version = 1,
        .flags = hf_le16_of(added_only ? HF_PASS_ADDED_DISK : 0),
        .pass = hf_le64_of(now->passes + 1),
        .disk_mask = hf_le64_of(added_only ? added : slots),
    };
}

static int put_begin(struct hf_engine *engine, const struct hf_pass_body *body,
                     uint64_t *ret_position, uint64_t *ret_epoch)
{
    struct hf_source *source = engine->options.source;

    if (engine->mode == HF_CAPTURE_DIRTY)
        return source->ops->data_begin(source, HF_RECORD_PASS_BEGIN, body, sizeof(*body),
                                       ret_position, ret_epoch);
    return source->ops->pass_begin(source, 1u << engine->options.target, HF_RECORD_PASS_BEGIN, body,
                                   sizeof(*body), ret_position, ret_epoch);
}

/* Whether a mark that is not sent yet, before `position`, will be sent as a GAP: something was lost
 * since the newest pass began (lost_events), though only of a disk that was added. */
static bool gap_comes_before(struct hf_engine *engine, uint64_t position, uint64_t lost_events)
{
    struct hf_source *source = engine->options.source;
    uint64_t at = engine->read.seq;
    struct hf_capture_view view;

    if (engine->read.lost_events != lost_events)
        return true;
    while (at < position && source->ops->peek(source, at, &view) == 0) {
        if (view.record->type == HF_CAPTURE_MARK && view.record->lost_events != lost_events)
            return true;
        at = view.position_end;
    }
    return false;
}

/* lost_events: before the maps were swapped. What is lost between that and PASS_BEGIN is counted in
 * its record, but its bits are in the generation that this pass does not read (fault 7). */
static void begun(struct hf_engine *engine, const struct hf_pass_body *body,
                  const struct hf_capture_view *view, uint64_t epoch, uint64_t lost_events,
                  bool replace)
{
    struct hf_saved *now = &engine->state.now;
    bool returned = engine->mode == HF_CAPTURE_DIRTY;

    now->pass = hf_le64_get(body->pass);
    now->pass_kind = body->kind;
    now->pass_seq = view->position_end;
    now->pass_batch = 0;
    now->pass_epoch = epoch;
    now->pass_mask = hf_le64_get(body->disk_mask);
    /* Another number than that keeps it from ending complete, should we be killed before that. */
    now->lost_events = replace ? LOST_EVENTS_NEVER : lost_events;
    now->next_kind = 0;
    engine->replace_pass = replace;
    if (returned)
        engine->return_ns = hf_engine_now(engine);
    pthread_mutex_lock(&engine->status_lock);
    engine->status.dirty_returns += returned;
    pthread_mutex_unlock(&engine->status_lock);
}

static int begin(struct hf_engine *engine)
{
    struct hf_source *source = engine->options.source;
    struct hf_saved *now = &engine->state.now;
    struct hf_pass_progress progress;
    struct hf_pass_body body;
    struct hf_capture_stats before;
    struct hf_capture_view view;
    uint64_t position, epoch, lost_events = now->lost_events;
    bool replace;
    int error = 0;

    if (now->next_kind == HF_PASS_FULL || now->next_kind == HF_PASS_HASH)
        error = hf_engine_lose_all(engine, hf_engine_slots(engine));
    if (!error)
        error = source->ops->stats(source, &before);
    if (error)
        return error;
    choose(engine, &body);
    /* From here on nothing may clear a bit for the old pass: the swap makes them the new one's. */
    hf_pass_stop(engine->pass);
    engine->options.link->ops->drop_pass(engine->options.link);
    engine->replace_pass = true;
    now->passes++;
    now->pass = 0;
    now->lost_events = LOST_EVENTS_NEVER;
    hf_state_save(&engine->state);
    error = put_begin(engine, &body, &position, &epoch);
    if (!error)
        error = source->ops->peek(source, position, &view);
    if (error)
        return error;
    /* The pass of an added disk does not end a GAP: one over all disks takes its place. */
    replace = (hf_le16_get(body.flags) & HF_PASS_ADDED_DISK) &&
              gap_comes_before(engine, position, lost_events);
    begun(engine, &body, &view, epoch, before.lost_events, replace);
    error = pass_plan_start(engine, 0);
    if (error)
        return error;
    hf_pass_get_progress(engine->pass, &progress);
    now->pass_total_bytes = progress.total_bytes;
    hf_state_save(&engine->state);
    if (engine->link_state == HF_UPLINK_STREAMING)
        hf_pass_resume(engine->pass, 0, NULL);
    hf_engine_say(engine, HF_LOG_INFO, "pass %llu begins: %s, %llu MiB",
                  (unsigned long long)now->pass, kind_name((enum hf_pass_kind)now->pass_kind),
                  (unsigned long long)(progress.total_bytes / HF_MIB));
    return 0;
}

/* ---- ending ---- */

static void end(struct hf_engine *engine, uint64_t batches)
{
    struct hf_source *source = engine->options.source;
    struct hf_saved *now = &engine->state.now;
    struct hf_pass_body body = {
        .kind = (uint8_t)now->pass_kind,
        .version = 1,
        .pass = hf_le64_of(now->pass),
        .disk_mask = hf_le64_of(now->pass_mask),
        .batches = hf_le64_of(batches),
    };
    struct hf_capture_stats stats;
    struct hf_capture_view view;
    uint64_t position;
    bool complete;

    if (source->ops->stats(source, &stats))
        return;
    complete = stats.lost_events == now->lost_events;
    body.flags = hf_le16_of(complete ? HF_PASS_COMPLETE : 0);
    /* DIRTY or full: what was lost needs another pass, or there is room a moment later. */
    if (source->ops->mark(source, HF_RECORD_PASS_END, &body, sizeof(body), true, &position, NULL) ||
        source->ops->peek(source, position, &view))
        return;
    complete = complete && view.record->lost_events == now->lost_events;
    if (complete)
        now->complete_mask |= now->pass_mask;
    hf_engine_say(engine, HF_LOG_INFO, "pass %llu ended%s", (unsigned long long)now->pass,
                  complete ? ": recovery points from here on"
                           : "; more was lost meanwhile, another follows");
    now->pass = 0;
    now->pass_kind = 0;
    now->pass_end_seq = view.position_end;
    hf_state_save(&engine->state);
    hf_pass_stop(engine->pass);
}

/* ---- upkeep ---- */

static bool may_return(struct hf_engine *engine, const struct hf_capture_stats *stats)
{
    struct hf_source *source = engine->options.source;
    uint64_t backlog = source->ops->producer(source) - engine->sent.seq;

    if (engine->return_ns &&
        hf_engine_now(engine) < engine->return_ns + engine->options.dirty_return_ns)
        return false;
    return backlog <= stats->ring_bytes / LOW_MARK_DIVISOR &&
           stats->fill_bytes <= stats->ring_bytes / 2;
}

static bool is_due(struct hf_engine *engine, const struct hf_capture_stats *stats)
{
    const struct hf_saved *now = &engine->state.now;

    if (engine->link_state != HF_UPLINK_STREAMING || engine->restart_wanted ||
        hf_engine_slots(engine) == 0)
        return false;
    if (stats->mode == HF_CAPTURE_DIRTY)
        return may_return(engine, stats);
    if (now->next_kind != 0 || engine->replace_pass)
        return true;
    return now->pass == 0 && stats->lost_events != now->lost_events;
}

/* Once per change: why DATA mode or a pass can not be had. */
static void report_begin_error(struct hf_engine *engine, int error)
{
    if (error == engine->begin_error)
        return;
    engine->begin_error = error;
    if (error == -ESTALE)
        hf_engine_say(engine, HF_LOG_ERROR,
                      "a protected disk was exchanged for another one: only maps grow until it is "
                      "confirmed or removed");
    else if (error == -ENODATA)
        hf_engine_say(engine, HF_LOG_ERROR,
                      "this kernel does not tell where written pages lie: only maps grow, there "
                      "are no recovery points");
    else if (error == -EFBIG)
        hf_engine_say(engine, HF_LOG_ERROR,
                      "the maps are too coarse for these disks: raise maps_bytes");
    else if (error && error != -EAGAIN && error != -ENOSPC)
        hf_engine_say(engine, HF_LOG_ERROR, "a pass could not begin: %s", hf_strerror(error));
}

static void report_mode(struct hf_engine *engine, const struct hf_capture_stats *stats)
{
    if (stats->mode == HF_CAPTURE_DIRTY &&
        (engine->mode != HF_CAPTURE_DIRTY || engine->cause != stats->cause))
        hf_engine_say(engine, HF_LOG_WARN,
                      "not capturing content (%s): writes are tracked in maps and copied later",
                      hf_capture_cause_name(stats->cause));
    else if (stats->mode == HF_CAPTURE_DATA && engine->mode == HF_CAPTURE_DIRTY)
        hf_engine_say(engine, HF_LOG_INFO, "capturing content again");
    engine->mode = stats->mode;
    engine->cause = stats->cause;
}

/*
 * Something was lost of a disk that points claim, and no pass could begin (no link, another pass):
 * a NOTE, which is sent as a GAP, so that nothing captured from here on is taken for a point (A2).
 */
static void tell_loss(struct hf_engine *engine, const struct hf_capture_stats *stats)
{
    struct hf_saved *now = &engine->state.now;
    uint64_t boot_ns = hf_engine_now(engine);

    if (engine->mode != HF_CAPTURE_DATA || stats->lost_events == now->lost_events ||
        stats->lost_events == engine->told_lost_events)
        return;
    if ((lossy_slots(engine) & now->complete_mask) == 0 ||
        hf_engine_put(engine, HF_RECORD_NOTE, &boot_ns, sizeof(boot_ns), true, NULL) == 0)
        engine->told_lost_events = stats->lost_events;
}

void hf_engine_pass_end_if_done(struct hf_engine *engine)
{
    uint64_t batches;

    if (engine->state.now.pass && engine->mode == HF_CAPTURE_DATA && !engine->replace_pass &&
        hf_pass_done(engine->pass, &batches))
        end(engine, batches);
}

void hf_engine_pass_upkeep(struct hf_engine *engine, const struct hf_capture_stats *stats)
{
    report_mode(engine, stats);
    if (is_due(engine, stats))
        report_begin_error(engine, begin(engine));
    tell_loss(engine, stats);
}
