// SPDX-License-Identifier: Apache-2.0
/*
 * A target in memory and the uplink to it, for tests and the simulator. It verifies every batch as
 * a real one does, keeps replicas of the disks in stream order (a pass's data at its PASS_BEGIN),
 * checks each recovery point against what the source looked like when it was set, and can lose
 * power, be cut off, forget, or lie. One thread.
 */
#ifndef HF_AGENT_FAKE_TARGET_H
#define HF_AGENT_FAKE_TARGET_H

#include "agent/fake-source.h"
#include "agent/uplink.h"

struct hf_fake_target; /* opaque */

struct hf_fake_target_counts {
    uint64_t batches, pass_batches, records, gaps, passes_begun, passes_complete;
    uint64_t points;       /* in consistent places, all of them equal to the source then */
    uint64_t points_wrong; /* equal to nothing: must stay 0 */
    uint64_t refused;      /* batches that did not fit: must stay 0 */
    uint64_t pass_bytes;   /* content of WRITE records on pass lanes */
    uint64_t hash_requests;
    uint64_t attaches;
};

/* Empty, synced by hand, with no end of credit. */
int hf_fake_target_new(struct hf_clock *clock, struct hf_fake_target **ret_target);
void hf_fake_target_free(struct hf_fake_target *target);                /* NULL-safe */
struct hf_uplink *hf_fake_target_uplink(struct hf_fake_target *target); /* borrowed */
/* Points are compared with its snapshots. */
void hf_fake_target_watch(struct hf_fake_target *target, struct hf_fake_source *source);

/* Everything received is durable: acknowledges it when the link is up. */
void hf_fake_target_sync(struct hf_fake_target *target);
void hf_fake_target_auto_sync(struct hf_fake_target *target, bool on); /* after every batch */
/* Power cut: what was not synced is gone, the link breaks. */
void hf_fake_target_crash(struct hf_fake_target *target);
void hf_fake_target_cut(struct hf_fake_target *target, bool cut); /* no link while cut */
/* At most so many bytes of batches are taken until it is set again; then -EAGAIN. */
void hf_fake_target_credit(struct hf_fake_target *target, uint64_t bytes);
void hf_fake_target_lose(struct hf_fake_target *target); /* says LOST */
void hf_fake_target_lie(struct hf_fake_target *target);  /* acknowledges with a wrong digest */
void hf_fake_target_raise_epoch(struct hf_fake_target *target);
void hf_fake_target_forget_stream(struct hf_fake_target *target); /* keeps the images */

/* The newest position is one that a point could lie at. */
bool hf_fake_target_consistent(struct hf_fake_target *target);
/* Whether every protected disk's replica equals the disk. */
bool hf_fake_target_equals(struct hf_fake_target *target, struct hf_fake_source *source);
uint8_t *hf_fake_target_image(struct hf_fake_target *target, unsigned slot, uint64_t *ret_size);
uint64_t hf_fake_target_seq(struct hf_fake_target *target); /* durable */
void hf_fake_target_get_counts(struct hf_fake_target *target,
                               struct hf_fake_target_counts *ret_counts);

#endif
