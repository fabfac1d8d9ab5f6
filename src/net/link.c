// SPDX-License-Identifier: Apache-2.0
/* A session over a connection: see link.h. */
#include "net/link.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "net/net-internal.h"

#define FAREWELL_MS 1000      /* for an ERROR or CLOSE_OK to get out before the connection goes */
#define CLOSE_STEP_MS 20      /* how often a closing reader looks whether the queues are empty */
#define MESSAGE_MS_MAX 120000 /* from a message's first byte to its last */
#define WRITE_PIECE (128 * 1024) /* what must get out within HF_LINK_WRITE_MS_MAX */
#define LANES 2

struct link_batch {
    const void *data;
    size_t size;
    hf_link_release_fn release;
    void *arg;
};

struct link_queue {
    struct link_batch items[HF_LINK_QUEUED_BATCHES_MAX]; /* a ring from head */
    uint32_t head;
    uint32_t count;
    size_t bytes; /* of the items and of the one under way */
};

struct hf_link {
    struct hf_conn *conn;
    struct hf_session *session; /* under lock; its input side is the reader's */
    struct hf_link_options options;
    pthread_t writer;
    bool has_writer;

    pthread_mutex_t lock;            /* guards all below */
    pthread_cond_t wake;             /* the writer: something to send, or the end */
    pthread_cond_t moved;            /* waiters: room in a queue, something was sent, or the end */
    struct link_queue queues[LANES]; /* by lane - 1: captured goes first */
    bool is_sending;
    bool is_writer_done;
    bool has_ended_in_order; /* CLOSE or CLOSE_OK came */
    int error;               /* the first thing that ended the link */
    int64_t read_until_ms;   /* after a failed write: the peer's last words may wait to be read */
    int64_t credit_wait_since_ms; /* 0: not waiting */
    struct hf_link_stats stats;

    /* The reader's own. */
    int64_t heard_ms;   /* when the last byte came */
    int64_t pinged_ms;  /* when the last PING went out; 0: it was answered */
    int64_t partial_ms; /* since when a message is incomplete; 0: none is */
};

/* ---- Small steps, under lock ---- */

static void link_end(struct hf_link *link, int error)
{
    if (!link->error)
        link->error = error;
    pthread_cond_broadcast(&link->wake);
    pthread_cond_broadcast(&link->moved);
}

static bool has_output(const struct hf_link *link)
{
    const void *data;
    size_t size;

    hf_session_output(link->session, &data, &size);
    return size > 0;
}

static bool is_idle(const struct hf_link *link)
{
    return !link->is_sending && !has_output(link) && link->queues[0].bytes == 0 &&
           link->queues[1].bytes == 0;
}

static bool is_over(const struct hf_link *link)
{
    return link->error || hf_session_state(link->session) == HF_SESSION_ENDED;
}

static int over_error(const struct hf_link *link)
{
    return link->error ? link->error : -ECANCELED;
}

/* Waits on a condition until the deadline (-1: none). */
static int wait_until(struct hf_link *link, pthread_cond_t *condition, int64_t deadline_ms)
{
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};

    if (deadline_ms < 0)
        return -pthread_cond_wait(condition, &link->lock);
    return -pthread_cond_timedwait(condition, &link->lock, &until);
}

/* ---- Writer ---- */

static void note_credit(struct hf_link *link, bool is_waiting)
{
    int64_t now = hf_net_now_ms();

    if (is_waiting && link->credit_wait_since_ms == 0) {
        link->credit_wait_since_ms = now;
    } else if (!is_waiting && link->credit_wait_since_ms > 0) {
        link->stats.credit_wait_ns += (uint64_t)(now - link->credit_wait_since_ms) * HF_NS_PER_MS;
        link->credit_wait_since_ms = 0;
    }
}

/* The next batch that may go: its header is in the session's output now. A pass batch never
 * overtakes a captured one for being smaller than the credit left. */
