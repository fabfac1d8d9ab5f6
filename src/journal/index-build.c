// SPDX-License-Identifier: Apache-2.0
/* Gathers what a segment holds and lays it out as an index image. */
#include "journal/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

void hf_index_builder_init(struct hf_index_builder *builder, const struct hf_segment_head *head)
{
    *builder = (struct hf_index_builder){
        .head = *head,
        .segment_end = HF_SEGMENT_DATA_OFFSET,
        .last_hash = head->hash,
        .seq_end = head->seq_begin,
        .digest_end = head->digest_begin,
        .pass_batch_end = head->pass_batch,
    };
}

void hf_index_builder_done(struct hf_index_builder *builder)
{
    if (!builder)
        return;
    hf_bytes_clear(&builder->extents);
    hf_bytes_clear(&builder->wide);
    hf_bytes_clear(&builder->moments);
    hf_bytes_clear(&builder->events);
    hf_bytes_clear(&builder->bodies);
    hf_bytes_clear(&builder->damage);
}

uint64_t hf_index_builder_extents_with(const struct hf_index_builder *builder,
                                       const struct hf_batch *batch)
{
    return (uint64_t)builder->ordinal + batch->frame_count + batch->record_count;
}

/* ---- Adding ---- */

/* The machine's clocks while a batch was made. */
struct batch_clock {
    uint64_t boot_first_ns;
    uint64_t boot_last_ns;
    int64_t wall_last_ns;
};

static struct batch_clock clock_of(const struct hf_batch_header *header)
{
    return (struct batch_clock){
        .boot_first_ns = hf_le64_get(header->boot_ns_first),
        .boot_last_ns = hf_le64_get(header->boot_ns_last),
        .wall_last_ns = (int64_t)hf_le64_get(header->wall_ns),
    };
}

/* Unsigned on purpose: clocks come from the source and may hold anything. */
static int64_t wall_at(const struct batch_clock *clock, uint64_t boot_ns)
{
    return (int64_t)((uint64_t)clock->wall_last_ns - (clock->boot_last_ns - boot_ns));
}

static uint64_t record_position(const struct hf_index_builder *builder,
                                const struct hf_batch_record *record)
{
    uint64_t seq = builder->head.seq_begin;

    if (builder->head.lane == HF_LANE_CAPTURED)
        seq = hf_le64_get(record->seq) + hf_le32_get(record->seq_size);
    return builder->head.base + seq;
}

static int add_write(struct hf_index_builder *builder, const struct hf_entry *entry,
                     const struct hf_batch_record *record)
{
    const struct hf_batch_frame *frame = entry->batch.frames + hf_le32_get(record->frame_first);
    uint64_t length = hf_le64_get(record->length);
    uint64_t position = record_position(builder, record);

    for (uint64_t at = 0; at < length; at += HF_FRAME_CONTENT_MAX, frame++) {
        uint64_t file_offset = hf_entry_payload_offset(entry, hf_le32_get(frame->payload_offset));
        struct hf_index_extent extent = {
            .offset = hf_le64_of(hf_le64_get(record->offset) + at),
            .position = hf_le64_of(position),
            .checksum = frame->checksum,
            .file_offset = hf_le32_of((uint32_t)file_offset),
            .ordinal = hf_le32_of(builder->ordinal++),
            .length = hf_le32_of((uint32_t)HF_MIN(length - at, (uint64_t)HF_FRAME_CONTENT_MAX)),
            .stored_size = frame->stored_size,
            .disk = record->disk,
            .encoding = frame->encoding,
            .type = HF_RECORD_WRITE,
        };
        int r = hf_bytes_append(&builder->extents, &extent, sizeof(extent));

        if (r < 0)
            return r;
    }
    return 0;
}

static int add_wide(struct hf_index_builder *builder, const struct hf_batch_record *record)
{
    struct hf_index_wide wide = {
        .offset = record->offset,
        .length = record->length,
        .position = hf_le64_of(record_position(builder, record)),
        .ordinal = hf_le32_of(builder->ordinal++),
        .disk = record->disk,
        .type = record->type,
    };

    return hf_bytes_append(&builder->wide, &wide, sizeof(wide));
}

static int add_event(struct hf_index_builder *builder, const struct hf_entry *entry, uint32_t i,
                     const struct batch_clock *clock)
{
    const struct hf_batch_record *record = &entry->batch.records[i];
    uint64_t boot_ns = clock->boot_first_ns + (uint64_t)hf_le32_get(record->boot_delta_us) * 1000u;
    struct hf_index_event event = {
        .position = hf_le64_of(record_position(builder, record)),
        .wall_ns = hf_le64_of((uint64_t)wall_at(clock, boot_ns)),
        .receipt_ns = hf_le64_of((uint64_t)entry->receipt_ns),
        .boot_ns = hf_le64_of(boot_ns),
        .body_offset = hf_le32_of((uint32_t)builder->bodies.size),
        .type = record->type,
    };
    size_t length = 0;
    int r = hf_bytes_reserve(&builder->bodies, HF_RECORD_CONTENT_MAX);

    if (r < 0)
        return r;
    r = hf_batch_record_content(&entry->batch, i, builder->bodies.data + builder->bodies.size,
                                &length);
    if (r < 0)
        return r;
    builder->bodies.size += length;
    event.body_length = hf_le32_of((uint32_t)length);
    return hf_bytes_append(&builder->events, &event, sizeof(event));
}

