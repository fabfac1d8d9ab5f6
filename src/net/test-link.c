// SPDX-License-Identifier: Apache-2.0
/* A source and a sink over loopback, as agent and target use them. */
#include "base/test-support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "net/link.h"
#include "net/net-internal.h"
#include "net/net-test.h"

#define BATCH_MAX (1 << 20)

static struct hf_test_pki pki;

static int setup(void **state)
{
    hf_test_pki_new(&pki);
    return 0;
}

static int teardown(void **state)
{
    hf_test_pki_remove(&pki);
    return 0;
}

/* ---- A sink with a thread of its own, which does what a target does ---- */

struct sink {
    struct hf_link *link;
    pthread_t thread;
    uint64_t credit;  /* granted beyond what came */
    int pause_us;     /* after each batch */
    uint32_t fail_at; /* batch at which it says ERROR; 0: never */
    uint64_t hash;
    uint64_t bytes;
    uint32_t batches;
    int result;
};

static void sink_batch(struct sink *sink, const struct hf_session_event *event)
{
    struct hf_msg_ack ack = {0};
    struct hf_session *session;

    sink->hash = hf_hash64_seeded(event->u.batch.data, event->u.batch.size, sink->hash);
    sink->bytes += event->u.batch.size;
    sink->batches++;
    if (sink->pause_us)
        usleep((useconds_t)sink->pause_us);
    session = hf_link_lock(sink->link);
    if (sink->batches == sink->fail_at) {
        hf_session_fail(session, HF_WIRE_ESPACE, "no room");
    } else {
        ack.hop_seq = ack.target_seq = sink->bytes;
        hf_session_ack(session, &ack);
        hf_session_credit(session, sink->bytes + sink->credit);
    }
    hf_link_unlock(sink->link);
}

static void *sink_main(void *arg)
{
    struct hf_msg_attach_ok ok = {.verdict = HF_ATTACH_RESUME};
    struct sink *sink = arg;
    struct hf_session_event event;

    while ((sink->result = hf_link_next(sink->link, 10000, &event)) > 0) {
        if (event.type == HF_MSG_ATTACH) {
            ok.credit = sink->credit;
            hf_session_attach_ok(hf_link_lock(sink->link), &ok);
            hf_link_unlock(sink->link);
        } else if (event.type == HF_MSG_BATCH) {
            sink_batch(sink, &event);
        }
    }
    return NULL;
}

struct scene {
    struct hf_tls *tls[2];
    struct hf_link *source;
    struct sink sink;
};

static struct hf_link *link_of(struct hf_conn *conn, enum hf_session_role role, int ping_ms,
                               int dead_ms)
{
    struct hf_link_options options = {.role = role,
                                      .node = {{7}},
                                      .software = "test 1",
                                      .queue_bytes_max = 2 * BATCH_MAX,
                                      .ping_ms = ping_ms,
                                      .dead_ms = dead_ms};
    struct hf_link *link = NULL;

    assert_int_equal(hf_link_new(conn, &options, &link), 0);
    return link;
}

static void scene_start(struct scene *scene, int ping_ms, int dead_ms)
{
    struct hf_conn *agent, *target;

    hf_test_connect(&pki, &agent, &target, scene->tls);
    scene->source = link_of(agent, HF_SESSION_SOURCE, ping_ms, dead_ms);
    scene->sink.link = link_of(target, HF_SESSION_SINK, 0, 0);
    if (scene->sink.credit == 0)
        scene->sink.credit = 4 * BATCH_MAX;
    assert_int_equal(pthread_create(&scene->sink.thread, NULL, sink_main, &scene->sink), 0);
}

static void scene_end(struct scene *scene)
{
    hf_link_free(scene->source);
    pthread_join(scene->sink.thread, NULL);
    hf_link_free(scene->sink.link);
    hf_tls_free(scene->tls[0]);
    hf_tls_free(scene->tls[1]);
}