static bool pick_batch(struct hf_link *link, struct link_batch *ret_batch, int *ret_lane)
{
    int lane = link->queues[0].count > 0 ? 0 : 1;
    struct link_queue *queue = &link->queues[lane];
    int error;

    if (queue->count == 0 || hf_session_state(link->session) != HF_SESSION_STREAMING) {
        note_credit(link, false);
        return false;
    }
    error = hf_session_batch_header(link->session, queue->items[queue->head].size);
    note_credit(link, error == -EAGAIN);
    if (error) {
        if (error != -EAGAIN)
            link_end(link, error);
        return false;
    }
    *ret_batch = queue->items[queue->head];
    *ret_lane = lane;
    queue->head = (queue->head + 1) % HF_LINK_QUEUED_BATCHES_MAX;
    queue->count--;
    return true;
}

/* In pieces with a deadline each: a slow path is not a dead one. */
static int send_pieces(struct hf_link *link, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    int error = 0;

    while (size > 0 && !error) {
        size_t piece = HF_MIN(size, WRITE_PIECE);

        error = hf_conn_write(link->conn, bytes, piece, HF_LINK_WRITE_MS_MAX);
        bytes += piece;
        size -= piece;
    }
    return error;
}

static int send_out(struct hf_link *link, struct hf_bytes *output, const struct link_batch *batch)
{
    int error = send_pieces(link, output->data, output->size);

    return error ? error : send_pieces(link, batch->data, batch->size);
}

/* Sends what there is, without the lock. False: nothing was there. */
static bool write_step(struct hf_link *link, struct hf_bytes *output)
{
    struct link_batch batch = {0};
    bool has_batch;
    int lane = 0, error;

    has_batch = pick_batch(link, &batch, &lane);
    hf_session_take_output(link->session, output);
    if (output->size == 0)
        return false;
    link->is_sending = true;
    pthread_mutex_unlock(&link->lock);
    error = send_out(link, output, &batch);
    if (has_batch)
        batch.release(batch.arg, error);
    pthread_mutex_lock(&link->lock);
    link->is_sending = false;
    link->queues[lane].bytes -= batch.size;
    link->stats.sent_bytes += output->size + batch.size;
    link->stats.sent_batches += has_batch;
    output->size = 0;
    if (error) {
        if (!link->error)
            link->read_until_ms = hf_net_now_ms() + FAREWELL_MS;
        link_end(link, error);
    }
    pthread_cond_broadcast(&link->moved);
    return true;
}

static void *writer_main(void *arg)
{
    struct hf_bytes output = {.size_max = HF_SESSION_OUTPUT_MAX};
    struct hf_link *link = arg;

    pthread_mutex_lock(&link->lock);
    while (!link->error) {
        if (write_step(link, &output))
            continue;
        if (hf_session_state(link->session) == HF_SESSION_ENDED)
            break; /* and all of its last words are out */
        if (!link->error)
            wait_until(link, &link->wake, -1);
    }
    link->is_writer_done = true;
    pthread_cond_broadcast(&link->moved);
    pthread_mutex_unlock(&link->lock);
    hf_bytes_clear(&output);
    return NULL;
}

/* ---- Making and ending ---- */

