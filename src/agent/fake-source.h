// SPDX-License-Identifier: Apache-2.0
/*
 * A capture in memory, for tests and the simulator: disks, ring, maps, in-flight table and modes as
 * capture.h says, and nothing of BPF. Outlives the engine, as the pinned one does. One thread.
 */
#ifndef HF_AGENT_FAKE_SOURCE_H
#define HF_AGENT_FAKE_SOURCE_H

#include "agent/disk-reader.h"
#include "agent/source.h"
#include "base/clock.h"

struct hf_fake_source; /* opaque */

/* ring_bytes bounds what is not released yet. clock and random are borrowed. */
int hf_fake_source_new(uint64_t ring_bytes, struct hf_clock *clock, struct hf_random *random,
                       struct hf_fake_source **ret_fake);
void hf_fake_source_free(struct hf_fake_source *fake); /* NULL-safe */
struct hf_source *hf_fake_source_source(struct hf_fake_source *fake);
/* Reads the fake's disks; borrowed from it. */
struct hf_disk_reader *hf_fake_source_reader(struct hf_fake_source *fake);

/* A disk named "d<number>" of size bytes, zeros; its identity for hf_engine_disk_add. */
void hf_fake_disk_make(struct hf_fake_source *fake, unsigned number, uint64_t size,
                       struct hf_disk_identity *ret_identity);
uint8_t *hf_fake_disk_data(struct hf_fake_source *fake, unsigned number, uint64_t *ret_size);
int hf_fake_disk_slot(struct hf_fake_source *fake, unsigned number); /* -1: not protected */
/* The disk grows; the next write to it puts DISK(RESIZE) first. */
void hf_fake_disk_grow(struct hf_fake_source *fake, unsigned number, uint64_t size);
/* Reads of this byte range fail `count` times more. */
void hf_fake_disk_break(struct hf_fake_source *fake, unsigned number, uint64_t offset,
                        uint64_t length, unsigned count);

/* A write, submitted and completed. content NULL: zeros (ZERO), discard: DISCARD (zeros too). */
void hf_fake_write(struct hf_fake_source *fake, unsigned number, uint64_t offset,
                   const void *content, uint64_t length);
void hf_fake_discard(struct hf_fake_source *fake, unsigned number, uint64_t offset,
                     uint64_t length);
/* The two halves apart: captured at issue, on the disk at completion. content stays the caller's
 * until then. */
unsigned hf_fake_issue(struct hf_fake_source *fake, unsigned number, uint64_t offset,
                       const void *content, uint64_t length);
void hf_fake_complete(struct hf_fake_source *fake, unsigned handle, bool failed);

/* A write of `value` bytes is lost (an unreadable page) after the next pass's beginning has swapped
 * the maps, before its mark. */
void hf_fake_lose_at_pass_begin(struct hf_fake_source *fake, unsigned number, uint64_t offset,
                                uint64_t length, uint8_t value);

/* Content of all disks at the mark with this point id, or NULL; one disk after the other. */
const uint8_t *hf_fake_snapshot(struct hf_fake_source *fake, const struct hf_id *point,
                                size_t *ret_size);
uint64_t hf_fake_ring_used(struct hf_fake_source *fake);
/* Set bits of a protected disk's map. */
uint64_t hf_fake_map_count(struct hf_fake_source *fake, unsigned number,
                           enum hf_capture_map_kind kind, enum hf_capture_generation generation);

#endif
