// SPDX-License-Identifier: Apache-2.0
/*
 * Segments begin and end here. Sealing: sync, then an entry that says nothing follows, then the
 * index as a new file, synced and renamed. A crash between two of these leaves a segment without an
 * index, which the next open scans and seals again.
 */
#include "journal/journal-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

#define NUMBER_TRIES 16 /* names left behind by files that no table knows are stepped over */

/* ---- The reserve (fault 28) ---- */

/* Space for sealing and dropping when the disk is full. Only those give it up; appends do not. */
void hf_journal_reserve_take(struct hf_journal *journal)
{
    char path[HF_IO_PATH_MAX];
    struct hf_file *file = NULL;
    int r = hf_journal_path(journal->path, HF_RESERVE_NAME, path);

    if (r == 0)
        r = hf_io_open(journal->io, path, HF_OPEN_WRITE | HF_OPEN_CREATE, &file);
    if (r == 0)
        r = hf_io_allocate(file, 0, journal->reserve_bytes);
    hf_io_close(file);
    journal->reserve_absent = r < 0;
}

static bool reserve_give(struct hf_journal *journal)
{
    char path[HF_IO_PATH_MAX];

    if (journal->reserve_absent || hf_journal_path(journal->path, HF_RESERVE_NAME, path) < 0)
        return false;
    journal->reserve_absent = true;
    return hf_io_unlink(journal->io, path) == 0;
}

int hf_journal_replace(struct hf_journal *journal, const char *tmp_name, const char *name,
                       const void *data, size_t size)
{
    int r = hf_file_replace(journal->io, journal->path, tmp_name, name, data, size);

    if ((r == -ENOSPC || r == -EDQUOT) && reserve_give(journal))
        r = hf_file_replace(journal->io, journal->path, tmp_name, name, data, size);
    else if (r == 0 && journal->reserve_absent)
        hf_journal_reserve_take(journal);
    return r;
}

int hf_journal_state_write(struct hf_journal *journal)
{
    int r;

    pthread_mutex_lock(&journal->lock);
    journal->state.progress = journal->durable;
    journal->state.has_stream = journal->has_stream;
    journal->state.base = journal->base;
    pthread_mutex_unlock(&journal->lock);
    r = hf_state_write(journal->io, journal->path, &journal->state);
    if ((r == -ENOSPC || r == -EDQUOT) && reserve_give(journal))
        r = hf_state_write(journal->io, journal->path, &journal->state);
    return r;
}

/* ---- Beginning ---- */

static int segment_create(struct hf_journal *journal, uint64_t number, char *path,
                          struct hf_file **ret_file)
{
    int r = hf_segment_path(journal->path, number, path);

    return r < 0 ? r
                 : hf_io_open(journal->io, path,
                              HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE | HF_OPEN_EXCLUSIVE,
                              ret_file);
}

static int segment_create_next(struct hf_journal *journal, uint64_t *ret_number, char *path,
                               struct hf_file **ret_file)
{
    int r = -EEXIST;

    for (int i = 0; r == -EEXIST && i < NUMBER_TRIES; i++) {
        *ret_number = journal->state.number_next++;
        r = segment_create(journal, *ret_number, path, ret_file);
    }
    return r;
}

static int head_write(struct hf_file *file, struct hf_segment_head *head)
{
    uint8_t page[HF_PAGE_BYTES];

    hf_segment_head_encode(head, page);
    return hf_io_write(file, page, sizeof(page), 0);
}

int hf_open_segment_new(struct hf_journal *journal, const struct hf_segment_head *wanted,
                        struct hf_open_segment **ret_open)
{
    struct hf_segment_head head = *wanted;
    char path[HF_IO_PATH_MAX];
    struct hf_open_segment *open;
    int r;

    if (journal->segment_count + HF_LANES >= HF_SEGMENTS_MAX)
        return -HF_EQUOTA;
    open = calloc(1, sizeof(*open));
    if (!open)
        return -ENOMEM;
    r = hf_id_make(journal->random, &head.id);
    if (r == 0)
        r = segment_create_next(journal, &head.number, path, &open->file);
    if (r < 0) {
        free(open);
        return r;
    }
    head.created_wall_ns = journal->clock->ops->wall_ns(journal->clock);
    r = head_write(open->file, &head);
    hf_index_builder_init(&open->builder, &head);
    if (r < 0) {
        hf_open_segment_free(open);
        (void)hf_io_unlink(journal->io, path);
        return r;
    }
    open->allocated = HF_SEGMENT_DATA_OFFSET;
    *ret_open = open;
    return 0;
}

void hf_open_segment_free(struct hf_open_segment *open)
{
    if (!open)
        return;
    hf_index_builder_done(&open->builder);
    hf_io_close(open->file);
    free(open);
}

/* ---- The table ---- */

static int table_room(struct hf_journal *journal)
{
    size_t capacity = journal->segment_capacity ? journal->segment_capacity * 2 : 64;
    struct hf_known_segment *segments;

    if (journal->segment_count < journal->segment_capacity)
        return 0;
    segments = realloc(journal->segments, capacity * sizeof(*segments));
    if (!segments)
        return -ENOMEM;
    journal->segments = segments;
    journal->segment_capacity = capacity;
    return 0;
}

static void known_fill(const struct hf_index_info *info, uint64_t file_bytes, bool damaged,
                       struct hf_known_segment *known)
{
    const struct hf_segment_head *head = &info->head;