static void expect(struct hf_link *link, uint16_t type)
{
    struct hf_session_event event;

    assert_int_equal(hf_link_next(link, 5000, &event), 1);
    assert_int_equal(event.type, type);
}

static void attach(struct hf_link *link)
{
    struct hf_msg_attach message = {.disk_count = 1};

    expect(link, HF_MSG_HELLO_OK);
    assert_int_equal(hf_session_attach(hf_link_lock(link), &message), 0);
    hf_link_unlock(link);
    expect(link, HF_MSG_ATTACH_OK);
}

/* ---- Batches from a pool, as an agent has it ---- */

struct pool {
    atomic_int released;
    atomic_int cancelled;
};

static void release(void *arg, int status)
{
    struct pool *pool = arg;

    atomic_fetch_add(status == 0 ? &pool->released : &pool->cancelled, 1);
}

static int read_acks(struct hf_link *link, uint64_t until_bytes)
{
    struct hf_session_event event;
    int result;

    while ((result = hf_link_next(link, 10000, &event)) > 0) {
        if (event.type == HF_MSG_ACK && event.u.ack.hop_seq >= until_bytes)
            return 1;
    }
    return result;
}

struct feeder {
    struct hf_link *link;
    struct pool *pool;
    const uint8_t *data;
    int count;
    uint64_t bytes;
    uint64_t hash;
    int result;
};

static size_t size_of(int i)
{
    return i % 3 ? 192 + (size_t)i * 7919 % (BATCH_MAX - 192) : 200;
}

static void *feed(void *arg)
{
    struct feeder *feeder = arg;

    for (int i = 0; i < feeder->count && feeder->result == 0; i++) {
        size_t size = size_of(i);

        feeder->hash = hf_hash64_seeded(feeder->data + i, size, feeder->hash);
        feeder->bytes += size;
        feeder->result = hf_link_batch(feeder->link, HF_LANE_CAPTURED, feeder->data + i, size,
                                       release, feeder->pool, 10000);
    }
    return NULL;
}

static uint8_t *noise(size_t size)
{
    struct hf_random_seeded random;
    uint8_t *data = malloc(size);

    assert_non_null(data);
    hf_random_seeded_init(&random, 4);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)hf_random_seeded_next(&random);
    return data;
}

static void batches_arrive_whole_in_order_and_come_back_to_their_owner(void **state)
{
    struct scene scene = {.sink.credit = 2 * BATCH_MAX};
    uint8_t *data = noise(BATCH_MAX + 1000);
    struct pool pool = {0};
    struct feeder feeder = {.pool = &pool, .data = data, .count = 400};
    struct hf_link_stats stats;
    pthread_t thread;
    uint64_t total = 0;

    for (int i = 0; i < feeder.count; i++)
        total += size_of(i);
    scene_start(&scene, 0, 0);
    assert_string_equal(hf_link_identity(scene.source), "holdfast://target/t1");
    attach(scene.source);
    feeder.link = scene.source;
    assert_int_equal(pthread_create(&thread, NULL, feed, &feeder), 0);
    assert_int_equal(read_acks(scene.source, total), 1);
    pthread_join(thread, NULL);
    assert_int_equal(feeder.result, 0);
    assert_int_equal(hf_link_flush(scene.source, 1000), 0);
    assert_int_equal(hf_link_queued_bytes(scene.source, HF_LANE_CAPTURED), 0);
    hf_link_stats(scene.source, &stats);
    assert_int_equal(stats.sent_batches, feeder.count);
    assert_true(stats.sent_bytes > total);
    assert_int_equal(hf_link_close(scene.source, 5000), 0);
    scene_end(&scene);
    assert_int_equal(scene.sink.result, 0);
    assert_int_equal(scene.sink.bytes, total);
    assert_int_equal(scene.sink.hash, feeder.hash);
    assert_int_equal(pool.released, feeder.count);
    assert_int_equal(pool.cancelled, 0);
    free(data);
}

