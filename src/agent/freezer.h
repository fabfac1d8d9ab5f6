// SPDX-License-Identifier: Apache-2.0
/*
 * Application-consistent points: hooks, then FIFREEZE on every file system that lies on a protected
 * disk, then the mark, then thaw and hooks again. All of it is done by a process of its own that is
 * forked before the agent has threads or gives up privileges, has its memory locked, touches no
 * disk between freeze and thaw, and thaws by itself at the deadline or when the agent is gone.
 * A second process, forked before each freeze, thaws when the first one is killed (fault 11).
 */
#ifndef HF_AGENT_FREEZER_H
#define HF_AGENT_FREEZER_H

#include "agent/config.h"
#include "agent/engine.h"

#define HF_FREEZE_NS_MAX                                                                           \
    ((uint64_t)10 * 1000 * 1000 * 1000) /* no file system stays frozen longer */
#define HF_FREEZE_MOUNTS_MAX 64

struct hf_freezer;

struct hf_freezer_options {
    const char *freeze_dir; /* borrowed during the call */
    const char *thaw_dir;
    uint64_t hook_ns;
    uint64_t freeze_ns;
};

/* Forks the helper. The process has one thread yet. */
int hf_freezer_new(const struct hf_freezer_options *options, struct hf_freezer **ret_freezer);
/* The helper thaws what is frozen and ends. NULL-safe. */
void hf_freezer_free(struct hf_freezer *freezer);

/*
 * Runs the freeze hooks and freezes. 0: frozen now, with at least half a second of the deadline
 * left; hf_freezer_thaw must follow. Otherwise everything is as before, and reason says why. Blocks
 * for hooks and freezing. One thread at a time; -EBUSY otherwise. freezer may be NULL: -ENOSYS.
 */
int hf_freezer_freeze(struct hf_freezer *freezer, const struct hf_engine_status *status,
                      char *reason, size_t reason_size);
/* Thaws and runs the thaw hooks. 0: frozen until now. -ETIMEDOUT: the deadline had thawed before
 * this was called; reason says so. */
int hf_freezer_thaw(struct hf_freezer *freezer, char *reason, size_t reason_size);

#endif
