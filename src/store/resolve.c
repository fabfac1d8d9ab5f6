// SPDX-License-Identifier: Apache-2.0
/*
 * For a run of blocks a table of sectors is filled with the newest extent that covers each (in
 * whatever order the index gives them: the larger (position, order) wins), so memory does not grow
 * with the number of overwrites. Sectors that no extent covers come from the base image, whose
 * blocks are verified whole.
 *
 * A block that does not fit its sum may be one that a merge is changing, or was changing when power
 * went: sums are made durable before content, and the journal still has every record up to the
 * merge's end. So "what is there, with those records painted over it" is the merge's result
 * whatever mix of old and new it was, and must fit the new sum. If it fits neither way after the
 * merge had its chance to finish, the block is corrupt.
 */
#include "store/resolve.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

/* The newest extent of each sector of a run; length 0: none. */
struct paint {
    uint64_t offset; /* bytes */
    uint32_t sectors;
    struct hf_journal_extent *newest;
};

int hf_resolver_init(struct hf_resolver *resolver, struct hf_store *store,
                     struct hf_journal_reader *reader)
{
    int r;

    memset(resolver, 0, sizeof(*resolver));
    r = pthread_mutex_init(&resolver->lock, NULL);
    if (r != 0) {
        hf_journal_reader_close(reader);
        return -r;
    }
    resolver->store = store;
    resolver->reader = reader;
    return 0;
}

void hf_resolver_done(struct hf_resolver *resolver)
{
    if (resolver == NULL || resolver->reader == NULL)
        return;
    hf_journal_reader_close(resolver->reader);
    resolver->reader = NULL;
    hf_frame_cache_clear(&resolver->cache);
    pthread_mutex_destroy(&resolver->lock);
}

int hf_resolver_refresh(struct hf_resolver *resolver)
{
    int r;

    pthread_mutex_lock(&resolver->lock);
    r = hf_journal_reader_refresh(resolver->reader);
    pthread_mutex_unlock(&resolver->lock);
    return r;
}

int hf_resolver_covers(struct hf_resolver *resolver, const struct hf_journal_progress *durable)
{
    struct hf_journal_progress seen;
    int r;

    if (durable->seq == 0)
        return 0;
    pthread_mutex_lock(&resolver->lock);
    r = hf_journal_reader_newest(resolver->reader, &seen);
    pthread_mutex_unlock(&resolver->lock);
    if (r < 0)
        return r == -ENOENT ? -EAGAIN : r;
    if (seen.position < durable->position)
        return -EAGAIN;
    return seen.pass == durable->pass && seen.pass_batch < durable->pass_batch ? -EAGAIN : 0;
}

/* ---- Painting ---- */

static bool is_newer(const struct hf_journal_extent *a, const struct hf_journal_extent *b)
{
    if (b->length == 0 || a->position != b->position)
        return b->length == 0 || a->position > b->position;
    return a->order > b->order;
}

static int paint_extent(void *context, const struct hf_journal_extent *extent)
{
    struct paint *paint = context;
    uint64_t end = paint->offset + (uint64_t)paint->sectors * HF_SECTOR;
    uint64_t from = HF_MAX(extent->offset, paint->offset);
    uint64_t to = HF_MIN(extent->offset + extent->length, end);

    for (uint64_t at = from; at < to; at += HF_SECTOR) {
        struct hf_journal_extent *slot = &paint->newest[(at - paint->offset) / HF_SECTOR];

        if (is_newer(extent, slot))
            *slot = *extent;
    }
    return 0;
}

static int paint_fill(struct hf_resolver *resolver, uint16_t disk, uint64_t position,
                      struct paint *paint)
{
    int r;

    memset(paint->newest, 0, paint->sectors * sizeof(*paint->newest));
    if (position <= resolver->from[disk])
        return 0;
    pthread_mutex_lock(&resolver->lock);
    r = hf_journal_reader_extents(resolver->reader, disk, paint->offset,
                                  (uint64_t)paint->sectors * HF_SECTOR, resolver->from[disk],
                                  position, paint_extent, paint);
    pthread_mutex_unlock(&resolver->lock);
    return r;
}

