// SPDX-License-Identifier: Apache-2.0
/* Points, times, views, overlays, leases, export. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/base.h"
#include "base/error.h"
#include "store/export.h"
#include "store/lease.h"
#include "store/reader-internal.h"
#include "store/store-test.h"
#include "store/time-text.h"

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
    f->store.options.retention.window_ns = 2 * HF_NS_PER_S;
    assert_int_equal(hf_test_store_open(&f->store), 0);
    hf_test_source_init(&f->source, &f->store, 2);
    assert_int_equal(hf_test_protect(&f->source, 2), 0);
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

static void changes(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(hf_test_random_change(&f->source, (uint16_t)(i % 2)), 0);
        if (i % 3 == 0)
            assert_int_equal(hf_test_flush(&f->source), 0);
    }
    assert_int_equal(hf_test_sync(&f->source), 0);
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

static uint64_t found(struct fixture *f, const char *text)
{
    struct hf_point points[HF_POINT_CANDIDATES_MAX];
    size_t count;

    assert_int_equal(find(f, text, points, &count), 0);
    assert_int_equal(count, 1);
    assert_true(points[0].openable);
    return points[0].position;
}

static struct hf_view *open_view(struct fixture *f, uint64_t position, bool writable,
                                 uint64_t overlay_bytes_max)
{
    struct hf_view_options options = {
        .position = position, .writable = writable, .overlay_bytes_max = overlay_bytes_max};
    struct hf_view *view;

    assert_int_equal(hf_view_open(f->store.store, &f->store.id, &options, &view), 0);
    return view;
}

/* ---- Texts ---- */

static int64_t instant(const char *text)
{
    int64_t instants[HF_TIME_INSTANTS_MAX];
    size_t count;

    assert_int_equal(hf_time_parse(text, 1000 * (int64_t)HF_NS_PER_S, instants, &count), 0);
    assert_int_equal(count, 1);
    return instants[0];
}

static void times_are_read_as_written(void **state)
{
    int64_t instants[HF_TIME_INSTANTS_MAX];
    size_t count;
    static const char *const wrong[] = {"",
                                        "yesterday",
                                        "2023-13-01 00:00:00Z",
                                        "2023-01-01",
                                        "-",
                                        "-10",
                                        "-10y",
                                        "2023-01-01T00:00:00+1",
                                        "2023-01-01T",
                                        "2023-01-01 25:00Z",
                                        "2023-01-01 00:00:00.Z",
                                        "2023-01-01 00:00:00Zx",
                                        "-99999999999999999999s"};

    assert_true(instant("1970-01-01T00:00:01Z") == (int64_t)HF_NS_PER_S);
    assert_true(instant("1970-01-01 01:00+01:00") == 0);
    assert_true(instant("1970-01-01T00:00:00.25Z") == 250000000);
    assert_true(instant("-10s") == 990 * (int64_t)HF_NS_PER_S);
    assert_true(instant("-2m") == 880 * (int64_t)HF_NS_PER_S);
    for (size_t i = 0; i < HF_ARRAY_COUNT(wrong); i++)
        assert_int_equal(hf_time_parse(wrong[i], 0, instants, &count), -EINVAL);
}

static void fault_39_the_hour_that_comes_twice_names_two_instants(void **state)
{
    int64_t instants[HF_TIME_INSTANTS_MAX];
    size_t count;

    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    assert_int_equal(hf_time_parse("2023-10-29 02:30", 0, instants, &count), 0);
    assert_int_equal(count, 2);
    assert_true(instants[1] - instants[0] == 3600 * (int64_t)HF_NS_PER_S);
    assert_int_equal(hf_time_parse("2023-06-01 12:00", 0, instants, &count), 0);
    assert_int_equal(count, 1);
    assert_true(instants[0] == instant("2023-06-01T10:00Z"));
    unsetenv("TZ");
    tzset();
}