static int add_record(struct hf_index_builder *builder, const struct hf_entry *entry, uint32_t i,
                      const struct batch_clock *clock)
{
    const struct hf_batch_record *record = &entry->batch.records[i];

    switch (record->type) {
    case HF_RECORD_WRITE:
        return add_write(builder, entry, record);
    case HF_RECORD_ZERO:
    case HF_RECORD_DISCARD:
        return add_wide(builder, record);
    default:
        return add_event(builder, entry, i, clock);
    }
}

static int add_moment(struct hf_index_builder *builder, const struct hf_entry *entry,
                      const struct batch_clock *clock)
{
    struct hf_index_moment moment = {
        .position_begin = hf_le64_of(hf_entry_position_begin(&builder->head, entry)),
        .position_end = hf_le64_of(hf_entry_position_end(&builder->head, entry)),
        .wall_first_ns = hf_le64_of((uint64_t)wall_at(clock, clock->boot_first_ns)),
        .wall_last_ns = hf_le64_of((uint64_t)clock->wall_last_ns),
        .receipt_ns = hf_le64_of((uint64_t)entry->receipt_ns),
        .file_offset = hf_le64_of(entry->offset),
    };

    if (builder->head.lane != HF_LANE_CAPTURED)
        return 0;
    return hf_bytes_append(&builder->moments, &moment, sizeof(moment));
}

static void note_entry(struct hf_index_builder *builder, const struct hf_entry *entry,
                       const struct batch_clock *clock)
{
    const struct hf_batch_header *header = entry->batch.header;

    if (builder->entry_count++ == 0) {
        builder->wall_first_ns = wall_at(clock, clock->boot_first_ns);
        builder->receipt_first_ns = entry->receipt_ns;
    }
    builder->wall_last_ns = clock->wall_last_ns;
    builder->receipt_last_ns = entry->receipt_ns;
    builder->segment_end = entry->end;
    builder->last_hash = entry->hash;
    builder->seq_end = hf_le64_get(header->seq_end);
    builder->digest_end.value = header->digest_after;
    if (header->lane == HF_LANE_PASS)
        builder->pass_batch_end = hf_le64_get(header->pass_batch) + 1;
}

int hf_index_builder_add(struct hf_index_builder *builder, const struct hf_entry *entry)
{
    struct batch_clock clock = clock_of(entry->batch.header);
    int r = add_moment(builder, entry, &clock);

    for (uint32_t i = 0; r == 0 && i < entry->batch.record_count; i++)
        r = add_record(builder, entry, i, &clock);
    if (r == 0)
        note_entry(builder, entry, &clock);
    return r;
}

int hf_index_builder_damage(struct hf_index_builder *builder,
                            const struct hf_journal_damage *damage)
{
    struct hf_index_damage item = {
        .file_offset = hf_le64_of(damage->file_offset),
        .position_begin = hf_le64_of(damage->position_begin),
        .position_end = hf_le64_of(damage->position_end),
        .error = hf_le32_of((uint32_t)(-damage->error)),
    };

    if (builder->damage.size >= HF_SEGMENT_DAMAGE_MAX * sizeof(item))
        return 0;
    return hf_bytes_append(&builder->damage, &item, sizeof(item));
}

/* ---- Sorting ---- */

static int compare_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_extents(const void *left, const void *right)
{
    const struct hf_index_extent *a = left;
    const struct hf_index_extent *b = right;
    int r = compare_u64(hf_le16_get(a->disk), hf_le16_get(b->disk));

    if (r == 0)
        r = compare_u64(hf_le64_get(a->offset), hf_le64_get(b->offset));
    if (r == 0)
        r = compare_u64(hf_le64_get(a->position), hf_le64_get(b->position));
    return r ? r : compare_u64(hf_le32_get(a->ordinal), hf_le32_get(b->ordinal));
}

static int compare_wide(const void *left, const void *right)
{
    const struct hf_index_wide *a = left;
    const struct hf_index_wide *b = right;
    int r = compare_u64(hf_le16_get(a->disk), hf_le16_get(b->disk));

    if (r == 0)
        r = compare_u64(hf_le64_get(a->offset), hf_le64_get(b->offset));
    if (r == 0)
        r = compare_u64(hf_le64_get(a->position), hf_le64_get(b->position));
    return r ? r : compare_u64(hf_le32_get(a->ordinal), hf_le32_get(b->ordinal));
}

