// SPDX-License-Identifier: Apache-2.0
/*
 * Makes a small store with one machine, the same every time, and beside it what its disks must
 * hold: the model's images, which no reader of the store made. The machine's clock is set back by a
 * minute in the middle (fault 39), so that some times name two moments.
 *
 *     make-store STORE EXPECTED     (two directories that exist)
 *
 * EXPECTED/POSITION-DISK.raw for the points listed in EXPECTED/points, a line each: id, position,
 * kind, name.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/store-test.h"

#define DISKS 2
#define SEED 20231114
#define DESCRIPTION                                                                                \
    "{\"name\": \"db1\", \"memory_bytes\": 1073741824, \"processors\": 2, \"firmware\": \"bios\"}"

static int write_image(const char *dir, const struct hf_test_source *source, uint64_t position,
                       uint16_t disk)
{
    static uint8_t image[HF_TEST_DISK_BYTES];
    char path[512];
    FILE *file;
    size_t wrote;

    hf_model_image(&source->model, position, disk, image, sizeof(image));
    snprintf(path, sizeof(path), "%s/%" PRIu64 "-%u.raw", dir, position, disk);
    file = fopen(path, "w");
    if (file == NULL)
        return -errno;
    wrote = fwrite(image, 1, sizeof(image), file);
    return fclose(file) == 0 && wrote == sizeof(image) ? 0 : -EIO;
}

static int make_point(struct hf_test_source *source, const char *dir, FILE *points, uint8_t kind,
                      const char *name)
{
    char text[HF_ID_TEXT_SIZE];
    struct hf_id id;
    int r = hf_test_mark(source, kind, name, &id);

    hf_id_format(&id, text);
    fprintf(points, "%s %" PRIu64 " %s %s\n", text, hf_test_position(source),
            kind == HF_MARK_APP ? "application-consistent" : "crash-consistent",
            name[0] != '\0' ? name : "-");
    for (uint16_t disk = 0; r == 0 && disk < DISKS; disk++)
        r = write_image(dir, source, hf_test_position(source), disk);
    return r == 0 ? hf_test_sync(source) : r;
}

static int work(struct hf_test_source *source, unsigned changes)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < changes; i++) {
        r = hf_test_random_change(source, (uint16_t)(i % DISKS));
        if (r == 0)
            r = hf_test_flush(source);
    }
    return r;
}

/* Ten seconds of work with two points, the clock set back by a minute, seventy seconds more. */
static int make_history(struct hf_test_source *source, const char *dir, FILE *points)
{
    int r = hf_test_protect(source, DISKS);

    if (r == 0)
        r = hf_test_describe(source, 2, DESCRIPTION);
    if (r == 0)
        r = work(source, 50);
    if (r == 0)
        r = make_point(source, dir, points, HF_MARK_CRASH, "");
    if (r == 0)
        r = work(source, 50);
    if (r == 0)
        r = make_point(source, dir, points, HF_MARK_APP, "before-upgrade");
    source->test->clock.wall_ns -= 60 * (int64_t)HF_NS_PER_S;
    if (r == 0)
        r = work(source, 700);
    if (r == 0)
        r = make_point(source, dir, points, HF_MARK_CRASH, "last");
    return r;
}

int main(int argc, char **argv)
{
    struct hf_test_store test;
    struct hf_test_source source;
    struct hf_io *io = NULL;
    char path[512];
    FILE *points;
    int r;

    if (argc != 3) {
        fprintf(stderr, "usage: make-store STORE EXPECTED\n");
        return 2;
    }
    snprintf(path, sizeof(path), "%s/points", argv[2]);
    points = fopen(path, "w");
    r = points == NULL ? -errno : hf_io_file_new(argv[1], &io);
    if (r == 0) {
        hf_test_store_init(&test, io, SEED);
        r = hf_test_store_open(&test);
    }
    if (r == 0)
        r = hf_machine_name_set(test.machine, "db1");
    if (r == 0) {
        hf_test_source_init(&source, &test, SEED);
        r = make_history(&source, argv[2], points);
        hf_test_source_done(&source);
        hf_test_store_close(&test);
    }
    if (points != NULL && fclose(points) != 0 && r == 0)
        r = -EIO;
    hf_io_free(io);
    if (r < 0)
        fprintf(stderr, "make-store: %s\n", hf_strerror(r));
    return r < 0;
}
