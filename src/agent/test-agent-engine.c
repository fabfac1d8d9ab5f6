// SPDX-License-Identifier: Apache-2.0
/* The engine over a machine and a target in memory. Fault numbers are of the fault catalogue. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "agent/engine-test.h"
#include "agent/fake-source-internal.h"
#include "base/base.h"

#define RING_BYTES ((uint64_t)4 << 20)
#define SMALL_RING_BYTES ((uint64_t)256 << 10)

static void the_initial_pass_makes_the_replica_equal(void **state)
{
    struct hf_test_world world;

    (void)state;
    hf_test_world_make(&world, 2, RING_BYTES, 1);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_test_counts(&world).passes_complete, 1);
    assert_int_equal(hf_test_status(&world)->passes, 1);
    hf_test_world_done(&world);
}

static void every_point_equals_the_source_at_its_moment(void **state)
{
    struct hf_test_world world;

    (void)state;
    hf_test_world_make(&world, 2, RING_BYTES, 4);
    hf_test_settle(&world);
    for (int i = 0; i < 200; i++) {
        hf_test_write(&world);
        if (i % 3 == 0)
            hf_test_mark(&world);
        hf_test_steps(&world, (unsigned)hf_test_random(&world, 20));
    }
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_test_counts(&world).points, 67);
    hf_test_world_done(&world);
}

static void kills_and_cuts_at_any_boundary_lose_nothing_and_need_no_pass(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 160; seed++) {
        struct hf_test_world world;

        hf_test_world_make(&world, 2, (uint64_t)64 << 20, seed);
        hf_test_settle(&world);
        hf_test_live(&world, 300);
        hf_test_settle(&world);
        hf_test_assert_right(&world);
        assert_int_equal(hf_test_counts(&world).passes_complete, 1);
        assert_true(hf_test_counts(&world).points > 0);
        hf_test_world_done(&world);
    }
}

static void small_rings_overflow_and_heal_at_any_time(void **state)
{
    uint64_t gaps = 0;

    (void)state;
    for (uint64_t seed = 300; seed < 360; seed++) {
        struct hf_test_world world;

        hf_test_world_make(&world, 2, SMALL_RING_BYTES, seed);
        hf_test_live(&world, 400);
        hf_test_settle(&world);
        hf_test_assert_right(&world);
        gaps += hf_test_counts(&world).gaps;
        hf_test_world_done(&world);
    }
    assert_true(gaps > 60);
}

static void fault_1_overflow_ends_in_gap_pass_and_a_right_replica(void **state)
{
    struct hf_fake_target_counts before, after;
    struct hf_test_world world;
    uint8_t content[4096];

    (void)state;
    hf_test_world_make(&world, 1, SMALL_RING_BYTES, 5);
    hf_test_settle(&world);
    before = hf_test_counts(&world);
    hf_fake_target_cut(world.target, true);
    memset(content, 0xaa, sizeof(content));
    for (unsigned i = 0; i < 128; i++) /* 512 KiB through a ring of 256 KiB */
        hf_fake_write(world.source, 0, i * sizeof(content), content, sizeof(content));
    hf_test_steps(&world, 300);
    assert_int_equal(hf_test_status(&world)->capture_stats.mode, HF_CAPTURE_DIRTY);
    assert_int_equal(hf_test_status(&world)->capture_stats.cause, HF_CAUSE_RING_FULL);
    hf_fake_target_cut(world.target, false);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    after = hf_test_counts(&world);
    assert_int_equal(after.gaps, before.gaps + 1);
    assert_int_equal(after.passes_complete, before.passes_complete + 1);
    /* A6: no more is sent again than what was lost. */
    assert_true(after.pass_bytes - before.pass_bytes < 300 * 1024);
    assert_int_equal(hf_test_status(&world)->dirty_returns, 2);
    hf_test_world_done(&world);
}

