// SPDX-License-Identifier: Apache-2.0
/* The control socket: docs/formats/agent-control.md. */
#ifndef HF_AGENT_CONTROL_H
#define HF_AGENT_CONTROL_H

#include "agent/daemon.h"

#define HF_CONTROL_REQUEST_MAX 4096
#define HF_CONTROL_ANSWER_MAX (64 * 1024)
#define HF_CONTROL_IDLE_MS 5000 /* for a whole request; then the client is dropped */

struct hf_control; /* opaque */

/* Makes the socket (0600, its directory 0755 when absent) and listens; replaces one that nobody
 * answers on. -EADDRINUSE: another agent listens there. Says in the log what is wrong. */
int hf_control_new(struct hf_agent *agent, const char *path, struct hf_control **ret_control);
int hf_control_start(struct hf_control *control); /* the thread; one client at a time */
void hf_control_free(
    struct hf_control *control); /* ends the thread, removes the socket. NULL-safe */

/* One request line into one answer line (without its newline); the caller frees it. NULL: out of
 * memory. Any thread. */
char *hf_control_answer(struct hf_agent *agent, const char *request);

#endif
