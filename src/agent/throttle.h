// SPDX-License-Identifier: Apache-2.0
/* A rate limit: after `bytes` were used, how long to wait before the next. Plain arithmetic over a
 * clock that the caller reads; one thread. */
#ifndef HF_AGENT_THROTTLE_H
#define HF_AGENT_THROTTLE_H

#include <stdint.h>

#define HF_THROTTLE_BURST_NS                                                                       \
    ((uint64_t)250 * 1000 * 1000) /* credit gathered while idle, at most                           \
                                   */

struct hf_throttle {
    uint64_t bytes_per_s; /* 0: no limit */
    uint64_t next_ns;     /* when what was used so far has been paid for */
};

/* bytes were used at now_ns. */
void hf_throttle_use(struct hf_throttle *throttle, uint64_t bytes, uint64_t now_ns);
/* 0: go on. */
uint64_t hf_throttle_wait_ns(const struct hf_throttle *throttle, uint64_t now_ns);

#endif
