// SPDX-License-Identifier: Apache-2.0
/* What the two halves of the capture in memory share: fake-source.c (the table) and fake-machine.c
 * (disks, and what tests do to them). */
#ifndef HF_AGENT_FAKE_SOURCE_INTERNAL_H
#define HF_AGENT_FAKE_SOURCE_INTERNAL_H

#include "agent/fake-source.h"
#include "base/bitmap.h"
#include "stream/record.h"

#define HF_FAKE_DISKS 4 /* that exist */
#define BIT_SHIFT 12
#define RECORDS_MAX 65536
#define INFLIGHT_MAX 64
#define SNAPSHOTS_MAX 4096
#define RECORD_OVERHEAD 8 /* of the ring's own header */

struct fake_disk {
    uint8_t *data;
    uint64_t size;
    uint64_t announced; /* size last said in the ring */
    int slot;           /* -1: not protected */
    struct hf_disk_identity identity;
    uint64_t bad_offset, bad_length;
    unsigned bad_count;
};

struct fake_slot {
    bool used;
    unsigned number;
    struct hf_bitmap maps[HF_MAP_KINDS][2];
};

struct fake_record {
    uint64_t position, end;
    struct hf_capture_record record;
    void *content;
};

struct fake_inflight {
    bool used;
    unsigned number, slot;
    uint64_t offset, length, epoch;
    const void *content;
};

struct fake_snapshot {
    struct hf_id point;
    uint8_t *data;
    size_t size;
};

struct hf_fake_source {
    struct hf_source source;
    struct hf_disk_reader reader;
    struct hf_clock *clock;
    struct hf_random *random;
    struct hf_id id;
    uint64_t ring_bytes;
    struct fake_disk disks[HF_FAKE_DISKS];
    struct fake_slot slots[HF_DISKS_MAX];
    unsigned slot_count;
    struct fake_record records[RECORDS_MAX]; /* of the ring; index rises with position */
    size_t record_first, record_count;
    uint64_t consumer, producer;
    struct fake_inflight inflight[INFLIGHT_MAX];
    bool die_in_begin;           /* the next pass's beginning stops between the swap and its mark */
    unsigned lose_at_begin_slot; /* a range lost in the middle of the next pass's beginning */
    uint64_t lose_at_begin_offset, lose_at_begin_length; /* length 0: none */
    struct fake_snapshot snapshots[SNAPSHOTS_MAX];
    size_t snapshot_count;
    enum hf_capture_mode mode;
    enum hf_capture_cause cause;
    uint64_t dirty_since_ns;
    uint64_t lost_events, epoch;
    uint64_t state[HF_AGENT_STATE_BYTES / 8];
};

extern const struct hf_source_ops hf_fake_source_ops;

/* Into the current lost generation, and counted. */
void hf_fake_lose(struct hf_fake_source *fake, unsigned slot, uint64_t offset, uint64_t length);
/* Leaves DATA mode, unless it has been left. */
void hf_fake_go_dirty(struct hf_fake_source *fake, enum hf_capture_cause cause);
/* Puts a record into the ring. -ENOSPC. The last two may be NULL. */
int hf_fake_put(struct hf_fake_source *fake, struct hf_capture_record record, const void *content,
                uint64_t *ret_position, uint64_t *ret_end);
/* A DISK record of that event. -ENOSPC. */
int hf_fake_put_disk(struct hf_fake_source *fake, unsigned slot, uint32_t event, uint64_t size);
/* The slot is not used any more; its maps are freed. */
void hf_fake_slot_forget(struct fake_slot *slot);

#endif
