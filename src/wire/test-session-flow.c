// SPDX-License-Identifier: Apache-2.0
/* Two sessions talking for long; bytes that arrive in any pieces; peers that mean harm. */
#include "base/test-support.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/error.h"
#include "wire/wire-test.h"

static struct hf_session_event event;

static void assert_error_code(struct hf_session *session, uint32_t code)
{
    struct hf_msg_error message;
    const void *data;
    size_t size;

    assert_int_equal(hf_session_state(session), HF_SESSION_ENDED);
    hf_session_output(session, &data, &size);
    assert_true(size > 16);
    assert_int_equal(hf_message_decode_error((const uint8_t *)data + 16, size - 16, &message), 0);
    assert_int_equal(message.code, code);
}

static void fill(struct hf_random_seeded *random, uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)hf_random_seeded_next(random);
}

/* A whole conversation of a source, as bytes. */
static void record_source(struct hf_bytes *bytes, struct hf_random_seeded *random)
{
    struct hf_test_pair p;
    const void *data;
    size_t size;

    hf_test_pair_new(&p);
    hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
    for (int i = 0; i < 20; i++) {
        static uint8_t batch[100000];
        struct hf_msg_hash_get get = {(uint64_t)i, 1, 4096, 0, 9};

        size = 192 + hf_random_seeded_next(random) % (i % 2 ? sizeof(batch) - 192 : 1000);
        fill(random, batch, size);
        assert_int_equal(hf_session_batch(p.source, batch, size), 0);
        if (i < 10)
            assert_int_equal(hf_session_hash_get(p.source, &get), 0);
    }
    assert_int_equal(hf_session_close(p.source), 0);
    hf_session_output(p.source, &data, &size);
    assert_int_equal(hf_bytes_append(bytes, data, size), 0);
    hf_test_pair_free(&p);
}

/* A hash over all events that come of the bytes, in order. */
static uint64_t hash_of_events(const struct hf_bytes *bytes, struct hf_random_seeded *random,
                               size_t chunk_max)
{
    struct hf_test_pair p;
    uint64_t hash = 0;
    size_t at = 0;

    hf_test_pair_new(&p);
    hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
    while (at < bytes->size) {
        size_t size = 1 + hf_random_seeded_next(random) % chunk_max;
        size_t room;
        void *into;

        assert_int_equal(hf_session_input(p.sink, &into, &room), 0);
        size = HF_MIN(HF_MIN(size, room), bytes->size - at);
        memcpy(into, bytes->data + at, size);
        hf_session_received(p.sink, size);
        at += size;
        while (hf_session_next(p.sink, &event) > 0) {
            hash = hf_hash64_seeded(&event.type, sizeof(event.type), hash);
            if (event.type == HF_MSG_BATCH)
                hash = hf_hash64_seeded(event.u.batch.data, event.u.batch.size, hash);
            else if (event.type == HF_MSG_HASH_GET)
                hash = hf_hash64_seeded(&event.u.hash_get.request, 8, hash);
        }
    }
    assert_int_equal(hf_session_state(p.sink), HF_SESSION_ENDED);
    hf_test_pair_free(&p);
    return hash;
}

static void bytes_may_come_in_any_pieces(void **state)
{
    struct hf_random_seeded random;
    struct hf_bytes bytes = {0};
    uint64_t whole;

    hf_random_seeded_init(&random, 1);
    record_source(&bytes, &random);
    whole = hash_of_events(&bytes, &random, 1 << 24);
    assert_int_equal(hash_of_events(&bytes, &random, 1), whole);
    for (size_t chunk_max = 2; chunk_max < 200000; chunk_max = chunk_max * 3 / 2)
        assert_int_equal(hash_of_events(&bytes, &random, chunk_max), whole);
    hf_bytes_clear(&bytes);
}

