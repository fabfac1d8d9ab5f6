// SPDX-License-Identifier: Apache-2.0
/* The running agent: engine, worker, marks and control socket, each with its thread. */
#ifndef HF_AGENT_DAEMON_H
#define HF_AGENT_DAEMON_H

#include "agent/config.h"
#include "agent/engine.h"

struct hf_agent; /* opaque */
struct hf_freezer;

/* Opens everything that needs privileges, drops them, starts the threads. Says in the log what is
 * wrong. freezer may be NULL: then points are crash-consistent only; borrowed. */
int hf_agent_start(const struct hf_agent_config *config, struct hf_freezer *freezer,
                   struct hf_agent **ret_agent);
/* Orderly: says CLOSE to the target; capturing goes on in the kernel. */
void hf_agent_stop(struct hf_agent *agent);
/* The engine could not go on (its cause is in the log); wait no longer. Any thread. */
bool hf_agent_failed(struct hf_agent *agent);
/* SIGHUP: takes up disks that the configuration names now and did not before, lets go of those it
 * no longer names, and loads the certificates again. Any thread. */
void hf_agent_reload(struct hf_agent *agent, const struct hf_agent_config *config);

/* ---- for the control socket; any thread; block until the engine's thread has done it ---- */

int hf_agent_disk_add(struct hf_agent *agent, const char *path, unsigned *ret_slot);
int hf_agent_disk_remove(struct hf_agent *agent, const char *path, unsigned *ret_slot);
int hf_agent_resync(struct hf_agent *agent, bool full, uint64_t *ret_pass);
/* app: freezes first; when that does not work the point is crash-consistent and reason says why.
 * name may be NULL. */
int hf_agent_mark(struct hf_agent *agent, bool app, const char *name,
                  struct hf_engine_point *ret_point, char *reason, size_t reason_size);
struct hf_engine *hf_agent_engine(struct hf_agent *agent);
const struct hf_agent_config *hf_agent_get_config(struct hf_agent *agent);

#endif
