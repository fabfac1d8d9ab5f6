// SPDX-License-Identifier: Apache-2.0
/* For tests: the naive model of a machine's history. Every change is kept as it was made; a state
 * is made by applying all of them up to a position, one after the other, to zeros. */
#ifndef HF_STORE_MODEL_H
#define HF_STORE_MODEL_H

#include <stdbool.h>

#include "stream/record.h"

struct hf_model_op {
    uint64_t position;
    uint64_t offset;
    uint64_t length;
    uint64_t seed; /* of the content; 0: zeros */
    uint64_t pass; /* 0: captured */
    uint64_t pass_batch;
    uint16_t disk;
};

struct hf_model_event {
    uint64_t position;
    uint8_t type; /* enum hf_record_type; 0: a stream begins behind the position */
    uint8_t kind; /* of the pass */
    uint16_t flags;
    uint64_t pass;
    uint64_t disk_mask; /* pass: its disks; DISK: the one */
    uint64_t size_bytes;
    uint8_t change; /* enum hf_disk_change */
};

struct hf_model {
    struct hf_model_op *ops; /* by position, then as they came */
    size_t op_count;
    struct hf_model_event *events; /* by position */
    size_t event_count;
};

/* What a seed stands for. */
void hf_model_content(uint64_t seed, void *content, size_t size);
void hf_model_op_add(struct hf_model *model, const struct hf_model_op *op);
void hf_model_event_add(struct hf_model *model, const struct hf_model_event *event);
/* What lies behind `position`, and batches from `pass_batch` on of the pass at `pass_position`,
 * never came. */
void hf_model_truncate(struct hf_model *model, uint64_t position, uint64_t pass_position,
                       uint64_t pass_batch);
void hf_model_clear(struct hf_model *model);

bool hf_model_openable(const struct hf_model *model, uint64_t position);
/* Disks that belong to the point, as a mask, and a disk's size there. */
uint64_t hf_model_disks(const struct hf_model *model, uint64_t position);
uint64_t hf_model_size(const struct hf_model *model, uint64_t position, uint16_t disk);
void hf_model_image(const struct hf_model *model, uint64_t position, uint16_t disk, void *image,
                    size_t size);

#endif
