// SPDX-License-Identifier: Apache-2.0
/*
 * The life of a pass and its bookkeeping (pass.h). Every range is in exactly one place: still ahead
 * of the cursor; in the worker's hands or a hash window; or in `chunks`, sent and waiting. In all
 * of them its bits stay set, in memory and in the pinned map, and only hf_pass_acked (or an
 * equality seen by HASH) clears them. So dropping everything but the map, at any moment, costs
 * reading again and nothing else.
 */
#include "agent/pass-internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/error.h"
#include "io/io.h"

#define RATE_WINDOW_NS (5 * HF_NS_PER_S)

int hf_pass_new(const struct hf_pass_options *options, struct hf_pass **ret_pass)
{
    struct hf_batch_builder_options builder = {
        .compression_level = options->compression_level,
        .size_max = options->batch_bytes,
    };
    struct hf_pass *pass = calloc(1, sizeof(*pass));
    pthread_condattr_t monotonic;
    int error = -ENOMEM;

    if (!pass)
        return -ENOMEM;
    pass->options = *options;
    pass->throttle.bytes_per_s = options->bytes_per_s;
    pthread_mutex_init(&pass->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pass->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&pass->idle, NULL);
    pass->windows = calloc(HF_PASS_WINDOWS, sizeof(*pass->windows));
    pass->buffer = aligned_alloc(HF_IO_ALIGN, HF_PASS_CHUNK_BYTES);
    if (pass->windows && pass->buffer)
        error = hf_batch_builder_new(&builder, &pass->builder);
    if (error) {
        hf_pass_free(pass);
        return error;
    }
    *ret_pass = pass;
    return 0;
}

void hf_pass_free(struct hf_pass *pass)
{
    if (!pass)
        return;
    for (size_t i = 0; i < HF_PASS_QUEUE_SLOTS; i++)
        hf_bytes_clear(&pass->queue[i]);
    for (size_t i = 0; i < HF_DISKS_MAX; i++)
        hf_bitmap_done(&pass->remaining[i]);
    hf_batch_builder_free(pass->builder);
    pthread_cond_destroy(&pass->idle);
    pthread_cond_destroy(&pass->changed);
    pthread_mutex_destroy(&pass->lock);
    free(pass->windows);
    free(pass->buffer);
    free(pass);
}

/* ---- starting and stopping ---- */

static int map_load(struct hf_pass *pass, unsigned slot)
{
    struct hf_source *source = pass->options.source;
    struct hf_bitmap *bitmap = &pass->remaining[slot];
    int64_t bit_bytes = source->ops->map_bit_bytes(source, slot);
    struct hf_capture_disk disk;
    int error = source->ops->disk_get(source, slot, &disk);

    if (error || bit_bytes < 0)
        return error ? error : (int)bit_bytes;
    if (bit_bytes > HF_PASS_BIT_BYTES_MAX)
        return -EFBIG;
    pass->disk_bytes[slot] = disk.size_sectors * HF_SECTOR;
    error = hf_bitmap_init(bitmap, pass->disk_bytes[slot],
                           (uint32_t)__builtin_ctzll((uint64_t)bit_bytes));
    if (error)
        return error;
    return source->ops->map_read(source, slot, pass->options.target, HF_MAP_LOST, HF_GENERATION_OLD,
                                 bitmap->words, (bitmap->bit_count + 63) / 64);
}

static uint64_t remaining_bytes_locked(const struct hf_pass *pass)
{
    uint64_t bytes = 0;

    for (unsigned slot = 0; slot < HF_DISKS_MAX; slot++)
        if (pass->plan.disk_mask >> slot & 1)
            bytes +=
                HF_MIN(hf_bitmap_count(&pass->remaining[slot]) << pass->remaining[slot].block_shift,
                       pass->disk_bytes[slot]);
    return bytes;
}

static void drop_work_locked(struct hf_pass *pass)
{
    pass->run++;
    pass->chunk_first = pass->chunk_count = 0;
    pass->queue_first = pass->queue_count = 0;
    pass->cursor_disk = 0;
    pass->cursor_offset = 0;
    pass->tail_open = false;
    pass->worker_busy = false;
    hf_pass_windows_reset_locked(pass);
    pthread_cond_broadcast(&pass->changed);
}

