// SPDX-License-Identifier: Apache-2.0
/*
 * The uplink over TLS. Each `start` makes a connection object with a thread that dials, says hello,
 * attaches and then reads; what arrives waits in a bounded queue for the engine. The object is
 * shared by that thread and the engine and freed by the one who leaves last, so that closing never
 * waits for a handshake that hangs.
 */
#include "agent/tls-uplink.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/error.h"
#include "net/link.h"

#define SOFTWARE "holdfast " HF_VERSION
#define TARGET_ROLE "target"
#define EVENTS_MAX 256
#define CLOSE_MS 2000
#define HELLO_MS HF_NET_HANDSHAKE_MS_MAX
#define BUFFERS_MAX 16 /* batch buffers kept for use again */
#define QUEUE_BYTES_MAX ((size_t)4 << 20)

/* Shared by the uplink and the connections made with them; freed by the last. */
struct credentials {
    struct hf_tls *tls;
    atomic_uint references;
};

enum connection_state { CONNECTION_TRYING, CONNECTION_UP, CONNECTION_OVER };

/* Memory of a batch on its way; `next` while it is free. */
struct buffer {
    struct connection *owner;
    struct buffer *next;
    uint8_t data[HF_BATCH_SIZE_MAX];
};

struct connection {
    pthread_mutex_t lock; /* order: this, then the link's */
    pthread_cond_t changed;
    unsigned references;
    bool cancelled;
    enum connection_state state;
    struct hf_link *link;
    struct credentials *credentials;
    struct hf_id node;
    char address[HF_NET_ADDRESS_MAX];
    struct hf_msg_attach attach;
    struct hf_uplink_event events[EVENTS_MAX]; /* a ring */
    size_t event_first, event_count;
    int error;
    char error_text[HF_UPLINK_TEXT_MAX];
    struct buffer *free_buffers;
    unsigned free_count;
};

struct tls_uplink {
    struct hf_uplink uplink;
    pthread_mutex_t lock; /* of credentials */
    struct credentials *credentials;
    struct hf_id node;
    char address[HF_NET_ADDRESS_MAX];
    struct connection *connection; /* NULL: closed */
    void *borrowed;                /* hashes of the event given last */
    char error_text[HF_UPLINK_TEXT_MAX];
};

static struct tls_uplink *self_of(struct hf_uplink *uplink)
{
    return (struct tls_uplink *)uplink;
}

/* ---- credentials ---- */

static struct credentials *credentials_new(struct hf_tls *tls)
{
    struct credentials *credentials = calloc(1, sizeof(*credentials));

    if (!credentials) {
        hf_tls_free(tls);
        return NULL;
    }
    credentials->tls = tls;
    credentials->references = 1;
    return credentials;
}

static void credentials_unref(struct credentials *credentials)
{
    if (!credentials || atomic_fetch_sub(&credentials->references, 1) != 1)
        return;
    hf_tls_free(credentials->tls);
    free(credentials);
}

/* ---- the connection object ---- */

static void connection_free(struct connection *connection)
{
    hf_link_free(connection->link);
    while (connection->free_buffers) {
        struct buffer *buffer = connection->free_buffers;

        connection->free_buffers = buffer->next;
        free(buffer);
    }
    for (; connection->event_count; connection->event_count--) {
        struct hf_uplink_event *event = &connection->events[connection->event_first];

        if (event->type == HF_MSG_HASH_LIST)
            free((void *)event->u.hash_list.hashes);
        connection->event_first = (connection->event_first + 1) % EVENTS_MAX;
    }
    credentials_unref(connection->credentials);
    pthread_cond_destroy(&connection->changed);
    pthread_mutex_destroy(&connection->lock);
    free(connection);
}

static void connection_unref(struct connection *connection)
{
    unsigned left;

    pthread_mutex_lock(&connection->lock);
    left = --connection->references;
    pthread_mutex_unlock(&connection->lock);
    if (left == 0)
        connection_free(connection);
}

static void connection_over(struct connection *connection, int error, const char *text)
{
    pthread_mutex_lock(&connection->lock);
    connection->state = CONNECTION_OVER;
    connection->error = error ? error : -ECONNRESET;
    snprintf(connection->error_text, sizeof(connection->error_text), "%s",
             text && text[0] ? text : hf_strerror(error));
    pthread_cond_broadcast(&connection->changed);
    pthread_mutex_unlock(&connection->lock);
}