static void every_form_of_a_point_is_found(void **state)
{
    struct fixture *f = *state;
    struct hf_point points[HF_POINT_CANDIDATES_MAX];
    char text[HF_ID_TEXT_SIZE], number[64];
    uint64_t crash_at, app_at;
    struct hf_id crash, app;
    size_t count;

    assert_int_equal(hf_test_mark(&f->source, HF_MARK_APP, "consistent", &app), 0);
    app_at = hf_test_position(&f->source);
    changes(f, 10);
    assert_int_equal(hf_test_mark(&f->source, HF_MARK_CRASH, "any", &crash), 0);
    crash_at = hf_test_position(&f->source);
    changes(f, 10);
    assert_int_equal(found(f, "latest"), hf_test_position(&f->source));
    assert_int_equal(found(f, "latest-mark"), crash_at);
    assert_int_equal(found(f, "latest-app"), app_at);
    hf_id_format(&app, text);
    assert_int_equal(found(f, text), app_at);
    text[8] = '\0';
    assert_int_equal(found(f, text), app_at);
    snprintf(number, sizeof(number), "pos:%llu", (unsigned long long)app_at + 1);
    assert_int_equal(found(f, number), app_at + 1);
    snprintf(number, sizeof(number), "seq:%llu", (unsigned long long)(crash_at - f->source.base));
    assert_int_equal(found(f, number), crash_at);
    assert_int_equal(find(f, "00000000", points, &count), -HF_ENOPOINT);
    assert_int_equal(find(f, "pos:999999999999", points, &count), -HF_ENOPOINT);
    assert_int_equal(find(f, "pos:1", points, &count), -HF_EPARTIAL);
    assert_int_equal(find(f, "pos:x", points, &count), -EINVAL);
    assert_int_equal(find(f, "when it was good", points, &count), -EINVAL);
}

static void a_second_is_the_last_position_at_or_before_it(void **state)
{
    struct fixture *f = *state;
    struct hf_point points[HF_POINT_CANDIDATES_MAX];
    uint64_t at[20];
    char text[16];
    size_t count;

    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(hf_test_write(&f->source, 0, i * 512, 512), 0);
        f->store.clock.wall_ns += 900 * (int64_t)HF_NS_PER_MS; /* a second with the flush's own */
        f->store.clock.boot_ns += 900 * HF_NS_PER_MS;
        assert_int_equal(hf_test_sync(&f->source), 0);
        at[i] = hf_test_position(&f->source);
    }
    for (unsigned back = 0; back < 15; back++) {
        snprintf(text, sizeof(text), "-%us", back);
        assert_int_equal(find(f, text, points, &count), 0);
        assert_int_equal(points[0].position, at[19 - back]);
    }
}

static void a_point_below_the_window_is_pruned(void **state)
{
    struct fixture *f = *state;
    struct hf_point points[HF_POINT_CANDIDATES_MAX];
    uint64_t old = hf_test_position(&f->source);
    char text[64];
    size_t count;

    changes(f, 150);
    assert_int_equal(hf_test_maintain(&f->source), 0);
    snprintf(text, sizeof(text), "pos:%llu", (unsigned long long)old);
    assert_int_equal(find(f, text, points, &count), -HF_EPRUNED);
    assert_int_equal(find(f, "2001-01-01T00:00:00Z", points, &count), -HF_EPRUNED);
}

static void descriptions_follow_the_position_through_merging(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_reader *reader;
    uint64_t before = hf_test_position(&f->source);
    char *json;

    assert_int_equal(hf_test_describe(&f->source, 2, "{\"name\":\"second\"}"), 0);
    changes(f, 6);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(hf_machine_reader_open(f->store.store, &f->store.id, &reader), 0);
        if (round == 0) {
            assert_int_equal(hf_point_machine_description(reader, before, &json), 0);
            assert_string_equal(json, "{\"name\":\"first\"}");
            free(json);
        }
        assert_int_equal(hf_point_machine_description(reader, hf_test_position(&f->source), &json),
                         0);
        assert_string_equal(json, "{\"name\":\"second\"}");
        free(json);
        hf_machine_reader_close(reader);
        changes(f, 150);
        assert_int_equal(hf_test_maintain(&f->source), 0);
    }
}

static int on_machine(void *context, const struct hf_machine_summary *summary)
{
    *(struct hf_machine_summary *)context = *summary;
    return 0;
}

