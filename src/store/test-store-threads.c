// SPDX-License-Identifier: Apache-2.0
/* A3: a view never changes, whatever a writer does beside it. One thread writes, syncs, merges and
 * drops as fast as it can; readers open points, read them again and again, and compare. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/reader-internal.h"
#include "store/store-test.h"

#define READERS 3
#define READS_PER_VIEW 12
#define DISK_BYTES ((size_t)HF_TEST_DISK_BYTES)

struct shared {
    struct hf_store *store; /* the readers' handle: with the system's clock and randomness */
    struct hf_id id;
    _Atomic bool stop;
    _Atomic bool failed;
    _Atomic unsigned views;
    _Atomic unsigned reads;
    _Atomic unsigned too_late; /* merged away between choosing and opening */
};

static void complain(struct shared *shared, const char *what, int error)
{
    fprintf(stderr, "%s: %s\n", what, hf_strerror(error));
    shared->failed = true;
}

static uint64_t choose_point(struct shared *shared, unsigned *seed)
{
    struct hf_machine_reader *reader;
    uint64_t oldest, newest, position = 0;

    if (hf_machine_reader_open(shared->store, &shared->id, &reader) < 0)
        return 0;
    oldest = reader->timeline.oldest;
    newest = reader->timeline.newest;
    if (newest > oldest)
        hf_timeline_last_openable(&reader->timeline,
                                  oldest + (uint64_t)rand_r(seed) % (newest - oldest), &position);
    hf_machine_reader_close(reader);
    return position;
}

/* Two readers of one view at once would need a second thread each; different offsets stand in. */
static int read_disk(struct hf_view *view, uint8_t *content, unsigned *seed)
{
    size_t cut = (size_t)rand_r(seed) % DISK_BYTES;
    int r = hf_view_read(view, 0, cut, content + cut, DISK_BYTES - cut);

    return r < 0 ? r : hf_view_read(view, 0, 0, content, cut);
}

static void use_view(struct shared *shared, struct hf_view *view, unsigned *seed)
{
    static _Thread_local uint8_t first[DISK_BYTES], again[DISK_BYTES];
    int r = read_disk(view, first, seed);

    for (unsigned i = 0; r == 0 && i < READS_PER_VIEW && !shared->stop; i++) {
        r = read_disk(view, again, seed);
        shared->reads++;
        if (r == 0 && memcmp(first, again, DISK_BYTES) != 0) {
            fprintf(stderr, "a view has changed\n");
            shared->failed = true;
        }
    }
    if (r < 0)
        complain(shared, "a view cannot be read", r);
}

static void *reader_main(void *context)
{
    struct shared *shared = context;
    unsigned seed = (unsigned)(uintptr_t)&seed;

    while (!shared->stop && !shared->failed) {
        struct hf_view_options options = {.position = choose_point(shared, &seed)};
        struct hf_view *view;
        int r = options.position == 0 ? -HF_EPRUNED
                                      : hf_view_open(shared->store, &shared->id, &options, &view);

        if (r == -HF_EPRUNED || r == -EAGAIN) {
            shared->too_late++;
            continue;
        }
        if (r < 0) {
            complain(shared, "a view cannot be opened", r);
            break;
        }
        shared->views++;
        use_view(shared, view, &seed);
        hf_view_close(view);
    }
    return NULL;
}

/* Newest-state hashes from a thread beside the appends, as a target's connection asks for them. */
static void *hasher_main(void *context)
{
    struct hf_test_source *source = ((void **)context)[0];
    struct shared *shared = ((void **)context)[1];
    struct hf_hash128 hashes[DISK_BYTES / 65536];

    while (!shared->stop && !shared->failed) {
        int r = hf_machine_hashes(source->test->machine, 0, 0, 65536, DISK_BYTES / 65536, hashes);

        if (r < 0)
            complain(shared, "hashes cannot be had", r);
    }
    return NULL;
}

static int write_for_a_while(struct hf_test_source *source, unsigned rounds, struct shared *shared)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < rounds && !shared->failed; i++) {
        for (unsigned k = 0; r == 0 && k < 10; k++)
            r = hf_test_random_change(source, 0);
        if (r == 0)
            r = hf_test_sync(source);
        if (r == 0)
            r = hf_machine_maintain(source->test->machine, 128 * HF_KIB);
        if (r == 1)
            r = 0;
    }
    return r;
}

/* Kept hashes equal those that are computed from scratch, and those of the model. */
static const char *check_hashes(struct hf_test_source *source)
{
    struct hf_hash128 kept[DISK_BYTES / 65536], expected;
    static uint8_t image[DISK_BYTES];
    uint64_t secret;

    if (hf_machine_hash_secret(source->test->machine, 0, &secret) < 0 ||
        hf_machine_hashes(source->test->machine, 0, 0, 65536, DISK_BYTES / 65536, kept) < 0)
        return "hashes cannot be had";
    hf_model_image(&source->model, UINT64_MAX, 0, image, sizeof(image));
    for (size_t i = 0; i < DISK_BYTES / 65536; i++) {
        expected = hf_hash128(image + i * 65536, 65536, secret);
        if (hf_hash128_compare(&expected, &kept[i]) != 0)
            return "a kept hash is stale";
    }
    return NULL;
}

static int hammer(struct hf_io *io, unsigned rounds)
{
    struct hf_test_store test;
    struct hf_test_source source;
    struct shared shared = {0};
    pthread_t readers[READERS], hasher;
    void *hasher_context[2] = {&source, &shared};
    struct hf_machine_status status;
    const char *wrong;
    int r;

    hf_test_store_init(&test, io, 11);
    test.options.retention.window_ns = HF_NS_PER_S;
    hf_test_source_init(&source, &test, 12);
    r = hf_test_store_open(&test);
    if (r == 0)
        r = hf_test_protect(&source, 1);
    if (r == 0)
        r = hf_store_open(io, hf_clock_system(), hf_random_system(), &shared.store);
    if (r < 0)
        return r;
    shared.id = test.id;
    for (unsigned i = 0; i < READERS; i++)
        HF_ASSERT(pthread_create(&readers[i], NULL, reader_main, &shared) == 0);
    HF_ASSERT(pthread_create(&hasher, NULL, hasher_main, hasher_context) == 0);
    r = write_for_a_while(&source, rounds, &shared);
    shared.stop = true;
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    pthread_join(hasher, NULL);
    wrong = check_hashes(&source);
    hf_machine_status(test.machine, &status);
    printf("%u views, %u reads, %u too late; merged %llu KiB, %llu merges kept back by leases\n",
           shared.views, shared.reads, shared.too_late,
           (unsigned long long)(status.merged_bytes / HF_KIB),
           (unsigned long long)status.merges_skipped);
    if (wrong != NULL)
        fprintf(stderr, "%s\n", wrong);
    if (r < 0)
        complain(&shared, "the writer", r);
    hf_store_close(shared.store);
    hf_test_source_done(&source);
    hf_test_store_close(&test);
    if (shared.views == 0 || status.merged_bytes == 0 || wrong != NULL)
        shared.failed = true;
    return shared.failed ? -EIO : 0;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 150;
    struct hf_io *io;
    int r;

    HF_ASSERT(hf_io_memory_new(&io) == 0);
    r = hammer(io, rounds);
    hf_io_free(io);
    return r < 0;
}
