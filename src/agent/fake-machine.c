// SPDX-License-Identifier: Apache-2.0
#include "agent/fake-source-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

static struct hf_fake_source *fake_of_reader(struct hf_disk_reader *reader)
{
    return (struct hf_fake_source *)((char *)reader - offsetof(struct hf_fake_source, reader));
}

/* ---- the reader ---- */

static int reader_open(struct hf_disk_reader *reader, unsigned slot, const char *path)
{
    (void)reader, (void)slot, (void)path;
    return 0;
}

static void reader_close(struct hf_disk_reader *reader, unsigned slot)
{
    (void)reader, (void)slot;
}

static void reader_free(struct hf_disk_reader *reader)
{
    (void)reader;
}

static int reader_read(struct hf_disk_reader *reader, unsigned slot, void *data, size_t size,
                       uint64_t offset)
{
    struct hf_fake_source *fake = fake_of_reader(reader);
    struct fake_disk *disk = &fake->disks[fake->slots[slot].number];

    if (offset + size > disk->size)
        return -EIO;
    if (disk->bad_count && offset < disk->bad_offset + disk->bad_length &&
        disk->bad_offset < offset + size) {
        disk->bad_count--;
        return -EIO;
    }
    memcpy(data, disk->data + offset, size);
    return 0;
}

static const struct hf_disk_reader_ops reader_ops = {
    .size = sizeof(struct hf_disk_reader_ops),
    .version = 1,
    .free = reader_free,
    .open = reader_open,
    .close = reader_close,
    .read = reader_read,
};

/* ---- what the tests do ---- */

int hf_fake_source_new(uint64_t ring_bytes, struct hf_clock *clock, struct hf_random *random,
                       struct hf_fake_source **ret_fake)
{
    struct hf_fake_source *fake = calloc(1, sizeof(*fake));

    if (!fake)
        return -ENOMEM;
    fake->source.ops = &hf_fake_source_ops;
    fake->reader.ops = &reader_ops;
    fake->clock = clock;
    fake->random = random;
    fake->ring_bytes = ring_bytes;
    *ret_fake = fake;
    return fake->source.ops->restart(&fake->source);
}

void hf_fake_source_free(struct hf_fake_source *fake)
{
    if (!fake)
        return;
    fake->source.ops->release(&fake->source, fake->producer);
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        free(fake->snapshots[i].data);
    for (size_t i = 0; i < HF_DISKS_MAX; i++)
        hf_fake_slot_forget(&fake->slots[i]);
    for (unsigned i = 0; i < HF_FAKE_DISKS; i++)
        free(fake->disks[i].data);
    free(fake);
}

struct hf_source *hf_fake_source_source(struct hf_fake_source *fake)
{
    return &fake->source;
}

struct hf_disk_reader *hf_fake_source_reader(struct hf_fake_source *fake)
{
    return &fake->reader;
}

void hf_fake_disk_make(struct hf_fake_source *fake, unsigned number, uint64_t size,
                       struct hf_disk_identity *ret_identity)
{
    struct fake_disk *disk = &fake->disks[number];

    HF_ASSERT(number < HF_FAKE_DISKS && !disk->data);
    disk->data = calloc(1, size);
    HF_ASSERT(disk->data);
    disk->size = size;
    disk->identity = (struct hf_disk_identity){
        .diskseq = number + 1,
        .size_bytes = size,
        .logical_block_bytes = HF_SECTOR,
    };
    snprintf(disk->identity.name, sizeof(disk->identity.name), "d%u", number);
    *ret_identity = disk->identity;
}

uint8_t *hf_fake_disk_data(struct hf_fake_source *fake, unsigned number, uint64_t *ret_size)
{
    *ret_size = fake->disks[number].size;
    return fake->disks[number].data;
}

int hf_fake_disk_slot(struct hf_fake_source *fake, unsigned number)
{
    return fake->disks[number].data ? fake->disks[number].slot : -1;
}

void hf_fake_disk_grow(struct hf_fake_source *fake, unsigned number, uint64_t size)
{
    struct fake_disk *disk = &fake->disks[number];

    HF_ASSERT(size >= disk->size);
    disk->data = realloc(disk->data, size);
    HF_ASSERT(disk->data);
    memset(disk->data + disk->size, 0, size - disk->size);
    disk->size = size;
    disk->identity.size_bytes = size;
}

void hf_fake_disk_break(struct hf_fake_source *fake, unsigned number, uint64_t offset,
                        uint64_t length, unsigned count)
{
    fake->disks[number].bad_offset = offset;
    fake->disks[number].bad_length = length;
    fake->disks[number].bad_count = count;
}