static void machines_are_listed_without_a_lock(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_summary summary = {0};

    assert_int_equal(hf_machine_name_set(f->store.machine, "db1"), 0);
    assert_int_equal(hf_store_machines(f->store.store, on_machine, &summary), 0);
    assert_string_equal(summary.name, "db1");
    assert_int_equal(summary.error, 0);
    assert_true(summary.consistent && !summary.partial);
    assert_int_equal(summary.disk_count, 2);
    assert_int_equal(summary.newest, hf_test_position(&f->source));
    assert_true(summary.journal_bytes > 0 && summary.base_bytes > 0);
}

/* ---- Views ---- */

struct extent_check {
    const uint8_t *image;
    uint64_t next;
    uint64_t holes;
};

static int on_extent(void *context, uint64_t offset, uint64_t length, bool hole)
{
    struct extent_check *check = context;

    assert_int_equal(offset, check->next);
    assert_true(length > 0);
    for (uint64_t i = 0; hole && i < length; i++)
        assert_int_equal(check->image[offset + i], 0);
    check->holes += hole;
    check->next = offset + length;
    return 0;
}

static void extents_cover_the_range_and_holes_are_zeros(void **state)
{
    struct fixture *f = *state;
    static uint8_t image[HF_TEST_DISK_BYTES];
    struct extent_check check = {.image = image};
    struct hf_view *view;
    uint64_t position;

    assert_int_equal(hf_test_zero(&f->source, 0, 65536, 65536, false), 0);
    changes(f, 20);
    position = hf_test_position(&f->source);
    view = open_view(f, position, false, 0);
    hf_model_image(&f->source.model, position, 0, image, sizeof(image));
    assert_int_equal(hf_view_extents(view, 0, 0, sizeof(image), on_extent, &check), 0);
    assert_int_equal(check.next, sizeof(image));
    check.next = 1000;
    assert_int_equal(hf_view_extents(view, 0, 1000, 77777, on_extent, &check), 0);
    assert_int_equal(check.next, 78777);
    assert_true(check.holes > 0);
    assert_int_equal(hf_view_extents(view, 0, 1, sizeof(image), on_extent, &check), -EINVAL);
    assert_int_equal(hf_view_extents(view, 9, 0, 1, on_extent, &check), -ENOENT);
    hf_view_close(view);
}

static void fault_38_writes_go_to_the_overlay_and_nowhere_else(void **state)
{
    struct fixture *f = *state;
    static uint8_t image[HF_TEST_DISK_BYTES], got[HF_TEST_DISK_BYTES], data[65536];
    uint64_t position = hf_test_position(&f->source);
    struct hf_view *view = open_view(f, position, true, 0);

    hf_model_image(&f->source.model, position, 0, image, sizeof(image));
    for (unsigned i = 0; i < 300; i++) {
        uint64_t offset = hf_random_seeded_next(&f->source.random) % (sizeof(image) - 20000);
        size_t length = 1 + hf_random_seeded_next(&f->source.random) % 20000;

        memset(data, (int)i, length);
        if (i % 4 == 3) {
            memset(data, 0, length);
            assert_int_equal(hf_view_zero(view, 0, offset, length), 0);
        } else {
            assert_int_equal(hf_view_write(view, 0, offset, data, length), 0);
        }
        memcpy(image + offset, data, length);
    }
    assert_int_equal(hf_view_read(view, 0, 0, got, sizeof(got)), 0);
    assert_memory_equal(got, image, sizeof(image));
    assert_int_equal(hf_view_flush(view, 0), 0);
    hf_view_close(view);
    view = open_view(f, position, false, 0);
    assert_null(hf_test_compare_view(&f->source, view, position));
    assert_int_equal(hf_view_write(view, 0, 0, data, 512), -EROFS);
    hf_view_close(view);
}

static void fault_38_a_full_overlay_is_a_clear_error(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[65536], got[4096];
    struct hf_view *view = open_view(f, hf_test_position(&f->source), true, 4 * 4096);

    memset(data, 0x77, sizeof(data));
    assert_int_equal(hf_view_write(view, 0, 0, data, sizeof(data)), -HF_EQUOTA);
    assert_int_equal(hf_view_write(view, 0, 4096, data, 4096), 0); /* has its place already */
    assert_int_equal(hf_view_zero(view, 1, 0, 65536), 0);          /* zeros need none */
    assert_int_equal(hf_view_read(view, 0, 4096, got, 4096), 0);
    assert_memory_equal(got, data, 4096);
    hf_view_close(view);
}

