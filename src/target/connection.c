// SPDX-License-Identifier: Apache-2.0
/*
 * Three threads: the receiver (TLS in → session → store), the settler (sync → acknowledgements →
 * TLS out) and the hasher (reads the newest state for checksum passes, which must hold neither of
 * the others up). Whichever ends first stops the other two.
 */
#include "target/connection.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/error.h"
#include "base/log.h"
#include "target/sink.h"

#define HANDSHAKE_MS 10000
#define SETTLE_MS 500
#define WRITE_MS 60000
#define SEND_CHUNK_BYTES (64 * 1024)
#define IDENTITY_PREFIX "holdfast://agent/"

static struct hf_log_component log_target = HF_LOG_COMPONENT("target");

struct hf_connection {
    struct hf_connection_options options;
    void (*ended)(struct hf_connection *connection, void *context);
    void *ended_context;
    int fd;
    struct hf_conn *conn;
    struct hf_session *session;
    struct hf_sink *sink;
    pthread_t receiver;
    pthread_mutex_t lock; /* guards conn against stop */
    bool stopping;
    atomic_bool handshaken;
};

void hf_connection_stop(struct hf_connection *connection)
{
    pthread_mutex_lock(&connection->lock);
    connection->stopping = true;
    if (connection->conn != NULL)
        hf_conn_shutdown(connection->conn);
    pthread_mutex_unlock(&connection->lock);
    if (atomic_load(&connection->handshaken))
        hf_sink_stop(connection->sink);
}

static void evicted(void *context)
{
    struct hf_connection *connection = context;

    /* Called under the registry's lock, so no waiting here: shutting down only wakes the receiver.
     */
    pthread_mutex_lock(&connection->lock);
    connection->stopping = true;
    if (connection->conn != NULL)
        hf_conn_shutdown(connection->conn);
    pthread_mutex_unlock(&connection->lock);
}

/* Sends what the session has ready. The bytes are copied out, so that the lock is not held while
 * the network is slow. */
static int flush_output(struct hf_connection *connection, uint8_t *chunk)
{
    for (;;) {
        const void *data;
        size_t size;
        int error;

        hf_sink_lock(connection->sink);
        hf_session_output(connection->session, &data, &size);
        size = HF_MIN(size, (size_t)SEND_CHUNK_BYTES);
        if (size > 0) {
            memcpy(chunk, data, size);
            hf_session_sent(connection->session, size);
        }
        hf_sink_unlock(connection->sink);
        if (size == 0)
            return 0;
        error = hf_conn_write(connection->conn, chunk, size, WRITE_MS);
        if (error < 0)
            return error;
    }
}

static bool is_stopping(struct hf_connection *connection)
{
    bool stopping;

    pthread_mutex_lock(&connection->lock);
    stopping = connection->stopping;
    pthread_mutex_unlock(&connection->lock);
    return stopping;
}

static void *settler_main(void *context)
{
    struct hf_connection *connection = context;
    uint8_t *chunk = malloc(SEND_CHUNK_BYTES);
    int error = chunk == NULL ? -ENOMEM : 0;

    while (error == 0 && !is_stopping(connection)) {
        error = hf_sink_settle(connection->sink, SETTLE_MS);
        if (error < 0)
            hf_log_error(&log_target, "store failed: %s; the source will come back and try again",
                         hf_strerror(error));
        int sent = flush_output(connection, chunk);
        if (error == 0)
            error = sent;
    }
    if (chunk != NULL && error == 0)
        flush_output(connection, chunk);
    free(chunk);
    hf_connection_stop(connection);
    return NULL;
}

static void *hasher_main(void *context)
{
    struct hf_connection *connection = context;

    while (hf_sink_hash(connection->sink) == 0)
        ;
    return NULL;
}

static int receive_loop(struct hf_connection *connection)
{
    for (;;) {
        void *room;
        size_t size;
        long got;
        int result;

        hf_sink_lock(connection->sink);
        result = hf_session_input(connection->session, &room, &size);
        hf_sink_unlock(connection->sink);
        if (result < 0)
            return result;
        got = hf_conn_read(connection->conn, room, size, connection->options.idle_ms);
        if (got <= 0)
            return got == 0 ? -ECONNRESET : (int)got;
        hf_sink_lock(connection->sink);
        hf_session_received(connection->session, (size_t)got);
        hf_sink_unlock(connection->sink);
        result = hf_sink_receive(connection->sink);
        if (result != 0)
            return result;
    }
}

static int shake_hands(struct hf_connection *connection)
{
    char text[256] = "";
    struct hf_conn *conn;
    int error = hf_conn_accept(connection->options.tls, connection->fd, "agent", HANDSHAKE_MS,
                               &conn, text, sizeof(text));

    connection->fd = -1;
    if (error < 0) {
        hf_log_warn(&log_target, "refused a connection: %s",
                    text[0] != '\0' ? text : hf_strerror(error));
        return error;
    }
    pthread_mutex_lock(&connection->lock);
    connection->conn = conn;
    if (connection->stopping)
        error = -ECANCELED;
    pthread_mutex_unlock(&connection->lock);
    return error;
}

static int prepare(struct hf_connection *connection)
{
    const char *identity = hf_conn_identity(connection->conn);
    int error;

    if (strncmp(identity, IDENTITY_PREFIX, strlen(IDENTITY_PREFIX)) != 0)
        return -HF_EIDENTITY;
    error = hf_session_new(HF_SESSION_SINK, &connection->options.target, "holdfast-target",
                           &connection->session);
    if (error == 0)
        error = hf_sink_new(connection->options.registry, &connection->options.target,
                            connection->session, identity + strlen(IDENTITY_PREFIX), evicted,
                            connection, &connection->sink);
    if (error == 0)
        atomic_store(&connection->handshaken, true);
    return error;
}

static void log_end(struct hf_connection *connection, int result)
{
    const char *identity = hf_conn_identity(connection->conn);

    if (result == 1)
        hf_log_info(&log_target, "%s closed its connection", identity);
    else
        hf_log_warn(&log_target, "connection of %s ended: %s", identity, hf_strerror(result));
}

static void serve(struct hf_connection *connection)
{
    pthread_t settler;
    pthread_t hasher;
    int result;

    if (pthread_create(&settler, NULL, settler_main, connection) != 0)
        return;
    if (pthread_create(&hasher, NULL, hasher_main, connection) == 0) {
        hf_log_info(&log_target, "%s connected", hf_conn_identity(connection->conn));
        result = receive_loop(connection);
        log_end(connection, result);
        /* An ERROR or CLOSE_OK may wait in the output: the settler sends it before it goes. */
        pthread_mutex_lock(&connection->lock);
        connection->stopping = true;
        pthread_mutex_unlock(&connection->lock);
        hf_sink_stop(connection->sink);
        pthread_join(settler, NULL);
        hf_connection_stop(connection);
        pthread_join(hasher, NULL);
        return;
    }
    hf_connection_stop(connection);
    pthread_join(settler, NULL);
}

static void *receiver_main(void *context)
{
    struct hf_connection *connection = context;

    if (shake_hands(connection) == 0 && prepare(connection) == 0)
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
    hf_session_free(connection->session);
    hf_conn_free(connection->conn);
    pthread_mutex_destroy(&connection->lock);
    free(connection);
}
