// SPDX-License-Identifier: Apache-2.0
/*
 * Random histories against the naive model: writes, zeros, discards, resizes, passes of every kind,
 * gaps, added and removed disks, reboots, merges, closing and opening. In the end of each, and now
 * and then on the way, random positions are opened and compared byte for byte.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/reader-internal.h"
#include "store/store-test.h"

struct run {
    struct hf_io *io;
    struct hf_test_store store;
    struct hf_test_source source;
    size_t points;
};

static uint64_t draw(struct run *run, uint64_t below)
{
    return hf_random_seeded_next(&run->source.random) % below;
}

static uint64_t present(struct run *run)
{
    uint64_t mask = 0;
    struct hf_machine_disk disk;

    for (uint16_t i = 0; i < 4; i++) {
        if (hf_machine_disk_info(run->store.machine, i, &disk) == 0)
            mask |= UINT64_C(1) << i;
    }
    return mask;
}

static int whole_pass(struct run *run, uint8_t kind, uint16_t flags, uint64_t mask)
{
    int r = hf_test_pass_begin(&run->source, kind, flags, mask);

    if (r == 0)
        r = hf_test_random_change(&run->source, 0);
    if (r == 0 && draw(run, 3) == 0)
        r = hf_test_sync(&run->source);
    if (r == 0)
        r = hf_test_pass_all(&run->source);
    if (r == 0)
        r = hf_test_pass_end(&run->source, true);
    return r == 0 ? hf_test_sync(&run->source) : r;
}

static int gap(struct run *run)
{
    int r = hf_test_gap(&run->source);

    if (r == 0 && draw(run, 2) == 0) { /* a pass that is given up */
        r = hf_test_pass_begin(&run->source, HF_PASS_MAP, 0, present(run));
        if (r == 0)
            r = hf_test_pass_data(&run->source, 0, draw(run, 8) * 4096, 4096, false);
        if (r == 0)
            r = hf_test_gap(&run->source);
    }
    return r == 0 ? whole_pass(run, HF_PASS_MAP, 0, present(run)) : r;
}

static int reboot(struct run *run)
{
    uint64_t mask = present(run);
    int r = hf_test_sync(&run->source);

    if (r == 0)
        r = hf_test_stream(&run->source);
    for (uint16_t i = 0; r == 0 && i < 4; i++) {
        if (mask >> i & 1)
            r = hf_test_disk(&run->source, HF_DISK_ADD, i, run->source.disk_size[i]);
    }
    return r == 0 ? whole_pass(run, HF_PASS_HASH, 0, mask) : r;
}

static int add_or_remove(struct run *run)
{
    uint16_t disk = (uint16_t)(2 + draw(run, 2));
    int r;

    if (present(run) >> disk & 1)
        return hf_test_disk(&run->source, HF_DISK_REMOVE, disk, 0);
    r = hf_test_disk(&run->source, HF_DISK_ADD, disk, (8 + draw(run, 256)) * HF_SECTOR);
    if (r == 0)
        r = hf_test_random_change(&run->source, disk);
    return r == 0 ? whole_pass(run, HF_PASS_FULL, HF_PASS_ADDED_DISK, UINT64_C(1) << disk) : r;
}

static int resize(struct run *run)
{
    uint64_t size = HF_TEST_DISK_BYTES / 2 + draw(run, HF_TEST_DISK_BYTES / 1024) * HF_SECTOR;

    return hf_test_disk(&run->source, HF_DISK_RESIZE, (uint16_t)draw(run, 2), size);
}

static int reopen(struct run *run)
{
    int r = hf_test_sync(&run->source);

    hf_test_store_close(&run->store);
    if (r == 0)
        r = hf_test_store_open(&run->store);
    if (r == 0)
        hf_test_rewind(&run->source);
    return r;
}

static int one_step(struct run *run)
{
    switch (draw(run, 40)) {
    case 0:
        return gap(run);
    case 1:
        return reboot(run);
    case 2:
        return add_or_remove(run);
    case 3:
        return resize(run);
    case 4:
        return reopen(run);
    case 5:
    case 6:
        return hf_test_maintain(&run->source);
    case 7:
        return hf_machine_maintain(run->store.machine, 4 * HF_KIB) < 0 ? -EIO : 0;
    case 8:
        return hf_test_mark(&run->source, HF_MARK_CRASH, "random", NULL);
    case 9:
    case 10:
    case 11:
        return hf_test_sync(&run->source);
    default:
        return hf_test_random_change(&run->source, (uint16_t)draw(run, 2));
    }
}

static const char *compare_random(struct run *run, unsigned count)
{
    struct hf_machine_reader *reader;
    const char *wrong = NULL;
    uint64_t from, span;

    if (hf_test_sync(&run->source) < 0)
        return "the machine cannot be synced";
    if (hf_machine_reader_open(run->store.store, &run->store.id, &reader) < 0)
        return "the machine cannot be read";
    from = reader->timeline.oldest > 64 ? reader->timeline.oldest - 64 : 0;
    span = reader->timeline.newest + 64 - from;
    for (unsigned i = 0; wrong == NULL && i < count; i++) {
        uint64_t position = from + draw(run, span);

        wrong = hf_test_compare(&run->source, reader, position);
        run->points += wrong == NULL && hf_timeline_is_openable(&reader->timeline, position);
    }
    hf_machine_reader_close(reader);
    return wrong;
}

static const char *history(struct run *run, uint64_t seed, unsigned steps)
{
    const char *wrong = NULL;
    int r;

    hf_test_store_init(&run->store, run->io, seed);
    run->store.options.retention.window_ns = (1 + seed % 5) * HF_NS_PER_S;
    hf_test_source_init(&run->source, &run->store, seed);
    r = hf_test_store_open(&run->store);
    if (r == 0)
        r = hf_test_protect(&run->source, 2);
    for (unsigned i = 0; r == 0 && wrong == NULL && i < steps; i++) {
        r = one_step(run);
        if (r == 0 && i % 100 == 99)
            wrong = compare_random(run, 10);
    }
    if (r < 0) {
        printf("a step fails: %s\n", hf_strerror(r));
        return "a step fails";
    }
    return wrong == NULL ? compare_random(run, 40) : wrong;
}

static const char *run_seed(uint64_t seed, unsigned steps, size_t *points)
{
    struct run run = {0};
    const char *wrong;

    HF_ASSERT(hf_io_memory_new(&run.io) == 0);
    wrong = history(&run, seed, steps);
    *points += run.points;
    hf_test_source_done(&run.source);
    hf_test_store_close(&run.store);
    hf_io_free(run.io);
    return wrong;
}

/* usage: test-store-random [SEEDS [FIRST]] */
int main(int argc, char **argv)
{
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 15;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    size_t points = 0;

    for (uint64_t seed = first; seed < first + seeds; seed++) {
        const char *wrong = run_seed(seed, 400, &points);

        if (wrong == NULL)
            continue;
        printf("seed %llu: %s\n", (unsigned long long)seed, wrong);
        return 1;
    }
    printf("%llu histories, %zu points compared\n", (unsigned long long)seeds, points);
    return points < 20 * seeds;
}