/* ---- Content of extents ---- */

static bool reads_as_zeros(const struct hf_journal_extent *extent)
{
    return extent->type != HF_RECORD_WRITE || extent->encoding == HF_FRAME_ZERO;
}

/* A part of a frame, through the cache. Locked by the caller. */
static int cached_part(struct hf_resolver *resolver, const struct hf_journal_extent *extent,
                       uint64_t skip, uint8_t *to, size_t length)
{
    const uint8_t *content =
        hf_frame_cache_get(&resolver->cache, extent->segment, extent->file_offset);
    void *room;
    int r;

    if (content == NULL) {
        room = hf_frame_cache_put(&resolver->cache, extent->segment, extent->file_offset);
        if (room == NULL)
            return -ENOMEM;
        r = hf_journal_reader_content(resolver->reader, extent, room);
        if (r < 0) {
            hf_frame_cache_drop(&resolver->cache, extent->segment, extent->file_offset);
            return r;
        }
        content = room;
    }
    memcpy(to, content + skip, length);
    return 0;
}

static int extent_part(struct hf_resolver *resolver, const struct hf_journal_extent *extent,
                       uint64_t offset, uint8_t *to, size_t length)
{
    int r;

    if (reads_as_zeros(extent)) {
        memset(to, 0, length);
        return 0;
    }
    if (extent->length > HF_FRAME_CONTENT_MAX)
        return -HF_ECORRUPT;
    pthread_mutex_lock(&resolver->lock);
    if (length == extent->length)
        r = hf_journal_reader_content(resolver->reader, extent, to);
    else
        r = cached_part(resolver, extent, offset - extent->offset, to, length);
    pthread_mutex_unlock(&resolver->lock);
    return r;
}

static bool same_extent(const struct hf_journal_extent *a, const struct hf_journal_extent *b)
{
    return a->length == b->length && a->segment == b->segment && a->order == b->order &&
           a->position == b->position && a->offset == b->offset && a->file_offset == b->file_offset;
}

/* Lays what was painted over content. errors: per block, or NULL. */
static int paint_apply(struct hf_resolver *resolver, const struct paint *paint, uint8_t *content,
                       int *errors)
{
    for (uint32_t i = 0, n; i < paint->sectors; i += n) {
        const struct hf_journal_extent *extent = &paint->newest[i];
        int r;

        for (n = 1; i + n < paint->sectors && same_extent(extent, &paint->newest[i + n]);)
            n++;
        if (extent->length == 0)
            continue;
        r = extent_part(resolver, extent, paint->offset + (uint64_t)i * HF_SECTOR,
                        content + (size_t)i * HF_SECTOR, (size_t)n * HF_SECTOR);
        if (r < 0 && errors == NULL)
            return r;
        for (uint32_t s = i; r < 0 && s < i + n; s++)
            errors[s / HF_SECTORS_PER_BLOCK] = r;
    }
    return 0;
}

/* ---- The base image ---- */

/* One try at a block that may be changing. 1: *block is good. */
static int settle_once(struct hf_resolver *resolver, uint16_t disk, uint64_t number, uint8_t *block)
{
    struct hf_journal_extent newest[HF_SECTORS_PER_BLOCK];
    struct paint paint = {number * HF_STORE_BLOCK, HF_SECTORS_PER_BLOCK, newest};
    uint64_t sum = HF_SUM_POISON;
    int r = hf_base_read(resolver->bases[disk], number, 1, block);

    if (r == 0)
        r = hf_base_read_sums(resolver->bases[disk], number, 1, &sum);
    if (r != 0)
        return r;
    if (hf_base_sum(block) == sum)
        return 1;
    if (sum == HF_SUM_POISON)
        return -HF_ECORRUPT;
    r = paint_fill(resolver, disk, resolver->merge_floor(resolver->context), &paint);
    if (r == 0)
        r = paint_apply(resolver, &paint, block, NULL);
    if (r < 0)
        return r;
    return hf_base_sum(block) == sum;
}

