// SPDX-License-Identifier: Apache-2.0
#include "target/config.h"

static const struct hf_conf_key keys[] = {
    {"store", HF_CONF_PATH, HF_CONF_FIELD(struct hf_target_config, store), .required = true,
     .example = "/var/lib/holdfast/store",
     .doc = "The directory that holds the machines: base images and journals. An empty one is made "
            "into a store. It alone is enough to list, check, open and export every point."},
    {"listen", HF_CONF_TEXT, HF_CONF_FIELD(struct hf_target_config, listen),
     .fallback = "0.0.0.0:7440", .doc = "Address and port that agents connect to."},
    {"tls.certificate", HF_CONF_PATH, HF_CONF_FIELD(struct hf_target_config, certificate),
     .required = true, .example = "/etc/holdfast/cert.pem",
     .doc = "This target's certificate (holdfast pki issue DIR target NAME)."},
    {"tls.key", HF_CONF_PATH, HF_CONF_FIELD(struct hf_target_config, key), .required = true,
     .example = "/etc/holdfast/key.pem", .doc = "Its key, readable by its owner only."},
    {"tls.authority", HF_CONF_PATH, HF_CONF_FIELD(struct hf_target_config, authority),
     .required = true, .example = "/etc/holdfast/ca.pem",
     .doc = "The authority that signed the agents' certificates."},
    {"tls.deny", HF_CONF_PATH, HF_CONF_FIELD(struct hf_target_config, deny),
     .doc = "Fingerprints (SHA-256, hex) of certificates that are refused, one a line."},
    {"retention.window", HF_CONF_DURATION,
     HF_CONF_FIELD(struct hf_target_config, retention.window_ns), .fallback = "2h",
     .doc = "Every second of this long can be opened."},
    {"retention.journal_max", HF_CONF_SIZE,
     HF_CONF_FIELD(struct hf_target_config, retention.journal_bytes_max), .fallback = "0",
     .doc = "Most space one machine's journal may take; above it the window is shortened, oldest "
            "first, and that is reported. 0: no limit."},
    {"retention.free_warn", HF_CONF_SIZE,
     HF_CONF_FIELD(struct hf_target_config, retention.free_bytes_warn), .fallback = "2GiB",
     .doc = "Below this much free space the window is shortened to give space back."},
    {"retention.free_refuse", HF_CONF_SIZE,
     HF_CONF_FIELD(struct hf_target_config, retention.free_bytes_refuse), .fallback = "256MiB",
     .doc = "Below this much nothing new is taken; sources go on tracking and come back."},
    {"segment_size", HF_CONF_SIZE, HF_CONF_FIELD(struct hf_target_config, segment_bytes),
     .fallback = "64MiB", .min = 1 << 20, .max = 1 << 30,
     .doc = "A journal segment is closed when it has grown to this."},
    {"log.levels", HF_CONF_TEXT, HF_CONF_FIELD(struct hf_target_config, log), .fallback = "info",
     .doc = "error, warn, info or debug; single components after a comma: info,net=debug."},
    {"log.json", HF_CONF_BOOL, HF_CONF_FIELD(struct hf_target_config, log_json),
     .fallback = "false", .doc = "Log lines as JSON objects."},
};

const struct hf_conf_table hf_target_conf_table = HF_CONF_TABLE(keys, struct hf_target_config);