static void captured_batches_go_before_pass_batches(void **state)
{
    struct scene scene = {.sink.credit = 1000};
    uint8_t *data = noise(4096);
    struct pool pool = {0};
    uint64_t hash = 0;

    scene_start(&scene, 0, 0);
    for (int i = 0; i < 3; i++) { /* queued before anything may be sent */
        assert_int_equal(
            hf_link_batch(scene.source, HF_LANE_PASS, data + 1000, 300, release, &pool, 0), 0);
        assert_int_equal(
            hf_link_batch(scene.source, HF_LANE_CAPTURED, data, 200, release, &pool, 0), 0);
    }
    assert_int_equal(hf_link_queued_bytes(scene.source, HF_LANE_PASS), 900);
    assert_int_equal(hf_link_queued_bytes(scene.source, HF_LANE_CAPTURED), 600);
    assert_int_equal(hf_link_flush(scene.source, 50), -ETIMEDOUT);
    attach(scene.source);
    assert_int_equal(read_acks(scene.source, 1500), 1);
    for (int i = 0; i < 6; i++)
        hash = hf_hash64_seeded(i < 3 ? data : data + 1000, i < 3 ? 200 : 300, hash);
    assert_int_equal(hf_link_close(scene.source, 5000), 0);
    scene_end(&scene);
    assert_int_equal(scene.sink.hash, hash);
    free(data);
}

static void queue_is_bounded_and_says_how_full_it_is(void **state)
{
    struct scene scene = {.sink.credit = 500};
    uint8_t *data = noise(BATCH_MAX);
    struct pool pool = {0};
    struct hf_link_stats stats;
    struct hf_session_event event;

    scene_start(&scene, 0, 0);
    attach(scene.source);
    /* No credit: nothing moves. */
    assert_int_equal(
        hf_link_batch(scene.source, HF_LANE_CAPTURED, data, BATCH_MAX, release, &pool, 0), 0);
    assert_int_equal(
        hf_link_batch(scene.source, HF_LANE_CAPTURED, data, BATCH_MAX, release, &pool, 0), 0);
    assert_int_equal(hf_link_batch(scene.source, HF_LANE_CAPTURED, data, 200, release, &pool, 0),
                     -EAGAIN);
    assert_int_equal(hf_link_batch(scene.source, HF_LANE_CAPTURED, data, 200, release, &pool, 50),
                     -ETIMEDOUT);
    assert_int_equal(hf_link_queued_bytes(scene.source, HF_LANE_CAPTURED), 2 * BATCH_MAX);
    assert_int_equal(hf_link_batch(scene.source, HF_LANE_CAPTURED, data, 191, release, &pool, 0),
                     -EINVAL);
    hf_link_stats(scene.source, &stats);
    assert_true(stats.credit_wait_ns > 20 * HF_NS_PER_MS);
    /* A new capture: what waits is worth nothing. */
    hf_link_drop(scene.source, HF_LANE_CAPTURED);
    assert_int_equal(pool.cancelled, 2);
    assert_int_equal(hf_link_queued_bytes(scene.source, HF_LANE_CAPTURED), 0);
    assert_int_equal(hf_link_batch(scene.source, HF_LANE_CAPTURED, data, 200, release, &pool, 0),
                     0);
    assert_int_equal(hf_link_next(scene.source, 5000, &event), 1);
    assert_int_equal(event.type, HF_MSG_ACK);
    scene_end(&scene);
    assert_int_equal(pool.released, 1);
    free(data);
}

static void what_is_queued_when_the_link_ends_comes_back_cancelled(void **state)
{
    struct scene scene = {.sink.credit = 500};
    uint8_t *data = noise(BATCH_MAX);
    struct pool pool = {0};

    scene_start(&scene, 0, 0);
    attach(scene.source);
    for (int i = 0; i < 4; i++)
        assert_int_equal(hf_link_batch(scene.source, i % 2 ? HF_LANE_PASS : HF_LANE_CAPTURED, data,
                                       1000, release, &pool, 0),
                         0);
    scene_end(&scene);
    assert_int_equal(pool.released, 0);
    assert_int_equal(pool.cancelled, 4);
    assert_int_equal(scene.sink.result, -ECONNRESET);
    free(data);
}