static bool is_up(struct connection *connection)
{
    bool up;

    if (!connection)
        return false;
    pthread_mutex_lock(&connection->lock);
    up = connection->state == CONNECTION_UP;
    pthread_mutex_unlock(&connection->lock);
    return up;
}

/* ---- its thread ---- */

/* Copies what is only borrowed from the session. */
static int event_copy(const struct hf_session_event *from, struct hf_uplink_event *to)
{
    struct hf_clock *clock = hf_clock_system();
    size_t size;
    void *hashes;

    *to = (struct hf_uplink_event){.type = from->type, .boot_ns = clock->ops->boot_ns(clock)};
    switch (from->type) {
    case HF_MSG_ATTACH_OK:
        to->u.attach_ok = from->u.attach_ok;
        return 1;
    case HF_MSG_ACK:
        to->u.ack = from->u.ack;
        return 1;
    case HF_MSG_LOST:
        to->u.lost = from->u.lost;
        return 1;
    case HF_MSG_ERROR:
        to->u.error = from->u.error;
        return 1;
    case HF_MSG_HASH_LIST:
        to->u.hash_list = from->u.hash_list;
        size = from->u.hash_list.count * sizeof(struct hf_hash128);
        hashes = malloc(size + 1);
        if (!hashes)
            return -ENOMEM;
        if (size)
            memcpy(hashes, from->u.hash_list.hashes, size);
        to->u.hash_list.hashes = hashes;
        return 1;
    default:
        return 0;
    }
}

static int event_put(struct connection *connection, const struct hf_session_event *from)
{
    struct hf_uplink_event event;
    int kept = event_copy(from, &event);

    if (kept <= 0)
        return kept;
    pthread_mutex_lock(&connection->lock);
    while (connection->event_count == EVENTS_MAX && !connection->cancelled)
        pthread_cond_wait(&connection->changed, &connection->lock);
    if (connection->event_count < EVENTS_MAX) {
        size_t place = (connection->event_first + connection->event_count++) % EVENTS_MAX;

        connection->events[place] = event;
        if (event.type == HF_MSG_ATTACH_OK)
            connection->state = CONNECTION_UP;
    } else if (event.type == HF_MSG_HASH_LIST) {
        free((void *)event.u.hash_list.hashes);
    }
    pthread_cond_broadcast(&connection->changed);
    pthread_mutex_unlock(&connection->lock);
    return 0;
}

static int say_attach(struct connection *connection)
{
    struct hf_session *session = hf_link_lock(connection->link);
    int error = hf_session_attach(session, &connection->attach);

    hf_link_unlock(connection->link);
    return error;
}

static int dial(struct connection *connection, char *text)
{
    struct hf_link_options options = {
        .role = HF_SESSION_SOURCE,
        .node = connection->node,
        .software = SOFTWARE,
        .queue_bytes_max = QUEUE_BYTES_MAX,
    };
    struct hf_link *link;
    struct hf_conn *conn;
    int error = hf_conn_dial(connection->credentials->tls, connection->address, TARGET_ROLE,
                             HF_NET_HANDSHAKE_MS_MAX, &conn, text, HF_UPLINK_TEXT_MAX);

    if (error)
        return error;
    error = hf_link_new(conn, &options, &link);
    if (error)
        return error;
    pthread_mutex_lock(&connection->lock);
    connection->link = link;
    if (connection->cancelled)
        error = -ECANCELED;
    pthread_mutex_unlock(&connection->lock);
    return error;
}

static int read_events(struct connection *connection)
{
    struct hf_session_event event;
    bool greeted = false;
    int got, error = 0;

    while (!error) {
        got = hf_link_next(connection->link, greeted ? -1 : HELLO_MS, &event);
        if (got <= 0)
            return got ? got : -ECONNRESET;
        greeted = true;
        error =
            event.type == HF_MSG_HELLO_OK ? say_attach(connection) : event_put(connection, &event);
    }
    return error;
}

static void *connection_main(void *context)
{
    struct connection *connection = context;
    char text[HF_UPLINK_TEXT_MAX] = "";
    int error = dial(connection, text);

    if (!error)
        error = read_events(connection);
    connection_over(connection, error, text);
    connection_unref(connection);
    return NULL;
}

/* ---- the engine's calls ---- */

