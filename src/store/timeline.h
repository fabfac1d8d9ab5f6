// SPDX-License-Identifier: Apache-2.0
/*
 * The history of a machine from base_at on, folded down to what decides about points: where streams
 * begin, where records are missing, in which stretches of positions a point may be opened. Built by
 * one walk over the journal's moments and one over its events. One thread.
 */
#ifndef HF_STORE_TIMELINE_H
#define HF_STORE_TIMELINE_H

#include "journal/reader.h"
#include "store/manifest.h"

#define HF_TIMELINE_ITEMS_MAX (1u << 20)

/* Behind `position` another stream goes on, or (hole) records are missing. */
struct hf_boundary {
    uint64_t position;
    struct hf_stream_id stream;
    bool hole;
};

/* Every position of [begin, end] is consistent and has a complete base image. */
struct hf_stretch {
    uint64_t begin;
    uint64_t end;
};

struct hf_timeline {
    struct hf_boundary *boundaries;
    size_t boundary_count;
    struct hf_stretch *stretches;
    size_t stretch_count;
    uint64_t oldest; /* the first position that may be opened */
    uint64_t newest; /* the last position that is there */
    int64_t newest_wall_ns;
    int64_t newest_receipt_ns;
    struct hf_state state; /* at newest */
};

/* Up to position_max (UINT64_MAX: all of it). */
int hf_timeline_build(struct hf_journal_reader *reader, const struct hf_manifest *manifest,
                      uint64_t position_max, struct hf_timeline *ret_timeline);
void hf_timeline_clear(struct hf_timeline *timeline); /* NULL-safe */

/* The last position <= `position` that can be opened; false when there is none. */
bool hf_timeline_last_openable(const struct hf_timeline *timeline, uint64_t position,
                               uint64_t *ret_position);
bool hf_timeline_is_openable(const struct hf_timeline *timeline, uint64_t position);

/*
 * Replays events up to `position`. After each event (its state applied) `each` is called when it is
 * not NULL; its first non-zero ends the walk and is returned. *state begins as the manifest's and
 * ends as the state at `position`.
 */
struct hf_replay {
    struct hf_journal_reader *reader;
    const struct hf_manifest *manifest;
    const struct hf_boundary *boundaries;
    size_t boundary_count;
    uint64_t position;
    int (*each)(void *context, const struct hf_journal_event *event, const struct hf_state *before,
                const struct hf_state *after);
    void *context;
};
int hf_replay_run(const struct hf_replay *replay, struct hf_state *ret_state);

#endif
