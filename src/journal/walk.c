// SPDX-License-Identifier: Apache-2.0
/*
 * The walk over a segment's entries. Crash argument: an acknowledged entry was covered by a sync
 * that returned 0, so after a power cut it is whole; whatever is not whole and was never claimed
 * durable was never acknowledged, and neither was anything behind it (acknowledgements are in
 * order), so cutting there loses nothing that was promised. An entry that is not whole although
 * something behind it claims that it was durable cannot come from a power cut: it is damage, and
 * cutting it would turn the loss of one batch into the silent loss of all later ones.
 */
#include "journal/segment.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "journal/scan.h"

enum entry_state { ENTRY_WHOLE, ENTRY_SEAL, ENTRY_BAD };

void hf_walk_init(struct hf_walk *walk, struct hf_file *file, const struct hf_segment_head *head)
{
    *walk = (struct hf_walk){
        .file = file,
        .head = head,
        .limit = UINT64_MAX,
        .seq_limit = UINT64_MAX,
        .pass_batch_limit = UINT64_MAX,
        .offset = HF_SEGMENT_DATA_OFFSET,
        .chain = head->hash,
        .seq_end = head->seq_begin,
        .digest_end = head->digest_begin,
        .pass_batch_end = head->pass_batch,
    };
}

/* A header that is intact and says it belongs exactly here. */
static bool header_fits(const struct hf_entry_header *header, uint64_t offset, uint64_t tag,
                        bool any_tag)
{
    static const uint8_t zeros[8];

    if (hf_le32_get(header->magic) != HF_ENTRY_MAGIC || hf_le64_get(header->offset) != offset)
        return false;
    if (!any_tag && hf_le64_get(header->segment_tag) != tag)
        return false;
    if (hf_le32_get(header->size) > HF_BATCH_SIZE_MAX || hf_le64_get(header->durable) > offset)
        return false;
    if (header->kind != HF_ENTRY_BATCH && header->kind != HF_ENTRY_SEAL)
        return false;
    if (memcmp(header->reserved, zeros, sizeof(header->reserved)) != 0 ||
        hf_le64_get(header->reserved2) != 0)
        return false;
    return hf_le64_get(header->header_hash) ==
           hf_hash64(header, offsetof(struct hf_entry_header, header_hash));
}

/* The batch continues the lane; after damage it only has to lie ahead. */
static bool lane_continues(const struct hf_walk *walk, const struct hf_batch_header *batch,
                           bool chained)
{
    const struct hf_segment_head *head = walk->head;
    uint64_t seq_begin = hf_le64_get(batch->seq_begin);
    struct hf_digest digest = {.value = batch->digest_before};

    if (batch->lane != head->lane || hf_le64_get(batch->epoch) != head->stream.epoch ||
        !hf_id_equal(&batch->capture, &head->stream.capture))
        return false;
    if (chained && hf_hash128_compare(&digest.value, &walk->digest_end.value) != 0)
        return false;
    if (head->lane == HF_LANE_CAPTURED)
        return chained ? seq_begin == walk->seq_end : seq_begin >= walk->seq_end;
    if (seq_begin != head->seq_begin || hf_le64_get(batch->pass) != head->pass)
        return false;
    return chained ? hf_le64_get(batch->pass_batch) == walk->pass_batch_end
                   : hf_le64_get(batch->pass_batch) >= walk->pass_batch_end;
}

static bool padding_is_zero(const uint8_t *data, size_t from, size_t to)
{
    while (from < to)
        if (data[from++] != 0)
            return false;
    return true;
}

/* header is a copy: reading the body may move the window. */
static int body_check(const struct hf_walk *walk, struct hf_scan *scan,
                      const struct hf_entry_header *header, bool chained,
                      struct hf_entry *ret_entry, enum entry_state *ret_state)
{
    uint32_t size = hf_le32_get(header->size);
    size_t whole = (size_t)hf_entry_bytes(size);
    const uint8_t *data;
    size_t available;
    int r = hf_scan_bytes(scan, walk->offset, whole, &data, &available);

    *ret_state = ENTRY_BAD;
    if (r < 0)
        return r;
    if (available < whole || !padding_is_zero(data, sizeof(*header) + size, whole) ||
        hf_hash64(data + sizeof(*header), size) != hf_le64_get(header->body_hash))
        return 0;
    *ret_entry = (struct hf_entry){
        .offset = walk->offset,
        .end = walk->offset + whole,
        .number = hf_le32_get(header->number),
        .durable = hf_le64_get(header->durable),
        .receipt_ns = (int64_t)hf_le64_get(header->receipt_ns),
        .hash = hf_le64_get(header->header_hash),
    };
    if (hf_batch_parse(data + sizeof(*header), size, &ret_entry->batch) == 0 &&
        lane_continues(walk, ret_entry->batch.header, chained))
        *ret_state = ENTRY_WHOLE;
    return 0;
}