static struct connection *connection_new(struct tls_uplink *self,
                                         const struct hf_msg_attach *attach)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    pthread_condattr_t monotonic;

    if (!connection)
        return NULL;
    pthread_mutex_init(&connection->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&connection->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    connection->references = 2;
    pthread_mutex_lock(&self->lock);
    connection->credentials = self->credentials;
    atomic_fetch_add(&self->credentials->references, 1);
    pthread_mutex_unlock(&self->lock);
    connection->node = self->node;
    memcpy(connection->address, self->address, sizeof(connection->address));
    connection->attach = *attach;
    return connection;
}

static int uplink_start(struct hf_uplink *uplink, const struct hf_msg_attach *attach)
{
    struct tls_uplink *self = self_of(uplink);
    pthread_attr_t detached;
    pthread_t thread;
    int error;

    HF_ASSERT(!self->connection);
    self->connection = connection_new(self, attach);
    if (!self->connection)
        return -ENOMEM;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    error = pthread_create(&thread, &detached, connection_main, self->connection);
    pthread_attr_destroy(&detached);
    if (error) {
        connection_free(self->connection);
        self->connection = NULL;
    }
    return -error;
}

static struct buffer *buffer_take(struct connection *connection)
{
    struct buffer *buffer;

    pthread_mutex_lock(&connection->lock);
    buffer = connection->free_buffers;
    if (buffer) {
        connection->free_buffers = buffer->next;
        connection->free_count--;
    }
    pthread_mutex_unlock(&connection->lock);
    if (!buffer)
        buffer = malloc(sizeof(*buffer));
    if (buffer)
        buffer->owner = connection;
    return buffer;
}

/* The link's writer calls it with no lock of ours held; closing calls it from connection_free. */
static void buffer_give(void *context, int status)
{
    struct buffer *buffer = context;
    struct connection *connection = buffer->owner;

    (void)status;
    pthread_mutex_lock(&connection->lock);
    if (connection->free_count < BUFFERS_MAX) {
        buffer->next = connection->free_buffers;
        connection->free_buffers = buffer;
        connection->free_count++;
        buffer = NULL;
    }
    pthread_cond_broadcast(&connection->changed);
    pthread_mutex_unlock(&connection->lock);
    free(buffer);
}

static int uplink_batch(struct hf_uplink *uplink, const void *data, size_t size)
{
    const struct hf_batch_header *header = data;
    struct connection *connection = self_of(uplink)->connection;
    enum hf_lane lane = (enum hf_lane)header->lane;
    struct buffer *buffer;
    int error;

    if (!is_up(connection))
        return -ECONNRESET;
    if (hf_link_queued_bytes(connection->link, lane) + size > QUEUE_BYTES_MAX)
        return -EAGAIN;
    buffer = buffer_take(connection);
    if (!buffer)
        return -ENOMEM;
    memcpy(buffer->data, data, size);
    error = hf_link_batch(connection->link, lane, buffer->data, size, buffer_give, buffer, 0);
    if (error)
        buffer_give(buffer, error);
    return error == -ETIMEDOUT ? -EAGAIN : error;
}

static int uplink_hash_get(struct hf_uplink *uplink, const struct hf_msg_hash_get *get)
{
    struct connection *connection = self_of(uplink)->connection;
    struct hf_session *session;
    int error;

    if (!is_up(connection))
        return -ECONNRESET;
    session = hf_link_lock(connection->link);
    error = hf_session_hash_get(session, get);
    hf_link_unlock(connection->link);
    return error;
}

static void uplink_drop_pass(struct hf_uplink *uplink)
{
    struct connection *connection = self_of(uplink)->connection;

    if (is_up(connection))
        hf_link_drop(connection->link, HF_LANE_PASS);
}

static void forget_borrowed(struct tls_uplink *self)
{
    free(self->borrowed);
    self->borrowed = NULL;
}

static int uplink_next(struct hf_uplink *uplink, struct hf_uplink_event *ret_event)
{
    struct tls_uplink *self = self_of(uplink);
    struct connection *connection = self->connection;
    int got = 0;

    forget_borrowed(self);
    if (!connection)
        return -ECONNRESET;
    pthread_mutex_lock(&connection->lock);
    if (connection->event_count) {
        *ret_event = connection->events[connection->event_first];
        connection->event_first = (connection->event_first + 1) % EVENTS_MAX;
        connection->event_count--;
        if (ret_event->type == HF_MSG_HASH_LIST)
            self->borrowed = (void *)ret_event->u.hash_list.hashes;
        pthread_cond_broadcast(&connection->changed);
        got = 1;
    } else if (connection->state == CONNECTION_OVER) {
        memcpy(self->error_text, connection->error_text, sizeof(self->error_text));
        got = connection->error;
    }
    pthread_mutex_unlock(&connection->lock);
    return got;
}

