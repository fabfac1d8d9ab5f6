// SPDX-License-Identifier: Apache-2.0
#include "agent/fake-source-internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

static struct hf_fake_source *fake_of(struct hf_source *source)
{
    return (struct hf_fake_source *)((char *)source - offsetof(struct hf_fake_source, source));
}

/* ---- maps and modes ---- */

void hf_fake_lose(struct hf_fake_source *fake, unsigned slot, uint64_t offset, uint64_t length)
{
    hf_bitmap_set_range(&fake->slots[slot].maps[HF_MAP_LOST][HF_GENERATION_CURRENT], offset,
                        length);
    fake->lost_events++;
}

void hf_fake_go_dirty(struct hf_fake_source *fake, enum hf_capture_cause cause)
{
    if (fake->mode == HF_CAPTURE_DIRTY)
        return;
    fake->mode = HF_CAPTURE_DIRTY;
    fake->cause = cause;
    fake->dirty_since_ns = fake->clock->ops->boot_ns(fake->clock);
}

/* Old generations fold into the current ones, which then become the old ones. */
static void swap_maps(struct hf_fake_source *fake, enum hf_capture_map_kind kind)
{
    for (unsigned slot = 0; slot < fake->slot_count; slot++) {
        struct hf_bitmap *maps = fake->slots[slot].maps[kind];
        struct hf_bitmap emptied = maps[HF_GENERATION_OLD];

        if (!fake->slots[slot].used)
            continue;
        hf_bitmap_merge(&maps[HF_GENERATION_CURRENT], &maps[HF_GENERATION_OLD]);
        hf_bitmap_clear_range(&emptied, 0, UINT64_MAX);
        maps[HF_GENERATION_OLD] = maps[HF_GENERATION_CURRENT];
        maps[HF_GENERATION_CURRENT] = emptied;
    }
}

/* ---- the ring ---- */

int hf_fake_put(struct hf_fake_source *fake, struct hf_capture_record record, const void *content,
                uint64_t *ret_position, uint64_t *ret_end)
{
    uint64_t space = HF_ALIGN_UP(RECORD_OVERHEAD + sizeof(record) + record.content_bytes, 8);
    struct fake_record *entry;

    if (fake->producer - fake->consumer + space > fake->ring_bytes)
        return -ENOSPC;
    HF_ASSERT(fake->record_count < RECORDS_MAX);
    entry = &fake->records[(fake->record_first + fake->record_count++) % RECORDS_MAX];
    record.layout = HF_CAPTURE_LAYOUT;
    if (record.boot_ns == 0)
        record.boot_ns = fake->clock->ops->boot_ns(fake->clock);
    *entry = (struct fake_record){
        .position = fake->producer,
        .end = fake->producer + space,
        .record = record,
        .content = malloc(record.content_bytes + 1),
    };
    HF_ASSERT(entry->content);
    if (record.content_bytes)
        memcpy(entry->content, content, record.content_bytes);
    fake->producer += space;
    if (ret_position)
        *ret_position = entry->position;
    if (ret_end)
        *ret_end = entry->end;
    return 0;
}

static int fake_peek(struct hf_source *source, uint64_t from, struct hf_capture_view *ret_view)
{
    struct hf_fake_source *fake = fake_of(source);
    size_t low = 0, high = fake->record_count;
    struct fake_record *entry;

    if (from < fake->consumer || from > fake->producer)
        return -EINVAL;
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (fake->records[(fake->record_first + middle) % RECORDS_MAX].position < from)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == fake->record_count)
        return -EAGAIN;
    entry = &fake->records[(fake->record_first + low) % RECORDS_MAX];
    if (entry->position != from)
        return -HF_ECORRUPT;
    *ret_view = (struct hf_capture_view){
        .position = entry->position,
        .position_end = entry->end,
        .record = &entry->record,
        .content = entry->content,
    };
    return 0;
}

static int fake_release(struct hf_source *source, uint64_t position)
{
    struct hf_fake_source *fake = fake_of(source);

    if (position > fake->producer)
        return -EINVAL;
    while (fake->record_count && fake->records[fake->record_first].end <= position) {
        free(fake->records[fake->record_first].content);
        fake->consumer = fake->records[fake->record_first].end;
        fake->record_first = (fake->record_first + 1) % RECORDS_MAX;
        fake->record_count--;
    }
    return 0;
}

