// SPDX-License-Identifier: Apache-2.0
/* What every back end promises, run over the one named on the command line. */
#include "base/test-support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/error.h"
#include "io/io-test.h"
#include "io/io.h"
#include "io/test-backends.h"

#define RW (HF_OPEN_READ | HF_OPEN_WRITE)
#define NEW (RW | HF_OPEN_CREATE | HF_OPEN_EXCLUSIVE)

static struct test_backend backend;
static struct hf_io *io;

static int setup(void **state)
{
    if (test_backend_open(&backend) != 0)
        return -1;
    io = backend.io;
    return 0;
}

static int teardown(void **state)
{
    test_backend_close(&backend);
    return 0;
}

static struct hf_file *open_file(const char *path, unsigned flags)
{
    struct hf_file *file = NULL;

    assert_int_equal(hf_io_open(io, path, flags, &file), 0);
    return file;
}

static uint64_t size_of(struct hf_file *file)
{
    struct hf_io_stat info;

    assert_int_equal(hf_io_stat(file, &info), 0);
    return info.size;
}

/* ---- Content ---- */

static void written_bytes_are_read_back_and_gaps_are_zeros(void **state)
{
    struct hf_file *file = open_file("f", NEW);
    char data[8];
    size_t got = 99;

    assert_int_equal(hf_io_read(file, data, 8, 0, &got), 0);
    assert_int_equal(got, 0);
    assert_int_equal(hf_io_write(file, "abcd", 4, 100000), 0);
    assert_int_equal(size_of(file), 100004);
    assert_int_equal(hf_io_read(file, data, 8, 99998, &got), 0);
    assert_int_equal(got, 6);
    assert_memory_equal(data, "\0\0abcd", 6);
    assert_int_equal(hf_io_read(file, data, 8, 100004, &got), 0);
    assert_int_equal(got, 0);
    assert_int_equal(hf_io_read_full(file, data, 4, 100000), 0);
    assert_int_equal(hf_io_read_full(file, data, 8, 100000), -HF_ECORRUPT);
    assert_int_equal(hf_io_sync(file), 0);
    hf_io_close(file);
}

static void truncating_cuts_and_extends_with_zeros(void **state)
{
    struct hf_file *file = open_file("f", NEW);
    char data[6];

    assert_int_equal(hf_io_write(file, "abcdef", 6, 0), 0);
    assert_int_equal(hf_io_truncate(file, 2), 0);
    assert_int_equal(hf_io_truncate(file, 6), 0);
    assert_int_equal(hf_io_read_full(file, data, 6, 0), 0);
    assert_memory_equal(data, "ab\0\0\0\0", 6);
    hf_io_close(file);
}

static void a_punched_range_reads_as_zeros_and_the_size_stays(void **state)
{
    struct hf_file *file = open_file("f", NEW);
    char *data = malloc(200000);

    memset(data, 'x', 200000);
    assert_int_equal(hf_io_write(file, data, 200000, 0), 0);
    assert_int_equal(hf_io_punch(file, 1000, 150000), 0);
    assert_int_equal(hf_io_punch(file, 199000, 5000), 0);
    assert_int_equal(hf_io_punch(file, 500000, 10), 0);
    assert_int_equal(size_of(file), 200000);
    assert_int_equal(hf_io_read_full(file, data, 200000, 0), 0);
    for (size_t i = 0; i < 200000; i++)
        assert_int_equal(data[i], (i >= 1000 && i < 151000) || i >= 199000 ? 0 : 'x');
    free(data);
    hf_io_close(file);
}

static void allocating_may_enlarge_with_zeros_and_keeps_data(void **state)
{
    struct hf_file *file = open_file("f", NEW);
    char data[4];

    assert_int_equal(hf_io_write(file, "abcd", 4, 0), 0);
    assert_int_equal(hf_io_allocate(file, 2, 65536), 0);
    assert_int_equal(size_of(file), 65538);
    assert_int_equal(hf_io_read_full(file, data, 4, 1), 0);
    assert_memory_equal(data, "bcd\0", 4);
    assert_int_equal(hf_io_allocate(file, 0, 10), 0);
    assert_int_equal(size_of(file), 65538);
    hf_io_close(file);
}

