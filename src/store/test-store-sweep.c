// SPDX-License-Identifier: Apache-2.0
/*
 * Cuts the power, or fails a call, at every change that the reference workload makes; then opens
 * the store again and compares everything that can be opened with the model, goes on, and compares
 * again. `every` cuts the power and fails a call at every change, `long` does
 * so in every mode; otherwise a sample of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "io/io-test.h"
#include "store/store-test.h"

#define SEED 77

struct run {
    struct hf_io *io;
    struct hf_test_store store;
    struct hf_test_source source;
};

static void run_begin(struct run *run, struct hf_io *io)
{
    memset(run, 0, sizeof(*run));
    run->io = io;
    hf_test_store_init(&run->store, io, SEED);
    run->store.options.retention.window_ns = 2 * HF_NS_PER_S;
    hf_test_source_init(&run->source, &run->store, SEED);
}

static int run_workload(struct run *run)
{
    int r = hf_test_store_open(&run->store);

    return r < 0 ? r : hf_test_workload(&run->source);
}

static const char *check_acknowledged(struct run *run)
{
    struct hf_journal_progress progress;

    hf_machine_durable(run->store.machine, &progress);
    if (progress.position < run->source.acked_position)
        return "an acknowledged record is missing";
    if (progress.pass == run->source.acked_pass &&
        progress.pass_batch < run->source.acked_pass_batch)
        return "an acknowledged batch of a pass is missing";
    return NULL;
}

/* Opens what is left, compares, goes on, compares. */
static const char *run_check(struct run *run, size_t step, size_t *points)
{
    size_t count = 0;
    const char *wrong;

    if (hf_test_store_open(&run->store) < 0)
        return "the store cannot be opened again";
    if (run->store.recovery.damaged_segments > 0)
        return "a cut is taken for damage";
    wrong = check_acknowledged(run);
    if (wrong != NULL)
        return wrong;
    hf_test_rewind(&run->source);
    wrong = hf_test_compare_all(&run->source, step, &count);
    *points += count;
    if (wrong != NULL)
        return wrong;
    if (hf_test_go_on(&run->source) < 0)
        return "the machine does not go on";
    wrong = hf_test_compare_all(&run->source, step, &count);
    *points += count;
    if (wrong == NULL && hf_test_check_hashes(&run->source) < 0)
        wrong = "a hash of the newest state is wrong";
    return wrong;
}

static void run_end(struct run *run)
{
    hf_test_source_done(&run->source);
    hf_test_store_close(&run->store);
}

static uint64_t count_changes(void)
{
    struct run run;
    struct hf_io *io;
    uint64_t changes;
    int r;

    HF_ASSERT(hf_io_crash_new(&io) == 0);
    run_begin(&run, io);
    r = run_workload(&run);
    changes = hf_io_crash_changes(io);
    run_end(&run);
    hf_io_free(io);
    if (r < 0) {
        printf("the workload fails by itself: %s\n", hf_strerror(r));
        return 0;
    }
    return changes;
}

/* ---- Power cuts ---- */

static const char *cut_at(uint64_t change, enum hf_crash_survive survive, size_t step,
                          size_t *points)
{
    struct run run;
    struct hf_io *io;
    const char *wrong;

    HF_ASSERT(hf_io_crash_new(&io) == 0);
    hf_io_crash_cut_at(io, change);
    run_begin(&run, io);
    run_workload(&run);
    hf_test_store_close(&run.store);
    HF_ASSERT(hf_io_crash_restart(io, survive, change * 31 + survive) == 0);
    wrong = run_check(&run, step, points);
    run_end(&run);
    hf_io_free(io);
    return wrong;
}

/* stride 0: every change in one mode, the modes in turn. */
static int sweep_cuts(uint64_t stride, size_t step)
{
    static const char *const modes[] = {"lose all", "keep all", "tear last", "random"};
    uint64_t changes = count_changes(), cuts = 0;
    size_t points = 0;

    for (uint64_t at = 0; at < changes; at++) {
        for (unsigned survive = 0; survive < HF_ARRAY_COUNT(modes); survive++) {
            const char *wrong;

            if (stride == 0 ? at % HF_ARRAY_COUNT(modes) != survive
                            : (at * HF_ARRAY_COUNT(modes) + survive) % stride != 0)
                continue;
            wrong = cut_at(at, survive, step, &points);
            cuts++;
            if (wrong == NULL)
                continue;
            printf("cut at change %llu of %llu, %s: %s\n", (unsigned long long)at,
                   (unsigned long long)changes, modes[survive], wrong);
            return 1;
        }
    }
    printf("power cuts: %llu at %llu changes, %zu points compared\n", (unsigned long long)cuts,
           (unsigned long long)changes, points);
    return changes == 0;
}

/* ---- Failing calls ---- */

