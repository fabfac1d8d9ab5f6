// SPDX-License-Identifier: Apache-2.0
/* The back ends that prove journal and store: faults and power cuts. For tests and the simulator
 * only. */
#ifndef HF_IO_IO_TEST_H
#define HF_IO_IO_TEST_H

#include "io/io.h"

/* Calls are numbered from 0 in the order they are made, over all files; reads are counted apart
 * from changes. */
struct hf_fault_plan {
    int64_t
        fail_change; /* this write/sync/truncate/punch/allocate/rename/unlink/mkdir/sync_dir/create
                        fails; -1: none */
    int64_t fail_read; /* this read fails; -1: none */
    bool persistent;   /* every later call of that kind fails too */
    int error; /* negative errno to give; a failing sync also drops the file's unsynced data (fault
                  27) */
    bool short_write;          /* the failing write leaves its first half behind */
    uint64_t full_after_bytes; /* writes that would take the sum over this give -ENOSPC; 0: never */
    uint64_t delay_ns;         /* each call sleeps this long on `clock` */
    struct hf_clock *clock;
};

/* Wraps `inner` (borrowed: free it after this one). The plan begins as: nothing fails, error -EIO,
 * the system's clock; it may be changed between calls through hf_io_fault_plan. Opening counts as
 * a change only when it makes the file. A write that meets the full disk leaves what fits behind
 * when short_write is set. */
int hf_io_fault_new(struct hf_io *inner, struct hf_io **ret_io);
struct hf_fault_plan *hf_io_fault_plan(struct hf_io *io);
uint64_t hf_io_fault_changes(struct hf_io *io); /* changes so far */
uint64_t hf_io_fault_reads(struct hf_io *io);

/*
 * A disk that can lose power; README.md has the model. It holds two states: what running code sees,
 * and what a power cut would leave. Sync moves a file's content over; sync_dir moves names over.
 * hf_io_crash_cut_at(n) makes change n and all later ones fail with -EIO (the power is off);
 * hf_io_crash_restart gives the disk as the next boot finds it: of every unsynced write each
 * 512-byte sector is kept or lost as `survive` decides, so that writes are lost, reordered and
 * torn.
 */
enum hf_crash_survive {
    HF_CRASH_LOSE_ALL,  /* nothing unsynced survives */
    HF_CRASH_KEEP_ALL,  /* everything unsynced survives */
    HF_CRASH_TEAR_LAST, /* all but the last unsynced write survive; of that the first third of its
                           sectors, at least one; a write inside one sector is lost */
    HF_CRASH_RANDOM     /* each sector, size and name by the seed */
};
int hf_io_crash_new(struct hf_io **ret_io);
/* Changes are numbered from 0 as for the fault back end, anew after each restart. */
void hf_io_crash_cut_at(struct hf_io *io, uint64_t change_number);
uint64_t hf_io_crash_changes(struct hf_io *io);
/* -EBUSY unless every file is closed. Afterwards the same io is a freshly booted disk. */
int hf_io_crash_restart(struct hf_io *io, enum hf_crash_survive survive, uint64_t seed);

#endif