static int fake_wait(struct hf_source *source, uint64_t from, uint32_t level_bytes, int timeout_ms)
{
    struct hf_fake_source *fake = fake_of(source);

    (void)from, (void)level_bytes;
    fake->clock->ops->sleep_ns(fake->clock, (uint64_t)timeout_ms * HF_NS_PER_MS);
    return 0;
}

static uint64_t fake_consumer(struct hf_source *source)
{
    return fake_of(source)->consumer;
}

static uint64_t fake_producer(struct hf_source *source)
{
    return fake_of(source)->producer;
}

/* ---- marks and passes ---- */

static void snapshot(struct hf_fake_source *fake, const struct hf_mark_body *body)
{
    struct fake_snapshot *entry = &fake->snapshots[fake->snapshot_count % SNAPSHOTS_MAX];
    size_t at = 0;

    free(entry->data);
    fake->snapshot_count++;
    entry->point = body->point;
    entry->size = 0;
    for (unsigned i = 0; i < HF_FAKE_DISKS; i++)
        entry->size += fake->disks[i].slot >= 0 ? fake->disks[i].size : 0;
    entry->data = malloc(entry->size + 1);
    HF_ASSERT(entry->data);
    for (unsigned i = 0; i < HF_FAKE_DISKS; i++) {
        if (fake->disks[i].slot < 0)
            continue;
        memcpy(entry->data + at, fake->disks[i].data, fake->disks[i].size);
        at += fake->disks[i].size;
    }
}

static int put_mark(struct hf_fake_source *fake, uint32_t kind, const void *payload, size_t bytes,
                    uint64_t *ret_position, uint64_t *ret_end)
{
    struct hf_capture_record record = {
        .type = HF_CAPTURE_MARK,
        .kind = kind,
        .content_bytes = (hf_u32)bytes,
        .flags = fake->mode == HF_CAPTURE_DIRTY ? HF_CAPTURE_RECORD_DIRTY : 0,
        .lost_events = fake->lost_events,
    };

    HF_ASSERT(bytes <= HF_CAPTURE_MARK_MAX);
    return hf_fake_put(fake, record, payload, ret_position, ret_end);
}

static int fake_mark(struct hf_source *source, uint32_t kind, const void *payload, size_t bytes,
                     bool need_data, uint64_t *ret_position, uint64_t *ret_end)
{
    struct hf_fake_source *fake = fake_of(source);
    int error;

    if (need_data && fake->mode == HF_CAPTURE_DIRTY)
        return -ESTALE;
    error = put_mark(fake, kind, payload, bytes, ret_position, ret_end);
    if (!error && kind == HF_RECORD_MARK)
        snapshot(fake, payload);
    return error;
}

static int fake_force_dirty(struct hf_source *source, enum hf_capture_cause cause)
{
    hf_fake_go_dirty(fake_of(source), cause);
    return 0;
}

/* Between the swap of the maps and the mark of a pass, writes go on. */
static void lose_while_beginning(struct hf_fake_source *fake)
{
    if (fake->lose_at_begin_length)
        hf_fake_lose(fake, fake->lose_at_begin_slot, fake->lose_at_begin_offset,
                     fake->lose_at_begin_length);
    fake->lose_at_begin_length = 0;
}

/* As a kill there would leave it: the caller of a test that asks for this is freed next. */
static bool dies_while_beginning(struct hf_fake_source *fake)
{
    bool dies = fake->die_in_begin;

    fake->die_in_begin = false;
    return dies;
}

static int fake_data_begin(struct hf_source *source, uint32_t kind, const void *payload,
                           size_t bytes, uint64_t *ret_position, uint64_t *ret_epoch)
{
    struct hf_fake_source *fake = fake_of(source);
    struct hf_capture_record gap = {
        .type = HF_CAPTURE_GAP,
        .kind = fake->cause,
        .boot_ns = fake->dirty_since_ns,
    };
    int error;

    if (fake->mode == HF_CAPTURE_DATA)
        return -EALREADY;
    if (fake->ring_bytes - (fake->producer - fake->consumer) < 1024)
        return -ENOSPC;
    error = hf_fake_put(fake, gap, NULL, NULL, NULL);
    HF_ASSERT(error == 0);
    fake->mode = HF_CAPTURE_DATA;
    fake->cause = HF_CAUSE_NONE;
    swap_maps(fake, HF_MAP_LOST);
    lose_while_beginning(fake);
    if (dies_while_beginning(fake))
        return -EIO;
    error = put_mark(fake, kind, payload, bytes, ret_position, NULL);
    *ret_epoch = ++fake->epoch;
    return error;
}

