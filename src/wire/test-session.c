// SPDX-License-Identifier: Apache-2.0
/* The protocol, state by state and message by message. */
#include "base/test-support.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/base.h"
#include "base/error.h"
#include "wire/wire-test.h"

#define BATCH_SIZE 300

static void encode(uint16_t type, struct hf_bytes *out)
{
    static const struct hf_msg_hello hello = {1, 1, {{1}}, "x"};
    static const struct hf_msg_hello_ok hello_ok = {1, {{2}}, "x"};
    static const struct hf_msg_attach attach = {.machine = {{3}}};
    static const struct hf_msg_attach_ok attach_ok = {.verdict = HF_ATTACH_NEW, .credit = 1000};
    static const struct hf_msg_ack ack = {.hop_seq = 5};
    static const struct hf_msg_lost lost = {.from_seq = 5};
    static const struct hf_msg_hash_get hash_get = {1, 0, 4096, 0, 1};
    static const struct hf_msg_hash_list hash_list = {.request = 1, .error = -EIO};
    static const struct hf_msg_error error = {HF_WIRE_EBUSY, "elsewhere"};
    struct hf_message_header batch;

    switch (type) {
    case HF_MSG_HELLO:
        assert_int_equal(hf_message_encode_hello(out, &hello), 0);
        break;
    case HF_MSG_HELLO_OK:
        assert_int_equal(hf_message_encode_hello_ok(out, &hello_ok), 0);
        break;
    case HF_MSG_ATTACH:
        assert_int_equal(hf_message_encode_attach(out, &attach), 0);
        break;
    case HF_MSG_ATTACH_OK:
        assert_int_equal(hf_message_encode_attach_ok(out, &attach_ok), 0);
        break;
    case HF_MSG_BATCH:
        hf_message_batch_header(BATCH_SIZE, &batch);
        assert_int_equal(hf_bytes_append(out, &batch, sizeof(batch)), 0);
        assert_int_equal(hf_bytes_append(out, NULL, BATCH_SIZE), 0);
        break;
    case HF_MSG_ACK:
        assert_int_equal(hf_message_encode_ack(out, &ack), 0);
        break;
    case HF_MSG_CREDIT:
        assert_int_equal(hf_message_encode_credit(out, UINT64_MAX), 0);
        break;
    case HF_MSG_LOST:
        assert_int_equal(hf_message_encode_lost(out, &lost), 0);
        break;
    case HF_MSG_HASH_GET:
        assert_int_equal(hf_message_encode_hash_get(out, &hash_get), 0);
        break;
    case HF_MSG_HASH_LIST:
        assert_int_equal(hf_message_encode_hash_list(out, &hash_list), 0);
        break;
    case HF_MSG_ERROR:
        assert_int_equal(hf_message_encode_error(out, &error), 0);
        break;
    default:
        assert_int_equal(hf_message_encode_empty(out, type), 0);
        break;
    }
}

/*
 * For each role and state one letter a message type, HELLO (1) to ERROR (15): '.' ends the session,
 * 'E' is an event, 's' is taken in silence. Written from docs/formats/wire.md.
 */
static const struct {
    enum hf_session_role role;
    enum hf_session_state state;
    const char *takes;
} table[] = {
    /* HELLO, OK, ATTACH, OK, BATCH, ACK, CREDIT, LOST, GET, LIST, PING, PONG, CLOSE, OK, ERROR */
    {HF_SESSION_SOURCE, HF_SESSION_START, "..............."},
    {HF_SESSION_SOURCE, HF_SESSION_HELLO_SENT, ".E............E"},
    {HF_SESSION_SOURCE, HF_SESSION_READY, "..........sEE.E"},
    {HF_SESSION_SOURCE, HF_SESSION_ATTACH_SENT, "...E......sEE.E"},
    {HF_SESSION_SOURCE, HF_SESSION_STREAMING, ".....EEE.EsEE.E"},
    {HF_SESSION_SOURCE, HF_SESSION_CLOSING, "...s.EEE.EsEEEE"},
    {HF_SESSION_SINK, HF_SESSION_START, "E.............E"},
    {HF_SESSION_SINK, HF_SESSION_READY, "..E.......sEE.E"},
    {HF_SESSION_SINK, HF_SESSION_ATTACHING, "..........sEE.E"},
    {HF_SESSION_SINK, HF_SESSION_STREAMING, "....E...E.sEE.E"},
    {HF_SESSION_SINK, HF_SESSION_CLOSING, "..s.E...E.sEEEE"},
};

