// SPDX-License-Identifier: Apache-2.0
#include "base/test-support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/error.h"
#include "io/io-test.h"
#include "io/test-backends.h"

#define RW (HF_OPEN_READ | HF_OPEN_WRITE)
#define NEW (RW | HF_OPEN_CREATE)

static struct test_backend backend = {.name = "fault"};
static struct hf_io *io;
static struct hf_fault_plan *plan;

static int setup(void **state)
{
    if (test_backend_open(&backend) != 0)
        return -1;
    io = backend.io;
    plan = hf_io_fault_plan(io);
    return 0;
}

static int teardown(void **state)
{
    test_backend_close(&backend);
    return 0;
}

static struct hf_file *open_file(struct hf_io *where, const char *path, unsigned flags)
{
    struct hf_file *file = NULL;

    assert_int_equal(hf_io_open(where, path, flags, &file), 0);
    return file;
}

static void assert_content(struct hf_file *file, const char *expected, size_t size)
{
    char data[64];
    size_t got;

    assert_int_equal(hf_io_read(file, data, sizeof(data), 0, &got), 0);
    assert_int_equal(got, size);
    assert_memory_equal(data, expected, size);
}

/* Every kind of change once; the result of the first that fails. */
#define WORKLOAD_CHANGES 11
static int workload(void)
{
    struct hf_file *file = NULL;
    int error = hf_io_mkdir(io, "d");

    if (!error)
        error = hf_io_open(io, "d/new", NEW, &file);
    if (!error)
        error = hf_io_allocate(file, 0, 100);
    if (!error)
        error = hf_io_write(file, "abcdefgh", 8, 0);
    if (!error)
        error = hf_io_punch(file, 2, 2);
    if (!error)
        error = hf_io_truncate(file, 6);
    if (!error)
        error = hf_io_sync(file);
    hf_io_close(file);
    if (!error)
        error = hf_io_rename(io, "d/new", "d/f");
    if (!error)
        error = hf_io_sync_dir(io, "d");
    if (!error)
        error = hf_io_unlink(io, "d/f");
    return error ? error : hf_io_unlink(io, "d");
}

static void each_change_can_fail_in_its_turn(void **state)
{
    assert_int_equal(workload(), 0);
    assert_int_equal(hf_io_fault_changes(io), WORKLOAD_CHANGES);
    for (int64_t i = 0; i < WORKLOAD_CHANGES; i++) {
        teardown(NULL);
        assert_int_equal(setup(NULL), 0);
        plan->fail_change = i;
        plan->error = -ENOSPC;
        assert_int_equal(workload(), -ENOSPC);
        assert_int_equal(hf_io_fault_changes(io), i + 1);
    }
}

static void one_failure_passes_and_a_persistent_one_stays(void **state)
{
    plan->fail_change = 0;
    assert_int_equal(hf_io_mkdir(io, "d"), -EIO);
    assert_int_equal(hf_io_mkdir(io, "d"), 0);
    plan->fail_change = (int64_t)hf_io_fault_changes(io);
    plan->persistent = true;
    assert_int_equal(hf_io_unlink(io, "d"), -EIO);
    assert_int_equal(hf_io_unlink(io, "d"), -EIO);
    plan->fail_change = -1;
    assert_int_equal(hf_io_unlink(io, "d"), 0);
}

static void reads_are_counted_and_fail_apart(void **state)
{
    struct hf_file *file = open_file(io, "f", NEW);
    char data[1];

    assert_int_equal(hf_io_write(file, "a", 1, 0), 0);
    plan->fail_read = 1;
    assert_int_equal(hf_io_read_full(file, data, 1, 0), 0);
    assert_int_equal(hf_io_read_full(file, data, 1, 0), -EIO);
    assert_int_equal(hf_io_read_full(file, data, 1, 0), 0);
    assert_int_equal(hf_io_fault_reads(io), 3);
    assert_int_equal(hf_io_fault_changes(io), 2);
    hf_io_close(file);
}

