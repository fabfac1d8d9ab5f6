// SPDX-License-Identifier: Apache-2.0
/* Asking the agent on this machine: docs/formats/agent-control.md. */
#ifndef HF_CLI_AGENT_SOCKET_H
#define HF_CLI_AGENT_SOCKET_H

#include <jansson.h>

#include "cli/cli.h"

/* Sends `request` (a reference is taken over) and gives the answer (the caller's). Says what went
 * wrong and returns an exit code. */
int hf_cli_agent_ask(const struct hf_cli *cli, json_t *request, json_t **ret_answer);

#endif
