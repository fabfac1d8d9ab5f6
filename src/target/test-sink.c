// SPDX-License-Identifier: Apache-2.0
/* A source session and a sink over a store in memory, in one thread: promises P2, P3; requirements
 * SEC9; faults 17, 18. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "target/sink.h"

#define DISK_BYTES (4u << 20)

static const struct hf_id machine_id = {{1, 2, 3}};
static const struct hf_id capture_id = {{9, 9}};
static const struct hf_id node_id = {{4}};

/* One side by side pair: what the source sends the sink receives, and back. */
struct pair {
    struct hf_session *source;
    struct hf_session *sink_session;
    struct hf_sink *sink;
    int sink_result;
};

struct world {
    struct hf_io *io;
    struct hf_store *store;
    struct hf_registry *registry;
    struct hf_batch_builder *builder;
    struct hf_digest digest;
    struct hf_stream_id stream;
    uint64_t seq;
    bool evicted;
};

static struct hf_session *port_lock(void *context)
{
    return ((struct pair *)context)->sink_session;
}

static void port_unlock(void *context)
{
    (void)context;
}

static void note_evicted(void *context)
{
    ((struct world *)context)->evicted = true;
}

static int world_make(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct hf_batch_builder_options build = {.compression_level = HF_COMPRESSION_FAST,
                                             .size_max = HF_BATCH_SIZE_MAX};
    struct hf_registry_options options = {.retention = {.window_ns = 3600 * HF_NS_PER_S}};

    assert_int_equal(hf_io_memory_new(&world->io), 0);
    assert_int_equal(hf_store_create(world->io, hf_random_system()), 0);
    assert_int_equal(hf_store_open(world->io, hf_clock_system(), hf_random_system(), &world->store),
                     0);
    options.store = world->store;
    assert_int_equal(hf_registry_new(&options, &world->registry), 0);
    assert_int_equal(hf_batch_builder_new(&build, &world->builder), 0);
    hf_digest_begin(&capture_id, &world->digest);
    *state = world;
    return 0;
}

static int world_free(void **state)
{
    struct world *world = *state;

    hf_batch_builder_free(world->builder);
    hf_registry_free(world->registry);
    hf_store_close(world->store);
    hf_io_free(world->io);
    free(world);
    return 0;
}

static void pair_make(struct world *world, const char *name, struct pair *pair)
{
    struct hf_sink_port port = {.lock = port_lock, .unlock = port_unlock, .context = pair};
    struct hf_id target;

    memset(pair, 0, sizeof(*pair));
    hf_store_id(world->store, &target);
    assert_int_equal(hf_session_new(HF_SESSION_SOURCE, &node_id, "test", &pair->source), 0);
    assert_int_equal(hf_session_new(HF_SESSION_SINK, &target, "test", &pair->sink_session), 0);
    assert_int_equal(
        hf_sink_new(world->registry, &target, &port, name, note_evicted, world, &pair->sink), 0);
}

static void pair_free(struct pair *pair)
{
    hf_sink_free(pair->sink);
    hf_session_free(pair->source);
    hf_session_free(pair->sink_session);
}

static void carry(struct hf_session *from, struct hf_session *to)
{
    for (;;) {
        const void *data;
        void *room;
        size_t size;
        size_t room_size;

        hf_session_output(from, &data, &size);
        if (size == 0 || hf_session_input(to, &room, &room_size) < 0)
            return;
        size = HF_MIN(size, room_size);
        memcpy(room, data, size);
        hf_session_sent(from, size);
        hf_session_received(to, size);
        if (hf_session_state(to) == HF_SESSION_ENDED)
            return;
    }
}

static int handle(struct pair *pair)
{
    struct hf_session_event event;
    int result = 0;

    while (result == 0 && hf_session_next(pair->sink_session, &event) == 1)
        result = hf_sink_event(pair->sink, &event);
    return result;
}

/* The source's bytes go over and are handled; nothing is settled. The room a session gives may need
 * a message taken out first. */