static void sort_items(struct hf_bytes *items, size_t item_size,
                       int (*compare)(const void *left, const void *right))
{
    if (items->size > item_size)
        qsort(items->data, items->size / item_size, item_size, compare);
}

static void fill_end_max(struct hf_bytes *items)
{
    struct hf_index_wide *wide = (struct hf_index_wide *)items->data;
    size_t count = items->size / sizeof(*wide);
    uint64_t end_max = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t end = hf_le64_get(wide[i].offset) + hf_le64_get(wide[i].length);

        if (i > 0 && hf_le16_get(wide[i].disk) != hf_le16_get(wide[i - 1].disk))
            end_max = 0;
        end_max = HF_MAX(end_max, end);
        wide[i].end_max = hf_le64_of(end_max);
    }
}

/* ---- The filter ---- */

struct granules {
    uint8_t *blocks; /* NULL: only count */
    uint32_t block_count;
    uint64_t count;
    uint16_t disk_last; /* sorted input: equal neighbours are counted once */
    uint64_t granule_last;
};

static void granules_add(struct granules *granules, uint16_t disk, uint64_t offset, uint64_t length)
{
    uint64_t last = (offset + length - 1) >> HF_FILTER_GRANULE_SHIFT;

    for (uint64_t granule = offset >> HF_FILTER_GRANULE_SHIFT; granule <= last; granule++) {
        if (granules->count > 0 && granules->disk_last == disk && granules->granule_last == granule)
            continue;
        granules->disk_last = disk;
        granules->granule_last = granule;
        granules->count++;
        if (granules->blocks)
            hf_filter_set(granules->blocks, granules->block_count, disk, granule);
    }
}

static void granules_walk(const struct hf_index_builder *builder, struct granules *granules)
{
    const struct hf_index_extent *extents = (const struct hf_index_extent *)builder->extents.data;
    const struct hf_index_wide *wide = (const struct hf_index_wide *)builder->wide.data;

    for (size_t i = 0; i < builder->extents.size / sizeof(*extents); i++)
        granules_add(granules, hf_le16_get(extents[i].disk), hf_le64_get(extents[i].offset),
                     hf_le32_get(extents[i].length));
    for (size_t i = 0; i < builder->wide.size / sizeof(*wide); i++) {
        uint64_t length = hf_le64_get(wide[i].length);

        if (length > 0 && length >> HF_FILTER_GRANULE_SHIFT < HF_FILTER_WIDE_GRANULES_MAX)
            granules_add(granules, hf_le16_get(wide[i].disk), hf_le64_get(wide[i].offset), length);
    }
}

static int build_filter(const struct hf_index_builder *builder, struct hf_bytes *ret_blocks)
{
    struct granules granules = {0};
    uint64_t block_count;
    int r;

    granules_walk(builder, &granules);
    if (granules.count == 0)
        return 0;
    block_count = granules.count * HF_FILTER_BITS_PER_KEY / (HF_FILTER_BLOCK_BYTES * 8) + 1;
    r = hf_bytes_append(ret_blocks, NULL, block_count * HF_FILTER_BLOCK_BYTES);
    if (r < 0)
        return r;
    granules = (struct granules){.blocks = ret_blocks->data, .block_count = (uint32_t)block_count};
    granules_walk(builder, &granules);
    return 0;
}

static int build_fences(const struct hf_bytes *extents, struct hf_bytes *ret_fences)
{
    const struct hf_index_extent *extent = (const struct hf_index_extent *)extents->data;
    size_t count = extents->size / sizeof(*extent);
    size_t per_page = sizeof(((struct hf_index_page *)0)->items) / sizeof(*extent);
    int r = 0;

    for (size_t i = 0; r == 0 && i < count; i += per_page) {
        struct hf_index_fence fence = {.offset = extent[i].offset, .disk = extent[i].disk};

        r = hf_bytes_append(ret_fences, &fence, sizeof(fence));
    }
    return r;
}

/* ---- The image ---- */

static int append_page(struct hf_bytes *image, uint64_t tag, enum hf_index_section_kind section,
                       const uint8_t *items, size_t size, size_t count)
{
    struct hf_index_page page = {
        .number = hf_le32_of((uint32_t)(image->size / HF_PAGE_BYTES)),
        .count = hf_le16_of((uint16_t)count),
        .section = (uint8_t)section,
    };

    memcpy(page.items, items, size);
    page.hash = hf_le64_of(
        hf_hash64_seeded((const uint8_t *)&page + 8, sizeof(page) - sizeof(page.hash), tag));
    return hf_bytes_append(image, &page, sizeof(page));
}

