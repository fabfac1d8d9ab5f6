// SPDX-License-Identifier: Apache-2.0
/* What the two halves of the daemon share: daemon.c (threads, starting, stopping) and
 * daemon-orders.c (what others may ask of it). */
#ifndef HF_AGENT_DAEMON_INTERNAL_H
#define HF_AGENT_DAEMON_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/daemon.h"
#include "agent/tls-uplink.h"

typedef int (*call_fn)(struct hf_agent *agent, void *context);

struct hf_agent {
    struct hf_agent_config config;
    struct hf_freezer *freezer;
    struct hf_source *source;
    struct hf_disk_reader *reader;
    struct hf_uplink *uplink;
    struct hf_engine *engine;
    struct hf_control *control;
    atomic_bool stopping;
    atomic_bool failed;
    pthread_t engine_thread, worker_thread, marks_thread;
    unsigned threads; /* started, of the three above, in this order */
    uint64_t described_ns;

    pthread_mutex_t call_turn; /* held by the one who calls; order: before call_lock */
    pthread_mutex_t call_lock;
    pthread_cond_t call_changed;
    call_fn call; /* below call_lock; NULL: none */
    void *call_context;
    int call_result;
    bool call_done;
};

struct hf_disk_order {
    const char *path;
    unsigned slot;
};

/* The engine's thread: runs what another thread has asked for, if anything. */
void hf_agent_run_call(struct hf_agent *agent);
/* A call (struct hf_disk_order): for the engine's thread, or before it runs. Confirms a disk that
 * was exchanged. */
int hf_agent_add_disk_now(struct hf_agent *agent, void *context);
/* Says in the log what is wrong with the files. */
int hf_agent_load_credentials(const struct hf_agent_config *config, struct hf_tls **ret_tls);

#endif
