// SPDX-License-Identifier: Apache-2.0
/* A histogram of durations with at most 1/8 error: eight steps to each power of two, from 1 us to
 * about 4 hours. Fixed size, one writer; a copy may be read anywhere. */
#ifndef HF_AGENT_HISTOGRAM_H
#define HF_AGENT_HISTOGRAM_H

#include <stdint.h>

#define HF_HISTOGRAM_BUCKETS 272 /* 34 powers of two */

struct hf_histogram {
    uint64_t counts[HF_HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max_us;
};

/* Counts `count` values of this duration. */
void hf_histogram_add(struct hf_histogram *histogram, uint64_t duration_us, uint64_t count);
/* The upper edge of the bucket in which the per_mille-th value lies; 0 when empty. */
uint64_t hf_histogram_quantile_us(const struct hf_histogram *histogram, unsigned per_mille);

#endif