static int append_section(struct hf_bytes *image, uint64_t tag, enum hf_index_section_kind kind,
                          const struct hf_bytes *items, size_t item_size,
                          struct hf_index_section *ret_section)
{
    size_t per_page = sizeof(((struct hf_index_page *)0)->items) / item_size;
    size_t count = items->size / item_size;
    int r = 0;

    *ret_section = (struct hf_index_section){
        .page_first = hf_le32_of((uint32_t)(image->size / HF_PAGE_BYTES)),
        .count = hf_le32_of((uint32_t)count),
        .item_size = hf_le32_of((uint32_t)item_size),
    };
    for (size_t i = 0; r == 0 && i < count; i += per_page) {
        size_t n = HF_MIN(per_page, count - i);

        r = append_page(image, tag, kind, items->data + i * item_size, n * item_size, n);
    }
    return r;
}

static void image_header(const struct hf_index_builder *builder, struct hf_index_header *header,
                         uint8_t *page, size_t image_size)
{
    const struct hf_segment_head *head = &builder->head;

    header->magic = hf_le64_of(HF_INDEX_MAGIC);
    header->version = hf_le32_of(HF_INDEX_VERSION);
    header->header_size = hf_le32_of(sizeof(*header));
    header->id = head->id;
    header->number = hf_le64_of(head->number);
    header->epoch = hf_le64_of(head->stream.epoch);
    header->capture = head->stream.capture;
    header->base = hf_le64_of(head->base);
    header->seq_begin = hf_le64_of(head->seq_begin);
    header->seq_end = hf_le64_of(builder->seq_end);
    header->digest_begin = head->digest_begin.value;
    header->digest_end = builder->digest_end.value;
    header->pass = hf_le64_of(head->pass);
    header->pass_batch_begin = hf_le64_of(head->pass_batch);
    header->pass_batch_end = hf_le64_of(builder->pass_batch_end);
    header->segment_end = hf_le64_of(builder->segment_end);
    header->last_hash = hf_le64_of(builder->last_hash);
    header->wall_first_ns = hf_le64_of((uint64_t)builder->wall_first_ns);
    header->wall_last_ns = hf_le64_of((uint64_t)builder->wall_last_ns);
    header->receipt_first_ns = hf_le64_of((uint64_t)builder->receipt_first_ns);
    header->receipt_last_ns = hf_le64_of((uint64_t)builder->receipt_last_ns);
    header->page_count = hf_le32_of((uint32_t)(image_size / HF_PAGE_BYTES));
    header->entry_count = hf_le32_of(builder->entry_count);
    header->lane = head->lane;
    header->header_hash =
        hf_le64_of(hf_hash64(header, offsetof(struct hf_index_header, header_hash)));
    memcpy(page, header, sizeof(*header));
}

int hf_index_build(struct hf_index_builder *builder, struct hf_bytes *ret_image)
{
    struct hf_index_header header = {0};
    struct hf_bytes fences = {0};
    struct hf_bytes filter = {0};
    int r;

    sort_items(&builder->extents, sizeof(struct hf_index_extent), compare_extents);
    sort_items(&builder->wide, sizeof(struct hf_index_wide), compare_wide);
    fill_end_max(&builder->wide);
    r = build_fences(&builder->extents, &fences);
    if (r == 0)
        r = build_filter(builder, &filter);
    if (r == 0)
        r = hf_bytes_append(ret_image, NULL, HF_PAGE_BYTES);

    const struct {
        const struct hf_bytes *items;
        size_t item_size;
    } sections[HF_INDEX_SECTIONS] = {
        [HF_INDEX_EXTENTS] = {&builder->extents, sizeof(struct hf_index_extent)},
        [HF_INDEX_FENCES] = {&fences, sizeof(struct hf_index_fence)},
        [HF_INDEX_WIDE] = {&builder->wide, sizeof(struct hf_index_wide)},
        [HF_INDEX_FILTER] = {&filter, HF_FILTER_BLOCK_BYTES},
        [HF_INDEX_MOMENTS] = {&builder->moments, sizeof(struct hf_index_moment)},
        [HF_INDEX_EVENTS] = {&builder->events, sizeof(struct hf_index_event)},
        [HF_INDEX_BODIES] = {&builder->bodies, 1},
        [HF_INDEX_DAMAGE] = {&builder->damage, sizeof(struct hf_index_damage)},
    };
    for (int kind = 0; r == 0 && kind < HF_INDEX_SECTIONS; kind++)
        r = append_section(ret_image, hf_segment_tag(&builder->head.id),
                           (enum hf_index_section_kind)kind, sections[kind].items,
                           sections[kind].item_size, &header.sections[kind]);
    if (r == 0)
        image_header(builder, &header, ret_image->data, ret_image->size);
    hf_bytes_clear(&fences);
    hf_bytes_clear(&filter);
    return r;
}
