// SPDX-License-Identifier: Apache-2.0
#include "agent/translate.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

enum hf_gap_cause hf_gap_cause_of(uint32_t capture_cause)
{
    switch (capture_cause) {
    case HF_CAUSE_RING_FULL:
        return HF_GAP_RING_FULL;
    case HF_CAUSE_NO_HEARTBEAT:
        return HF_GAP_NO_HEARTBEAT;
    case HF_CAUSE_DISK_CHANGED:
        return HF_GAP_DISK_CHANGED;
    case HF_CAUSE_START:
    case HF_CAUSE_FORCED:
    case HF_CAUSE_BUDGET:
        return HF_GAP_FORCED;
    default:
        return HF_GAP_PAGE;
    }
}

static void make_gap(struct hf_translated *out, enum hf_gap_cause cause, uint64_t since_boot_ns)
{
    out->body.gap = (struct hf_gap_body){
        .cause = (uint8_t)cause,
        .version = 1,
        .since_boot_ns = hf_le64_of(since_boot_ns),
    };
    out->record.type = HF_RECORD_GAP;
    out->record.offset = 0;
    out->record.length = sizeof(out->body.gap);
    out->record.content = &out->body.gap;
}

static int make_disk(struct hf_translated *out, const struct hf_state *state,
                     const struct hf_capture_view *view)
{
    const struct hf_capture_record *record = view->record;
    struct hf_saved_disk disk;

    if (record->kind < HF_DISK_ADD || record->kind > HF_DISK_REMOVE ||
        record->slot >= HF_CAPTURE_DISKS_MAX)
        return -HF_ECORRUPT;
    hf_state_disk_get(state, record->slot, &disk);
    out->body.disk = (struct hf_disk_body){
        .change = (uint8_t)record->kind,
        .version = 1,
        .disk = hf_le16_of(record->slot),
        .block_size = hf_le32_of(disk.block_size),
        .size_bytes = hf_le64_of(record->length_bytes),
        .identity = disk.identity,
    };
    memcpy(out->body.disk.name, disk.name, sizeof(disk.name));
    out->record.type = HF_RECORD_DISK;
    out->record.offset = 0;
    out->record.length = sizeof(out->body.disk);
    out->record.content = &out->body.disk;
    return 0;
}

static int make_pass_end(struct hf_translated *out, const struct hf_capture_view *view)
{
    if (view->record->content_bytes != sizeof(out->body.pass))
        return -HF_ECORRUPT;
    memcpy(&out->body.pass, view->content, sizeof(out->body.pass));
    out->body.pass.flags =
        hf_le16_of((uint16_t)(hf_le16_get(out->body.pass.flags) & ~(unsigned)HF_PASS_COMPLETE));
    out->record.content = &out->body.pass;
    return 0;
}

bool hf_pass_end_complete(const struct hf_chain *chain, const struct hf_capture_record *record)
{
    return record->lost_events == chain->pass_lost_events &&
           (record->flags & HF_CAPTURE_RECORD_DIRTY) == 0;
}

/* A mark of the agent's own, in a place where something may have been lost. */
static int make_mark(struct hf_translated *out, struct hf_chain *chain,
                     const struct hf_capture_view *view)
{
    const struct hf_capture_record *record = view->record;
    bool lost =
        record->lost_events != chain->lost_events || (record->flags & HF_CAPTURE_RECORD_DIRTY) != 0;

    out->record.type = (uint8_t)record->kind;
    out->record.length = record->content_bytes;
    switch (record->kind) {
    case HF_RECORD_PASS_BEGIN:
        chain->lost_events = record->lost_events;
        chain->pass_lost_events = record->lost_events;
        chain->mark_boot_ns = record->boot_ns;
        return 0;
    case HF_RECORD_PASS_END:
        return hf_pass_end_complete(chain, record) ? 0 : make_pass_end(out, view);
    case HF_RECORD_MARK:
    case HF_RECORD_NOTE:
        if (lost)
            make_gap(out, HF_GAP_PAGE, chain->mark_boot_ns);
        chain->lost_events = record->lost_events;
        chain->mark_boot_ns = record->boot_ns;
        return 0;
    case HF_RECORD_MACHINE:
    case HF_RECORD_GAP:
        return 0;
    default:
        return -HF_ECORRUPT;
    }
}

int hf_translate(struct hf_chain *chain, const struct hf_state *state,
                 const struct hf_capture_view *view, struct hf_translated *ret_translated)
{
    const struct hf_capture_record *record = view->record;

    memset(ret_translated, 0, sizeof(*ret_translated));
    ret_translated->record = (struct hf_record_in){
        .seq = view->position,
        .seq_end = view->position_end,
        .boot_ns = record->boot_ns,
        .offset = record->offset_bytes,
        .length = record->length_bytes,
        .type = record->type,
        .disk = record->slot,
    };
    switch (record->type) {
    case HF_CAPTURE_WRITE:
        if (record->content_bytes != record->length_bytes)
            return -HF_ECORRUPT;
        ret_translated->record.content = view->content;
        return 0;
    case HF_CAPTURE_ZERO:
    case HF_CAPTURE_DISCARD:
        return 0;
    case HF_CAPTURE_MARK:
        ret_translated->record.offset = 0;
        ret_translated->record.content = view->content;
        return make_mark(ret_translated, chain, view);
    case HF_CAPTURE_DISK:
        return make_disk(ret_translated, state, view);
    case HF_CAPTURE_GAP:
        make_gap(ret_translated, hf_gap_cause_of(record->kind), record->boot_ns);
        return 0;
    default:
        return -HF_ECORRUPT;
    }
}
