// SPDX-License-Identifier: Apache-2.0
/*
 * Much data in both directions at once, and what a hostile or broken network does to it (fault 17):
 * a proxy between the two ends flips a bit, cuts, stalls, resets.
 */
#include "base/test-support.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "net/net-internal.h"
#include "net/net-test.h"

#define FLOW_BYTES (100 * HF_MIB) /* each way */
#define BLOCK 65536

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

struct flow {
    struct hf_conn *conn;
    uint64_t seed;
    uint64_t bytes;
    uint64_t hash;
    int result;
};

static void fill(struct hf_random_seeded *random, uint8_t *block)
{
    for (size_t i = 0; i < BLOCK; i += 8) {
        uint64_t word = hf_random_seeded_next(random);

        memcpy(block + i, &word, 8);
    }
}

static void *write_flow(void *arg)
{
    struct flow *flow = arg;
    struct hf_random_seeded random;
    uint8_t *block = malloc(BLOCK);

    HF_ASSERT(block);
    hf_random_seeded_init(&random, flow->seed);
    for (uint64_t done = 0; done < flow->bytes && flow->result == 0; done += BLOCK) {
        fill(&random, block);
        flow->result = hf_conn_write(flow->conn, block, BLOCK, 30000);
    }
    free(block);
    return NULL;
}

/* Reads in odd sizes and compares with what the seed says. */
static void *read_flow(void *arg)
{
    struct flow *flow = arg;
    struct hf_random_seeded random, sizes;
    uint8_t *want = malloc(BLOCK), *got = malloc(BLOCK);

    HF_ASSERT(want && got);
    hf_random_seeded_init(&random, flow->seed);
    hf_random_seeded_init(&sizes, flow->seed + 1);
    for (uint64_t done = 0; done < flow->bytes && flow->result == 0; done += BLOCK) {
        size_t at = 0;

        fill(&random, want);
        while (at < BLOCK && flow->result == 0) {
            size_t size = 1 + hf_random_seeded_next(&sizes) % BLOCK;
            long part = hf_conn_read(flow->conn, got + at, HF_MIN(size, BLOCK - at), 30000);

            flow->result = part > 0 ? 0 : part < 0 ? (int)part : -ECONNRESET;
            at += part > 0 ? (size_t)part : 0;
        }
        if (flow->result == 0 && memcmp(want, got, BLOCK) != 0)
            flow->result = -HF_ECORRUPT;
    }
    free(want);
    free(got);
    return NULL;
}

static void both_directions_at_once_arrive_whole(void **state)
{
    struct hf_conn *agent, *target;
    struct hf_tls *tls[2];
    pthread_t threads[4];
    int64_t started;
    double seconds;

    hf_test_connect(&pki, &agent, &target, tls);
    struct flow flows[4] = {{agent, 1, FLOW_BYTES, 0, 0},
                            {target, 1, FLOW_BYTES, 0, 0},
                            {target, 2, FLOW_BYTES, 0, 0},
                            {agent, 2, FLOW_BYTES, 0, 0}};
    started = hf_net_now_ms();
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, i % 2 ? read_flow : write_flow, &flows[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    seconds = (double)(hf_net_now_ms() - started) / 1000;
    for (int i = 0; i < 4; i++)
        assert_int_equal(flows[i].result, 0);
    print_message("%.0f MB/s each way at once\n", (double)FLOW_BYTES / 1e6 / seconds);
    hf_conn_free(agent);
    hf_conn_free(target);
    hf_tls_free(tls[0]);
    hf_tls_free(tls[1]);
}

/* Keys are changed under way by both sides, while both directions are busy: what GnuTLS does by
 * itself after 2^24 records must not disturb the other thread. */
static void key_updates_disturb_nobody(void **state)
{
    struct hf_conn *agent, *target;
    struct hf_tls *tls[2];
    pthread_t threads[4];

    hf_test_connect(&pki, &agent, &target, tls);
    struct flow flows[4] = {{agent, 1, 20 * HF_MIB, 0, 0},
                            {target, 1, 20 * HF_MIB, 0, 0},
                            {target, 2, 20 * HF_MIB, 0, 0},
                            {agent, 2, 20 * HF_MIB, 0, 0}};
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, i % 2 ? read_flow : write_flow, &flows[i]), 0);
    for (int i = 0; i < 8; i++) { /* GnuTLS takes at most eight a second from one peer */
        struct hf_conn *conn = i % 2 ? agent : target;

        usleep(5000);
        pthread_mutex_lock(&conn->lock);
        assert_int_equal(gnutls_session_key_update(conn->session, 0), 0);
        pthread_mutex_unlock(&conn->lock);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(flows[i].result, 0);
    hf_conn_free(agent);
    hf_conn_free(target);
    hf_tls_free(tls[0]);
    hf_tls_free(tls[1]);
}

