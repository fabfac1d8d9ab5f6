// SPDX-License-Identifier: Apache-2.0
/* The status of an agent as JSON, for the control socket. */
#ifndef HF_AGENT_STATUS_H
#define HF_AGENT_STATUS_H

#include <jansson.h>

#include "agent/config.h"
#include "agent/engine.h"

/* A new object in the form docs/formats/agent-control.md describes, or NULL. */
json_t *hf_status_json(const struct hf_agent_config *config, const struct hf_engine_status *status);

#endif