static void push(struct pair *pair)
{
    const void *data;
    size_t size;

    do {
        carry(pair->source, pair->sink_session);
        pair->sink_result = handle(pair);
        hf_session_output(pair->source, &data, &size);
    } while (size > 0 && pair->sink_result == 0);
}

/* The next event at the source of this type; fails the test when there is none. */
static struct hf_session_event expect(struct pair *pair, uint16_t type)
{
    struct hf_session_event event = {0};

    carry(pair->sink_session, pair->source);
    while (hf_session_next(pair->source, &event) == 1)
        if (event.type == type)
            return event;
    fail_msg("no message of type %u came", type);
    return event;
}

static bool comes(struct pair *pair, uint16_t type)
{
    struct hf_session_event event;
    bool found = false;

    carry(pair->sink_session, pair->source);
    while (hf_session_next(pair->source, &event) == 1)
        found |= event.type == type;
    return found;
}

static void attach_send(struct world *world, struct pair *pair)
{
    struct hf_msg_attach attach = {.machine = machine_id, .machine_name = "m", .disk_count = 1};

    attach.stream.epoch = world->stream.epoch;
    attach.stream.capture = capture_id;
    attach.seq_newest = 1 << 20;
    attach.disks[0] =
        (struct hf_msg_disk){.disk = 0, .block_size = 512, .size_bytes = DISK_BYTES, .name = "vda"};
    assert_int_equal(hf_session_hello(pair->source), 0);
    push(pair);
    expect(pair, HF_MSG_HELLO_OK);
    assert_int_equal(hf_session_attach(pair->source, &attach), 0);
    push(pair);
}

static struct hf_msg_attach_ok attached(struct world *world, struct pair *pair)
{
    struct hf_msg_attach_ok ok;

    attach_send(world, pair);
    ok = expect(pair, HF_MSG_ATTACH_OK).u.attach_ok;
    world->stream = ok.stream;
    return ok;
}

static void add_record(struct world *world, uint8_t type, uint64_t offset, const void *content,
                       uint64_t length)
{
    struct hf_record_in record = {.seq = world->seq,
                                  .seq_end = world->seq + 64 + length,
                                  .boot_ns = 1000,
                                  .offset = offset,
                                  .length = length,
                                  .content = content,
                                  .type = type};

    assert_int_equal(hf_batch_add(world->builder, &record), 0);
    world->seq = record.seq_end;
}

static void send_batch(struct world *world, struct pair *pair, bool corrupt)
{
    uint8_t copy[65536];
    uint8_t content[4096];
    struct hf_digest digest_after;
    const void *data;
    size_t size;
    uint64_t seq_before = world->seq;

    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)(i * 7 + world->seq + (i >> 5));
    hf_batch_begin_captured(world->builder, &world->stream, world->seq, &world->digest);
    if (world->seq == 0) {
        struct hf_disk_body disk = {.change = HF_DISK_ADD, .version = 1, .name = "vda"};

        disk.block_size = hf_le32_of(512);
        disk.size_bytes = hf_le64_of(DISK_BYTES);
        add_record(world, HF_RECORD_DISK, 0, &disk, sizeof(disk));
    }
    add_record(world, HF_RECORD_WRITE, 8192, content, sizeof(content));
    assert_int_equal(hf_batch_finish(world->builder, 1000, &data, &size, &digest_after), 0);
    assert_true(size <= sizeof(copy));
    memcpy(copy, data, size);
    if (corrupt) {
        copy[size - 1] ^= 0x10;
        world->seq = seq_before;
    } else {
        world->digest = digest_after;
    }
    assert_int_equal(hf_session_batch(pair->source, copy, size), 0);
    push(pair);
}

