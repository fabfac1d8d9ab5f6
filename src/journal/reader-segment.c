// SPDX-License-Identifier: Apache-2.0
/* One segment under a reader: through its index file, or through an index made in memory from the
 * entries that count. */
#include "journal/reader-internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/base.h"
#include "base/error.h"

/* ---- Taking an index ---- */

static void filter_drop(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    if (segment->filter_loaded)
        reader->filter_bytes -= (uint64_t)segment->filter.block_count * HF_FILTER_BLOCK_BYTES;
    hf_index_filter_done(&segment->filter);
    segment->filter_loaded = false;
    segment->filter_absent = false;
}

static void index_drop(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    if (!segment->index_open)
        return;
    if (segment->rebuilt)
        reader->rebuilt_bytes -= segment->index.image.size;
    hf_index_close(&segment->index);
    segment->index_open = false;
    segment->rebuilt = false;
}

static void index_take(struct hf_journal_reader *reader, struct hf_reader_segment *segment,
                       const struct hf_index *index)
{
    const struct hf_index_info *info = &index->info;

    index_drop(reader, segment);
    filter_drop(reader, segment);
    segment->index = *index;
    segment->index_open = true;
    segment->head = info->head;
    segment->position_begin = info->head.base + info->head.seq_begin;
    segment->position_end = info->head.base + info->seq_end;
    segment->segment_end = info->segment_end;
}

static int damage_take(void *context, const struct hf_journal_damage *damage)
{
    return hf_reader_damage_add(context, damage);
}

/* -ENOENT and HF_ECORRUPT: there is no index to go by. */
static int index_from_file(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    struct hf_index index;
    int r = hf_index_open_number(reader->io, reader->path, segment->number, reader->cache, &index);

    segment->index_bad = r == -HF_ECORRUPT;
    if (r < 0)
        return r;
    index_take(reader, segment, &index);
    segment->sealed = true;
    return 0;
}

/* ---- Making one ---- */

static int walk_entry(void *context, const struct hf_entry *entry)
{
    struct hf_reader_segment *segment = context;

    return hf_index_builder_add(&segment->builder, entry);
}

/* Goes into the image and comes back from there, as damage that an index file records does. */
static int walk_damage(void *context, const struct hf_journal_damage *damage)
{
    struct hf_reader_segment *segment = context;

    return hf_index_builder_damage(&segment->builder, damage);
}

static void walk_stop(struct hf_reader_segment *segment)
{
    if (segment->walking)
        hf_index_builder_done(&segment->builder);
    segment->walking = false;
}

static void walk_start(struct hf_reader_segment *segment)
{
    walk_stop(segment);
    hf_walk_init(&segment->walk, segment->file, &segment->head);
    hf_index_builder_init(&segment->builder, &segment->head);
    segment->walk.each = walk_entry;
    segment->walk.damage = walk_damage;
    segment->walk.context = segment;
    segment->walking = true;
}

static int image_take(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    struct hf_bytes image = {0};
    struct hf_index index;
    int r = hf_index_build(&segment->builder, &image);

    if (r == 0)
        r = hf_index_open_image(&image, segment->number, &index);
    if (r == 0) {
        uint64_t chain = segment->head.hash;

        index_take(reader, segment, &index);
        segment->head.hash = chain;
        segment->rebuilt = true;
        segment->walked_entries = segment->builder.entry_count;
        reader->rebuilt_bytes += segment->index.image.size;
    }
    hf_bytes_clear(&image);
    return r;
}

/* ---- The budget of images ---- */

/* The one used longest ago gives its image back; open segments keep theirs, which is how they
 * grow. */
static void rebuilt_trim(struct hf_journal_reader *reader, const struct hf_reader_segment *keep)
{
    while (reader->rebuilt_bytes > HF_READER_REBUILT_BYTES) {
        struct hf_reader_segment *oldest = NULL;

        for (size_t i = 0; i < reader->segment_count; i++) {
            struct hf_reader_segment *segment = reader->segments[i];

            if (segment->rebuilt && segment->index_open && segment != keep &&
                (!oldest || segment->used < oldest->used))
                oldest = segment;
        }
        if (!oldest)
            return;
        index_drop(reader, oldest);
        walk_stop(oldest);
    }
}