static void init_locks(struct hf_link *link)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&link->lock, NULL);
    pthread_cond_init(&link->wake, &attributes);
    pthread_cond_init(&link->moved, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void set_options(struct hf_link *link, const struct hf_link_options *options)
{
    link->options = *options;
    if (link->options.queue_bytes_max == 0)
        link->options.queue_bytes_max = HF_BATCH_SIZE_MAX;
    if (link->options.ping_ms == 0)
        link->options.ping_ms = HF_LINK_PING_MS;
    if (link->options.dead_ms == 0)
        link->options.dead_ms = HF_LINK_DEAD_MS;
}

int hf_link_new(struct hf_conn *conn, const struct hf_link_options *options,
                struct hf_link **ret_link)
{
    struct hf_link *link = calloc(1, sizeof(*link));
    int error;

    if (!link) {
        hf_conn_free(conn);
        return -ENOMEM;
    }
    link->conn = conn;
    init_locks(link);
    set_options(link, options);
    link->heard_ms = hf_net_now_ms();
    error = hf_session_new(options->role, &options->node, options->software, &link->session);
    if (!error && options->role == HF_SESSION_SOURCE)
        error = hf_session_hello(link->session);
    if (!error)
        error = -pthread_create(&link->writer, NULL, writer_main, link);
    link->has_writer = !error;
    if (error)
        hf_link_free(link);
    else
        *ret_link = link;
    return error;
}

void hf_link_stop(struct hf_link *link)
{
    pthread_mutex_lock(&link->lock);
    link_end(link, -ECANCELED);
    pthread_mutex_unlock(&link->lock);
    hf_conn_shutdown(link->conn);
}

/* Takes the queue's items out, for their release without the lock. */
static uint32_t queue_empty(struct link_queue *queue, struct link_batch *ret_items)
{
    uint32_t count = queue->count;

    for (uint32_t i = 0; i < count; i++) {
        ret_items[i] = queue->items[(queue->head + i) % HF_LINK_QUEUED_BATCHES_MAX];
        queue->bytes -= ret_items[i].size;
    }
    queue->count = 0;
    return count;
}

void hf_link_drop(struct hf_link *link, enum hf_lane lane)
{
    struct link_batch items[HF_LINK_QUEUED_BATCHES_MAX];
    uint32_t count;

    pthread_mutex_lock(&link->lock);
    count = queue_empty(&link->queues[lane - 1], items);
    pthread_cond_broadcast(&link->moved);
    pthread_mutex_unlock(&link->lock);
    for (uint32_t i = 0; i < count; i++)
        items[i].release(items[i].arg, -ECANCELED);
}

void hf_link_free(struct hf_link *link)
{
    if (!link)
        return;
    pthread_mutex_lock(&link->lock);
    /* After an orderly end the connection says goodbye; otherwise it is cut. */
    if (!link->is_writer_done || link->error) {
        link_end(link, -ECANCELED);
        hf_conn_shutdown(link->conn);
    }
    pthread_mutex_unlock(&link->lock);
    if (link->has_writer)
        pthread_join(link->writer, NULL);
    hf_link_drop(link, HF_LANE_CAPTURED);
    hf_link_drop(link, HF_LANE_PASS);
    hf_conn_free(link->conn);
    hf_session_free(link->session);
    pthread_cond_destroy(&link->moved);
    pthread_cond_destroy(&link->wake);
    pthread_mutex_destroy(&link->lock);
    free(link);
}

/* ---- Any thread ---- */

struct hf_session *hf_link_lock(struct hf_link *link)
{
    pthread_mutex_lock(&link->lock);
    return link->session;
}

void hf_link_unlock(struct hf_link *link)
{
    pthread_cond_signal(&link->wake);
    pthread_mutex_unlock(&link->lock);
}

static bool has_room(const struct hf_link *link, const struct link_queue *queue, size_t size)
{
    return queue->count < HF_LINK_QUEUED_BATCHES_MAX &&
           (queue->bytes == 0 || queue->bytes + size <= link->options.queue_bytes_max);
}

int hf_link_batch(struct hf_link *link, enum hf_lane lane, const void *data, size_t size,
                  hf_link_release_fn release, void *arg, int timeout_ms)
{
    int64_t deadline_ms = hf_net_deadline(timeout_ms);
    struct link_queue *queue = &link->queues[lane - 1];
    int error = 0;

    if (size < sizeof(struct hf_batch_header) || size > HF_BATCH_SIZE_MAX)
        return -EINVAL;
    pthread_mutex_lock(&link->lock);
    while (!is_over(link) && !has_room(link, queue, size) && !error)
        error = timeout_ms == 0 ? -EAGAIN : wait_until(link, &link->moved, deadline_ms);
    if (is_over(link)) {
        error = over_error(link);
    } else if (has_room(link, queue, size)) {
        queue->items[(queue->head + queue->count++) % HF_LINK_QUEUED_BATCHES_MAX] =
            (struct link_batch){data, size, release, arg};
        queue->bytes += size;
        pthread_cond_signal(&link->wake);
        error = 0;
    }
    pthread_mutex_unlock(&link->lock);
    return error;
}

size_t hf_link_queued_bytes(struct hf_link *link, enum hf_lane lane)
{
    size_t bytes;

    pthread_mutex_lock(&link->lock);
    bytes = link->queues[lane - 1].bytes;
    pthread_mutex_unlock(&link->lock);
    return bytes;
}

int hf_link_flush(struct hf_link *link, int timeout_ms)
{
    int64_t deadline_ms = hf_net_deadline(timeout_ms);
    int error = 0;

    pthread_mutex_lock(&link->lock);
    while (!is_idle(link) && !link->is_writer_done && !link->error && !error)
        error = wait_until(link, &link->moved, deadline_ms);
    if (is_idle(link))
        error = 0;
    else if (link->error || link->is_writer_done)
        error = over_error(link);
    pthread_mutex_unlock(&link->lock);
    return error;
}

const char *hf_link_identity(const struct hf_link *link)
{
    return hf_conn_identity(link->conn);
}

int hf_link_check_denied(struct hf_link *link)
{
    return hf_conn_check_denied(link->conn);
}

void hf_link_stats(struct hf_link *link, struct hf_link_stats *ret_stats)
{
    pthread_mutex_lock(&link->lock);
    *ret_stats = link->stats;
    if (link->credit_wait_since_ms > 0)
        ret_stats->credit_wait_ns +=
            (uint64_t)(hf_net_now_ms() - link->credit_wait_since_ms) * HF_NS_PER_MS;
    pthread_mutex_unlock(&link->lock);
}

/* ---- Reader ---- */

static int fail(struct hf_link *link, int error)
{
    pthread_mutex_lock(&link->lock);
    link_end(link, error);
    error = link->error;
    pthread_mutex_unlock(&link->lock);
    hf_conn_shutdown(link->conn);
    return error;
}

/* The session is ENDED or about to be: what it still has to say gets a moment to get out. */
static void let_writer_finish(struct hf_link *link)
{
    int64_t deadline_ms = hf_net_deadline(FAREWELL_MS);

    pthread_mutex_lock(&link->lock);
    pthread_cond_broadcast(&link->wake);
    while (!link->is_writer_done && wait_until(link, &link->moved, deadline_ms) == 0)
        ;
    pthread_mutex_unlock(&link->lock);
}

static void note_event(struct hf_link *link, const struct hf_session_event *event)
{
    if (event->type == HF_MSG_CLOSE || event->type == HF_MSG_CLOSE_OK)
        link->has_ended_in_order = true;
    if (event->type == HF_MSG_PONG && link->pinged_ms > 0) {
        link->stats.round_trip_ns = (uint64_t)(hf_net_now_ms() - link->pinged_ms) * HF_NS_PER_MS;
        link->pinged_ms = 0;
    }
}

/* Whether the reader has nothing more to hope for. A peer that says ERROR and hangs up makes our
 * writes fail before we have read why. */
static bool is_read_over(const struct hf_link *link)
{
    return link->error && hf_net_now_ms() >= link->read_until_ms;
}

/* An event that has arrived: 1; 0: more bytes are needed, *ret_data says where to; negative: the
 * link is over; LINK_ENDED: in order. */
#define LINK_ENDED 2
static int take_event(struct hf_link *link, struct hf_session_event *ret_event, void **ret_data,
                      size_t *ret_size)
{
    int result;

    pthread_mutex_lock(&link->lock);
    do {
        result = hf_session_next(link->session, ret_event);
        if (result == 1)
            note_event(link, ret_event);
    } while (result == 1 && ret_event->type == HF_MSG_PONG);
    pthread_cond_signal(&link->wake); /* there may be credit, or an answer to send */
    if (result == 0 && hf_session_state(link->session) == HF_SESSION_ENDED)
        result = link->has_ended_in_order ? LINK_ENDED : -ECONNRESET;
    else if (result == 0 && is_read_over(link))
        result = link->error;
    else if (result == 0)
        hf_session_input(link->session, ret_data, ret_size);
    if (result >= 0 && !hf_session_is_partial(link->session))
        link->partial_ms = 0;
    pthread_mutex_unlock(&link->lock);
    return result;
}

static void took_bytes(struct hf_link *link, size_t size)
{
    pthread_mutex_lock(&link->lock);
    hf_session_received(link->session, size);
    link->stats.received_bytes += size;
    pthread_mutex_unlock(&link->lock);
    link->heard_ms = hf_net_now_ms();
    if (link->partial_ms == 0)
        link->partial_ms = link->heard_ms;
}

/* One PING for each silence: what was heard since is as good as its answer. */
static void ping_when_silent(struct hf_link *link, int64_t now_ms)
{
    if (now_ms - HF_MAX(link->heard_ms, link->pinged_ms) < link->options.ping_ms)
        return;
    pthread_mutex_lock(&link->lock);
    if (hf_session_ping(link->session) == 0)
        link->pinged_ms = now_ms;
    pthread_cond_signal(&link->wake);
    pthread_mutex_unlock(&link->lock);
}

static bool is_dead(const struct hf_link *link, int64_t now_ms)
{
    return now_ms - link->heard_ms >= link->options.dead_ms ||
           (link->partial_ms > 0 && now_ms - link->partial_ms >= MESSAGE_MS_MAX);
}

/* Reads once, for at most the time until something is to be done. 0 or what ended the link. */
static int read_step(struct hf_link *link, void *data, size_t size, int64_t deadline_ms)
{
    int wait_ms = link->options.ping_ms;
    int64_t now_ms;
    long got;

    if (deadline_ms >= 0)
        wait_ms = HF_MIN(wait_ms, hf_net_left_ms(deadline_ms));
    got = hf_conn_read(link->conn, data, size, wait_ms);
    if (got > 0)
        took_bytes(link, (size_t)got);
    else if (got != -ETIMEDOUT)
        return got == 0 ? -ECONNRESET : (int)got;
    now_ms = hf_net_now_ms();
    if (is_dead(link, now_ms))
        return -ECONNABORTED;
    if (got < 0)
        ping_when_silent(link, now_ms);
    return 0;
}

int hf_link_next(struct hf_link *link, int timeout_ms, struct hf_session_event *ret_event)
{
    int64_t deadline_ms = hf_net_deadline(timeout_ms);
    bool has_read = false;

    for (;;) {
        size_t size = 0;
        void *data = NULL;
        int result = take_event(link, ret_event, &data, &size);

        if (result == 1)
            return 1;
        if (result == LINK_ENDED) {
            let_writer_finish(link);
            return 0;
        }
        if (result < 0) {
            let_writer_finish(link);
            return fail(link, result);
        }
        if (has_read && deadline_ms >= 0 && hf_net_left_ms(deadline_ms) == 0)
            return is_dead(link, hf_net_now_ms()) ? fail(link, -ECONNABORTED) : -ETIMEDOUT;
        result = read_step(link, data, size, deadline_ms);
        if (result)
            return fail(link, result);
        has_read = true;
    }
}

/* Reading goes on meanwhile: what is queued may wait for credit. */
static int close_flush(struct hf_link *link, int64_t deadline_ms)
{
    struct hf_session_event event;
    bool idle = false;
    int result = 1;

    while (!idle && (result > 0 || result == -ETIMEDOUT)) {
        if (hf_net_left_ms(deadline_ms) == 0)
            return -ETIMEDOUT;
        result = hf_link_next(link, CLOSE_STEP_MS, &event);
        pthread_mutex_lock(&link->lock);
        idle = is_idle(link);
        pthread_mutex_unlock(&link->lock);
    }
    return result == -ETIMEDOUT ? 1 : result;
}

int hf_link_close(struct hf_link *link, int timeout_ms)
{
    int64_t deadline_ms = hf_net_deadline(timeout_ms);
    struct hf_session_event event;
    int result = close_flush(link, deadline_ms);

    if (result <= 0)
        return result;
    pthread_mutex_lock(&link->lock);
    result = hf_session_close(link->session);
    pthread_cond_signal(&link->wake);
    pthread_mutex_unlock(&link->lock);
    if (result == -HF_EPROTO)
        result = 0; /* it is closing or over already: reading tells */
    while (result == 0) {
        result = hf_link_next(link, hf_net_left_ms(deadline_ms), &event);
        if (result <= 0)
            return result;
        result = 0;
    }
    return result;
}