static void large_bodies_are_received_in_place(void **state)
{
    static uint8_t batch[1 << 20];
    struct hf_message_header header;
    struct hf_test_pair p;
    void *first, *into;
    size_t room;

    hf_test_pair_new(&p);
    hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
    hf_message_batch_header(sizeof(batch), &header);
    assert_int_equal(hf_test_feed(p.sink, &header, sizeof(header), 16, NULL), 0);
    assert_int_equal(hf_session_input(p.sink, &first, &room), 0);
    assert_int_equal(room, sizeof(batch));
    memset(first, 7, 1000);
    hf_session_received(p.sink, 1000);
    assert_int_equal(hf_session_next(p.sink, &event), 0);
    assert_int_equal(hf_session_input(p.sink, &into, &room), 0);
    assert_ptr_equal(into, (uint8_t *)first + 1000);
    assert_int_equal(room, sizeof(batch) - 1000);
    hf_session_received(p.sink, room);
    assert_int_equal(hf_session_next(p.sink, &event), 1);
    assert_ptr_equal(event.u.batch.data, first);
    hf_test_pair_free(&p);
}

/* ---- Source and sink, each doing what its state allows, in random order ---- */

struct talk {
    struct hf_test_pair p;
    struct hf_random_seeded random;
    uint64_t sent_hash;
    uint64_t received_hash;
    uint64_t received_bytes;
    uint64_t granted;
    unsigned asked;
    unsigned to_answer;
    unsigned answered;
    unsigned acks_sent;
    unsigned acks;
};

static void talk_source(struct talk *talk)
{
    static uint8_t batch[200000];
    size_t size = 192 + hf_random_seeded_next(&talk->random) % (sizeof(batch) - 192);
    struct hf_msg_hash_get get = {talk->asked, 0, 4096, 0, 100};
    int error;

    switch (hf_session_state(talk->p.source)) {
    case HF_SESSION_START:
        assert_int_equal(hf_session_hello(talk->p.source), 0);
        break;
    case HF_SESSION_READY: {
        struct hf_msg_attach attach = {.disk_count = 2, .disks[1].disk = 1};
        assert_int_equal(hf_session_attach(talk->p.source, &attach), 0);
        break;
    }
    case HF_SESSION_STREAMING:
        fill(&talk->random, batch, 64);
        error = hf_session_batch(talk->p.source, batch, size);
        assert_true(error == 0 || error == -EAGAIN);
        if (!error)
            talk->sent_hash = hf_hash64_seeded(batch, size, talk->sent_hash);
        error = hf_session_hash_get(talk->p.source, &get);
        assert_true(error == 0 || error == -EAGAIN);
        talk->asked += !error;
        break;
    default:
        break;
    }
}

static void talk_sink(struct talk *talk)
{
    static const struct hf_hash128 hashes[100];
    struct hf_msg_hash_list list = {talk->answered, 1, 0, 100, hashes};
    struct hf_msg_ack ack = {.hop_seq = talk->received_bytes};

    if (hf_session_state(talk->p.sink) == HF_SESSION_ATTACHING) {
        struct hf_msg_attach_ok ok = {.verdict = HF_ATTACH_RESUME, .credit = HF_MIB};

        talk->granted = HF_MIB;
        assert_int_equal(hf_session_attach_ok(talk->p.sink, &ok), 0);
    }
    if (hf_session_state(talk->p.sink) != HF_SESSION_STREAMING)
        return;
    if (talk->to_answer > talk->answered) {
        assert_int_equal(hf_session_hash_list(talk->p.sink, &list), 0);
        talk->answered++;
    }
    assert_int_equal(hf_session_ack(talk->p.sink, &ack), 0);
    talk->acks_sent++;
    talk->granted = talk->received_bytes + HF_MIB;
    assert_int_equal(hf_session_credit(talk->p.sink, talk->granted), 0);
}

/* Some of one side's output reaches the other. */
static void talk_move(struct talk *talk, struct hf_session *from, struct hf_session *to)
{
    uint64_t some = hf_random_seeded_next(&talk->random) % 300000;
    const void *data;
    size_t size, room;
    void *into;

    hf_session_output(from, &data, &size);
    assert_int_equal(hf_session_input(to, &into, &room), 0);
    size = HF_MIN(HF_MIN(size, room), some);
    if (size > 0)
        memcpy(into, data, size);
    hf_session_received(to, size);
    hf_session_sent(from, size);
    while (hf_session_next(to, &event) > 0) {
        if (event.type == HF_MSG_BATCH) {
            talk->received_hash =
                hf_hash64_seeded(event.u.batch.data, event.u.batch.size, talk->received_hash);
            talk->received_bytes += event.u.batch.size;
        }
        talk->to_answer += event.type == HF_MSG_HASH_GET;
        if (event.type == HF_MSG_ACK) {
            assert_in_range(event.u.ack.hop_seq, 0, talk->received_bytes);
            talk->acks++;
        }
        assert_int_not_equal(event.type, HF_MSG_ERROR);
    }
}