static void no_point_can_be_set_while_dirty(void **state)
{
    struct hf_engine_point point;
    struct hf_test_world world;

    (void)state;
    hf_test_world_make(&world, 1, SMALL_RING_BYTES, 6);
    assert_int_equal(hf_engine_mark(world.engine, HF_MARK_CRASH, NULL, &point), -ESTALE);
    hf_test_settle(&world);
    assert_int_equal(hf_engine_mark(world.engine, HF_MARK_CRASH, NULL, &point), 0);
    hf_test_world_done(&world);
}

/* Once, a mark inside a pass was given an identity that never showed up at the target. */
static void no_point_is_promised_inside_a_pass(void **state)
{
    struct hf_engine_point point;
    struct hf_test_world world;
    uint64_t pass;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 6);
    hf_test_settle(&world);
    assert_int_equal(hf_engine_resync(world.engine, false, &pass), 0);
    hf_fake_target_auto_sync(world.target, false);
    world.clock.boot_ns += HF_NS_PER_S;
    hf_test_steps(&world, 20);
    world.clock.boot_ns += HF_NS_PER_S;
    hf_test_steps(&world, 20);
    assert_true(hf_test_status(&world)->pass.active);
    assert_int_equal(hf_engine_mark(world.engine, HF_MARK_CRASH, NULL, &point), -ESTALE);
    hf_fake_target_auto_sync(world.target, true);
    hf_fake_target_sync(world.target);
    hf_test_settle(&world);
    assert_int_equal(hf_engine_mark(world.engine, HF_MARK_CRASH, NULL, &point), 0);
    hf_test_world_done(&world);
}

static void a_failed_write_is_repaired_and_no_point_lies_before_that(void **state)
{
    struct hf_test_world world;
    uint8_t content[4096];
    unsigned handle;
    uint64_t points;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 9);
    hf_test_settle(&world);
    points = hf_test_counts(&world).points;
    world.worker_stopped = true;
    memset(content, 0x22, sizeof(content));
    handle = hf_fake_issue(world.source, 0, 4096, content, sizeof(content));
    hf_fake_complete(world.source, handle, true);
    hf_test_mark(&world); /* the replica has what the disk has not */
    hf_test_steps(&world, 500);
    world.worker_stopped = false;
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_test_counts(&world).points, points);
    hf_test_mark(&world);
    hf_test_settle(&world);
    assert_int_equal(hf_test_counts(&world).points, points + 1);
    hf_test_world_done(&world);
}

static void fault_7_what_is_lost_while_a_pass_begins_is_not_forgotten(void **state)
{
    struct hf_test_world world;
    uint64_t pass;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 27);
    hf_test_settle(&world);
    assert_int_equal(hf_engine_resync(world.engine, false, &pass), 0);
    hf_fake_lose_at_pass_begin(world.source, 0, 65536, 4096, 0x77);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_fake_map_count(world.source, 0, HF_MAP_LOST, HF_GENERATION_CURRENT), 0);
    assert_int_equal(hf_test_status(&world)->passes, 3); /* initial, resync, what was lost */
    hf_test_world_done(&world);
}

static void kill_in_the_next_begin(struct hf_test_world *world)
{
    world->source->die_in_begin = true;
    for (unsigned i = 0; world->source->die_in_begin && i < 10000; i++)
        hf_test_steps(world, 1);
    assert_false(world->source->die_in_begin);
    hf_test_kill(world);
}

static void a_kill_on_the_way_back_to_data_forgets_no_lost_range(void **state)
{
    struct hf_test_world world;
    uint8_t content[4096];

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 31);
    hf_test_settle(&world);
    memset(content, 0x11, sizeof(content));
    hf_fake_go_dirty(world.source, HF_CAUSE_NO_HEARTBEAT);
    hf_fake_write(world.source, 0, 8192, content, sizeof(content));
    kill_in_the_next_begin(&world);
    hf_test_settle(&world);
    assert_true(hf_fake_target_consistent(world.target));
    hf_test_assert_right(&world);
    hf_test_world_done(&world);
}

