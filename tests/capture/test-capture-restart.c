// SPDX-License-Identifier: Apache-2.0
/*
 * The capture without its agent: killed, started again, upgraded under load, removed. Hazards H2
 * and H8, faults 10 and 15, promise P4.
 */
#include "capture-test.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "capture/capture-internal.h"

#define STATE_TEXT "acknowledged here"

static pid_t load(const struct test_loop *loop, unsigned seconds)
{
    char command[256];

    snprintf(command, sizeof(command),
             "fio --name=w --filename=%s --direct=1 --ioengine=io_uring --rw=randwrite "
             "--bsrange=4k-256k --iodepth=8 --time_based --runtime=%u --size=64m --rate=25m",
             loop->path, seconds);
    return test_spawn(command);
}

/* An agent: applies to the replica's file, keeps its position in the pinned state, until it is
 * killed. */
static void agent(int replica_fd, unsigned slot)
{
    struct hf_capture *capture = test_open(0);
    struct test_replica replica = {.fd = replica_fd, .slot = slot};

    replica.position = hf_capture_consumer_position(capture);
    for (;;) {
        test_replica_drain(&replica, capture);
        memcpy(hf_capture_agent_state(capture), STATE_TEXT, sizeof(STATE_TEXT));
        hf_capture_wait(capture, replica.position, 65536, 5);
    }
}

static void h2_kill_9_of_the_agent_loses_nothing(void **state)
{
    struct test_loop loop;
    struct test_replica replica;
    struct hf_capture *capture = test_open(64u << 20);
    struct hf_id before, after;
    pid_t writer, child;
    unsigned slot;

    test_loop_create(&loop, TEST_IN_MEMORY, 64 * TEST_MIB);
    slot = test_protect(capture, &loop);
    test_data_begin(capture);
    hf_capture_get_id(capture, &before);
    test_replica_create(&replica, capture, slot, loop.size_bytes);
    (void)test_directory();
    hf_capture_close(capture);
    writer = load(&loop, 6);
    for (unsigned round = 0; round < 8; round++) {
        child = fork();
        if (child == 0)
            agent(replica.fd, slot);
        usleep(400 * 1000 + round * 30 * 1000);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        usleep(50 * 1000);
    }
    assert_int_equal(test_wait(writer), 0);
    capture = test_open(0);
    assert_true(hf_capture_adopted(capture));
    hf_capture_get_id(capture, &after);
    assert_true(hf_id_equal(&before, &after));
    assert_string_equal(hf_capture_agent_state(capture), STATE_TEXT);
    assert_int_equal(test_stats(capture).mode, HF_CAPTURE_DATA);
    replica.position = hf_capture_consumer_position(capture);
    test_replica_drain(&replica, capture);
    assert_true(test_replica_equal(&replica, &loop));
    assert_int_equal(test_stats(capture).dirty_requests, 0);
    test_replica_destroy(&replica);
    test_close(capture);
    test_loop_destroy(&loop);
}

static void h2_records_not_released_are_read_again_unchanged(void **state)
{
    struct test_loop loop;
    struct hf_capture *capture = test_open(TEST_RING_BYTES);
    struct hf_capture_view first, again;
    uint8_t copy[65536];
    uint64_t from;

    test_loop_create(&loop, TEST_IN_MEMORY, 16 * TEST_MIB);
    test_protect(capture, &loop);
    test_data_begin(capture);
    from = hf_capture_producer_position(capture);
    assert_int_equal(hf_capture_release(capture, from), 0);
    test_write(&loop, 0, 65536, 1);
    assert_int_equal(hf_capture_peek(capture, from, &first), 0);
    assert_int_equal(first.record->content_bytes, sizeof(copy));
    memcpy(copy, first.content, sizeof(copy));
    hf_capture_close(capture);
    capture = test_open(0);
    assert_int_equal(hf_capture_consumer_position(capture), from);
    assert_int_equal(hf_capture_peek(capture, from, &again), 0);
    assert_memory_equal(again.content, copy, sizeof(copy));
    test_close(capture);
    test_loop_destroy(&loop);
}

static void h8_an_upgrade_under_load_loses_nothing(void **state)
{
    struct test_loop loop;
    struct test_replica replica;
    struct test_drainer drainer;
    struct hf_capture *capture = test_open(64u << 20);
    pid_t writer;
    unsigned slot;

    test_loop_create(&loop, TEST_IN_MEMORY, 64 * TEST_MIB);
    slot = test_protect(capture, &loop);
    test_data_begin(capture);
    test_replica_create(&replica, capture, slot, loop.size_bytes);
    writer = load(&loop, 4);
    for (unsigned i = 0; i < 6; i++) {
        capture->control->program_tag = i; /* as if another build had pinned its programs */
        hf_capture_close(capture);
        capture = test_open(0);
        assert_true(hf_capture_adopted(capture));
        assert_int_equal(capture->control->program_tag, hf_capture_object_tag());
        test_drainer_start(&drainer, &replica, capture);
        usleep(300 * 1000);
        test_drainer_stop(&drainer);
    }
    assert_int_equal(test_wait(writer), 0);
    test_replica_drain(&replica, capture);
    assert_true(test_replica_equal(&replica, &loop));
    assert_int_equal(test_stats(capture).dirty_requests, 0);
    test_replica_destroy(&replica);
    test_close(capture);
    test_loop_destroy(&loop);
}