static bool has_output(struct hf_session *session)
{
    const void *data;
    size_t size;

    hf_session_output(session, &data, &size);
    return size > 0;
}

static void random_talk_arrives_whole_and_in_order(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct talk talk = {0};

        hf_random_seeded_init(&talk.random, seed);
        hf_test_pair_new(&talk.p);
        for (int step = 0; step < 400; step++) {
            uint64_t roll = hf_random_seeded_next(&talk.random);

            if (roll % 3 == 0)
                talk_source(&talk);
            if (roll % 5 == 0)
                talk_sink(&talk);
            if (roll % 7 == 0)
                hf_session_ping(roll % 2 ? talk.p.source : talk.p.sink);
            talk_move(&talk, talk.p.source, talk.p.sink);
            talk_move(&talk, talk.p.sink, talk.p.source);
        }
        while (has_output(talk.p.source) || has_output(talk.p.sink)) {
            talk_move(&talk, talk.p.source, talk.p.sink);
            talk_move(&talk, talk.p.sink, talk.p.source);
        }
        assert_int_equal(hf_session_state(talk.p.source), HF_SESSION_STREAMING);
        assert_true(talk.received_bytes > HF_MIB);
        assert_int_equal(talk.received_hash, talk.sent_hash);
        assert_int_equal(talk.to_answer, talk.asked);
        assert_int_equal(talk.acks, talk.acks_sent);
        hf_test_pair_free(&talk.p);
    }
}

static void only_a_verdict_that_streams_lets_batches_flow(void **state)
{
    static const uint8_t batch[300];

    for (uint8_t verdict = HF_ATTACH_RESUME; verdict <= HF_ATTACH_SUPERSEDED; verdict++) {
        struct hf_msg_attach_ok ok = {.verdict = verdict, .credit = 1000};
        struct hf_msg_attach attach = {.disk_count = 0};
        bool streams = verdict <= HF_ATTACH_CHECKSUM;
        struct hf_test_pair p;

        hf_test_pair_new(&p);
        hf_test_pair_advance(&p, HF_SESSION_ATTACHING, NULL);
        assert_int_equal(hf_session_attach_ok(p.sink, &ok), 0);
        assert_int_equal(hf_test_pump(p.sink, p.source, &event), 1);
        assert_int_equal(event.u.attach_ok.verdict, verdict);
        assert_int_equal(hf_attach_verdict_streams(verdict), streams);
        assert_int_equal(hf_session_state(p.source),
                         streams ? HF_SESSION_STREAMING : HF_SESSION_READY);
        assert_int_equal(hf_session_state(p.sink), hf_session_state(p.source));
        assert_int_equal(hf_session_credit_left(p.source), streams ? 1000 : 0);
        if (!streams) { /* again, with a new capture */
            assert_int_equal(hf_session_batch(p.source, batch, sizeof(batch)), -HF_EPROTO);
            assert_int_equal(hf_session_attach(p.source, &attach), 0);
            assert_int_equal(hf_test_pump(p.source, p.sink, &event), 1);
            assert_int_equal(event.type, HF_MSG_ATTACH);
        }
        hf_test_pair_free(&p);
    }
}

static void versions_without_overlap_are_told(void **state)
{
    struct hf_msg_hello hello = {2, 9, {{1}}, "later"};
    struct hf_msg_hello_ok ok = {2, {{1}}, "later"};
    struct hf_bytes bytes = {0};
    struct hf_test_pair p;

    hf_test_pair_new(&p);
    assert_int_equal(hf_message_encode_hello(&bytes, &hello), 0);
    assert_int_equal(hf_test_feed(p.sink, bytes.data, bytes.size, 99, NULL), -HF_EVERSION);
    assert_error_code(p.sink, HF_WIRE_EVERSION);
    hf_test_pair_free(&p);

    hf_test_pair_new(&p); /* one that knows more, and this version too */
    hello.version_min = 1;
    hf_bytes_clear(&bytes);
    assert_int_equal(hf_message_encode_hello(&bytes, &hello), 0);
    assert_int_equal(hf_test_feed(p.sink, bytes.data, bytes.size, 99, NULL), 1);
    assert_int_equal(hf_session_hello(p.source), 0);
    assert_int_equal(hf_test_pump(p.sink, p.source, &event), 1);
    assert_int_equal(event.u.hello_ok.version, 1);
    assert_string_equal(event.u.hello_ok.software, "sink 1");
    hf_test_pair_free(&p);

    hf_test_pair_new(&p); /* a sink that chose what was not offered */
    assert_int_equal(hf_session_hello(p.source), 0);
    hf_bytes_clear(&bytes);
    assert_int_equal(hf_message_encode_hello_ok(&bytes, &ok), 0);
    assert_int_equal(hf_test_feed(p.source, bytes.data, bytes.size, 99, NULL), -HF_EVERSION);
    hf_test_pair_free(&p);
    hf_bytes_clear(&bytes);
}