    *known = (struct hf_known_segment){
        .info = {.number = head->number,
                 .id = head->id,
                 .lane = head->lane,
                 .sealed = true,
                 .damaged = damaged,
                 .position_begin = head->base + head->seq_begin,
                 .position_end = head->base + info->seq_end,
                 .file_bytes = file_bytes,
                 .entries = (uint64_t)info->sections[HF_INDEX_EXTENTS].count +
                            info->sections[HF_INDEX_WIDE].count,
                 .wall_first_ns = info->wall_first_ns,
                 .wall_last_ns = info->wall_last_ns},
        .head = *head,
        .seq_end = info->seq_end,
        .digest_end = info->digest_end,
        .pass_batch_end = info->pass_batch_end,
        .index_bytes = (uint64_t)info->page_count * HF_PAGE_BYTES,
    };
}

static bool known_after(const struct hf_segment_info *a, const struct hf_segment_info *b)
{
    if (a->position_begin != b->position_begin)
        return a->position_begin > b->position_begin;
    return a->number > b->number;
}

int hf_journal_segment_add(struct hf_journal *journal, const struct hf_index_info *info,
                           uint64_t file_bytes, bool damaged)
{
    struct hf_known_segment known;
    size_t i;
    int r;

    known_fill(info, file_bytes, damaged, &known);
    pthread_mutex_lock(&journal->lock);
    r = table_room(journal);
    if (r == 0) {
        for (i = journal->segment_count;
             i > 0 && known_after(&journal->segments[i - 1].info, &known.info); i--)
            journal->segments[i] = journal->segments[i - 1];
        journal->segments[i] = known;
        journal->segment_count++;
    }
    pthread_mutex_unlock(&journal->lock);
    return r;
}

/* ---- Ending ---- */

int hf_journal_index_install(struct hf_journal *journal, struct hf_index_builder *builder,
                             bool damaged, bool optional)
{
    char path[HF_IO_PATH_MAX];
    struct hf_bytes image = {0};
    struct hf_index_info info;
    int r = hf_index_build(builder, &image);

    if (r == 0)
        r = hf_index_path("", builder->head.number, path);
    if (r == 0)
        r = hf_index_info_decode(image.data, builder->head.number, &info);
    if (r == 0)
        r = hf_journal_replace(journal, HF_INDEX_TMP_NAME, path, image.data, image.size);
    if (optional && (r == -ENOSPC || r == -EDQUOT))
        r = 0;
    if (r == 0)
        r = hf_journal_segment_add(journal, &info, builder->segment_end, damaged);
    hf_bytes_clear(&image);
    return r;
}

/* Only a help for the day the index is lost: a failure changes nothing. The index says the same. */
static void seal_mark(struct hf_open_segment *open)
{
    const struct hf_index_builder *builder = &open->builder;
    struct hf_entry_fields fields = {
        .kind = HF_ENTRY_SEAL,
        .number = builder->entry_count,
        .segment_tag = hf_segment_tag(&builder->head.id),
        .offset = builder->segment_end,
        .previous = builder->last_hash,
        .durable = builder->segment_end,
        .body_hash = hf_hash64("", 0),
    };
    struct hf_entry_header header;

    hf_entry_encode(&fields, &header);
    if (hf_io_write(open->file, &header, sizeof(header), builder->segment_end) < 0)
        return;
    if (hf_io_truncate(open->file, builder->segment_end + sizeof(header)) == 0)
        open->allocated = builder->segment_end + sizeof(header);
}

static int seal_locked(struct hf_journal *journal, uint8_t lane)
{
    struct hf_open_segment **slot = hf_journal_lane(journal, lane);
    struct hf_open_segment *open = *slot;
    char path[HF_IO_PATH_MAX];
    int r = 0;

    if (open->builder.entry_count == 0) {
        if (hf_segment_path(journal->path, open->builder.head.number, path) == 0)
            (void)hf_io_unlink(journal->io, path);
    } else {
        r = hf_journal_sync_lane(journal, lane);
        if (r < 0)
            return r;
        seal_mark(open);
        r = hf_journal_index_install(journal, &open->builder, false, false);
    }
    if (r < 0)
        return r;
    pthread_mutex_lock(&journal->lock);
    *slot = NULL;
    pthread_mutex_unlock(&journal->lock);
    hf_open_segment_free(open);
    return 0;
}

int hf_journal_seal_lane(struct hf_journal *journal, uint8_t lane)
{
    int r = 0;

    if (!*hf_journal_lane(journal, lane))
        return 0;
    pthread_mutex_lock(&journal->sync_lock);
    r = seal_locked(journal, lane);
    pthread_mutex_unlock(&journal->sync_lock);
    if (r < 0 && *hf_journal_lane(journal, lane) && (*hf_journal_lane(journal, lane))->error) {
        int rescued = hf_journal_rescue(journal, lane);

        return rescued < 0 ? rescued : hf_journal_seal_lane(journal, lane);
    }
    return r;
}

int hf_journal_seal(struct hf_journal *journal)
{
    int r;

    pthread_mutex_lock(&journal->append_lock);
    r = journal->error;
    if (r == 0)
        r = hf_journal_seal_lane(journal, HF_LANE_CAPTURED);
    if (r == 0)
        r = hf_journal_seal_lane(journal, HF_LANE_PASS);
    pthread_mutex_unlock(&journal->append_lock);
    return r;
}
