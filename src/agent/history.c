// SPDX-License-Identifier: Apache-2.0
#include "agent/history.h"

#include "base/base.h"
#include "base/error.h"

void hf_history_reset(struct hf_history *history)
{
    history->first = 0;
    history->count = 0;
    history->bytes = 0;
}

static struct hf_history_entry *entry_at(const struct hf_history *history, size_t index)
{
    size_t place = (history->first + index) % HF_HISTORY_MAX;

    return (struct hf_history_entry *)&history->entries[place];
}

int hf_history_push(struct hf_history *history, const struct hf_history_entry *entry)
{
    const struct hf_history_entry *newest = hf_history_newest(history);

    if (history->count == HF_HISTORY_MAX)
        return -ENOSPC;
    HF_ASSERT(!newest || newest->chain.seq < entry->chain.seq);
    *entry_at(history, history->count++) = *entry;
    history->bytes += entry->bytes;
    return 0;
}

const struct hf_history_entry *hf_history_oldest(const struct hf_history *history)
{
    return history->count ? entry_at(history, 0) : NULL;
}

const struct hf_history_entry *hf_history_newest(const struct hf_history *history)
{
    return history->count ? entry_at(history, history->count - 1) : NULL;
}

void hf_history_pop(struct hf_history *history)
{
    HF_ASSERT(history->count > 0);
    history->bytes -= entry_at(history, 0)->bytes;
    history->first = (history->first + 1) % HF_HISTORY_MAX;
    history->count--;
}

const struct hf_history_entry *hf_history_find(const struct hf_history *history, uint64_t seq)
{
    size_t low = 0, high = history->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct hf_history_entry *entry = entry_at(history, middle);

        if (entry->chain.seq == seq)
            return entry;
        if (entry->chain.seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
