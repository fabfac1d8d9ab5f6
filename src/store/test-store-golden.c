// SPDX-License-Identifier: Apache-2.0
/*
 * Stores of every released version open for ever. Argument: the directory that holds store-v1.
 * "write DIRECTORY" makes it anew, for a new version only. It holds a merged part, a journal, a
 * resized disk, a mark and a description, as a writer left it that stopped without closing
 * anything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/reader-internal.h"
#include "store/store-test.h"

#define GOLDEN_MACHINE "00112233445566778899aabbccddeeff"
#define GOLDEN_DISK_BYTES (24u * 1024)
#define GOLDEN_GROWN_BYTES (32u * 1024)
/* What the files say; taken when they were made. */
#define GOLDEN_POSITION 48504
#define GOLDEN_CONTENT_HASH 16710315499958845176ull

/* ---- Making ---- */

static void write_history(struct hf_test_source *source)
{
    HF_ASSERT(hf_test_stream(source) == 0);
    HF_ASSERT(hf_test_disk(source, HF_DISK_ADD, 0, GOLDEN_DISK_BYTES) == 0);
    HF_ASSERT(hf_test_describe(source, 1, "{\"name\":\"golden\"}") == 0);
    HF_ASSERT(hf_test_pass_begin(source, HF_PASS_FULL, 0, 1) == 0);
    HF_ASSERT(hf_test_pass_data(source, 0, 0, 8192, false) == 0);
    HF_ASSERT(hf_test_pass_data(source, 0, 8192, 8192, true) == 0);
    HF_ASSERT(hf_test_pass_data(source, 0, 16384, 8192, false) == 0);
    HF_ASSERT(hf_test_pass_end(source, true) == 0);
    for (unsigned i = 0; i < 40; i++) {
        HF_ASSERT(hf_test_write(source, 0, (i * 5 % 46) * HF_SECTOR, 2 * HF_SECTOR) == 0);
        if (i == 20)
            HF_ASSERT(hf_test_disk(source, HF_DISK_RESIZE, 0, GOLDEN_GROWN_BYTES) == 0);
        if (i == 30)
            HF_ASSERT(hf_test_zero(source, 0, 4096, 4096, false) == 0);
        HF_ASSERT(hf_test_sync(source) == 0);
    }
    HF_ASSERT(hf_test_mark(source, HF_MARK_APP, "golden", NULL) == 0);
    HF_ASSERT(hf_test_sync(source) == 0);
    HF_ASSERT(hf_test_maintain(source) == 0);
    HF_ASSERT(hf_machine_name_set(source->test->machine, "golden") == 0);
}

static int golden_write(const char *directory)
{
    static uint8_t image[GOLDEN_GROWN_BYTES];
    struct hf_test_store test;
    struct hf_test_source source;
    struct hf_io *io;

    HF_ASSERT(hf_io_file_new(directory, &io) == 0);
    hf_test_store_init(&test, io, 1);
    HF_ASSERT(hf_id_parse(GOLDEN_MACHINE, &test.id) == 0);
    test.options.retention.window_ns = 2 * HF_NS_PER_S;
    test.options.segment_bytes = 16 * HF_KIB;
    hf_test_source_init(&source, &test, 2);
    HF_ASSERT(hf_test_store_open(&test) == 0);
    write_history(&source);
    hf_model_image(&source.model, UINT64_MAX, 0, image, sizeof(image));
    printf("position %llu, content hash %llu\n", (unsigned long long)hf_test_position(&source),
           (unsigned long long)hf_hash64(image, sizeof(image)));
    hf_test_source_done(&source);
    hf_test_store_close(&test);
    hf_io_free(io);
    return 0;
}

/* ---- Into memory: the golden files are never written to ---- */

struct copy {
    struct hf_io *from;
    struct hf_io *to;
    char from_path[HF_IO_PATH_MAX / 2];
    char to_path[HF_IO_PATH_MAX / 2];
};

static int copy_file(const struct copy *copy, const char *name)
{
    static uint8_t data[1 << 20];
    char path[HF_IO_PATH_MAX];
    struct hf_file *from = NULL, *to = NULL;
    size_t size = 0;
    int r;

    snprintf(path, sizeof(path), "%s/%s", copy->from_path, name);
    r = hf_io_open(copy->from, path, HF_OPEN_READ, &from);
    if (r < 0)
        return r;
    r = hf_io_read(from, data, sizeof(data), 0, &size);
    hf_io_close(from);
    snprintf(path, sizeof(path), "%s%s%s", copy->to_path, copy->to_path[0] == '\0' ? "" : "/",
             name);
    if (r == 0)
        r = hf_io_open(copy->to, path, HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE, &to);
    if (r < 0)
        return r;
    if (size > 0)
        r = hf_io_write(to, data, size, 0);
    hf_io_close(to);
    return r;
}

