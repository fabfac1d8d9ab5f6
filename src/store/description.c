// SPDX-License-Identifier: Apache-2.0
#include "store/description.h"

#include "base/base.h"
#include "base/error.h"
#include "stream/record.h"

static int take_whole(struct hf_description *description)
{
    hf_bytes_clear(&description->whole);
    description->whole = description->pending;
    description->pending = (struct hf_bytes){0};
    description->pending_parts = 0;
    return 0;
}

int hf_description_part(struct hf_description *description, const void *body, size_t size)
{
    struct hf_machine_body head;
    uint32_t length, total;
    int r;

    if (size < sizeof(head))
        return -HF_ECORRUPT;
    memcpy(&head, body, sizeof(head));
    length = hf_le32_get(head.part_length);
    total = hf_le32_get(head.total_length);
    if (length != size - sizeof(head) || total > HF_MACHINE_DESCRIPTION_MAX ||
        hf_le16_get(head.part) >= hf_le16_get(head.parts))
        return -HF_ECORRUPT;
    if (hf_le16_get(head.part) == 0) {
        hf_bytes_clear(&description->pending);
        description->pending_parts = 0;
        description->pending_version = hf_le32_get(head.version);
    }
    if (hf_le16_get(head.part) != description->pending_parts ||
        hf_le32_get(head.version) != description->pending_version ||
        length > total - description->pending.size) {
        hf_bytes_clear(&description->pending);
        description->pending_parts = 0;
        return 0;
    }
    r = hf_bytes_append(&description->pending, (const uint8_t *)body + sizeof(head), length);
    if (r < 0)
        return r;
    description->pending_parts++;
    if (description->pending_parts < hf_le16_get(head.parts))
        return 0;
    return description->pending.size == total ? take_whole(description) : 0;
}

int hf_description_copy(const struct hf_description *from, struct hf_description *ret_copy)
{
    struct hf_description copy = {.pending_version = from->pending_version,
                                  .pending_parts = from->pending_parts};
    int r = 0;

    if (from->whole.size > 0)
        r = hf_bytes_append(&copy.whole, from->whole.data, from->whole.size);
    if (r == 0 && from->pending.size > 0)
        r = hf_bytes_append(&copy.pending, from->pending.data, from->pending.size);
    if (r < 0) {
        hf_description_clear(&copy);
        return r;
    }
    *ret_copy = copy;
    return 0;
}

void hf_description_clear(struct hf_description *description)
{
    if (description == NULL)
        return;
    hf_bytes_clear(&description->whole);
    hf_bytes_clear(&description->pending);
    description->pending_parts = 0;
}
