// SPDX-License-Identifier: Apache-2.0
#include "journal/journal-test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "stream/stream-test.h"

#define FEED_RECORD_OVERHEAD 64 /* what a ring record takes beside its content */

/* ---- Making ---- */

void hf_feed_init(struct hf_feed *feed, uint64_t seed)
{
    struct hf_batch_builder_options options = {.compression_level = HF_COMPRESSION_FAST,
                                               .size_max = HF_BATCH_SIZE_MAX};

    memset(feed, 0, sizeof(*feed));
    hf_random_seeded_init(&feed->random, seed);
    feed->disk_bytes = 1 << 20;
    feed->content_max = 4096;
    feed->boot_ns = 1000 * HF_NS_PER_S;
    HF_ASSERT(hf_batch_builder_new(&options, &feed->builder) == 0);
    hf_feed_stream(feed, 1);
}

void hf_feed_done(struct hf_feed *feed)
{
    for (size_t i = 0; i < feed->count; i++)
        free(feed->batches[i].data);
    free(feed->batches);
    hf_batch_builder_free(feed->builder);
}

void hf_feed_stream(struct hf_feed *feed, uint64_t epoch)
{
    feed->stream.epoch = epoch;
    HF_ASSERT(hf_id_make(&feed->random.random, &feed->stream.capture) == 0);
    feed->seq = 0;
    feed->pass = 0;
    feed->pass_batch = 0;
    hf_digest_begin(&feed->stream.capture, &feed->digest);
}

static size_t feed_keep(struct hf_feed *feed, const void *data, size_t size)
{
    const struct hf_batch_header *header = data;
    struct hf_feed_batch *batch;

    feed->batches = realloc(feed->batches, (feed->count + 1) * sizeof(*feed->batches));
    HF_ASSERT(feed->batches);
    batch = &feed->batches[feed->count];
    *batch = (struct hf_feed_batch){
        .data = malloc(size),
        .size = size,
        .stream = feed->stream,
        .lane = header->lane,
        .seq_begin = hf_le64_get(header->seq_begin),
        .seq_end = hf_le64_get(header->seq_end),
        .pass = hf_le64_get(header->pass),
        .pass_batch = hf_le64_get(header->pass_batch),
        .digest_after = {.value = header->digest_after},
    };
    HF_ASSERT(batch->data);
    memcpy(batch->data, data, size);
    return feed->count++;
}

static size_t feed_finish(struct hf_feed *feed, struct hf_digest *digest)
{
    const void *data;
    size_t size;

    HF_ASSERT(hf_batch_finish(feed->builder, (int64_t)feed->boot_ns, &data, &size, digest) == 0);
    return feed_keep(feed, data, size);
}

static void feed_add(struct hf_feed *feed, struct hf_record_in *record, bool captured)
{
    feed->boot_ns += HF_NS_PER_MS;
    record->boot_ns = feed->boot_ns;
    record->seq = captured ? feed->seq : feed->pass_seq;
    record->seq_end = record->seq;
    if (captured)
        record->seq_end += FEED_RECORD_OVERHEAD + (record->content ? record->length : 0);
    HF_ASSERT(hf_batch_add(feed->builder, record) == 0);
    if (captured)
        feed->seq = record->seq_end;
}

