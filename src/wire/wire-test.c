// SPDX-License-Identifier: Apache-2.0
#include "wire/wire-test.h"

#include <string.h>

#include "base/base.h"

void hf_test_pair_new(struct hf_test_pair *pair)
{
    struct hf_id a = {{1}}, b = {{2}};

    HF_ASSERT(hf_session_new(HF_SESSION_SOURCE, &a, "source 1", &pair->source) == 0);
    HF_ASSERT(hf_session_new(HF_SESSION_SINK, &b, "sink 1", &pair->sink) == 0);
}

void hf_test_pair_free(struct hf_test_pair *pair)
{
    hf_session_free(pair->source);
    hf_session_free(pair->sink);
}

int hf_test_feed(struct hf_session *session, const void *data, size_t size, size_t chunk,
                 struct hf_session_event *ret_event)
{
    static _Thread_local struct hf_session_event unused;
    struct hf_session_event *event = ret_event ? ret_event : &unused;
    const uint8_t *bytes = data;
    int events = 0, result;

    while (size > 0) {
        size_t room, part;
        void *into;

        HF_ASSERT(hf_session_input(session, &into, &room) == 0);
        if (room == 0)
            break;
        part = HF_MIN(HF_MIN(size, room), chunk);
        memcpy(into, bytes, part);
        hf_session_received(session, part);
        bytes += part;
        size -= part;
        while ((result = hf_session_next(session, event)) > 0)
            events++;
        if (result < 0)
            return result;
    }
    return events;
}

int hf_test_pump(struct hf_session *from, struct hf_session *to, struct hf_session_event *ret_event)
{
    const void *data;
    size_t size;
    int result;

    hf_session_output(from, &data, &size);
    result = hf_test_feed(to, data, size, SIZE_MAX, ret_event);
    hf_session_sent(from, size);
    return result;
}

static void discard_output(struct hf_session *session)
{
    const void *data;
    size_t size;

    hf_session_output(session, &data, &size);
    hf_session_sent(session, size);
}

static void advance_to_ready(struct hf_test_pair *pair)
{
    HF_ASSERT(hf_test_pump(pair->source, pair->sink, NULL) == 1);
    HF_ASSERT(hf_test_pump(pair->sink, pair->source, NULL) == 1);
    HF_ASSERT(hf_session_ping(pair->source) == 0);
    HF_ASSERT(hf_session_ping(pair->sink) == 0);
    discard_output(pair->source);
    discard_output(pair->sink);
}

static void advance_to_attaching(struct hf_test_pair *pair)
{
    struct hf_msg_attach attach = {.machine = {{9}}, .disk_count = 1};

    HF_ASSERT(hf_session_attach(pair->source, &attach) == 0);
    HF_ASSERT(hf_test_pump(pair->source, pair->sink, NULL) == 1);
}

static void advance_to_streaming(struct hf_test_pair *pair)
{
    struct hf_msg_attach_ok ok = {.verdict = HF_ATTACH_RESUME, .credit = HF_TEST_CREDIT};
    struct hf_msg_hash_get get = {.block_size = 65536, .count = 1};

    HF_ASSERT(hf_session_attach_ok(pair->sink, &ok) == 0);
    HF_ASSERT(hf_test_pump(pair->sink, pair->source, NULL) == 1);
    HF_ASSERT(hf_session_hash_get(pair->source, &get) == 0);
    HF_ASSERT(hf_test_pump(pair->source, pair->sink, NULL) == 1);
}

static void advance_to_closing(struct hf_test_pair *pair, struct hf_session *closing, bool ended)
{
    struct hf_session *other = closing == pair->source ? pair->sink : pair->source;

    HF_ASSERT(hf_session_close(closing) == 0);
    if (ended) {
        HF_ASSERT(hf_test_pump(closing, other, NULL) == 1);
        HF_ASSERT(hf_test_pump(other, closing, NULL) == 1);
    }
    discard_output(closing);
}

void hf_test_pair_advance(struct hf_test_pair *pair, enum hf_session_state state,
                          struct hf_session *closing)
{
    if (state == HF_SESSION_START)
        return;
    HF_ASSERT(hf_session_hello(pair->source) == 0);
    if (state == HF_SESSION_HELLO_SENT)
        return;
    advance_to_ready(pair);
    if (state == HF_SESSION_READY)
        return;
    advance_to_attaching(pair);
    if (state == HF_SESSION_ATTACH_SENT || state == HF_SESSION_ATTACHING)
        return;
    advance_to_streaming(pair);
    if (state != HF_SESSION_STREAMING)
        advance_to_closing(pair, closing, state == HF_SESSION_ENDED);
}
