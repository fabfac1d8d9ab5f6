// SPDX-License-Identifier: Apache-2.0
/* The target's configuration file: what it may say, read and checked. */
#ifndef HF_TARGET_CONFIG_H
#define HF_TARGET_CONFIG_H

#include "conf/conf.h"
#include "store/store.h"

#define HF_TARGET_PATH_MAX 512

struct hf_target_config {
    char store[HF_TARGET_PATH_MAX];
    char listen[256];
    char certificate[HF_TARGET_PATH_MAX];
    char key[HF_TARGET_PATH_MAX];
    char authority[HF_TARGET_PATH_MAX];
    char deny[HF_TARGET_PATH_MAX]; /* "" when there is none */
    struct hf_retention retention;
    uint64_t segment_bytes;
    char log[128];
    bool log_json;
};

/* The table that parser, sample (--sample) and manual come from. */
extern const struct hf_conf_table hf_target_conf_table;

#endif