static void forget_locked(struct hf_pass *pass)
{
    pass->active = false;
    pass->running = false;
    pass->progress.active = false;
    drop_work_locked(pass);
    for (unsigned slot = 0; slot < HF_DISKS_MAX; slot++)
        hf_bitmap_done(&pass->remaining[slot]);
}

int hf_pass_start(struct hf_pass *pass, const struct hf_pass_plan *plan)
{
    int error = 0;

    pthread_mutex_lock(&pass->lock);
    forget_locked(pass);
    pass->plan = *plan;
    for (unsigned slot = 0; slot < HF_DISKS_MAX && !error; slot++)
        if (plan->disk_mask >> slot & 1)
            error = map_load(pass, slot);
    if (error) {
        forget_locked(pass);
        goto out;
    }
    if (pass->plan.total_bytes == 0)
        pass->plan.total_bytes = remaining_bytes_locked(pass);
    memset(&pass->progress, 0, sizeof(pass->progress));
    pass->progress.active = true;
    pass->progress.kind = plan->kind;
    pass->progress.number = plan->number;
    pass->rate_since_ns = 0;
    pass->acked = pass->batches = 0;
    pass->active = true;
out:
    pthread_mutex_unlock(&pass->lock);
    return error;
}

void hf_pass_stop(struct hf_pass *pass)
{
    pthread_mutex_lock(&pass->lock);
    forget_locked(pass);
    pthread_mutex_unlock(&pass->lock);
}

bool hf_pass_active(struct hf_pass *pass)
{
    bool active;

    pthread_mutex_lock(&pass->lock);
    active = pass->active;
    pthread_mutex_unlock(&pass->lock);
    return active;
}

void hf_pass_resume(struct hf_pass *pass, uint64_t batch, const struct hf_digest *digest)
{
    pthread_mutex_lock(&pass->lock);
    if (pass->active) {
        drop_work_locked(pass);
        pass->resume_batch = pass->acked = pass->batches = batch;
        if (digest)
            pass->resume_digest = *digest;
        else
            hf_digest_begin_pass(&pass->plan.stream.capture, pass->plan.number,
                                 &pass->resume_digest);
        pass->running = true;
    }
    pthread_mutex_unlock(&pass->lock);
}

void hf_pass_pause(struct hf_pass *pass)
{
    pthread_mutex_lock(&pass->lock);
    pass->running = false;
    drop_work_locked(pass);
    pthread_mutex_unlock(&pass->lock);
}

/* ---- batches and acknowledgements ---- */

bool hf_pass_peek(struct hf_pass *pass, const void **ret_data, size_t *ret_size)
{
    bool found;

    pthread_mutex_lock(&pass->lock);
    found = pass->running && pass->queue_count > 0;
    if (found) {
        /* Only this thread takes from the front, so that it stays while it is borrowed. */
        *ret_data = pass->queue[pass->queue_first].data;
        *ret_size = pass->queue[pass->queue_first].size;
    }
    pthread_mutex_unlock(&pass->lock);
    return found;
}

void hf_pass_pop(struct hf_pass *pass)
{
    pthread_mutex_lock(&pass->lock);
    HF_ASSERT(pass->queue_count > 0);
    pass->progress.sent_bytes += pass->queue[pass->queue_first].size;
    pass->queue_first = (pass->queue_first + 1) % HF_PASS_QUEUE_SLOTS;
    pass->queue_count--;
    pthread_cond_broadcast(&pass->changed);
    pthread_mutex_unlock(&pass->lock);
}

void hf_pass_clear_locked(struct hf_pass *pass, const struct hf_pass_chunk *chunk)
{
    struct hf_source *source = pass->options.source;
    struct hf_bitmap *bitmap = &pass->remaining[chunk->disk];
    uint64_t whole = HF_ALIGN_UP(chunk->length, (uint64_t)1 << bitmap->block_shift);

    /* The pinned map first: what memory says is clear must be so after a kill too. */
    (void)source->ops->map_clear(source, chunk->disk, pass->options.target, HF_MAP_LOST,
                                 chunk->offset, chunk->length);
    hf_bitmap_clear_range(bitmap, chunk->offset, whole);
}

void hf_pass_acked(struct hf_pass *pass, uint64_t batches)
{
    pthread_mutex_lock(&pass->lock);
    if (pass->active && batches > pass->acked && batches <= pass->batches)
        pass->acked = batches;
    while (pass->chunk_count && pass->chunks[pass->chunk_first].batch_end <= pass->acked) {
        hf_pass_clear_locked(pass, &pass->chunks[pass->chunk_first]);
        pass->chunk_first = (pass->chunk_first + 1) % HF_PASS_CHUNKS_MAX;
        pass->chunk_count--;
        pthread_cond_broadcast(&pass->changed);
    }
    pthread_mutex_unlock(&pass->lock);
}

