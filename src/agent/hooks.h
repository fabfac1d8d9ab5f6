// SPDX-License-Identifier: Apache-2.0
/* Hooks: programs of the machine's own administrator, run in order around a freeze. */
#ifndef HF_AGENT_HOOKS_H
#define HF_AGENT_HOOKS_H

#include <stddef.h>
#include <stdint.h>

#define HF_HOOKS_MAX 64
#define HF_HOOK_KILL_NS ((uint64_t)1000 * 1000 * 1000) /* for a killed one to go */

/*
 * Runs every program in `directory` in byte order of the names, each with `argument`, in a process
 * group of its own, killed when it takes longer than each_ns. Directory and programs must belong
 * to root (or this user) and be writable by nobody else (SEC22). Stops at the first that fails;
 * reason says which and why. No directory: 0. -EPERM (ownership), -ETIMEDOUT, -ECHILD (failed),
 * other errno. Forks: for a process with one thread.
 */
int hf_hooks_run(const char *directory, const char *argument, uint64_t each_ns, char *reason,
                 size_t reason_size);

#endif
