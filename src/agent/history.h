// SPDX-License-Identifier: Apache-2.0
/*
 * Batches that were sent and are not acknowledged yet: where each ended and with which digest of
 * our own. An acknowledgement counts only when it names such an end with the same digest; nothing
 * is released and no map bit cleared on the other side's word alone (fault 7). One thread.
 */
#ifndef HF_AGENT_HISTORY_H
#define HF_AGENT_HISTORY_H

#include "agent/state.h"

#define HF_HISTORY_MAX 4096 /* batches in flight */

struct hf_history_entry {
    struct hf_chain chain; /* at the end of the batch */
    uint64_t boot_ns_first;
    uint64_t boot_ns_last;
    uint32_t records;
    uint32_t bytes;
};

struct hf_history {
    struct hf_history_entry entries[HF_HISTORY_MAX];
    size_t first;
    size_t count;
    uint64_t bytes; /* of all entries */
};

void hf_history_reset(struct hf_history *history); /* nothing in flight */
/* -ENOSPC when HF_HISTORY_MAX are in flight. */
int hf_history_push(struct hf_history *history, const struct hf_history_entry *entry);
/* The oldest, or NULL. Borrowed until the next change. */
const struct hf_history_entry *hf_history_oldest(const struct hf_history *history);
const struct hf_history_entry *hf_history_newest(const struct hf_history *history);
void hf_history_pop(struct hf_history *history); /* drops the oldest; there is one */
/* The entry that ends exactly at seq, or NULL. */
const struct hf_history_entry *hf_history_find(const struct hf_history *history, uint64_t seq);

#endif