static int fake_pass_begin(struct hf_source *source, uint32_t target_mask, uint32_t kind,
                           const void *payload, size_t bytes, uint64_t *ret_position,
                           uint64_t *ret_epoch)
{
    struct hf_fake_source *fake = fake_of(source);
    int error;

    (void)target_mask;
    if (fake->mode == HF_CAPTURE_DIRTY)
        return -EAGAIN;
    swap_maps(fake, HF_MAP_LOST);
    lose_while_beginning(fake);
    if (dies_while_beginning(fake))
        return -EIO;
    error = put_mark(fake, kind, payload, bytes, ret_position, NULL);
    if (error)
        return error;
    *ret_epoch = ++fake->epoch;
    return 0;
}

static int fake_inflight_before(struct hf_source *source, unsigned slot, uint64_t offset,
                                uint64_t length, uint64_t epoch)
{
    struct hf_fake_source *fake = fake_of(source);
    int count = 0;

    for (size_t i = 0; i < INFLIGHT_MAX; i++) {
        struct fake_inflight *entry = &fake->inflight[i];

        if (entry->used && entry->slot == slot && entry->epoch < epoch &&
            entry->offset < offset + length && offset < entry->offset + entry->length)
            count++;
    }
    return count;
}

static int fake_inflight_expire(struct hf_source *source, uint64_t age_ms)
{
    (void)source, (void)age_ms;
    return 0;
}

static int fake_generation_swap(struct hf_source *source, enum hf_capture_map_kind kind,
                                unsigned target, uint32_t mark_kind, const void *payload,
                                size_t bytes, uint64_t *ret_position)
{
    struct hf_fake_source *fake = fake_of(source);

    (void)target;
    swap_maps(fake, kind);
    return put_mark(fake, mark_kind, payload, bytes, ret_position, NULL);
}

/* ---- maps ---- */

static struct hf_bitmap *map_of(struct hf_source *source, unsigned slot,
                                enum hf_capture_map_kind kind,
                                enum hf_capture_generation generation)
{
    struct hf_fake_source *fake = fake_of(source);

    return slot < fake->slot_count && fake->slots[slot].used
               ? &fake->slots[slot].maps[kind][generation]
               : NULL;
}

static int64_t fake_map_bit_bytes(struct hf_source *source, unsigned slot)
{
    return map_of(source, slot, HF_MAP_LOST, HF_GENERATION_OLD) ? 1 << BIT_SHIFT : -ENODEV;
}

static int fake_map_read(struct hf_source *source, unsigned slot, unsigned target,
                         enum hf_capture_map_kind kind, enum hf_capture_generation generation,
                         uint64_t *ret_words, size_t word_count)
{
    struct hf_bitmap *map = map_of(source, slot, kind, generation);

    (void)target;
    if (!map)
        return -ENODEV;
    if (word_count < (map->bit_count + 63) / 64)
        return -ERANGE;
    memcpy(ret_words, map->words, (map->bit_count + 63) / 64 * 8);
    return 0;
}

static int fake_map_next(struct hf_source *source, unsigned slot, unsigned target,
                         enum hf_capture_map_kind kind, enum hf_capture_generation generation,
                         uint64_t from, uint64_t length_max, uint64_t *ret_offset,
                         uint64_t *ret_length)
{
    struct hf_bitmap *map = map_of(source, slot, kind, generation);

    (void)target;
    if (!map)
        return -ENODEV;
    return hf_bitmap_next_range(map, from, length_max, ret_offset, ret_length);
}

static int fake_map_clear(struct hf_source *source, unsigned slot, unsigned target,
                          enum hf_capture_map_kind kind, uint64_t offset, uint64_t length)
{
    struct hf_bitmap *map = map_of(source, slot, kind, HF_GENERATION_OLD);

    (void)target;
    if (!map)
        return -ENODEV;
    hf_bitmap_clear_range(map, offset, HF_ALIGN_UP(length, (uint64_t)1 << BIT_SHIFT));
    return 0;
}