static void a_batch_is_acknowledged_only_after_it_was_synced(void **state)
{
    struct world *world = *state;
    struct pair pair;
    struct hf_msg_ack ack;

    pair_make(world, "m", &pair);
    assert_int_equal(attached(world, &pair).verdict, HF_ATTACH_NEW);
    send_batch(world, &pair, false);
    assert_int_equal(pair.sink_result, 0);
    assert_false(comes(&pair, HF_MSG_ACK));
    assert_int_equal(hf_sink_settle(pair.sink, 0), 0);
    ack = expect(&pair, HF_MSG_ACK).u.ack;
    assert_int_equal(ack.target_seq, world->seq);
    assert_int_equal(ack.hop_seq, world->seq);
    assert_memory_equal(&ack.target_digest, &world->digest, sizeof(world->digest));
    pair_free(&pair);
}

static void
fault_17_a_batch_that_does_not_verify_is_refused_and_nothing_is_acknowledged(void **state)
{
    struct world *world = *state;
    struct pair pair;

    pair_make(world, "m", &pair);
    attached(world, &pair);
    send_batch(world, &pair, true);
    assert_true(pair.sink_result < 0);
    assert_int_equal(expect(&pair, HF_MSG_ERROR).u.error.code, HF_WIRE_ECORRUPT);
    pair_free(&pair);
}

static void a_source_that_comes_back_resumes_at_what_is_durable(void **state)
{
    struct world *world = *state;
    struct hf_msg_attach_ok ok;
    struct pair pair;

    pair_make(world, "m", &pair);
    attached(world, &pair);
    send_batch(world, &pair, false);
    pair_free(&pair); /* the connection broke before anything was acknowledged */

    pair_make(world, "m", &pair);
    ok = attached(world, &pair);
    assert_int_equal(ok.verdict, HF_ATTACH_RESUME);
    assert_int_equal(ok.seq, world->seq);
    assert_memory_equal(&ok.digest, &world->digest, sizeof(world->digest));
    send_batch(world, &pair, false);
    assert_int_equal(hf_sink_settle(pair.sink, 0), 0);
    assert_int_equal(expect(&pair, HF_MSG_ACK).u.ack.target_seq, world->seq);
    pair_free(&pair);
}

static void a_source_that_diverged_attaches_its_new_capture_on_the_same_connection(void **state)
{
    struct world *world = *state;
    struct hf_msg_attach attach = {.machine = machine_id, .machine_name = "m"};
    struct pair pair;

    attach.stream.capture = capture_id;
    attach.seq_oldest = 4096; /* what came before was given away, to another store */
    attach.seq_newest = 8192;
    pair_make(world, "m", &pair);
    assert_int_equal(hf_session_hello(pair.source), 0);
    push(&pair);
    expect(&pair, HF_MSG_HELLO_OK);
    assert_int_equal(hf_session_attach(pair.source, &attach), 0);
    push(&pair);
    assert_int_equal(expect(&pair, HF_MSG_ATTACH_OK).u.attach_ok.verdict, HF_ATTACH_DIVERGED);

    attach.stream.capture.bytes[5] = 5;
    attach.seq_oldest = 0;
    assert_int_equal(hf_session_attach(pair.source, &attach), 0);
    push(&pair);
    assert_int_equal(expect(&pair, HF_MSG_ATTACH_OK).u.attach_ok.verdict, HF_ATTACH_NEW);
    pair_free(&pair);

    /* another machine cannot be had on the way */
    attach.seq_oldest = 4096;
    pair_make(world, "m", &pair);
    assert_int_equal(hf_session_hello(pair.source), 0);
    push(&pair);
    expect(&pair, HF_MSG_HELLO_OK);
    attach.stream.capture.bytes[5] = 6;
    assert_int_equal(hf_session_attach(pair.source, &attach), 0);
    push(&pair);
    assert_int_equal(expect(&pair, HF_MSG_ATTACH_OK).u.attach_ok.verdict, HF_ATTACH_DIVERGED);
    attach.machine.bytes[0] = 77;
    assert_int_equal(hf_session_attach(pair.source, &attach), 0);
    push(&pair);
    assert_int_equal(expect(&pair, HF_MSG_ERROR).u.error.code, HF_WIRE_EPROTOCOL);
    pair_free(&pair);
}