static struct timespec after_ms(int timeout_ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * (long)HF_NS_PER_MS;
    if (until.tv_nsec >= (long)HF_NS_PER_S) {
        until.tv_sec++;
        until.tv_nsec -= (long)HF_NS_PER_S;
    }
    return until;
}

static void uplink_wait(struct hf_uplink *uplink, int timeout_ms)
{
    struct connection *connection = self_of(uplink)->connection;
    struct timespec until = after_ms(timeout_ms);

    if (!connection) {
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        return;
    }
    pthread_mutex_lock(&connection->lock);
    if (connection->event_count == 0 && connection->state != CONNECTION_OVER)
        pthread_cond_timedwait(&connection->changed, &connection->lock, &until);
    pthread_mutex_unlock(&connection->lock);
}

/* Everything queued goes out, then CLOSE; the thread reads the answer and leaves. */
static void say_close(struct connection *connection)
{
    struct timespec until = after_ms(CLOSE_MS);
    struct hf_session *session;

    (void)hf_link_flush(connection->link, CLOSE_MS);
    session = hf_link_lock(connection->link);
    (void)hf_session_close(session);
    hf_link_unlock(connection->link);
    pthread_mutex_lock(&connection->lock);
    while (connection->state != CONNECTION_OVER)
        if (pthread_cond_timedwait(&connection->changed, &connection->lock, &until))
            break;
    pthread_mutex_unlock(&connection->lock);
}

static void uplink_close(struct hf_uplink *uplink, bool orderly)
{
    struct tls_uplink *self = self_of(uplink);
    struct connection *connection = self->connection;
    struct hf_link *link;

    forget_borrowed(self);
    if (!connection)
        return;
    if (orderly && is_up(connection))
        say_close(connection);
    pthread_mutex_lock(&connection->lock);
    connection->cancelled = true;
    link = connection->link;
    pthread_cond_broadcast(&connection->changed);
    pthread_mutex_unlock(&connection->lock);
    if (link)
        hf_link_stop(link); /* it lives as long as our reference */
    connection_unref(connection);
    self->connection = NULL;
}

static const char *uplink_error_text(struct hf_uplink *uplink)
{
    return self_of(uplink)->error_text[0] ? self_of(uplink)->error_text : "connection lost";
}

static void uplink_free(struct hf_uplink *uplink)
{
    struct tls_uplink *self = self_of(uplink);

    uplink_close(uplink, false);
    credentials_unref(self->credentials);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static const struct hf_uplink_ops ops = {
    .size = sizeof(struct hf_uplink_ops),
    .version = 1,
    .free = uplink_free,
    .start = uplink_start,
    .batch = uplink_batch,
    .hash_get = uplink_hash_get,
    .drop_pass = uplink_drop_pass,
    .next = uplink_next,
    .wait = uplink_wait,
    .close = uplink_close,
    .error_text = uplink_error_text,
};

int hf_tls_uplink_new(const struct hf_tls_uplink_options *options, struct hf_uplink **ret_uplink)
{
    struct tls_uplink *self = calloc(1, sizeof(*self));

    if (!self) {
        hf_tls_free(options->tls);
        return -ENOMEM;
    }
    self->credentials = credentials_new(options->tls);
    if (!self->credentials) {
        free(self);
        return -ENOMEM;
    }
    pthread_mutex_init(&self->lock, NULL);
    self->uplink.ops = &ops;
    self->node = options->node;
    snprintf(self->address, sizeof(self->address), "%s", options->address);
    *ret_uplink = &self->uplink;
    return 0;
}

int hf_tls_uplink_renew(struct hf_uplink *uplink, struct hf_tls *tls)
{
    struct tls_uplink *self = self_of(uplink);
    struct credentials *credentials = credentials_new(tls), *before;

    if (!credentials)
        return -ENOMEM;
    pthread_mutex_lock(&self->lock);
    before = self->credentials;
    self->credentials = credentials;
    pthread_mutex_unlock(&self->lock);
    credentials_unref(before);
    return 0;
}
