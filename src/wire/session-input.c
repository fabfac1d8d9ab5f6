// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes in, events out. A header is believed only when its type is taken in this state, its length
 * fits its type and, for a batch, credit covers it; only then is room made for the body.
 *
 * Small messages are decoded where they were received (stage). A larger body gets a buffer of its
 * own and is received straight into it: at most what the stage already held is copied.
 */
#include "wire/session-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

#define IN(state) (1u << HF_SESSION_##state)
#define SOURCE_OPEN (IN(READY) | IN(ATTACH_SENT) | IN(STREAMING) | IN(CLOSING))
#define SINK_OPEN (IN(READY) | IN(ATTACHING) | IN(STREAMING) | IN(CLOSING))
#define STREAM (IN(STREAMING) | IN(CLOSING))

/* The states that take each message. */
static const uint16_t source_takes[] = {
    [HF_MSG_HELLO_OK] = IN(HELLO_SENT),
    [HF_MSG_ATTACH_OK] = IN(ATTACH_SENT) | IN(CLOSING),
    [HF_MSG_ACK] = STREAM,
    [HF_MSG_CREDIT] = STREAM,
    [HF_MSG_LOST] = STREAM,
    [HF_MSG_HASH_LIST] = STREAM,
    [HF_MSG_PING] = SOURCE_OPEN,
    [HF_MSG_PONG] = SOURCE_OPEN,
    [HF_MSG_CLOSE] = SOURCE_OPEN,
    [HF_MSG_CLOSE_OK] = IN(CLOSING),
    [HF_MSG_ERROR] = SOURCE_OPEN | IN(HELLO_SENT),
};
static const uint16_t sink_takes[] = {
    [HF_MSG_HELLO] = IN(START),
    [HF_MSG_ATTACH] = IN(READY) | IN(CLOSING),
    [HF_MSG_BATCH] = STREAM,
    [HF_MSG_HASH_GET] = STREAM,
    [HF_MSG_PING] = SINK_OPEN,
    [HF_MSG_PONG] = SINK_OPEN,
    [HF_MSG_CLOSE] = SINK_OPEN,
    [HF_MSG_CLOSE_OK] = IN(CLOSING),
    [HF_MSG_ERROR] = SINK_OPEN | IN(START),
};
_Static_assert(HF_ARRAY_COUNT(source_takes) == HF_MSG_ERROR + 1, "every type");
_Static_assert(HF_ARRAY_COUNT(sink_takes) == HF_MSG_ERROR + 1, "every type");

bool hf_attach_verdict_streams(uint8_t verdict)
{
    return verdict == HF_ATTACH_RESUME || verdict == HF_ATTACH_NEW || verdict == HF_ATTACH_CHECKSUM;
}

int hf_session_refuse(struct hf_session *session, int error, const char *why)
{
    enum hf_wire_error code = HF_WIRE_EPROTOCOL;
    char text[HF_ERROR_TEXT_MAX];

    if (error == -HF_EVERSION)
        code = HF_WIRE_EVERSION;
    else if (error == -ENOMEM || error == -EAGAIN)
        code = HF_WIRE_EINTERNAL;
    snprintf(text, sizeof(text), "%s (message type %u, state %d): %s", why,
             hf_le16_get(session->header.type), session->state, hf_strerror(error));
    hf_session_fail(session, code, text);
    return error;
}

/* ---- Room for bytes ---- */

static size_t body_size(const struct hf_session *session)
{
    return hf_le32_get(session->header.body_size);
}

/* The event that was handed out is not borrowed any more: its message makes room. */
static void drop_delivered(struct hf_session *session)
{
    if (!session->is_delivered)
        return;
    if (!session->is_large)
        session->stage_begin += body_size(session);
    session->is_delivered = false;
    session->has_header = false;
}

static bool fills_body(const struct hf_session *session)
{
    return session->has_header && session->is_large && session->body_filled < body_size(session);
}

int hf_session_input(struct hf_session *session, void **ret_data, size_t *ret_size)
{
    drop_delivered(session);
    if (session->state == HF_SESSION_ENDED) {
        *ret_data = NULL;
        *ret_size = 0;
        return 0;
    }
    if (fills_body(session)) {
        *ret_data = session->body + session->body_filled;
        *ret_size = body_size(session) - session->body_filled;
        return 0;
    }
    if (session->stage_begin > 0) {
        memmove(session->stage, session->stage + session->stage_begin,
                session->stage_end - session->stage_begin);
        session->stage_end -= session->stage_begin;
        session->stage_begin = 0;
    }
    *ret_data = session->stage + session->stage_end;
    *ret_size = STAGE_SIZE - session->stage_end;
    HF_ASSERT(*ret_size > 0); /* hf_session_next was called until it gave 0 */
    return 0;
}

void hf_session_received(struct hf_session *session, size_t size)
{
    if (fills_body(session)) {
        HF_ASSERT(size <= body_size(session) - session->body_filled);
        session->body_filled += size;
    } else {
        HF_ASSERT(size <= STAGE_SIZE - session->stage_end);
        session->stage_end += size;
    }
}

/* ---- A message's header ---- */

