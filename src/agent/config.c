// SPDX-License-Identifier: Apache-2.0
#include "agent/config.h"

#include <stdio.h>

#include "base/error.h"
#include "base/id.h"

#define FIELD(member_) HF_CONF_FIELD(struct hf_agent_config, member_)

static const struct hf_conf_key disk_keys[] = {
    {"", HF_CONF_PATH, .offset = 0, .size = HF_AGENT_PATH_MAX, .example = "/dev/vda",
     .doc = "A block device."},
};
static const struct hf_conf_list disk_list = {
    .keys = disk_keys,
    .key_count = 1,
    .item_size = HF_AGENT_PATH_MAX,
    .count_offset = offsetof(struct hf_agent_config, disk_count),
};

static const struct hf_conf_key keys[] = {
    {"machine.name", HF_CONF_TEXT, FIELD(machine_name), .required = true, .min = 1, .max = 127,
     .example = "db1", .doc = "What this machine is called at the target."},
    {"machine.id", HF_CONF_TEXT, FIELD(machine_id), .max = 32,
     .doc = "32 hex digits that name this machine for ever. Default: /etc/machine-id."},
    {"target.address", HF_CONF_TEXT, FIELD(target), .required = true, .min = 3, .max = 255,
     .example = "recovery.example:7440", .doc = "Where the target listens, HOST:PORT."},
    {"tls.certificate", HF_CONF_PATH, FIELD(certificate), .required = true,
     .example = "/etc/holdfast/agent.pem",
     .doc = "This machine's certificate (holdfast pki issue DIR agent NAME)."},
    {"tls.key", HF_CONF_PATH, FIELD(key), .required = true,
     .example = "/etc/holdfast/agent-key.pem", .doc = "Its key, readable by its owner only."},
    {"tls.authority", HF_CONF_PATH, FIELD(authority), .required = true,
     .example = "/etc/holdfast/ca.pem",
     .doc = "The authority that signed the target's certificate."},
    {"tls.deny", HF_CONF_PATH, FIELD(deny),
     .doc = "Fingerprints (SHA-256, hex) of certificates that are refused, one a line."},
    {"disks", HF_CONF_LIST, FIELD(disks), .required = true, .min = 1, .max = HF_DISKS_MAX,
     .list = &disk_list,
     .doc = "The disks or partitions to protect, as one stream: every point is consistent across "
            "them. A disk added here is taken up at SIGHUP, without starting over."},
    {"state_dir", HF_CONF_PATH, FIELD(state_dir), .fallback = "/var/lib/holdfast/agent",
     .doc = "A directory of the agent's own. What must survive kill -9 is pinned in the bpffs; "
            "nothing is written here on the data path."},
    {"control_socket", HF_CONF_PATH, FIELD(control_socket), .max = 100,
     .fallback = "/run/holdfast/agent.sock", .doc = "Where `holdfast agent` finds this agent."},
    {"bpffs_dir", HF_CONF_PATH, FIELD(bpffs_dir), .fallback = "/sys/fs/bpf/holdfast/main",
     .doc = "Where programs, maps and ring are pinned, on a bpffs."},
    {"capture.ring", HF_CONF_SIZE, FIELD(ring_bytes), .fallback = "64MiB", .min = 64 << 10,
     .max = 1 << 30,
     .doc = "Memory for captured writes that are not acknowledged yet, a power of two. When it is "
            "full only maps grow, and a pass follows."},
    {"capture.maps", HF_CONF_SIZE, FIELD(maps_bytes), .fallback = "24MiB", .min = 64 << 10,
     .max = 1 << 30, .doc = "Memory for the maps of all disks together."},
    {"capture.dirty_return", HF_CONF_DURATION, FIELD(dirty_return_ns), .fallback = "10s",
     .doc = "Least time between two returns from maps to content."},
    {"capture.generation", HF_CONF_DURATION, FIELD(generation_ns), .fallback = "5s",
     .min = 100000000, .max = 600000000000,
     .doc = "How often the maps of unconfirmed writes begin a new generation."},
    {"marks.interval", HF_CONF_DURATION, FIELD(marks_interval_ns), .fallback = "5s",
     .min = 100000000, .max = 86400000000000,
     .doc = "A crash-consistent recovery point is set this often."},
    {"marks.app_interval", HF_CONF_DURATION, FIELD(app_interval_ns), .fallback = "0s",
     .doc = "An application-consistent one this often; 0: only when asked for."},
    {"batch.size", HF_CONF_SIZE, FIELD(batch_bytes), .fallback = "1MiB", .min = 128 << 10,
     .max = 4 << 20, .doc = "A batch is sent when it has grown to this ..."},
    {"batch.delay", HF_CONF_DURATION, FIELD(batch_delay_ns), .fallback = "5ms", .max = 10000000000,
     .doc = "... or its oldest record is this old."},
    {"batch.compression", HF_CONF_INTEGER, FIELD(compression_level), .fallback = "-5", .min = -100,
     .max = 12, .doc = "zstd level; negative ones are fast."},
    {"batch.compression_off", HF_CONF_BOOL, FIELD(compression_off), .fallback = "false",
     .doc = "Send everything uncompressed."},
    {"pass.rate", HF_CONF_SIZE, FIELD(pass_bytes_per_s), .fallback = "0",
     .doc = "Most bytes a second that a pass reads from the disks; 0: no limit."},
    {"freeze.hooks", HF_CONF_PATH, FIELD(freeze_dir), .fallback = "/etc/holdfast/freeze.d",
     .doc = "Programs run in order before file systems are frozen; root's, and writable by no one "
            "else."},
    {"freeze.thaw_hooks", HF_CONF_PATH, FIELD(thaw_dir), .fallback = "/etc/holdfast/thaw.d",
     .doc = "Programs run in order after they were thawed."},
    {"freeze.hook_timeout", HF_CONF_DURATION, FIELD(hook_ns), .fallback = "30s", .min = 100000000,
     .max = 3600000000000, .doc = "Most time for one of them; then it is killed."},
    {"freeze.timeout", HF_CONF_DURATION, FIELD(freeze_ns), .fallback = "10s", .min = 100000000,
     .max = 10000000000,
     .doc = "Most time that file systems stay frozen, whatever happens to the agent."},
    {"log.levels", HF_CONF_TEXT, FIELD(log), .fallback = "info",
     .doc = "error, warn, info or debug; single components after a comma: info,engine=debug."},
    {"log.json", HF_CONF_BOOL, FIELD(log_json), .fallback = "false",
     .doc = "Log lines as JSON objects."},
};

const struct hf_conf_table hf_agent_conf_table = HF_CONF_TABLE(keys, struct hf_agent_config);

int hf_agent_config_check(const struct hf_agent_config *config, char *text, size_t text_size)
{
    struct hf_id id;

    if (config->ring_bytes & (config->ring_bytes - 1)) {
        snprintf(text, text_size, "capture.ring is not a power of two; for example 64MiB");
        return -HF_ECONFIG;
    }
    if (config->machine_id[0] && hf_id_parse(config->machine_id, &id)) {
        snprintf(text, text_size,
                 "machine.id is not 32 hex digits; leave it out to use "
                 "/etc/machine-id");
        return -HF_ECONFIG;
    }
    return 0;
}
