// SPDX-License-Identifier: Apache-2.0
/* The target as a library: store, listener, upkeep and connections, started and stopped as one.
 * Tests and `holdfast demo` link it. */
#ifndef HF_TARGET_DAEMON_H
#define HF_TARGET_DAEMON_H

#include "target/config.h"

#define HF_TARGET_CONNECTIONS_MAX 512

struct hf_target; /* opaque */

/* Opens (or with config->store_create makes) the store, recovers every machine, listens. Logs what
 * it finds. Blocks while recovering. */
int hf_target_start(const struct hf_target_config *config, struct hf_target **ret_target);
int hf_target_port(struct hf_target *target);
/* Stops listening, ends connections, closes the store. Everything acknowledged is durable.
 * NULL-safe. Blocks. */
void hf_target_stop(struct hf_target *target);

#endif
