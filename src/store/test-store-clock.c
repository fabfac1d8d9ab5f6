// SPDX-License-Identifier: Apache-2.0
/* Faults of clocks, and what time takes away from a history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"
#include "base/error.h"
#include "io/io-test.h"
#include "store/reader-internal.h"
#include "store/store-test.h"

struct fixture {
    struct hf_io *memory;
    struct hf_io *io; /* fault back end over memory */
    struct hf_test_store store;
    struct hf_test_source source;
};

static const struct hf_fault_plan no_fault = {.fail_change = -1, .fail_read = -1};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(hf_io_memory_new(&f->memory), 0);
    assert_int_equal(hf_io_fault_new(f->memory, &f->io), 0);
    *hf_io_fault_plan(f->io) = no_fault;
    hf_test_store_init(&f->store, f->io, 1);
    f->store.options.retention.window_ns = 2 * HF_NS_PER_S;
    assert_int_equal(hf_test_store_open(&f->store), 0);
    hf_test_source_init(&f->source, &f->store, 2);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    hf_test_source_done(&f->source);
    hf_test_store_close(&f->store);
    hf_io_free(f->io);
    hf_io_free(f->memory);
    free(f);
    return 0;
}

static void changes(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(hf_test_random_change(&f->source, (uint16_t)(i % 2)), 0);
        if (i % 3 == 0)
            assert_int_equal(hf_test_flush(&f->source), 0);
    }
    assert_int_equal(hf_test_sync(&f->source), 0);
}

static void assert_all_equal(struct fixture *f, size_t points_min)
{
    size_t count;
    const char *wrong = hf_test_compare_all(&f->source, 1, &count);

    if (wrong != NULL)
        fail_msg("%s", wrong);
    assert_true(count >= points_min);
}

static int find(struct fixture *f, const char *text, struct hf_point *points, size_t *count)
{
    struct hf_machine_reader *reader;
    int r;

    assert_int_equal(hf_machine_reader_open(f->store.store, &f->store.id, &reader), 0);
    r = hf_point_find(reader, text, points, HF_POINT_CANDIDATES_MAX, count);
    hf_machine_reader_close(reader);
    return r;
}

static void fault_39_a_time_the_clock_passed_twice_lists_candidates(void **state)
{
    struct fixture *f = *state;
    struct hf_point points[HF_POINT_CANDIDATES_MAX];
    size_t count = 0;

    assert_int_equal(hf_test_protect(&f->source, 1), 0);
    f->store.clock.wall_ns = 1700000100 * (int64_t)HF_NS_PER_S;
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(hf_test_write(&f->source, 0, i * 512, 512), 0);
        assert_int_equal(hf_test_flush(&f->source), 0);
        if (i == 30)
            f->store.clock.wall_ns -= 2 * (int64_t)HF_NS_PER_S; /* set back by two seconds */
    }
    assert_int_equal(hf_test_sync(&f->source), 0);
    /* 1700000102 is 2023-11-14T22:15:02Z */
    assert_int_equal(find(f, "2023-11-14T22:15:02.000Z", points, &count), -HF_EAMBIGUOUS);
    assert_int_equal(count, 2);
    assert_true(points[0].position < points[1].position);
    assert_int_equal(points[0].wall_ns, points[1].wall_ns);
    assert_int_equal(find(f, "2023-11-14T22:15:00.200Z", points, &count), 0);
    assert_int_equal(find(f, "-0s", points, &count), 0);
    assert_all_equal(f, 60);
}

static void fault_40_a_jump_of_the_clock_deletes_nothing(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_status before, after;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    changes(f, 12);
    assert_int_equal(hf_machine_status(f->store.machine, &before), 0);
    f->store.clock.wall_ns += 30 * 86400 * (int64_t)HF_NS_PER_S;
    changes(f, 3);
    assert_int_equal(hf_test_maintain(&f->source), 0);
    f->store.clock.wall_ns -= 60 * 86400 * (int64_t)HF_NS_PER_S;
    changes(f, 3);
    assert_int_equal(hf_test_maintain(&f->source), 0);
    assert_int_equal(hf_machine_status(f->store.machine, &after), 0);
    assert_int_equal(after.summary.oldest_openable, before.summary.oldest_openable);
    assert_true(after.clock_jumps >= 2);
    assert_all_equal(f, 12);
}

static void a_resynchronisation_destroys_no_point(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_status before, after;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    changes(f, 30);
    assert_int_equal(hf_test_maintain(&f->source), 0);
    assert_int_equal(hf_machine_status(f->store.machine, &before), 0);
    assert_int_equal(hf_test_gap(&f->source), 0);
    assert_int_equal(hf_test_pass_begin(&f->source, HF_PASS_MAP, 0, 3), 0);
    changes(f, 100); /* ten seconds and more of it, with a window of two */
    assert_int_equal(hf_test_maintain(&f->source), 0);
    assert_int_equal(hf_machine_status(f->store.machine, &after), 0);
    assert_int_equal(after.summary.oldest_openable, before.summary.oldest_openable);
    assert_all_equal(f, 10);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(fault_39_a_time_the_clock_passed_twice_lists_candidates),
        CASE(fault_40_a_jump_of_the_clock_deletes_nothing),
        CASE(a_resynchronisation_destroys_no_point),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