bool hf_pass_done(struct hf_pass *pass, uint64_t *ret_batches)
{
    bool done;

    pthread_mutex_lock(&pass->lock);
    done = pass->active && pass->running && !pass->worker_busy && !pass->tail_open &&
           pass->chunk_count == 0 && pass->queue_count == 0 && pass->acked == pass->batches &&
           !hf_pass_windows_busy_locked(pass) && remaining_bytes_locked(pass) == 0;
    *ret_batches = pass->batches;
    pthread_mutex_unlock(&pass->lock);
    return done;
}

static void rate_update_locked(struct hf_pass *pass)
{
    struct hf_pass_progress *progress = &pass->progress;
    uint64_t now_ns = pass->options.clock->ops->boot_ns(pass->options.clock);
    uint64_t span_ns = now_ns - pass->rate_since_ns;

    if (pass->rate_since_ns == 0 || progress->done_bytes < pass->rate_since_bytes) {
        pass->rate_since_ns = now_ns;
        pass->rate_since_bytes = progress->done_bytes;
    } else if (span_ns >= HF_NS_PER_S) {
        progress->bytes_per_s = (uint64_t)((double)(progress->done_bytes - pass->rate_since_bytes) *
                                           1e9 / (double)span_ns);
        if (span_ns > RATE_WINDOW_NS) {
            pass->rate_since_ns = now_ns;
            pass->rate_since_bytes = progress->done_bytes;
        }
    }
}

void hf_pass_get_progress(struct hf_pass *pass, struct hf_pass_progress *ret_progress)
{
    struct hf_pass_progress *progress = &pass->progress;
    uint64_t left;

    pthread_mutex_lock(&pass->lock);
    if (pass->active) {
        left = remaining_bytes_locked(pass);
        progress->total_bytes = HF_MAX(pass->plan.total_bytes, left);
        progress->done_bytes = progress->total_bytes - left;
        rate_update_locked(pass);
        progress->eta_s = progress->bytes_per_s ? left / progress->bytes_per_s : 0;
    }
    *ret_progress = *progress;
    pthread_mutex_unlock(&pass->lock);
}

/* ---- the worker ---- */

bool hf_pass_same_run_locked(const struct hf_pass *pass)
{
    return pass->active && pass->running && pass->run == pass->worker_run;
}

/* Drops what an older run left in the worker's hands; false when there is nothing to work for. */
static bool worker_sync_locked(struct hf_pass *pass)
{
    const void *data;
    size_t size;

    if (!pass->active || !pass->running)
        return false;
    if (pass->worker_run != pass->run) {
        if (pass->open)
            (void)hf_batch_finish(pass->builder, 0, &data, &size, &pass->digest);
        pass->open = false;
        pass->worker_run = pass->run;
        pass->worker_plan = pass->plan;
        pass->batch = pass->resume_batch;
        pass->digest = pass->resume_digest;
    }
    return true;
}

/* Moves the cursor; wraps when what is left was skipped before. */
bool hf_pass_take_locked(struct hf_pass *pass, uint64_t length_max, struct hf_pass_chunk *ret_chunk)
{
    while (pass->cursor_disk < HF_DISKS_MAX) {
        unsigned slot = pass->cursor_disk;
        struct hf_bitmap *bitmap = &pass->remaining[slot];
        uint64_t offset, length;

        if ((pass->plan.disk_mask >> slot & 1) &&
            hf_bitmap_next_range(bitmap, pass->cursor_offset,
                                 HF_MAX(length_max, (uint64_t)1 << bitmap->block_shift), &offset,
                                 &length) &&
            offset < pass->disk_bytes[slot]) {
            pass->cursor_offset = offset + length;
            *ret_chunk = (struct hf_pass_chunk){
                .disk = (uint16_t)slot,
                .offset = offset,
                .length = HF_MIN(length, pass->disk_bytes[slot] - offset),
            };
            pass->worker_busy = true;
            return true;
        }
        pass->cursor_disk++;
        pass->cursor_offset = 0;
    }
    return false;
}