static const char *fail_at(const struct hf_fault_plan *plan, size_t step, size_t *points)
{
    struct hf_io *memory, *io;
    struct run run;
    const char *wrong;

    HF_ASSERT(hf_io_memory_new(&memory) == 0);
    HF_ASSERT(hf_io_fault_new(memory, &io) == 0);
    *hf_io_fault_plan(io) = *plan;
    run_begin(&run, io);
    run_workload(&run);
    hf_test_store_close(&run.store);
    *hf_io_fault_plan(io) = (struct hf_fault_plan){.fail_change = -1, .fail_read = -1};
    wrong = run_check(&run, step, points);
    run_end(&run);
    hf_io_free(io);
    hf_io_free(memory);
    return wrong;
}

static int sweep_faults(uint64_t stride, size_t step, const char *name,
                        const struct hf_fault_plan *pattern, bool reads, uint64_t calls)
{
    uint64_t tried = 0;
    size_t points = 0;

    for (uint64_t at = 0; at < calls; at += stride) {
        struct hf_fault_plan plan = *pattern;
        const char *wrong;

        *(reads ? &plan.fail_read : &plan.fail_change) = (int64_t)at;
        wrong = fail_at(&plan, step, &points);
        tried++;
        if (wrong == NULL)
            continue;
        printf("%s at call %llu: %s\n", name, (unsigned long long)at, wrong);
        return 1;
    }
    printf("%s: %llu of %llu calls, %zu points compared\n", name, (unsigned long long)tried,
           (unsigned long long)calls, points);
    return 0;
}

static uint64_t count_reads(void)
{
    struct hf_io *memory, *io;
    struct run run;
    uint64_t reads;

    HF_ASSERT(hf_io_memory_new(&memory) == 0);
    HF_ASSERT(hf_io_fault_new(memory, &io) == 0);
    *hf_io_fault_plan(io) = (struct hf_fault_plan){.fail_change = -1, .fail_read = -1};
    run_begin(&run, io);
    run_workload(&run);
    reads = hf_io_fault_reads(io);
    run_end(&run);
    hf_io_free(io);
    hf_io_free(memory);
    return reads;
}

/* `cut CHANGE MODE`: one cut of a sweep again, every position compared. */
static int repeat_cut(char **argv)
{
    size_t points = 0;
    const char *wrong = cut_at(strtoull(argv[2], NULL, 10),
                               (enum hf_crash_survive)strtoul(argv[3], NULL, 10), 1, &points);

    printf("%s, %zu points compared\n", wrong == NULL ? "well" : wrong, points);
    return wrong != NULL;
}

/* `fault CALL eio|torn|full|read`: likewise. */
static int repeat_fault(const char *kind, const struct hf_fault_plan *once,
                        const struct hf_fault_plan *torn, const struct hf_fault_plan *full,
                        uint64_t call)
{
    struct hf_fault_plan plan = strcmp(kind, "torn") == 0   ? *torn
                                : strcmp(kind, "full") == 0 ? *full
                                                            : *once;
    size_t points = 0;
    const char *wrong;

    *(strcmp(kind, "read") == 0 ? &plan.fail_read : &plan.fail_change) = (int64_t)call;
    wrong = fail_at(&plan, 1, &points);
    printf("%s, %zu points compared\n", wrong == NULL ? "well" : wrong, points);
    return wrong != NULL;
}

/* How much of it: see the top of the file. */
struct extent_of_sweep {
    uint64_t cut_stride; /* 0: as sweep_cuts says */
    size_t cut_step;
    uint64_t once_stride; /* calls that fail once */
    uint64_t stride;      /* the other failures */
};

static struct extent_of_sweep extent_of(const char *name)
{
    if (name != NULL && strcmp(name, "long") == 0)
        return (struct extent_of_sweep){1, 5, 1, 1};
    if (name != NULL && strcmp(name, "every") == 0)
        return (struct extent_of_sweep){0, 17, 1, 37};
    return (struct extent_of_sweep){41, 17, 37, 37};
}

int main(int argc, char **argv)
{
    struct extent_of_sweep extent = extent_of(argc > 1 ? argv[1] : NULL);
    struct hf_fault_plan once = {.fail_change = -1, .fail_read = -1, .error = -EIO};
    struct hf_fault_plan torn = once, full = once;
    uint64_t changes = count_changes();
    int failed;

    setvbuf(stdout, NULL, _IOLBF, 0);
    torn.short_write = true;
    torn.persistent = true;
    full.error = -ENOSPC;
    if (argc == 4 && strcmp(argv[1], "cut") == 0)
        return repeat_cut(argv);
    if (argc == 4 && strcmp(argv[1], "fault") == 0)
        return repeat_fault(argv[3], &once, &torn, &full, strtoull(argv[2], NULL, 10));
    failed = sweep_cuts(extent.cut_stride, extent.cut_step);
    if (!failed)
        failed = sweep_faults(extent.once_stride, 17, "-EIO once", &once, false, changes);
    if (!failed)
        failed = sweep_faults(extent.stride, 17, "-EIO from then on, short write", &torn, false,
                              changes);
    if (!failed)
        failed = sweep_faults(extent.stride, 17, "-ENOSPC once", &full, false, changes);
    if (!failed)
        failed = sweep_faults(extent.stride, 17, "failed read", &once, true, count_reads());
    return failed;
}
