// SPDX-License-Identifier: Apache-2.0
/*
 * Any bytes as a batch. The hashes would stop almost every input at the door, so the input is
 * parsed as it is and once more with its hashes made right, as a hostile peer would.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "fuzz.h"
#include "stream/stream-test.h"

static void read_all(const struct hf_batch *batch)
{
    static uint8_t content[HF_RECORD_CONTENT_MAX];
    size_t length;

    if (hf_batch_verify(batch, NULL) < 0)
        return;
    for (uint32_t i = 0; i < batch->record_count; i++) {
        HF_ASSERT(hf_batch_record_content(batch, i, content, &length) == 0);
        HF_ASSERT(length <= HF_RECORD_CONTENT_MAX);
    }
}

/* Whether signing would stay inside the input. */
static bool can_be_signed(const struct hf_batch_header *header, size_t size)
{
    uint64_t need = hf_le16_get(header->header_size) +
                    (uint64_t)hf_le32_get(header->record_count) * sizeof(struct hf_batch_record) +
                    (uint64_t)hf_le32_get(header->frame_count) * sizeof(struct hf_batch_frame) +
                    hf_le32_get(header->payload_size);

    return hf_le16_get(header->header_size) >= sizeof(*header) && need <= size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    struct hf_batch batch;

    if (!copy)
        return 0;
    memcpy(copy, data, size);
    if (hf_batch_parse(copy, size, &batch) == 0)
        read_all(&batch);
    if (size >= sizeof(struct hf_batch_header) && can_be_signed((void *)copy, size)) {
        hf_test_batch_sign(copy);
        if (hf_batch_parse(copy, size, &batch) == 0)
            read_all(&batch);
    }
    free(copy);
    return 0;
}
