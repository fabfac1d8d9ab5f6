// SPDX-License-Identifier: Apache-2.0
#include "agent/histogram.h"

#include "base/base.h"

#define STEP_SHIFT 3 /* eight steps to a power of two */
#define STEPS (1u << STEP_SHIFT)

static unsigned bucket_of(uint64_t us)
{
    unsigned power, index;

    if (us < STEPS)
        return (unsigned)us;
    power = 63u - (unsigned)__builtin_clzll(us);
    index = (power - STEP_SHIFT + 1) * STEPS + (unsigned)((us >> (power - STEP_SHIFT)) - STEPS);
    return HF_MIN(index, HF_HISTOGRAM_BUCKETS - 1u);
}

static uint64_t bucket_edge_us(unsigned bucket)
{
    unsigned power = bucket / STEPS;

    if (power == 0)
        return bucket;
    return ((uint64_t)(STEPS + bucket % STEPS + 1) << (power - 1)) - 1;
}

void hf_histogram_add(struct hf_histogram *histogram, uint64_t duration_us, uint64_t count)
{
    histogram->counts[bucket_of(duration_us)] += count;
    histogram->total += count;
    histogram->max_us = HF_MAX(histogram->max_us, duration_us);
}

uint64_t hf_histogram_quantile_us(const struct hf_histogram *histogram, unsigned per_mille)
{
    uint64_t rank = (histogram->total * per_mille + 999) / 1000;
    uint64_t seen = 0;

    if (histogram->total == 0)
        return 0;
    for (unsigned i = 0; i < HF_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= HF_MAX(rank, 1u))
            return HF_MIN(bucket_edge_us(i), histogram->max_us);
    }
    return histogram->max_us;
}