static void assert_refused(struct hf_session *session)
{
    struct hf_session_event event;
    struct hf_msg_error message;
    const uint8_t *data;
    const void *output;
    size_t size;

    assert_int_equal(hf_session_state(session), HF_SESSION_ENDED);
    assert_int_equal(hf_session_next(session, &event), 0);
    hf_session_output(session, &output, &size);
    data = output;
    assert_true(size > sizeof(struct hf_message_header));
    assert_int_equal(data[4], HF_MSG_ERROR);
    assert_int_equal(hf_message_decode_error(data + 16, size - 16, &message), 0);
    assert_int_equal(message.code, HF_WIRE_EPROTOCOL);
    assert_true(message.text[0] != '\0');
}

static void try_message(enum hf_session_role role, enum hf_session_state state, uint16_t type,
                        char expected)
{
    struct hf_bytes bytes = {0};
    struct hf_session_event event = {0};
    struct hf_test_pair pair;
    struct hf_session *session;
    const void *output;
    size_t size;
    int result;

    hf_test_pair_new(&pair);
    session = role == HF_SESSION_SOURCE ? pair.source : pair.sink;
    hf_test_pair_advance(&pair, state, session);
    assert_int_equal(hf_session_state(session), state);
    hf_session_output(session, &output, &size);
    hf_session_sent(session, size);
    encode(type, &bytes);
    result = hf_test_feed(session, bytes.data, bytes.size, SIZE_MAX, &event);
    if (result != (expected == 'E' ? 1 : expected == 's' ? 0 : -HF_EPROTO))
        print_message("role %d state %d message %d: %d\n", role, state, type, result);
    if (expected == '.') {
        assert_int_equal(result, -HF_EPROTO);
        assert_refused(session);
    } else {
        assert_int_equal(result, expected == 'E');
        assert_int_equal(event.type, type);
    }
    hf_bytes_clear(&bytes);
    hf_test_pair_free(&pair);
}

static void each_state_takes_only_its_messages(void **state)
{
    for (size_t i = 0; i < HF_ARRAY_COUNT(table); i++) {
        assert_int_equal(strlen(table[i].takes), HF_MSG_ERROR);
        for (uint16_t type = HF_MSG_HELLO; type <= HF_MSG_ERROR; type++)
            try_message(table[i].role, table[i].state, type, table[i].takes[type - 1]);
    }
}

static void nothing_is_read_or_said_after_the_end(void **state)
{
    for (int role = 0; role < 2; role++) {
        struct hf_test_pair pair;
        struct hf_session *session;
        void *room;
        size_t size;

        hf_test_pair_new(&pair);
        session = role == 0 ? pair.source : pair.sink;
        hf_test_pair_advance(&pair, HF_SESSION_ENDED, session);
        assert_int_equal(hf_session_state(pair.source), HF_SESSION_ENDED);
        assert_int_equal(hf_session_state(pair.sink), HF_SESSION_ENDED);
        assert_int_equal(hf_session_input(session, &room, &size), 0);
        assert_int_equal(size, 0);
        assert_int_equal(hf_session_ping(session), -HF_EPROTO);
        assert_int_equal(hf_session_close(session), -HF_EPROTO);
        assert_int_equal(hf_session_fail(session, HF_WIRE_EBUSY, "x"), -HF_EPROTO);
        hf_test_pair_free(&pair);
    }
}