static int settle_block(struct hf_resolver *resolver, uint16_t disk, uint64_t number,
                        uint8_t *block)
{
    struct hf_clock *clock = resolver->store->clock;
    uint64_t floor_before = resolver->merge_floor(resolver->context);
    int r = 0;

    for (unsigned i = 0; r == 0 && i < HF_SETTLE_ATTEMPTS; i++) {
        /* nothing has been merged beyond what we began with: nothing moves */
        if (i >= 2 && floor_before <= resolver->from[disk] &&
            resolver->merge_floor(resolver->context) == floor_before)
            break;
        if (i > 0)
            clock->ops->sleep_ns(clock, HF_SETTLE_PAUSE_NS);
        r = settle_once(resolver, disk, number, block);
    }
    if (r < 0)
        return r;
    return r == 1 ? 0 : -HF_ECORRUPT;
}

static int base_blocks(struct hf_resolver *resolver, uint16_t disk, uint64_t first, uint32_t count,
                       uint8_t *content, int *errors)
{
    struct hf_base_image *base = resolver->bases[disk];
    uint64_t sums[HF_RESOLVE_BLOCKS_MAX];
    int r;

    if (base == NULL) {
        memset(content, 0, (size_t)count * HF_STORE_BLOCK);
        return 0;
    }
    r = hf_base_read(base, first, count, content);
    if (r == 0)
        r = hf_base_read_sums(base, first, count, sums);
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        uint8_t *block = content + (size_t)i * HF_STORE_BLOCK;
        int e = 0;

        if (hf_base_sum(block) != sums[i])
            e = settle_block(resolver, disk, first + i, block);
        if (e < 0 && errors != NULL)
            errors[i] = e;
        else
            r = e;
    }
    return r;
}

/* ---- Blocks ---- */

enum coverage { COVER_NONE, COVER_PART, COVER_WHOLE };

static enum coverage block_coverage(const struct paint *paint, uint32_t block)
{
    const struct hf_journal_extent *sectors = &paint->newest[block * HF_SECTORS_PER_BLOCK];
    unsigned covered = 0;

    for (unsigned i = 0; i < HF_SECTORS_PER_BLOCK; i++)
        covered += sectors[i].length != 0;
    if (covered == 0)
        return COVER_NONE;
    return covered == HF_SECTORS_PER_BLOCK ? COVER_WHOLE : COVER_PART;
}

static bool wants_base(const struct hf_resolve *what, enum coverage coverage)
{
    return coverage == COVER_PART || (coverage == COVER_NONE && !what->touched_only);
}

static int resolve_painted(struct hf_resolver *resolver, const struct hf_resolve *what,
                           const struct paint *paint)
{
    int r = 0;

    for (uint32_t i = 0; what->errors != NULL && i < what->count; i++)
        what->errors[i] = 0;
    for (uint32_t i = 0; what->touched != NULL && i < what->count; i++)
        what->touched[i] = block_coverage(paint, i) != COVER_NONE;
    for (uint32_t i = 0, n; r == 0 && i < what->count; i += n) {
        bool wanted = wants_base(what, block_coverage(paint, i));

        for (n = 1;
             i + n < what->count && wants_base(what, block_coverage(paint, i + n)) == wanted;)
            n++;
        if (wanted)
            r = base_blocks(resolver, what->disk, what->first + i, n,
                            what->content + (size_t)i * HF_STORE_BLOCK,
                            what->errors == NULL ? NULL : what->errors + i);
    }
    return r < 0 ? r : paint_apply(resolver, paint, what->content, what->errors);
}

static int paint_run(struct hf_resolver *resolver, uint16_t disk, uint64_t position, uint64_t first,
                     uint32_t count, struct paint *paint)
{
    int r;

    HF_ASSERT(count > 0 && count <= HF_RESOLVE_BLOCKS_MAX);
    paint->offset = first * HF_STORE_BLOCK;
    paint->sectors = count * HF_SECTORS_PER_BLOCK;
    paint->newest = malloc(paint->sectors * sizeof(*paint->newest));
    if (paint->newest == NULL)
        return -ENOMEM;
    r = paint_fill(resolver, disk, position, paint);
    if (r < 0)
        free(paint->newest);
    return r;
}

