// SPDX-License-Identifier: Apache-2.0
/* The faults of the catalogue that a store must survive, by number. */
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
#include "store/check.h"
#include "store/machine-internal.h"
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

static void reopen(struct fixture *f)
{
    hf_test_store_close(&f->store);
    assert_int_equal(hf_test_store_open(&f->store), 0);
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

static int open_at(struct fixture *f, uint64_t position, struct hf_view **view)
{
    struct hf_view_options options = {.position = position};

    return hf_view_open(f->store.store, &f->store.id, &options, view);
}

/* ---- Passes ---- */

static void fault_06_points_wait_until_the_last_disk_is_whole_again(void **state)
{
    struct fixture *f = *state;
    struct hf_point points[HF_POINT_CANDIDATES_MAX];
    uint64_t before;
    size_t count;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    before = hf_test_position(&f->source);
    assert_int_equal(hf_test_gap(&f->source), 0);
    assert_int_equal(hf_test_pass_begin(&f->source, HF_PASS_MAP, 0, 2), 0);
    changes(f, 5);
    assert_int_equal(find(f, "latest", points, &count), 0);
    assert_true(points[0].position >= before && points[0].position < hf_test_position(&f->source));
    assert_int_equal(hf_test_pass_data(&f->source, 1, 0, 65536, false), 0);
    assert_int_equal(hf_test_pass_end(&f->source, true), 0);
    assert_int_equal(hf_test_sync(&f->source), 0);
    assert_int_equal(find(f, "latest", points, &count), 0);
    assert_int_equal(points[0].position, hf_test_position(&f->source));
    assert_all_equal(f, 2);
}

static void fault_34_partial_base_is_never_opened(void **state)
{
    struct fixture *f = *state;
    struct hf_point points[HF_POINT_CANDIDATES_MAX];
    struct hf_view *view;
    size_t count;

    assert_int_equal(hf_test_stream(&f->source), 0);
    assert_int_equal(hf_test_disk(&f->source, HF_DISK_ADD, 0, HF_TEST_DISK_BYTES), 0);
    assert_int_equal(hf_test_pass_begin(&f->source, HF_PASS_FULL, 0, 1), 0);
    for (uint64_t at = 0; at < HF_TEST_DISK_BYTES; at += 65536) {
        assert_int_equal(hf_test_sync(&f->source), 0);
        assert_int_equal(find(f, "latest", points, &count), -HF_EPARTIAL);
        assert_int_equal(open_at(f, hf_test_position(&f->source), &view), -HF_EPARTIAL);
        assert_int_equal(hf_test_pass_data(&f->source, 0, at, 65536, false), 0);
    }
    reopen(f);
    assert_int_equal(open_at(f, hf_test_position(&f->source), &view), -HF_EPARTIAL);
    hf_test_rewind(&f->source);
    assert_int_equal(hf_test_pass_all(&f->source), 0);
    assert_int_equal(hf_test_pass_end(&f->source, true), 0);
    assert_int_equal(hf_test_sync(&f->source), 0);
    assert_all_equal(f, 1);
}

/* The second first pass, of an added disk, after a restart: its progress must count too. */
static void fault_34_progress_of_a_later_first_pass_survives(void **state)
{
    struct fixture *f = *state;
    struct hf_journal_progress progress;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    for (unsigned i = 0; i < 3; i++)
        changes(f, 3);
    reopen(f);
    hf_test_rewind(&f->source);
    assert_int_equal(hf_test_disk(&f->source, HF_DISK_ADD, 2, HF_TEST_DISK_BYTES), 0);
    assert_int_equal(hf_test_pass_begin(&f->source, HF_PASS_FULL, HF_PASS_ADDED_DISK, 4), 0);
    assert_int_equal(hf_test_pass_data(&f->source, 2, 0, 65536, false), 0);
    assert_int_equal(hf_test_sync(&f->source), 0);
    reopen(f);
    hf_machine_durable(f->store.machine, &progress);
    assert_int_equal(progress.pass, 2);
    assert_int_equal(progress.pass_batch, 1);
    hf_test_rewind(&f->source);
    for (uint64_t at = 65536; at < HF_TEST_DISK_BYTES; at += 65536)
        assert_int_equal(hf_test_pass_data(&f->source, 2, at, 65536, false), 0);
    assert_int_equal(hf_test_pass_end(&f->source, true), 0);
    assert_int_equal(hf_test_sync(&f->source), 0);
    assert_all_equal(f, 3);
}

static void a_pass_that_lacks_batches_cannot_be_ended(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(hf_test_stream(&f->source), 0);
    assert_int_equal(hf_test_disk(&f->source, HF_DISK_ADD, 0, HF_TEST_DISK_BYTES), 0);
    assert_int_equal(hf_test_pass_begin(&f->source, HF_PASS_FULL, 0, 1), 0);
    assert_int_equal(hf_test_pass_data(&f->source, 0, 0, 65536, false), 0);
    f->source.pass_batch++; /* it claims one more than it sent */
    assert_int_equal(hf_test_pass_end(&f->source, true), 0);
    assert_int_equal(hf_test_flush(&f->source), -HF_EPROTO);
}

static int on_point(void *context, const struct hf_point *point)
{
    unsigned *unopenable = context;

    if (!point->openable) {
        assert_string_equal(point->reason, "inside a pass");
        (*unopenable)++;
    }
    return 0;
}

static void fault_42_a_point_inside_a_pass_is_listed_with_its_reason(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_reader *reader;
    struct hf_view *view;
    struct hf_id id;
    unsigned unopenable = 0;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    assert_int_equal(hf_test_pass_begin(&f->source, HF_PASS_HASH, 0, 3), 0);
    assert_int_equal(hf_test_mark(&f->source, HF_MARK_APP, "too early", &id), 0);
    assert_int_equal(hf_test_sync(&f->source), 0);
    assert_int_equal(open_at(f, hf_test_position(&f->source), &view), -HF_ENOPOINT);
    assert_int_equal(hf_machine_reader_open(f->store.store, &f->store.id, &reader), 0);
    assert_int_equal(hf_points_each(reader, on_point, &unopenable), 0);
    assert_int_equal(unopenable, 1);
    hf_machine_reader_close(reader);
}

/* ---- Disks ---- */

static void fault_13_old_points_keep_the_old_size(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_disk disks[HF_DISKS_MAX];
    struct hf_view *view;
    uint64_t before;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    before = hf_test_position(&f->source);
    assert_int_equal(hf_test_disk(&f->source, HF_DISK_RESIZE, 0, 2 * HF_TEST_DISK_BYTES), 0);
    assert_int_equal(hf_test_write(&f->source, 0, HF_TEST_DISK_BYTES, 4096), 0);
    changes(f, 30);
    assert_int_equal(hf_test_disk(&f->source, HF_DISK_RESIZE, 0, HF_TEST_DISK_BYTES / 2), 0);
    changes(f, 30);
    assert_all_equal(f, 30);
    reopen(f);
    assert_all_equal(f, 30);
    assert_int_equal(open_at(f, before, &view), 0);
    assert_int_equal(hf_view_disks(view, disks), 2);
    assert_int_equal(disks[0].size_bytes, HF_TEST_DISK_BYTES);
    assert_int_equal(hf_view_read(view, 0, HF_TEST_DISK_BYTES - 512, disks, 1024), -EINVAL);
    hf_view_close(view);
    assert_int_equal(hf_test_maintain(&f->source), 0);
    assert_all_equal(f, 5);
}

static void fault_16_disks_share_one_order(void **state)
{
    struct fixture *f = *state;
    uint8_t one[512], two[512];
    struct hf_view *view;
    uint64_t between;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    assert_int_equal(hf_test_write(&f->source, 0, 0, 512), 0);
    between = hf_test_position(&f->source);
    assert_int_equal(hf_test_write(&f->source, 1, 0, 512), 0);
    assert_int_equal(hf_test_sync(&f->source), 0);
    assert_int_equal(open_at(f, between, &view), 0);
    assert_null(hf_test_compare_view(&f->source, view, between));
    assert_int_equal(hf_view_read(view, 0, 0, one, 512), 0);
    hf_model_image(&f->source.model, between, 1, two, 512);
    assert_memory_not_equal(one, two, 512);
    hf_view_close(view);
}

/* ---- Failing disks ---- */

/* The next sync of a base image or its sums fails, as the fault back end numbers calls. */
static int fail_some_change(struct fixture *f, uint64_t ahead)
{
    struct hf_fault_plan *plan = hf_io_fault_plan(f->io);
    int r = 1;

    plan->fail_change = (int64_t)(hf_io_fault_changes(f->io) + ahead);
    plan->error = -EIO;
    for (unsigned i = 0; r == 1 && i < 1000; i++)
        r = hf_machine_maintain(f->store.machine, HF_MIB);
    return r;
}

static void fault_27_a_failed_sync_of_a_base_image_is_never_repeated(void **state)
{
    struct fixture *f = *state;
    unsigned stopped = 0;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    for (uint64_t ahead = 1; ahead < 14; ahead++) {
        int r;

        changes(f, 40);
        r = fail_some_change(f, ahead);
        *hf_io_fault_plan(f->io) = no_fault;
        if (r < 0 && hf_machine_maintain(f->store.machine, HF_MIB) == -HF_ESYNC) {
            stopped++;
            assert_int_equal(hf_machine_maintain(f->store.machine, HF_MIB), -HF_ESYNC);
            changes(f, 3); /* the journal goes on */
        }
        assert_all_equal(f, 1);
        reopen(f);
        hf_test_rewind(&f->source);
        assert_int_equal(hf_test_maintain(&f->source), 0);
        assert_all_equal(f, 1);
    }
    assert_true(stopped > 0);
}

/* The same handle goes on, as a target does whose source attaches again. */
static void fault_27_after_a_failed_sync_the_machine_goes_on_where_it_is_durable(void **state)
{
    struct fixture *f = *state;
    struct hf_fault_plan *plan = hf_io_fault_plan(f->io);
    unsigned failures = 0;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    for (uint64_t ahead = 0; ahead < 24; ahead++) {
        int r = 0;

        plan->error = -EIO;
        plan->fail_change = (int64_t)(hf_io_fault_changes(f->io) + ahead);
        r = hf_test_gap(&f->source);
        if (r == 0)
            r = hf_test_go_on(&f->source);
        failures += r < 0;
        *plan = no_fault;
        if (r < 0 && hf_machine_sync(f->store.machine) < 0)
            reopen(f); /* not even the rescue worked */
        hf_test_rewind(&f->source);
        assert_int_equal(hf_test_go_on(&f->source), 0);
        assert_all_equal(f, 1);
        assert_int_equal(hf_test_check_hashes(&f->source), 0);
        if (hf_machine_maintain(f->store.machine, HF_MIB) == -HF_ESYNC) {
            reopen(f);
            hf_test_rewind(&f->source);
        }
    }
    assert_true(failures > 5);
}

static void fault_28_a_full_disk_refuses_new_data_and_keeps_the_old(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_status status;
    struct hf_fault_plan *plan = hf_io_fault_plan(f->io);

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    changes(f, 20);
    plan->fail_change = (int64_t)hf_io_fault_changes(f->io);
    plan->persistent = true;
    plan->error = -ENOSPC;
    assert_int_equal(hf_test_write(&f->source, 0, 0, 65536), 0);
    assert_int_equal(hf_test_flush(&f->source), -ENOSPC);
    *plan = no_fault;
    reopen(f);
    hf_test_rewind(&f->source);
    assert_all_equal(f, 10);
    f->store.options.retention.free_bytes_refuse = UINT64_MAX;
    reopen(f);
    hf_test_rewind(&f->source);
    assert_int_equal(hf_machine_maintain(f->store.machine, 1), 1);
    assert_int_equal(hf_test_write(&f->source, 0, 0, 65536), 0);
    assert_int_equal(hf_test_flush(&f->source), -ENOSPC);
    assert_int_equal(hf_machine_status(f->store.machine, &status), 0);
    assert_int_equal(status.space, HF_SPACE_REFUSING);
    hf_test_rewind(&f->source);
    assert_all_equal(f, 1);
}

static void fault_28_a_journal_over_its_limit_shortens_the_window_not_the_newest(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_status status;
    struct hf_view *view;

    f->store.options.retention.window_ns = 1000 * HF_NS_PER_S;
    f->store.options.retention.journal_bytes_max = 1024 * HF_KIB;
    reopen(f);
    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    for (unsigned i = 0; i < 8; i++) {
        changes(f, 60);
        assert_int_equal(hf_test_maintain(&f->source), 0);
        assert_all_equal(f, 1);
        assert_int_equal(open_at(f, hf_test_position(&f->source), &view), 0);
        hf_view_close(view);
    }
    assert_int_equal(hf_machine_status(f->store.machine, &status), 0);
    assert_true(status.summary.base_at > 0);
    assert_true(status.summary.journal_bytes < 4 * 1024 * HF_KIB);
}

static void flip(struct fixture *f, const char *leaf, uint64_t offset)
{
    struct hf_file *file;
    char path[HF_IO_PATH_MAX];
    uint8_t byte;

    hf_disk_path(&f->store.id, 0, leaf, path);
    assert_int_equal(hf_io_open(f->io, path, HF_OPEN_READ | HF_OPEN_WRITE, &file), 0);
    assert_int_equal(hf_io_read_full(file, &byte, 1, offset), 0);
    byte ^= 0x10;
    assert_int_equal(hf_io_write(file, &byte, 1, offset), 0);
    hf_io_close(file);
}

struct damages {
    uint64_t base;
    uint64_t journal;
};

static int on_damage(void *context, const struct hf_check_damage *damage)
{
    struct damages *damages = context;

    damages->base += damage->part == HF_CHECK_BASE;
    damages->journal += damage->part == HF_CHECK_JOURNAL;
    return 0;
}

/* V11: a flipped bit is an error, never other bytes. */
static void fault_29_rot_in_a_base_image_is_never_served(void **state)
{
    struct fixture *f = *state;
    struct damages damages = {0};
    struct hf_check_options options = {.damage = on_damage, .context = &damages};
    struct hf_check_result result;
    struct hf_view *view;
    uint8_t got[4096];

    assert_int_equal(hf_test_stream(&f->source), 0);
    assert_int_equal(hf_test_disk(&f->source, HF_DISK_ADD, 0, HF_TEST_DISK_BYTES), 0);
    assert_int_equal(hf_test_pass_begin(&f->source, HF_PASS_FULL, 0, 1), 0);
    assert_int_equal(hf_test_pass_data(&f->source, 0, 0, 65536, false), 0);
    assert_int_equal(hf_test_pass_data(&f->source, 0, 65536, 131072, true), 0);
    assert_int_equal(hf_test_pass_data(&f->source, 0, 196608, 65536, false), 0);
    assert_int_equal(hf_test_pass_end(&f->source, true), 0);
    assert_int_equal(hf_test_sync(&f->source), 0);
    assert_int_equal(hf_store_check(f->store.store, &f->store.id, &options, &result), 0);
    assert_int_equal(open_at(f, hf_test_position(&f->source), &view), 0);
    flip(f, "base", 5000);        /* content */
    flip(f, "base", 100000);      /* a hole that is none any more */
    flip(f, "base.sums", 8 * 50); /* a sum of content */
    assert_int_equal(hf_view_read(view, 0, 4096, got, 4096), -HF_ECORRUPT);
    assert_int_equal(hf_view_read(view, 0, 98304, got, 4096), -HF_ECORRUPT);
    assert_int_equal(hf_view_read(view, 0, 50 * 4096, got, 512), -HF_ECORRUPT);
    assert_int_equal(hf_view_read(view, 0, 8192, got, 4096), 0);
    hf_view_close(view);
    assert_int_equal(hf_store_check(f->store.store, &f->store.id, &options, &result), -HF_EDAMAGED);
    assert_int_equal(damages.base, 3);
    assert_int_equal(result.damages, 3);
}

static void fault_29_a_checksum_pass_mends_a_damaged_block(void **state)
{
    struct fixture *f = *state;
    struct hf_hash128 before, after;

    assert_int_equal(hf_test_protect(&f->source, 1), 0);
    assert_int_equal(hf_test_pass_begin(&f->source, HF_PASS_HASH, 0, 1), 0);
    assert_int_equal(hf_test_pass_data(&f->source, 0, 0, 65536, false), 0);
    assert_int_equal(hf_test_pass_end(&f->source, true), 0);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(hf_test_write(&f->source, 0, 131072, 512), 0);
        assert_int_equal(hf_test_flush(&f->source), 0);
    }
    assert_int_equal(hf_test_sync(&f->source), 0);
    assert_int_equal(hf_test_maintain(&f->source), 0);
    reopen(f);
    hf_test_rewind(&f->source);
    assert_int_equal(hf_machine_hashes(f->store.machine, 0, 0, 4096, 1, &before), 0);
    flip(f, "base", 100);
    assert_int_equal(hf_machine_hashes(f->store.machine, 0, 0, 4096, 1, &after), 0);
    assert_int_not_equal(hf_hash128_compare(&before, &after), 0);
    assert_int_equal(hf_test_pass_begin(&f->source, HF_PASS_HASH, 0, 1), 0);
    assert_int_equal(hf_test_pass_data(&f->source, 0, 0, 4096, false), 0);
    assert_int_equal(hf_test_pass_end(&f->source, true), 0);
    assert_int_equal(hf_test_sync(&f->source), 0);
    assert_null(hf_test_compare_all(&f->source, 1000000, &(size_t){0}));
    {
        struct hf_view *view;

        assert_int_equal(open_at(f, hf_test_position(&f->source), &view), 0);
        assert_null(hf_test_compare_view(&f->source, view, hf_test_position(&f->source)));
        hf_view_close(view);
    }
}

