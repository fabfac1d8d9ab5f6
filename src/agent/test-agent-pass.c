// SPDX-License-Identifier: Apache-2.0
/* Passes over a machine and a target in memory. Fault numbers are of the fault catalogue. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "agent/engine-test.h"
#include "base/base.h"

#define RING_BYTES ((uint64_t)4 << 20)

static void fault_3_a_pass_waits_for_older_writes_in_flight(void **state)
{
    struct hf_test_world world;
    uint8_t content[8192];
    unsigned handle;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 7);
    hf_test_settle(&world);
    memset(content, 0x77, sizeof(content));
    handle = hf_fake_issue(world.source, 0, 65536, content, sizeof(content));
    {
        uint64_t number;

        assert_int_equal(hf_engine_resync(world.engine, true, &number), 0);
    }
    hf_test_steps(&world, 2000);
    assert_false(hf_test_status(&world)->protected);
    assert_true(hf_test_status(&world)->pass.waits > 0);
    hf_fake_complete(world.source, handle, false);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    hf_test_world_done(&world);
}

static void a_write_of_the_new_epoch_does_not_hold_the_pass_up(void **state)
{
    struct hf_test_world world;
    uint8_t content[4096];
    uint64_t number;
    unsigned handle;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 8);
    hf_test_settle(&world);
    world.worker_stopped = true;
    assert_int_equal(hf_engine_resync(world.engine, true, &number), 0);
    hf_test_steps(&world, 300);
    assert_true(hf_test_status(&world)->pass.active);
    memset(content, 0x11, sizeof(content));
    handle = hf_fake_issue(world.source, 0, 0, content, sizeof(content));
    world.worker_stopped = false;
    hf_test_settle(&world);
    hf_fake_complete(world.source, handle, false);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    hf_test_world_done(&world);
}

static void a_new_stream_compares_and_sends_only_differences(void **state)
{
    struct hf_fake_target_counts before, after;
    struct hf_test_world world;
    uint8_t *data, *image;
    uint64_t size;

    (void)state;
    hf_test_world_make(&world, 2, RING_BYTES, 14);
    hf_test_settle(&world);
    before = hf_test_counts(&world);
    hf_fake_target_forget_stream(world.target);
    data = hf_fake_disk_data(world.source, 0, &size);
    image = hf_fake_target_image(world.target, 0, &size);
    image[5000] ^= 1;           /* 4 KiB block 1 */
    image[700 * 1024 + 1] ^= 1; /* one of the zeros */
    assert_int_equal(data[700 * 1024 + 1], 0);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    after = hf_test_counts(&world);
    assert_int_equal(after.pass_bytes - before.pass_bytes, 4096);
    hf_test_world_done(&world);
}

static void a_checksum_pass_survives_kills_and_cuts(void **state)
{
    (void)state;
    for (uint64_t seed = 400; seed < 430; seed++) {
        struct hf_test_world world;

        hf_test_world_make(&world, 2, RING_BYTES, seed);
        hf_test_settle(&world);
        hf_fake_target_forget_stream(world.target);
        hf_test_live(&world, 100);
        hf_test_settle(&world);
        hf_test_assert_right(&world);
        assert_true(hf_test_counts(&world).hash_requests > 0);
        hf_test_world_done(&world);
    }
}

static void unreadable_blocks_are_reported_with_their_range(void **state)
{
    struct hf_test_world world;
    struct hf_engine_status *status;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 19);
    hf_fake_disk_break(world.source, 0, 40960, 4096, 1000);
    for (int i = 0; i < 1000 && hf_test_status(&world)->pass.unreadable_count == 0; i++)
        hf_test_steps(&world, 1);
    status = hf_test_status(&world);
    assert_int_equal(status->pass.unreadable_count, 1);
    assert_int_equal(status->pass.unreadable[0].offset, 40960);
    assert_int_equal(status->pass.unreadable[0].length, 4096);
    hf_test_world_done(&world);
}