static void *stop_soon(void *arg)
{
    usleep(100000);
    hf_link_stop(arg);
    return NULL;
}

static void stop_wakes_the_reader_and_who_waits_for_room(void **state)
{
    struct scene scene = {.sink.credit = 500};
    uint8_t *data = noise(BATCH_MAX);
    struct pool pool = {0};
    struct feeder feeder = {.pool = &pool, .data = data, .count = 1000};
    struct hf_session_event event;
    pthread_t threads[2];
    int result;

    scene_start(&scene, 0, 0);
    attach(scene.source);
    feeder.link = scene.source;
    assert_int_equal(pthread_create(&threads[0], NULL, feed, &feeder), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, stop_soon, scene.source), 0);
    while ((result = hf_link_next(scene.source, -1, &event)) > 0)
        ;
    assert_int_equal(result, -ECANCELED);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_int_equal(feeder.result, -ECANCELED);
    assert_int_equal(hf_link_flush(scene.source, 1000), -ECANCELED);
    assert_int_equal(hf_link_batch(scene.source, HF_LANE_PASS, data, 300, release, &pool, -1),
                     -ECANCELED);
    scene_end(&scene);
    free(data);
}

static void error_of_the_peer_is_an_event_and_then_the_end(void **state)
{
    struct scene scene = {.sink.fail_at = 2};
    struct hf_session_event event;
    uint8_t *data = noise(4096);
    struct pool pool = {0};
    int result;

    scene_start(&scene, 0, 0);
    attach(scene.source);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            hf_link_batch(scene.source, HF_LANE_CAPTURED, data, 300, release, &pool, 0), 0);
    while ((result = hf_link_next(scene.source, 5000, &event)) > 0 && event.type != HF_MSG_ERROR)
        ;
    assert_int_equal(result, 1);
    assert_int_equal(event.u.error.code, HF_WIRE_ESPACE);
    assert_string_equal(event.u.error.text, "no room");
    assert_int_equal(hf_link_next(scene.source, 5000, &event), -ECONNRESET);
    scene_end(&scene);
    free(data);
}

/* A sink that says why it hangs up while the source is busy sending: the failing writes must not
 * hide it. */
static void error_is_read_even_when_writing_fails_first(void **state)
{
    uint8_t *data = noise(BATCH_MAX + 1000);

    for (int round = 0; round < 3; round++) {
        struct scene scene = {.sink.fail_at = 20, .sink.credit = 64u << 20};
        struct hf_session_event event = {0};
        struct pool pool = {0};
        struct feeder feeder = {.pool = &pool, .data = data, .count = 1000};
        pthread_t thread;

        scene_start(&scene, 0, 0);
        attach(scene.source);
        feeder.link = scene.source;
        assert_int_equal(pthread_create(&thread, NULL, feed, &feeder), 0);
        pthread_join(thread, NULL); /* nothing is read before writing has failed */
        assert_true(feeder.result < 0);
        while (hf_link_next(scene.source, 5000, &event) > 0 && event.type != HF_MSG_ERROR)
            ;
        assert_int_equal(event.type, HF_MSG_ERROR);
        assert_int_equal(event.u.error.code, HF_WIRE_ESPACE);
        scene_end(&scene);
    }
    free(data);
}

static void peer_that_breaks_the_protocol_is_told(void **state)
{
    struct hf_session_event event;
    struct hf_message_header bad;
    struct hf_conn *agent, *target;
    struct hf_msg_error message;
    struct hf_link *sink;
    struct hf_tls *tls[2];
    uint8_t answer[600];
    long size;

    hf_test_connect(&pki, &agent, &target, tls);
    sink = link_of(target, HF_SESSION_SINK, 0, 0);
    hf_message_batch_header(1000, &bad); /* before any hello */
    assert_int_equal(hf_conn_write(agent, &bad, sizeof(bad), 1000), 0);
    assert_int_equal(hf_link_next(sink, 5000, &event), -HF_EPROTO);
    size = hf_conn_read(agent, answer, sizeof(answer), 1000);
    assert_in_range(size, 16, sizeof(answer));
    assert_int_equal(answer[4], HF_MSG_ERROR);
    assert_int_equal(hf_message_decode_error(answer + 16, (size_t)size - 16, &message), 0);
    assert_int_equal(message.code, HF_WIRE_EPROTOCOL);
    hf_link_free(sink);
    hf_conn_free(agent);
    hf_tls_free(tls[0]);
    hf_tls_free(tls[1]);
}

