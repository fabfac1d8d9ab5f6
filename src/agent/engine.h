// SPDX-License-Identifier: Apache-2.0
/*
 * The engine: everything the agent does with its stream, as one state machine that is stepped. It
 * ships captured records and the batches of passes, takes acknowledgements, releases the ring,
 * swaps and clears map generations, begins and ends passes, and brings the capture back from DIRTY.
 * It has no thread, socket or BPF of its own: those come in through source.h, link.h, disk-reader.h
 * and base/clock.h. README.md has the idea and the crash argument.
 *
 * Threads: one thread calls everything here, unless a call says "any thread". The pass's worker is
 * a second thread (or the same one in tests) that calls hf_pass_work on hf_engine_pass().
 */
#ifndef HF_AGENT_ENGINE_H
#define HF_AGENT_ENGINE_H

#include "agent/histogram.h"
#include "agent/uplink.h"
#include "agent/pass.h"
#include "base/log.h"

#define HF_ENGINE_BATCH_BYTES_DEFAULT (1u << 20)
#define HF_ENGINE_PATH_MAX 256
#define HF_ENGINE_TEXT_MAX 512

struct hf_engine;

struct hf_engine_options {
    struct hf_source *source; /* borrowed, as the four below */
    struct hf_uplink *link;
    struct hf_disk_reader *reader;
    struct hf_clock *clock;
    struct hf_random *random;
    struct hf_id machine;
    char machine_name[128];
    unsigned target; /* map index, 0..HF_TARGETS_MAX-1 */
    int compression_level;
    size_t batch_bytes;
    uint64_t batch_delay_ns;
    uint64_t generation_ns;   /* between swaps of the unconfirmed maps */
    uint64_t dirty_return_ns; /* least time between two returns to DATA */
    uint64_t pass_bytes_per_s;
    /* Says what happened, once per change, in words for people. May be NULL. */
    void (*report)(void *context, enum hf_log_level level, const char *text);
    void *context;
};
void hf_engine_options_default(struct hf_engine_options *options);

/* Adopts what the source's pinned state says, or begins anew. HF_EVERSION: that state is of another
 * version. */
int hf_engine_new(const struct hf_engine_options *options, struct hf_engine **ret_engine);
void hf_engine_free(struct hf_engine *engine); /* NULL-safe; closes the link, keeps the capture */

/* One bounded step. 1: did something, call again; 0: nothing to do, hf_engine_wait; negative: the
 * source itself failed, the engine can not go on. */
int hf_engine_step(struct hf_engine *engine);
/* Waits for the ring, the link or a timer, at most timeout_ms. */
void hf_engine_wait(struct hf_engine *engine, int timeout_ms);
struct hf_pass *hf_engine_pass(struct hf_engine *engine);

/* ---- disks; the engine's thread ---- */

/* Protects a disk, or takes up again one that the adopted capture protects already. -EEXIST when
 * this engine has it. Errors as hf_capture_disk_add and opening for reading. */
int hf_engine_disk_add(struct hf_engine *engine, const struct hf_disk_identity *identity,
                       const char *path, unsigned *ret_slot);
int hf_engine_disk_remove(struct hf_engine *engine, const struct hf_disk_identity *identity,
                          unsigned *ret_slot); /* -ENOENT */
/* The operator says that the exchanged disk at this path is meant. */
int hf_engine_disk_confirm(struct hf_engine *engine, unsigned slot,
                           const struct hf_disk_identity *identity);

/* A slot at or behind `from` that the adopted capture protects and nobody has added here: -1 when
 * there is none. name (28 bytes): what the disk was called. */
int hf_engine_unclaimed(struct hf_engine *engine, unsigned from, char *ret_name);

/* Ends the protection of an unclaimed slot whose disk is not there any more. */
int hf_engine_drop_unclaimed(struct hf_engine *engine, unsigned slot);

/* ---- orders; the engine's thread ---- */

/* A pass over everything: full, or by hashes. Begins now or when the link is there. *ret_pass: the
 * number it will have. */
int hf_engine_resync(struct hf_engine *engine, bool full, uint64_t *ret_pass);
/* Puts the machine's description (JSON) into the stream when it differs from the last one. */
int hf_engine_describe(struct hf_engine *engine, const char *json);
/* Closes the link in order; capturing goes on. */
void hf_engine_stop(struct hf_engine *engine);

/* ---- any thread ---- */

struct hf_engine_point {
    struct hf_id id;
    enum hf_mark_kind kind;
    int64_t wall_ns;
    uint64_t seq; /* end of its record */
};
/* Sets a recovery point. name may be NULL. -ESTALE: the mode is DIRTY, or a pass has to end first;
 * -ENOSPC: the ring is full;
 * -ENAMETOOLONG. */
int hf_engine_mark(struct hf_engine *engine, enum hf_mark_kind kind, const char *name,
                   struct hf_engine_point *ret_point);

enum hf_engine_link {
    HF_UPLINK_DOWN,
    HF_UPLINK_CONNECTING,
    HF_UPLINK_STREAMING,
    HF_UPLINK_SUPERSEDED
};

struct hf_engine_disk {
    unsigned slot;
    char name[32];
    char path[HF_ENGINE_PATH_MAX];
    struct hf_id identity;
    uint64_t size_bytes;
    bool complete;
    bool refused; /* exchanged: waits for confirmation */
};

struct hf_engine_status {
    enum hf_engine_link link;
    char link_error[HF_ENGINE_TEXT_MAX]; /* of the last failure */
    struct hf_id capture;
    struct hf_id target;
    uint64_t epoch;
    uint64_t seq_captured;
    uint64_t seq_sent;
    uint64_t seq_acked;
    bool no_points; /* a mark set now would lie before the end of a pass: it would be no point */
    bool protected; /* DATA, attached, no pass outstanding, every disk complete */
    uint64_t lag_now_us;
    struct hf_histogram lag; /* record written to durable at the target */
    struct hf_capture_stats capture_stats;
    struct hf_pass_progress pass;
    bool point_set;
    struct hf_engine_point last_point;
    uint64_t batches, records, sent_bytes, sent_raw_bytes;
    uint64_t passes; /* begun in this capture, by any agent */
    uint64_t attaches, captures_begun, generations_cleared, dirty_returns, lost_messages;
    unsigned disk_count;
    struct hf_engine_disk disks[HF_DISKS_MAX];
};
void hf_engine_get_status(struct hf_engine *engine, struct hf_engine_status *ret_status);

#endif
