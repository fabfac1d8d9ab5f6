// SPDX-License-Identifier: Apache-2.0
/*
 * The source over the real capture. Adds two locks to what capture.h promises: `lock` makes the
 * calls of the engine's and the worker's thread take turns; `handle` lets marks of any thread run
 * together, and keeps them out while the capture is exchanged for a new one. The engine's own
 * thread, which alone exchanges it, peeks and releases without either.
 *
 *     lock order: lock, then handle
 */
#include <pthread.h>
#include <stdlib.h>

#include "agent/source.h"
#include "base/error.h"

struct capture_source {
    struct hf_source source;
    struct hf_capture_options options;
    struct hf_capture *capture;
    pthread_mutex_t lock;
    pthread_rwlock_t handle;
};

static struct capture_source *self_of(struct hf_source *source)
{
    return (struct capture_source *)source;
}

/* Runs `call` with the capture, taking turns. */
#define LOCKED(source_, type_, call_)                                                              \
    do {                                                                                           \
        struct capture_source *self = self_of(source_);                                            \
        struct hf_capture *capture;                                                                \
        type_ result;                                                                              \
                                                                                                   \
        pthread_mutex_lock(&self->lock);                                                           \
        capture = self->capture;                                                                   \
        result = capture ? (call_) : (type_)-ENODEV;                                               \
        pthread_mutex_unlock(&self->lock);                                                         \
        return result;                                                                             \
    } while (0)