/* ---- Compressed messages ---- */

static void make_compressed(struct hf_bytes *bytes, const void *raw, size_t raw_size,
                            uint32_t claimed_size)
{
    struct hf_message_header header = {.type = hf_le16_of(HF_MSG_BATCH),
                                       .flags = HF_MESSAGE_COMPRESSED,
                                       .raw_size = hf_le32_of(claimed_size)};
    size_t bound = ZSTD_compressBound(raw_size), size;
    uint8_t *packed = malloc(bound);

    assert_non_null(packed);
    size = ZSTD_compress(packed, bound, raw, raw_size, 3);
    assert_false(ZSTD_isError(size));
    header.body_size = hf_le32_of((uint32_t)size);
    hf_bytes_clear(bytes);
    assert_int_equal(hf_bytes_append(bytes, &header, sizeof(header)), 0);
    assert_int_equal(hf_bytes_append(bytes, packed, size), 0);
    free(packed);
}

static void compressed_batch_arrives_as_it_was_and_costs_its_raw_size(void **state)
{
    static uint8_t raw[2 << 20];
    struct hf_random_seeded random;
    struct hf_bytes bytes = {0};
    struct hf_test_pair p;

    hf_random_seeded_init(&random, 3);
    fill(&random, raw, sizeof(raw) / 16);
    hf_test_pair_new(&p);
    hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
    for (size_t size = 4096; size <= sizeof(raw); size *= 8) {
        uint64_t before = hf_session_credit_left(p.sink);

        make_compressed(&bytes, raw + sizeof(raw) - size, size, (uint32_t)size);
        assert_int_equal(hf_test_feed(p.sink, bytes.data, bytes.size, 5000, &event), 1);
        assert_int_equal(event.u.batch.size, size);
        assert_memory_equal(event.u.batch.data, raw + sizeof(raw) - size, size);
        assert_int_equal(before - hf_session_credit_left(p.sink), size);
    }
    hf_test_pair_free(&p);
    hf_bytes_clear(&bytes);
}

/* Fault 21: what a compressed body becomes is bounded before anything is allocated for it. */
static void fault_21_bombs_and_lies_about_size_end_the_session(void **state)
{
    static const uint8_t zeros[8 << 20];
    static const struct {
        size_t raw_size;
        uint32_t claimed_size;
        int error;
    } cases[] = {
        {8 << 20, 8 << 20, -HF_ETOOBIG},
        {8 << 20, 4 << 20, -HF_ECORRUPT},
        {4 << 20, (4 << 20) - 1, -HF_ECORRUPT},
        {1 << 20, 4 << 20, -HF_ECORRUPT},
    };
    struct hf_bytes bytes = {0};

    for (size_t i = 0; i < HF_ARRAY_COUNT(cases); i++) {
        struct hf_test_pair p;

        hf_test_pair_new(&p);
        hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
        make_compressed(&bytes, zeros, cases[i].raw_size, cases[i].claimed_size);
        assert_int_equal(hf_test_feed(p.sink, bytes.data, bytes.size, 99999, NULL), cases[i].error);
        assert_error_code(p.sink, HF_WIRE_EPROTOCOL);
        hf_test_pair_free(&p);
    }
    hf_bytes_clear(&bytes);
}

/* ---- Peers that mean harm ---- */

/* Fault 17: whatever one bit does, no batch comes out that was not sent, but through its own
 * content, which the batch's hashes guard. */