static void walking_the_data_finds_all_that_was_written(void **state)
{
    struct hf_file *file = open_file("f", NEW);
    uint64_t offset = 0, length = 0, from = 0, covered = 0;

    assert_int_equal(hf_io_next_data(file, 0, &offset, &length), -ENXIO);
    assert_int_equal(hf_io_truncate(file, 10 << 20), 0);
    assert_int_equal(hf_io_write(file, "a", 1, 3 << 20), 0);
    assert_int_equal(hf_io_write(file, "b", 1, 7 << 20), 0);
    while (hf_io_next_data(file, from, &offset, &length) == 0) {
        assert_true(offset >= from && length > 0 && offset + length <= 10 << 20);
        for (uint64_t mib = 3; mib <= 7; mib += 4)
            covered += offset <= mib << 20 && offset + length > mib << 20;
        from = offset + length;
    }
    assert_int_equal(covered, 2);
    hf_io_close(file);
}

static void a_direct_file_works_in_aligned_pieces(void **state)
{
    struct hf_file *file = NULL;
    struct hf_io_stat info;
    char *data;
    size_t got;

    if (hf_io_open(io, "f", NEW | HF_OPEN_DIRECT, &file) == -EINVAL) {
        print_message("the file system of the test directory has no O_DIRECT\n");
        return;
    }
    assert_int_equal(hf_io_stat(file, &info), 0);
    assert_true(info.align_bytes > 0 && info.align_bytes <= HF_IO_ALIGN);
    data = aligned_alloc(HF_IO_ALIGN, 2 * HF_IO_ALIGN);
    assert_non_null(data);
    memset(data, 'd', 2 * HF_IO_ALIGN);
    assert_int_equal(hf_io_write(file, data, HF_IO_ALIGN, 0), 0);
    assert_int_equal(hf_io_truncate(file, HF_IO_ALIGN - 5), 0);
    assert_int_equal(hf_io_read(file, data, 2 * HF_IO_ALIGN, 0, &got), 0);
    assert_int_equal(got, HF_IO_ALIGN - 5);
    free(data);
    hf_io_close(file);
}

/* ---- Arguments ---- */