static int copy_entry(void *context, const char *name)
{
    const struct copy *copy = context;
    bool is_file = strcmp(name, "machines") != 0 && strcmp(name, "journal") != 0 &&
                   strcmp(name, "leases") != 0 && strncmp(name, "disk-", 5) != 0;

    return is_file ? copy_file(copy, name) : 0;
}

/* The files of one directory of the golden tree; the directory is made. */
static int copy_directory(struct hf_io *from, struct hf_io *to, const char *below)
{
    struct copy copy = {.from = from, .to = to};

    snprintf(copy.from_path, sizeof(copy.from_path), "store-v1%s%s", below[0] == '\0' ? "" : "/",
             below);
    snprintf(copy.to_path, sizeof(copy.to_path), "%s", below);
    if (below[0] != '\0' && hf_io_mkdir(to, below) < 0)
        return -EIO;
    return hf_io_list(from, copy.from_path, copy_entry, &copy);
}

static int copy_golden(const char *directory, struct hf_io *to)
{
    static const char *const directories[] = {"", "machines", "machines/" GOLDEN_MACHINE,
                                              "machines/" GOLDEN_MACHINE "/journal",
                                              "machines/" GOLDEN_MACHINE "/disk-00"};
    struct hf_io *from;
    int r = hf_io_file_new(directory, &from);

    for (size_t i = 0; r == 0 && i < HF_ARRAY_COUNT(directories); i++) {
        if (strcmp(directories[i], "machines") == 0)
            r = hf_io_mkdir(to, directories[i]); /* holds no files */
        else
            r = copy_directory(from, to, directories[i]);
    }
    if (r == 0)
        r = hf_io_mkdir(to, "machines/" GOLDEN_MACHINE "/leases");
    hf_io_free(from);
    return r;
}

/* ---- Opening ---- */

static const char *check_newest(struct hf_store *store, const struct hf_id *id)
{
    static uint8_t image[GOLDEN_GROWN_BYTES];
    struct hf_point point;
    struct hf_machine_reader *reader;
    struct hf_view *view;
    size_t count;
    int r;

    if (hf_machine_reader_open(store, id, &reader) < 0)
        return "the machine cannot be read";
    r = hf_point_find(reader, "latest-app", &point, 1, &count);
    hf_machine_reader_close(reader);
    if (r < 0 || point.position != GOLDEN_POSITION || strcmp(point.name, "golden") != 0)
        return "the mark is not found";
    if (hf_view_open(store, id, &(struct hf_view_options){.position = point.position}, &view) < 0)
        return "the point cannot be opened";
    r = hf_view_read(view, 0, 0, image, sizeof(image));
    hf_view_close(view);
    if (r < 0)
        return "the disk cannot be read";
    return hf_hash64(image, sizeof(image)) == GOLDEN_CONTENT_HASH ? NULL : "the content differs";
}

static const char *check_golden(struct hf_io *io)
{
    struct hf_test_store test;
    const char *wrong;

    hf_test_store_init(&test, io, 3);
    HF_ASSERT(hf_id_parse(GOLDEN_MACHINE, &test.id) == 0);
    if (hf_store_open(io, &test.clock.clock, &test.random.random, &test.store) < 0)
        return "the store cannot be opened";
    wrong = check_newest(test.store, &test.id);
    test.options.create = false;
    if (wrong == NULL &&
        hf_machine_open(test.store, &test.id, &test.options, &test.recovery, &test.machine) < 0)
        wrong = "the writer cannot open it";
    if (wrong == NULL)
        wrong = check_newest(test.store, &test.id);
    hf_test_store_close(&test);
    return wrong;
}

int main(int argc, char **argv)
{
    const char *wrong = "it cannot be copied";
    struct hf_io *memory;

    if (argc == 3 && strcmp(argv[1], "write") == 0)
        return golden_write(argv[2]);
    HF_ASSERT(argc == 2 && hf_io_memory_new(&memory) == 0);
    if (copy_golden(argv[1], memory) == 0)
        wrong = check_golden(memory);
    hf_io_free(memory);
    printf("store-v1: %s\n", wrong == NULL ? "reads as it was written" : wrong);
    return wrong != NULL;
}
