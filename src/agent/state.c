// SPDX-License-Identifier: Apache-2.0
#include "agent/state.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

#define STATE_MAGIC 0x6574617453414648ULL /* "HFAState" */
#define STATE_VERSION 1

struct memory_head {
    uint64_t magic;
    uint32_t version;
    uint32_t slot_size;
};

struct memory {
    struct memory_head head;
    struct hf_saved slots[2];
    struct hf_saved_disk disks[HF_CAPTURE_DISKS_MAX];
};
_Static_assert(sizeof(struct hf_saved_disk) == 48, "pinned memory");
_Static_assert(sizeof(struct memory) <= HF_AGENT_STATE_BYTES, "pinned memory");

static uint64_t checksum(const struct hf_saved *saved)
{
    return hf_hash64(saved, offsetof(struct hf_saved, checksum));
}

static const struct hf_saved *newest_whole(const struct memory *memory)
{
    const struct hf_saved *best = NULL;

    for (size_t i = 0; i < HF_ARRAY_COUNT(memory->slots); i++) {
        const struct hf_saved *slot = &memory->slots[i];

        if (slot->generation == 0 || slot->checksum != checksum(slot))
            continue;
        if (!best || slot->generation > best->generation)
            best = slot;
    }
    return best;
}

int hf_state_load(struct hf_state *state, void *memory_, bool *ret_found)
{
    struct memory *memory = memory_;
    const struct hf_saved *saved;

    memset(state, 0, sizeof(*state));
    state->memory = memory;
    *ret_found = false;
    if (memory->head.magic == 0) {
        memory->head.version = STATE_VERSION;
        memory->head.slot_size = sizeof(struct hf_saved);
        memory->head.magic = STATE_MAGIC;
        return 0;
    }
    if (memory->head.magic != STATE_MAGIC || memory->head.version != STATE_VERSION ||
        memory->head.slot_size != sizeof(struct hf_saved))
        return -HF_EVERSION;
    saved = newest_whole(memory);
    if (saved) {
        state->now = *saved;
        *ret_found = true;
    }
    return 0;
}

void hf_state_save(struct hf_state *state)
{
    struct memory *memory = state->memory;
    struct hf_saved *slot;

    state->now.generation++;
    state->now.checksum = checksum(&state->now);
    slot = &memory->slots[state->now.generation % 2];
    slot->checksum = 0; /* torn until the last store */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    memcpy(slot, &state->now, offsetof(struct hf_saved, checksum));
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    slot->checksum = state->now.checksum;
}

void hf_state_disk_set(struct hf_state *state, unsigned slot, const struct hf_saved_disk *disk)
{
    struct memory *memory = state->memory;

    HF_ASSERT(slot < HF_CAPTURE_DISKS_MAX);
    memory->disks[slot] = *disk;
}

void hf_state_disk_get(const struct hf_state *state, unsigned slot, struct hf_saved_disk *ret_disk)
{
    const struct memory *memory = state->memory;

    HF_ASSERT(slot < HF_CAPTURE_DISKS_MAX);
    *ret_disk = memory->disks[slot];
}