static int entry_at(const struct hf_walk *walk, struct hf_scan *scan, bool chained,
                    struct hf_entry *ret_entry, enum entry_state *ret_state)
{
    struct hf_entry_header header;
    const uint8_t *data;
    size_t available;
    int r = hf_scan_bytes(scan, walk->offset, sizeof(header), &data, &available);

    *ret_state = ENTRY_BAD;
    if (r < 0 || available < sizeof(header))
        return r;
    memcpy(&header, data, sizeof(header));
    if (!header_fits(&header, walk->offset, hf_segment_tag(&walk->head->id), false))
        return 0;
    if (chained &&
        (hf_le64_get(header.previous) != walk->chain || hf_le32_get(header.number) != walk->number))
        return 0;
    if (header.kind == HF_ENTRY_SEAL) {
        *ret_state = hf_le32_get(header.size) == 0 ? ENTRY_SEAL : ENTRY_BAD;
        ret_entry->durable = hf_le64_get(header.durable);
        return 0;
    }
    return body_check(walk, scan, &header, chained, ret_entry, ret_state);
}

/* ---- Searching behind a place that is not whole ---- */

static void search_note(struct hf_search *search, const struct hf_entry_header *header,
                        uint64_t offset)
{
    search->claimed = HF_MAX(search->claimed, hf_le64_get(header->durable));
    if (search->next == UINT64_MAX && offset > search->after)
        search->next = offset;
}

/* Looks at the header-sized window at each aligned place of one stretch; bytes at its end that
 * are too few for a header only count as "not zero". */
static void search_stretch(struct hf_search *search, const uint8_t *data, size_t size,
                           uint64_t offset)
{
    for (size_t at = 0; at + HF_ENTRY_ALIGN <= size; at += HF_ENTRY_ALIGN) {
        struct hf_entry_header header;
        uint64_t word;

        memcpy(&word, data + at, sizeof(word));
        if (word == 0)
            continue;
        search->last = offset + at + HF_ENTRY_ALIGN;
        if ((uint32_t)le64toh(word) != HF_ENTRY_MAGIC)
            continue;
        if (at + sizeof(header) > size)
            continue;
        memcpy(&header, data + at, sizeof(header));
        if (header_fits(&header, offset + at, search->tag, search->any_tag))
            search_note(search, &header, offset + at);
    }
}

int hf_segment_search(struct hf_file *file, uint64_t from, struct hf_search *search)
{
    uint64_t offset = HF_ALIGN_UP(from, HF_ENTRY_ALIGN);
    struct hf_scan scan;
    int r = hf_scan_open(&scan, file);

    search->claimed = 0;
    search->next = UINT64_MAX;
    search->last = from;
    while (r == 0 && offset < scan.file_size) {
        const uint8_t *data;
        size_t available;

        r = hf_scan_bytes(&scan, offset, HF_SCAN_STEP_BYTES, &data, &available);
        if (r < 0 || available == 0)
            break;
        search_stretch(search, data, available, offset);
        if (search->stop_at_next && search->next != UINT64_MAX)
            break;
        /* Stretches overlap by one header, so that none is missed between two. */
        offset +=
            available < HF_SCAN_STEP_BYTES ? available : available - sizeof(struct hf_entry_header);
    }
    hf_scan_close(&scan);
    return r;
}

/* ---- The walk ---- */

struct walk_run {
    struct hf_walk *walk;
    struct hf_scan scan;
    bool chained;  /* the entry before is known: its hash and lane end must fit */
    bool searched; /* claims of the rest of the file are known */
    uint64_t claimed;
    struct hf_journal_damage damage; /* begun and not yet ended: file_offset != 0 */
};

static uint64_t walk_position(const struct hf_walk *walk)
{
    return walk->head->base + walk->seq_end;
}

static int damage_end(struct walk_run *run, uint64_t position_end)
{
    struct hf_journal_damage damage = run->damage;

    if (damage.file_offset == 0)
        return 0;
    run->damage = (struct hf_journal_damage){0};
    damage.position_end = HF_MAX(position_end, damage.position_begin);
    return run->walk->damage ? run->walk->damage(run->walk->context, &damage) : 0;
}

