// SPDX-License-Identifier: Apache-2.0
/*
 * The order that makes an acknowledgement true: [1] appends and raises `appended`; [2] sees it,
 * syncs the machine, and only then reads what is durable and says so. An acknowledgement is always
 * made from hf_machine_durable, never from what was received, so no order of threads can
 * acknowledge too much.
 */
#include "target/sink.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/error.h"
#include "target/attach.h"

/* BATCH bytes a source may have under way; also what bounds this connection's share of memory and
 * socket buffers. */
#define CREDIT_WINDOW_BYTES (32 * HF_MIB)
#define CREDIT_STEP_BYTES (4 * HF_MIB)
/* How long a new connection waits for a dead one that still holds the machine. */
#define TAKEOVER_MS 5000

struct hf_sink {
    struct hf_registry *registry;
    struct hf_sink_port port;
    char name[HF_MACHINE_NAME_MAX];
    struct hf_id target;
    struct hf_registry_entry *entry; /* NULL until attached */
    struct hf_machine *machine;
    struct hf_id machine_id;

    pthread_mutex_t lock;
    pthread_cond_t wake_settle;
    pthread_cond_t wake_hash;
    bool stopped;
    bool appended; /* something was appended since the last sync began */
    uint64_t received_bytes;
    uint64_t credit_total;
    struct hf_msg_hash_get hash_queue[HF_SINK_HASH_QUEUE_MAX];
    size_t hash_first;
    size_t hash_count;

    void (*evicted)(void *context);
    void *evict_context;
};

int hf_sink_new(struct hf_registry *registry, const struct hf_id *target,
                const struct hf_sink_port *port, const char *name, void (*evicted)(void *context),
                void *evict_context, struct hf_sink **ret_sink)
{
    struct hf_sink *sink = calloc(1, sizeof(*sink));
    pthread_condattr_t attributes;

    if (sink == NULL)
        return -ENOMEM;
    if (strlen(name) >= sizeof(sink->name)) {
        free(sink);
        return -EINVAL;
    }
    memcpy(sink->name, name, strlen(name) + 1);
    sink->registry = registry;
    sink->port = *port;
    sink->target = *target;
    sink->evicted = evicted;
    sink->evict_context = evict_context;
    pthread_mutex_init(&sink->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&sink->wake_settle, &attributes);
    pthread_cond_init(&sink->wake_hash, &attributes);
    pthread_condattr_destroy(&attributes);
    *ret_sink = sink;
    return 0;
}

void hf_sink_free(struct hf_sink *sink)
{
    if (sink == NULL)
        return;
    if (sink->entry != NULL)
        hf_registry_detach(sink->registry, sink->entry);
    pthread_cond_destroy(&sink->wake_hash);
    pthread_cond_destroy(&sink->wake_settle);
    pthread_mutex_destroy(&sink->lock);
    free(sink);
}

void hf_sink_stop(struct hf_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    sink->stopped = true;
    pthread_cond_broadcast(&sink->wake_settle);
    pthread_cond_broadcast(&sink->wake_hash);
    pthread_mutex_unlock(&sink->lock);
}

static enum hf_wire_error wire_error_of(int error)
{
    switch (-error) {
    case HF_EIDENTITY:
        return HF_WIRE_EIDENTITY;
    case EBUSY:
        return HF_WIRE_EBUSY;
    case HF_EFENCED:
        return HF_WIRE_EFENCED;
    case HF_ECORRUPT:
    case HF_EDIVERGED:
        return HF_WIRE_ECORRUPT;
    case ENOSPC:
    case EDQUOT:
        return HF_WIRE_ESPACE;
    case HF_EQUOTA:
        return HF_WIRE_ELIMIT;
    case HF_EPROTO:
    case HF_ETOOBIG:
        return HF_WIRE_EPROTOCOL;
    default:
        return HF_WIRE_EINTERNAL;
    }
}

static const char *text_of(int error)
{
    switch (-error) {
    case HF_EIDENTITY:
        return "this machine is protected under another name; its certificate does not allow this "
               "one";
    case EBUSY:
        return "the machine is attached by another connection";
    case ENOSPC:
        return "the store has no room; free space or shorten the retention window";
    case HF_ESYNC:
        return "the store's disk failed while writing; see the target's log";
    default:
        return hf_strerror(error);
    }
}

static struct hf_session *session_lock(struct hf_sink *sink)
{
    return sink->port.lock(sink->port.context);
}