/* At the end of the walk: send the last batch; begin again when ranges were skipped. */
static int end_of_walk(struct hf_pass *pass, uint64_t *ret_wait_ns)
{
    bool again;
    int error;

    if (pass->open) {
        error = hf_pass_flush(pass);
        return error ? error : 1;
    }
    pthread_mutex_lock(&pass->lock);
    again = hf_pass_same_run_locked(pass) && pass->chunk_count == 0 &&
            !hf_pass_windows_busy_locked(pass) && remaining_bytes_locked(pass) > 0;
    if (again) {
        pass->cursor_disk = 0;
        pass->cursor_offset = 0;
        *ret_wait_ns = HF_PASS_IN_FLIGHT_WAIT_NS;
    }
    pthread_mutex_unlock(&pass->lock);
    return 0;
}

static int copy_work(struct hf_pass *pass, uint64_t *ret_wait_ns)
{
    struct hf_pass_chunk chunk;
    bool found;
    int error;

    pthread_mutex_lock(&pass->lock);
    found = hf_pass_same_run_locked(pass) && hf_pass_take_locked(pass, HF_PASS_CHUNK_BYTES, &chunk);
    pthread_mutex_unlock(&pass->lock);
    if (!found)
        return end_of_walk(pass, ret_wait_ns);
    error = hf_pass_may_read(pass, chunk.disk, chunk.offset, chunk.length);
    if (!error)
        error = hf_pass_send_range(pass, chunk.disk, chunk.offset, chunk.length);
    hf_pass_commit(pass, &chunk, !error);
    return error && error != -EAGAIN ? error : 1;
}

static int work_step(struct hf_pass *pass, uint64_t *ret_wait_ns)
{
    uint64_t now_ns = pass->options.clock->ops->boot_ns(pass->options.clock);
    bool ready, crowded;
    uint64_t throttled_ns;

    pthread_mutex_lock(&pass->lock);
    ready = worker_sync_locked(pass) && pass->queue_count < HF_PASS_QUEUE_MAX &&
            pass->chunk_count < HF_PASS_CHUNKS_MAX;
    crowded = pass->chunk_count > HF_PASS_CHUNKS_MAX / 2;
    throttled_ns = hf_throttle_wait_ns(&pass->throttle, now_ns);
    pthread_mutex_unlock(&pass->lock);
    *ret_wait_ns = throttled_ns ? throttled_ns : 100 * HF_NS_PER_MS;
    if (!ready || throttled_ns)
        return 0;
    if (crowded && pass->open) {
        int error = hf_pass_flush(pass);

        return error ? error : 1;
    }
    return pass->worker_plan.kind == HF_PASS_HASH ? hf_pass_hash_work(pass, ret_wait_ns)
                                                  : copy_work(pass, ret_wait_ns);
}

static void set_working(struct hf_pass *pass, bool working)
{
    pthread_mutex_lock(&pass->lock);
    pass->working = working;
    if (!working)
        pthread_cond_broadcast(&pass->idle);
    pthread_mutex_unlock(&pass->lock);
}

int hf_pass_work(struct hf_pass *pass, uint64_t *ret_wait_ns)
{
    int result;

    set_working(pass, true);
    result = work_step(pass, ret_wait_ns);
    set_working(pass, false);
    return result;
}

void hf_pass_quiesce(struct hf_pass *pass)
{
    pthread_mutex_lock(&pass->lock);
    while (pass->working)
        pthread_cond_wait(&pass->idle, &pass->lock);
    pthread_mutex_unlock(&pass->lock);
}

void hf_pass_wait(struct hf_pass *pass, uint64_t wait_ns)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(wait_ns / HF_NS_PER_S);
    until.tv_nsec += (long)(wait_ns % HF_NS_PER_S);
    if (until.tv_nsec >= (long)HF_NS_PER_S) {
        until.tv_sec++;
        until.tv_nsec -= (long)HF_NS_PER_S;
    }
    pthread_mutex_lock(&pass->lock);
    if (!pass->wake)
        pthread_cond_timedwait(&pass->changed, &pass->lock, &until);
    pass->wake = false;
    pthread_mutex_unlock(&pass->lock);
}

void hf_pass_wake(struct hf_pass *pass)
{
    pthread_mutex_lock(&pass->lock);
    pass->wake = true;
    pthread_cond_broadcast(&pass->changed);
    pthread_mutex_unlock(&pass->lock);
}