static void fault_30_an_interrupted_merge_is_done_again(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_status status;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    changes(f, 100);
    do {
        assert_int_equal(hf_machine_maintain(f->store.machine, 1), 1);
        assert_int_equal(hf_machine_status(f->store.machine, &status), 0);
    } while (status.summary.oldest_openable == status.summary.base_at);
    assert_all_equal(f, 10);
    reopen(f);
    assert_all_equal(f, 10);
    assert_int_equal(hf_test_maintain(&f->source), 0);
    assert_int_equal(hf_machine_status(f->store.machine, &status), 0);
    assert_true(status.summary.base_at > 0);
    assert_int_equal(status.summary.oldest_openable, status.summary.base_at);
    assert_all_equal(f, 5);
}

static int first_segment(void *context, const char *name)
{
    char *path = context;

    if (strncmp(name, "seg-", 4) != 0)
        return 0;
    strncat(path, "/", HF_IO_PATH_MAX - strlen(path) - 1);
    strncat(path, name, HF_IO_PATH_MAX - strlen(path) - 1);
    return 1;
}

static void fault_32_what_needs_a_missing_segment_is_not_offered(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_reader *reader;
    char path[HF_IO_PATH_MAX];
    struct hf_view *view;
    uint64_t end;
    int wrong = 0;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    changes(f, 100);
    end = hf_test_position(&f->source);
    assert_int_equal(hf_test_maintain(&f->source), 0);
    hf_test_store_close(&f->store);
    hf_machine_path(&f->store.id, "journal", path);
    assert_int_equal(hf_io_list(f->io, path, first_segment, path), 1);
    assert_int_equal(hf_io_unlink(f->io, path), 0);
    assert_int_equal(hf_test_store_open(&f->store), 0);
    assert_int_equal(hf_machine_reader_open(f->store.store, &f->store.id, &reader), 0);
    for (uint64_t at = reader->manifest.base_at; at <= end; at += 4096) {
        if (open_at(f, at, &view) != 0)
            continue;
        wrong += hf_test_compare_view(&f->source, view, at) != NULL;
        hf_view_close(view);
    }
    assert_int_equal(wrong, 0);
    assert_int_not_equal(open_at(f, end, &view), 0);
    hf_machine_reader_close(reader);
}

