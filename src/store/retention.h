// SPDX-License-Identifier: Apache-2.0
/*
 * The clock of retention. History is measured along itself: the time between two batches is the
 * difference of their receipt times, by the store's clock, when that lies between 0 and an hour,
 * and nothing otherwise. So a clock that jumps, at the source or here, ages nothing (faults 39,
 * 40), and a machine that stopped sending keeps its last dense window. One thread (append_lock).
 */
#ifndef HF_STORE_RETENTION_H
#define HF_STORE_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF_RETENTION_SAMPLES_MAX 8192u
#define HF_RETENTION_JUMP_MAX_NS (UINT64_C(3600) * 1000000000)

struct hf_retention_sample {
    uint64_t position;
    uint64_t age_ns; /* of the whole history, up to here */
};

struct hf_retention_clock {
    bool begun;
    int64_t receipt_ns; /* of the batch before */
    uint64_t age_ns;
    uint64_t jumps;       /* steps that were not counted */
    uint64_t interval_ns; /* between samples */
    bool has_openable;
    uint64_t openable_position; /* the newest point */
    uint64_t openable_age_ns;
    size_t first; /* samples form a ring */
    size_t count;
    struct hf_retention_sample samples[HF_RETENTION_SAMPLES_MAX];
};

void hf_retention_init(struct hf_retention_clock *clock, uint64_t window_ns);
/* A batch came in that ends at `position`. */
void hf_retention_batch(struct hf_retention_clock *clock, uint64_t position, int64_t receipt_ns);
/* `position` is the newest point now. */
void hf_retention_point(struct hf_retention_clock *clock, uint64_t position);
/* The greatest position that may be merged to when `window_ns` of history before the newest point
 * is kept; false when nothing may. Never beyond the newest point. */
bool hf_retention_floor(const struct hf_retention_clock *clock, uint64_t window_ns,
                        uint64_t *ret_position);
/* The first sample at or behind `position`; `otherwise` when there is none. */
uint64_t hf_retention_next(const struct hf_retention_clock *clock, uint64_t position,
                           uint64_t otherwise);
/* History between `oldest` and the newest point. */
uint64_t hf_retention_history_ns(const struct hf_retention_clock *clock, uint64_t oldest);
/* Forgets samples below `position`. */
void hf_retention_forget(struct hf_retention_clock *clock, uint64_t position);

#endif