static void fault_15_pinned_objects_of_another_layout_are_refused(void **state)
{
    struct hf_capture_options options = {.directory = test_directory()};
    struct hf_capture *capture = test_open(65536);

    capture->control->layout++;
    hf_capture_close(capture);
    assert_int_equal(hf_capture_open(&options, &capture), -HF_EVERSION);
    assert_int_equal(hf_capture_detach(options.directory), 0);
}

static void a_beginning_that_was_cut_short_is_begun_anew(void **state)
{
    struct hf_capture *capture = test_open(65536);

    capture->control->magic = 0; /* killed before the last step */
    hf_capture_close(capture);
    capture = test_open(0);
    assert_false(hf_capture_adopted(capture));
    test_close(capture);
}

static void two_agents_at_once_are_refused(void **state)
{
    struct hf_capture_options options = {.directory = test_directory()};
    struct hf_capture *capture = test_open(65536), *second = NULL;

    assert_int_equal(hf_capture_open(&options, &second), -EBUSY);
    assert_int_equal(hf_capture_detach(options.directory), -EBUSY);
    test_close(capture);
}

static void adopting_what_is_not_there_is_an_error(void **state)
{
    struct hf_capture_options options = {.directory = test_directory(), .adopt_only = true};
    struct hf_capture *capture = NULL;

    assert_int_equal(hf_capture_open(&options, &capture), -ENOENT);
    assert_null(capture);
}

static void fault_10_without_a_heartbeat_only_bits_are_set(void **state)
{
    struct hf_capture_options options = {
        .directory = test_directory(), .ring_bytes = TEST_RING_BYTES, .heartbeat_timeout_ms = 300};
    struct test_loop loop;
    struct test_replica replica;
    struct hf_capture *capture;
    unsigned slot;

    assert_int_equal(hf_capture_open(&options, &capture), 0);
    test_loop_create(&loop, TEST_IN_MEMORY, 16 * TEST_MIB);
    slot = test_protect(capture, &loop);
    test_data_begin(capture);
    test_replica_create(&replica, capture, slot, loop.size_bytes);
    test_write(&loop, 0, 4096, 1);
    assert_int_equal(test_stats(capture).mode, HF_CAPTURE_DATA);
    usleep(400 * 1000);
    test_write(&loop, 8192, 4096, 2);
    assert_int_equal(test_stats(capture).mode, HF_CAPTURE_DIRTY);
    assert_int_equal(test_stats(capture).cause, HF_CAUSE_NO_HEARTBEAT);
    test_replica_drain(&replica, capture);
    assert_false(test_replica_equal(&replica, &loop));
    test_replica_mend(&replica, capture, &loop, test_data_begin(capture));
    test_replica_drain(&replica, capture);
    assert_true(test_replica_equal(&replica, &loop));
    test_replica_destroy(&replica);
    test_close(capture);
    test_loop_destroy(&loop);
}

/* Programs and maps of ours in the kernel, by name. */
static unsigned count_objects(void)
{
    unsigned count = 0;
    uint32_t id = 0;

    while (!bpf_prog_get_next_id(id, &id)) {
        struct bpf_prog_info info = {.id = 0};
        uint32_t size = sizeof(info);
        int fd = bpf_prog_get_fd_by_id(id);

        if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size))
            count += strncmp(info.name, "hf_", 3) == 0;
        close(fd);
    }
    id = 0;
    while (!bpf_map_get_next_id(id, &id)) {
        struct bpf_map_info info = {.id = 0};
        uint32_t size = sizeof(info);
        int fd = bpf_map_get_fd_by_id(id);

        if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size))
            count += strncmp(info.name, "hf_", 3) == 0;
        close(fd);
    }
    return count;
}

static void fault_10_detaching_leaves_nothing(void **state)
{
    unsigned before = count_objects(), left = UINT32_MAX;
    struct hf_capture *capture = test_open(65536);
    struct test_loop loop;

    test_loop_create(&loop, TEST_IN_MEMORY, 16 * TEST_MIB);
    test_protect(capture, &loop);
    assert_true(count_objects() > before);
    test_close(capture);
    assert_int_not_equal(access(test_directory(), F_OK), 0);
    for (unsigned i = 0; i < 100 && left > before; i++, usleep(50 * 1000))
        left = count_objects(); /* freed after a grace period */
    assert_true(left <= before);
    assert_int_equal(hf_capture_detach(test_directory()), 0); /* nothing to do */
    test_loop_destroy(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(h2_kill_9_of_the_agent_loses_nothing),
        cmocka_unit_test(h2_records_not_released_are_read_again_unchanged),
        cmocka_unit_test(h8_an_upgrade_under_load_loses_nothing),
        cmocka_unit_test(fault_15_pinned_objects_of_another_layout_are_refused),
        cmocka_unit_test(a_beginning_that_was_cut_short_is_begun_anew),
        cmocka_unit_test(two_agents_at_once_are_refused),
        cmocka_unit_test(adopting_what_is_not_there_is_an_error),
        cmocka_unit_test(fault_10_without_a_heartbeat_only_bits_are_set),
        cmocka_unit_test(fault_10_detaching_leaves_nothing),
    };

    test_require_capture();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
