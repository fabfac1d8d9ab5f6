// SPDX-License-Identifier: Apache-2.0
/* The agent's configuration file: what it may say, read and checked. */
#ifndef HF_AGENT_CONFIG_H
#define HF_AGENT_CONFIG_H

#include "conf/conf.h"
#include "stream/record.h"

#define HF_AGENT_PATH_MAX 256

struct hf_agent_config {
    char machine_id[40]; /* 32 hex digits; "": /etc/machine-id */
    char machine_name[128];
    char target[256]; /* address */
    char certificate[HF_AGENT_PATH_MAX];
    char key[HF_AGENT_PATH_MAX];
    char authority[HF_AGENT_PATH_MAX];
    char deny[HF_AGENT_PATH_MAX];
    char disks[HF_DISKS_MAX][HF_AGENT_PATH_MAX];
    size_t disk_count;
    char state_dir[HF_AGENT_PATH_MAX];
    char control_socket[HF_AGENT_PATH_MAX];
    char bpffs_dir[HF_AGENT_PATH_MAX];
    uint64_t ring_bytes;
    uint64_t maps_bytes;
    uint64_t dirty_return_ns;
    uint64_t generation_ns;
    uint64_t marks_interval_ns;
    uint64_t app_interval_ns; /* 0: only when asked */
    uint64_t batch_bytes;
    uint64_t batch_delay_ns;
    int64_t compression_level;
    bool compression_off;
    uint64_t pass_bytes_per_s;
    char freeze_dir[HF_AGENT_PATH_MAX];
    char thaw_dir[HF_AGENT_PATH_MAX];
    uint64_t hook_ns;
    uint64_t freeze_ns;
    char log[128];
    bool log_json;
};

/* The table that parser, sample (--sample) and manual come from. */
extern const struct hf_conf_table hf_agent_conf_table;

/* What the table cannot say: the ring is a power of two, the id is one. text gets a line for
 * people. -HF_ECONFIG. */
int hf_agent_config_check(const struct hf_agent_config *config, char *text, size_t text_size);

#endif
