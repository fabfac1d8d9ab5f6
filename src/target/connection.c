// SPDX-License-Identifier: Apache-2.0
/*
 * Three threads: the receiver (link → session → store), the settler (sync → acknowledgements) and
 * the hasher (reads the newest state for checksum passes, which must hold neither of the others
 * up); sending is the link's own thread. Whichever ends first stops the others.
 */
#include "target/connection.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "net/link.h"
#include "target/sink.h"

#define SETTLE_MS 500
#define DENY_NS                                                                                    \
    (10 * HF_NS_PER_S) /* how often an open connection is held against the deny list               \
                        */
#define GOODBYE_MS 2000
#define IDENTITY_PREFIX "holdfast://agent/"

static struct hf_log_component log_target = HF_LOG_COMPONENT("target");

struct hf_connection {
    struct hf_connection_options options;
    void (*ended)(struct hf_connection *connection, void *context);
    void *ended_context;
    int fd;
    struct hf_link *link; /* set once, under lock */
    struct hf_sink *sink;
    pthread_t receiver;
    pthread_mutex_t lock; /* guards link against stop */
    bool stopping;
};

static struct hf_session *port_lock(void *context)
{
    return hf_link_lock(((struct hf_connection *)context)->link);
}

static void port_unlock(void *context)
{
    hf_link_unlock(((struct hf_connection *)context)->link);
}

/* Also what an eviction calls, under the registry's lock: it only wakes, and waits for nothing. */
void hf_connection_stop(struct hf_connection *connection)
{
    pthread_mutex_lock(&connection->lock);
    connection->stopping = true;
    if (connection->link != NULL)
        hf_link_stop(connection->link);
    pthread_mutex_unlock(&connection->lock);
}

static void evicted(void *context)
{
    hf_connection_stop(context);
}

/* 0, or HF_EIDENTITY: the certificate was put on the deny list while it is connected (SEC7). */
static int check_denied(struct hf_connection *connection, uint64_t *due_ns)
{
    uint64_t now_ns = hf_clock_system()->ops->boot_ns(hf_clock_system());

    if (now_ns < *due_ns)
        return 0;
    *due_ns = now_ns + DENY_NS;
    return hf_link_check_denied(connection->link) < 0 ? -HF_EIDENTITY : 0;
}

static void *settler_main(void *context)
{
    struct hf_connection *connection = context;
    uint64_t deny_due_ns = 0;
    int error;

    do {
        error = hf_sink_settle(connection->sink, SETTLE_MS);
        if (error == 0)
            error = check_denied(connection, &deny_due_ns);
    } while (error == 0);
    if (error == -HF_EIDENTITY) {
        hf_log_warn(&log_target, "%s: its certificate is denied by now: disconnected",
                    hf_link_identity(connection->link));
        hf_connection_stop(connection);
    } else if (error != -ECANCELED) {
        hf_log_error(&log_target, "%s: the store failed: %s; the source will come back",
                     hf_link_identity(connection->link), hf_strerror(error));
        hf_link_flush(connection->link, GOODBYE_MS); /* the source is told why */
        hf_connection_stop(connection);
    }
    return NULL;
}

static void *hasher_main(void *context)
{
    struct hf_connection *connection = context;
    int error;

    do
        error = hf_sink_hash(connection->sink);
    while (error == 0);
    if (error != -ECANCELED) {
        hf_log_error(&log_target, "%s: hashes cannot be sent: %s; the source will come back",
                     hf_link_identity(connection->link), hf_strerror(error));
        hf_connection_stop(connection);
    }
    return NULL;
}

/* 1: ended in order. */
static int receive_loop(struct hf_connection *connection)
{
    for (;;) {
        struct hf_session_event event;
        int result = hf_link_next(connection->link, -1, &event);

        if (result == 0)
            return 1;
        if (result == 1)
            result = hf_sink_event(connection->sink, &event);
        if (result < 0)
            return result;
    }
}

