// SPDX-License-Identifier: Apache-2.0
#include "agent/engine-internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

#define MACHINE_PART_BYTES 3900 /* of the description in one record of the ring */
#define BUSY_WAIT_MS 2          /* something is in flight or gathered */

void hf_engine_options_default(struct hf_engine_options *options)
{
    *options = (struct hf_engine_options){
        .compression_level = HF_COMPRESSION_FAST,
        .batch_bytes = HF_ENGINE_BATCH_BYTES_DEFAULT,
        .batch_delay_ns = 5 * HF_NS_PER_MS,
        .generation_ns = 5 * HF_NS_PER_S,
        .dirty_return_ns = 10 * HF_NS_PER_S,
    };
}

void hf_engine_say(struct hf_engine *engine, enum hf_log_level level, const char *format, ...)
{
    char text[HF_ENGINE_TEXT_MAX];
    va_list arguments;

    if (!engine->options.report)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    engine->options.report(engine->options.context, level, text);
}

uint64_t hf_engine_now(struct hf_engine *engine)
{
    return engine->options.clock->ops->boot_ns(engine->options.clock);
}

/* ---- birth and death ---- */

/* A capture without a state of ours begins its chain at 0. */
int hf_engine_adopt(struct hf_engine *engine)
{
    struct hf_source *source = engine->options.source;
    struct hf_saved *now = &engine->state.now;
    bool found;
    int error = hf_state_load(&engine->state, source->ops->state(source), &found);

    if (error)
        return error;
    source->ops->get_id(source, &engine->stream.capture);
    engine->stream.epoch = now->epoch;
    if (!found) {
        hf_digest_begin(&engine->stream.capture, &now->acked.digest);
        now->released = now->acked;
        hf_state_save(&engine->state);
    }
    engine->mode = HF_CAPTURE_DATA; /* so that the first DIRTY is told */
    engine->resized_seq = now->released.seq;
    engine->told_lost_events = now->lost_events;
    engine->generation_ns = hf_engine_now(engine);
    hf_engine_ship_from(engine, &now->released);
    pthread_mutex_lock(&engine->status_lock);
    engine->status.captures_begun += !found;
    engine->status.capture = engine->stream.capture;
    engine->status.seq_acked = now->acked.seq;
    pthread_mutex_unlock(&engine->status_lock);
    return 0;
}

int hf_engine_new(const struct hf_engine_options *options, struct hf_engine **ret_engine)
{
    struct hf_batch_builder_options builder = {
        .compression_level = options->compression_level,
        .size_max = options->batch_bytes,
    };
    struct hf_pass_options pass = {
        .source = options->source,
        .reader = options->reader,
        .clock = options->clock,
        .target = options->target,
        .compression_level = options->compression_level,
        .batch_bytes = options->batch_bytes,
        .bytes_per_s = options->pass_bytes_per_s,
    };
    struct hf_engine *engine = calloc(1, sizeof(*engine));
    int error;

    if (!engine)
        return -ENOMEM;
    engine->options = *options;
    pthread_mutex_init(&engine->status_lock, NULL);
    error = hf_batch_builder_new(&builder, &engine->builder);
    if (!error)
        error = hf_pass_new(&pass, &engine->pass);
    if (!error)
        error = hf_engine_adopt(engine);
    if (error) {
        hf_engine_free(engine);
        return error;
    }
    *ret_engine = engine;
    return 0;
}

void hf_engine_free(struct hf_engine *engine)
{
    if (!engine)
        return;
    engine->options.link->ops->close(engine->options.link, false);
    hf_pass_free(engine->pass);
    hf_batch_builder_free(engine->builder);
    pthread_mutex_destroy(&engine->status_lock);
    free(engine->description);
    free(engine);
}

struct hf_pass *hf_engine_pass(struct hf_engine *engine)
{
    return engine->pass;
}

void hf_engine_stop(struct hf_engine *engine)
{
    engine->stopped = true;
    hf_pass_pause(engine->pass);
    engine->options.link->ops->close(engine->options.link, true);
    if (engine->link_state != HF_UPLINK_SUPERSEDED)
        engine->link_state = HF_UPLINK_DOWN;
}

/* ---- small things the other files need ---- */

uint64_t hf_engine_slots(struct hf_engine *engine)
{
    uint64_t slots = 0;

    for (unsigned i = 0; i < engine->status.disk_count; i++)
        slots |= (uint64_t)1 << engine->status.disks[i].slot;
    return slots;
}

uint64_t hf_engine_disk_bytes(struct hf_engine *engine, unsigned slot)
{
    struct hf_source *source = engine->options.source;
    struct hf_capture_disk disk;

    return source->ops->disk_get(source, slot, &disk) ? 0 : disk.size_sectors * HF_SECTOR;
}