int hf_resolve_blocks(struct hf_resolver *resolver, const struct hf_resolve *what)
{
    struct paint paint;
    int r = paint_run(resolver, what->disk, what->position, what->first, what->count, &paint);

    if (r < 0)
        return r;
    r = resolve_painted(resolver, what, &paint);
    free(paint.newest);
    return r;
}

static int read_through(struct hf_resolver *resolver, const struct hf_resolve *what,
                        uint64_t offset, void *data, size_t length)
{
    struct hf_resolve bounced = *what;
    int r;

    if (offset == what->first * HF_STORE_BLOCK && length == (size_t)what->count * HF_STORE_BLOCK) {
        bounced.content = data;
        return hf_resolve_blocks(resolver, &bounced);
    }
    bounced.content = malloc((size_t)what->count * HF_STORE_BLOCK);
    if (bounced.content == NULL)
        return -ENOMEM;
    r = hf_resolve_blocks(resolver, &bounced);
    if (r == 0)
        memcpy(data, bounced.content + (offset - what->first * HF_STORE_BLOCK), length);
    free(bounced.content);
    return r;
}

int hf_resolve_read(struct hf_resolver *resolver, uint16_t disk, uint64_t position, uint64_t offset,
                    void *data, size_t length)
{
    while (length > 0) {
        uint64_t first = offset / HF_STORE_BLOCK;
        uint64_t end_max = (first + HF_RESOLVE_BLOCKS_MAX) * HF_STORE_BLOCK;
        uint64_t end = HF_MIN(offset + length, end_max);
        struct hf_resolve what = {
            .disk = disk,
            .first = first,
            .count = (uint32_t)(HF_ALIGN_UP(end, HF_STORE_BLOCK) / HF_STORE_BLOCK - first),
            .position = position,
        };
        int r = read_through(resolver, &what, offset, data, (size_t)(end - offset));

        if (r < 0)
            return r;
        data = (uint8_t *)data + (end - offset);
        length -= (size_t)(end - offset);
        offset = end;
    }
    return 0;
}

/* ---- Holes ---- */

static int on_any_extent(void *context, const struct hf_journal_extent *extent)
{
    return 1;
}

bool hf_resolve_is_untouched(struct hf_resolver *resolver, uint16_t disk, uint64_t position,
                             uint64_t first, uint64_t count)
{
    struct hf_base_image *base = resolver->bases[disk];
    int r = 0;

    if (base != NULL && !hf_base_is_hole(base, first, count))
        return false;
    if (position <= resolver->from[disk])
        return true;
    pthread_mutex_lock(&resolver->lock);
    r = hf_journal_reader_extents(resolver->reader, disk, first * HF_STORE_BLOCK,
                                  count * HF_STORE_BLOCK, resolver->from[disk], position,
                                  on_any_extent, NULL);
    pthread_mutex_unlock(&resolver->lock);
    return r == 0;
}

static bool painted_zeros(const struct paint *paint, uint32_t block)
{
    const struct hf_journal_extent *sectors = &paint->newest[block * HF_SECTORS_PER_BLOCK];

    for (unsigned i = 0; i < HF_SECTORS_PER_BLOCK; i++) {
        if (sectors[i].length != 0 && !reads_as_zeros(&sectors[i]))
            return false;
    }
    return true;
}

int hf_resolve_holes(struct hf_resolver *resolver, uint16_t disk, uint64_t position, uint64_t first,
                     uint32_t count, bool *hole)
{
    struct hf_base_image *base = resolver->bases[disk];
    struct paint paint;
    bool base_hole = base == NULL || hf_base_is_hole(base, first, count);
    int r = paint_run(resolver, disk, position, first, count, &paint);

    if (r < 0)
        return r;
    for (uint32_t i = 0; i < count; i++) {
        hole[i] = painted_zeros(&paint, i);
        if (hole[i] && !base_hole && block_coverage(&paint, i) != COVER_WHOLE)
            hole[i] = hf_base_is_hole(base, first + i, 1);
    }
    free(paint.newest);
    return 0;
}