static int stop_export(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
    return -ECANCELED;
}

static void an_export_equals_the_view_or_is_not_there(void **state)
{
    struct fixture *f = *state;
    static uint8_t image[HF_TEST_DISK_BYTES], got[HF_TEST_DISK_BYTES];
    struct hf_export_options options = {.progress = stop_export};
    uint64_t position, data_bytes;
    struct hf_file *file;
    struct hf_view *view;

    changes(f, 20);
    position = hf_test_position(&f->source);
    view = open_view(f, position, false, 0);
    assert_int_equal(hf_view_export(view, 1, f->io, "out.raw", NULL, &data_bytes), 0);
    assert_int_equal(hf_view_export(view, 1, f->io, "out.raw", NULL, NULL), -EEXIST);
    hf_model_image(&f->source.model, position, 1, image, sizeof(image));
    assert_int_equal(hf_io_open(f->io, "out.raw", HF_OPEN_READ, &file), 0);
    assert_int_equal(hf_io_read_full(file, got, sizeof(got), 0), 0);
    hf_io_close(file);
    assert_memory_equal(got, image, sizeof(image));
    assert_true(data_bytes > 0 && data_bytes <= sizeof(image));
    assert_int_equal(hf_view_export(view, 1, f->io, "half.raw", &options, NULL), -ECANCELED);
    assert_int_equal(hf_io_open(f->io, "half.raw", HF_OPEN_READ, &file), -ENOENT);
    assert_int_equal(hf_view_export(view, 7, f->io, "none.raw", NULL, NULL), -ENOENT);
    hf_view_close(view);
}

/* ---- Leases ---- */

static void a_lease_keeps_merging_below_it(void **state)
{
    struct fixture *f = *state;
    struct hf_machine_status status;
    struct hf_view *view;
    uint64_t position;

    changes(f, 30);
    position = hf_test_position(&f->source);
    view = open_view(f, position, false, 0);
    changes(f, 150);
    assert_int_equal(hf_test_maintain(&f->source), 0);
    assert_int_equal(hf_machine_status(f->store.machine, &status), 0);
    assert_true(status.merges_skipped > 0);
    assert_true(status.summary.oldest_openable <= position);
    assert_null(hf_test_compare_view(&f->source, view, position));
    hf_view_close(view);
    assert_int_equal(hf_test_maintain(&f->source), 0);
    assert_int_equal(hf_machine_status(f->store.machine, &status), 0);
    assert_true(status.summary.base_at > position);
}

static int count_name(void *context, const char *name)
{
    (*(unsigned *)context)++;
    return 0;
}

static void a_dead_reader_s_lease_is_removed(void **state)
{
    struct fixture *f = *state;
    struct hf_lease lease;
    char path[HF_IO_PATH_MAX];
    unsigned count = 0;
    uint64_t floor;

    assert_int_equal(hf_lease_take(f->store.store, &f->store.id, 5000, &lease), 0);
    assert_int_equal(hf_lease_floor(f->store.store, &f->store.id, &floor), 0);
    assert_int_equal(floor, 5000);
    hf_io_close(lease.file); /* as when its process is killed */
    assert_int_equal(hf_lease_floor(f->store.store, &f->store.id, &floor), 0);
    assert_true(floor == UINT64_MAX);
    hf_machine_path(&f->store.id, "leases", path);
    assert_int_equal(hf_io_list(f->io, path, count_name, &count), 0);
    assert_int_equal(count, 0);
}

static void a_lease_whose_content_is_bad_keeps_everything(void **state)
{
    struct fixture *f = *state;
    struct hf_lease lease;
    uint64_t floor;

    assert_int_equal(hf_lease_take(f->store.store, &f->store.id, 5000, &lease), 0);
    assert_int_equal(hf_io_write(lease.file, "x", 1, 3), 0);
    assert_int_equal(hf_lease_floor(f->store.store, &f->store.id, &floor), 0);
    assert_int_equal(floor, 0);
    hf_lease_give_back(&lease);
}