static void session_unlock(struct hf_sink *sink)
{
    sink->port.unlock(sink->port.context);
}

/* Tells the source why and ends the session. Returns `error`. */
static int fail(struct hf_sink *sink, int error)
{
    struct hf_session *session = session_lock(sink);

    hf_session_fail(session, wire_error_of(error), text_of(error));
    session_unlock(sink);
    return error;
}

static uint64_t complete_mask(struct hf_machine *machine)
{
    uint64_t mask = 0;

    for (uint16_t i = 0; i < HF_DISKS_MAX; i++) {
        struct hf_machine_disk disk;

        if (hf_machine_disk_info(machine, i, &disk) == 0 && disk.complete)
            mask |= (uint64_t)1 << i;
    }
    return mask;
}

static bool stream_equal(const struct hf_stream_id *a, const struct hf_stream_id *b)
{
    return a->epoch == b->epoch && hf_id_equal(&a->capture, &b->capture);
}

/* What is durable now; anything a dead connection appended is made so first, or it would be asked
 * for again. */
static int machine_have(struct hf_sink *sink, const struct hf_msg_attach *attach,
                        struct hf_attach_have *ret_have)
{
    struct hf_attach_have have = {.epoch = hf_machine_epoch(sink->machine)};
    struct hf_stream_id wanted = attach->stream;
    int error = hf_machine_sync(sink->machine);

    if (error < 0)
        return error;
    wanted.epoch = hf_attach_epoch(attach, have.epoch);
    have.complete_mask = complete_mask(sink->machine);
    hf_machine_durable(sink->machine, &have.progress);
    have.stream_known = stream_equal(&have.progress.stream, &wanted) &&
                        (have.progress.seq > 0 || have.progress.pass > 0);
    *ret_have = have;
    return 0;
}

/* The epoch is durable before the source hears of it (A7). */
static int accept_stream(struct hf_sink *sink, const struct hf_msg_attach_ok *ok)
{
    int error = 0;

    if (ok->verdict == HF_ATTACH_SUPERSEDED || ok->verdict == HF_ATTACH_DIVERGED)
        return 0;
    if (ok->stream.epoch > hf_machine_epoch(sink->machine))
        error = hf_machine_epoch_raise(sink->machine, ok->stream.epoch);
    if (error == 0)
        error = hf_machine_stream_begin(sink->machine, &ok->stream);
    return error;
}

/* A source that was told DIVERGED attaches its new capture over the same connection: the machine is
 * held already, and no other one can be. */
static int hold_machine(struct hf_sink *sink, const struct hf_id *machine)
{
    int error;

    if (sink->entry != NULL)
        return hf_id_equal(&sink->machine_id, machine) ? 0 : -HF_EPROTO;
    error = hf_registry_attach(sink->registry, machine, sink->name, TAKEOVER_MS, sink->evicted,
                               sink->evict_context, &sink->entry);
    if (error < 0)
        return error;
    sink->machine_id = *machine;
    sink->machine = hf_registry_machine(sink->entry);
    return 0;
}

static int on_attach(struct hf_sink *sink, const struct hf_msg_attach *attach)
{
    struct hf_attach_have have;
    struct hf_msg_attach_ok ok;
    int error = hold_machine(sink, &attach->machine);

    if (error < 0)
        return fail(sink, error);
    error = machine_have(sink, attach, &have);
    if (error < 0)
        return fail(sink, error);
    hf_attach_decide(attach, &have, &ok);
    error = accept_stream(sink, &ok);
    if (error < 0)
        return fail(sink, error);
    ok.target = sink->target;
    ok.credit = CREDIT_WINDOW_BYTES;
    sink->credit_total = ok.credit;
    error = hf_session_attach_ok(session_lock(sink), &ok);
    session_unlock(sink);
    return error;
}

static int on_batch(struct hf_sink *sink, const void *data, size_t size)
{
    int error = hf_machine_append(sink->machine, data, size);

    if (error < 0 && error != -EALREADY)
        return fail(sink, error);
    pthread_mutex_lock(&sink->lock);
    sink->received_bytes += size;
    sink->appended = true;
    pthread_cond_signal(&sink->wake_settle);
    pthread_mutex_unlock(&sink->lock);
    return 0;
}

