// SPDX-License-Identifier: Apache-2.0
/*
 * Opening a journal that was left at any moment. Segments with an index are what the index says.
 * Those without (open ones, or ones whose index is lost) are synced, then read back, past the page
 * cache where that is possible: a kernel that failed to write a page may still show it, and only
 * what was read from the disk itself is known to be there (fault 27). They are walked by the damage
 * rule (walk.c), sealed and indexed. All of this may be cut short and repeated.
 */
#include "journal/journal-internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "journal/recover-internal.h"

int hf_journal_damage_add(struct hf_journal *journal, const struct hf_journal_damage *damage)
{
    struct hf_journal_damage *grown;

    if (journal->damage_count >= HF_JOURNAL_DAMAGE_MAX)
        return 0;
    grown = realloc(journal->damage, (journal->damage_count + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    journal->damage = grown;
    grown[journal->damage_count++] = *damage;
    return 0;
}

/* ---- What is there ---- */

static int numbers_add(struct hf_numbers *numbers, uint64_t number)
{
    uint64_t *grown;

    if (numbers->count >= HF_SEGMENTS_MAX)
        return -HF_ETOOBIG;
    grown = realloc(numbers->numbers, (numbers->count + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    numbers->numbers = grown;
    grown[numbers->count++] = number;
    return 0;
}

static int list_name(void *context, const char *name)
{
    struct hf_journal_listing *listing = context;
    uint64_t number;

    if (hf_segment_name_parse(name, "seg-", &number))
        return numbers_add(&listing->segments, number);
    if (hf_segment_name_parse(name, "idx-", &number))
        return numbers_add(&listing->indexes, number);
    return 0;
}

int hf_journal_list(struct hf_io *io, const char *path, struct hf_journal_listing *ret_listing)
{
    *ret_listing = (struct hf_journal_listing){0};
    return hf_io_list(io, path, list_name, ret_listing);
}

void hf_journal_listing_done(struct hf_journal_listing *listing)
{
    free(listing->segments.numbers);
    free(listing->indexes.numbers);
    *listing = (struct hf_journal_listing){0};
}

bool hf_numbers_has(const struct hf_numbers *numbers, uint64_t number)
{
    size_t low = 0;
    size_t high = numbers->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (numbers->numbers[middle] == number)
            return true;
        if (numbers->numbers[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* ---- Segments with an index ---- */

int hf_index_open_number(struct hf_io *io, const char *directory, uint64_t number,
                         struct hf_page_cache *cache, struct hf_index *ret_index)
{
    char path[HF_IO_PATH_MAX];
    struct hf_file *file = NULL;
    int r = hf_index_path(directory, number, path);

    if (r == 0)
        r = hf_io_open(io, path, HF_OPEN_READ, &file);
    if (r < 0)
        return r;
    r = hf_index_open_file(file, number, cache, ret_index);
    if (r < 0)
        hf_io_close(file);
    return r;
}

int hf_index_damage_each(const struct hf_index *index,
                         int (*each)(void *context, const struct hf_journal_damage *damage),
                         void *context)
{
    struct hf_index_cursor cursor;
    int r = 0;

    hf_index_cursor_init(&cursor, index, HF_INDEX_DAMAGE);
    for (uint32_t i = 0; r == 0 && i < hf_index_cursor_count(&cursor); i++) {
        struct hf_journal_damage damage = {.segment = index->info.head.number};
        const struct hf_index_damage *item;
        const void *data;

        r = hf_index_cursor_item(&cursor, i, &data);
        if (r < 0)
            return r;
        item = data;
        damage.file_offset = hf_le64_get(item->file_offset);
        damage.position_begin = hf_le64_get(item->position_begin);
        damage.position_end = hf_le64_get(item->position_end);
        damage.error = -(int)hf_le32_get(item->error);
        r = each(context, &damage);
    }
    return r;
}

static int damage_take(void *context, const struct hf_journal_damage *damage)
{
    struct hf_recover *recover = context;

    recover->segment_damaged = true;
    return hf_journal_damage_add(recover->journal, damage);
}

static struct hf_journal_damage damage_whole(const struct hf_index_info *info, uint64_t file_offset,
                                             int error)
{
    return (struct hf_journal_damage){
        .segment = info->head.number,
        .file_offset = file_offset,
        .position_begin = info->head.base + info->head.seq_begin,
        .position_end = info->head.base + info->seq_end,
        .error = error,
    };
}

/* A sealed file never shrinks: one that is shorter than its index says was damaged from outside. */
static int size_check(struct hf_recover *recover, const struct hf_index_info *info)
{
    struct hf_journal *journal = recover->journal;
    char path[HF_IO_PATH_MAX];
    struct hf_file *file = NULL;
    struct hf_io_stat stat = {0};
    struct hf_journal_damage damage;
    int r = hf_segment_path(journal->path, info->head.number, path);

    if (r == 0)
        r = hf_io_open(journal->io, path, HF_OPEN_READ, &file);
    if (r == 0)
        r = hf_io_stat(file, &stat);
    hf_io_close(file);
    if (r < 0)
        return r;
    if (stat.size >= info->segment_end)
        return 0;
    damage = damage_whole(info, stat.size, -HF_ECORRUPT);
    return damage_take(recover, &damage);
}

/* -HF_ECORRUPT or -ENOENT: there is no index to go by. */
static int take_indexed(struct hf_recover *recover, uint64_t number)
{
    struct hf_journal *journal = recover->journal;
    struct hf_index index = {0};
    int r = hf_index_open_number(journal->io, journal->path, number, NULL, &index);

    if (r < 0)
        return r;
    recover->segment_damaged = false;
    r = hf_index_damage_each(&index, damage_take, recover);
    if (r == 0)
        r = size_check(recover, &index.info);
    if (r == 0)
        r = hf_journal_segment_add(journal, &index.info, index.info.segment_end,
                                   recover->segment_damaged);
    if (r == 0) {
        recover->result.batches += index.info.entry_count;
        recover->result.damaged_segments += recover->segment_damaged;
    }
    hf_index_close(&index);
    return r;
}

/* An index whose segment is gone: the rest of a drop, or a file that somebody took away. */
static int take_orphan(struct hf_recover *recover, uint64_t number)
{
    struct hf_journal *journal = recover->journal;
    struct hf_index index = {0};
    struct hf_journal_damage damage;
    char path[HF_IO_PATH_MAX];
    int r = hf_index_open_number(journal->io, journal->path, number, NULL, &index);
    bool dropped = r == 0 && index.info.head.base + index.info.seq_end <= journal->state.floor;

    if (r == 0 && !dropped) {
        damage = damage_whole(&index.info, 0, -ENOENT);
        r = damage_take(recover, &damage);
        recover->result.damaged_segments++;
    } else if (dropped || r == -HF_ECORRUPT) {
        r = hf_index_path(journal->path, number, path);
        if (r == 0)
            r = hf_io_unlink(journal->io, path);
    }
    hf_index_close(&index);
    return r;
}

/* ---- The order of things ---- */

static int take_all(struct hf_recover *recover, const struct hf_journal_listing *listing)
{
    struct hf_numbers *bare = &recover->bare;
    int r = 0;

    for (size_t i = 0; r == 0 && i < listing->segments.count; i++) {
        uint64_t number = listing->segments.numbers[i];

        r = hf_numbers_has(&listing->indexes, number) ? take_indexed(recover, number) : -ENOENT;
        if (r == -ENOENT || r == -HF_ECORRUPT)
            r = numbers_add(bare, number);
    }
    for (size_t i = 0; r == 0 && i < listing->indexes.count; i++)
        if (!hf_numbers_has(&listing->segments, listing->indexes.numbers[i]))
            r = take_orphan(recover, listing->indexes.numbers[i]);
    /* The later first: an earlier one ends where its successor begins. */
    for (size_t i = bare->count; r == 0 && i > 0; i--)
        r = hf_recover_bare(recover, bare->numbers[i - 1]);
    return r;
}

static void number_floor(struct hf_journal *journal, const struct hf_numbers *numbers)
{
    uint64_t *next = &journal->state.number_next;

    *next = HF_MAX(*next, (uint64_t)1);
    if (numbers->count > 0)
        *next = HF_MAX(*next, numbers->numbers[numbers->count - 1] + 1);
}

/* Both copies of the state are bad: what it guarded is taken from the segments, and where there are
 * none positions might be given twice. */
static int state_lost(struct hf_recover *recover, const struct hf_journal_listing *listing)
{
    struct hf_journal_damage damage = {.error = -HF_ECORRUPT};

    recover->state_lost = true;
    if (listing->segments.count == 0 && recover->journal->position_min == 0)
        return -HF_EDAMAGED;
    return hf_journal_damage_add(recover->journal, &damage);
}

/* What was dropped is not known any more: what is there is where history begins. */
static int state_again(struct hf_journal *journal)
{
    uint64_t floor = journal->state.position_max;

    for (size_t i = 0; i < journal->segment_count; i++)
        if (journal->segments[i].head.lane == HF_LANE_CAPTURED)
            floor = HF_MIN(floor, journal->segments[i].info.position_begin);
    journal->state.floor = floor;
    return hf_journal_state_write(journal);
}

int hf_journal_recover(struct hf_journal *journal, struct hf_journal_recovery *ret_recovery)
{
    struct hf_recover recover = {.journal = journal};
    struct hf_journal_listing listing;
    int r = hf_journal_list(journal->io, journal->path, &listing);

    if (r == 0)
        r = hf_state_read(journal->io, journal->path, &journal->state);
    if (r == -ENOENT)
        r = 0;
    else if (r == -HF_ECORRUPT)
        r = state_lost(&recover, &listing);
    if (r == 0) {
        number_floor(journal, &listing.segments);
        number_floor(journal, &listing.indexes);
        r = take_all(&recover, &listing);
    }
    /* Names that an earlier writer made and did not sync are relied on from here. */
    if (r == 0)
        r = hf_io_sync_dir(journal->io, journal->path);
    if (r == 0)
        r = hf_recover_order(&recover);
    if (r == 0 && recover.state_lost)
        r = state_again(journal);
    if (r == 0) {
        recover.result.segments = journal->segment_count;
        *ret_recovery = recover.result;
    }
    hf_journal_listing_done(&listing);
    free(recover.bare.numbers);
    return r;
}
