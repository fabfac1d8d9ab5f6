// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/base.h"

/* ---- The machine's own ---- */

static uint64_t read_clock_ns(clockid_t id)
{
    struct timespec now;

    HF_ASSERT(clock_gettime(id, &now) == 0);
    return (uint64_t)now.tv_sec * HF_NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t system_boot_ns(struct hf_clock *clock)
{
    return read_clock_ns(CLOCK_BOOTTIME);
}

static int64_t system_wall_ns(struct hf_clock *clock)
{
    return (int64_t)read_clock_ns(CLOCK_REALTIME);
}

static void system_sleep_ns(struct hf_clock *clock, uint64_t duration_ns)
{
    struct timespec left = {.tv_sec = (time_t)(duration_ns / HF_NS_PER_S),
                            .tv_nsec = (long)(duration_ns % HF_NS_PER_S)};

    while (clock_nanosleep(CLOCK_BOOTTIME, 0, &left, &left) == EINTR)
        ;
}

struct hf_clock *hf_clock_system(void)
{
    static const struct hf_clock_ops ops = {system_boot_ns, system_wall_ns, system_sleep_ns};
    static struct hf_clock clock = {&ops};

    return &clock;
}

static int system_fill(struct hf_random *random, void *data, size_t size)
{
    uint8_t *next = data;

    while (size > 0) {
        ssize_t got = getrandom(next, size, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        next += got;
        size -= (size_t)got;
    }
    return 0;
}

struct hf_random *hf_random_system(void)
{
    static const struct hf_random_ops ops = {system_fill};
    static struct hf_random random = {&ops};

    return &random;
}

/* ---- Moved by hand ---- */

static uint64_t manual_boot_ns(struct hf_clock *clock)
{
    return ((struct hf_clock_manual *)clock)->boot_ns;
}

static int64_t manual_wall_ns(struct hf_clock *clock)
{
    return ((struct hf_clock_manual *)clock)->wall_ns;
}

static void manual_sleep_ns(struct hf_clock *clock, uint64_t duration_ns)
{
    struct hf_clock_manual *manual = (struct hf_clock_manual *)clock;

    manual->boot_ns += duration_ns;
    manual->wall_ns += (int64_t)duration_ns;
}

void hf_clock_manual_init(struct hf_clock_manual *manual, uint64_t boot_ns, int64_t wall_ns)
{
    static const struct hf_clock_ops ops = {manual_boot_ns, manual_wall_ns, manual_sleep_ns};

    *manual = (struct hf_clock_manual){{&ops}, boot_ns, wall_ns};
}

/* ---- Repeatable ---- */

static uint64_t rotate_left(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

/* SplitMix64, as the authors of xoshiro recommend for filling its state: never all zeros. */
static uint64_t split_mix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint64_t hf_random_seeded_next(struct hf_random_seeded *seeded)
{
    uint64_t *s = seeded->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

static int seeded_fill(struct hf_random *random, void *data, size_t size)
{
    struct hf_random_seeded *seeded = (struct hf_random_seeded *)random;
    uint8_t *next = data;

    while (size > 0) {
        uint64_t word = hf_random_seeded_next(seeded);
        size_t part = HF_MIN(size, sizeof(word));

        memcpy(next, &word, part);
        next += part;
        size -= part;
    }
    return 0;
}

void hf_random_seeded_init(struct hf_random_seeded *seeded, uint64_t seed)
{
    static const struct hf_random_ops ops = {seeded_fill};

    seeded->random.ops = &ops;
    for (size_t i = 0; i < HF_ARRAY_COUNT(seeded->state); i++)
        seeded->state[i] = split_mix(&seed);
}