static int fake_map_set(struct hf_source *source, unsigned slot, unsigned target,
                        enum hf_capture_map_kind kind, uint64_t offset, uint64_t length)
{
    struct hf_bitmap *map = map_of(source, slot, kind, HF_GENERATION_CURRENT);

    (void)target;
    if (!map)
        return -ENODEV;
    hf_bitmap_set_range(map, offset, length);
    fake_of(source)->lost_events += kind == HF_MAP_LOST;
    return 0;
}

/* ---- disks ---- */

static struct fake_disk *disk_of(struct hf_fake_source *fake, const struct hf_disk_identity *id)
{
    for (unsigned i = 0; i < HF_FAKE_DISKS; i++)
        if (fake->disks[i].data && fake->disks[i].identity.diskseq == id->diskseq)
            return &fake->disks[i];
    return NULL;
}

int hf_fake_put_disk(struct hf_fake_source *fake, unsigned slot, uint32_t event, uint64_t size)
{
    struct hf_capture_disk_change change = {.size_bytes = size};
    struct hf_capture_record record = {
        .type = HF_CAPTURE_DISK,
        .kind = event,
        .slot = (hf_u16)slot,
        .length_bytes = size,
        .content_bytes = sizeof(change),
    };

    return hf_fake_put(fake, record, &change, NULL, NULL);
}

static int slot_maps(struct fake_slot *slot, uint64_t size)
{
    int error = 0;

    for (int kind = 0; kind < HF_MAP_KINDS; kind++)
        for (int generation = 0; generation < 2 && !error; generation++)
            error = hf_bitmap_init(&slot->maps[kind][generation], size, BIT_SHIFT);
    return error;
}

static int fake_disk_add(struct hf_source *source, const struct hf_disk_identity *identity,
                         uint32_t target_mask, unsigned *ret_slot)
{
    struct hf_fake_source *fake = fake_of(source);
    struct fake_disk *disk = disk_of(fake, identity);
    unsigned slot = fake->slot_count;
    int error;

    (void)target_mask;
    if (!disk)
        return -ENODEV;
    if (disk->slot >= 0)
        return -EEXIST;
    error = hf_fake_put_disk(fake, slot, HF_CAPTURE_DISK_ADD, disk->size);
    if (!error)
        error = slot_maps(&fake->slots[slot], disk->size);
    if (error)
        return error;
    fake->slots[slot].used = true;
    fake->slots[slot].number = (unsigned)(disk - fake->disks);
    disk->slot = (int)slot;
    disk->announced = disk->size;
    fake->slot_count++;
    *ret_slot = slot;
    return 0;
}

void hf_fake_slot_forget(struct fake_slot *slot)
{
    for (int kind = 0; kind < HF_MAP_KINDS; kind++)
        for (int generation = 0; generation < 2; generation++)
            hf_bitmap_done(&slot->maps[kind][generation]);
    slot->used = false;
}

static int fake_disk_remove(struct hf_source *source, unsigned slot)
{
    struct hf_fake_source *fake = fake_of(source);

    fake->disks[fake->slots[slot].number].slot = -1;
    hf_fake_slot_forget(&fake->slots[slot]);
    return hf_fake_put_disk(fake, slot, HF_CAPTURE_DISK_REMOVE, 0);
}

static int fake_disk_resized(struct hf_source *source, unsigned slot)
{
    struct hf_fake_source *fake = fake_of(source);
    struct fake_slot *entry = &fake->slots[slot];
    struct fake_disk *disk = &fake->disks[entry->number];
    struct hf_bitmap old[HF_MAP_KINDS][2];
    uint64_t before = entry->maps[0][0].bit_count << BIT_SHIFT;
    int error;

    if (disk->size == before)
        return 0;
    memcpy(old, entry->maps, sizeof(old));
    memset(entry->maps, 0, sizeof(entry->maps));
    error = slot_maps(entry, disk->size);
    if (error)
        return error;
    for (int kind = 0; kind < HF_MAP_KINDS; kind++)
        for (int generation = 0; generation < 2; generation++) {
            uint64_t offset, length, from = 0;

            while (
                hf_bitmap_next_range(&old[kind][generation], from, UINT64_MAX, &offset, &length)) {
                hf_bitmap_set_range(&entry->maps[kind][generation], offset, length);
                from = offset + length;
            }
            hf_bitmap_done(&old[kind][generation]);
        }
    if (disk->size > before)
        hf_fake_lose(fake, slot, before, disk->size - before);
    return 0;
}