static bool is_taken(const struct hf_session *session, uint16_t type)
{
    const uint16_t *takes = session->role == HF_SESSION_SOURCE ? source_takes : sink_takes;

    if (!(takes[type] & 1u << session->state))
        return false;
    /* Closing before anything was attached: what belongs to a stream has no place. */
    return session->state != HF_SESSION_CLOSING || takes[type] != STREAM || session->attached;
}

/* A batch costs what it is, not what it was compressed to. */
static int charge_credit(struct hf_session *session)
{
    bool compressed = session->header.flags & HF_MESSAGE_COMPRESSED;
    size_t size = compressed ? hf_le32_get(session->header.raw_size) : body_size(session);

    if (size < sizeof(struct hf_batch_header) || size > hf_session_credit_left(session))
        return -HF_EPROTO;
    session->credit_used += size;
    return 0;
}

static int buffer_reserve(uint8_t **buffer, size_t *capacity, size_t size)
{
    uint8_t *larger;

    if (size <= *capacity)
        return 0;
    larger = malloc(size);
    if (!larger)
        return -ENOMEM;
    free(*buffer);
    *buffer = larger;
    *capacity = size;
    return 0;
}

/* What the stage already has of a large body moves to the body's own buffer. */
static int body_begin(struct hf_session *session)
{
    size_t staged = session->stage_end - session->stage_begin;
    int error;

    session->is_large = body_size(session) > BODY_STAGED_MAX;
    if (!session->is_large)
        return 0;
    error = buffer_reserve(&session->body, &session->body_capacity, body_size(session));
    if (error)
        return error;
    session->body_filled = HF_MIN(staged, body_size(session));
    memcpy(session->body, session->stage + session->stage_begin, session->body_filled);
    session->stage_begin += session->body_filled;
    return 0;
}

static int header_begin(struct hf_session *session)
{
    uint16_t type;
    int error;

    memcpy(&session->header, session->stage + session->stage_begin, sizeof(session->header));
    type = hf_le16_get(session->header.type);
    error = hf_message_header_check(&session->header);
    if (error)
        return hf_session_refuse(session, error, "bad header");
    if (!is_taken(session, type))
        return hf_session_refuse(session, -HF_EPROTO, "not expected now");
    if (type == HF_MSG_BATCH && charge_credit(session) < 0)
        return hf_session_refuse(session, -HF_EPROTO, "no credit for this batch");
    session->stage_begin += sizeof(session->header);
    error = body_begin(session);
    if (error)
        return hf_session_refuse(session, error, "no room");
    session->has_header = true;
    return 0;
}

static bool body_is_whole(const struct hf_session *session)
{
    if (session->is_large)
        return session->body_filled == body_size(session);
    return session->stage_end - session->stage_begin >= body_size(session);
}

/* ---- A whole body ---- */

/* One zstd frame of exactly the size that the header promised, which was checked against the
 * type's limit. */
static int decompress(struct hf_session *session, const void **body, size_t *size)
{
    size_t raw_size = hf_le32_get(session->header.raw_size);
    int error;

    if (ZSTD_getFrameContentSize(*body, *size) != raw_size ||
        ZSTD_findFrameCompressedSize(*body, *size) != *size)
        return -HF_ECORRUPT;
    error = buffer_reserve(&session->raw, &session->raw_capacity, raw_size);
    if (error)
        return error;
    if (!session->decoder)
        session->decoder = ZSTD_createDCtx();
    if (!session->decoder)
        return -ENOMEM;
    if (ZSTD_decompressDCtx(session->decoder, session->raw, raw_size, *body, *size) != raw_size)
        return -HF_ECORRUPT;
    *body = session->raw;
    *size = raw_size;
    return 0;
}

static int take_hello(struct hf_session *session, const struct hf_msg_hello *hello)
{
    struct hf_msg_hello_ok ok = {.version = HF_WIRE_VERSION, .node = session->node};

    if (hello->version_min > HF_WIRE_VERSION || hello->version_max < HF_WIRE_VERSION)
        return -HF_EVERSION;
    memcpy(ok.software, session->software, sizeof(ok.software));
    session->state = HF_SESSION_READY;
    return hf_message_encode_hello_ok(hf_session_output_buffer(session), &ok);
}

static int take_hello_ok(struct hf_session *session, const struct hf_msg_hello_ok *ok)
{
    if (ok->version != HF_WIRE_VERSION)
        return -HF_EVERSION;
    session->state = HF_SESSION_READY;
    return 0;
}

static int take_attach_ok(struct hf_session *session, const struct hf_msg_attach_ok *ok)
{
    if (session->state == HF_SESSION_CLOSING)
        return 0;
    session->attached = hf_attach_verdict_streams(ok->verdict);
    session->state = session->attached ? HF_SESSION_STREAMING : HF_SESSION_READY;
    session->credit_total = session->attached ? ok->credit : 0;
    session->credit_used = 0;
    return 0;
}

static int take_credit(struct hf_session *session, uint64_t total)
{
    if (total < session->credit_total)
        return -HF_EPROTO;
    session->credit_total = total;
    return 0;
}

