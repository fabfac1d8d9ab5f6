// SPDX-License-Identifier: Apache-2.0
/* A session's calls: each checks the state, puts one message into the output, moves the state. */
#include "wire/session-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

int hf_session_new(enum hf_session_role role, const struct hf_id *node, const char *software,
                   struct hf_session **ret_session)
{
    struct hf_session *session = malloc(sizeof(*session));

    if (!session)
        return -ENOMEM;
    memset(session, 0, sizeof(*session));
    session->role = role;
    session->node = *node;
    session->output.size_max = HF_SESSION_OUTPUT_MAX;
    snprintf(session->software, sizeof(session->software), "%s", software);
    *ret_session = session;
    return 0;
}

void hf_session_free(struct hf_session *session)
{
    if (!session)
        return;
    ZSTD_freeDCtx(session->decoder);
    hf_bytes_clear(&session->output);
    free(session->body);
    free(session->raw);
    free(session);
}

enum hf_session_state hf_session_state(const struct hf_session *session)
{
    return session->state;
}

/* ---- Output ---- */

struct hf_bytes *hf_session_output_buffer(struct hf_session *session)
{
    struct hf_bytes *output = &session->output;

    if (session->output_sent > 0 && session->output_sent >= output->size / 2) {
        hf_bytes_consume(output, session->output_sent);
        session->output_sent = 0;
    }
    return output;
}

void hf_session_output(struct hf_session *session, const void **ret_data, size_t *ret_size)
{
    *ret_size = session->output.size - session->output_sent;
    *ret_data = *ret_size > 0 ? session->output.data + session->output_sent : NULL;
}

void hf_session_sent(struct hf_session *session, size_t size)
{
    HF_ASSERT(size <= session->output.size - session->output_sent);
    session->output_sent += size;
}

void hf_session_take_output(struct hf_session *session, struct hf_bytes *bytes)
{
    struct hf_bytes taken = session->output;

    HF_ASSERT(bytes->size == 0);
    if (session->output_sent > 0)
        hf_bytes_consume(&taken, session->output_sent);
    session->output = *bytes;
    session->output.size_max = HF_SESSION_OUTPUT_MAX;
    session->output_sent = 0;
    *bytes = taken;
}

/* A full output is no fault of the session: the caller sends some of it and calls again. */
static int output_result(int error)
{
    return error == -HF_ETOOBIG ? -EAGAIN : error;
}

static bool may(const struct hf_session *session, enum hf_session_role role,
                enum hf_session_state state)
{
    return session->role == role && session->state == state;
}

/* ---- Source ---- */

int hf_session_hello(struct hf_session *session)
{
    struct hf_msg_hello hello = {
        .version_min = HF_WIRE_VERSION,
        .version_max = HF_WIRE_VERSION,
        .node = session->node,
    };
    int error;

    if (!may(session, HF_SESSION_SOURCE, HF_SESSION_START))
        return -HF_EPROTO;
    memcpy(hello.software, session->software, sizeof(hello.software));
    error = hf_message_encode_hello(hf_session_output_buffer(session), &hello);
    if (!error)
        session->state = HF_SESSION_HELLO_SENT;
    return output_result(error);
}

int hf_session_attach(struct hf_session *session, const struct hf_msg_attach *attach)
{
    int error;

    if (!may(session, HF_SESSION_SOURCE, HF_SESSION_READY))
        return -HF_EPROTO;
    error = hf_message_encode_attach(hf_session_output_buffer(session), attach);
    if (!error)
        session->state = HF_SESSION_ATTACH_SENT;
    return output_result(error);
}

uint64_t hf_session_credit_left(const struct hf_session *session)
{
    return session->credit_total - session->credit_used;
}

int hf_session_batch_header(struct hf_session *session, size_t size)
{
    struct hf_message_header header;
    int error;

    if (!may(session, HF_SESSION_SOURCE, HF_SESSION_STREAMING))
        return -HF_EPROTO;
    if (size < sizeof(struct hf_batch_header))
        return -EINVAL;
    if (size > HF_BATCH_SIZE_MAX)
        return -HF_ETOOBIG;
    if (size > hf_session_credit_left(session))
        return -EAGAIN;
    hf_message_batch_header(size, &header);
    error = hf_bytes_append(hf_session_output_buffer(session), &header, sizeof(header));
    if (!error)
        session->credit_used += size;
    return output_result(error);
}

int hf_session_batch(struct hf_session *session, const void *data, size_t size)
{
    struct hf_bytes *output = hf_session_output_buffer(session);
    int error = hf_session_batch_header(session, size);

    if (error)
        return error;
    error = hf_bytes_append(output, data, size);
    if (error) {
        output->size -= sizeof(struct hf_message_header);
        session->credit_used -= size;
    }
    return output_result(error);
}