static void a_kill_while_a_pass_is_replaced_orders_nothing_wrongly(void **state)
{
    struct hf_test_world world;
    uint8_t content[4096];
    uint64_t pass;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 32);
    hf_test_settle(&world);
    world.worker_stopped = true;
    assert_int_equal(hf_engine_resync(world.engine, false, &pass), 0);
    while (hf_test_status(&world)->passes == 1)
        hf_test_steps(&world, 1);
    memset(content, 0x11, sizeof(content));
    hf_fake_write(world.source, 0, 8192, content, sizeof(content)); /* captured in this pass */
    hf_test_steps(&world, 20);
    hf_fake_go_dirty(world.source, HF_CAUSE_NO_HEARTBEAT);
    memset(content, 0x22, sizeof(content));
    hf_fake_write(world.source, 0, 8192, content, sizeof(content)); /* lost after that */
    kill_in_the_next_begin(&world);
    world.worker_stopped = false;
    hf_test_settle(&world);
    assert_true(hf_fake_target_consistent(world.target));
    hf_test_assert_right(&world);
    hf_test_world_done(&world);
}

static void a_loss_without_a_link_ends_the_points_at_once(void **state)
{
    struct hf_fake_target_counts before;
    struct hf_test_world world;
    uint8_t content[4096] = {0};
    unsigned handle;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 29);
    hf_test_settle(&world);
    before = hf_test_counts(&world);
    hf_fake_target_cut(world.target, true);
    handle = hf_fake_issue(world.source, 0, 4096, content, sizeof(content));
    hf_fake_complete(world.source, handle, true);
    world.clock.boot_ns += 150 * HF_NS_PER_MS;
    hf_test_steps(&world, 2);
    hf_test_write(&world); /* behind what tells of the loss */
    hf_fake_target_cut(world.target, false);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_test_counts(&world).gaps, before.gaps + 1);
    hf_test_world_done(&world);
}

static uint64_t unconfirmed(struct hf_test_world *world)
{
    return hf_fake_map_count(world->source, 0, HF_MAP_UNCONFIRMED, HF_GENERATION_OLD) +
           hf_fake_map_count(world->source, 0, HF_MAP_UNCONFIRMED, HF_GENERATION_CURRENT);
}

static void idle(struct hf_test_world *world, unsigned ms)
{
    for (unsigned i = 0; i < ms / 10; i++) {
        world->clock.boot_ns += 10 * HF_NS_PER_MS;
        hf_test_steps(world, 20);
    }
}

static void confirmed_generations_are_cleared(void **state)
{
    struct hf_test_world world;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 10);
    hf_test_settle(&world);
    for (int i = 0; i < 50; i++)
        hf_test_write(&world);
    assert_true(unconfirmed(&world) > 0);
    idle(&world, 3000);
    assert_int_equal(unconfirmed(&world), 0);
    assert_true(hf_test_status(&world)->generations_cleared > 0);
    hf_test_world_done(&world);
}

static void fault_7_nothing_is_cleared_without_an_acknowledgement(void **state)
{
    struct hf_test_world world;
    uint64_t before;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 11);
    hf_test_settle(&world);
    idle(&world, 2000);
    hf_fake_target_auto_sync(world.target, false);
    for (int i = 0; i < 50; i++)
        hf_test_write(&world);
    before = unconfirmed(&world);
    assert_true(before > 0);
    idle(&world, 3000);
    hf_test_kill(&world);
    idle(&world, 3000);
    assert_int_equal(unconfirmed(&world), before);
    assert_true(hf_fake_ring_used(world.source) > 0);
    hf_test_world_done(&world);
}

static void fault_7_a_wrong_digest_clears_nothing_and_means_diverged(void **state)
{
    struct hf_test_world world;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 12);
    hf_test_settle(&world);
    hf_fake_target_auto_sync(world.target, false);
    hf_test_write(&world);
    hf_test_steps(&world, 50);
    hf_fake_target_lie(world.target);
    hf_fake_target_sync(world.target);
    hf_test_steps(&world, 1);
    assert_non_null(strstr(world.last_report, "diverged"));
    hf_fake_target_auto_sync(world.target, true);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_test_status(&world)->captures_begun, 2);
    assert_true(hf_test_counts(&world).hash_requests > 0);
    hf_test_world_done(&world);
}