/* ---- A segment without an index ---- */

static void limit_by_successors(const struct hf_journal_reader *reader,
                                struct hf_reader_segment *segment)
{
    for (size_t i = 0; i < reader->segment_count; i++) {
        const struct hf_segment_head *head = &reader->segments[i]->head;

        if (head->number <= segment->number || head->lane != segment->head.lane ||
            head->base != segment->head.base)
            continue;
        if (head->lane == HF_LANE_CAPTURED)
            segment->walk.seq_limit = HF_MIN(segment->walk.seq_limit, head->seq_begin);
        else if (head->pass == segment->head.pass)
            segment->walk.pass_batch_limit =
                HF_MIN(segment->walk.pass_batch_limit, head->pass_batch);
    }
}

/* While a writer lives only what it has made durable counts. The slot that names a later segment
 * says that this one is durable as a whole. */
static int limit_by_writer(const struct hf_journal_reader *reader, struct hf_walk *walk)
{
    const struct hf_watermark *mark = &reader->watermarks[walk->head->lane - 1];
    struct hf_search search = {.tag = hf_segment_tag(&walk->head->id)};
    int r;

    if (hf_id_equal(&mark->segment, &walk->head->id)) {
        walk->known_durable = mark->durable;
        walk->known_position = mark->position;
    }
    walk->live = reader->live;
    walk->limit = UINT64_MAX;
    if (!reader->live || mark->number > walk->head->number)
        return 0;
    walk->limit = walk->known_durable;
    if (walk->known_durable > 0)
        return 0;
    /* Nothing but the entries themselves tells. */
    r = hf_segment_search(walk->file, walk->offset, &search);
    walk->limit = HF_MAX(search.claimed, walk->claimed);
    return r;
}

/* With no writer alive nobody else makes the tail durable: the reader does, by a sync, which writes
 * nothing of its own. Where it fails, only what was claimed durable counts. */
static void limit_by_sync(struct hf_walk *walk)
{
    if (!walk->live && hf_io_sync(walk->file) < 0)
        walk->limit = walk->known_durable;
}

static int walk_on(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    int r;

    segment->walk.head = &segment->head;
    limit_by_successors(reader, segment);
    r = limit_by_writer(reader, &segment->walk);
    if (r < 0)
        return r;
    limit_by_sync(&segment->walk);
    r = hf_walk_run(&segment->walk);
    if (r == 0 && (!segment->index_open || segment->builder.entry_count != segment->walked_entries))
        r = image_take(reader, segment);
    return r;
}

static int segment_bare(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    struct hf_segment_head head;
    int r;

    if (!segment->walking) {
        r = hf_segment_head_read(segment->file, segment->number, &head);
        if (r < 0)
            return r;
        segment->head = head;
        walk_start(segment);
    }
    r = walk_on(reader, segment);
    /* What cannot grow need not be ready to. */
    if (r == 0 && !reader->live)
        walk_stop(segment);
    rebuilt_trim(reader, segment);
    return r;
}

/* ---- The calls ---- */

static int segment_file_open(struct hf_journal_reader *reader, uint64_t number,
                             struct hf_file **ret_file)
{
    char path[HF_IO_PATH_MAX];
    int r = hf_segment_path(reader->path, number, path);

    return r < 0 ? r : hf_io_open(reader->io, path, HF_OPEN_READ, ret_file);
}

/* A reader keeps two files open per segment, and a window of hours has thousands of segments: the
 * usual soft limit of 1024 is raised to what the process may have. */
static bool files_limit_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
        return false;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* A segment whose header is not there: being made, or torn before anything in it was durable, or
 * damaged. */
static int segment_headless(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    struct hf_journal_damage damage = {.segment = segment->number, .error = -HF_ECORRUPT};
    struct hf_search search = {.any_tag = true};
    bool claimed = false;
    int r = hf_segment_search(segment->file, HF_SEGMENT_DATA_OFFSET, &search);

    for (int i = 0; i < HF_LANES; i++) {
        const struct hf_watermark *mark = &reader->watermarks[i];

        claimed |= mark->number == segment->number && mark->durable > 0;
        if (mark->number == segment->number)
            damage.position_end = mark->position;
    }
    if (r < 0)
        return r;
    return claimed || search.claimed > 0 ? hf_reader_damage_add(reader, &damage) : 0;
}

