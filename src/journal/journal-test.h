// SPDX-License-Identifier: Apache-2.0
/* For tests of this folder and of those that use a journal: a source that makes a stream of batches
 * and remembers every one, and ways to compare a journal with it. */
#ifndef HF_JOURNAL_TEST_H
#define HF_JOURNAL_TEST_H

#include "base/clock.h"
#include "journal/journal.h"
#include "journal/reader.h"
#include "stream/batch.h"

/* One batch that a source made. */
struct hf_feed_batch {
    uint8_t *data;
    size_t size;
    struct hf_stream_id stream;
    uint8_t lane;
    uint64_t seq_begin;
    uint64_t seq_end;
    uint64_t pass;
    uint64_t pass_batch;
    struct hf_digest digest_after;
};

struct hf_feed {
    struct hf_random_seeded random;
    struct hf_batch_builder *builder;
    struct hf_stream_id stream;
    uint64_t seq;
    struct hf_digest digest;
    uint64_t pass;
    uint64_t pass_seq;
    uint64_t pass_batch;
    struct hf_digest pass_digest;
    uint64_t boot_ns;
    uint64_t disk_bytes;  /* size of each of the two disks; default 1 MiB */
    uint32_t content_max; /* of a record; default 4096 */
    bool zeros;           /* content is all zeros: small frames, for many extents */
    struct hf_feed_batch *batches;
    size_t count;
};

void hf_feed_init(struct hf_feed *feed, uint64_t seed);
void hf_feed_done(struct hf_feed *feed);
/* Begins another stream. */
void hf_feed_stream(struct hf_feed *feed, uint64_t epoch);
/* Each makes one batch and gives its number in feed->batches. */
size_t hf_feed_captured(struct hf_feed *feed, uint32_t records);
size_t hf_feed_event(struct hf_feed *feed, uint8_t type, const void *body, size_t length);
size_t hf_feed_mark(struct hf_feed *feed, const char *name);
size_t hf_feed_pass_begin(struct hf_feed *feed);
size_t hf_feed_pass(struct hf_feed *feed, uint32_t records);
size_t hf_feed_pass_end(struct hf_feed *feed);

/* Appends one of them: parses, verifies, appends. */
int hf_feed_append(const struct hf_feed *feed, size_t number, struct hf_journal *journal);

/* Options over an io, with a seeded generator and a clock that stands still, small segments. */
struct hf_journal_bench {
    struct hf_random_seeded random;
    struct hf_clock_manual clock;
    struct hf_journal_options options;
};
void hf_journal_bench_init(struct hf_journal_bench *bench, struct hf_io *io, uint64_t seed);

/*
 * Reads the whole journal and compares it with what the feed made: every batch that progress covers
 * (and that lies above `floor`) is there, byte for byte, in order. Returns how many; -1 and a
 * message on standard error when something is missing or different.
 */
long hf_feed_compare(const struct hf_feed *feed, struct hf_journal_reader *reader,
                     const struct hf_journal_progress *progress, uint64_t floor);

#endif
