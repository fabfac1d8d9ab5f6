// SPDX-License-Identifier: Apache-2.0
/*
 * Time and randomness come in through these two interfaces, so that every protocol and store can
 * run under the simulator. Order in Holdfast is by sequence; wall time is only ever a label.
 */
#ifndef HF_BASE_CLOCK_H
#define HF_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

struct hf_clock {
    const struct hf_clock_ops *ops;
};

struct hf_clock_ops {
    uint64_t (*boot_ns)(struct hf_clock *clock); /* CLOCK_BOOTTIME: monotonic, counts suspend */
    int64_t (*wall_ns)(struct hf_clock *clock);  /* CLOCK_REALTIME: may step */
    void (*sleep_ns)(struct hf_clock *clock,
                     uint64_t duration_ns); /* blocks (simulated: advances) */
};

struct hf_random {
    const struct hf_random_ops *ops;
};

struct hf_random_ops {
    int (*fill)(struct hf_random *random, void *data, size_t size); /* 0 or negative errno */
};

/* The machine's clock and getrandom(2). Static, shared, any thread. */
struct hf_clock *hf_clock_system(void);
struct hf_random *hf_random_system(void);

/* A clock that stands still until it is moved, and a generator that repeats for a seed (tests,
 * simulator). One thread. */
struct hf_clock_manual {
    struct hf_clock clock;
    uint64_t boot_ns;
    int64_t wall_ns;
};
void hf_clock_manual_init(struct hf_clock_manual *manual, uint64_t boot_ns, int64_t wall_ns);

struct hf_random_seeded {
    struct hf_random random;
    uint64_t state[4];
};
/* The same seed gives the same numbers, on every machine. Not for secrets. */
void hf_random_seeded_init(struct hf_random_seeded *seeded, uint64_t seed);
uint64_t hf_random_seeded_next(
    struct hf_random_seeded *seeded); /* uniform 64 bits (xoshiro256**, Blackman & Vigna 2018) */

#endif