static void security_9_a_machine_cannot_be_attached_under_another_certificate(void **state)
{
    struct world *world = *state;
    struct pair pair;

    pair_make(world, "m", &pair);
    attached(world, &pair);
    pair_free(&pair);
    pair_make(world, "other", &pair);
    attach_send(world, &pair);
    assert_int_equal(expect(&pair, HF_MSG_ERROR).u.error.code, HF_WIRE_EIDENTITY);
    pair_free(&pair);
}

static void fault_24_a_second_connection_asks_the_first_to_let_go(void **state)
{
    struct world *world = *state;
    struct pair first;
    struct pair second;

    pair_make(world, "m", &first);
    attached(world, &first);
    pair_make(world, "m", &second);
    attach_send(world, &second); /* the first never lets go in this test: it is refused */
    assert_true(world->evicted);
    assert_int_equal(expect(&second, HF_MSG_ERROR).u.error.code, HF_WIRE_EBUSY);
    pair_free(&second);
    pair_free(&first);
}

static void hashes_of_the_newest_state_are_answered(void **state)
{
    struct world *world = *state;
    struct hf_msg_hash_get get = {
        .request = 77, .disk = 0, .block_size = 65536, .offset = 0, .count = 2};
    struct hf_session_event event;
    uint8_t zeros[65536] = {0};
    struct hf_hash128 expected;
    struct pair pair;

    pair_make(world, "m", &pair);
    attached(world, &pair);
    send_batch(world, &pair, false);
    assert_int_equal(hf_sink_settle(pair.sink, 0), 0);
    assert_int_equal(hf_session_hash_get(pair.source, &get), 0);
    push(&pair);
    assert_int_equal(hf_sink_hash(pair.sink), 0);
    event = expect(&pair, HF_MSG_HASH_LIST);
    assert_int_equal(event.u.hash_list.request, 77);
    assert_int_equal(event.u.hash_list.error, 0);
    assert_int_equal(event.u.hash_list.count, 2);
    expected = hf_hash128(zeros, sizeof(zeros), event.u.hash_list.secret);
    assert_memory_equal(&event.u.hash_list.hashes[1], &expected, sizeof(expected));
    assert_memory_not_equal(&event.u.hash_list.hashes[0], &expected, sizeof(expected));
    pair_free(&pair);
}

static void credit_grows_with_what_was_received(void **state)
{
    struct world *world = *state;
    struct pair pair;
    uint64_t first;
    uint64_t sent = 0;

    pair_make(world, "m", &pair);
    first = attached(world, &pair).credit;
    assert_true(first > 0);
    while (sent < 8 * HF_MIB) {
        uint64_t left = hf_session_credit_left(pair.source);

        send_batch(world, &pair, false);
        sent += left - hf_session_credit_left(pair.source);
    }
    assert_int_equal(hf_sink_settle(pair.sink, 0), 0);
    assert_true(expect(&pair, HF_MSG_CREDIT).u.credit_total > first);
    pair_free(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_batch_is_acknowledged_only_after_it_was_synced,
                                        world_make, world_free),
        cmocka_unit_test_setup_teardown(
            fault_17_a_batch_that_does_not_verify_is_refused_and_nothing_is_acknowledged,
            world_make, world_free),
        cmocka_unit_test_setup_teardown(a_source_that_comes_back_resumes_at_what_is_durable,
                                        world_make, world_free),
        cmocka_unit_test_setup_teardown(
            a_source_that_diverged_attaches_its_new_capture_on_the_same_connection, world_make,
            world_free),
        cmocka_unit_test_setup_teardown(
            security_9_a_machine_cannot_be_attached_under_another_certificate, world_make,
            world_free),
        cmocka_unit_test_setup_teardown(fault_24_a_second_connection_asks_the_first_to_let_go,
                                        world_make, world_free),
        cmocka_unit_test_setup_teardown(hashes_of_the_newest_state_are_answered, world_make,
                                        world_free),
        cmocka_unit_test_setup_teardown(credit_grows_with_what_was_received, world_make,
                                        world_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
