// SPDX-License-Identifier: Apache-2.0
/* The process that freezes and thaws; see freezer.h for why it is one of its own. */
#ifndef HF_AGENT_FREEZE_HELPER_H
#define HF_AGENT_FREEZE_HELPER_H

#include <stdint.h>
#include <sys/types.h>

#include "agent/freezer.h"

enum hf_freeze_verb { HF_FREEZE_FREEZE = 1, HF_FREEZE_THAW = 2 };

struct hf_freeze_request {
    uint32_t verb; /* enum hf_freeze_verb */
    uint32_t disk_count;
    dev_t disks[HF_DISKS_MAX];
};

/* THAW: error is 0 when everything was frozen until then. */
struct hf_freeze_reply {
    int32_t error;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; FREEZE: thawed then at the latest */
    char reason[256];
};

/* Serves requests on the socket until its other end is closed; never returns. */
void hf_freeze_helper_main(int fd, const struct hf_freezer_options *options)
    __attribute__((noreturn));

#endif
