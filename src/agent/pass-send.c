// SPDX-License-Identifier: Apache-2.0
/*
 * From a range of a disk to records of the pass lane.
 *
 * Hazard H1: W was captured before PASS_BEGIN and is still in flight when the pass reads its block.
 * The stale content would be ordered at PASS_BEGIN, after W, and win. So a range is read only when
 * nothing issued before the pass's epoch is in flight there; entries of earlier epochs only
 * disappear, and a write of this epoch has its record behind PASS_BEGIN and wins over what was
 * read, whatever that was.
 */
#include "agent/pass-internal.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

#define PIECE_BYTES ((uint64_t)HF_RECORD_CONTENT_MAX)
#define RETRY_BYTES 4096u

/* ---- batches ---- */

static void begin_if_needed(struct hf_pass *pass)
{
    const struct hf_pass_plan *plan = &pass->worker_plan;

    if (pass->open)
        return;
    hf_batch_begin_pass(pass->builder, &plan->stream, plan->pass_seq, plan->number, pass->batch,
                        &pass->digest);
    pass->open = true;
}

/* Copies a finished batch into the queue, unless the run it belongs to is over. */
static int queue_push(struct hf_pass *pass, const void *data, size_t size)
{
    struct hf_bytes *slot;
    int error = 0;

    pthread_mutex_lock(&pass->lock);
    if (hf_pass_same_run_locked(pass)) {
        HF_ASSERT(pass->queue_count < HF_PASS_QUEUE_SLOTS);
        slot = &pass->queue[(pass->queue_first + pass->queue_count) % HF_PASS_QUEUE_SLOTS];
        slot->size = 0;
        error = hf_bytes_append(slot, data, size);
        if (!error) {
            pass->queue_count++;
            pass->batches = pass->batch + 1;
            pass->tail_open = false;
        }
    }
    pthread_mutex_unlock(&pass->lock);
    return error;
}

int hf_pass_flush(struct hf_pass *pass)
{
    struct hf_clock *clock = pass->options.clock;
    const void *data;
    size_t size;
    int error;

    if (!pass->open)
        return 0;
    error = hf_batch_finish(pass->builder, clock->ops->wall_ns(clock), &data, &size, &pass->digest);
    pass->open = false;
    if (!error)
        error = queue_push(pass, data, size);
    pass->batch++;
    return error;
}

static int add_record(struct hf_pass *pass, const struct hf_record_in *record)
{
    int error;

    begin_if_needed(pass);
    error = hf_batch_add(pass->builder, record);
    if (error != -ENOSPC)
        return error;
    error = hf_pass_flush(pass);
    if (error)
        return error;
    begin_if_needed(pass);
    return hf_batch_add(pass->builder, record);
}

static int add(struct hf_pass *pass, uint8_t type, uint16_t disk, uint64_t offset, uint64_t length,
               const void *content)
{
    struct hf_record_in record = {
        .seq = pass->worker_plan.pass_seq,
        .seq_end = pass->worker_plan.pass_seq,
        .boot_ns = pass->options.clock->ops->boot_ns(pass->options.clock),
        .offset = offset,
        .length = length,
        .content = content,
        .type = type,
        .disk = disk,
    };

    return add_record(pass, &record);
}

/* ---- content ---- */