int hf_engine_put(struct hf_engine *engine, enum hf_record_type type, const void *body, size_t size,
                  bool need_data, uint64_t *ret_seq_end)
{
    struct hf_source *source = engine->options.source;

    return source->ops->mark(source, type, body, size, need_data, NULL, ret_seq_end);
}

/* ---- stepping ---- */

static void status_update(struct hf_engine *engine, const struct hf_capture_stats *stats)
{
    struct hf_source *source = engine->options.source;
    struct hf_engine_status *status = &engine->status;
    const struct hf_saved *now = &engine->state.now;
    uint64_t slots = hf_engine_slots(engine);
    struct hf_capture_disk disk;

    pthread_mutex_lock(&engine->status_lock);
    status->capture_stats = *stats;
    status->epoch = engine->stream.epoch;
    status->target = now->target;
    status->seq_captured = source->ops->producer(source);
    status->lag_now_us = stats->oldest_age_ns / 1000;
    status->passes = now->passes;
    status->protected = stats->mode == HF_CAPTURE_DATA && now->pass == 0 &&
                        engine->link_state == HF_UPLINK_STREAMING && slots != 0 &&
                        (slots & ~now->complete_mask) == 0 &&
                        stats->lost_events == now->lost_events;
    status->no_points = stats->lost_events != now->lost_events || now->complete_mask == 0 ||
                        (now->pass != 0 && (now->pass_mask & now->complete_mask) != 0);
    for (unsigned i = 0; i < status->disk_count; i++) {
        struct hf_engine_disk *entry = &status->disks[i];

        entry->complete = now->complete_mask >> entry->slot & 1;
        if (source->ops->disk_get(source, entry->slot, &disk))
            continue;
        entry->size_bytes = disk.size_sectors * HF_SECTOR;
        entry->refused = (disk.flags & HF_DISK_REFUSED) != 0;
    }
    pthread_mutex_unlock(&engine->status_lock);
}

static int upkeep(struct hf_engine *engine)
{
    struct hf_source *source = engine->options.source;
    uint64_t now_ns = hf_engine_now(engine);
    struct hf_capture_stats stats;
    int error;

    if (now_ns < engine->upkeep_ns)
        return 0;
    engine->upkeep_ns = now_ns + HF_ENGINE_UPKEEP_NS;
    if (now_ns >= engine->heartbeat_ns) {
        engine->heartbeat_ns = now_ns + HF_ENGINE_HEARTBEAT_NS;
        (void)source->ops->heartbeat(source);
    }
    if (now_ns >= engine->expire_ns) {
        engine->expire_ns = now_ns + HF_ENGINE_EXPIRE_NS;
        (void)source->ops->inflight_expire(source, HF_ENGINE_EXPIRE_AGE_MS);
    }
    error = source->ops->stats(source, &stats);
    if (error)
        return error;
    hf_engine_pass_upkeep(engine, &stats);
    hf_engine_generation_upkeep(engine);
    status_update(engine, &stats);
    return 0;
}

int hf_engine_step(struct hf_engine *engine)
{
    int work, shipped = 0, error;

    work = hf_engine_link_step(engine);
    if (work < 0)
        return work;
    if (engine->link_state == HF_UPLINK_STREAMING && !engine->restart_wanted) {
        shipped = hf_engine_ship(engine);
        if (shipped < 0)
            return shipped;
    }
    if (engine->link_state == HF_UPLINK_STREAMING && !engine->restart_wanted)
        work |= hf_engine_ship_pass(engine);
    hf_engine_pass_end_if_done(engine);
    error = upkeep(engine);
    if (error)
        return error;
    return work || shipped;
}

/* How long a batch that is begun may still grow, in whole milliseconds. */
static int ms_until_due(struct hf_engine *engine)
{
    uint64_t due_ns = engine->first_boot_ns + engine->options.batch_delay_ns;
    uint64_t now_ns = hf_engine_now(engine);

    return due_ns <= now_ns ? 0 : (int)((due_ns - now_ns + HF_NS_PER_MS - 1) / HF_NS_PER_MS);
}

void hf_engine_wait(struct hf_engine *engine, int timeout_ms)
{
    struct hf_source *source = engine->options.source;
    struct hf_uplink *link = engine->options.link;
    bool busy = engine->state.now.pass || hf_history_oldest(&engine->history);

    if (engine->link_state != HF_UPLINK_STREAMING || engine->pending)
        link->ops->wait(link, timeout_ms);
    else if (engine->open)
        (void)source->ops->wait(source, engine->read.seq, (uint32_t)engine->options.batch_bytes,
                                HF_MIN(ms_until_due(engine), BUSY_WAIT_MS));
    else
        (void)source->ops->wait(source, engine->read.seq, 1,
                                busy ? HF_MIN(BUSY_WAIT_MS, timeout_ms) : timeout_ms);
}

