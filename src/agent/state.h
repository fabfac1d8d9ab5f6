// SPDX-License-Identifier: Apache-2.0
/*
 * What the agent must not forget when it is killed, kept in memory that is pinned with the capture
 * (HF_AGENT_STATE_BYTES): where the chain stands, the pass under way, who the disks are. A reboot
 * takes it away together with ring and maps, which is right: the capture ends too.
 *
 * Crash argument. Two slots with a generation and a checksum are written in turn; the newest whole
 * one counts. A slot is written *before* what it describes is given up (ring space released, map
 * bits cleared), so after a kill at any instruction the state lies at or before what the ring and
 * the maps still hold.
 */
#ifndef HF_AGENT_STATE_H
#define HF_AGENT_STATE_H

#include "base/hash.h"
#include "stream/record.h"
#include "capture/capture.h"

/* The running digest at a record boundary, and what the translation of marks needs to go on from
 * there (translate.h). */
struct hf_chain {
    uint64_t seq;
    struct hf_digest digest;
    uint64_t lost_events;      /* number of losses that the stream has admitted to so far */
    uint64_t pass_lost_events; /* the number at the newest PASS_BEGIN */
    uint64_t mark_boot_ns;     /* of the last mark that was still right */
};

struct hf_saved {
    uint64_t generation; /* rises with every write; picks the newer slot */
    uint64_t epoch;
    struct hf_id target;
    struct hf_chain acked;    /* durable at the target, checked against our own digest */
    struct hf_chain released; /* at the ring's consumer position */

    uint64_t pass;         /* under way; 0: none */
    uint64_t pass_seq;     /* end of its PASS_BEGIN */
    uint64_t pass_end_seq; /* end of the newest PASS_END */
    uint64_t pass_batch;   /* acknowledged: 0 .. pass_batch-1 */
    uint64_t pass_epoch;   /* of the in-flight table, begun with the pass */
    uint64_t pass_mask;    /* its disks */
    uint64_t pass_total_bytes;
    uint64_t passes;         /* number of the newest pass ever begun */
    uint64_t lost_events;    /* at the beginning of the newest pass */
    uint64_t complete_mask;  /* disks whose replica was complete once */
    uint64_t generation_seq; /* UNCONFIRMED/OLD may be cleared when this is acknowledged; 0: none */
    uint32_t pass_kind;      /* of the newest pass; 0 once it has ended */
    uint32_t next_kind;      /* of the pass that was asked for; 0: none */
    uint32_t reserved;
    uint32_t machine_version; /* of the description last put into the stream */
    uint64_t machine_hash;
    uint64_t checksum; /* of all bytes before; last */
};

struct hf_saved_disk {
    struct hf_id identity;
    uint32_t block_size;
    char name[28];
};

struct hf_state {
    struct hf_saved now; /* change, then hf_state_save */
    void *memory;        /* borrowed: HF_AGENT_STATE_BYTES of the source */
};

/* Loads the newest whole slot from pinned memory, or zeros when there is none (*ret_found). A
 * version this build does not know: HF_EVERSION. */
int hf_state_load(struct hf_state *state, void *memory, bool *ret_found);
/* Writes `now` into the older slot. Never fails; no system call. */
void hf_state_save(struct hf_state *state);

/* Who the disk in a slot is, for records about it; kept after the disk is removed, so that a record
 * translates to the same bytes again. Zero when never set. */
void hf_state_disk_set(struct hf_state *state, unsigned slot, const struct hf_saved_disk *disk);
void hf_state_disk_get(const struct hf_state *state, unsigned slot, struct hf_saved_disk *ret_disk);

#endif