static bool is_zero(const uint8_t *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

static uint64_t zero_run(const uint8_t *data, uint64_t length)
{
    uint64_t run = 0;

    while (run < length) {
        uint64_t piece = HF_MIN(PIECE_BYTES, length - run);

        if (!is_zero(data + run, piece))
            break;
        run += piece;
    }
    return run;
}

static int add_content(struct hf_pass *pass, uint16_t disk, uint64_t offset, const uint8_t *data,
                       uint64_t length)
{
    uint64_t done = 0;
    int error = 0;

    while (done < length && !error) {
        uint64_t zeros = zero_run(data + done, length - done);
        uint64_t piece = HF_MIN(PIECE_BYTES, length - done);

        if (zeros) {
            error = add(pass, HF_RECORD_ZERO, disk, offset + done, zeros, NULL);
            done += zeros;
        } else {
            error = add(pass, HF_RECORD_WRITE, disk, offset + done, piece, data + done);
            done += piece;
        }
    }
    return error;
}

/* ---- reading ---- */

int hf_pass_may_read(struct hf_pass *pass, uint16_t disk, uint64_t offset, uint64_t length)
{
    struct hf_source *source = pass->options.source;
    int in_flight =
        source->ops->inflight_before(source, disk, offset, length, pass->worker_plan.epoch);

    if (in_flight == 0)
        return 0;
    pthread_mutex_lock(&pass->lock);
    pass->progress.waits++;
    pthread_mutex_unlock(&pass->lock);
    return in_flight < 0 ? in_flight : -EAGAIN;
}

static int read_tries(struct hf_pass *pass, uint16_t disk, void *data, uint64_t offset, size_t size)
{
    struct hf_disk_reader *reader = pass->options.reader;
    int error = -EIO;

    for (int i = 0; i < HF_PASS_READ_TRIES && error; i++) {
        error = reader->ops->read(reader, disk, data, size, offset);
        if (error) {
            pthread_mutex_lock(&pass->lock);
            pass->progress.read_errors++;
            pthread_mutex_unlock(&pass->lock);
        }
    }
    return error;
}

/* What cannot be read has no content that a copy could be wrong about: DISCARD says so, and the
 * report names the range. */
static int give_up(struct hf_pass *pass, uint16_t disk, uint64_t offset, uint64_t length)
{
    struct hf_pass_progress *progress = &pass->progress;
    unsigned last = progress->unreadable_count;

    pthread_mutex_lock(&pass->lock);
    if (last && progress->unreadable[last - 1].disk == disk &&
        progress->unreadable[last - 1].offset + progress->unreadable[last - 1].length == offset) {
        progress->unreadable[last - 1].length += length;
    } else if (last < HF_PASS_UNREADABLE_MAX) {
        progress->unreadable[last].disk = disk;
        progress->unreadable[last].offset = offset;
        progress->unreadable[last].length = length;
        progress->unreadable_count++;
    }
    pthread_mutex_unlock(&pass->lock);
    return add(pass, HF_RECORD_DISCARD, disk, offset, length, NULL);
}

static int read_piecewise(struct hf_pass *pass, uint16_t disk, uint64_t offset, uint64_t length)
{
    int error = 0;

    for (uint64_t done = 0; done < length && !error; done += RETRY_BYTES) {
        size_t size = HF_MIN(RETRY_BYTES, length - done);

        if (read_tries(pass, disk, pass->buffer + done, offset + done, size)) {
            memset(pass->buffer + done, 0, size);
            error = give_up(pass, disk, offset + done, size);
        }
    }
    return error;
}

static void account_read(struct hf_pass *pass, uint64_t bytes)
{
    uint64_t now_ns = pass->options.clock->ops->boot_ns(pass->options.clock);

    pthread_mutex_lock(&pass->lock);
    hf_throttle_use(&pass->throttle, bytes, now_ns);
    pass->progress.read_bytes += bytes;
    pthread_mutex_unlock(&pass->lock);
}

int hf_pass_read(struct hf_pass *pass, uint16_t disk, uint64_t offset, uint64_t length)
{
    HF_ASSERT(length > 0 && length <= HF_PASS_CHUNK_BYTES);
    account_read(pass, length);
    if (read_tries(pass, disk, pass->buffer, offset, length) == 0)
        return 0;
    return read_piecewise(pass, disk, offset, length);
}

int hf_pass_send_range(struct hf_pass *pass, uint16_t disk, uint64_t offset, uint64_t length)
{
    int error = 0;

    for (uint64_t done = 0; done < length && !error;) {
        uint64_t part = HF_MIN(HF_PASS_CHUNK_BYTES, length - done);

        error = hf_pass_read(pass, disk, offset + done, part);
        if (!error)
            error = add_content(pass, disk, offset + done, pass->buffer, part);
        done += part;
    }
    return error;
}

void hf_pass_commit(struct hf_pass *pass, const struct hf_pass_chunk *chunk, bool sent)
{
    pthread_mutex_lock(&pass->lock);
    if (hf_pass_same_run_locked(pass)) {
        pass->worker_busy = false;
        pass->tail_open = pass->open;
        if (sent) {
            size_t place = (pass->chunk_first + pass->chunk_count) % HF_PASS_CHUNKS_MAX;

            HF_ASSERT(pass->chunk_count < HF_PASS_CHUNKS_MAX);
            pass->chunks[place] = *chunk;
            pass->chunks[place].batch_end = pass->open ? pass->batch + 1 : pass->batch;
            pass->chunk_count++;
        }
    }
    pthread_mutex_unlock(&pass->lock);
}
