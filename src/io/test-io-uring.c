// SPDX-License-Identifier: Apache-2.0
#include "base/test-support.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "io/io.h"
#include "io/test-backends.h"

#define RW (HF_OPEN_READ | HF_OPEN_WRITE)
#define THREADS 7 /* more than there are rings */
#define ROUNDS 40
#define BLOCK 4096

static struct test_backend backend = {.name = "uring"};

static void fill(char *data, int thread, int round)
{
    for (size_t i = 0; i < HF_IO_BATCH_MAX; i++)
        memset(data + i * BLOCK, thread * 31 + round + (int)i, BLOCK);
}

static int run_batch(struct hf_file *file, int kind, char *data)
{
    struct hf_io_op ops[HF_IO_BATCH_MAX];

    for (size_t i = 0; i < HF_IO_BATCH_MAX; i++)
        ops[i] = (struct hf_io_op){kind, file, data + i * BLOCK, BLOCK, i * BLOCK, 1};
    return hf_io_run(backend.io, ops, HF_IO_BATCH_MAX);
}

/* Returns NULL when every round came back as written. */
static void *write_and_read(void *context)
{
    int thread = *(int *)context, error = 0;
    char *data = malloc(HF_IO_BATCH_MAX * BLOCK), *back = malloc(HF_IO_BATCH_MAX * BLOCK);
    struct hf_file *file = NULL;
    char name[16];

    snprintf(name, sizeof(name), "f%d", thread);
    error = hf_io_open(backend.io, name, RW | HF_OPEN_CREATE, &file);
    for (int round = 0; !error && round < ROUNDS; round++) {
        fill(data, thread, round);
        error = run_batch(file, HF_IO_WRITE, data);
        memset(back, 0, HF_IO_BATCH_MAX * BLOCK);
        if (!error)
            error = run_batch(file, HF_IO_READ, back);
        if (!error && memcmp(data, back, HF_IO_BATCH_MAX * BLOCK) != 0)
            error = -EIO;
    }
    hf_io_close(file);
    free(data);
    free(back);
    return error ? context : NULL;
}

static void more_threads_than_rings_run_batches_side_by_side(void **state)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];

    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_read, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed = &failed;

        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

static void a_batch_larger_than_the_ring_is_fed_piece_by_piece(void **state)
{
    struct hf_io *shallow;
    struct hf_file *file = NULL;
    char data[HF_IO_BATCH_MAX];
    struct hf_io_op ops[HF_IO_BATCH_MAX];

    assert_int_equal(hf_io_uring_new(backend.directory, 1, &shallow), 0);
    assert_int_equal(hf_io_open(shallow, "f", RW | HF_OPEN_CREATE, &file), 0);
    for (size_t i = 0; i < HF_IO_BATCH_MAX; i++) {
        data[i] = (char)i;
        ops[i] = (struct hf_io_op){HF_IO_WRITE, file, &data[i], 1, i, 1};
    }
    assert_int_equal(hf_io_run(shallow, ops, HF_IO_BATCH_MAX), 0);
    memset(data, 0, sizeof(data));
    assert_int_equal(hf_io_read_full(file, data, sizeof(data), 0), 0);
    for (size_t i = 0; i < HF_IO_BATCH_MAX; i++)
        assert_int_equal(data[i], i);
    hf_io_close(file);
    hf_io_free(shallow);
}

static void a_wrong_depth_or_root_is_refused(void **state)
{
    struct hf_io *io = NULL;

    assert_int_equal(hf_io_uring_new(backend.directory, 0, &io), -EINVAL);
    assert_int_equal(hf_io_uring_new(backend.directory, HF_IO_BATCH_MAX + 1, &io), -EINVAL);
    assert_int_equal(hf_io_uring_new("/nowhere/at/all", 4, &io), -ENOENT);
    assert_int_equal(hf_io_best_new("/nowhere/at/all", &io), -ENOENT);
    assert_null(io);
}

static void the_best_back_end_works(void **state)
{
    struct hf_io *io;
    struct hf_file *file = NULL;

    assert_int_equal(hf_io_best_new(backend.directory, &io), 0);
    assert_int_equal(hf_io_open(io, "f", RW | HF_OPEN_CREATE, &file), 0);
    assert_int_equal(hf_io_write(file, "a", 1, 0), 0);
    assert_int_equal(hf_io_sync(file), 0);
    hf_io_close(file);
    hf_io_free(io);
}

static int setup(void **state)
{
    return test_backend_open(&backend);
}

static int teardown(void **state)
{
    test_backend_close(&backend);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(more_threads_than_rings_run_batches_side_by_side),
        TEST(a_batch_larger_than_the_ring_is_fed_piece_by_piece),
        TEST(a_wrong_depth_or_root_is_refused),
        TEST(the_best_back_end_works),
    };
    int error = test_backend_open(&backend);

    if (error == -ENOSYS || error == -EPERM) {
        printf("skipped: this kernel refuses io_uring: %s\n", hf_strerror(error));
        return 77;
    }
    if (error)
        return 1;
    test_backend_close(&backend);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
