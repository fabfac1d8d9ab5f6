// SPDX-License-Identifier: Apache-2.0
/* Least privileges (SEC20). */
#ifndef HF_AGENT_PRIVILEGES_H
#define HF_AGENT_PRIVILEGES_H

/*
 * Keeps what the running agent needs: CAP_BPF and CAP_PERFMON for the capture's programs and a new
 * capture after divergence; gives up everything else for ever, in this thread and those it starts
 * (no_new_privs, empty bounding set). Nothing to do without root: 0. -EPERM: not possible here.
 */
int hf_privileges_drop(void);

#endif
