// SPDX-License-Identifier: Apache-2.0
/*
 * A pass: the one mechanism behind every bulk copy. It walks the old lost generation of the disks'
 * maps, sends what is there in batches of the pass lane, and clears the map range by range as the
 * target confirms. What is still set is what a restarted agent goes on with: the map is the only
 * memory of progress, and it is pinned.
 *
 * FULL and MAP send every range; zeros travel as ZERO records. HASH asks the target for hashes
 * (64 KiB, then 4 KiB inside a differing block) and sends what differs.
 *
 * Threads. The engine's thread starts, stops, takes batches and hands in acknowledgements; the
 * worker's thread calls hf_pass_work (or the test does both). The pass serialises the two itself.
 */
#ifndef HF_AGENT_PASS_H
#define HF_AGENT_PASS_H

#include "agent/disk-reader.h"
#include "agent/source.h"
#include "base/clock.h"
#include "stream/batch.h"
#include "wire/message.h"

#define HF_PASS_QUEUE_MAX 4             /* finished batches waiting for the link */
#define HF_PASS_CHUNKS_MAX 1024         /* ranges sent and not confirmed */
#define HF_PASS_CHUNK_BYTES (1u << 20)  /* read at once */
#define HF_PASS_BIT_BYTES_MAX (8 << 20) /* coarser maps: the maps' budget is too small */
#define HF_PASS_READ_TRIES 3
#define HF_PASS_UNREADABLE_MAX 64 /* ranges remembered for the report */

struct hf_pass;

struct hf_pass_options {
    struct hf_source *source; /* borrowed */
    struct hf_disk_reader *reader;
    struct hf_clock *clock;
    unsigned target;
    int compression_level;
    size_t batch_bytes;
    uint64_t bytes_per_s; /* 0: no throttle */
};

/* No pass yet. -ENOMEM, -EINVAL for a batch size out of range. */
int hf_pass_new(const struct hf_pass_options *options, struct hf_pass **ret_pass);
void hf_pass_free(struct hf_pass *pass); /* NULL-safe; no thread inside */

/* ---- the engine's thread ---- */

struct hf_pass_plan {
    enum hf_pass_kind kind;
    uint64_t number;
    uint64_t pass_seq; /* end of PASS_BEGIN */
    uint64_t epoch;    /* of the in-flight table */
    uint64_t disk_mask;
    uint64_t total_bytes; /* as it was at the beginning; 0: count now */
    struct hf_stream_id stream;
};

/* Takes what the old lost generation holds as the work. Begins paused. -EFBIG: the maps are too
 * coarse for these disks (HF_PASS_BIT_BYTES_MAX). */
int hf_pass_start(struct hf_pass *pass, const struct hf_pass_plan *plan);
/* Forgets the pass; the maps keep what is left. */
void hf_pass_stop(struct hf_pass *pass);
/* Waits until the worker's step under way, if any, has ended: after hf_pass_stop no disk is being
 * read any more. Blocks for as long as a read does. */
void hf_pass_quiesce(struct hf_pass *pass);
bool hf_pass_active(struct hf_pass *pass);

/* The link is attached and wants batch number `batch` next, whose chain begins at digest (NULL: the
 * pass's first). What was sent beyond it is read and sent again. */
void hf_pass_resume(struct hf_pass *pass, uint64_t batch, const struct hf_digest *digest);
void hf_pass_pause(struct hf_pass *pass); /* the link is gone */

/* The next finished batch, borrowed until hf_pass_pop; false: none. */
bool hf_pass_peek(struct hf_pass *pass, const void **ret_data, size_t *ret_size);
void hf_pass_pop(struct hf_pass *pass);
/* Batches 0 .. batches-1 are durable: their ranges are cleared. */
void hf_pass_acked(struct hf_pass *pass, uint64_t batches);
/* The next hash request to send, if any. */
bool hf_pass_hash_get(struct hf_pass *pass, struct hf_msg_hash_get *ret_get);
void hf_pass_hash_list(struct hf_pass *pass, const struct hf_msg_hash_list *list);
/* Nothing is left and everything is confirmed. */
bool hf_pass_done(struct hf_pass *pass, uint64_t *ret_batches);

struct hf_pass_progress {
    bool active;
    enum hf_pass_kind kind;
    uint64_t number;
    uint64_t total_bytes;
    uint64_t done_bytes;
    uint64_t sent_bytes; /* of batches, in this process */
    uint64_t read_bytes;
    uint64_t bytes_per_s; /* done, over the last seconds */
    uint64_t eta_s;       /* 0: unknown or done */
    uint64_t waits;       /* times an older write in flight made it come back later (H1) */
    uint64_t read_errors;
    unsigned unreadable_count;
    struct {
        uint16_t disk;
        uint64_t offset;
        uint64_t length;
    } unreadable[HF_PASS_UNREADABLE_MAX];
};
void hf_pass_get_progress(struct hf_pass *pass, struct hf_pass_progress *ret_progress); /* any */

/* ---- the worker's thread ---- */

/* One bounded step. 1: did something; 0: nothing to do now (*ret_wait_ns: at most so long, then
 * look again); negative: memory or program error, the pass stopped. */
int hf_pass_work(struct hf_pass *pass, uint64_t *ret_wait_ns);
/* Blocks until something changed or wait_ns passed. */
void hf_pass_wait(struct hf_pass *pass, uint64_t wait_ns);
void hf_pass_wake(struct hf_pass *pass); /* any thread */

#endif
