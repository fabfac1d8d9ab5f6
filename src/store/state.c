// SPDX-License-Identifier: Apache-2.0
#include "store/state.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

void hf_state_init(struct hf_state *ret_state)
{
    memset(ret_state, 0, sizeof(*ret_state));
}

void hf_state_stream(struct hf_state *state, const struct hf_stream_id *stream)
{
    if (state->has_stream && state->stream.epoch == stream->epoch &&
        hf_id_equal(&state->stream.capture, &stream->capture))
        return;
    state->has_stream = true;
    state->stream = *stream;
    state->consistent = false;
    memset(&state->pass, 0, sizeof(state->pass));
}

void hf_state_hole(struct hf_state *state)
{
    state->consistent = false;
    state->damaged = true;
    state->pass.mends = false;
}

static int pass_begin(struct hf_state *state, const struct hf_state_event *event)
{
    struct hf_pass_body body;

    if (event->body_length != sizeof(body))
        return -HF_ECORRUPT;
    memcpy(&body, event->body, sizeof(body));
    state->pass = (struct hf_state_pass){
        .open = true,
        .kind = body.kind,
        .flags = hf_le16_get(body.flags),
        .number = hf_le64_get(body.pass),
        .disk_mask = hf_le64_get(body.disk_mask),
        .seq = event->seq_end,
        .position = event->position,
    };
    state->pass.mends = body.kind != HF_PASS_MAP && !(state->pass.flags & HF_PASS_ADDED_DISK);
    if (!(state->pass.flags & HF_PASS_ADDED_DISK))
        state->consistent = false;
    return 0;
}

static void disks_join(struct hf_state *state, uint64_t disk_mask)
{
    for (unsigned i = 0; i < HF_DISKS_MAX; i++) {
        if (!(disk_mask >> i & 1) || !state->disks[i].present)
            continue;
        state->disks[i].complete = true;
        state->disks[i].ever_complete = true;
    }
}

/* The end of a pass that was given up before (another one began) says nothing about now. */
static int pass_end(struct hf_state *state, const struct hf_state_event *event)
{
    struct hf_pass_body body;

    if (event->body_length != sizeof(body))
        return -HF_ECORRUPT;
    memcpy(&body, event->body, sizeof(body));
    if (!state->pass.open || hf_le64_get(body.pass) != state->pass.number)
        return 0;
    state->pass.open = false;
    if (!(hf_le16_get(body.flags) & HF_PASS_COMPLETE))
        return 0;
    disks_join(state, state->pass.disk_mask);
    if (state->pass.mends)
        state->damaged = false;
    if (!(state->pass.flags & HF_PASS_ADDED_DISK) && !state->damaged)
        state->consistent = true;
    return 0;
}

static int disk_change(struct hf_state *state, const struct hf_state_event *event)
{
    struct hf_disk_body body;
    struct hf_state_disk *disk;

    if (event->body_length != sizeof(body))
        return -HF_ECORRUPT;
    memcpy(&body, event->body, sizeof(body));
    if (hf_le16_get(body.disk) >= HF_DISKS_MAX)
        return -HF_ECORRUPT;
    disk = &state->disks[hf_le16_get(body.disk)];
    if (body.change == HF_DISK_REMOVE) {
        disk->present = false;
        disk->complete = false;
        return 0;
    }
    if (body.change != HF_DISK_ADD && body.change != HF_DISK_RESIZE)
        return -HF_ECORRUPT;
    /* another disk in the slot (fault 14): it takes part again once a pass has made it whole */
    if (!disk->present || !hf_id_equal(&disk->identity, &body.identity))
        disk->complete = false;
    disk->present = true;
    disk->block_size = hf_le32_get(body.block_size);
    disk->size_bytes = hf_le64_get(body.size_bytes);
    disk->identity = body.identity;
    memcpy(disk->name, body.name, sizeof(disk->name));
    disk->name[sizeof(disk->name) - 1] = '\0';
    return 0;
}

int hf_state_event(struct hf_state *state, const struct hf_state_event *event)
{
    switch (event->type) {
    case HF_RECORD_PASS_BEGIN:
        return pass_begin(state, event);
    case HF_RECORD_PASS_END:
        return pass_end(state, event);
    case HF_RECORD_DISK:
        return disk_change(state, event);
    case HF_RECORD_GAP:
        state->consistent = false;
        return 0;
    default:
        return 0;
    }
}

bool hf_state_any_complete(const struct hf_state *state)
{
    for (unsigned i = 0; i < HF_DISKS_MAX; i++) {
        if (state->disks[i].present && state->disks[i].complete)
            return true;
    }
    return false;
}

bool hf_state_disk(const struct hf_state *state, uint16_t disk, struct hf_machine_disk *ret_disk)
{
    const struct hf_state_disk *from;

    if (disk >= HF_DISKS_MAX || !state->disks[disk].present)
        return false;
    from = &state->disks[disk];
    memset(ret_disk, 0, sizeof(*ret_disk));
    ret_disk->disk = disk;
    ret_disk->present = true;
    ret_disk->complete = from->complete;
    ret_disk->block_size = from->block_size;
    ret_disk->size_bytes = from->size_bytes;
    ret_disk->identity = from->identity;
    memcpy(ret_disk->name, from->name, sizeof(ret_disk->name));
    return true;
}