static int segment_fill(struct hf_journal_reader *reader, struct hf_reader_segment *segment,
                        bool *ret_useful)
{
    int r = index_from_file(reader, segment);

    *ret_useful = r == 0;
    if (r != -ENOENT && r != -HF_ECORRUPT)
        return r;
    r = segment_bare(reader, segment);
    if (r == -HF_ECORRUPT)
        return segment_headless(reader, segment);
    *ret_useful = r == 0;
    return r;
}

static int segment_open(struct hf_journal_reader *reader, uint64_t number,
                        struct hf_reader_segment **ret_segment)
{
    struct hf_reader_segment *segment = calloc(1, sizeof(*segment));
    bool useful = false;
    int r;

    *ret_segment = NULL;
    if (!segment)
        return -ENOMEM;
    segment->number = number;
    r = segment_file_open(reader, number, &segment->file);
    if (r == 0)
        r = segment_fill(reader, segment, &useful);
    if (r == 0 && useful)
        r = hf_index_damage_each(&segment->index, damage_take, reader);
    if (r < 0 || !useful) {
        hf_reader_segment_free(reader, segment);
        return r;
    }
    *ret_segment = segment;
    return 0;
}

int hf_reader_segment_open(struct hf_journal_reader *reader, uint64_t number,
                           struct hf_reader_segment **ret_segment)
{
    int r = segment_open(reader, number, ret_segment);

    if (r == -EMFILE && files_limit_raise())
        r = segment_open(reader, number, ret_segment);
    return r;
}

int hf_reader_segment_refresh(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    int r = segment->sealed ? hf_reader_segment_index(reader, segment)
                            : index_from_file(reader, segment);

    if (r == 0)
        walk_stop(segment);
    else if (!segment->sealed && (r == -ENOENT || r == -HF_ECORRUPT))
        r = segment_bare(reader, segment);
    return r < 0 ? r : hf_index_damage_each(&segment->index, damage_take, reader);
}

void hf_reader_segment_free(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    if (!segment)
        return;
    walk_stop(segment);
    index_drop(reader, segment);
    filter_drop(reader, segment);
    hf_io_close(segment->file);
    free(segment);
}

int hf_reader_walk_init(struct hf_walk *walk, struct hf_reader_segment *segment)
{
    struct hf_segment_head head;
    int r = hf_segment_head_read(segment->file, segment->number, &head);

    if (r < 0 && r != -HF_ECORRUPT)
        return r;
    if (r == 0)
        segment->head.hash = head.hash;
    hf_walk_init(walk, segment->file, &segment->head);
    walk->unchained = r < 0;
    walk->known_durable = segment->segment_end;
    walk->known_position = segment->position_end;
    walk->limit = segment->segment_end;
    return 0;
}

/* ---- Rebuilding ---- */

/* As the index said, or as the walk found before: the same entries again. */
static int rebuild(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    struct hf_segment_head head;
    uint64_t end = segment->segment_end;
    int r = hf_segment_head_read(segment->file, segment->number, &head);

    if (r < 0)
        return r;
    segment->head = head;
    walk_start(segment);
    segment->walk.limit = end;
    segment->walk.known_durable = end;
    segment->walk.known_position = segment->position_end;
    r = hf_walk_run(&segment->walk);
    if (r == 0)
        r = image_take(reader, segment);
    walk_stop(segment);
    if (r == 0)
        rebuilt_trim(reader, segment);
    return r;
}

int hf_reader_segment_rebuild(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    int r;

    if (segment->rebuilt)
        return -HF_ECORRUPT;
    segment->index_bad = true;
    r = rebuild(reader, segment);
    return r < 0 ? r : hf_index_damage_each(&segment->index, damage_take, reader);
}

int hf_reader_segment_index(struct hf_journal_reader *reader, struct hf_reader_segment *segment)
{
    segment->used = ++reader->tick;
    return segment->index_open ? 0 : rebuild(reader, segment);
}