static bool beyond_limits(const struct hf_walk *walk, const struct hf_entry *entry)
{
    if (entry->end > walk->limit)
        return true;
    if (walk->head->lane == HF_LANE_CAPTURED)
        return hf_le64_get(entry->batch.header->seq_end) > walk->seq_limit;
    return hf_le64_get(entry->batch.header->pass_batch) >= walk->pass_batch_limit;
}

static int entry_take(struct walk_run *run, const struct hf_entry *entry)
{
    struct hf_walk *walk = run->walk;
    const struct hf_batch_header *header = entry->batch.header;
    int r = damage_end(run, hf_entry_position_begin(walk->head, entry));

    if (r == 0 && walk->each)
        r = walk->each(walk->context, entry);
    if (r != 0)
        return r;
    walk->offset = entry->end;
    walk->number = entry->number + 1;
    walk->chain = entry->hash;
    walk->seq_end = hf_le64_get(header->seq_end);
    walk->digest_end.value = header->digest_after;
    walk->claimed = HF_MAX(walk->claimed, entry->durable);
    walk->unchained = false;
    walk->entries++;
    if (walk->head->lane == HF_LANE_PASS)
        walk->pass_batch_end = hf_le64_get(header->pass_batch) + 1;
    run->chained = true;
    return 0;
}

/* Not whole at walk->offset: *ret_more when the walk goes on at a later entry. */
static int entry_missing(struct walk_run *run, bool *ret_more)
{
    struct hf_walk *walk = run->walk;
    uint64_t offset = walk->offset;
    struct hf_search search = {.tag = hf_segment_tag(&walk->head->id), .after = offset};
    int r;

    *ret_more = false;
    if (walk->live && offset >= walk->known_durable)
        return 0;
    search.stop_at_next = run->searched && run->claimed > offset;
    r = hf_segment_search(walk->file, offset, &search);
    if (r < 0)
        return r;
    run->searched = true;
    run->claimed = HF_MAX(run->claimed, search.claimed);
    if (run->claimed <= offset) {
        walk->torn_bytes = search.last - HF_MIN(offset, search.last);
        return 0;
    }
    if (run->damage.file_offset == 0)
        run->damage = (struct hf_journal_damage){.segment = walk->head->number,
                                                 .file_offset = offset,
                                                 .position_begin = walk_position(walk),
                                                 .error = -HF_ECORRUPT};
    if (search.next == UINT64_MAX)
        return 0;
    walk->offset = search.next;
    run->chained = false;
    *ret_more = true;
    return 0;
}

/* Zero with *ret_more false is the walk's end; non-zero is an error or a callback's wish to stop.
 */
static int walk_step(struct walk_run *run, bool *ret_more)
{
    struct hf_walk *walk = run->walk;
    enum entry_state state;
    struct hf_entry entry;
    int r;

    *ret_more = false;
    /* Behind the limit a writer may be at work. */
    if (walk->offset >= walk->limit)
        return 0;
    r = entry_at(walk, &run->scan, run->chained, &entry, &state);
    if (r < 0)
        return r;
    if (state == ENTRY_BAD)
        return entry_missing(run, ret_more);
    if (state == ENTRY_SEAL) {
        walk->sealed = true;
        walk->claimed = HF_MAX(walk->claimed, entry.durable);
        return 0;
    }
    if (beyond_limits(walk, &entry))
        return 0;
    *ret_more = true;
    return entry_take(run, &entry);
}

/* Where what was lost at the end of the segment ended, as far as anything knows. */
static uint64_t lost_end(const struct hf_walk *walk)
{
    uint64_t end = HF_MAX(walk_position(walk), walk->known_position);

    if (walk->head->lane == HF_LANE_CAPTURED && walk->seq_limit != UINT64_MAX)
        end = HF_MAX(end, walk->head->base + walk->seq_limit);
    return end;
}

int hf_walk_run(struct hf_walk *walk)
{
    struct walk_run run = {
        .walk = walk, .chained = !walk->unchained, .claimed = walk->known_durable};
    uint64_t whole_end = walk->offset;
    bool more = true;
    int r = hf_scan_open(&run.scan, walk->file);

    run.claimed = HF_MAX(run.claimed, walk->claimed);
    while (r == 0 && more) {
        r = walk_step(&run, &more);
        if (run.damage.file_offset == 0)
            whole_end = walk->offset;
    }
    if (r == 0)
        r = damage_end(&run, lost_end(walk));
    walk->offset = whole_end;
    hf_scan_close(&run.scan);
    return r;
}
