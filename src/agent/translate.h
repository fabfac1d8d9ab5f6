// SPDX-License-Identifier: Apache-2.0
/*
 * From a ring record to a stream record. A pure function of the record, of the chain before it and
 * of the disks' saved identities, so that a restarted agent makes the same bytes and the same
 * digest again.
 *
 * The agent's own records go through the ring as marks whose kind is the enum hf_record_type. A
 * mark carries the number of losses (ranges put into the lost map) at its moment. When that number
 * rose since the last pass began, the mark is no point: it becomes a GAP, so that no point lies
 * between the first loss and the end of the pass that repairs it (P2); a PASS_END in such a place
 * is not COMPLETE.
 */
#ifndef HF_AGENT_TRANSLATE_H
#define HF_AGENT_TRANSLATE_H

#include "agent/state.h"
#include "stream/batch.h"

struct hf_translated {
    struct hf_record_in record; /* content points into the ring or into `body` */
    union {
        struct hf_disk_body disk;
        struct hf_gap_body gap;
        struct hf_pass_body pass;
    } body;
};

/* Fills ret_translated and moves chain's loss fields (not seq, not digest). HF_ECORRUPT: not a
 * record that this build knows. */
int hf_translate(struct hf_chain *chain, const struct hf_state *state,
                 const struct hf_capture_view *view, struct hf_translated *ret_translated);

/* Whether nothing was lost between the newest PASS_BEGIN of the chain and this PASS_END. */
bool hf_pass_end_complete(const struct hf_chain *chain, const struct hf_capture_record *record);

/* What a GAP's body says for a cause of the capture. */
enum hf_gap_cause hf_gap_cause_of(uint32_t capture_cause);

#endif
