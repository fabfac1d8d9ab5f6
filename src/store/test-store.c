// SPDX-License-Identifier: Apache-2.0
/* A machine's life in a store, compared with the naive model. */
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
    struct hf_io *io;
    struct hf_test_store store;
    struct hf_test_source source;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(hf_io_memory_new(&f->io), 0);
    hf_test_store_init(&f->store, f->io, 1);
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
    free(f);
    return 0;
}

static void assert_all_equal(struct fixture *f, size_t step, size_t points_min)
{
    size_t count;
    const char *wrong = hf_test_compare_all(&f->source, step, &count);

    if (wrong != NULL)
        fail_msg("%s", wrong);
    assert_true(count >= points_min);
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

static void every_position_reads_as_the_model(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    changes(f, 100);
    assert_all_equal(f, 1, 100);
}

static void merging_changes_no_point(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_status status;
    int r;

    hf_machine_close(f->store.machine);
    f->store.options.retention.window_ns = 2 * HF_NS_PER_S;
    assert_int_equal(
        hf_machine_open(f->store.store, &f->store.id, &f->store.options, NULL, &f->store.machine),
        0);
    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    for (unsigned i = 0; i < 10; i++) {
        changes(f, 30);
        while ((r = hf_machine_maintain(f->store.machine, 64 * HF_KIB)) == 1)
            ;
        assert_int_equal(r, 0);
        assert_all_equal(f, 7, 3);
    }
    assert_int_equal(hf_machine_status(f->store.machine, &status), 0);
    assert_true(status.summary.base_at > 0);
    assert_true(status.merged_bytes > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_position_reads_as_the_model, setup, teardown),
        cmocka_unit_test_setup_teardown(merging_changes_no_point, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
