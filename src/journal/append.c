// SPDX-License-Identifier: Apache-2.0
/* Appending: is it what comes next, is there a segment with room, one write. */
#include "journal/journal-internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

/* ---- What comes next ---- */

static int check_captured(const struct hf_journal_progress *progress,
                          const struct hf_batch_header *header)
{
    uint64_t seq_begin = hf_le64_get(header->seq_begin);

    if (hf_le64_get(header->seq_end) <= progress->seq)
        return -EALREADY;
    if (seq_begin != progress->seq)
        return -HF_EPROTO;
    return hf_hash128_compare(&header->digest_before, &progress->digest.value) ? -HF_EDIVERGED : 0;
}

static int check_pass_next(const struct hf_journal_progress *progress,
                           const struct hf_batch_header *header)
{
    uint64_t pass_batch = hf_le64_get(header->pass_batch);

    if (pass_batch < progress->pass_batch)
        return -EALREADY;
    if (pass_batch > progress->pass_batch || hf_le64_get(header->seq_begin) != progress->pass_seq)
        return -HF_EPROTO;
    return hf_hash128_compare(&header->digest_before, &progress->pass_digest.value) ? -HF_EDIVERGED
                                                                                    : 0;
}

static int check_pass_first(const struct hf_journal_progress *progress,
                            const struct hf_batch_header *header)
{
    struct hf_digest digest;

    if (hf_le64_get(header->pass_batch) != 0)
        return -HF_EPROTO;
    hf_digest_begin_pass(&progress->stream.capture, hf_le64_get(header->pass), &digest);
    return hf_hash128_compare(&header->digest_before, &digest.value) ? -HF_EDIVERGED : 0;
}

/* A pass that has been overtaken by a later one never completes; what still arrives of it changes
 * nothing. */
static int check_pass(const struct hf_journal_progress *progress,
                      const struct hf_batch_header *header)
{
    uint64_t pass = hf_le64_get(header->pass);

    if (pass < progress->pass)
        return -EALREADY;
    return pass == progress->pass ? check_pass_next(progress, header)
                                  : check_pass_first(progress, header);
}

static int check_next(const struct hf_journal *journal, const struct hf_batch_header *header)
{
    const struct hf_journal_progress *progress = &journal->appended;

    if (hf_le64_get(header->epoch) < journal->state.epoch_max)
        return -HF_EFENCED;
    if (!journal->has_stream || hf_le64_get(header->epoch) != progress->stream.epoch ||
        !hf_id_equal(&header->capture, &progress->stream.capture))
        return -HF_EPROTO;
    if (header->lane == HF_LANE_CAPTURED)
        return check_captured(progress, header);
    return header->lane == HF_LANE_PASS ? check_pass(progress, header) : -HF_EPROTO;
}

/* ---- A segment with room ---- */

/* What the bodies of a batch's events take in an index. */
static uint64_t bodies_bytes(const struct hf_batch *batch)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < batch->record_count; i++)
        if (batch->records[i].type > HF_RECORD_DISCARD)
            bytes += hf_le64_get(batch->records[i].length);
    return bytes;
}

static bool has_room(const struct hf_journal *journal, const struct hf_open_segment *open,
                     const struct hf_batch *batch)
{
    const struct hf_index_builder *builder = &open->builder;

    if (builder->entry_count == 0)
        return true;
    if (builder->segment_end >= journal->segment_bytes ||
        builder->segment_end + hf_entry_bytes(batch->size) > HF_SEGMENT_BYTES_MAX)
        return false;
    if (builder->bodies.size + bodies_bytes(batch) > HF_SEGMENT_BODIES_MAX)
        return false;
    return hf_index_builder_extents_with(builder, batch) <= HF_SEGMENT_EXTENTS_MAX;
}

struct hf_segment_head hf_open_segment_head(const struct hf_journal *journal,
                                            const struct hf_batch_header *header)
{
    return (struct hf_segment_head){
        .stream = journal->appended.stream,
        .base = journal->base,
        .seq_begin = hf_le64_get(header->seq_begin),
        .digest_begin = {.value = header->digest_before},
        .pass = hf_le64_get(header->pass),
        .pass_batch = hf_le64_get(header->pass_batch),
        .lane = header->lane,
    };
}