static void more_questions_of_a_checksum_pass_than_may_be_under_way_are_all_asked(void **state)
{
    const uint64_t large = 4 * HF_TEST_DISK_BYTES;
    struct hf_test_world world;
    uint64_t size;
    unsigned slot;

    (void)state;
    hf_test_world_make(&world, 1, (uint64_t)64 << 20, 30);
    hf_fake_disk_make(world.source, 1, large, &world.disks[1]);
    assert_int_equal(hf_engine_disk_add(world.engine, &world.disks[1], "/dev/d1", &slot), 0);
    world.disk_count = 2;
    hf_test_settle(&world);
    hf_fake_target_forget_stream(world.target);
    hf_fake_target_crash(world.target);
    for (uint64_t at = 0; at < large; at += 131072) /* every second 64 KiB block: 32 questions */
        hf_fake_disk_data(world.source, 1, &size)[at] ^= 0xff;
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_true(hf_test_counts(&world).hash_requests > 32);
    hf_test_world_done(&world);
}

static void lost_by_a_hop_sends_what_was_unconfirmed(void **state)
{
    struct hf_fake_target_counts before, after;
    struct hf_test_world world;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 13);
    hf_test_settle(&world);
    idle(&world, 2000);
    hf_fake_target_auto_sync(world.target, false);
    hf_test_write(&world);
    hf_test_steps(&world, 20);
    before = hf_test_counts(&world);
    hf_fake_target_lose(world.target);
    hf_fake_target_auto_sync(world.target, true);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    after = hf_test_counts(&world);
    assert_int_equal(after.passes_complete, before.passes_complete + 1);
    assert_int_equal(after.gaps, before.gaps + 1);
    assert_true(after.pass_bytes - before.pass_bytes <= 136 * 1024);
    hf_test_world_done(&world);
}

static void lost_by_a_hop_with_nothing_unconfirmed_changes_nothing(void **state)
{
    struct hf_fake_target_counts before;
    struct hf_test_world world;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 27);
    hf_test_settle(&world);
    hf_test_write(&world);
    idle(&world, 3000);
    assert_int_equal(unconfirmed(&world), 0);
    before = hf_test_counts(&world);
    hf_fake_target_lose(world.target);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_test_counts(&world).gaps, before.gaps);
    hf_test_world_done(&world);
}

static void a_newer_epoch_supersedes_this_machine(void **state)
{
    struct hf_test_world world;
    uint64_t sent;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 15);
    hf_test_settle(&world);
    hf_fake_target_raise_epoch(world.target);
    hf_fake_target_crash(world.target);
    idle(&world, 3000);
    assert_int_equal(hf_test_status(&world)->link, HF_UPLINK_SUPERSEDED);
    assert_int_equal(hf_test_status(&world)->capture_stats.mode, HF_CAPTURE_DIRTY);
    sent = hf_test_status(&world)->sent_bytes;
    hf_test_write(&world);
    idle(&world, 30000);
    assert_int_equal(hf_test_status(&world)->sent_bytes, sent);
    hf_test_world_done(&world);
}

static void a_growing_disk_goes_on_without_starting_over(void **state)
{
    struct hf_fake_target_counts before, after;
    struct hf_test_world world;
    uint8_t content[4096];

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 16);
    hf_test_settle(&world);
    before = hf_test_counts(&world);
    memset(content, 0x33, sizeof(content));
    hf_fake_disk_grow(world.source, 0, 2 * HF_TEST_DISK_BYTES);
    hf_fake_write(world.source, 0, HF_TEST_DISK_BYTES + 8192, content, sizeof(content));
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    after = hf_test_counts(&world);
    assert_int_equal(hf_test_status(&world)->captures_begun, 1);
    assert_true(after.pass_bytes - before.pass_bytes <= 65536);
    hf_test_world_done(&world);
}