static void fault_17_flipped_bit_never_makes_another_message(void **state)
{
    static const uint8_t batch[300];
    struct hf_bytes bytes = {0};
    struct hf_message_header header;
    int batches = 0, refused = 0, waiting = 0;

    hf_message_batch_header(sizeof(batch), &header);
    assert_int_equal(hf_bytes_append(&bytes, &header, sizeof(header)), 0);
    assert_int_equal(hf_bytes_append(&bytes, batch, sizeof(batch)), 0);
    for (size_t bit = 0; bit < sizeof(header) * 8; bit++) {
        struct hf_test_pair p;
        int result;

        hf_test_pair_new(&p);
        hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        result = hf_test_feed(p.sink, bytes.data, bytes.size, SIZE_MAX, &event);
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        batches += result > 0 && event.type == HF_MSG_BATCH && event.u.batch.size == sizeof(batch);
        refused += result < 0;
        waiting += result == 0;
        hf_test_pair_free(&p);
    }
    assert_int_equal(batches, 0);
    assert_true(refused > 80);
    assert_true(waiting > 0); /* a longer length: the deadline of the connection ends it */
    hf_bytes_clear(&bytes);
}

static void fault_17_truncated_stream_gives_nothing_but_whole_messages(void **state)
{
    static const uint8_t batch[50000];
    struct hf_test_pair p;
    struct hf_message_header header;

    hf_message_batch_header(sizeof(batch), &header);
    for (size_t cut = 0; cut < sizeof(batch); cut += 777) {
        hf_test_pair_new(&p);
        hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
        assert_int_equal(hf_test_feed(p.sink, &header, sizeof(header), 7, NULL), 0);
        assert_int_equal(hf_test_feed(p.sink, batch, cut, SIZE_MAX, NULL), 0);
        hf_test_pair_free(&p);
    }
}

/* Fault 18: a recorded opening played again into a session under way, and into a new one. */
static void fault_18_replayed_opening_ends_the_session(void **state)
{
    struct hf_msg_attach attach = {.stream.epoch = 1};
    struct hf_bytes opening = {0};
    struct hf_test_pair p;
    const void *data;
    size_t size;

    hf_test_pair_new(&p);
    assert_int_equal(hf_session_hello(p.source), 0);
    hf_session_output(p.source, &data, &size);
    assert_int_equal(hf_bytes_append(&opening, data, size), 0);
    assert_int_equal(hf_message_encode_attach(&opening, &attach), 0);
    hf_test_pair_free(&p);

    hf_test_pair_new(&p);
    hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
    assert_int_equal(hf_test_feed(p.sink, opening.data, opening.size, 50, NULL), -HF_EPROTO);
    hf_test_pair_free(&p);

    /* A new session reads it, but nothing flows until the sink, which keeps epoch and position
     * durably, has answered: a batch behind it ends the session. */
    hf_test_pair_new(&p);
    assert_int_equal(hf_bytes_append(&opening, &(struct hf_message_header){0}, 16), 0);
    hf_message_batch_header(300, (struct hf_message_header *)(opening.data + opening.size - 16));
    assert_int_equal(hf_test_feed(p.sink, opening.data, opening.size, 50, NULL), -HF_EPROTO);
    hf_test_pair_free(&p);
    hf_bytes_clear(&opening);
}

/* Fault 26: floods meet a limit that is named. */
static void fault_26_floods_meet_named_limits(void **state)
{
    struct hf_msg_hash_get get = {1, 0, 4096, 0, 1};
    struct hf_bytes bytes = {0};
    struct hf_test_pair p;
    const void *data;
    size_t size;
    int sent = 0, result;

    hf_test_pair_new(&p);
    hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
    assert_int_equal(hf_message_encode_hash_get(&bytes, &get), 0);
    for (result = 0; result >= 0; sent++)
        result = hf_test_feed(p.sink, bytes.data, bytes.size, 99, NULL);
    assert_int_equal(result, -HF_EPROTO);
    assert_int_equal(sent, HF_SESSION_HASH_GETS_MAX); /* one was under way before */
    hf_test_pair_free(&p);

    hf_test_pair_new(&p);
    hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
    hf_bytes_clear(&bytes);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(hf_message_encode_empty(&bytes, HF_MSG_PING), 0);
    for (result = 0; result >= 0;)
        result = hf_test_feed(p.sink, bytes.data, bytes.size, SIZE_MAX, NULL);
    hf_session_output(p.sink, &data, &size);
    assert_in_range(size, 1, HF_SESSION_OUTPUT_MAX + 1024);
    assert_int_equal(hf_session_state(p.sink), HF_SESSION_ENDED);
    hf_test_pair_free(&p);
    hf_bytes_clear(&bytes);
}

