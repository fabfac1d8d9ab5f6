// SPDX-License-Identifier: Apache-2.0
#include "agent/throttle.h"

#include "base/base.h"

void hf_throttle_use(struct hf_throttle *throttle, uint64_t bytes, uint64_t now_ns)
{
    uint64_t floor_ns = now_ns > HF_THROTTLE_BURST_NS ? now_ns - HF_THROTTLE_BURST_NS : 0;

    if (throttle->bytes_per_s == 0)
        return;
    throttle->next_ns = HF_MAX(throttle->next_ns, floor_ns);
    throttle->next_ns +=
        (uint64_t)((double)bytes * (double)HF_NS_PER_S / (double)throttle->bytes_per_s);
}

uint64_t hf_throttle_wait_ns(const struct hf_throttle *throttle, uint64_t now_ns)
{
    return throttle->bytes_per_s && throttle->next_ns > now_ns ? throttle->next_ns - now_ns : 0;
}
