// SPDX-License-Identifier: Apache-2.0
/* The running digest of a lane, and the rules for a single record. */
#include "stream/stream-internal.h"

#include "base/base.h"

#define FRAMES_PER_RECORD_MAX (HF_RECORD_CONTENT_MAX / HF_FRAME_CONTENT_MAX)

/* What one step hashes. Times are left out: they are labels, and cut differently by each batch. */
struct digest_step {
    struct hf_hash128 before;
    hf_le64 seq;
    hf_le32 seq_size;
    uint8_t type;
    uint8_t flags;
    hf_le16 disk;
    hf_le64 offset;
    hf_le64 length;
    hf_le64 checksums[FRAMES_PER_RECORD_MAX];
} __attribute__((packed));
_Static_assert(sizeof(struct digest_step) == 48 + 8 * FRAMES_PER_RECORD_MAX, "specified");

void hf_digest_begin(const struct hf_id *capture, struct hf_digest *ret_digest)
{
    ret_digest->value = hf_hash128(capture->bytes, sizeof(capture->bytes), 0);
}

void hf_digest_begin_pass(const struct hf_id *capture, uint64_t pass, struct hf_digest *ret_digest)
{
    struct {
        struct hf_id capture;
        hf_le64 pass;
    } __attribute__((packed)) seed = {*capture, hf_le64_of(pass)};

    ret_digest->value = hf_hash128(&seed, sizeof(seed), 0);
}

void hf_digest_add(struct hf_digest *digest, const struct hf_batch_record *record,
                   const struct hf_batch_frame *frames, uint32_t frame_count)
{
    struct digest_step step = {
        .before = digest->value,
        .seq = record->seq,
        .seq_size = record->seq_size,
        .type = record->type,
        .flags = record->flags,
        .disk = record->disk,
        .offset = record->offset,
        .length = record->length,
    };

    HF_ASSERT(frame_count <= FRAMES_PER_RECORD_MAX);
    for (uint32_t i = 0; i < frame_count; i++)
        step.checksums[i] = frames[i].checksum;
    digest->value = hf_hash128(&step, offsetof(struct digest_step, checksums) + 8 * frame_count, 0);
}

uint32_t hf_record_frame_count(uint8_t type, uint64_t length)
{
    if (type == HF_RECORD_ZERO || type == HF_RECORD_DISCARD)
        return 0;
    return (uint32_t)((length + HF_FRAME_CONTENT_MAX - 1) / HF_FRAME_CONTENT_MAX);
}

size_t hf_record_frame_length(uint64_t length, uint32_t index)
{
    uint64_t before = (uint64_t)index * HF_FRAME_CONTENT_MAX;

    HF_ASSERT(before < length);
    return HF_MIN(length - before, HF_FRAME_CONTENT_MAX);
}

static bool range_is_valid(uint16_t disk, uint64_t offset, uint64_t length)
{
    uint64_t end;

    return disk < HF_DISKS_MAX && length > 0 && offset % HF_SECTOR == 0 &&
           length % HF_SECTOR == 0 && hf_add_u64(offset, length, &end) && end <= INT64_MAX;
}

/* Later versions may lengthen a body; a shorter one is not one. */
static bool body_is_valid(uint8_t type, uint64_t length)
{
    static const uint16_t size_min[] = {
        [HF_RECORD_MARK] = sizeof(struct hf_mark_body),
        [HF_RECORD_PASS_BEGIN] = sizeof(struct hf_pass_body),
        [HF_RECORD_PASS_END] = sizeof(struct hf_pass_body),
        [HF_RECORD_DISK] = sizeof(struct hf_disk_body),
        [HF_RECORD_MACHINE] = sizeof(struct hf_machine_body),
        [HF_RECORD_GAP] = sizeof(struct hf_gap_body),
        [HF_RECORD_NOTE] = 0,
    };

    return type >= HF_RECORD_MARK && type <= HF_RECORD_NOTE && length >= size_min[type] &&
           length <= HF_RECORD_CONTENT_MAX;
}

bool hf_record_is_valid(uint8_t lane, uint8_t type, uint16_t disk, uint64_t offset, uint64_t length)
{
    switch (type) {
    case HF_RECORD_WRITE:
        return range_is_valid(disk, offset, length) && length <= HF_RECORD_CONTENT_MAX;
    case HF_RECORD_ZERO:
    case HF_RECORD_DISCARD:
        return range_is_valid(disk, offset, length);
    default:
        return lane == HF_LANE_CAPTURED && body_is_valid(type, length);
    }
}
