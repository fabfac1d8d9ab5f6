// SPDX-License-Identifier: Apache-2.0
/* The reference workload of the sweeps: two lanes, several streams and passes, seals, drops, and
 * the journal closed and opened in between. The same calls every time. */
#ifndef HF_JOURNAL_WORKLOAD_TEST_H
#define HF_JOURNAL_WORKLOAD_TEST_H

#include "journal/journal-test.h"

#define HF_WORKLOAD_ACKED_MAX 16

enum hf_workload_op {
    WORK_CAPTURED, /* argument: records */
    WORK_MARK,
    WORK_PASS_BEGIN,
    WORK_PASS, /* argument: records */
    WORK_PASS_END,
    WORK_SYNC,
    WORK_SEAL,
    WORK_DROP,   /* below what is durable, less argument */
    WORK_STREAM, /* argument: epoch */
    WORK_REOPEN,
};

struct hf_workload_step {
    enum hf_workload_op op;
    uint32_t argument;
    size_t batch; /* in the feed */
    struct hf_stream_id stream;
};

/* What the workload was told is durable: the last word on each stream and pass. */
struct hf_workload_acked {
    struct hf_journal_progress progress[HF_WORKLOAD_ACKED_MAX];
    size_t count;
    uint64_t floor; /* below it nothing is expected */
};

struct hf_workload {
    struct hf_feed feed;
    struct hf_workload_step *steps;
    size_t count;
};

/* `rounds` scales its length; 1 is about 150 changes. */
void hf_workload_init(struct hf_workload *workload, uint32_t rounds);
void hf_workload_done(struct hf_workload *workload);

/*
 * Runs it over io. Stops at the first error and returns it. `patient` tries each failed call again
 * once and after HF_ESYNC goes back to what is appended, as a sender would.
 */
int hf_workload_run(const struct hf_workload *workload, struct hf_io *io, bool patient,
                    struct hf_workload_acked *ret_acked);

/* What the journal says is durable now counts as acknowledged too. */
void hf_workload_note(struct hf_workload_acked *acked, struct hf_journal *journal);

/*
 * Opens the journal as after a crash and compares it with what was acknowledged; goes on appending,
 * syncs and opens once more. Prints what is wrong; 0 when nothing is.
 */
int hf_workload_check(const struct hf_workload *workload, struct hf_io *io,
                      const struct hf_workload_acked *acked);

#endif