static int on_hash_get(struct hf_sink *sink, const struct hf_msg_hash_get *get)
{
    bool full;

    pthread_mutex_lock(&sink->lock);
    full = sink->hash_count == HF_SINK_HASH_QUEUE_MAX;
    if (!full) {
        sink->hash_queue[(sink->hash_first + sink->hash_count) % HF_SINK_HASH_QUEUE_MAX] = *get;
        sink->hash_count++;
        pthread_cond_signal(&sink->wake_hash);
    }
    pthread_mutex_unlock(&sink->lock);
    return full ? fail(sink, -HF_EPROTO) : 0;
}

int hf_sink_event(struct hf_sink *sink, const struct hf_session_event *event)
{
    switch (event->type) {
    case HF_MSG_ATTACH:
        return on_attach(sink, &event->u.attach);
    case HF_MSG_BATCH:
        return on_batch(sink, event->u.batch.data, event->u.batch.size);
    case HF_MSG_HASH_GET:
        return on_hash_get(sink, &event->u.hash_get);
    case HF_MSG_CLOSE:
    case HF_MSG_CLOSE_OK:
        return 1;
    case HF_MSG_ERROR:
        return -HF_EPROTO;
    default:
        return 0;
    }
}

/* The lock is held. */
static void wait_for_appends(struct hf_sink *sink, int timeout_ms)
{
    struct timespec deadline;

    if (sink->stopped || sink->appended)
        return;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&sink->wake_settle, &sink->lock, &deadline);
}

static int acknowledge(struct hf_sink *sink, const struct hf_journal_progress *durable,
                       uint64_t received_bytes)
{
    struct hf_msg_ack ack = {
        .target = sink->target,
        .hop_seq = durable->seq,
        .target_seq = durable->seq,
        .target_digest = durable->digest,
        .pass = durable->pass,
        .pass_batch = durable->pass_batch,
    };
    uint64_t credit = received_bytes + CREDIT_WINDOW_BYTES;
    struct hf_session *session = session_lock(sink);
    int error = 0;

    if (hf_session_state(session) == HF_SESSION_STREAMING) {
        error = hf_session_ack(session, &ack);
        if (error == 0 && credit >= sink->credit_total + CREDIT_STEP_BYTES) {
            sink->credit_total = credit;
            error = hf_session_credit(session, credit);
        }
    }
    session_unlock(sink);
    return error;
}

int hf_sink_settle(struct hf_sink *sink, int timeout_ms)
{
    struct hf_journal_progress durable;
    uint64_t received_bytes;
    bool appended;
    bool stopped;
    int error;

    pthread_mutex_lock(&sink->lock);
    wait_for_appends(sink, timeout_ms);
    appended = sink->appended;
    sink->appended = false;
    received_bytes = sink->received_bytes;
    stopped = sink->stopped;
    pthread_mutex_unlock(&sink->lock);
    if (!appended)
        return stopped ? -ECANCELED : 0;

    error = hf_machine_sync(sink->machine);
    if (error < 0)
        return fail(sink, error);
    hf_machine_durable(sink->machine, &durable);
    return acknowledge(sink, &durable, received_bytes);
}

static int answer_hash(struct hf_sink *sink, const struct hf_msg_hash_get *get)
{
    struct hf_hash128 *hashes = calloc(get->count, sizeof(*hashes));
    struct hf_msg_hash_list list = {.request = get->request};
    int error;

    if (hashes == NULL)
        return -ENOMEM;
    list.error = hf_machine_hash_secret(sink->machine, get->disk, &list.secret);
    if (list.error == 0)
        list.error = hf_machine_hashes(sink->machine, get->disk, get->offset, get->block_size,
                                       get->count, hashes);
    if (list.error == 0) {
        list.count = get->count;
        list.hashes = hashes;
    }
    error = hf_session_hash_list(session_lock(sink), &list);
    session_unlock(sink);
    free(hashes);
    return error == -HF_EPROTO ? 0 : error; /* it is closing: nobody waits for the answer */
}

int hf_sink_hash(struct hf_sink *sink)
{
    struct hf_msg_hash_get get;

    pthread_mutex_lock(&sink->lock);
    while (!sink->stopped && sink->hash_count == 0)
        pthread_cond_wait(&sink->wake_hash, &sink->lock);
    if (sink->stopped) {
        pthread_mutex_unlock(&sink->lock);
        return -ECANCELED;
    }
    get = sink->hash_queue[sink->hash_first];
    sink->hash_first = (sink->hash_first + 1) % HF_SINK_HASH_QUEUE_MAX;
    sink->hash_count--;
    pthread_mutex_unlock(&sink->lock);
    return answer_hash(sink, &get);
}