static void source_free(struct hf_source *source)
{
    struct capture_source *self = self_of(source);

    hf_capture_close(self->capture);
    pthread_rwlock_destroy(&self->handle);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static void source_get_id(struct hf_source *source, struct hf_id *ret_id)
{
    hf_capture_get_id(self_of(source)->capture, ret_id);
}

/* ---- the ring ---- */

static int source_peek(struct hf_source *source, uint64_t from, struct hf_capture_view *ret_view)
{
    return hf_capture_peek(self_of(source)->capture, from, ret_view);
}

static int source_release(struct hf_source *source, uint64_t position)
{
    return hf_capture_release(self_of(source)->capture, position);
}

static int source_wait(struct hf_source *source, uint64_t from, uint32_t level_bytes,
                       int timeout_ms)
{
    return hf_capture_wait(self_of(source)->capture, from, level_bytes, timeout_ms);
}

static uint64_t source_consumer(struct hf_source *source)
{
    return hf_capture_consumer_position(self_of(source)->capture);
}

static uint64_t source_producer(struct hf_source *source)
{
    return hf_capture_producer_position(self_of(source)->capture);
}

static int source_mark(struct hf_source *source, uint32_t kind, const void *payload,
                       size_t payload_bytes, bool need_data, uint64_t *ret_position,
                       uint64_t *ret_position_end)
{
    struct capture_source *self = self_of(source);
    int error = -ENODEV;

    pthread_rwlock_rdlock(&self->handle);
    if (self->capture)
        error = hf_capture_mark(self->capture, kind, payload, payload_bytes, need_data,
                                ret_position, ret_position_end);
    pthread_rwlock_unlock(&self->handle);
    return error;
}

/* ---- modes, passes, generations ---- */

static int source_force_dirty(struct hf_source *source, enum hf_capture_cause cause)
{
    LOCKED(source, int, hf_capture_force_dirty(capture, cause));
}

static int source_data_begin(struct hf_source *source, uint32_t kind, const void *payload,
                             size_t payload_bytes, uint64_t *ret_position, uint64_t *ret_epoch)
{
    LOCKED(source, int,
           hf_capture_data_begin(capture, kind, payload, payload_bytes, ret_position, ret_epoch));
}

static int source_pass_begin(struct hf_source *source, uint32_t target_mask, uint32_t kind,
                             const void *payload, size_t payload_bytes, uint64_t *ret_position,
                             uint64_t *ret_epoch)
{
    LOCKED(source, int,
           hf_capture_pass_begin(capture, target_mask, kind, payload, payload_bytes, ret_position,
                                 ret_epoch));
}

static int source_inflight_before(struct hf_source *source, unsigned slot, uint64_t offset_bytes,
                                  uint64_t length_bytes, uint64_t epoch)
{
    LOCKED(source, int,
           hf_capture_inflight_before(capture, slot, offset_bytes, length_bytes, epoch));
}

static int source_inflight_expire(struct hf_source *source, uint64_t age_ms)
{
    LOCKED(source, int, hf_capture_inflight_expire(capture, age_ms));
}

static int source_generation_swap(struct hf_source *source, enum hf_capture_map_kind kind,
                                  unsigned target, uint32_t mark_kind, const void *payload,
                                  size_t payload_bytes, uint64_t *ret_position)
{
    LOCKED(source, int,
           hf_capture_generation_swap(capture, kind, target, mark_kind, payload, payload_bytes,
                                      ret_position));
}

/* ---- maps ---- */

static int64_t source_map_bit_bytes(struct hf_source *source, unsigned slot)
{
    LOCKED(source, int64_t, hf_capture_map_bit_bytes(capture, slot));
}

static int source_map_read(struct hf_source *source, unsigned slot, unsigned target,
                           enum hf_capture_map_kind kind, enum hf_capture_generation generation,
                           uint64_t *ret_words, size_t word_count)
{
    LOCKED(source, int,
           hf_capture_map_read(capture, slot, target, kind, generation, ret_words, word_count));
}

static int source_map_next(struct hf_source *source, unsigned slot, unsigned target,
                           enum hf_capture_map_kind kind, enum hf_capture_generation generation,
                           uint64_t from_bytes, uint64_t length_max, uint64_t *ret_offset_bytes,
                           uint64_t *ret_length_bytes)
{
    LOCKED(source, int,
           hf_capture_map_next(capture, slot, target, kind, generation, from_bytes, length_max,
                               ret_offset_bytes, ret_length_bytes));
}

static int source_map_clear(struct hf_source *source, unsigned slot, unsigned target,
                            enum hf_capture_map_kind kind, uint64_t offset_bytes,
                            uint64_t length_bytes)
{
    LOCKED(source, int,
           hf_capture_map_clear(capture, slot, target, kind, offset_bytes, length_bytes));
}

static int source_map_set(struct hf_source *source, unsigned slot, unsigned target,
                          enum hf_capture_map_kind kind, uint64_t offset_bytes,
                          uint64_t length_bytes)
{
    LOCKED(source, int,
           hf_capture_map_set(capture, slot, target, kind, offset_bytes, length_bytes));
}

/* ---- disks ---- */

static int source_disk_add(struct hf_source *source, const struct hf_disk_identity *identity,
                           uint32_t target_mask, unsigned *ret_slot)
{
    LOCKED(source, int, hf_capture_disk_add(capture, identity, target_mask, ret_slot));
}

static int source_disk_remove(struct hf_source *source, unsigned slot)
{
    LOCKED(source, int, hf_capture_disk_remove(capture, slot));
}

static int source_disk_resized(struct hf_source *source, unsigned slot)
{
    LOCKED(source, int, hf_capture_disk_resized(capture, slot));
}

static int source_disk_confirm(struct hf_source *source, unsigned slot,
                               const struct hf_disk_identity *identity)
{
    LOCKED(source, int, hf_capture_disk_confirm(capture, slot, identity));
}

static int source_disk_get(struct hf_source *source, unsigned slot,
                           struct hf_capture_disk *ret_disk)
{
    LOCKED(source, int, hf_capture_disk_get(capture, slot, ret_disk));
}

static int source_disk_find(struct hf_source *source, const struct hf_disk_identity *identity)
{
    LOCKED(source, int, hf_capture_disk_find(capture, identity));
}

/* ---- housekeeping ---- */

static int source_heartbeat(struct hf_source *source)
{
    LOCKED(source, int, hf_capture_heartbeat(capture));
}

static int source_stats(struct hf_source *source, struct hf_capture_stats *ret_stats)
{
    LOCKED(source, int, hf_capture_get_stats(capture, ret_stats));
}

static void *source_state(struct hf_source *source)
{
    return hf_capture_agent_state(self_of(source)->capture);
}

static int source_restart(struct hf_source *source)
{
    struct capture_source *self = self_of(source);
    int error;

    pthread_mutex_lock(&self->lock);
    pthread_rwlock_wrlock(&self->handle);
    hf_capture_close(self->capture);
    self->capture = NULL;
    error = hf_capture_detach(self->options.directory);
    if (!error)
        error = hf_capture_open(&self->options, &self->capture);
    pthread_rwlock_unlock(&self->handle);
    pthread_mutex_unlock(&self->lock);
    return error;
}

static const struct hf_source_ops ops = {
    .size = sizeof(struct hf_source_ops),
    .version = 1,
    .free = source_free,
    .get_id = source_get_id,
    .peek = source_peek,
    .release = source_release,
    .wait = source_wait,
    .consumer = source_consumer,
    .producer = source_producer,
    .mark = source_mark,
    .force_dirty = source_force_dirty,
    .data_begin = source_data_begin,
    .pass_begin = source_pass_begin,
    .inflight_before = source_inflight_before,
    .inflight_expire = source_inflight_expire,
    .generation_swap = source_generation_swap,
    .map_bit_bytes = source_map_bit_bytes,
    .map_read = source_map_read,
    .map_next = source_map_next,
    .map_clear = source_map_clear,
    .map_set = source_map_set,
    .disk_add = source_disk_add,
    .disk_remove = source_disk_remove,
    .disk_resized = source_disk_resized,
    .disk_confirm = source_disk_confirm,
    .disk_get = source_disk_get,
    .disk_find = source_disk_find,
    .heartbeat = source_heartbeat,
    .stats = source_stats,
    .state = source_state,
    .restart = source_restart,
};

int hf_capture_source_new(const struct hf_capture_options *options, struct hf_source **ret_source)
{
    struct capture_source *self = calloc(1, sizeof(*self));
    int error;

    if (!self)
        return -ENOMEM;
    self->source.ops = &ops;
    self->options = *options;
    error = hf_capture_open(options, &self->capture);
    if (error) {
        free(self);
        return error;
    }
    pthread_mutex_init(&self->lock, NULL);
    pthread_rwlock_init(&self->handle, NULL);
    *ret_source = &self->source;
    return 0;
}