/* Fault 17, half-open: the peer is there for TCP and says nothing. */
static void fault_17_silence_is_noticed(void **state)
{
    struct hf_session_event event;
    struct hf_conn *agent, *target;
    struct hf_link *sink;
    struct hf_tls *tls[2];
    int64_t started = hf_net_now_ms();

    hf_test_connect(&pki, &agent, &target, tls);
    sink = link_of(target, HF_SESSION_SINK, 50, 300);
    assert_int_equal(hf_link_next(sink, 100, &event), -ETIMEDOUT);
    assert_int_equal(hf_link_next(sink, -1, &event), -ECONNABORTED);
    assert_in_range(hf_net_now_ms() - started, 250, 5000);
    hf_link_free(sink);
    hf_conn_free(agent);
    hf_tls_free(tls[0]);
    hf_tls_free(tls[1]);
}

static void idle_link_lives_on_pings(void **state)
{
    struct scene scene = {0};
    struct hf_session_event event;
    struct hf_link_stats stats;

    scene_start(&scene, 50, 700);
    attach(scene.source);
    assert_int_equal(hf_link_next(scene.source, 1500, &event), -ETIMEDOUT); /* twice dead_ms */
    hf_link_stats(scene.source, &stats);
    assert_true(stats.round_trip_ns < 700 * HF_NS_PER_MS);
    assert_true(stats.received_bytes > 300); /* HELLO_OK, ATTACH_OK, and several PONGs */
    assert_int_equal(hf_link_close(scene.source, 5000), 0);
    scene_end(&scene);
    assert_int_equal(scene.sink.result, 0);
}

static void peer_killed_in_the_middle_ends_the_link(void **state)
{
    struct scene scene = {.sink.pause_us = 2000};
    uint8_t *data = noise(BATCH_MAX + 1000);
    struct pool pool = {0};
    struct feeder feeder = {.pool = &pool, .data = data, .count = 1000};
    pthread_t threads[2];
    int result;

    scene_start(&scene, 0, 0);
    attach(scene.source);
    feeder.link = scene.source;
    assert_int_equal(pthread_create(&threads[0], NULL, feed, &feeder), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, stop_soon, scene.sink.link), 0);
    result = read_acks(scene.source, UINT64_MAX);
    assert_true(result == -ECONNRESET || result == -EPIPE);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_int_equal(feeder.result, result);
    scene_end(&scene);
    /* Each batch that was taken came back exactly once. */
    assert_true(pool.released > 0);
    assert_in_range(pool.released + pool.cancelled, scene.sink.batches, feeder.count);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_arrive_whole_in_order_and_come_back_to_their_owner),
        cmocka_unit_test(captured_batches_go_before_pass_batches),
        cmocka_unit_test(queue_is_bounded_and_says_how_full_it_is),
        cmocka_unit_test(what_is_queued_when_the_link_ends_comes_back_cancelled),
        cmocka_unit_test(stop_wakes_the_reader_and_who_waits_for_room),
        cmocka_unit_test(error_of_the_peer_is_an_event_and_then_the_end),
        cmocka_unit_test(error_is_read_even_when_writing_fails_first),
        cmocka_unit_test(peer_that_breaks_the_protocol_is_told),
        cmocka_unit_test(fault_17_silence_is_noticed),
        cmocka_unit_test(idle_link_lives_on_pings),
        cmocka_unit_test(peer_killed_in_the_middle_ends_the_link),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