static int segment_for(struct hf_journal *journal, const struct hf_batch *batch,
                       struct hf_open_segment **ret_open)
{
    uint8_t lane = batch->header->lane;
    struct hf_open_segment **open = hf_journal_lane(journal, lane);
    struct hf_segment_head head = hf_open_segment_head(journal, batch->header);
    struct hf_open_segment *made;
    int r = 0;

    if (*open && (!has_room(journal, *open, batch) || (*open)->builder.head.pass != head.pass))
        r = hf_journal_seal_lane(journal, lane);
    if (r < 0)
        return r;
    if (!*open) {
        r = hf_open_segment_new(journal, &head, &made);
        if (r < 0)
            return r;
        pthread_mutex_lock(&journal->lock);
        *open = made;
        pthread_mutex_unlock(&journal->lock);
    }
    *ret_open = *open;
    return 0;
}

/* ---- The write ---- */

static uint64_t allocate_step(const struct hf_journal *journal)
{
    uint64_t step = HF_ALIGN_UP(journal->segment_bytes / 8, HF_IO_ALIGN);

    return HF_MIN(HF_MAX(step, (uint64_t)HF_ALLOCATE_STEP_MIN), (uint64_t)HF_ALLOCATE_STEP_MAX);
}

static bool is_full(int error)
{
    return error == -ENOSPC || error == -EDQUOT;
}

/* Reserving ahead keeps the file's size still between syncs and finds a full disk before bytes are
 * half written. On a disk with less left than a step, what this entry needs is enough. Where the
 * file system cannot reserve, writing works as well. */
static int allocate_ahead(struct hf_journal *journal, struct hf_open_segment *open, uint64_t end)
{
    uint64_t need = HF_ALIGN_UP(end, HF_IO_ALIGN);
    uint64_t to = need + allocate_step(journal);
    int r;

    if (end <= open->allocated)
        return 0;
    r = hf_io_allocate(open->file, open->allocated, to - open->allocated);
    if (is_full(r)) {
        to = need;
        r = hf_io_allocate(open->file, open->allocated, to - open->allocated);
    }
    if (r == -EOPNOTSUPP || r == -ENOSYS)
        to = UINT64_MAX;
    else if (r < 0)
        return r;
    open->allocated = to;
    return 0;
}

static int buffer_room(struct hf_journal *journal, size_t size)
{
    size_t wanted = HF_ALIGN_UP(size, HF_IO_ALIGN);

    if (wanted <= journal->buffer_bytes)
        return 0;
    free(journal->buffer);
    journal->buffer_bytes = 0;
    journal->buffer = aligned_alloc(HF_IO_ALIGN, wanted);
    if (!journal->buffer)
        return -ENOMEM;
    journal->buffer_bytes = wanted;
    return 0;
}

/* Returns the entry's hash. */
static uint64_t entry_prepare(struct hf_journal *journal, const struct hf_open_segment *open,
                              uint64_t durable, const struct hf_batch *batch, int64_t receipt_ns)
{
    const struct hf_index_builder *builder = &open->builder;
    size_t used = sizeof(struct hf_entry_header) + batch->size;
    struct hf_entry_fields fields = {
        .kind = HF_ENTRY_BATCH,
        .size = (uint32_t)batch->size,
        .number = builder->entry_count,
        .segment_tag = hf_segment_tag(&builder->head.id),
        .offset = builder->segment_end,
        .previous = builder->last_hash,
        .durable = durable,
        .receipt_ns = receipt_ns,
        .body_hash = hf_hash64(batch->data, batch->size),
    };
    struct hf_entry_header header;
    uint64_t hash = hf_entry_encode(&fields, &header);

    memcpy(journal->buffer, &header, sizeof(header));
    memcpy(journal->buffer + sizeof(header), batch->data, batch->size);
    memset(journal->buffer + used, 0, (size_t)hf_entry_bytes(batch->size) - used);
    return hash;
}

