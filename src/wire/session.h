// SPDX-License-Identifier: Apache-2.0
/*
 * The protocol as state machines without sockets, threads or clocks: bytes in, events out; calls
 * in, bytes out. The same code runs in production, under the simulator and under the fuzzer. One
 * session is used by one thread at a time.
 *
 *     source: START → HELLO_SENT → READY → ATTACH_SENT → STREAMING → CLOSING → ENDED
 *     sink:   START → READY → ATTACHING → STREAMING → CLOSING → ENDED
 *
 * A message in a state that does not take it ends the session with HF_WIRE_EPROTOCOL. After ENDED
 * nothing more comes out but what is already in the output.
 *
 * ATTACH_OK leads to STREAMING when its verdict is RESUME, NEW or CHECKSUM. After DIVERGED and
 * SUPERSEDED no batch of that stream may flow: both sides are back in READY, and the source may
 * attach again (with a new capture) or close.
 *
 * Every call that puts a message into the output returns -EAGAIN when HF_SESSION_OUTPUT_MAX bytes
 * wait there already (nothing was changed: send some, call again), and HF_EPROTO in a state or role
 * it does not belong to.
 */
#ifndef HF_WIRE_SESSION_H
#define HF_WIRE_SESSION_H

#include "wire/message.h"

#define HF_SESSION_OUTPUT_MAX (2u * HF_MESSAGE_BODY_MAX) /* bytes waiting to be sent */
#define HF_SESSION_HASH_GETS_MAX 16 /* HASH_GETs under way; a source that sends more is cut off */
#define HF_SESSION_PINGS_MAX 4      /* PINGs not answered yet */

enum hf_session_role { HF_SESSION_SOURCE, HF_SESSION_SINK };

enum hf_session_state {
    HF_SESSION_START,
    HF_SESSION_HELLO_SENT,
    HF_SESSION_READY,
    HF_SESSION_ATTACH_SENT,
    HF_SESSION_ATTACHING,
    HF_SESSION_STREAMING,
    HF_SESSION_CLOSING,
    HF_SESSION_ENDED
};

struct hf_session; /* opaque */

/*
 * What came in. `type` is an enum hf_message_type; the union holds its decoded body, borrowed until
 * the next hf_session_input, hf_session_received or hf_session_next. Calls of the sending side
 * leave it (and the room that hf_session_input gave) alone, so that one thread can read and handle
 * a batch while another, taking turns under the owner's lock for the calls themselves, sends.
 */
struct hf_session_event {
    uint16_t type;
    union {
        struct hf_msg_hello hello;
        struct hf_msg_hello_ok hello_ok;
        struct hf_msg_attach attach;
        struct hf_msg_attach_ok attach_ok;
        struct hf_msg_ack ack;
        uint64_t credit_total;
        struct hf_msg_lost lost;
        struct hf_msg_hash_get hash_get;
        struct hf_msg_hash_list hash_list;
        struct hf_msg_error error;
        struct {
            const void *data; /* not yet parsed as a batch */
            size_t size;
        } batch;
    } u;
};

/* A session before its hello; `node` and `software` go into it and are copied. */
int hf_session_new(enum hf_session_role role, const struct hf_id *node, const char *software,
                   struct hf_session **ret_session);
void hf_session_free(struct hf_session *session); /* NULL-safe */
enum hf_session_state hf_session_state(const struct hf_session *session);

/* Whether batches flow after this verdict (enum hf_attach_verdict). */
bool hf_attach_verdict_streams(uint8_t verdict);

/*
 * Room for incoming bytes: *ret_data takes up to *ret_size bytes (never 0 unless ENDED);
 * hf_session_received says how many came. Large BATCH bodies are received in place, uncopied. Call
 * hf_session_next until it gives 0 in between. Always 0.
 */
int hf_session_input(struct hf_session *session, void **ret_data, size_t *ret_size);
void hf_session_received(struct hf_session *session, size_t size);
/* The next whole message: 1 and the event, 0 when more bytes are needed, negative when the peer
 * broke the protocol (an ERROR is then in the output and the session ENDED). PING is answered
 * inside. */
int hf_session_next(struct hf_session *session, struct hf_session_event *ret_event);

/* Whether a message has begun to arrive and is not whole: a peer may not take for ever over one. */
bool hf_session_is_partial(const struct hf_session *session);

/* Bytes to send, borrowed until hf_session_sent takes some of them away. 0 bytes: nothing. */
void hf_session_output(struct hf_session *session, const void **ret_data, size_t *ret_size);
void hf_session_sent(struct hf_session *session, size_t size);
/* The same by exchange: all the output goes to `bytes` (empty before), whose memory the session
 * goes on with. For a sender that lets other threads use the session while it sends. */
void hf_session_take_output(struct hf_session *session, struct hf_bytes *bytes);

/* Source calls. HF_EPROTO in a wrong state. */
int hf_session_hello(struct hf_session *session);
int hf_session_attach(struct hf_session *session, const struct hf_msg_attach *attach);
/* Puts a whole batch into the output. -EAGAIN when credit does not cover it. */
int hf_session_batch(struct hf_session *session, const void *data, size_t size);
/* The same without the copy: only its header goes into the output, and the caller sends the batch's
 * `size` bytes right behind the output as it is now, before anything that is put there later. */
int hf_session_batch_header(struct hf_session *session, size_t size);
uint64_t hf_session_credit_left(const struct hf_session *session); /* bytes */
/* -EAGAIN also when HF_SESSION_HASH_GETS_MAX are under way. */
int hf_session_hash_get(struct hf_session *session, const struct hf_msg_hash_get *get);

/* Sink calls. */
int hf_session_attach_ok(struct hf_session *session, const struct hf_msg_attach_ok *attach_ok);
int hf_session_ack(struct hf_session *session, const struct hf_msg_ack *ack);
int hf_session_credit(struct hf_session *session, uint64_t total_bytes);
int hf_session_lost(struct hf_session *session, const struct hf_msg_lost *lost);
int hf_session_hash_list(struct hf_session *session, const struct hf_msg_hash_list *list);

/* Either side. */
int hf_session_ping(struct hf_session *session); /* -EAGAIN: HF_SESSION_PINGS_MAX unanswered */
/* Orderly end, by the side that wants it; the other's session answers by itself and is ENDED. A
 * source that wants its last batches acknowledged waits for that before it closes. */
int hf_session_close(struct hf_session *session);
/* Puts an ERROR into the output and ends the session. text is cut at HF_ERROR_TEXT_MAX - 1 bytes.
 */
int hf_session_fail(struct hf_session *session, enum hf_wire_error code, const char *text);

#endif
