// SPDX-License-Identifier: Apache-2.0
/* What the target answers to ATTACH: a pure decision over what it durably has and what the source
 * says it holds. */
#ifndef HF_TARGET_ATTACH_H
#define HF_TARGET_ATTACH_H

#include "store/store.h"
#include "wire/message.h"

/* What the target has of one machine. */
struct hf_attach_have {
    uint64_t epoch;    /* 0: the machine has never been attached */
    bool stream_known; /* something of exactly the announced (epoch, capture) is in the journal */
    uint64_t complete_mask;              /* bit per disk whose base is whole */
    struct hf_journal_progress progress; /* of that stream; zeros when not known */
};

/*
 * Decides. *ret_ok has everything but `target` and `credit`. Its stream.epoch is the epoch the
 * source is to use. Never fails: a refusal is a verdict too. Any thread; no I/O.
 */
void hf_attach_decide(const struct hf_msg_attach *attach, const struct hf_attach_have *have,
                      struct hf_msg_attach_ok *ret_ok);

/* The epoch to look streams up under: the announced one, or what a source without one is given. */
uint64_t hf_attach_epoch(const struct hf_msg_attach *attach, uint64_t epoch_have);

#endif