static void fault_35_a_store_that_was_set_back_shows_a_lower_generation(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_status before, after;
    uint8_t old[2][4096];
    size_t sizes[2];
    char path[HF_IO_PATH_MAX];

    for (unsigned i = 0; i < 2; i++) {
        struct hf_file *file;

        hf_machine_path(&f->store.id, i == 0 ? "manifest.0" : "manifest.1", path);
        sizes[i] = 0;
        if (hf_io_open(f->io, path, HF_OPEN_READ, &file) < 0)
            continue;
        assert_int_equal(hf_io_read(file, old[i], sizeof(old[i]), 0, &sizes[i]), 0);
        hf_io_close(file);
    }
    assert_int_equal(hf_machine_epoch_raise(f->store.machine, 3), 0);
    assert_int_equal(hf_machine_name_set(f->store.machine, "later"), 0);
    assert_int_equal(hf_machine_status(f->store.machine, &before), 0);
    hf_test_store_close(&f->store);
    for (unsigned i = 0; i < 2; i++) {
        struct hf_file *file;

        hf_machine_path(&f->store.id, i == 0 ? "manifest.0" : "manifest.1", path);
        hf_io_unlink(f->io, path);
        if (sizes[i] == 0)
            continue;
        assert_int_equal(
            hf_io_open(f->io, path, HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE, &file), 0);
        assert_int_equal(hf_io_write(file, old[i], sizes[i], 0), 0);
        hf_io_close(file);
    }
    assert_int_equal(hf_test_store_open(&f->store), 0);
    assert_int_equal(hf_machine_status(f->store.machine, &after), 0);
    assert_true(after.summary.generation < before.summary.generation);
}