static void feed_add_random(struct hf_feed *feed, bool captured)
{
    static _Thread_local uint8_t content[HF_RECORD_CONTENT_MAX];
    uint64_t roll = hf_random_seeded_next(&feed->random);
    uint64_t place = hf_random_seeded_next(&feed->random);
    uint64_t length = (roll >> 8) % (feed->content_max / HF_SECTOR) * HF_SECTOR + HF_SECTOR;
    struct hf_record_in record = {
        .offset = place % ((feed->disk_bytes - length) / HF_SECTOR + 1) * HF_SECTOR,
        .length = length,
        .type = HF_RECORD_WRITE,
        .disk = (uint16_t)(roll & 1),
        .content = content,
    };

    if (!feed->zeros && roll % 11 == 0) {
        record.type = roll & 2 ? HF_RECORD_ZERO : HF_RECORD_DISCARD;
        record.content = NULL;
        record.offset = place % (feed->disk_bytes / 2) / HF_SECTOR * HF_SECTOR;
        record.length = HF_SECTOR + roll % (feed->disk_bytes / 4) / HF_SECTOR * HF_SECTOR;
    } else {
        hf_test_content_fill(feed->zeros ? HF_TEST_ZEROS : (enum hf_test_content)(roll % 3), roll,
                             content, length);
    }
    feed_add(feed, &record, captured);
}

size_t hf_feed_captured(struct hf_feed *feed, uint32_t records)
{
    hf_batch_begin_captured(feed->builder, &feed->stream, feed->seq, &feed->digest);
    for (uint32_t i = 0; i < records; i++)
        feed_add_random(feed, true);
    return feed_finish(feed, &feed->digest);
}

size_t hf_feed_event(struct hf_feed *feed, uint8_t type, const void *body, size_t length)
{
    struct hf_record_in record = {.type = type, .content = body, .length = length};

    hf_batch_begin_captured(feed->builder, &feed->stream, feed->seq, &feed->digest);
    feed_add_random(feed, true);
    feed_add(feed, &record, true);
    feed_add_random(feed, true);
    return feed_finish(feed, &feed->digest);
}

size_t hf_feed_mark(struct hf_feed *feed, const char *name)
{
    struct {
        struct hf_mark_body body;
        char name[HF_MARK_NAME_MAX];
    } mark = {.body = {.kind = HF_MARK_CRASH, .version = 1}};
    size_t length = strnlen(name, sizeof(mark.name));

    mark.body.name_length = hf_le16_of((uint16_t)length);
    memcpy(mark.name, name, length);
    HF_ASSERT(hf_id_make(&feed->random.random, &mark.body.point) == 0);
    return hf_feed_event(feed, HF_RECORD_MARK, &mark, sizeof(mark.body) + length);
}

static size_t feed_pass_event(struct hf_feed *feed, uint8_t type)
{
    struct hf_pass_body body = {
        .kind = HF_PASS_MAP,
        .version = 1,
        .flags = hf_le16_of(type == HF_RECORD_PASS_END ? HF_PASS_COMPLETE : 0),
        .pass = hf_le64_of(feed->pass),
        .disk_mask = hf_le64_of(3),
        .batches = hf_le64_of(feed->pass_batch),
    };
    struct hf_record_in record = {.type = type, .content = &body, .length = sizeof(body)};

    hf_batch_begin_captured(feed->builder, &feed->stream, feed->seq, &feed->digest);
    feed_add_random(feed, true);
    feed_add(feed, &record, true);
    if (type == HF_RECORD_PASS_BEGIN)
        feed->pass_seq = feed->seq;
    feed_add_random(feed, true);
    return feed_finish(feed, &feed->digest);
}

size_t hf_feed_pass_begin(struct hf_feed *feed)
{
    feed->pass++;
    feed->pass_batch = 0;
    hf_digest_begin_pass(&feed->stream.capture, feed->pass, &feed->pass_digest);
    return feed_pass_event(feed, HF_RECORD_PASS_BEGIN);
}

size_t hf_feed_pass_end(struct hf_feed *feed)
{
    return feed_pass_event(feed, HF_RECORD_PASS_END);
}

size_t hf_feed_pass(struct hf_feed *feed, uint32_t records)
{
    hf_batch_begin_pass(feed->builder, &feed->stream, feed->pass_seq, feed->pass,
                        feed->pass_batch++, &feed->pass_digest);
    for (uint32_t i = 0; i < records; i++)
        feed_add_random(feed, false);
    return feed_finish(feed, &feed->pass_digest);
}