/* Captures one piece of a write, or puts it into the lost map before it reaches the disk (H4). */
static void capture(struct hf_fake_source *fake, unsigned slot, uint8_t type, uint64_t offset,
                    uint64_t length, const void *content)
{
    struct hf_capture_record record = {
        .type = type,
        .slot = (hf_u16)slot,
        .offset_bytes = offset,
        .length_bytes = length,
        .content_bytes = content ? (hf_u32)length : 0,
    };

    hf_bitmap_set_range(&fake->slots[slot].maps[HF_MAP_UNCONFIRMED][HF_GENERATION_CURRENT], offset,
                        length);
    if (fake->mode == HF_CAPTURE_DATA && hf_fake_put(fake, record, content, NULL, NULL) == -ENOSPC)
        hf_fake_go_dirty(fake, HF_CAUSE_RING_FULL);
    if (fake->mode == HF_CAPTURE_DIRTY)
        hf_fake_lose(fake, slot, offset, length);
}

static void capture_all(struct hf_fake_source *fake, struct fake_disk *disk, uint8_t type,
                        uint64_t offset, uint64_t length, const uint8_t *content)
{
    unsigned slot = (unsigned)disk->slot;

    if (disk->announced != disk->size) {
        disk->announced = disk->size;
        if (hf_fake_put_disk(fake, slot, HF_CAPTURE_DISK_RESIZE, disk->size))
            hf_fake_go_dirty(fake, HF_CAUSE_RING_FULL);
    }
    if (!content) {
        capture(fake, slot, type, offset, length, NULL);
        return;
    }
    for (uint64_t done = 0; done < length; done += HF_CAPTURE_CONTENT_MAX) {
        uint64_t piece = HF_MIN((uint64_t)HF_CAPTURE_CONTENT_MAX, length - done);

        capture(fake, slot, type, offset + done, piece, content + done);
    }
}

unsigned hf_fake_issue(struct hf_fake_source *fake, unsigned number, uint64_t offset,
                       const void *content, uint64_t length)
{
    struct fake_disk *disk = &fake->disks[number];
    unsigned handle = 0;

    HF_ASSERT(offset + length <= disk->size);
    while (fake->inflight[handle].used)
        handle++;
    HF_ASSERT(handle < INFLIGHT_MAX);
    fake->inflight[handle] = (struct fake_inflight){
        .used = true,
        .number = number,
        .slot = (unsigned)disk->slot,
        .offset = offset,
        .length = length,
        .epoch = fake->epoch,
        .content = content,
    };
    if (disk->slot >= 0)
        capture_all(fake, disk, content ? HF_CAPTURE_WRITE : HF_CAPTURE_ZERO, offset, length,
                    content);
    return handle;
}

void hf_fake_complete(struct hf_fake_source *fake, unsigned handle, bool failed)
{
    struct fake_inflight *entry = &fake->inflight[handle];
    uint8_t *data = fake->disks[entry->number].data + entry->offset;

    HF_ASSERT(entry->used);
    entry->used = false;
    if (failed)
        hf_fake_lose(fake, entry->slot, entry->offset, entry->length);
    else if (entry->content)
        memcpy(data, entry->content, entry->length);
    else
        memset(data, 0, entry->length);
}

void hf_fake_write(struct hf_fake_source *fake, unsigned number, uint64_t offset,
                   const void *content, uint64_t length)
{
    hf_fake_complete(fake, hf_fake_issue(fake, number, offset, content, length), false);
}

void hf_fake_discard(struct hf_fake_source *fake, unsigned number, uint64_t offset, uint64_t length)
{
    struct fake_disk *disk = &fake->disks[number];

    if (disk->slot >= 0)
        capture_all(fake, disk, HF_CAPTURE_DISCARD, offset, length, NULL);
    memset(disk->data + offset, 0, length);
}

const uint8_t *hf_fake_snapshot(struct hf_fake_source *fake, const struct hf_id *point,
                                size_t *ret_size)
{
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++) {
        if (!fake->snapshots[i].data || !hf_id_equal(&fake->snapshots[i].point, point))
            continue;
        *ret_size = fake->snapshots[i].size;
        return fake->snapshots[i].data;
    }
    return NULL;
}

uint64_t hf_fake_ring_used(struct hf_fake_source *fake)
{
    return fake->producer - fake->consumer;
}

uint64_t hf_fake_map_count(struct hf_fake_source *fake, unsigned number,
                           enum hf_capture_map_kind kind, enum hf_capture_generation generation)
{
    return hf_bitmap_count(&fake->slots[fake->disks[number].slot].maps[kind][generation]);
}

void hf_fake_lose_at_pass_begin(struct hf_fake_source *fake, unsigned number, uint64_t offset,
                                uint64_t length, uint8_t value)
{
    HF_ASSERT(fake->disks[number].slot >= 0);
    memset(fake->disks[number].data + offset, value, length);
    fake->lose_at_begin_slot = (unsigned)fake->disks[number].slot;
    fake->lose_at_begin_offset = offset;
    fake->lose_at_begin_length = length;
}
