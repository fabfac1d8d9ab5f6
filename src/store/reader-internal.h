// SPDX-License-Identifier: Apache-2.0
/* A machine as a reader sees it; shared by points, views and checks. */
#ifndef HF_STORE_READER_INTERNAL_H
#define HF_STORE_READER_INTERNAL_H

#include "store/point.h"
#include "store/store-internal.h"
#include "store/timeline.h"

#define HF_READER_OPEN_ATTEMPTS                                                                    \
    16 /* manifest and journal at one moment, while a merge moves on                               \
        */

struct hf_machine_reader {
    struct hf_store *store; /* borrowed */
    struct hf_id machine;
    struct hf_manifest manifest;
    struct hf_journal_reader *journal;
    struct hf_timeline timeline;
};

/* The state at a position of the timeline. */
int hf_machine_reader_state(struct hf_machine_reader *reader, uint64_t position,
                            struct hf_state *ret_state);
/* 0 when the position can be opened; -HF_EPRUNED, -HF_EPARTIAL, -HF_ENOPOINT. *ret_reason: static
 * text. */
int hf_machine_reader_openable(struct hf_machine_reader *reader, uint64_t position,
                               const char **ret_reason);

#endif
