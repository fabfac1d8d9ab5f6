// SPDX-License-Identifier: Apache-2.0
/*
 * What a machine's history says at a position: which stream, which disks of which size, whether a
 * point may be offered. A pure state machine over the journal's events: the manifest holds its
 * value at base_at, readers and the writer replay the events behind that. No I/O, no allocation;
 * one thread per state.
 *
 * Rules. A new stream, a GAP, a hole in the journal or a PASS_BEGIN makes the machine inconsistent;
 * a PASS_END with COMPLETE of the newest pass makes it consistent and the disks of the pass
 * complete. After a hole only the end of a FULL or HASH pass does: the source's map knows nothing
 * of what was lost here. A pass with ADDED_DISK leaves consistency alone: it only brings its disks
 * in at its end.
 */
#ifndef HF_STORE_STATE_H
#define HF_STORE_STATE_H

#include "store/store.h"

struct hf_state_disk {
    bool present;
    bool complete;      /* part of points from here on */
    bool ever_complete; /* some earlier position may need its base image */
    uint32_t block_size;
    uint64_t size_bytes;
    struct hf_id identity;
    char name[HF_DISK_NAME_MAX];
};

struct hf_state_pass {
    bool open;  /* begun and not ended */
    bool mends; /* compares or sends everything, and nothing was found missing since it began */
    uint8_t kind;
    uint16_t flags;
    uint64_t number; /* 0: none in this stream */
    uint64_t disk_mask;
    uint64_t seq;      /* end of its PASS_BEGIN in the stream */
    uint64_t position; /* the same in the journal's order */
};

struct hf_state {
    bool has_stream;
    struct hf_stream_id stream;
    bool consistent;
    bool damaged; /* records are missing: only a pass that compares or sends everything mends it */
    struct hf_state_pass pass; /* the newest */
    struct hf_state_disk disks[HF_DISKS_MAX];
};

/* One event in the terms of the state: a record that is not content. */
struct hf_state_event {
    uint8_t type; /* enum hf_record_type */
    uint64_t position;
    uint64_t seq_end;
    const void *body;
    size_t body_length;
};

void hf_state_init(struct hf_state *ret_state);
/* A batch of this stream comes next; does nothing when it is the current one. */
void hf_state_stream(struct hf_state *state, const struct hf_stream_id *stream);
/* Records are missing here. */
void hf_state_hole(struct hf_state *state);
/* HF_ECORRUPT when the body does not fit its type; the state is then unchanged. */
int hf_state_event(struct hf_state *state, const struct hf_state_event *event);
/* Some disk is complete: the machine is not PARTIAL. */
bool hf_state_any_complete(const struct hf_state *state);
/* A disk as the outside sees it. false when it is not present. */
bool hf_state_disk(const struct hf_state *state, uint16_t disk, struct hf_machine_disk *ret_disk);

#endif