static void an_added_disk_does_not_disturb_the_others(void **state)
{
    struct hf_test_world world;
    uint8_t content[4096];
    unsigned slot;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 17);
    hf_test_settle(&world);
    hf_fake_disk_make(world.source, 1, HF_TEST_DISK_BYTES, &world.disks[1]);
    assert_int_equal(hf_engine_disk_add(world.engine, &world.disks[1], "/dev/d1", &slot), 0);
    world.disk_count = 2;
    memset(content, 0x44, sizeof(content));
    hf_fake_write(world.source, 1, 8192, content, sizeof(content));
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_test_status(&world)->captures_begun, 1);
    assert_int_equal(hf_test_counts(&world).gaps, 1); /* the one of the beginning */
    hf_test_world_done(&world);
}

/* Adds a disk while there is no link, with a mark behind it, and kills the agent `steps` after the
 * beginning of the pass. */
static void add_without_link(struct hf_test_world *world, unsigned steps)
{
    struct hf_engine_point point;
    unsigned slot;

    hf_test_world_make(world, 1, RING_BYTES, 28);
    hf_test_settle(world);
    hf_fake_target_cut(world->target, true);
    hf_test_steps(world, 20);
    hf_fake_disk_make(world->source, 1, HF_TEST_DISK_BYTES, &world->disks[1]);
    assert_int_equal(hf_engine_disk_add(world->engine, &world->disks[1], "/dev/d1", &slot), 0);
    world->disk_count = 2;
    (void)hf_engine_mark(world->engine, HF_MARK_CRASH, NULL, &point);
    hf_test_steps(world, 20);
    hf_fake_target_cut(world->target, false);
    while (hf_test_status(world)->passes == 1)
        hf_test_steps(world, 1);
    hf_test_steps(world, steps);
    hf_test_kill(world);
}

static void points_go_on_after_a_disk_was_added_without_a_link_and_a_mark_set(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 40; steps++) {
        struct hf_test_world world;
        uint64_t points;

        add_without_link(&world, steps);
        hf_test_settle(&world);
        assert_true(hf_fake_target_consistent(world.target));
        points = hf_test_counts(&world).points;
        hf_test_mark(&world);
        hf_test_settle(&world);
        assert_int_equal(hf_test_counts(&world).points, points + 1);
        hf_test_assert_right(&world);
        hf_test_world_done(&world);
    }
}

static void a_removed_disk_leaves_the_rest_protected(void **state)
{
    struct hf_test_world world;
    unsigned slot;

    (void)state;
    hf_test_world_make(&world, 2, RING_BYTES, 18);
    hf_test_settle(&world);
    assert_int_equal(hf_engine_disk_remove(world.engine, &world.disks[0], &slot), 0);
    assert_int_equal(hf_engine_disk_remove(world.engine, &world.disks[0], &slot), -ENOENT);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_test_status(&world)->disk_count, 1);
    hf_test_world_done(&world);
}

static void without_credit_everything_waits_in_the_ring(void **state)
{
    struct hf_test_world world;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 23);
    hf_test_settle(&world);
    hf_fake_target_credit(world.target, 0);
    for (int i = 0; i < 20; i++) {
        hf_test_write(&world);
        hf_test_steps(&world, 10);
    }
    assert_true(hf_fake_ring_used(world.source) > 0);
    hf_fake_target_credit(world.target, UINT64_MAX);
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_test_counts(&world).passes_complete, 1);
    hf_test_world_done(&world);
}

static void lag_is_measured_from_write_to_durable(void **state)
{
    struct hf_test_world world;
    struct hf_engine_status *status;
    uint64_t before;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 24);
    hf_test_settle(&world);
    before = hf_test_status(&world)->lag.total;
    hf_fake_target_auto_sync(world.target, false);
    hf_test_write(&world);
    hf_test_steps(&world, 30);
    world.clock.boot_ns += 2 * HF_NS_PER_S;
    hf_fake_target_sync(world.target);
    hf_test_steps(&world, 2);
    status = hf_test_status(&world);
    assert_true(status->lag.total > before);
    assert_true(status->lag.max_us >= 2000000);
    hf_test_world_done(&world);
}