static int fake_disk_confirm(struct hf_source *source, unsigned slot,
                             const struct hf_disk_identity *identity)
{
    (void)source, (void)slot, (void)identity;
    return -EINVAL;
}

static int fake_disk_get(struct hf_source *source, unsigned slot, struct hf_capture_disk *ret_disk)
{
    struct hf_fake_source *fake = fake_of(source);

    if (slot >= fake->slot_count || !fake->slots[slot].used)
        return -ENODEV;
    *ret_disk = (struct hf_capture_disk){
        .diskseq = fake->disks[fake->slots[slot].number].identity.diskseq,
        .size_sectors = fake->disks[fake->slots[slot].number].announced / HF_SECTOR,
        .flags = HF_DISK_ACTIVE,
    };
    return 0;
}

static int fake_disk_find(struct hf_source *source, const struct hf_disk_identity *identity)
{
    struct fake_disk *disk = disk_of(fake_of(source), identity);

    return disk && disk->slot >= 0 ? disk->slot : -ENOENT;
}

/* ---- the rest of the table ---- */

static void fake_get_id(struct hf_source *source, struct hf_id *ret_id)
{
    *ret_id = fake_of(source)->id;
}

static int fake_heartbeat(struct hf_source *source)
{
    (void)source;
    return 0;
}

static int fake_stats(struct hf_source *source, struct hf_capture_stats *ret_stats)
{
    struct hf_fake_source *fake = fake_of(source);

    *ret_stats = (struct hf_capture_stats){
        .mode = fake->mode,
        .cause = fake->cause,
        .lost_events = fake->lost_events,
        .ring_bytes = fake->ring_bytes,
        .fill_bytes = fake->producer - fake->consumer,
        .epoch = fake->epoch,
    };
    return 0;
}

static void *fake_state(struct hf_source *source)
{
    return fake_of(source)->state;
}

static int fake_restart(struct hf_source *source)
{
    struct hf_fake_source *fake = fake_of(source);

    fake_release(source, fake->producer);
    fake->consumer = fake->producer = 0;
    fake->record_first = fake->record_count = 0;
    for (unsigned slot = 0; slot < fake->slot_count; slot++)
        hf_fake_slot_forget(&fake->slots[slot]);
    for (unsigned i = 0; i < HF_FAKE_DISKS; i++)
        fake->disks[i].slot = -1;
    fake->slot_count = 0;
    fake->mode = HF_CAPTURE_DIRTY;
    fake->cause = HF_CAUSE_START;
    fake->lost_events = 0;
    memset(fake->state, 0, sizeof(fake->state));
    return hf_id_make(fake->random, &fake->id);
}

static void fake_free(struct hf_source *source)
{
    (void)source; /* the test owns it */
}

const struct hf_source_ops hf_fake_source_ops = {
    .size = sizeof(struct hf_source_ops),
    .version = 1,
    .free = fake_free,
    .get_id = fake_get_id,
    .peek = fake_peek,
    .release = fake_release,
    .wait = fake_wait,
    .consumer = fake_consumer,
    .producer = fake_producer,
    .mark = fake_mark,
    .force_dirty = fake_force_dirty,
    .data_begin = fake_data_begin,
    .pass_begin = fake_pass_begin,
    .inflight_before = fake_inflight_before,
    .inflight_expire = fake_inflight_expire,
    .generation_swap = fake_generation_swap,
    .map_bit_bytes = fake_map_bit_bytes,
    .map_read = fake_map_read,
    .map_next = fake_map_next,
    .map_clear = fake_map_clear,
    .map_set = fake_map_set,
    .disk_add = fake_disk_add,
    .disk_remove = fake_disk_remove,
    .disk_resized = fake_disk_resized,
    .disk_confirm = fake_disk_confirm,
    .disk_get = fake_disk_get,
    .disk_find = fake_disk_find,
    .heartbeat = fake_heartbeat,
    .stats = fake_stats,
    .state = fake_state,
    .restart = fake_restart,
};