int hf_session_hash_get(struct hf_session *session, const struct hf_msg_hash_get *get)
{
    int error;

    if (!may(session, HF_SESSION_SOURCE, HF_SESSION_STREAMING))
        return -HF_EPROTO;
    if (session->hash_gets >= HF_SESSION_HASH_GETS_MAX)
        return -EAGAIN;
    if (get->count > HF_HASHES_MAX)
        return -HF_ETOOBIG;
    error = hf_message_encode_hash_get(hf_session_output_buffer(session), get);
    if (!error)
        session->hash_gets++;
    return output_result(error);
}

/* ---- Sink ---- */

int hf_session_attach_ok(struct hf_session *session, const struct hf_msg_attach_ok *attach_ok)
{
    int error;

    if (!may(session, HF_SESSION_SINK, HF_SESSION_ATTACHING))
        return -HF_EPROTO;
    if (attach_ok->verdict < HF_ATTACH_RESUME || attach_ok->verdict > HF_ATTACH_SUPERSEDED)
        return -EINVAL;
    error = hf_message_encode_attach_ok(hf_session_output_buffer(session), attach_ok);
    if (error)
        return output_result(error);
    session->attached = hf_attach_verdict_streams(attach_ok->verdict);
    session->state = session->attached ? HF_SESSION_STREAMING : HF_SESSION_READY;
    session->credit_total = session->attached ? attach_ok->credit : 0;
    session->credit_used = 0;
    return 0;
}

int hf_session_ack(struct hf_session *session, const struct hf_msg_ack *ack)
{
    if (!may(session, HF_SESSION_SINK, HF_SESSION_STREAMING))
        return -HF_EPROTO;
    return output_result(hf_message_encode_ack(hf_session_output_buffer(session), ack));
}

int hf_session_credit(struct hf_session *session, uint64_t total_bytes)
{
    int error;

    if (!may(session, HF_SESSION_SINK, HF_SESSION_STREAMING))
        return -HF_EPROTO;
    if (total_bytes < session->credit_total)
        return -EINVAL;
    error = hf_message_encode_credit(hf_session_output_buffer(session), total_bytes);
    if (!error)
        session->credit_total = total_bytes;
    return output_result(error);
}

int hf_session_lost(struct hf_session *session, const struct hf_msg_lost *lost)
{
    if (!may(session, HF_SESSION_SINK, HF_SESSION_STREAMING))
        return -HF_EPROTO;
    return output_result(hf_message_encode_lost(hf_session_output_buffer(session), lost));
}

int hf_session_hash_list(struct hf_session *session, const struct hf_msg_hash_list *list)
{
    int error;

    if (!may(session, HF_SESSION_SINK, HF_SESSION_STREAMING) || session->hash_gets == 0)
        return -HF_EPROTO;
    if (list->count > HF_HASHES_MAX)
        return -HF_ETOOBIG;
    error = hf_message_encode_hash_list(hf_session_output_buffer(session), list);
    if (!error)
        session->hash_gets--;
    return output_result(error);
}

/* ---- Either side ---- */

/* Between hello and end. */
static bool is_open(const struct hf_session *session)
{
    return session->state >= HF_SESSION_READY && session->state <= HF_SESSION_STREAMING;
}

int hf_session_ping(struct hf_session *session)
{
    int error;

    if (!is_open(session))
        return -HF_EPROTO;
    if (session->pings >= HF_SESSION_PINGS_MAX)
        return -EAGAIN;
    error = hf_message_encode_empty(hf_session_output_buffer(session), HF_MSG_PING);
    if (!error)
        session->pings++;
    return output_result(error);
}

int hf_session_close(struct hf_session *session)
{
    int error;

    if (!is_open(session))
        return -HF_EPROTO;
    error = hf_message_encode_empty(hf_session_output_buffer(session), HF_MSG_CLOSE);
    if (!error)
        session->state = HF_SESSION_CLOSING;
    return output_result(error);
}

int hf_session_fail(struct hf_session *session, enum hf_wire_error code, const char *text)
{
    struct hf_bytes *output = hf_session_output_buffer(session);
    struct hf_msg_error message = {.code = code};
    int error;

    if (session->state == HF_SESSION_ENDED)
        return -HF_EPROTO;
    snprintf(message.text, sizeof(message.text), "%s", text);
    /* The last message has room of its own, however full the output is. */
    output->size_max = HF_SESSION_OUTPUT_MAX + sizeof(message) + sizeof(struct hf_message_header);
    error = hf_message_encode_error(output, &message);
    if (error) { /* text that is not UTF-8, perhaps cut in the middle of a character */
        message.text[0] = '\0';
        error = hf_message_encode_error(output, &message);
    }
    session->state = HF_SESSION_ENDED;
    return error;
}