static void calls_out_of_place_are_refused_and_change_nothing(void **state)
{
    static const struct hf_msg_attach attach = {.disk_count = 0};
    static const struct hf_msg_attach_ok ok = {.verdict = HF_ATTACH_NEW};
    static const struct hf_msg_ack ack = {.hop_seq = 0};
    static const struct hf_msg_lost lost = {.from_seq = 0};
    static const struct hf_msg_hash_get get = {1, 0, 4096, 0, 1};
    static const struct hf_msg_hash_list list = {.request = 0};
    static const uint8_t batch[BATCH_SIZE];

    for (enum hf_session_state at = HF_SESSION_START; at <= HF_SESSION_ENDED; at++) {
        struct hf_test_pair p;

        hf_test_pair_new(&p);
        hf_test_pair_advance(&p, at, p.source);
        if (at != HF_SESSION_STREAMING) {
            assert_int_equal(hf_session_batch(p.source, batch, sizeof(batch)), -HF_EPROTO);
            assert_int_equal(hf_session_hash_get(p.source, &get), -HF_EPROTO);
        }
        if (at != HF_SESSION_START)
            assert_int_equal(hf_session_hello(p.source), -HF_EPROTO);
        if (at != HF_SESSION_READY)
            assert_int_equal(hf_session_attach(p.source, &attach), -HF_EPROTO);
        /* never the other role's */
        assert_int_equal(hf_session_hello(p.sink), -HF_EPROTO);
        assert_int_equal(hf_session_attach(p.sink, &attach), -HF_EPROTO);
        assert_int_equal(hf_session_batch(p.sink, batch, sizeof(batch)), -HF_EPROTO);
        assert_int_equal(hf_session_attach_ok(p.source, &ok), -HF_EPROTO);
        assert_int_equal(hf_session_ack(p.source, &ack), -HF_EPROTO);
        assert_int_equal(hf_session_credit(p.source, UINT64_MAX), -HF_EPROTO);
        assert_int_equal(hf_session_lost(p.source, &lost), -HF_EPROTO);
        assert_int_equal(hf_session_hash_list(p.source, &list), -HF_EPROTO);
        hf_test_pair_free(&p);
    }
}

static void credit_bounds_what_may_be_sent(void **state)
{
    static const uint8_t batch[1 << 20];
    struct hf_session_event event;
    struct hf_test_pair p;

    hf_test_pair_new(&p);
    hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
    assert_int_equal(hf_session_credit_left(p.source), HF_TEST_CREDIT);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(hf_session_batch(p.source, batch, sizeof(batch)), 0);
        assert_int_equal(hf_test_pump(p.source, p.sink, &event), 1);
        assert_int_equal(event.u.batch.size, sizeof(batch));
    }
    assert_int_equal(hf_session_batch(p.source, batch, sizeof(batch)), -EAGAIN);
    assert_int_equal(hf_session_credit(p.sink, HF_TEST_CREDIT - 1), -EINVAL);
    assert_int_equal(hf_session_credit(p.sink, HF_TEST_CREDIT + 1000), 0);
    assert_int_equal(hf_test_pump(p.sink, p.source, &event), 1);
    assert_int_equal(event.u.credit_total, HF_TEST_CREDIT + 1000);
    assert_int_equal(hf_session_credit_left(p.source), 1000);
    assert_int_equal(hf_session_batch(p.source, batch, 1001), -EAGAIN);
    assert_int_equal(hf_session_batch(p.source, batch, 1000), 0);
    assert_int_equal(hf_session_batch(p.source, batch, 191), -EINVAL);
    assert_int_equal(hf_session_batch(p.source, batch, HF_BATCH_SIZE_MAX + 1), -HF_ETOOBIG);
    hf_test_pair_free(&p);
}

static void sink_refuses_a_batch_over_its_credit(void **state)
{
    static const uint8_t batch[HF_BATCH_SIZE_MAX];
    struct hf_message_header header;
    struct hf_test_pair p;

    hf_test_pair_new(&p);
    hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
    hf_message_batch_header(sizeof(batch), &header);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(hf_test_feed(p.sink, &header, sizeof(header), 99, NULL), 0);
        assert_int_equal(hf_test_feed(p.sink, batch, sizeof(batch), SIZE_MAX, NULL), 1);
    }
    /* The header alone is enough: nothing of the body is waited for. */
    hf_message_batch_header(192, &header);
    assert_int_equal(hf_test_feed(p.sink, &header, sizeof(header), 99, NULL), -HF_EPROTO);
    assert_refused(p.sink);
    hf_test_pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_takes_only_its_messages),
        cmocka_unit_test(nothing_is_read_or_said_after_the_end),
        cmocka_unit_test(calls_out_of_place_are_refused_and_change_nothing),
        cmocka_unit_test(credit_bounds_what_may_be_sent),
        cmocka_unit_test(sink_refuses_a_batch_over_its_credit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
