// SPDX-License-Identifier: Apache-2.0
/*
 * A file is held twice: `inode->content` is what running code sees, `durable` what the platter
 * holds. Between them lies the ordered list of unsynced changes; applying all of it to `durable`
 * gives the content running code sees (checked by the tests). A sync does just that. A power cut
 * applies some of it: sector by sector a prefix of the changes that touch the sector, which is
 * what a page cache can leave behind - a sector goes to disk whole, in one of the states it has
 * had. The size goes its own way: it is one of the sizes the file has had since the last sync.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "io/crash-internal.h"

#define SECTOR HF_CRASH_SECTOR_BYTES

enum size_rule { SIZE_KEEP, SIZE_GROW, SIZE_SET };

/* Bytes [offset, offset + length) become `data` (NULL: zeros); then the size changes by the
 * rule. */
struct change {
    uint64_t number;
    uint64_t offset;
    uint64_t length;
    uint8_t *data;
    enum size_rule size_rule;
    uint64_t size;
};

struct hf_crash_content {
    struct hf_sparse durable;
    uint64_t durable_size;
    struct change *changes;
    size_t count;
    size_t capacity;
};

int hf_crash_content_new(struct hf_crash_content **ret_content)
{
    struct hf_crash_content *content = calloc(1, sizeof(*content));

    if (!content)
        return -ENOMEM;
    *ret_content = content;
    return 0;
}

/* Forgets the changes from `count` on. */
static void forget_changes(struct hf_crash_content *content, size_t count)
{
    while (content->count > count)
        free(content->changes[--content->count].data);
}

void hf_crash_content_free(struct hf_crash_content *content)
{
    if (!content)
        return;
    forget_changes(content, 0);
    free(content->changes);
    hf_sparse_clear(&content->durable);
    free(content);
}

/* ---- Recording ---- */

static int grow_changes(struct hf_crash_content *content)
{
    size_t capacity = HF_MAX(content->capacity * 2, (size_t)16);
    struct change *changes = reallocarray(content->changes, capacity, sizeof(*changes));

    if (!changes)
        return -ENOMEM;
    content->changes = changes;
    content->capacity = capacity;
    return 0;
}

static int record(struct hf_crash_content *content, struct change change, const void *data)
{
    if (content->count == content->capacity && grow_changes(content) != 0)
        return -ENOMEM;
    if (data) {
        change.data = malloc(change.length);
        if (!change.data)
            return -ENOMEM;
        memcpy(change.data, data, change.length);
    }
    content->changes[content->count++] = change;
    return 0;
}

/* Zeroing a range changes only what is there: in `store`, its chunks in [offset, end). */
static int record_zeros_of(struct hf_crash_content *content, const struct hf_sparse *store,
                           uint64_t number, uint64_t offset, uint64_t end)
{
    uint64_t length;
    int error = 0;

    while (!error && hf_sparse_next(store, offset, &offset, &length) && offset < end) {
        error =
            record(content,
                   (struct change){
                       .number = number, .offset = offset, .length = HF_MIN(length, end - offset)},
                   NULL);
        offset += length;
    }
    return error;
}

/* What a change before this one wrote is in the content that running code sees, unless zeroed
 * since, by a change that was recorded too. */
static int record_zeros(struct hf_mem_inode *inode, uint64_t number, uint64_t offset, uint64_t end)
{
    int error = record_zeros_of(inode->crash, &inode->content, number, offset, end);

    return error ? error
                 : record_zeros_of(inode->crash, &inode->crash->durable, number, offset, end);
}

static int record_size(struct hf_mem_inode *inode, uint64_t number, enum size_rule rule,
                       uint64_t size)
{
    return record(inode->crash, (struct change){.number = number, .size_rule = rule, .size = size},
                  NULL);
}

int hf_crash_write(struct hf_mem_inode *inode, uint64_t number, const void *data, size_t size,
                   uint64_t offset)
{
    size_t count = inode->crash->count;
    int error = record(inode->crash,
                       (struct change){.number = number,
                                       .offset = offset,
                                       .length = size,
                                       .size_rule = SIZE_GROW,
                                       .size = offset + size},
                       data);

    if (!error)
        error = hf_mem_write(inode, data, size, offset);
    if (error)
        forget_changes(inode->crash, count);
    return error;
}