static int take_hash_get(struct hf_session *session)
{
    if (session->hash_gets >= HF_SESSION_HASH_GETS_MAX)
        return -HF_EPROTO;
    session->hash_gets++;
    return 0;
}

static int take_counted(unsigned *outstanding)
{
    if (*outstanding == 0)
        return -HF_EPROTO;
    (*outstanding)--;
    return 0;
}

static int take_close(struct hf_session *session)
{
    int error = hf_message_encode_empty(hf_session_output_buffer(session), HF_MSG_CLOSE_OK);

    session->state = HF_SESSION_ENDED;
    return error;
}

/* What a message does to the session itself. */
static int apply(struct hf_session *session, const struct hf_session_event *event)
{
    switch (event->type) {
    case HF_MSG_HELLO:
        return take_hello(session, &event->u.hello);
    case HF_MSG_HELLO_OK:
        return take_hello_ok(session, &event->u.hello_ok);
    case HF_MSG_ATTACH:
        if (session->state == HF_SESSION_READY)
            session->state = HF_SESSION_ATTACHING;
        return 0;
    case HF_MSG_ATTACH_OK:
        return take_attach_ok(session, &event->u.attach_ok);
    case HF_MSG_CREDIT:
        return take_credit(session, event->u.credit_total);
    case HF_MSG_HASH_GET:
        return take_hash_get(session);
    case HF_MSG_HASH_LIST:
        return take_counted(&session->hash_gets);
    case HF_MSG_PING:
        return hf_message_encode_empty(hf_session_output_buffer(session), HF_MSG_PONG);
    case HF_MSG_PONG:
        return take_counted(&session->pings);
    case HF_MSG_CLOSE:
        return take_close(session);
    case HF_MSG_CLOSE_OK:
    case HF_MSG_ERROR:
        session->state = HF_SESSION_ENDED;
        return 0;
    default: /* BATCH was charged with its header; ACK and LOST are the caller's */
        return 0;
    }
}

static int decode(uint16_t type, const void *body, size_t size, struct hf_session_event *event)
{
    switch (type) {
    case HF_MSG_HELLO:
        return hf_message_decode_hello(body, size, &event->u.hello);
    case HF_MSG_HELLO_OK:
        return hf_message_decode_hello_ok(body, size, &event->u.hello_ok);
    case HF_MSG_ATTACH:
        return hf_message_decode_attach(body, size, &event->u.attach);
    case HF_MSG_ATTACH_OK:
        return hf_message_decode_attach_ok(body, size, &event->u.attach_ok);
    case HF_MSG_BATCH:
        event->u.batch.data = body;
        event->u.batch.size = size;
        return 0;
    case HF_MSG_ACK:
        return hf_message_decode_ack(body, size, &event->u.ack);
    case HF_MSG_CREDIT:
        return hf_message_decode_credit(body, size, &event->u.credit_total);
    case HF_MSG_LOST:
        return hf_message_decode_lost(body, size, &event->u.lost);
    case HF_MSG_HASH_GET:
        return hf_message_decode_hash_get(body, size, &event->u.hash_get);
    case HF_MSG_HASH_LIST:
        return hf_message_decode_hash_list(body, size, &event->u.hash_list);
    case HF_MSG_ERROR:
        return hf_message_decode_error(body, size, &event->u.error);
    default: /* the others have no body, which the header's check saw to */
        return 0;
    }
}

/* Whether the caller is told. What crosses a close that is under way is not acted upon any more. */
static bool is_event(const struct hf_session *session, uint16_t type)
{
    if (type == HF_MSG_PING)
        return false;
    return session->state != HF_SESSION_CLOSING ||
           (type != HF_MSG_ATTACH && type != HF_MSG_ATTACH_OK);
}

static int deliver(struct hf_session *session, struct hf_session_event *event)
{
    const void *body = session->is_large ? session->body : session->stage + session->stage_begin;
    uint16_t type = hf_le16_get(session->header.type);
    size_t size = body_size(session);
    int error = 0;

    session->is_delivered = true;
    if (session->header.flags & HF_MESSAGE_COMPRESSED)
        error = decompress(session, &body, &size);
    event->type = type;
    if (!error)
        error = decode(type, body, size, event);
    if (error)
        return hf_session_refuse(session, error, "malformed message");
    error = apply(session, event);
    if (error)
        return hf_session_refuse(session, error, "refused message");
    return is_event(session, type) ? 1 : 0;
}

int hf_session_next(struct hf_session *session, struct hf_session_event *ret_event)
{
    int result = 0;

    while (result == 0) {
        drop_delivered(session);
        if (session->state == HF_SESSION_ENDED)
            return 0;
        if (!session->has_header) {
            if (session->stage_end - session->stage_begin < sizeof(session->header))
                return 0;
            result = header_begin(session);
            if (result)
                return result;
        }
        if (!body_is_whole(session))
            return 0;
        result = deliver(session, ret_event);
    }
    return result;
}

bool hf_session_is_partial(const struct hf_session *session)
{
    return !session->is_delivered &&
           (session->has_header || session->stage_end > session->stage_begin);
}