static void fault_39_a_wall_clock_that_jumps_changes_no_order(void **state)
{
    struct hf_test_world world;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 25);
    hf_test_settle(&world);
    for (int i = 0; i < 40; i++) {
        hf_test_write(&world);
        world.clock.wall_ns += (int64_t)(i % 2 ? -3600 : 7200) * (int64_t)HF_NS_PER_S;
        hf_test_mark(&world);
        hf_test_steps(&world, 5);
    }
    hf_test_settle(&world);
    hf_test_assert_right(&world);
    assert_int_equal(hf_test_counts(&world).points, 40);
    hf_test_world_done(&world);
}

static void a_description_travels_once_per_change(void **state)
{
    struct hf_test_world world;
    uint64_t captured;

    (void)state;
    hf_test_world_make(&world, 1, RING_BYTES, 26);
    hf_test_settle(&world);
    assert_int_equal(hf_engine_describe(world.engine, "{\"hostname\": \"a\"}"), 0);
    hf_test_settle(&world);
    captured = hf_test_status(&world)->seq_captured;
    assert_int_equal(hf_engine_describe(world.engine, "{\"hostname\": \"a\"}"), 0);
    world.clock.boot_ns += HF_NS_PER_S;
    hf_test_steps(&world, 10);
    assert_int_equal(hf_test_status(&world)->seq_captured, captured);
    hf_test_kill(&world);
    assert_int_equal(hf_engine_describe(world.engine, "{\"hostname\": \"b\"}"), 0);
    world.clock.boot_ns += HF_NS_PER_S;
    hf_test_steps(&world, 10);
    assert_true(hf_test_status(&world)->seq_captured > captured);
    hf_test_world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_initial_pass_makes_the_replica_equal),
        cmocka_unit_test(every_point_equals_the_source_at_its_moment),
        cmocka_unit_test(kills_and_cuts_at_any_boundary_lose_nothing_and_need_no_pass),
        cmocka_unit_test(small_rings_overflow_and_heal_at_any_time),
        cmocka_unit_test(fault_1_overflow_ends_in_gap_pass_and_a_right_replica),
        cmocka_unit_test(no_point_can_be_set_while_dirty),
        cmocka_unit_test(no_point_is_promised_inside_a_pass),
        cmocka_unit_test(a_failed_write_is_repaired_and_no_point_lies_before_that),
        cmocka_unit_test(fault_7_what_is_lost_while_a_pass_begins_is_not_forgotten),
        cmocka_unit_test(a_kill_on_the_way_back_to_data_forgets_no_lost_range),
        cmocka_unit_test(a_kill_while_a_pass_is_replaced_orders_nothing_wrongly),
        cmocka_unit_test(a_loss_without_a_link_ends_the_points_at_once),
        cmocka_unit_test(confirmed_generations_are_cleared),
        cmocka_unit_test(fault_7_nothing_is_cleared_without_an_acknowledgement),
        cmocka_unit_test(fault_7_a_wrong_digest_clears_nothing_and_means_diverged),
        cmocka_unit_test(more_questions_of_a_checksum_pass_than_may_be_under_way_are_all_asked),
        cmocka_unit_test(lost_by_a_hop_sends_what_was_unconfirmed),
        cmocka_unit_test(lost_by_a_hop_with_nothing_unconfirmed_changes_nothing),
        cmocka_unit_test(a_newer_epoch_supersedes_this_machine),
        cmocka_unit_test(a_growing_disk_goes_on_without_starting_over),
        cmocka_unit_test(an_added_disk_does_not_disturb_the_others),
        cmocka_unit_test(points_go_on_after_a_disk_was_added_without_a_link_and_a_mark_set),
        cmocka_unit_test(a_removed_disk_leaves_the_rest_protected),
        cmocka_unit_test(without_credit_everything_waits_in_the_ring),
        cmocka_unit_test(lag_is_measured_from_write_to_durable),
        cmocka_unit_test(fault_39_a_wall_clock_that_jumps_changes_no_order),
        cmocka_unit_test(a_description_travels_once_per_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
