// SPDX-License-Identifier: Apache-2.0
/*
 * One attached machine at the target: takes the events of its session, appends to the store,
 * answers. Owns no socket and starts no thread, so that the simulator runs it too. The three calls
 * marked [1] [2] [3] may run in three threads at once.
 */
#ifndef HF_TARGET_SINK_H
#define HF_TARGET_SINK_H

#include <pthread.h>

#include "store/store.h"
#include "target/registry.h"
#include "wire/session.h"

#define HF_SINK_HASH_QUEUE_MAX                                                                     \
    64 /* HASH_GETs waiting; a source that asks faster breaks the protocol */

struct hf_sink; /* opaque */

/* How the sink reaches its session to send: lock gives the session, unlock lets the output go. Any
 * thread; short. In production this is hf_link_lock and hf_link_unlock. */
struct hf_sink_port {
    struct hf_session *(*lock)(void *context);
    void (*unlock)(void *context);
    void *context;
};

/*
 * `registry` is borrowed. `name` is the machine's name from the peer's certificate. `evicted` is
 * called, from any thread, when another connection of the same machine wants its place: it must
 * only wake this one's owner (who then stops it) and return.
 */
int hf_sink_new(struct hf_registry *registry, const struct hf_id *target,
                const struct hf_sink_port *port, const char *name, void (*evicted)(void *context),
                void *evict_context, struct hf_sink **ret_sink);
/* Gives the machine back. No call may be running. NULL-safe. */
void hf_sink_free(struct hf_sink *sink);

/*
 * [1] Handles one event of the session. Blocks for disk writes. Returns 0; 1 when the session ended
 * in order; a negative code when it has to end otherwise (the error message is then in the
 * output).
 */
int hf_sink_event(struct hf_sink *sink, const struct hf_session_event *event);

/* [2] Waits until something was appended (or timeout_ms), syncs, and puts acknowledgements and
 * credit into the output. Returns 0, -ECANCELED after hf_sink_stop, or a negative code when the
 * store failed. */
int hf_sink_settle(struct hf_sink *sink, int timeout_ms);

/* [3] Waits for a hash request and answers it. 0, -ECANCELED after hf_sink_stop, or a negative code
 * when it could not be answered: the connection has to end, or its source would wait for ever. */
int hf_sink_hash(struct hf_sink *sink);

/* Any thread: wakes [2] and [3] for good. */
void hf_sink_stop(struct hf_sink *sink);

#endif
