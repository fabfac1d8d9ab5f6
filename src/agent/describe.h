// SPDX-License-Identifier: Apache-2.0
/* The machine's description: JSON that travels in the stream and is kept with every point, so that
 * the store alone can boot the machine. */
#ifndef HF_AGENT_DESCRIBE_H
#define HF_AGENT_DESCRIBE_H

#include <stddef.h>

#define HF_DESCRIBE_NICS_MAX 64
#define HF_DESCRIBE_MOUNTS_MAX 256

/*
 * {"version": 1, "name", "hostname", "machine_id", "kernel", "architecture", "firmware": "bios" or
 * "uefi", "cpus", "memory_bytes", "nics": [{"name", "mac", "addresses": []}], "disks": [{"name",
 * "size_bytes", "serial"}], "filesystems": [{"mount", "source", "type"}]}. Sorted, so that equal
 * machines give equal text. The caller frees *ret_json. -ENOMEM. Reads /proc and /sys.
 */
int hf_describe_machine(const char *name, char **ret_json);

#endif