int hf_crash_truncate(struct hf_mem_inode *inode, uint64_t number, uint64_t size)
{
    size_t count = inode->crash->count;
    int error = size < inode->size ? record_zeros(inode, number, size, UINT64_MAX) : 0;

    if (!error)
        error = record_size(inode, number, SIZE_SET, size);
    if (!error)
        error = hf_mem_truncate(inode, size);
    if (error)
        forget_changes(inode->crash, count);
    return error;
}

int hf_crash_punch(struct hf_mem_inode *inode, uint64_t number, uint64_t offset, uint64_t length)
{
    size_t count = inode->crash->count;
    int error = record_zeros(inode, number, offset, offset + length);

    if (error)
        forget_changes(inode->crash, count);
    else
        hf_sparse_zero(&inode->content, offset, length);
    return error;
}

int hf_crash_allocate(struct hf_mem_inode *inode, uint64_t number, uint64_t end)
{
    size_t count = inode->crash->count;
    int error;

    if (end <= inode->size)
        return 0;
    error = record_size(inode, number, SIZE_GROW, end);
    if (!error)
        error = hf_mem_truncate(inode, end);
    if (error)
        forget_changes(inode->crash, count);
    return error;
}

/* ---- Applying ---- */

static uint64_t size_after(const struct change *change, uint64_t size)
{
    if (change->size_rule == SIZE_SET)
        return change->size;
    return change->size_rule == SIZE_GROW ? HF_MAX(size, change->size) : size;
}

/* The part of a change that lies in [offset, offset + length). */
static int apply_part(struct hf_sparse *durable, const struct change *change, uint64_t offset,
                      uint64_t length)
{
    uint64_t start = HF_MAX(offset, change->offset);
    uint64_t end = HF_MIN(offset + length, change->offset + change->length);

    if (start >= end)
        return 0;
    if (change->data)
        return hf_sparse_write(durable, change->data + (start - change->offset), end - start,
                               start);
    hf_sparse_zero(durable, start, end - start);
    return 0;
}

/* Repeating changes that were applied before does no harm, so a failure may leave them listed. */
static int apply_all(struct hf_crash_content *content)
{
    uint64_t size = content->durable_size;

    for (size_t i = 0; i < content->count; i++) {
        const struct change *change = &content->changes[i];

        if (apply_part(&content->durable, change, change->offset, change->length) != 0)
            return -ENOMEM;
        size = size_after(change, size);
    }
    content->durable_size = size;
    forget_changes(content, 0);
    return 0;
}

int hf_crash_content_sync(struct hf_mem_inode *inode)
{
    int error = apply_all(inode->crash);

    HF_ASSERT(error || inode->crash->durable_size == inode->size);
    return error;
}

/* ---- Power cut ---- */

static bool is_write(const struct change *change)
{
    return change->data != NULL;
}

uint64_t hf_crash_newest_write(const struct hf_mem_inode *inode)
{
    for (size_t i = inode->crash->count; i > 0; i--)
        if (is_write(&inode->crash->changes[i - 1]))
            return inode->crash->changes[i - 1].number;
    return UINT64_MAX;
}

/* Leaves the first third of the write's sectors, at least one; a sector itself never tears, so
 * that a write inside one sector is lost. */
static void tear_write(struct change *change)
{
    uint64_t first = change->offset / SECTOR;
    uint64_t sectors = (change->offset + change->length - 1) / SECTOR - first + 1;
    uint64_t kept = sectors == 1 ? 0 : HF_MAX(sectors / 3, (uint64_t)1);
    uint64_t end = (first + kept) * SECTOR;

    change->length = end > change->offset ? end - change->offset : 0;
    change->size_rule = change->length > 0 ? SIZE_GROW : SIZE_KEEP;
    change->size = change->offset + change->length;
}