/* ---- The proxy ---- */

enum trick { TRICK_NONE, TRICK_FLIP, TRICK_CUT, TRICK_STALL, TRICK_RESET, TRICK_REPEAT };

struct proxy {
    struct hf_listener *listener;
    char address[64];
    char to[64];
    enum trick trick;
    size_t after_bytes; /* of the dialling side's bytes */
    int stop[2];
    pthread_t thread;
};

static void reset_socket(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static bool send_whole(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        struct pollfd wait = {.fd = fd, .events = POLLOUT};

        if (sent < 0 && errno == EAGAIN)
            poll(&wait, 1, 1000);
        else if (sent < 0)
            return false;
        else
            data += sent, size -= (size_t)sent;
    }
    return true;
}

/* What happens to the piece of the stream in which the trick's place lies. False: the connection is
 * to end. */
static bool play(struct proxy *proxy, int from, int to, uint8_t *data, size_t size, size_t place)
{
    struct pollfd stop = {.fd = proxy->stop[0], .events = POLLIN};

    switch (proxy->trick) {
    case TRICK_FLIP:
        data[place] ^= 0x10;
        return send_whole(to, data, size);
    case TRICK_REPEAT:
        for (int i = 0; i < 2; i++) {
            if (!send_whole(to, data, size))
                return false;
        }
        return true;
    case TRICK_STALL:
        poll(&stop, 1, 20000);
        return false;
    case TRICK_RESET:
        send_whole(to, data, place);
        reset_socket(from);
        reset_socket(to);
        return false;
    default: /* cut in the middle of a record, in TCP's own good order */
        send_whole(to, data, place);
        return false;
    }
}

static void carry(struct proxy *proxy, int client, int server)
{
    struct pollfd fds[] = {{client, POLLIN, 0}, {server, POLLIN, 0}, {proxy->stop[0], POLLIN, 0}};
    uint8_t data[16384];
    size_t carried = 0;

    for (;;) {
        poll(fds, 3, -1);
        if (fds[2].revents)
            return;
        for (int side = 0; side < 2; side++) {
            ssize_t size;
            bool goes_on;

            if (!fds[side].revents)
                continue;
            size = recv(fds[side].fd, data, sizeof(data), MSG_DONTWAIT);
            if (size <= 0)
                return;
            if (side == 0 && carried < proxy->after_bytes &&
                carried + (size_t)size >= proxy->after_bytes && proxy->trick != TRICK_NONE)
                goes_on = play(proxy, client, server, data, (size_t)size,
                               proxy->after_bytes - carried - 1);
            else
                goes_on = send_whole(fds[1 - side].fd, data, (size_t)size);
            if (side == 0)
                carried += (size_t)size;
            if (!goes_on)
                return;
        }
    }
}

static void *proxy_main(void *arg)
{
    struct proxy *proxy = arg;
    int client, server;

    HF_ASSERT(hf_listener_accept(proxy->listener, 5000, &client) == 0);
    HF_ASSERT(hf_socket_dial(proxy->to, hf_net_deadline(5000), &server) == 0);
    carry(proxy, client, server);
    close(client);
    close(server);
    return NULL;
}

/* Both ends with the proxy in between. */
struct scene {
    struct proxy proxy;
    struct hf_test_server server;
    struct hf_tls *tls[2];
    struct hf_conn *agent;
};

static void scene_start(struct scene *scene, enum trick trick, size_t after_bytes)
{
    char error[256] = "";

    memset(scene, 0, sizeof(*scene));
    scene->tls[0] = hf_test_tls(&pki, "agent", "db1");
    scene->tls[1] = hf_test_tls(&pki, "target", "t1");
    scene->server.timeout_ms = 2000;
    hf_test_server_start(&scene->server, scene->tls[1], "agent");
    scene->proxy.trick = trick;
    scene->proxy.after_bytes = after_bytes;
    snprintf(scene->proxy.to, sizeof(scene->proxy.to), "%s", scene->server.address);
    scene->proxy.listener = hf_test_listen(scene->proxy.address, sizeof(scene->proxy.address));
    assert_int_equal(pipe(scene->proxy.stop), 0);
    assert_int_equal(pthread_create(&scene->proxy.thread, NULL, proxy_main, &scene->proxy), 0);
    if (hf_conn_dial(scene->tls[0], scene->proxy.address, "target", 2000, &scene->agent, error,
                     sizeof(error)) < 0)
        scene->agent = NULL;
    hf_test_server_join(&scene->server);
}

