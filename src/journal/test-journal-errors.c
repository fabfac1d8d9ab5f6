// SPDX-License-Identifier: Apache-2.0
/*
 * The I/O-error sweep (faults 22, 27, 28): every change and every read of the reference workload
 * fails, once or from then on, with EIO or a full disk, whole or half written. The call says so,
 * nothing that was acknowledged is lost, and the journal opens and goes on once the fault is gone.
 */
#include "base/test-support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "io/io-test.h"
#include "journal/workload-test.h"

struct disk {
    struct hf_io *memory;
    struct hf_io *io;
};

static void disk_make(struct disk *disk)
{
    assert_int_equal(hf_io_memory_new(&disk->memory), 0);
    assert_int_equal(hf_io_fault_new(disk->memory, &disk->io), 0);
}

static void disk_free(struct disk *disk)
{
    hf_io_free(disk->io);
    hf_io_free(disk->memory);
}

static void faults_off(struct disk *disk)
{
    struct hf_fault_plan *plan = hf_io_fault_plan(disk->io);

    plan->fail_change = -1;
    plan->fail_read = -1;
    plan->full_after_bytes = 0;
}

struct variant {
    bool read;
    bool persistent;
    bool short_write;
    int error;
};

static const struct variant variants[] = {
    {false, false, false, -EIO}, {false, true, false, -EIO},    {false, false, true, -EIO},
    {false, true, true, -EIO},   {false, false, true, -ENOSPC}, {false, true, true, -ENOSPC},
    {true, false, false, -EIO},  {true, true, false, -EIO},
};

static void plan_set(struct disk *disk, const struct variant *variant, uint64_t n)
{
    struct hf_fault_plan *plan = hf_io_fault_plan(disk->io);

    plan->fail_change = variant->read ? -1 : (int64_t)n;
    plan->fail_read = variant->read ? (int64_t)n : -1;
    plan->persistent = variant->persistent;
    plan->short_write = variant->short_write;
    plan->error = variant->error;
}

static bool is_clean(int error)
{
    return error == -EIO || error == -ENOSPC || error == -HF_ESYNC;
}

static void fail_at(const struct hf_workload *workload, const struct variant *variant, uint64_t n,
                    bool patient)
{
    struct hf_workload_acked acked;
    struct disk disk;
    int r;

    disk_make(&disk);
    plan_set(&disk, variant, n);
    r = hf_workload_run(workload, disk.io, patient, &acked);
    if (r < 0 && !is_clean(r))
        fail_msg("place %llu: error %s", (unsigned long long)n, hf_error_name(r));
    if (r < 0 && patient && !variant->persistent)
        fail_msg("place %llu: one fault stopped a patient sender: %s", (unsigned long long)n,
                 hf_error_name(r));
    faults_off(&disk);
    if (hf_workload_check(workload, disk.io, &acked) < 0)
        fail_msg("place %llu, read %d, persistent %d, short %d, patient %d, error %s",
                 (unsigned long long)n, variant->read, variant->persistent, variant->short_write,
                 patient, hf_error_name(variant->error));
    disk_free(&disk);
}

static void count_places(const struct hf_workload *workload, uint64_t *ret_changes,
                         uint64_t *ret_reads)
{
    struct hf_workload_acked acked;
    struct disk disk;

    disk_make(&disk);
    assert_int_equal(hf_workload_run(workload, disk.io, false, &acked), 0);
    *ret_changes = hf_io_fault_changes(disk.io);
    *ret_reads = hf_io_fault_reads(disk.io);
    disk_free(&disk);
}

static void sweep(bool patient)
{
    struct hf_workload workload;
    uint64_t changes;
    uint64_t reads;
    uint64_t faults = 0;

    hf_workload_init(&workload, 1);
    count_places(&workload, &changes, &reads);
    for (size_t v = 0; v < HF_ARRAY_COUNT(variants); v++)
        for (uint64_t n = 0; n < (variants[v].read ? reads : changes); n++, faults++)
            fail_at(&workload, &variants[v], n, patient);
    hf_workload_done(&workload);
    printf("error sweep: %llu changes, %llu reads, %llu faults\n", (unsigned long long)changes,
           (unsigned long long)reads, (unsigned long long)faults);
}

