// SPDX-License-Identifier: Apache-2.0
/*
 * Opening and refreshing. The directory is read without any lock against the writer, so a segment
 * can be dropped or sealed meanwhile. Segments are opened in order of number and their indexes
 * looked for afterwards: a segment that was listed and has no index then was still open when it was
 * listed, and its successors were not there yet. The state is read last: what a drop took away
 * lies below the floor that it wrote first.
 */
#include "journal/reader-internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

int hf_reader_damage_add(struct hf_journal_reader *reader, const struct hf_journal_damage *damage)
{
    struct hf_journal_damage *grown;

    for (size_t i = 0; i < reader->damage_count; i++)
        if (reader->damage[i].segment == damage->segment &&
            reader->damage[i].file_offset == damage->file_offset)
            return 0;
    if (reader->damage_count >= HF_JOURNAL_DAMAGE_MAX)
        return 0;
    grown = realloc(reader->damage, (reader->damage_count + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    reader->damage = grown;
    grown[reader->damage_count++] = *damage;
    return 0;
}

/* ---- Does a writer live, and how far is it ---- */

/* The writer holds the watermark file locked for as long as it lives. */
static int writer_look(struct hf_journal_reader *reader)
{
    char path[HF_IO_PATH_MAX];
    struct hf_file *file = NULL;
    int r = hf_journal_path(reader->path, HF_WATERMARK_NAME, path);

    reader->live = false;
    memset(reader->watermarks, 0, sizeof(reader->watermarks));
    if (r == 0)
        r = hf_io_open(reader->io, path, HF_OPEN_READ, &file);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = hf_io_lock(file, HF_LOCK_SHARED);
    reader->live = r == -EAGAIN;
    if (r == 0)
        r = hf_io_lock(file, HF_LOCK_NONE);
    else if (reader->live)
        r = 0;
    for (uint8_t lane = HF_LANE_CAPTURED; r == 0 && lane <= HF_LANE_PASS; lane++)
        r = hf_watermark_read(file, lane, &reader->watermarks[lane - 1]);
    hf_io_close(file);
    return r;
}

/* ---- The set of segments ---- */

static int compare_position(const void *left, const void *right)
{
    const struct hf_reader_segment *a = *(struct hf_reader_segment *const *)left;
    const struct hf_reader_segment *b = *(struct hf_reader_segment *const *)right;

    if (a->position_begin != b->position_begin)
        return a->position_begin < b->position_begin ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static int compare_number(const void *left, const void *right)
{
    const struct hf_reader_segment *a = *(struct hf_reader_segment *const *)left;
    const struct hf_reader_segment *b = *(struct hf_reader_segment *const *)right;

    return a->number < b->number ? -1 : a->number > b->number;
}

static void sort_segments(struct hf_journal_reader *reader)
{
    size_t size = reader->segment_count * sizeof(struct hf_reader_segment *);

    reader->by_number_count = reader->segment_count;
    if (reader->segment_count == 0)
        return;
    memcpy(reader->by_number, reader->segments, size);
    qsort(reader->by_number, reader->segment_count, sizeof(struct hf_reader_segment *),
          compare_number);
    qsort(reader->segments, reader->segment_count, sizeof(struct hf_reader_segment *),
          compare_position);
}

struct hf_reader_segment *hf_reader_segment_find(struct hf_journal_reader *reader, uint64_t number)
{
    size_t low = 0;
    size_t high = reader->by_number_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (reader->by_number[middle]->number == number)
            return reader->by_number[middle];
        if (reader->by_number[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int segments_room(struct hf_journal_reader *reader, size_t more)
{
    size_t size = (reader->segment_count + more + 1) * sizeof(struct hf_reader_segment *);
    struct hf_reader_segment **segments = realloc(reader->segments, size);
    struct hf_reader_segment **by_number;

    if (!segments)
        return -ENOMEM;
    reader->segments = segments;
    by_number = realloc(reader->by_number, size);
    if (!by_number)
        return -ENOMEM;
    reader->by_number = by_number;
    return 0;
}

static int take_number(struct hf_journal_reader *reader, uint64_t number)
{
    struct hf_reader_segment *segment = hf_reader_segment_find(reader, number);
    int r;

    if (segment) {
        segment->listed = true;
        return hf_reader_segment_refresh(reader, segment);
    }
    r = hf_reader_segment_open(reader, number, &segment);
    if (r < 0 || !segment)
        return r;
    segment->listed = true;
    reader->segments[reader->segment_count++] = segment;
    return 0;
}

static void forget_unlisted(struct hf_journal_reader *reader)
{
    size_t kept = 0;

    for (size_t i = 0; i < reader->segment_count; i++) {
        if (reader->segments[i]->listed)
            reader->segments[kept++] = reader->segments[i];
        else
            hf_reader_segment_free(reader, reader->segments[i]);
    }
    reader->segment_count = kept;
}

/* by_number stays what it was until all are taken: a number is listed once. */
static int take_listed(struct hf_journal_reader *reader, const struct hf_numbers *numbers)
{
    int r = segments_room(reader, numbers->count);

    for (size_t i = 0; i < reader->segment_count; i++)
        reader->segments[i]->listed = false;
    /* The newest first: an older one without an index ends where its successor begins. */
    for (size_t i = numbers->count; r == 0 && i > 0; i--)
        r = take_number(reader, numbers->numbers[i - 1]);
    return r;
}

/* ---- What is missing ---- */

static int gap_add(struct hf_journal_reader *reader, uint64_t segment, uint64_t begin, uint64_t end)
{
    struct hf_journal_damage damage = {
        .segment = segment, .position_begin = begin, .position_end = end, .error = -ENOENT};

    for (size_t i = 0; i < reader->damage_count; i++)
        if (reader->damage[i].position_begin <= begin && reader->damage[i].position_end >= end)
            return 0;
    return begin < end ? hf_reader_damage_add(reader, &damage) : 0;
}

static int gaps_find(struct hf_journal_reader *reader)
{
    const struct hf_reader_segment *before = NULL;
    int r = 0;

    for (size_t i = 0; r == 0 && i < reader->segment_count; i++) {
        const struct hf_reader_segment *segment = reader->segments[i];
        uint64_t expected = HF_MAX(reader->state.floor, segment->head.base);

        if (segment->head.lane != HF_LANE_CAPTURED)
            continue;
        if (before && before->head.base == segment->head.base)
            expected = HF_MAX(expected, before->position_end);
        r = gap_add(reader, segment->number, expected, segment->position_begin);
        before = segment;
    }
    return r;
}

/* An index whose segment is gone although nothing dropped it. */
static int orphans_find(struct hf_journal_reader *reader, const struct hf_journal_listing *listing)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < listing->indexes.count; i++) {
        uint64_t number = listing->indexes.numbers[i];
        struct hf_index index = {0};

        if (hf_numbers_has(&listing->segments, number))
            continue;
        r = hf_index_open_number(reader->io, reader->path, number, NULL, &index);
        if (r == 0 && index.info.head.base + index.info.seq_end > reader->state.floor)
            r = gap_add(reader, number, index.info.head.base + index.info.head.seq_begin,
                        index.info.head.base + index.info.seq_end);
        hf_index_close(&index);
        if (r == -ENOENT || r == -HF_ECORRUPT)
            r = 0;
    }
    return r;
}

static int state_look(struct hf_journal_reader *reader)
{
    int r = hf_state_read(reader->io, reader->path, &reader->state);

    reader->has_state = r == 0;
    if (r == 0)
        return 0;
    reader->state = (struct hf_journal_state){0};
    if (r == -HF_ECORRUPT) {
        struct hf_journal_damage damage = {.error = -HF_ECORRUPT};

        return hf_reader_damage_add(reader, &damage);
    }
    return r == -ENOENT ? 0 : r;
}

/* ---- The calls ---- */

static int refresh_once(struct hf_journal_reader *reader)
{
    struct hf_journal_listing listing = {0};
    int r = writer_look(reader);

    reader->damage_count = 0;
    if (r == 0)
        r = hf_journal_list(reader->io, reader->path, &listing);
    if (r == 0)
        r = take_listed(reader, &listing.segments);
    if (r == 0)
        r = state_look(reader);
    if (r == 0) {
        forget_unlisted(reader);
        sort_segments(reader);
        r = orphans_find(reader, &listing);
    }
    if (r == 0)
        r = gaps_find(reader);
    hf_journal_listing_done(&listing);
    return r;
}

/* A directory that changes while it is read may show a file and not one that was made before it. A
 * gap that is really there is still there the next time. */
static bool looks_torn(const struct hf_journal_reader *reader)
{
    for (size_t i = 0; reader->live && i < reader->damage_count; i++)
        if (reader->damage[i].error == -ENOENT)
            return true;
    return false;
}

int hf_journal_reader_refresh(struct hf_journal_reader *reader)
{
    int torn = 0;
    int r = -ENOENT;

    for (int i = 0; r == -ENOENT && i < HF_READER_LIST_TRIES; i++) {
        r = refresh_once(reader);
        /* Whatever happened, the two orders agree again. */
        sort_segments(reader);
        if (r == 0 && torn++ < HF_READER_TORN_TRIES && looks_torn(reader))
            r = -ENOENT;
    }
    return r;
}

int hf_journal_reader_open(struct hf_io *io, const char *path,
                           struct hf_journal_reader **ret_reader)
{
    struct hf_journal_reader *reader = calloc(1, sizeof(*reader));
    int r;

    if (!reader)
        return -ENOMEM;
    reader->io = io;
    reader->path = strdup(path);
    reader->frame = malloc(HF_FRAME_CONTENT_MAX);
    r = reader->path && reader->frame ? hf_page_cache_new(HF_READER_CACHE_BYTES, &reader->cache)
                                      : -ENOMEM;
    if (r == 0)
        r = hf_journal_reader_refresh(reader);
    if (r < 0) {
        hf_journal_reader_close(reader);
        return r;
    }
    *ret_reader = reader;
    return 0;
}

void hf_journal_reader_close(struct hf_journal_reader *reader)
{
    if (!reader)
        return;
    for (size_t i = 0; i < reader->segment_count; i++)
        hf_reader_segment_free(reader, reader->segments[i]);
    hf_page_cache_free(reader->cache);
    free(reader->segments);
    free(reader->by_number);
    free(reader->damage);
    free(reader->frame);
    free(reader->path);
    free(reader);
}

int hf_journal_reader_damage(struct hf_journal_reader *reader,
                             int (*each)(void *context, const struct hf_journal_damage *damage),
                             void *context)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < reader->damage_count; i++)
        r = each(context, &reader->damage[i]);
    return r;
}

/* ---- How far ---- */

static void newest_take(struct hf_journal_progress *progress,
                        const struct hf_reader_segment *segment)
{
    const struct hf_index_info *info = &segment->index.info;

    if (segment->head.lane == HF_LANE_CAPTURED) {
        if (info->seq_end <= progress->seq)
            return;
        progress->seq = info->seq_end;
        progress->digest = info->digest_end;
        progress->position = segment->position_end;
        return;
    }
    if (segment->head.pass < progress->pass ||
        (segment->head.pass == progress->pass && info->pass_batch_end <= progress->pass_batch))
        return;
    progress->pass = segment->head.pass;
    progress->pass_seq = segment->head.seq_begin;
    progress->pass_batch = info->pass_batch_end;
    progress->pass_digest = info->digest_end;
}

static uint64_t newest_base(const struct hf_journal_reader *reader,
                            struct hf_journal_progress *progress)
{
    uint64_t base = reader->state.has_stream ? reader->state.base : 0;
    const struct hf_stream_id *stream = &reader->state.progress.stream;

    for (size_t i = 0; i < reader->segment_count; i++) {
        const struct hf_segment_head *head = &reader->segments[i]->head;

        if (head->base <= base)
            continue;
        base = head->base;
        stream = &head->stream;
    }
    *progress = (struct hf_journal_progress){.stream = *stream, .position = base};
    hf_digest_begin(&stream->capture, &progress->digest);
    return base;
}

/* The state speaks where segments do not any more. Where they do they are what this reader sees:
 * the state was read after them, and may already be further. */
static void newest_from_state(const struct hf_journal_reader *reader, bool captured_seen,
                              struct hf_journal_progress *progress)
{
    const struct hf_journal_progress *state = &reader->state.progress;

    if (!captured_seen) {
        progress->seq = state->seq;
        progress->digest = state->digest;
        progress->position = state->position;
    }
    if (state->pass > progress->pass) {
        progress->pass = state->pass;
        progress->pass_seq = state->pass_seq;
        progress->pass_batch = state->pass_batch;
        progress->pass_digest = state->pass_digest;
    }
}

int hf_journal_reader_newest(struct hf_journal_reader *reader,
                             struct hf_journal_progress *ret_progress)
{
    struct hf_journal_progress progress = {0};
    uint64_t base = newest_base(reader, &progress);
    bool captured_seen = false;

    if (base == 0)
        return -ENOENT;
    for (size_t i = 0; i < reader->segment_count; i++) {
        struct hf_reader_segment *segment = reader->segments[i];
        int r;

        if (segment->head.base != base)
            continue;
        r = hf_reader_segment_index(reader, segment);
        if (r < 0)
            return r;
        newest_take(&progress, segment);
        captured_seen |= segment->head.lane == HF_LANE_CAPTURED;
    }
    if (reader->state.has_stream && reader->state.base == base)
        newest_from_state(reader, captured_seen, &progress);
    *ret_progress = progress;
    return 0;
}