static void opening_what_is_there_is_no_change(void **state)
{
    struct hf_file *file = NULL;

    hf_io_close(open_file(io, "f", NEW));
    plan->fail_change = 1;
    hf_io_close(open_file(io, "f", NEW));
    assert_int_equal(hf_io_open(io, "f", NEW | HF_OPEN_EXCLUSIVE, &file), -EEXIST);
    assert_int_equal(hf_io_open(io, "g", NEW, &file), -EIO);
    assert_int_equal(hf_io_open(backend.inner, "g", HF_OPEN_READ, &file), -ENOENT);
}

static void a_short_write_leaves_its_first_half(void **state)
{
    struct hf_file *file = open_file(io, "f", NEW);

    plan->fail_change = 1;
    plan->short_write = true;
    assert_int_equal(hf_io_write(file, "abcdefgh", 8, 0), -EIO);
    assert_content(file, "abcd", 4);
    plan->short_write = false;
    plan->fail_change = 2;
    assert_int_equal(hf_io_write(file, "ABCD", 4, 0), -EIO);
    assert_content(file, "abcd", 4);
    hf_io_close(file);
}

/* Fault 28. */
static void the_disk_fills_at_the_byte_it_was_told(void **state)
{
    struct hf_file *file = open_file(io, "f", NEW);
    uint64_t total, left;

    plan->full_after_bytes = 10;
    assert_int_equal(hf_io_write(file, "abcdefgh", 8, 0), 0);
    assert_int_equal(hf_io_space(io, &total, &left), 0);
    assert_int_equal(total, 10);
    assert_int_equal(left, 2);
    assert_int_equal(hf_io_write(file, "ijkl", 4, 8), -ENOSPC);
    assert_content(file, "abcdefgh", 8);
    plan->short_write = true;
    assert_int_equal(hf_io_write(file, "ijkl", 4, 8), -ENOSPC);
    assert_content(file, "abcdefghij", 10);
    plan->full_after_bytes = 0;
    assert_int_equal(hf_io_write(file, "kl", 2, 10), 0);
    hf_io_close(file);
}

static void each_call_takes_its_time_on_the_clock(void **state)
{
    struct hf_clock_manual manual;
    struct hf_file *file = open_file(io, "f", NEW);
    char data[1];

    hf_clock_manual_init(&manual, 0, 0);
    plan->clock = &manual.clock;
    plan->delay_ns = 50;
    assert_int_equal(hf_io_write(file, "a", 1, 0), 0);
    assert_int_equal(hf_io_sync(file), 0);
    assert_int_equal(hf_io_read_full(file, data, 1, 0), 0);
    assert_int_equal(manual.boot_ns, 150);
    hf_io_close(file);
}

static void fault_27_a_failed_sync_drops_the_data_and_the_file_takes_no_more(void **state)
{
    struct hf_file *file = open_file(io, "f", NEW);

    assert_int_equal(hf_io_write(file, "durable", 7, 0), 0);
    assert_int_equal(hf_io_sync(file), 0);
    assert_int_equal(hf_io_write(file, "LOST", 4, 5), 0);
    assert_int_equal(hf_io_punch(file, 0, 2), 0);
    assert_int_equal(hf_io_truncate(file, 3), 0);
    assert_int_equal(hf_io_truncate(file, 4), 0);
    assert_int_equal(hf_io_allocate(file, 0, 30), 0);
    plan->fail_change = (int64_t)hf_io_fault_changes(io);
    assert_int_equal(hf_io_sync(file), -EIO);
    assert_content(file, "durable", 7);
    assert_int_equal(hf_io_sync(file), -HF_ESYNC);
    assert_int_equal(hf_io_write(file, "x", 1, 0), -HF_ESYNC);
    assert_int_equal(hf_io_truncate(file, 0), -HF_ESYNC);
    assert_int_equal(hf_io_punch(file, 0, 1), -HF_ESYNC);
    assert_int_equal(hf_io_allocate(file, 0, 1), -HF_ESYNC);
    hf_io_close(file);
    file = open_file(io, "f", RW);
    assert_content(file, "durable", 7);
    assert_int_equal(hf_io_write(file, "D", 1, 0), 0);
    assert_int_equal(hf_io_sync(file), 0);
    hf_io_close(file);
}