static uint64_t durable_of(struct hf_journal *journal, const struct hf_open_segment *open)
{
    uint64_t durable;

    pthread_mutex_lock(&journal->lock);
    durable = open->durable;
    pthread_mutex_unlock(&journal->lock);
    return durable;
}

void hf_progress_take(struct hf_journal_progress *progress, uint64_t base,
                      const struct hf_batch_header *header)
{
    if (header->lane == HF_LANE_CAPTURED) {
        progress->seq = hf_le64_get(header->seq_end);
        progress->digest.value = header->digest_after;
        progress->position = base + progress->seq;
    } else {
        progress->pass = hf_le64_get(header->pass);
        progress->pass_seq = hf_le64_get(header->seq_begin);
        progress->pass_batch = hf_le64_get(header->pass_batch) + 1;
        progress->pass_digest.value = header->digest_after;
    }
}

int hf_open_segment_write(struct hf_journal *journal, struct hf_open_segment *open,
                          const struct hf_batch *batch, int64_t receipt_ns,
                          struct hf_journal_progress *progress)
{
    struct hf_entry entry = {.offset = open->builder.segment_end,
                             .number = open->builder.entry_count,
                             .receipt_ns = receipt_ns,
                             .batch = *batch};
    size_t whole = (size_t)hf_entry_bytes(batch->size);
    int r = buffer_room(journal, whole);

    HF_ASSERT(batch->size <= HF_BATCH_SIZE_MAX);
    if (r == 0)
        r = allocate_ahead(journal, open, entry.offset + whole);
    if (r < 0)
        return r;
    entry.end = entry.offset + whole;
    entry.hash = entry_prepare(journal, open, durable_of(journal, open), batch, receipt_ns);
    r = hf_io_write(open->file, journal->buffer, whole, entry.offset);
    if (r < 0)
        return r;
    pthread_mutex_lock(&journal->lock);
    r = hf_index_builder_add(&open->builder, &entry);
    if (r == 0)
        hf_progress_take(progress, journal->base, batch->header);
    pthread_mutex_unlock(&journal->lock);
    return r;
}

/* A segment whose write failed takes no more, except that a full disk has taken nothing from it:
 * what was half written lies behind its end and is written over. */
static int append_failed(struct hf_journal *journal, struct hf_open_segment *open, uint8_t lane,
                         int error)
{
    if (is_full(error))
        return error;
    pthread_mutex_lock(&journal->lock);
    open->error = error;
    pthread_mutex_unlock(&journal->lock);
    hf_journal_rescue(journal, lane);
    return error;
}

static int lane_error(struct hf_journal *journal, uint8_t lane)
{
    struct hf_open_segment *open = *hf_journal_lane(journal, lane);
    int error;

    pthread_mutex_lock(&journal->lock);
    error = open ? open->error : 0;
    pthread_mutex_unlock(&journal->lock);
    return error;
}

static int append_locked(struct hf_journal *journal, const struct hf_batch *batch,
                         int64_t receipt_ns)
{
    uint8_t lane = batch->header->lane;
    struct hf_open_segment *open;
    int r = journal->error ? journal->error : check_next(journal, batch->header);

    if (r < 0)
        return r;
    if (bodies_bytes(batch) > HF_SEGMENT_BODIES_MAX)
        return -HF_ETOOBIG;
    if (lane_error(journal, lane)) {
        r = hf_journal_rescue(journal, lane);
        if (r < 0)
            return r;
    }
    r = segment_for(journal, batch, &open);
    if (r < 0)
        return r;
    r = hf_open_segment_write(journal, open, batch, receipt_ns, &journal->appended);
    if (r < 0)
        return append_failed(journal, open, lane, r);
    journal->state.position_max =
        HF_MAX(journal->state.position_max, journal->base + hf_le64_get(batch->header->seq_end));
    return 0;
}

int hf_journal_append(struct hf_journal *journal, const struct hf_batch *batch,
                      int64_t receipt_wall_ns)
{
    int r;

    pthread_mutex_lock(&journal->append_lock);
    r = append_locked(journal, batch, receipt_wall_ns);
    pthread_mutex_unlock(&journal->append_lock);
    return r;
}
