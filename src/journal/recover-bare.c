// SPDX-License-Identifier: Apache-2.0
/* A segment without an index: one that was open when the writer stopped, or whose index is lost. */
#include "journal/recover-internal.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

/* One bare segment under recovery. */
struct bare {
    struct hf_recover *recover;
    uint64_t number;
    char path[HF_IO_PATH_MAX];
    struct hf_file *file;
    struct hf_file *direct; /* the same past the page cache; NULL where that is impossible */
    struct hf_segment_head head;
    struct hf_index_builder builder;
    struct hf_walk walk;
    bool damaged;
};

static int bare_open(struct bare *bare)
{
    struct hf_journal *journal = bare->recover->journal;
    int r = hf_segment_path(journal->path, bare->number, bare->path);

    if (r == 0)
        r = hf_io_open(journal->io, bare->path, HF_OPEN_READ | HF_OPEN_WRITE, &bare->file);
    if (r == 0)
        r = hf_io_sync(bare->file);
    if (r < 0)
        return r;
    r = hf_io_open(journal->io, bare->path, HF_OPEN_READ | HF_OPEN_DIRECT, &bare->direct);
    return r == -EINVAL || r == -EOPNOTSUPP ? 0 : r;
}

static struct hf_file *bare_reading(const struct bare *bare)
{
    return bare->direct ? bare->direct : bare->file;
}

/* ---- A header that is not there ---- */

static int watermark_claim(struct hf_journal *journal, uint64_t number, uint64_t *ret_durable,
                           uint64_t *ret_position)
{
    *ret_durable = 0;
    *ret_position = 0;
    for (uint8_t lane = HF_LANE_CAPTURED; lane <= HF_LANE_PASS; lane++) {
        struct hf_watermark watermark;
        int r = hf_watermark_read(journal->watermark, lane, &watermark);

        if (r < 0)
            return r;
        if (watermark.number == number && watermark.durable > 0) {
            *ret_durable = watermark.durable;
            *ret_position = watermark.position;
        }
    }
    return 0;
}

/* Nothing can be durable in a file whose header never was, so one that claims nothing is the torn
 * beginning of a segment. One that does claim is damage, and stays for whoever can still use it. */
static int bare_headless(struct bare *bare)
{
    struct hf_journal_damage damage = {.segment = bare->number, .error = -HF_ECORRUPT};
    struct hf_journal *journal = bare->recover->journal;
    struct hf_search search = {.any_tag = true};
    uint64_t durable;
    int r = watermark_claim(journal, bare->number, &durable, &damage.position_end);

    if (r == 0)
        r = hf_segment_search(bare_reading(bare), HF_SEGMENT_DATA_OFFSET, &search);
    if (r < 0)
        return r;
    if (durable == 0 && search.claimed == 0) {
        bare->recover->result.torn_bytes += search.last - HF_SEGMENT_DATA_OFFSET;
        return hf_io_unlink(journal->io, bare->path);
    }
    bare->recover->result.damaged_segments++;
    return hf_journal_damage_add(journal, &damage);
}

/* ---- The walk ---- */

static int bare_entry(void *context, const struct hf_entry *entry)
{
    struct bare *bare = context;

    return hf_index_builder_add(&bare->builder, entry);
}

static int bare_damage(void *context, const struct hf_journal_damage *damage)
{
    struct bare *bare = context;
    int r = hf_journal_damage_add(bare->recover->journal, damage);

    bare->damaged = true;
    return r < 0 ? r : hf_index_builder_damage(&bare->builder, damage);
}

/* A failed segment's tail was copied to its successor, which therefore begins before it ends. */
static void limit_by_successors(struct bare *bare)
{
    const struct hf_journal *journal = bare->recover->journal;

    for (size_t i = 0; i < journal->segment_count; i++) {
        const struct hf_segment_head *head = &journal->segments[i].head;

        if (head->number < bare->number || head->lane != bare->head.lane ||
            head->base != bare->head.base)
            continue;
        if (head->lane == HF_LANE_CAPTURED)
            bare->walk.seq_limit = HF_MIN(bare->walk.seq_limit, head->seq_begin);
        else if (head->pass == bare->head.pass)
            bare->walk.pass_batch_limit = HF_MIN(bare->walk.pass_batch_limit, head->pass_batch);
    }
}

static int bare_walk(struct bare *bare)
{
    struct hf_walk *walk = &bare->walk;
    struct hf_watermark watermark;
    int r;

    hf_walk_init(walk, bare_reading(bare), &bare->head);
    hf_index_builder_init(&bare->builder, &bare->head);
    limit_by_successors(bare);
    r = hf_watermark_read(bare->recover->journal->watermark, bare->head.lane, &watermark);
    if (r < 0)
        return r;
    if (hf_id_equal(&watermark.segment, &bare->head.id)) {
        walk->known_durable = watermark.durable;
        walk->known_position = watermark.position;
    }
    walk->each = bare_entry;
    walk->damage = bare_damage;
    walk->context = bare;
    return hf_walk_run(walk);
}

/* ---- The end ---- */

/* Cuts the tail, which nothing claims. Where there is damage nothing is cut. */
static int bare_cut(struct bare *bare)
{
    const struct hf_index_builder *builder = &bare->builder;
    struct hf_entry_fields fields = {
        .kind = HF_ENTRY_SEAL,
        .number = builder->entry_count,
        .segment_tag = hf_segment_tag(&bare->head.id),
        .offset = builder->segment_end,
        .previous = builder->last_hash,
        .durable = builder->segment_end,
        .body_hash = hf_hash64("", 0),
    };
    struct hf_entry_header header;
    int r;

    if (bare->damaged || bare->walk.sealed)
        return 0;
    hf_entry_encode(&fields, &header);
    r = hf_io_truncate(bare->file, builder->segment_end);
    return r < 0 ? r : hf_io_write(bare->file, &header, sizeof(header), builder->segment_end);
}

static int bare_finish(struct bare *bare)
{
    struct hf_journal *journal = bare->recover->journal;
    int r;

    bare->recover->result.torn_bytes += bare->walk.torn_bytes;
    bare->recover->result.batches += bare->builder.entry_count;
    bare->recover->result.damaged_segments += bare->damaged;
    if (bare->builder.entry_count == 0 && !bare->damaged)
        return hf_io_unlink(journal->io, bare->path);
    r = bare_cut(bare);
    if (r == -ENOSPC || r == -EDQUOT)
        r = 0;
    return r < 0 ? r : hf_journal_index_install(journal, &bare->builder, bare->damaged, true);
}

int hf_recover_bare(struct hf_recover *recover, uint64_t number)
{
    struct bare bare = {.recover = recover, .number = number};
    int r = bare_open(&bare);

    if (r == 0)
        r = hf_segment_head_read(bare_reading(&bare), number, &bare.head);
    if (r == -HF_ECORRUPT) {
        r = bare_headless(&bare);
    } else if (r == 0) {
        r = bare_walk(&bare);
        if (r == 0)
            r = bare_finish(&bare);
        hf_index_builder_done(&bare.builder);
    }
    hf_io_close(bare.direct);
    hf_io_close(bare.file);
    return r;
}