static void fault_27_holds_over_a_direct_file_too(void **state)
{
    struct hf_file *file = open_file(io, "f", NEW | HF_OPEN_DIRECT);
    char *data = aligned_alloc(HF_IO_ALIGN, HF_IO_ALIGN);

    memset(data, 'a', HF_IO_ALIGN);
    assert_int_equal(hf_io_write(file, data, HF_IO_ALIGN, 0), 0);
    assert_int_equal(hf_io_sync(file), 0);
    memset(data, 'b', HF_IO_ALIGN);
    assert_int_equal(hf_io_write(file, data, HF_IO_ALIGN, 0), 0);
    plan->fail_change = (int64_t)hf_io_fault_changes(io);
    assert_int_equal(hf_io_sync(file), -EIO);
    assert_int_equal(hf_io_read_full(file, data, HF_IO_ALIGN, 0), 0);
    assert_int_equal(data[0], 'a');
    free(data);
    hf_io_close(file);
}

static void fault_27_the_dropped_data_is_gone_after_a_power_cut_as_well(void **state)
{
    struct hf_io *crash, *fault;
    struct hf_file *file;

    assert_int_equal(hf_io_crash_new(&crash), 0);
    assert_int_equal(hf_io_fault_new(crash, &fault), 0);
    file = open_file(fault, "f", NEW);
    assert_int_equal(hf_io_write(file, "durable", 7, 0), 0);
    assert_int_equal(hf_io_sync(file), 0);
    assert_int_equal(hf_io_sync_dir(fault, ""), 0);
    assert_int_equal(hf_io_write(file, "dropped", 7, 0), 0);
    hf_io_fault_plan(fault)->fail_change = (int64_t)hf_io_fault_changes(fault);
    assert_int_equal(hf_io_sync(file), -EIO);
    hf_io_close(file);
    assert_int_equal(hf_io_crash_restart(crash, HF_CRASH_KEEP_ALL, 0), 0);
    file = open_file(crash, "f", HF_OPEN_READ);
    assert_content(file, "durable", 7);
    hf_io_close(file);
    hf_io_free(fault);
    hf_io_free(crash);
}

/* More unsynced data than the back end keeps: the oldest counts as written back. */
static void unsynced_data_beyond_the_limit_stays(void **state)
{
    struct hf_file *file = open_file(io, "f", NEW);
    size_t size = 16 << 20;
    char *data = calloc(1, size), byte;

    for (uint64_t round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < 6; i++) {
            memset(data, (int)('a' + round), size);
            assert_int_equal(hf_io_write(file, data, size, i * size), 0);
        }
        if (round == 0)
            assert_int_equal(hf_io_sync(file), 0);
    }
    plan->fail_change = (int64_t)hf_io_fault_changes(io);
    assert_int_equal(hf_io_sync(file), -EIO);
    assert_int_equal(hf_io_read_full(file, &byte, 1, 0), 0);
    assert_int_equal(byte, 'b');
    assert_int_equal(hf_io_read_full(file, &byte, 1, 5 * size), 0);
    assert_int_equal(byte, 'a');
    free(data);
    hf_io_close(file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_change_can_fail_in_its_turn),
        TEST(one_failure_passes_and_a_persistent_one_stays),
        TEST(reads_are_counted_and_fail_apart),
        TEST(opening_what_is_there_is_no_change),
        TEST(a_short_write_leaves_its_first_half),
        TEST(the_disk_fills_at_the_byte_it_was_told),
        TEST(each_call_takes_its_time_on_the_clock),
        TEST(fault_27_a_failed_sync_drops_the_data_and_the_file_takes_no_more),
        TEST(fault_27_holds_over_a_direct_file_too),
        TEST(fault_27_the_dropped_data_is_gone_after_a_power_cut_as_well),
        TEST(unsynced_data_beyond_the_limit_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
