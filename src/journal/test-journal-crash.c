// SPDX-License-Identifier: Apache-2.0
/*
 * The crash sweep (P4, faults 29 and 30): the power goes at every change of the reference workload,
 * and at every change of the recovery after that; whatever survives of the unsynced sectors, what
 * was acknowledged is there byte for byte, the digest goes on, and nothing is called damage.
 * Argument: how many random survivals each cut gets (default 2), then "recovery" to cut recovery
 * everywhere too.
 */
#include "base/test-support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "io/io-test.h"
#include "journal/workload-test.h"

static unsigned random_modes = 2;
static bool recovery_everywhere;

struct fate {
    enum hf_crash_survive survive;
    uint64_t seed;
};

static struct fate fate_of(unsigned mode)
{
    static const enum hf_crash_survive fixed[] = {HF_CRASH_LOSE_ALL, HF_CRASH_KEEP_ALL,
                                                  HF_CRASH_TEAR_LAST};

    if (mode < HF_ARRAY_COUNT(fixed))
        return (struct fate){fixed[mode], 0};
    return (struct fate){HF_CRASH_RANDOM, mode};
}

static unsigned fate_count(void)
{
    return 3 + random_modes;
}

static uint64_t count_changes(const struct hf_workload *workload)
{
    struct hf_workload_acked acked;
    struct hf_io *io;
    uint64_t changes;

    assert_int_equal(hf_io_crash_new(&io), 0);
    assert_int_equal(hf_workload_run(workload, io, false, &acked), 0);
    changes = hf_io_crash_changes(io);
    assert_int_equal(hf_workload_check(workload, io, &acked), 0);
    hf_io_free(io);
    return changes;
}

/* The power goes at change n of the workload. */
static struct hf_io *crashed(const struct hf_workload *workload, uint64_t n, struct fate fate,
                             struct hf_workload_acked *acked)
{
    struct hf_io *io;

    assert_int_equal(hf_io_crash_new(&io), 0);
    hf_io_crash_cut_at(io, n);
    assert_true(hf_workload_run(workload, io, false, acked) < 0);
    assert_int_equal(hf_io_crash_restart(io, fate.survive, fate.seed), 0);
    return io;
}

static void sweep_cut(const struct hf_workload *workload, uint64_t n, unsigned mode)
{
    struct fate fate = fate_of(mode);
    struct hf_workload_acked acked;
    struct hf_io *io = crashed(workload, n, fate, &acked);

    if (hf_workload_check(workload, io, &acked) < 0)
        fail_msg("cut at change %llu, mode %u", (unsigned long long)n, mode);
    hf_io_free(io);
}

static void every_cut_leaves_what_was_acknowledged(void **state)
{
    struct hf_workload workload;
    uint64_t changes;
    uint64_t cuts = 0;

    hf_workload_init(&workload, 1);
    changes = count_changes(&workload);
    for (uint64_t n = 0; n < changes; n++)
        for (unsigned mode = 0; mode < fate_count(); mode++, cuts++)
            sweep_cut(&workload, n, mode);
    hf_workload_done(&workload);
    printf("crash sweep: %llu changes, %llu cuts, all recovered\n", (unsigned long long)changes,
           (unsigned long long)cuts);
}

/* Opens after a first crash with a second cut at change m; false when recovery was over before. */
static bool recovery_cut(struct hf_io *io, uint64_t m)
{
    struct hf_journal_bench bench;
    struct hf_journal *journal = NULL;
    uint64_t changes;
    int r;

    hf_journal_bench_init(&bench, io, 78);
    hf_io_crash_cut_at(io, m);
    r = hf_journal_open(&bench.options, NULL, &journal);
    hf_journal_close(journal);
    changes = hf_io_crash_changes(io);
    return r < 0 || changes > m;
}

static uint64_t sweep_recovery(const struct hf_workload *workload, uint64_t n, unsigned mode)
{
    uint64_t cuts = 0;

    for (uint64_t m = 0;; m++, cuts++) {
        struct fate first = fate_of(mode);
        struct fate second = fate_of((unsigned)(n + m) % fate_count());
        struct hf_workload_acked acked;
        struct hf_io *io = crashed(workload, n, first, &acked);
        bool cut = recovery_cut(io, m);

        assert_int_equal(hf_io_crash_restart(io, second.survive, n * 1000 + m), 0);
        if (hf_workload_check(workload, io, &acked) < 0)
            fail_msg("cut at change %llu, mode %u, then at %llu of the recovery",
                     (unsigned long long)n, mode, (unsigned long long)m);
        hf_io_free(io);
        if (!cut)
            return cuts;
    }
}

static void a_cut_during_recovery_leaves_it_too(void **state)
{
    struct hf_workload workload;
    uint64_t step = recovery_everywhere ? 1 : 17;
    uint64_t changes;
    uint64_t cuts = 0;

    hf_workload_init(&workload, 1);
    changes = count_changes(&workload);
    for (uint64_t n = 0; n < changes; n += step)
        cuts += sweep_recovery(&workload, n, (unsigned)(n % fate_count()));
    hf_workload_done(&workload);
    assert_true(cuts > changes / step);
    printf("crash sweep: %llu cuts during recovery, all recovered\n", (unsigned long long)cuts);
}

/* The process dies at change n, another one opens the journal and goes on, and then the power goes:
 * what the second one found and relied on must not depend on what only the first had seen. */
static void kill_then_cut(const struct hf_workload *workload, uint64_t n, unsigned mode)
{
    struct fate fate = fate_of(mode);
    struct hf_workload_acked acked;
    struct hf_journal_bench bench;
    struct hf_journal *journal = NULL;
    struct hf_io *disk;
    struct hf_io *io;

    assert_int_equal(hf_io_crash_new(&disk), 0);
    assert_int_equal(hf_io_fault_new(disk, &io), 0);
    hf_io_fault_plan(io)->fail_change = (int64_t)n;
    hf_io_fault_plan(io)->persistent = true;
    (void)hf_workload_run(workload, io, false, &acked);
    hf_io_fault_plan(io)->fail_change = -1;
    hf_journal_bench_init(&bench, io, 80);
    assert_int_equal(hf_journal_open(&bench.options, NULL, &journal), 0);
    hf_workload_note(&acked, journal);
    hf_journal_close(journal);
    hf_io_free(io);
    assert_int_equal(hf_io_crash_restart(disk, fate.survive, fate.seed), 0);
    if (hf_workload_check(workload, disk, &acked) < 0)
        fail_msg("killed at change %llu, then cut, mode %u", (unsigned long long)n, mode);
    hf_io_free(disk);
}

static void a_kill_and_then_a_cut_leave_what_the_second_process_found(void **state)
{
    struct hf_workload workload;
    uint64_t changes;

    hf_workload_init(&workload, 1);
    changes = count_changes(&workload);
    for (uint64_t n = 0; n < changes; n++)
        for (unsigned mode = 0; mode < fate_count(); mode++)
            kill_then_cut(&workload, n, mode);
    hf_workload_done(&workload);
    printf("crash sweep: %llu kills followed by a cut\n",
           (unsigned long long)(changes * fate_count()));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_leaves_what_was_acknowledged),
        cmocka_unit_test(a_cut_during_recovery_leaves_it_too),
        cmocka_unit_test(a_kill_and_then_a_cut_leave_what_the_second_process_found),
    };

    if (argc > 1)
        random_modes = (unsigned)strtoul(argv[1], NULL, 10);
    recovery_everywhere = argc > 2 && strcmp(argv[2], "recovery") == 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