static void full_output_says_again_and_changes_nothing(void **state)
{
    static const uint8_t batch[HF_BATCH_SIZE_MAX];
    struct hf_msg_attach_ok ok = {.verdict = HF_ATTACH_RESUME, .credit = 1ull << 40};
    struct hf_test_pair p;
    const void *data;
    uint64_t left;
    size_t size;

    hf_test_pair_new(&p);
    hf_test_pair_advance(&p, HF_SESSION_ATTACHING, NULL);
    assert_int_equal(hf_session_attach_ok(p.sink, &ok), 0);
    assert_int_equal(hf_test_pump(p.sink, p.source, NULL), 1);
    assert_int_equal(hf_session_batch(p.source, batch, sizeof(batch)), 0);
    assert_int_equal(hf_session_batch(p.source, batch, sizeof(batch)), 0);
    left = hf_session_credit_left(p.source);
    assert_int_equal(hf_session_batch(p.source, batch, sizeof(batch)), -EAGAIN);
    assert_int_equal(hf_session_credit_left(p.source), left);
    hf_session_output(p.source, &data, &size);
    assert_int_equal(size, 2 * (sizeof(batch) + 16));
    hf_session_sent(p.source, sizeof(batch) + 16);
    assert_int_equal(hf_session_batch(p.source, batch, sizeof(batch)), 0);
    assert_int_equal(hf_session_fail(p.source, HF_WIRE_EINTERNAL, "full, and still told"), 0);
    hf_test_pair_free(&p);
}

static void output_taken_by_exchange_is_the_same_bytes(void **state)
{
    struct hf_bytes taken = {0};
    struct hf_test_pair p;

    hf_test_pair_new(&p);
    hf_test_pair_advance(&p, HF_SESSION_READY, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hf_session_ping(p.source), 0);
        hf_session_take_output(p.source, &taken);
        assert_int_equal(taken.size, 16);
        assert_int_equal(taken.data[4], HF_MSG_PING);
        taken.size = 0;
    }
    hf_session_take_output(p.source, &taken);
    assert_int_equal(taken.size, 0);
    hf_bytes_clear(&taken);
    hf_test_pair_free(&p);
}

static void closing_from_both_sides_at_once_ends_both(void **state)
{
    struct hf_test_pair p;

    hf_test_pair_new(&p);
    hf_test_pair_advance(&p, HF_SESSION_STREAMING, NULL);
    assert_int_equal(hf_session_close(p.source), 0);
    assert_int_equal(hf_session_close(p.sink), 0);
    assert_int_equal(hf_test_pump(p.source, p.sink, &event), 1);
    assert_int_equal(event.type, HF_MSG_CLOSE);
    assert_int_equal(hf_test_pump(p.sink, p.source, &event), 1);
    assert_int_equal(hf_session_state(p.source), HF_SESSION_ENDED);
    assert_int_equal(hf_session_state(p.sink), HF_SESSION_ENDED);
    hf_test_pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_may_come_in_any_pieces),
        cmocka_unit_test(large_bodies_are_received_in_place),
        cmocka_unit_test(random_talk_arrives_whole_and_in_order),
        cmocka_unit_test(only_a_verdict_that_streams_lets_batches_flow),
        cmocka_unit_test(versions_without_overlap_are_told),
        cmocka_unit_test(compressed_batch_arrives_as_it_was_and_costs_its_raw_size),
        cmocka_unit_test(fault_21_bombs_and_lies_about_size_end_the_session),
        cmocka_unit_test(fault_17_flipped_bit_never_makes_another_message),
        cmocka_unit_test(fault_17_truncated_stream_gives_nothing_but_whole_messages),
        cmocka_unit_test(fault_18_replayed_opening_ends_the_session),
        cmocka_unit_test(fault_26_floods_meet_named_limits),
        cmocka_unit_test(full_output_says_again_and_changes_nothing),
        cmocka_unit_test(output_taken_by_exchange_is_the_same_bytes),
        cmocka_unit_test(closing_from_both_sides_at_once_ends_both),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