static void fault_35_a_merge_without_room_loses_nothing_and_ends_later(void **state)
{
    struct fixture *f = *state;
    struct hf_fault_plan *plan = hf_io_fault_plan(f->io);
    unsigned failures = 0;

    assert_int_equal(hf_test_protect(&f->source, 2), 0);
    changes(f, 100);
    for (uint64_t ahead = 0; ahead < 20; ahead++) {
        int r = 1;

        *plan = no_fault;
        plan->error = -ENOSPC;
        plan->persistent = true;
        plan->fail_change = (int64_t)(hf_io_fault_changes(f->io) + ahead);
        for (unsigned i = 0; r == 1 && i < 50; i++)
            r = hf_machine_maintain(f->store.machine, 64 * HF_KIB);
        failures += r < 0;
        *plan = no_fault;
        assert_all_equal(f, 5);
        if (hf_machine_maintain(f->store.machine, HF_MIB) == -HF_ESYNC) {
            reopen(f);
            hf_test_rewind(&f->source);
        }
        changes(f, 10);
    }
    assert_true(failures > 0);
    assert_int_equal(hf_test_maintain(&f->source), 0);
    assert_all_equal(f, 5);
}

/* ---- Hashes over a stop ---- */

static void hashes_survive_an_orderly_stop_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct hf_hash128 before[4], after[4];
    char path[HF_IO_PATH_MAX];
    struct hf_file *file;
    uint64_t reads;

    assert_int_equal(hf_test_protect(&f->source, 1), 0);
    assert_int_equal(hf_machine_hashes(f->store.machine, 0, 0, 65536, 4, before), 0);
    reopen(f);
    hf_test_rewind(&f->source);
    hf_machine_path(&f->store.id, "newest.hash", path);
    assert_int_equal(hf_io_open(f->io, path, HF_OPEN_READ, &file), -ENOENT);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(hf_newest_get(&f->store.machine->newest, 0, i, &after[i]));
        assert_int_equal(hf_hash128_compare(&before[i], &after[i]), 0);
    }
    /* something that is not durable when it stops: nothing is kept */
    assert_int_equal(hf_test_write(&f->source, 0, 0, 512), 0);
    assert_int_equal(hf_test_flush(&f->source), 0);
    reopen(f);
    hf_test_rewind(&f->source);
    assert_false(hf_newest_get(&f->store.machine->newest, 0, 3, &after[3]));
    reads = hf_io_fault_reads(f->io);
    assert_int_equal(hf_machine_hashes(f->store.machine, 0, 0, 65536, 4, after), 0);
    assert_true(hf_io_fault_reads(f->io) > reads);
    assert_int_not_equal(hf_hash128_compare(&before[0], &after[0]), 0);
    assert_int_equal(hf_hash128_compare(&before[3], &after[3]), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(fault_06_points_wait_until_the_last_disk_is_whole_again),
        CASE(fault_13_old_points_keep_the_old_size),
        CASE(fault_16_disks_share_one_order),
        CASE(fault_27_a_failed_sync_of_a_base_image_is_never_repeated),
        CASE(fault_27_after_a_failed_sync_the_machine_goes_on_where_it_is_durable),
        CASE(fault_28_a_full_disk_refuses_new_data_and_keeps_the_old),
        CASE(fault_28_a_journal_over_its_limit_shortens_the_window_not_the_newest),
        CASE(fault_29_rot_in_a_base_image_is_never_served),
        CASE(fault_29_a_checksum_pass_mends_a_damaged_block),
        CASE(fault_30_an_interrupted_merge_is_done_again),
        CASE(fault_32_what_needs_a_missing_segment_is_not_offered),
        CASE(fault_34_partial_base_is_never_opened),
        CASE(fault_34_progress_of_a_later_first_pass_survives),
        CASE(a_pass_that_lacks_batches_cannot_be_ended),
        CASE(fault_35_a_store_that_was_set_back_shows_a_lower_generation),
        CASE(fault_35_a_merge_without_room_loses_nothing_and_ends_later),
        CASE(hashes_survive_an_orderly_stop_and_nothing_else),
        CASE(fault_42_a_point_inside_a_pass_is_listed_with_its_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
