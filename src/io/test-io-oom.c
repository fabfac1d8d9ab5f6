// SPDX-License-Identifier: Apache-2.0
/*
 * Every allocation of a workload fails once, in turn: the call that needed it gives -ENOMEM, has
 * changed nothing, and works when it is made again. The linker sends allocations here (--wrap).
 */
#include "io/test-crash-support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/extent_map.h"

static int64_t allocations_left = -1; /* -1: nothing fails */
static uint64_t refused;

static bool refuse(void)
{
    if (allocations_left < 0 || allocations_left-- > 0)
        return false;
    refused++;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size)
{
    return refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refuse() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return refuse() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return refuse() ? NULL : __real_reallocarray(old, count, size);
}

char *__wrap_strdup(const char *text)
{
    return refuse() ? NULL : __real_strdup(text);
}

/* Makes the call again when memory ran out in it. */
#define CALL(expression)                                                                           \
    do {                                                                                           \
        int result_ = (expression);                                                                \
                                                                                                   \
        if (result_ == -ENOMEM)                                                                    \
            result_ = (expression);                                                                \
        assert_int_equal(result_, 0);                                                              \
    } while (0)

/* Runs `workload` with the first, second, ... allocation failing, until none fails any more. */
static void sweep(void (*workload)(void))
{
    int64_t sites = 0;
    uint64_t before;

    do {
        before = refused;
        allocations_left = sites++;
        workload();
        allocations_left = -1;
    } while (refused > before);
    print_message("%d allocations, each failed once\n", (int)sites - 1);
    assert_true(sites > 2);
}

/* A file whose sync failed is given up; another open of it may sync. */
static void sync_again(struct hf_io *on, const char *path, struct hf_file **file)
{
    if (hf_io_sync(*file) == 0)
        return;
    hf_io_close(*file);
    *file = NULL;
    CALL(hf_io_open(on, path, RW, file));
    assert_int_equal(hf_io_sync(*file), 0);
}

static void file_workload(struct hf_io *on, enum hf_crash_survive survive, bool is_crash)
{
    struct hf_file *file = NULL;
    char data[6];

    CALL(hf_io_mkdir(on, "d"));
    CALL(hf_io_open(on, "d/new", NEW, &file));
    CALL(hf_io_write(file, "abcdef", 6, 20000));
    CALL(hf_io_punch(file, 20001, 1));
    sync_again(on, "d/new", &file);
    CALL(hf_io_write(file, "xyz", 3, 100000));
    CALL(hf_io_truncate(file, 20005));
    CALL(hf_io_allocate(file, 0, 20006));
    hf_io_close(file);
    CALL(hf_io_rename(on, "d/new", "d/f"));
    CALL(hf_io_sync_dir(on, "d"));
    CALL(hf_io_sync_dir(on, ""));
    allocations_left = -1; /* what a restart does is no promise of any program */
    if (is_crash)
        assert_int_equal(hf_io_crash_restart(on, survive, 0), 0);
    assert_int_equal(hf_io_open(on, "d/f", HF_OPEN_READ, &file), 0);
    assert_int_equal(hf_io_read_full(file, data, 6, 20000), 0);
    assert_memory_equal(data, survive == HF_CRASH_LOSE_ALL ? "a\0cdef" : "a\0cde\0", 6);
    hf_io_close(file);
}

static void crash_workload_lost(void)
{
    CALL(hf_io_crash_new(&io));
    file_workload(io, HF_CRASH_LOSE_ALL, true);
    hf_io_free(io);
}

static void crash_workload_kept(void)
{
    CALL(hf_io_crash_new(&io));
    file_workload(io, HF_CRASH_KEEP_ALL, true);
    hf_io_free(io);
}

static void memory_workload(void)
{
    CALL(hf_io_memory_new(&io));
    file_workload(io, HF_CRASH_KEEP_ALL, false);
    hf_io_free(io);
}

static void extent_map_workload(void)
{
    struct hf_extent_map *map;
    struct hf_extent extent;

    CALL(hf_extent_map_new(&map));
    for (uint64_t i = 0; i < 600; i++)
        CALL(hf_extent_map_set(map, i * 10, 10, i));
    for (uint64_t i = 0; i < 600; i++)
        CALL(hf_extent_map_remove(map, i * 10 + 4, 2));
    assert_int_equal(hf_extent_map_count(map), 1200);
    assert_true(hf_extent_map_find(map, 5995, &extent));
    assert_int_equal(extent.offset, 5996);
    assert_int_equal(extent.value_offset, 6);
    hf_extent_map_free(map);
}

static void bytes_workload(void)
{
    struct hf_bytes bytes = {0};

    for (uint32_t i = 0; i < 1000; i++)
        CALL(hf_bytes_u32(&bytes, i));
    CALL(hf_bytes_text(&bytes, "text"));
    assert_int_equal(bytes.size, 4006);
    hf_bytes_clear(&bytes);
}

static void the_crash_back_end_stays_whole(void **state)
{
    sweep(crash_workload_lost);
    sweep(crash_workload_kept);
}

static void the_memory_back_end_stays_whole(void **state)
{
    sweep(memory_workload);
}

static void maps_and_buffers_stay_whole(void **state)
{
    sweep(extent_map_workload);
    sweep(bytes_workload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_crash_back_end_stays_whole),
        cmocka_unit_test(the_memory_back_end_stays_whole),
        cmocka_unit_test(maps_and_buffers_stay_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