static void reading_without_a_lease_needs_the_writer_gone(void **state)
{
    struct fixture *f = *state;
    struct hf_machine *machine;
    struct hf_store *store;
    struct hf_lease lease;

    assert_int_equal(hf_lease_take_readonly(f->store.store, &f->store.id, &lease), -EROFS);
    hf_test_store_close(&f->store);
    assert_int_equal(hf_store_open(f->io, &f->store.clock.clock, &f->store.random.random, &store),
                     0);
    assert_int_equal(hf_lease_take_readonly(store, &f->store.id, &lease), 0);
    assert_int_equal(hf_machine_open(store, &f->store.id, &f->store.options, NULL, &machine),
                     -EBUSY);
    hf_lease_give_back(&lease);
    hf_store_close(store);
    assert_int_equal(hf_test_store_open(&f->store), 0);
}

/* ---- The writer ---- */

static void an_older_epoch_is_fenced(void **state)
{
    struct fixture *f = *state;
    struct hf_stream_id old = f->source.stream;

    assert_int_equal(hf_machine_epoch(f->store.machine), 1);
    assert_int_equal(hf_machine_epoch_raise(f->store.machine, 4), 0);
    assert_int_equal(hf_machine_epoch_raise(f->store.machine, 3), -HF_EFENCED);
    assert_int_equal(hf_machine_stream_begin(f->store.machine, &old), -HF_EFENCED);
    hf_test_store_close(&f->store);
    assert_int_equal(hf_test_store_open(&f->store), 0);
    assert_int_equal(hf_machine_epoch(f->store.machine), 4);
}

static void hashes_are_of_the_newest_state(void **state)
{
    struct fixture *f = *state;
    static uint8_t image[HF_TEST_DISK_BYTES];
    struct hf_hash128 hashes[64], expected;
    uint64_t secret;

    assert_int_equal(hf_machine_hash_secret(f->store.machine, 0, &secret), 0);
    for (unsigned round = 0; round < 20; round++) {
        uint32_t size = round % 2 == 0 ? 65536 : 4096;

        changes(f, 4);
        assert_int_equal(
            hf_machine_hashes(f->store.machine, 0, 0, size, HF_TEST_DISK_BYTES / size, hashes), 0);
        hf_model_image(&f->source.model, UINT64_MAX, 0, image, sizeof(image));
        for (uint32_t i = 0; i < HF_TEST_DISK_BYTES / size; i++) {
            expected = hf_hash128(image + (size_t)i * size, size, secret);
            assert_int_equal(hf_hash128_compare(&expected, &hashes[i]), 0);
        }
        if (round % 5 == 4)
            assert_int_equal(hf_test_maintain(&f->source), 0);
    }
    assert_int_equal(hf_machine_hashes(f->store.machine, 0, 0, 65536, 5, hashes), -EINVAL);
    assert_int_equal(hf_machine_hashes(f->store.machine, 0, 0, 512, 1, hashes), -EINVAL);
    assert_int_equal(hf_machine_hashes(f->store.machine, 3, 0, 4096, 1, hashes), -ENOENT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read_as_written),
        cmocka_unit_test(fault_39_the_hour_that_comes_twice_names_two_instants),
        CASE(every_form_of_a_point_is_found),
        CASE(a_second_is_the_last_position_at_or_before_it),
        CASE(a_point_below_the_window_is_pruned),
        CASE(descriptions_follow_the_position_through_merging),
        CASE(machines_are_listed_without_a_lock),
        CASE(extents_cover_the_range_and_holes_are_zeros),
        CASE(fault_38_writes_go_to_the_overlay_and_nowhere_else),
        CASE(fault_38_a_full_overlay_is_a_clear_error),
        CASE(an_export_equals_the_view_or_is_not_there),
        CASE(a_lease_keeps_merging_below_it),
        CASE(a_dead_reader_s_lease_is_removed),
        CASE(a_lease_whose_content_is_bad_keeps_everything),
        CASE(reading_without_a_lease_needs_the_writer_gone),
        CASE(an_older_epoch_is_fenced),
        CASE(hashes_are_of_the_newest_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
