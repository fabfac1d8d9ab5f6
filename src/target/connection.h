// SPDX-License-Identifier: Apache-2.0
/* One connection from a source: its TLS, its session, its sink, and the three threads that drive
 * them. */
#ifndef HF_TARGET_CONNECTION_H
#define HF_TARGET_CONNECTION_H

#include "net/net.h"
#include "target/registry.h"

struct hf_connection; /* opaque */

struct hf_connection_options {
    struct hf_registry *registry; /* borrowed */
    struct hf_tls *tls;           /* borrowed */
    struct hf_id target;
};

/*
 * Serves an accepted socket (which it takes over) in threads of its own and returns at once.
 * `ended` is called from such a thread when all is over; the owner then calls hf_connection_free
 * from another thread. Negative errno: nothing was started and the socket is closed.
 */
int hf_connection_start(const struct hf_connection_options *options, int fd,
                        void (*ended)(struct hf_connection *connection, void *context),
                        void *context, struct hf_connection **ret_connection);
/* Any thread: ends it; `ended` follows. */
void hf_connection_stop(struct hf_connection *connection);
/* Joins the threads. After `ended` only. NULL-safe. */
void hf_connection_free(struct hf_connection *connection);

#endif