static int restart_torn(struct hf_crash_content *content, const struct hf_crash_fate *fate)
{
    for (size_t i = 0; i < content->count; i++)
        if (content->changes[i].number == fate->torn_write && is_write(&content->changes[i]))
            tear_write(&content->changes[i]);
    return apply_all(content);
}

/* That a change touches a sector. */
struct touch {
    uint64_t sector;
    size_t change;
};

static int compare_touches(const void *a, const void *b)
{
    const struct touch *x = a, *y = b;

    if (x->sector != y->sector)
        return x->sector < y->sector ? -1 : 1;
    return x->change < y->change ? -1 : x->change > y->change;
}

static uint64_t sectors_touched(const struct change *change)
{
    if (change->length == 0)
        return 0;
    return (change->offset + change->length - 1) / SECTOR - change->offset / SECTOR + 1;
}

static int list_touches(const struct hf_crash_content *content, struct touch **ret_touches,
                        size_t *ret_count)
{
    uint64_t total = 0, next = 0;
    struct touch *touches;

    for (size_t i = 0; i < content->count; i++)
        total += sectors_touched(&content->changes[i]);
    touches = reallocarray(NULL, total + 1, sizeof(*touches));
    if (!touches)
        return -ENOMEM;
    for (size_t i = 0; i < content->count; i++)
        for (uint64_t j = 0; j < sectors_touched(&content->changes[i]); j++)
            touches[next++] = (struct touch){content->changes[i].offset / SECTOR + j, i};
    HF_ASSERT(next == total);
    qsort(touches, total, sizeof(*touches), compare_touches);
    *ret_touches = touches;
    *ret_count = total;
    return 0;
}

/* How many of `count` changes reached the disk: all of them in `percent` of the cases, else any
 * number below. */
static size_t choose_prefix(struct hf_crash_fate *fate, size_t count, unsigned percent)
{
    if (count == 0 || hf_crash_chance(fate, percent))
        return count;
    return hf_random_seeded_next(&fate->random) % count;
}

static int restart_sector(struct hf_crash_content *content, struct hf_crash_fate *fate,
                          const struct touch *touches, size_t count, unsigned percent)
{
    size_t kept = choose_prefix(fate, count, percent);
    int error = 0;

    for (size_t i = 0; !error && i < kept; i++)
        error = apply_part(&content->durable, &content->changes[touches[i].change],
                           touches[i].sector * SECTOR, SECTOR);
    return error;
}

static void restart_size(struct hf_crash_content *content, struct hf_crash_fate *fate,
                         unsigned percent)
{
    size_t kept = choose_prefix(fate, content->count, percent);

    for (size_t i = 0; i < kept; i++)
        content->durable_size = size_after(&content->changes[i], content->durable_size);
    hf_sparse_zero(&content->durable, content->durable_size, UINT64_MAX);
}

static int restart_random(struct hf_crash_content *content, struct hf_crash_fate *fate)
{
    unsigned percent = hf_crash_percent(fate);
    struct touch *touches;
    size_t count, end;
    int error = list_touches(content, &touches, &count);

    if (error)
        return error;
    for (size_t start = 0; !error && start < count; start = end) {
        for (end = start + 1; end < count && touches[end].sector == touches[start].sector; end++)
            ;
        error = restart_sector(content, fate, touches + start, end - start, percent);
    }
    free(touches);
    if (!error)
        restart_size(content, fate, percent);
    return error;
}

static int survive(struct hf_crash_content *content, struct hf_crash_fate *fate)
{
    switch (fate->survive) {
    case HF_CRASH_LOSE_ALL:
        return 0;
    case HF_CRASH_KEEP_ALL:
        return apply_all(content);
    case HF_CRASH_TEAR_LAST:
        return restart_torn(content, fate);
    case HF_CRASH_RANDOM:
        return restart_random(content, fate);
    }
    return -EINVAL;
}

int hf_crash_content_restart(struct hf_mem_inode *inode, struct hf_crash_fate *fate)
{
    struct hf_crash_content *content = inode->crash;
    int error = survive(content, fate);

    forget_changes(content, 0);
    if (!error)
        error = hf_sparse_copy(&inode->content, &content->durable);
    inode->size = content->durable_size;
    return error;
}