static void a_failed_call_loses_nothing_acknowledged(void **state)
{
    sweep(false);
}

static void a_sender_that_tries_again_gets_everything_through(void **state)
{
    sweep(true);
}

/* Fault 28: the disk fills at every so many bytes; what is acknowledged stays readable, dropping
 * always works, and with space back appends go on. */
static void full_at(const struct hf_workload *workload, uint64_t bytes)
{
    struct hf_workload_acked acked;
    struct hf_journal_bench bench;
    struct hf_journal *journal = NULL;
    struct hf_journal_progress progress;
    struct disk disk;
    uint64_t freed = 0;
    int r;

    disk_make(&disk);
    hf_io_fault_plan(disk.io)->full_after_bytes = bytes;
    hf_io_fault_plan(disk.io)->short_write = true;
    r = hf_workload_run(workload, disk.io, false, &acked);
    assert_true(r == 0 || r == -ENOSPC);
    hf_io_fault_plan(disk.io)->full_after_bytes = 0;
    assert_int_equal(hf_workload_check(workload, disk.io, &acked), 0);
    hf_journal_bench_init(&bench, disk.io, 79);
    assert_int_equal(hf_journal_open(&bench.options, NULL, &journal), 0);
    hf_journal_durable(journal, &progress);
    assert_int_equal(hf_journal_drop_below(journal, progress.position, &freed), 0);
    hf_journal_close(journal);
    disk_free(&disk);
}

static void fault_28_a_full_disk_loses_nothing(void **state)
{
    struct hf_workload workload;
    uint64_t places = 0;

    hf_workload_init(&workload, 1);
    for (uint64_t bytes = 1000; bytes < 600000; bytes += 1777, places++)
        full_at(&workload, bytes);
    hf_workload_done(&workload);
    printf("full disk: %llu places\n", (unsigned long long)places);
}

/* Fault 27: the sync fails once, the kernel would call the next one a success. */
static void fault_27_a_failed_sync_is_never_repeated_on_the_file(void **state)
{
    struct hf_journal_bench bench;
    struct hf_journal *journal = NULL;
    struct hf_journal_progress durable;
    struct hf_journal_progress appended;
    struct hf_feed feed;
    struct disk disk;
    size_t lost;

    disk_make(&disk);
    hf_journal_bench_init(&bench, disk.io, 3);
    hf_feed_init(&feed, 4);
    assert_int_equal(hf_journal_open(&bench.options, NULL, &journal), 0);
    assert_int_equal(hf_journal_stream_begin(journal, &feed.stream), 0);
    assert_int_equal(hf_feed_append(&feed, hf_feed_captured(&feed, 3), journal), 0);
    assert_int_equal(hf_journal_sync(journal), 0);
    hf_journal_durable(journal, &durable);
    lost = hf_feed_captured(&feed, 3);
    assert_int_equal(hf_feed_append(&feed, lost, journal), 0);
    hf_io_fault_plan(disk.io)->fail_change = (int64_t)hf_io_fault_changes(disk.io);
    /* The back end drops what was not synced, as kernels do: nothing can be rescued. */
    assert_int_equal(hf_journal_sync(journal), -HF_ESYNC);
    hf_journal_appended(journal, &appended);
    assert_int_equal(appended.seq, durable.seq);
    assert_int_equal(hf_feed_append(&feed, lost, journal), 0);
    assert_int_equal(hf_journal_sync(journal), 0);
    hf_journal_durable(journal, &durable);
    assert_int_equal(durable.seq, feed.seq);
    hf_journal_close(journal);
    hf_feed_done(&feed);
    disk_free(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_call_loses_nothing_acknowledged),
        cmocka_unit_test(a_sender_that_tries_again_gets_everything_through),
        cmocka_unit_test(fault_28_a_full_disk_loses_nothing),
        cmocka_unit_test(fault_27_a_failed_sync_is_never_repeated_on_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
