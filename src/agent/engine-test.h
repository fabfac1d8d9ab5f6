// SPDX-License-Identifier: Apache-2.0
/* A machine, a target and an engine between them, all in memory and stepped by hand. */
#ifndef HF_AGENT_ENGINE_TEST_H
#define HF_AGENT_ENGINE_TEST_H

#include "agent/engine.h"
#include "agent/fake-target.h"

#define HF_TEST_DISK_BYTES ((uint64_t)1 << 20)

struct hf_test_world {
    struct hf_clock_manual clock;
    struct hf_random_seeded random;
    struct hf_fake_source *source;
    struct hf_fake_target *target;
    struct hf_engine *engine;
    struct hf_engine_options options;
    struct hf_disk_identity disks[4];
    unsigned disk_count;
    char last_report[HF_ENGINE_TEXT_MAX];
    unsigned reports;
    uint64_t pass_steps; /* of the worker, that did something */
    bool worker_stopped;
};

/* A machine with `disks` disks of HF_TEST_DISK_BYTES and random content, an empty target that
 * syncs after every batch, and an engine that has them; nothing stepped yet. */
void hf_test_world_make(struct hf_test_world *world, unsigned disks, uint64_t ring_bytes,
                        uint64_t seed);
void hf_test_world_done(struct hf_test_world *world);

/* Steps everything; the clock moves when nothing else does. */
void hf_test_steps(struct hf_test_world *world, unsigned count);
/* Until all that was captured is acknowledged and the engine calls itself protected. Fails the test
 * after a bounded number of steps. */
void hf_test_settle(struct hf_test_world *world);

/* kill -9, and a new agent on the same capture. */
void hf_test_kill(struct hf_test_world *world);
void hf_test_start(struct hf_test_world *world);

/* A write of random content somewhere, of 512 bytes to 128 KiB. */
void hf_test_write(struct hf_test_world *world);
void hf_test_mark(struct hf_test_world *world); /* a crash-consistent point, if it can be */
/* One random life of so many moves: writes, marks, kills, cuts, power cuts of the target. */
void hf_test_live(struct hf_test_world *world, unsigned moves);
/* Below `below`. */
uint64_t hf_test_random(struct hf_test_world *world, uint64_t below);
struct hf_engine_status *hf_test_status(struct hf_test_world *world); /* borrowed */
struct hf_fake_target_counts hf_test_counts(struct hf_test_world *world);
/* Replica equal, no wrong point, nothing refused. */
void hf_test_assert_right(struct hf_test_world *world);

#endif