int hf_feed_append(const struct hf_feed *feed, size_t number, struct hf_journal *journal)
{
    const struct hf_feed_batch *made = &feed->batches[number];
    struct hf_batch batch;
    int r = hf_batch_parse(made->data, made->size, &batch);

    if (r == 0)
        r = hf_batch_verify(&batch, NULL);
    return r < 0 ? r : hf_journal_append(journal, &batch, (int64_t)number + 1);
}

void hf_journal_bench_init(struct hf_journal_bench *bench, struct hf_io *io, uint64_t seed)
{
    memset(bench, 0, sizeof(*bench));
    hf_random_seeded_init(&bench->random, seed);
    hf_clock_manual_init(&bench->clock, HF_NS_PER_S, 1700000000 * (int64_t)HF_NS_PER_S);
    bench->options = (struct hf_journal_options){
        .io = io,
        .path = "journal",
        .random = &bench->random.random,
        .clock = &bench->clock.clock,
        .segment_bytes = 16 << 10,
        .reserve_bytes = 4096,
    };
}

/* ---- Comparing ---- */

struct compare {
    const struct hf_feed *feed;
    const struct hf_journal_progress *progress;
    bool *seen;
    uint64_t *bases;
    long count;
};

static size_t feed_find(const struct hf_feed *feed, const struct hf_batch *batch)
{
    for (size_t i = 0; i < feed->count; i++)
        if (feed->batches[i].size == batch->size &&
            memcmp(feed->batches[i].data, batch->data, batch->size) == 0)
            return i;
    return SIZE_MAX;
}

static int compare_batch(void *context, const struct hf_batch *batch, uint64_t position_base)
{
    struct compare *compare = context;
    size_t i = feed_find(compare->feed, batch);

    if (i == SIZE_MAX || compare->seen[i]) {
        fprintf(stderr, "a batch that was never made, or twice\n");
        return -HF_ECORRUPT;
    }
    compare->seen[i] = true;
    compare->bases[i] = position_base;
    compare->count++;
    return 0;
}

static bool same_stream(const struct hf_stream_id *a, const struct hf_stream_id *b)
{
    return a->epoch == b->epoch && hf_id_equal(&a->capture, &b->capture);
}

/* Only the newest stream's bases are known from progress; of older ones only what was seen. */
static bool must_be_there(const struct compare *compare, size_t i, uint64_t floor)
{
    const struct hf_feed_batch *batch = &compare->feed->batches[i];
    const struct hf_journal_progress *progress = compare->progress;
    uint64_t base = progress->position - progress->seq;

    if (!same_stream(&batch->stream, &progress->stream) || base + batch->seq_end <= floor)
        return false;
    if (batch->lane == HF_LANE_CAPTURED)
        return batch->seq_end <= progress->seq;
    return batch->pass == progress->pass && batch->pass_batch < progress->pass_batch;
}

long hf_feed_compare(const struct hf_feed *feed, struct hf_journal_reader *reader,
                     const struct hf_journal_progress *progress, uint64_t floor)
{
    struct compare compare = {.feed = feed, .progress = progress};
    int r;

    compare.seen = calloc(feed->count + 1, sizeof(bool));
    compare.bases = calloc(feed->count + 1, sizeof(uint64_t));
    HF_ASSERT(compare.seen && compare.bases);
    r = hf_journal_reader_batches(reader, 0, UINT64_MAX, compare_batch, &compare);
    if (r != 0)
        fprintf(stderr, "reading batches: %s\n", hf_strerror(r));
    for (size_t i = 0; r == 0 && i < feed->count; i++) {
        if (!compare.seen[i] && must_be_there(&compare, i, floor)) {
            fprintf(stderr, "batch %zu is missing\n", i);
            r = -HF_ECORRUPT;
        }
    }
    free(compare.seen);
    free(compare.bases);
    return r == 0 ? compare.count : -1;
}