static void bad_paths_flags_and_ranges_are_refused(void **state)
{
    static const char *const bad[] = {"", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/."};
    char long_path[HF_IO_PATH_MAX + 2];
    struct hf_file *file = NULL;

    for (size_t i = 0; i < HF_ARRAY_COUNT(bad); i++) {
        assert_int_equal(hf_io_open(io, bad[i], NEW, &file), -EINVAL);
        assert_int_equal(hf_io_mkdir(io, bad[i]), -EINVAL);
    }
    memset(long_path, 'a', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_int_equal(hf_io_unlink(io, long_path), -EINVAL);
    assert_int_equal(hf_io_open(io, "f", HF_OPEN_CREATE, &file), -EINVAL);
    assert_int_equal(hf_io_open(io, "f", HF_OPEN_READ | HF_OPEN_CREATE, &file), -EINVAL);
    assert_int_equal(hf_io_open(io, "f", RW | HF_OPEN_EXCLUSIVE, &file), -EINVAL);
    file = open_file("...", NEW);
    assert_int_equal(hf_io_write(file, "a", 1, INT64_MAX), -EINVAL);
    assert_int_equal(hf_io_truncate(file, UINT64_MAX), -EINVAL);
    assert_int_equal(hf_io_punch(file, UINT64_MAX, 2), -EINVAL);
    hf_io_close(file);
}

static void a_file_does_only_what_it_was_opened_for(void **state)
{
    struct hf_file *file = open_file("f", HF_OPEN_WRITE | HF_OPEN_CREATE);
    char data[1];
    size_t got;

    assert_int_equal(hf_io_read(file, data, 1, 0, &got), -EBADF);
    assert_int_equal(hf_io_lock(file, HF_LOCK_SHARED), -EBADF);
    hf_io_close(file);
    file = open_file("f", HF_OPEN_READ);
    assert_int_equal(hf_io_write(file, "a", 1, 0), -EBADF);
    assert_int_equal(hf_io_truncate(file, 0), -EBADF);
    assert_int_equal(hf_io_lock(file, HF_LOCK_EXCLUSIVE), -EBADF);
    hf_io_close(file);
    hf_io_close(NULL);
}

/* ---- Names ---- */

static void opening_says_what_is_there(void **state)
{
    struct hf_file *file = NULL;

    assert_int_equal(hf_io_open(io, "f", RW, &file), -ENOENT);
    hf_io_close(open_file("f", NEW));
    assert_int_equal(hf_io_open(io, "f", NEW, &file), -EEXIST);
    hf_io_close(open_file("f", RW | HF_OPEN_CREATE));
    assert_int_equal(hf_io_mkdir(io, "d"), 0);
    assert_int_equal(hf_io_mkdir(io, "d"), -EEXIST);
    assert_int_equal(hf_io_open(io, "d", HF_OPEN_READ, &file), -EISDIR);
    assert_int_equal(hf_io_open(io, "d", RW, &file), -EISDIR);
    assert_int_equal(hf_io_open(io, "f/x", NEW, &file), -ENOTDIR);
    assert_int_equal(hf_io_open(io, "none/x", NEW, &file), -ENOENT);
    assert_int_equal(hf_io_mkdir(io, "none/x"), -ENOENT);
    assert_null(file);
}

static void renaming_replaces_and_moves_between_directories(void **state)
{
    struct hf_file *file = open_file("a", NEW);
    char data[1];

    assert_int_equal(hf_io_write(file, "A", 1, 0), 0);
    hf_io_close(file);
    assert_int_equal(hf_io_mkdir(io, "d"), 0);
    hf_io_close(open_file("d/b", NEW));
    assert_int_equal(hf_io_rename(io, "a", "d/b"), 0);
    assert_int_equal(hf_io_open(io, "a", RW, &file), -ENOENT);
    file = open_file("d/b", RW);
    assert_int_equal(hf_io_read_full(file, data, 1, 0), 0);
    assert_int_equal(data[0], 'A');
    hf_io_close(file);
    assert_int_equal(hf_io_rename(io, "a", "x"), -ENOENT);
    assert_int_equal(hf_io_rename(io, "d/b", "d/b"), 0);
    assert_int_equal(hf_io_rename(io, "d", "d/below"), -EINVAL);
    assert_int_equal(hf_io_mkdir(io, "e"), 0);
    assert_int_equal(hf_io_rename(io, "d/b", "e"), -EISDIR);
    assert_int_equal(hf_io_rename(io, "e", "d/b"), -ENOTDIR);
    assert_int_equal(hf_io_rename(io, "e", "d"), -ENOTEMPTY);
}

static void a_directory_moves_with_what_is_in_it(void **state)
{
    assert_int_equal(hf_io_mkdir(io, "d"), 0);
    assert_int_equal(hf_io_mkdir(io, "e"), 0);
    hf_io_close(open_file("d/f", NEW));
    assert_int_equal(hf_io_rename(io, "d", "e/d"), 0);
    hf_io_close(open_file("e/d/f", RW));
    assert_int_equal(hf_io_unlink(io, "e/d"), -ENOTEMPTY);
    assert_int_equal(hf_io_unlink(io, "e/d/f"), 0);
    assert_int_equal(hf_io_unlink(io, "e/d"), 0);
    assert_int_equal(hf_io_unlink(io, "e/d"), -ENOENT);
    assert_int_equal(hf_io_sync_dir(io, "e"), 0);
    assert_int_equal(hf_io_sync_dir(io, ""), 0);
    assert_int_equal(hf_io_sync_dir(io, "gone"), -ENOENT);
}

static void an_unlinked_file_lives_until_it_is_closed(void **state)
{
    struct hf_file *file = open_file("f", NEW);
    char data[1];

    assert_int_equal(hf_io_write(file, "u", 1, 0), 0);
    assert_int_equal(hf_io_unlink(io, "f"), 0);
    hf_io_close(open_file("f", NEW));
    assert_int_equal(hf_io_read_full(file, data, 1, 0), 0);
    assert_int_equal(data[0], 'u');
    assert_int_equal(hf_io_sync(file), 0);
    hf_io_close(file);
}

static int collect(void *context, const char *name)
{
    char *text = context;

    if (strcmp(name, "stop") == 0)
        return 7;
    strncat(text, name, 100 - strlen(text) - 1);
    return 0;
}

static int unlink_each(void *context, const char *name)
{
    return hf_io_unlink(context, name);
}

static void listing_is_in_byte_order_and_stops_when_told(void **state)
{
    char text[100] = "";

    hf_io_close(open_file("b", NEW));
    hf_io_close(open_file("a", NEW));
    hf_io_close(open_file("B", NEW));
    hf_io_close(open_file("\xc3\xbc", NEW));
    assert_int_equal(hf_io_list(io, "", collect, text), 0);
    assert_string_equal(text, "Bab\xc3\xbc");
    hf_io_close(open_file("stop", NEW));
    text[0] = '\0';
    assert_int_equal(hf_io_list(io, "", collect, text), 7);
    assert_string_equal(text, "Bab");
    assert_int_equal(hf_io_list(io, "gone", collect, text), -ENOENT);
    assert_int_equal(hf_io_list(io, "a", collect, text), -ENOTDIR);
    assert_int_equal(hf_io_list(io, "", unlink_each, io), 0);
    text[0] = '\0';
    assert_int_equal(hf_io_list(io, "", collect, text), 0);
    assert_string_equal(text, "");
}

/* ---- Locks and space ---- */

static void two_opens_in_one_process_conflict(void **state)
{
    struct hf_file *a = open_file("f", NEW), *b = open_file("f", RW);

    assert_int_equal(hf_io_lock(a, HF_LOCK_EXCLUSIVE), 0);
    assert_int_equal(hf_io_lock(a, HF_LOCK_EXCLUSIVE), 0);
    assert_int_equal(hf_io_lock(b, HF_LOCK_SHARED), -EAGAIN);
    assert_int_equal(hf_io_lock(a, HF_LOCK_SHARED), 0);
    assert_int_equal(hf_io_lock(b, HF_LOCK_SHARED), 0);
    assert_int_equal(hf_io_lock(b, HF_LOCK_EXCLUSIVE), -EAGAIN);
    assert_int_equal(hf_io_lock(a, HF_LOCK_NONE), 0);
    assert_int_equal(hf_io_lock(b, HF_LOCK_EXCLUSIVE), 0);
    assert_int_equal(hf_io_lock(a, HF_LOCK_SHARED), -EAGAIN);
    hf_io_close(b);
    assert_int_equal(hf_io_lock(a, HF_LOCK_EXCLUSIVE), 0);
    hf_io_close(a);
}

static void space_is_told(void **state)
{
    uint64_t total = 0, left = 0;

    assert_int_equal(hf_io_space(io, &total, &left), 0);
    assert_true(total > 0 && left <= total);
}

/* ---- Batches ---- */

static void a_batch_writes_and_reads_with_a_result_each(void **state)
{
    struct hf_file *a = open_file("a", NEW), *b = open_file("b", NEW);
    struct hf_io_op ops[HF_IO_BATCH_MAX];
    char *data = malloc(HF_IO_BATCH_MAX * 5000);

    for (size_t i = 0; i < HF_IO_BATCH_MAX; i++) {
        memset(data + i * 5000, 'A' + (char)i, 5000);
        ops[i] = (struct hf_io_op){HF_IO_WRITE, i % 2 ? a : b, data + i * 5000, 5000, i * 5000, 1};
    }
    assert_int_equal(hf_io_run(io, ops, HF_IO_BATCH_MAX), 0);
    memset(data, 0, HF_IO_BATCH_MAX * 5000);
    for (size_t i = 0; i < HF_IO_BATCH_MAX; i++) {
        assert_int_equal(ops[i].result, 0);
        ops[i].kind = HF_IO_READ;
        ops[i].result = 1;
    }
    assert_int_equal(hf_io_run(io, ops, HF_IO_BATCH_MAX), 0);
    for (size_t i = 0; i < HF_IO_BATCH_MAX; i++) {
        assert_int_equal(ops[i].result, 0);
        assert_int_equal((unsigned char)data[i * 5000], 'A' + i);
        assert_int_equal((unsigned char)data[i * 5000 + 4999], 'A' + i);
    }
    assert_int_equal(hf_io_run(io, ops, 0), 0);
    assert_int_equal(hf_io_run(io, ops, HF_IO_BATCH_MAX + 1), -EINVAL);
    free(data);
    hf_io_close(a);
    hf_io_close(b);
}

static void a_short_read_in_a_batch_is_an_error_and_the_others_still_run(void **state)
{
    struct hf_file *file = open_file("f", NEW);
    struct hf_file *read_only = open_file("f", HF_OPEN_READ);
    char a[4] = "", b[4] = "";
    struct hf_io_op ops[] = {{HF_IO_READ, file, a, 4, 4, 1}, {HF_IO_READ, file, b, 4, 0, 1}};
    struct hf_io_op refused[] = {{HF_IO_WRITE, read_only, a, 4, 0, 1},
                                 {HF_IO_WRITE, file, "wxyz", 4, 0, 1}};

    assert_int_equal(hf_io_write(file, "abcdef", 6, 0), 0);
    assert_int_equal(hf_io_run(io, ops, 2), -EIO);
    assert_int_equal(ops[0].result, -EIO);
    assert_int_equal(ops[1].result, 0);
    assert_memory_equal(b, "abcd", 4);
    assert_int_equal(hf_io_run(io, refused, 2), -EBADF);
    assert_int_equal(refused[1].result, 0);
    assert_int_equal(hf_io_read_full(file, b, 4, 0), 0);
    assert_memory_equal(b, "wxyz", 4);
    hf_io_close(file);
    hf_io_close(read_only);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(written_bytes_are_read_back_and_gaps_are_zeros),
        TEST(truncating_cuts_and_extends_with_zeros),
        TEST(a_punched_range_reads_as_zeros_and_the_size_stays),
        TEST(allocating_may_enlarge_with_zeros_and_keeps_data),
        TEST(walking_the_data_finds_all_that_was_written),
        TEST(a_direct_file_works_in_aligned_pieces),
        TEST(bad_paths_flags_and_ranges_are_refused),
        TEST(a_file_does_only_what_it_was_opened_for),
        TEST(opening_says_what_is_there),
        TEST(renaming_replaces_and_moves_between_directories),
        TEST(a_directory_moves_with_what_is_in_it),
        TEST(an_unlinked_file_lives_until_it_is_closed),
        TEST(listing_is_in_byte_order_and_stops_when_told),
        TEST(two_opens_in_one_process_conflict),
        TEST(space_is_told),
        TEST(a_batch_writes_and_reads_with_a_result_each),
        TEST(a_short_read_in_a_batch_is_an_error_and_the_others_still_run),
    };
    int error;

    if (argc != 2) {
        fprintf(stderr, "usage: test-io BACKEND\n");
        return 2;
    }
    backend.name = argv[1];
    error = test_backend_open(&backend);
    if (error == -ENOSYS || error == -EPERM) {
        printf("skipped: this kernel refuses %s: %s\n", argv[1], hf_strerror(error));
        return 77;
    }
    if (error)
        return 1;
    test_backend_close(&backend);
    return cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
}
