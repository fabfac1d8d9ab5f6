// SPDX-License-Identifier: Apache-2.0
#include "agent/engine-test.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

#define SETTLE_STEPS 200000
#define WRITE_BYTES_MAX ((uint64_t)128 << 10)

static void report(void *context, enum hf_log_level level, const char *text)
{
    struct hf_test_world *world = context;

    (void)level;
    world->reports++;
    snprintf(world->last_report, sizeof(world->last_report), "%s", text);
}

uint64_t hf_test_random(struct hf_test_world *world, uint64_t below)
{
    return hf_random_seeded_next(&world->random) % below;
}

static void fill_random(struct hf_test_world *world, uint8_t *data, uint64_t size)
{
    for (uint64_t i = 0; i < size; i += 8) {
        uint64_t word = hf_random_seeded_next(&world->random);

        memcpy(data + i, &word, 8);
    }
}

void hf_test_world_make(struct hf_test_world *world, unsigned disks, uint64_t ring_bytes,
                        uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    hf_clock_manual_init(&world->clock, 1000 * HF_NS_PER_S, 1700000000 * (int64_t)HF_NS_PER_S);
    hf_random_seeded_init(&world->random, seed);
    assert_int_equal(
        hf_fake_source_new(ring_bytes, &world->clock.clock, &world->random.random, &world->source),
        0);
    assert_int_equal(hf_fake_target_new(&world->clock.clock, &world->target), 0);
    hf_fake_target_watch(world->target, world->source);
    hf_fake_target_auto_sync(world->target, true);
    world->disk_count = disks;
    for (unsigned i = 0; i < disks; i++) {
        uint64_t size;

        hf_fake_disk_make(world->source, i, HF_TEST_DISK_BYTES, &world->disks[i]);
        fill_random(world, hf_fake_disk_data(world->source, i, &size), HF_TEST_DISK_BYTES / 2);
    }
    hf_engine_options_default(&world->options);
    world->options.source = hf_fake_source_source(world->source);
    world->options.reader = hf_fake_source_reader(world->source);
    world->options.link = hf_fake_target_uplink(world->target);
    world->options.clock = &world->clock.clock;
    world->options.random = &world->random.random;
    world->options.batch_bytes = 256 * 1024;
    world->options.dirty_return_ns = 200 * HF_NS_PER_MS;
    world->options.generation_ns = 500 * HF_NS_PER_MS;
    world->options.report = report;
    world->options.context = world;
    snprintf(world->options.machine_name, sizeof(world->options.machine_name), "test");
    world->options.machine.bytes[0] = 1;
    hf_test_start(world);
}

void hf_test_world_done(struct hf_test_world *world)
{
    hf_engine_free(world->engine);
    hf_fake_target_free(world->target);
    hf_fake_source_free(world->source);
}

void hf_test_start(struct hf_test_world *world)
{
    assert_int_equal(hf_engine_new(&world->options, &world->engine), 0);
    for (unsigned i = 0; i < world->disk_count; i++) {
        char path[32];
        unsigned slot;

        snprintf(path, sizeof(path), "/dev/d%u", i);
        assert_int_equal(hf_engine_disk_add(world->engine, &world->disks[i], path, &slot), 0);
    }
}

void hf_test_kill(struct hf_test_world *world)
{
    hf_engine_free(world->engine);
    hf_test_start(world);
}

void hf_test_steps(struct hf_test_world *world, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t wait_ns;
        int work = hf_engine_step(world->engine), pass = 0;

        assert_true(work >= 0);
        if (!world->worker_stopped)
            pass = hf_pass_work(hf_engine_pass(world->engine), &wait_ns);
        assert_true(pass >= 0);
        world->pass_steps += (uint64_t)pass;
        if (!work && !pass)
            world->clock.boot_ns += HF_NS_PER_MS;
    }
}

struct hf_engine_status *hf_test_status(struct hf_test_world *world)
{
    static struct hf_engine_status status;

    hf_engine_get_status(world->engine, &status);
    return &status;
}

static bool settled(struct hf_test_world *world)
{
    struct hf_engine_status *status = hf_test_status(world);

    return status->protected && status->seq_acked == status->seq_captured &&
           hf_fake_ring_used(world->source) == 0;
}

void hf_test_settle(struct hf_test_world *world)
{
    unsigned steps = 0;

    world->clock.boot_ns += HF_NS_PER_S; /* the status is as of the last upkeep */
    hf_test_steps(world, 10);
    while (!settled(world) && steps < SETTLE_STEPS) {
        hf_test_steps(world, 10);
        steps += 10;
    }
    if (!settled(world))
        fail_msg("not settled: protected %d, captured %llu, sent %llu, acked %llu, ring %llu; last "
                 "report: %s",
                 hf_test_status(world)->protected,
                 (unsigned long long)hf_test_status(world)->seq_captured,
                 (unsigned long long)hf_test_status(world)->seq_sent,
                 (unsigned long long)hf_test_status(world)->seq_acked,
                 (unsigned long long)hf_fake_ring_used(world->source), world->last_report);
}

void hf_test_write(struct hf_test_world *world)
{
    static uint8_t content[WRITE_BYTES_MAX];
    unsigned number = (unsigned)hf_test_random(world, world->disk_count);
    uint64_t length = 512 * (1 + hf_test_random(world, 1u << hf_test_random(world, 9)));
    uint64_t size, offset;

    (void)hf_fake_disk_data(world->source, number, &size);
    offset = 512 * hf_test_random(world, (size - length) / 512 + 1);
    fill_random(world, content, length);
    switch (hf_test_random(world, 8)) {
    case 0:
        hf_fake_write(world->source, number, offset, NULL, length);
        break;
    case 1:
        hf_fake_discard(world->source, number, offset, length);
        break;
    default:
        hf_fake_write(world->source, number, offset, content, length);
    }
}

struct hf_fake_target_counts hf_test_counts(struct hf_test_world *world)
{
    struct hf_fake_target_counts counts;

    hf_fake_target_get_counts(world->target, &counts);
    return counts;
}

void hf_test_assert_right(struct hf_test_world *world)
{
    struct hf_fake_target_counts counts = hf_test_counts(world);

    assert_int_equal(counts.points_wrong, 0);
    assert_int_equal(counts.refused, 0);
    assert_true(hf_fake_target_equals(world->target, world->source));
    assert_true(hf_fake_target_consistent(world->target));
}

void hf_test_mark(struct hf_test_world *world)
{
    struct hf_engine_point point;

    (void)hf_engine_mark(world->engine, HF_MARK_CRASH, "t", &point);
}

void hf_test_live(struct hf_test_world *world, unsigned moves)
{
    for (unsigned i = 0; i < moves; i++) {
        switch (hf_test_random(world, 40)) {
        case 0:
            hf_test_kill(world);
            break;
        case 1:
            hf_fake_target_crash(world->target);
            break;
        case 2:
            hf_fake_target_cut(world->target, true);
            hf_test_steps(world, 5);
            hf_fake_target_cut(world->target, false);
            break;
        case 3:
            hf_fake_target_auto_sync(world->target, hf_test_random(world, 2));
            break;
        case 4:
        case 5:
            hf_fake_target_sync(world->target);
            break;
        case 6:
        case 7:
        case 8:
            hf_test_mark(world);
            break;
        case 9:
            world->clock.boot_ns += HF_NS_PER_S;
            break;
        default:
            hf_test_write(world);
        }
        hf_test_steps(world, (unsigned)hf_test_random(world, 6));
    }
    hf_fake_target_cut(world->target, false);
    hf_fake_target_auto_sync(world->target, true);
    hf_fake_target_sync(world->target);
}