static void scene_end(struct scene *scene)
{
    assert_int_equal(write(scene->proxy.stop[1], "x", 1), 1);
    pthread_join(scene->proxy.thread, NULL);
    hf_listener_free(scene->proxy.listener);
    close(scene->proxy.stop[0]);
    close(scene->proxy.stop[1]);
    hf_conn_free(scene->agent);
    hf_conn_free(scene->server.conn);
    hf_tls_free(scene->tls[0]);
    hf_tls_free(scene->tls[1]);
}

/* Sends 4 MiB; what the target has read before the end must be what was sent, and the end an error.
 * Returns it. */
static int read_through(struct scene *scene, int timeout_ms, uint64_t *ret_bytes)
{
    struct hf_random_seeded random;
    struct flow writer = {scene->agent, 9, 4 * HF_MIB, 0, 0};
    static uint8_t want[BLOCK], got[BLOCK];
    pthread_t thread;
    size_t at = 0;
    long part = 1;

    assert_non_null(scene->agent);
    assert_non_null(scene->server.conn);
    hf_random_seeded_init(&random, 9);
    assert_int_equal(pthread_create(&thread, NULL, write_flow, &writer), 0);
    *ret_bytes = 0;
    fill(&random, want);
    while (*ret_bytes < writer.bytes &&
           (part = hf_conn_read(scene->server.conn, got, BLOCK - at, timeout_ms)) > 0) {
        assert_memory_equal(got, want + at, (size_t)part);
        *ret_bytes += (uint64_t)part;
        at = (at + (size_t)part) % BLOCK;
        if (at == 0)
            fill(&random, want);
    }
    part = *ret_bytes == writer.bytes ? 0 : part == 0 ? 1 : part;
    hf_conn_shutdown(scene->agent);
    hf_conn_shutdown(scene->server.conn);
    pthread_join(thread, NULL);
    return (int)part;
}

static void play_trick(enum trick trick, size_t after_bytes, int expected)
{
    struct scene scene;
    uint64_t bytes;
    int error;

    scene_start(&scene, trick, after_bytes);
    error = read_through(&scene, trick == TRICK_STALL ? 300 : 20000, &bytes);
    if (error != expected)
        print_message("trick %d after %zu: %d\n", trick, after_bytes, error);
    assert_int_equal(error, expected);
    if (expected)
        assert_in_range(bytes, 0, after_bytes);
    scene_end(&scene);
}

static void proxy_that_only_carries_changes_nothing(void **state)
{
    play_trick(TRICK_NONE, 0, 0);
}

static void fault_17_flipped_bit_is_detected_and_ends_the_connection(void **state)
{
    for (size_t at = 20000; at < 3000000; at += 512347)
        play_trick(TRICK_FLIP, at, -HF_ECORRUPT);
}

static void fault_17_repeated_bytes_are_detected(void **state)
{
    play_trick(TRICK_REPEAT, 1000000, -HF_ECORRUPT);
}

static void fault_17_truncation_is_not_an_orderly_end(void **state)
{
    for (size_t at = 20000; at < 3000000; at += 723457)
        play_trick(TRICK_CUT, at, -ECONNRESET);
}

static void fault_17_reset_in_a_record_is_a_reset(void **state)
{
    play_trick(TRICK_RESET, 1234567, -ECONNRESET);
}

static void fault_17_stall_meets_the_deadline(void **state)
{
    play_trick(TRICK_STALL, 500000, -ETIMEDOUT);
}

static void fault_17_handshake_in_trouble_fails_on_both_sides_in_time(void **state)
{
    static const enum trick tricks[] = {TRICK_FLIP, TRICK_CUT, TRICK_RESET, TRICK_STALL};

    for (size_t i = 0; i < HF_ARRAY_COUNT(tricks); i++) {
        int64_t started = hf_net_now_ms();
        struct scene scene;
        char byte;

        scene_start(&scene, tricks[i], 60); /* in the client's first message */
        if (scene.agent)                    /* the dialling side may only learn it now */
            assert_true(hf_conn_read(scene.agent, &byte, 1, 500) < 0);
        assert_true(scene.server.result < 0);
        assert_in_range(hf_net_now_ms() - started, 0, 8000);
        scene_end(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_directions_at_once_arrive_whole),
        cmocka_unit_test(key_updates_disturb_nobody),
        cmocka_unit_test(proxy_that_only_carries_changes_nothing),
        cmocka_unit_test(fault_17_flipped_bit_is_detected_and_ends_the_connection),
        cmocka_unit_test(fault_17_repeated_bytes_are_detected),
        cmocka_unit_test(fault_17_truncation_is_not_an_orderly_end),
        cmocka_unit_test(fault_17_reset_in_a_record_is_a_reset),
        cmocka_unit_test(fault_17_stall_meets_the_deadline),
        cmocka_unit_test(fault_17_handshake_in_trouble_fails_on_both_sides_in_time),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