static void log_end(struct hf_connection *connection, int result)
{
    const char *identity = hf_link_identity(connection->link);

    if (result == 1)
        hf_log_info(&log_target, "%s closed its connection", identity);
    else
        hf_log_warn(&log_target, "connection of %s ended: %s", identity, hf_strerror(result));
}

static int shake_hands(struct hf_connection *connection)
{
    struct hf_link_options options = {
        .role = HF_SESSION_SINK,
        .node = connection->options.target,
        .software = "holdfast-target",
    };
    char text[256] = "";
    struct hf_conn *conn = NULL;
    struct hf_link *link = NULL;
    int error = hf_conn_accept(connection->options.tls, connection->fd, "agent",
                               HF_NET_HANDSHAKE_MS_MAX, &conn, text, sizeof(text));

    if (error < 0) {
        hf_log_warn(&log_target, "refused a connection: %s",
                    text[0] != '\0' ? text : hf_strerror(error));
        return error;
    }
    error = hf_link_new(conn, &options, &link);
    if (error < 0)
        return error;
    pthread_mutex_lock(&connection->lock);
    connection->link = link;
    if (connection->stopping)
        error = -ECANCELED;
    pthread_mutex_unlock(&connection->lock);
    return error;
}

static int make_sink(struct hf_connection *connection)
{
    struct hf_sink_port port = {.lock = port_lock, .unlock = port_unlock, .context = connection};
    const char *identity = hf_link_identity(connection->link);

    if (strncmp(identity, IDENTITY_PREFIX, strlen(IDENTITY_PREFIX)) != 0)
        return -HF_EIDENTITY;
    return hf_sink_new(connection->options.registry, &connection->options.target, &port,
                       identity + strlen(IDENTITY_PREFIX), evicted, connection, &connection->sink);
}

static void receive(struct hf_connection *connection)
{
    int result;

    hf_log_info(&log_target, "%s connected", hf_link_identity(connection->link));
    result = receive_loop(connection);
    log_end(connection, result);
    if (result < 0)
        hf_link_flush(connection->link, GOODBYE_MS); /* an ERROR may wait to be sent */
    hf_sink_stop(connection->sink);
    hf_connection_stop(connection);
}

static void serve(struct hf_connection *connection)
{
    pthread_t settler;
    pthread_t hasher;

    if (pthread_create(&settler, NULL, settler_main, connection) != 0)
        return;
    if (pthread_create(&hasher, NULL, hasher_main, connection) == 0) {
        receive(connection);
        pthread_join(hasher, NULL);
    }
    hf_sink_stop(connection->sink);
    pthread_join(settler, NULL);
}

static void *receiver_main(void *context)
{
    struct hf_connection *connection = context;

    if (shake_hands(connection) == 0 && make_sink(connection) == 0)
        serve(connection);
    connection->ended(connection, connection->ended_context);
    return NULL;
}

int hf_connection_start(const struct hf_connection_options *options, int fd,
                        void (*ended)(struct hf_connection *connection, void *context),
                        void *context, struct hf_connection **ret_connection)
{
    struct hf_connection *connection = calloc(1, sizeof(*connection));
    int error;

    if (connection == NULL) {
        close(fd);
        return -ENOMEM;
    }
    connection->options = *options;
    connection->ended = ended;
    connection->ended_context = context;
    connection->fd = fd;
    pthread_mutex_init(&connection->lock, NULL);
    *ret_connection = connection; /* the thread's `ended` may come before this returns */
    error = -pthread_create(&connection->receiver, NULL, receiver_main, connection);
    if (error < 0) {
        *ret_connection = NULL;
        close(fd);
        pthread_mutex_destroy(&connection->lock);
        free(connection);
    }
    return error;
}

void hf_connection_free(struct hf_connection *connection)
{
    if (connection == NULL)
        return;
    pthread_join(connection->receiver, NULL);
    hf_sink_free(connection->sink);
    hf_link_free(connection->link);
    pthread_mutex_destroy(&connection->lock);
    free(connection);
}
