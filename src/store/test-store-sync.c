// SPDX-License-Identifier: Apache-2.0
/* What counts as durable when syncs run beside writes, and passes that had nothing to send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"
#include "base/error.h"
#include "io/io-test.h"
#include "store/base-image.h"
#include "store/store-internal.h"
#include "store/store-test.h"

/* ---- a sync in the middle of a write ---- */

static struct {
    struct hf_io_ops ops;
    const struct hf_io_ops *inner;
    struct hf_base_image *base; /* synced before each write to its content; NULL: not */
} hook;

static int hooked_write(struct hf_file *file, const void *data, size_t size, uint64_t offset)
{
    if (hook.base != NULL && file == hook.base->data)
        assert_int_equal(hf_base_sync(hook.base), 0); /* as the settling thread does at any time */
    return hook.inner->write(file, data, size, offset);
}

static void hook_writes(struct hf_io *io)
{
    hook.inner = io->ops;
    hook.ops = *io->ops;
    hook.ops.write = hooked_write;
    hook.base = NULL;
    io->ops = &hook.ops;
}

static void make_directories(struct hf_io *io, const struct hf_id *id)
{
    char path[HF_IO_PATH_MAX];

    hf_machine_path(id, NULL, path);
    assert_int_equal(hf_io_mkdir(io, "machines"), 0);
    assert_int_equal(hf_io_mkdir(io, path), 0);
    assert_int_equal(hf_io_sync_dir(io, ""), 0);
    assert_int_equal(hf_io_sync_dir(io, "machines"), 0);
}

static void a_write_that_a_sync_runs_beside_is_durable_after_the_next_sync(void **state)
{
    static uint8_t content[HF_STORE_BLOCK], found[HF_STORE_BLOCK];
    struct hf_id id = {.bytes = {1}};
    struct hf_base_image base;
    struct hf_io *io;
    uint64_t sum, found_sum;

    (void)state;
    assert_int_equal(hf_io_crash_new(&io), 0);
    hook_writes(io);
    make_directories(io, &id);
    assert_int_equal(hf_base_open(io, &id, 0, true, &base), 0);
    memset(content, 0x5a, sizeof(content));
    sum = hf_base_sum(content);
    hook.base = &base;
    assert_int_equal(hf_base_write_sums(&base, 3, 1, &sum), 0);
    assert_int_equal(hf_base_write(&base, 3, 1, content, &sum), 0);
    hook.base = NULL;
    assert_int_equal(hf_base_sync(&base), 0);
    hf_base_close(&base);

    assert_int_equal(hf_io_crash_restart(io, HF_CRASH_LOSE_ALL, 1), 0);
    assert_int_equal(hf_base_open(io, &id, 0, false, &base), 0);
    assert_int_equal(hf_base_read(&base, 3, 1, found), 0);
    assert_int_equal(hf_base_read_sums(&base, 3, 1, &found_sum), 0);
    assert_int_equal(found_sum, sum);
    assert_memory_equal(found, content, sizeof(content));
    hf_base_close(&base);
    io->ops = hook.inner;
    hf_io_free(io);
}

/* ---- passes without content ---- */

static void a_pass_without_content_may_begin_and_end_in_one_batch(void **state)
{
    struct hf_machine_status status;
    struct hf_test_source source;
    struct hf_test_store store;
    struct hf_io *io;

    (void)state;
    assert_int_equal(hf_io_memory_new(&io), 0);
    hf_test_store_init(&store, io, 1);
    assert_int_equal(hf_test_store_open(&store), 0);
    hf_test_source_init(&source, &store, 1);
    assert_int_equal(hf_test_protect(&source, 1), 0);
    assert_int_equal(hf_test_gap(&source), 0);
    source.hold = true;
    assert_int_equal(hf_test_pass_begin(&source, HF_PASS_MAP, 0, 1), 0);
    source.pass_seq = source.seq;
    assert_int_equal(hf_test_pass_end(&source, true), 0);
    source.hold = false;
    assert_int_equal(hf_test_sync(&source), 0);
    assert_int_equal(hf_machine_status(store.machine, &status), 0);
    assert_true(status.summary.consistent);

    /* one that says it sent something cannot */
    source.hold = true;
    assert_int_equal(hf_test_pass_begin(&source, HF_PASS_MAP, 0, 1), 0);
    source.pass_batch = 1;
    assert_int_equal(hf_test_pass_end(&source, true), 0);
    source.hold = false;
    assert_int_equal(hf_test_flush(&source), -HF_EPROTO);
    hf_test_source_done(&source);
    hf_test_store_close(&store);
    hf_io_free(io);
}

/* ---- ranges that no disk has ---- */

static void fault_21_a_range_that_no_disk_can_have_is_refused(void **state)
{
    struct hf_test_source source;
    struct hf_test_store store;
    struct hf_io *io;

    (void)state;
    assert_int_equal(hf_io_memory_new(&io), 0);
    hf_test_store_init(&store, io, 1);
    assert_int_equal(hf_test_store_open(&store), 0);
    hf_test_source_init(&source, &store, 1);
    assert_int_equal(hf_test_protect(&source, 1), 0);
    assert_int_equal(hf_test_flush(&source), 0);
    assert_int_equal(hf_test_zero(&source, 0, 4096, UINT64_C(1) << 62, false), 0);
    assert_int_equal(hf_test_flush(&source), -HF_EPROTO);
    hf_test_source_done(&source);
    hf_test_store_close(&store);
    hf_io_free(io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_that_a_sync_runs_beside_is_durable_after_the_next_sync),
        cmocka_unit_test(a_pass_without_content_may_begin_and_end_in_one_batch),
        cmocka_unit_test(fault_21_a_range_that_no_disk_can_have_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