/* ---- orders ---- */

int hf_engine_resync(struct hf_engine *engine, bool full, uint64_t *ret_pass)
{
    engine->state.now.next_kind = full ? HF_PASS_FULL : HF_PASS_HASH;
    hf_state_save(&engine->state);
    engine->replace_pass = true;
    *ret_pass = engine->state.now.passes + 1;
    return 0;
}

static int put_description(struct hf_engine *engine, const char *json, size_t length)
{
    uint32_t version = engine->state.now.machine_version + 1;
    uint16_t parts = (uint16_t)((length + MACHINE_PART_BYTES - 1) / MACHINE_PART_BYTES);
    uint8_t record[sizeof(struct hf_machine_body) + MACHINE_PART_BYTES];
    int error = 0;

    for (uint16_t part = 0; part < parts && !error; part++) {
        size_t offset = (size_t)part * MACHINE_PART_BYTES;
        size_t size = HF_MIN(length - offset, (size_t)MACHINE_PART_BYTES);
        struct hf_machine_body body = {
            .version = hf_le32_of(version),
            .part = hf_le16_of(part),
            .parts = hf_le16_of(parts),
            .part_length = hf_le32_of((uint32_t)size),
            .total_length = hf_le32_of((uint32_t)length),
        };

        memcpy(record, &body, sizeof(body));
        memcpy(record + sizeof(body), json + offset, size);
        error = hf_engine_put(engine, HF_RECORD_MACHINE, record, sizeof(body) + size, false, NULL);
    }
    if (!error)
        engine->state.now.machine_version = version;
    return error;
}

int hf_engine_describe_again(struct hf_engine *engine)
{
    size_t length = engine->description ? strlen(engine->description) : 0;
    uint64_t hash = hf_hash64(engine->description, length);
    int error;

    if (length == 0 || hash == engine->state.now.machine_hash)
        return 0;
    error = put_description(engine, engine->description, length);
    if (error)
        return error;
    engine->state.now.machine_hash = hash;
    hf_state_save(&engine->state);
    return 0;
}

int hf_engine_describe(struct hf_engine *engine, const char *json)
{
    char *copy;

    if (strlen(json) > HF_MACHINE_DESCRIPTION_MAX)
        return -HF_ETOOBIG;
    copy = strdup(json);
    if (!copy)
        return -ENOMEM;
    free(engine->description);
    engine->description = copy;
    return hf_engine_describe_again(engine);
}

/* ---- any thread ---- */

int hf_engine_mark(struct hf_engine *engine, enum hf_mark_kind kind, const char *name,
                   struct hf_engine_point *ret_point)
{
    size_t length = name ? strlen(name) : 0;
    uint8_t record[sizeof(struct hf_mark_body) + HF_MARK_NAME_MAX];
    struct hf_clock *clock = engine->options.clock;
    struct hf_engine_point point = {.kind = kind, .wall_ns = clock->ops->wall_ns(clock)};
    struct hf_mark_body body = {
        .kind = (uint8_t)kind,
        .version = 1,
        .name_length = hf_le16_of((uint16_t)length),
        .wall_ns = hf_le64_of((uint64_t)point.wall_ns),
    };
    int error;

    if (length > HF_MARK_NAME_MAX)
        return -ENAMETOOLONG;
    pthread_mutex_lock(&engine->status_lock);
    error = engine->status.no_points ? -ESTALE : 0;
    pthread_mutex_unlock(&engine->status_lock);
    if (error)
        return error;
    error = hf_id_make(engine->options.random, &point.id);
    if (error)
        return error;
    body.point = point.id;
    memcpy(record, &body, sizeof(body));
    if (length)
        memcpy(record + sizeof(body), name, length);
    error = hf_engine_put(engine, HF_RECORD_MARK, record, sizeof(body) + length, true, &point.seq);
    if (error)
        return error;
    pthread_mutex_lock(&engine->status_lock);
    engine->status.last_point = point;
    engine->status.point_set = true;
    pthread_mutex_unlock(&engine->status_lock);
    *ret_point = point;
    return 0;
}

void hf_engine_get_status(struct hf_engine *engine, struct hf_engine_status *ret_status)
{
    pthread_mutex_lock(&engine->status_lock);
    *ret_status = engine->status;
    pthread_mutex_unlock(&engine->status_lock);
    hf_pass_get_progress(engine->pass, &ret_status->pass);
}
