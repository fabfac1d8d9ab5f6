// SPDX-License-Identifier: Apache-2.0
/*
 * A session over a connection: what agent, gateway and target all need around hf_session.
 *
 * The owner's thread (the reader) calls hf_link_next and gets the peer's messages. Any thread puts
 * messages out: through the session itself between hf_link_lock and hf_link_unlock, or batches,
 * by reference, with hf_link_batch. A thread of the link's own (the writer) sends what there is:
 * session output first, then captured batches, then pass batches, each as credit allows.
 *
 *     lock order: link (hf_link_lock) only; no callback is called with it held
 *
 * Silence is noticed: when nothing came for ping_ms a PING goes out, and when nothing came for
 * dead_ms the link ends with -ECONNABORTED. Both run inside hf_link_next: a reader that stays away
 * longer than its peer's dead_ms is taken for dead.
 */
#ifndef HF_NET_LINK_H
#define HF_NET_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "net/net.h"
#include "stream/batch.h"
#include "wire/session.h"

#define HF_LINK_PING_MS 5000
#define HF_LINK_DEAD_MS 20000
#define HF_LINK_WRITE_MS_MAX 20000     /* for each 128 KiB: a peer that takes less is dead */
#define HF_LINK_QUEUED_BATCHES_MAX 256 /* of each lane */

struct hf_link; /* opaque */

struct hf_link_options {
    enum hf_session_role role;
    struct hf_id node;
    const char *software;   /* "holdfast 0.1.0"; copied */
    size_t queue_bytes_max; /* of each lane; 0: HF_BATCH_SIZE_MAX */
    int ping_ms;            /* 0: HF_LINK_PING_MS */
    int dead_ms;            /* 0: HF_LINK_DEAD_MS */
};

/*
 * Starts the writer; a source sends its HELLO at once. Takes `conn` over, even when it fails
 * (-ENOMEM, -EAGAIN). Freed with hf_link_free.
 */
int hf_link_new(struct hf_conn *conn, const struct hf_link_options *options,
                struct hf_link **ret_link);

/*
 * The next event, for the one reader thread: 1 and the event, borrowed until the next call; blocks
 * at most timeout_ms (-1: no limit). -ETIMEDOUT: none yet. 0: the session has ended in order (after
 * the CLOSE or CLOSE_OK event). Otherwise the link is over: the code of what the peer did wrong (it
 * has been told), -ECONNRESET, -ECONNABORTED (silence), -ECANCELED (hf_link_stop). An ERROR of the
 * peer is an event; the call after it gives -ECONNRESET.
 */
int hf_link_next(struct hf_link *link, int timeout_ms, struct hf_session_event *ret_event);

/* The session, to call its outgoing side (never input, received, next, output, sent). Any thread;
 * short: nothing may block in between. Unlock wakes the writer. */
struct hf_session *hf_link_lock(struct hf_link *link);
void hf_link_unlock(struct hf_link *link);

/* Called once for each batch that was taken: from the writer when all of it was handed to the
 * connection (status 0), or when it was dropped (-ECANCELED, or why the link ended) from the thread
 * that dropped it. The memory is the caller's again. Must not block, nor call hf_link_batch. */
typedef void (*hf_link_release_fn)(void *arg, int status);

/*
 * Queues a whole batch by reference: data stays untouched until `release`. Waits up to timeout_ms
 * (-1: no limit, 0: does not wait) for room in the lane's queue; a batch always fits an empty
 * queue. May be called before the session streams: batches go out once it does. -ETIMEDOUT (-EAGAIN
 * when timeout_ms is 0); -ECANCELED or the link's error when it is over: not taken, not released.
 * Any thread.
 */
int hf_link_batch(struct hf_link *link, enum hf_lane lane, const void *data, size_t size,
                  hf_link_release_fn release, void *arg, int timeout_ms);
/* Bytes taken and not yet handed to the connection. Any thread. */
size_t hf_link_queued_bytes(struct hf_link *link, enum hf_lane lane);
/* Drops what is queued and not under way (a new capture, a pass begun anew): released with
 * -ECANCELED. Any thread. */
void hf_link_drop(struct hf_link *link, enum hf_lane lane);
/* Waits until everything queued and put out has been handed to the connection. -ETIMEDOUT, or the
 * link's error. Any thread. */
int hf_link_flush(struct hf_link *link, int timeout_ms);

/* The reader's orderly end: sends what is queued, then CLOSE, and reads (and drops) events until
 * the peer has agreed. 0, -ETIMEDOUT, or as hf_link_next. */
int hf_link_close(struct hf_link *link, int timeout_ms);
/* Ends the link at once, from any thread: wakes reader, writer and waiters. Idempotent. */
void hf_link_stop(struct hf_link *link);
/* Stops, waits for the writer, releases what is queued with -ECANCELED, closes the connection. No
 * other thread may be inside. NULL-safe. */
void hf_link_free(struct hf_link *link);

const char *hf_link_identity(const struct hf_link *link); /* the peer's URI; lives as the link */
/* As hf_conn_check_denied. Any thread. Reads a file. */
int hf_link_check_denied(struct hf_link *link);

/* Totals since the link began. */
struct hf_link_stats {
    uint64_t sent_bytes; /* messages and batches, before TLS */
    uint64_t received_bytes;
    uint64_t sent_batches;
    uint64_t credit_wait_ns; /* time with a batch queued and no credit for it */
    uint64_t round_trip_ns;  /* of the last PING; 0: none yet */
};
/* Any thread. */
void hf_link_stats(struct hf_link *link, struct hf_link_stats *ret_stats);

#endif