static void a_passing_read_error_is_retried(void **state)
{
    struct hf_test_world world;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 20);
    hf_fake_disk_break(world.source, 0, 40960, 4096, 2);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_test_status(&world)->pass.unreadable_count, 0);
    hf_test_world_done(&world);
}

static void a_restarted_pass_goes_on_where_it_was_acknowledged(void **state)
{
    struct hf_test_world world;
    uint64_t total;

    (void)state;
    hf_test_world_make(&world, 2, RING_BYTES, 21);
    world.options.batch_bytes = 128 * 1024;
    hf_test_kill(&world);
    for (int i = 0; i < 10000 && hf_test_counts(&world).pass_batches < 8; i++)
        hf_test_steps(&world, 1);
    assert_int_equal(hf_test_counts(&world).passes_complete, 0);
    hf_test_kill(&world);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    total = hf_test_counts(&world).pass_bytes;
    assert_true(total <= 2 * HF_TEST_DISK_BYTES - 64 * 1024); /* not all of it twice */
    assert_int_equal(hf_test_counts(&world).passes_begun, 1);
    hf_test_world_done(&world);
}

static void a_throttled_pass_takes_its_time(void **state)
{
    struct hf_test_world world;
    uint64_t began;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 22);
    world.options.pass_bytes_per_s = HF_TEST_DISK_BYTES / 4;
    world.options.batch_bytes = 128 * 1024;
    hf_test_kill(&world);
    began = world.clock.boot_ns;
    hf_test_settle(&world);
    hf_test_write(&world);
    {
        uint64_t number;

        assert_int_equal(hf_engine_resync(world.engine, true, &number), 0);
    }
    hf_test_settle(&world);
    assert_true(world.clock.boot_ns - began >= 3 * HF_NS_PER_S);
    hf_test_assert_right(&world);
    hf_test_world_done(&world);
}

static void zeros_are_not_sent_by_the_initial_pass(void **state)
{
    struct hf_test_world world;

    (void)state;
    hf_test_world_make(&world, 2, RING_BYTES, 2);
    hf_test_settle(&world);
    assert_int_equal(hf_test_counts(&world).pass_bytes, HF_TEST_DISK_BYTES); /* half of two */
    hf_test_world_done(&world);
}

static void kills_during_the_initial_pass_resume_it(void **state)
{
    (void)state;
    for (uint64_t seed = 200; seed < 240; seed++) {
        struct hf_test_world world;

        hf_test_world_make(&world, 2, (uint64_t)64 << 20, seed);
        hf_test_live(&world, 120);
        hf_test_settle(&world);
        hf_test_assert_right(&world);
        assert_true(hf_test_counts(&world).passes_complete > 0);
        hf_test_world_done(&world);
    }
}

static void writes_during_the_initial_pass_win_over_it(void **state)
{
    struct hf_test_world world;

    (void)state;
    hf_test_world_make(&world, 2, RING_BYTES, 3);
    for (int i = 0; i < 300; i++) {
        hf_test_write(&world);
        hf_test_steps(&world, 2);
    }
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_test_counts(&world).passes_complete, 1);
    hf_test_world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fault_3_a_pass_waits_for_older_writes_in_flight),
        cmocka_unit_test(a_write_of_the_new_epoch_does_not_hold_the_pass_up),
        cmocka_unit_test(a_new_stream_compares_and_sends_only_differences),
        cmocka_unit_test(a_checksum_pass_survives_kills_and_cuts),
        cmocka_unit_test(unreadable_blocks_are_reported_with_their_range),
        cmocka_unit_test(a_passing_read_error_is_retried),
        cmocka_unit_test(a_restarted_pass_goes_on_where_it_was_acknowledged),
        cmocka_unit_test(a_throttled_pass_takes_its_time),
        cmocka_unit_test(zeros_are_not_sent_by_the_initial_pass),
        cmocka_unit_test(kills_during_the_initial_pass_resume_it),
        cmocka_unit_test(writes_during_the_initial_pass_win_over_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
