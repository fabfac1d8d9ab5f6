// SPDX-License-Identifier: Apache-2.0
/* For tests: a source that makes a stream, hands it to a machine in batches and tells the model. */
#ifndef HF_STORE_STORE_TEST_H
#define HF_STORE_STORE_TEST_H

#include "store/store-model.h"
#include "store/view.h"

#define HF_TEST_DISK_BYTES (256u * 1024)
#define HF_TEST_DISK_BYTES_MAX (512u * 1024)

/* A store with one machine, open or not. Everything returns what the store's call returned. */
struct hf_test_store {
    struct hf_io *io; /* borrowed */
    struct hf_clock_manual clock;
    struct hf_random_seeded random;
    struct hf_store *store;
    struct hf_id id;
    struct hf_machine_options options;
    struct hf_machine *machine;
    struct hf_journal_recovery recovery;
};
void hf_test_store_init(struct hf_test_store *test, struct hf_io *io, uint64_t seed);
int hf_test_store_open(struct hf_test_store *test); /* made when absent */
void hf_test_store_close(struct hf_test_store *test);

struct hf_test_source {
    struct hf_test_store *test; /* borrowed */
    struct hf_model model;
    struct hf_random_seeded random;
    struct hf_batch_builder *builder;
    struct hf_batch_builder *pass_builder;
    bool in_batch;
    bool hold; /* hf_test_flush waits: what follows goes into the same batch */
    struct hf_stream_id stream;
    uint64_t base;
    uint64_t seq; /* end of what was recorded */
    uint64_t seq_sent;
    struct hf_digest digest;
    uint64_t pass; /* number of the newest */
    bool pass_open;
    uint8_t pass_kind;
    uint16_t pass_flags;
    uint64_t pass_mask;
    uint64_t pass_seq;
    uint64_t pass_batch;
    struct hf_digest pass_digest;
    uint64_t disk_size[HF_DISKS_MAX];
    uint64_t acked_position; /* what a sync that succeeded covers */
    uint64_t acked_pass;
    uint64_t acked_pass_batch;
    uint64_t content; /* seeds given out */
};
void hf_test_source_init(struct hf_test_source *source, struct hf_test_store *test, uint64_t seed);
void hf_test_source_done(struct hf_test_source *source);

int hf_test_stream(struct hf_test_source *source); /* a new capture, epoch 1 */
int hf_test_write(struct hf_test_source *source, uint16_t disk, uint64_t offset, uint64_t length);
int hf_test_zero(struct hf_test_source *source, uint16_t disk, uint64_t offset, uint64_t length,
                 bool discard);
int hf_test_mark(struct hf_test_source *source, uint8_t kind, const char *name,
                 struct hf_id *ret_id);
int hf_test_gap(struct hf_test_source *source);
int hf_test_disk(struct hf_test_source *source, uint8_t change, uint16_t disk, uint64_t size);
int hf_test_describe(struct hf_test_source *source, uint32_t version, const char *json);
int hf_test_pass_begin(struct hf_test_source *source, uint8_t kind, uint16_t flags, uint64_t mask);
/* One batch of the pass. zero: a ZERO record. */
int hf_test_pass_data(struct hf_test_source *source, uint16_t disk, uint64_t offset,
                      uint64_t length, bool zero);
/* The whole of every disk of the pass. */
int hf_test_pass_all(struct hf_test_source *source);
int hf_test_pass_end(struct hf_test_source *source, bool complete);
int hf_test_flush(struct hf_test_source *source); /* hands the batch over */
int hf_test_sync(struct hf_test_source *source);  /* flush, sync, and note what is acknowledged */
/* A random write, zero or discard of a disk. */
int hf_test_random_change(struct hf_test_source *source, uint16_t disk);
/* After the machine was opened again: goes on where it is durable. */
void hf_test_rewind(struct hf_test_source *source);
uint64_t hf_test_position(const struct hf_test_source *source); /* of seq */

/* Hashes of disk 0 as the machine gives them are those of the model's newest state; -EUCLEAN when
 * not. */
int hf_test_check_hashes(struct hf_test_source *source);

/*
 * The reference workload of the sweeps: first pass, changes, merges and drops, resize, gap and map
 * pass, an added disk, a removed one, a reboot with a checksum pass. Stops at the first error and
 * returns it.
 */
int hf_test_workload(struct hf_test_source *source);
/* Brings the machine back to where points are made, whatever it was in, and goes on a little. */
int hf_test_go_on(struct hf_test_source *source);
/* All upkeep there is to do. */
int hf_test_maintain(struct hf_test_source *source);

/* Two disks made whole by a first pass, some writes around. */
int hf_test_protect(struct hf_test_source *source, unsigned disks);

/*
 * Compares what a reader finds at `position` with the model: whether it can be opened, and if so
 * every byte of every disk. NULL when all is as it should be, else what is not (static text).
 */
const char *hf_test_compare(struct hf_test_source *source, struct hf_machine_reader *reader,
                            uint64_t position);
/* The same through a view that is open. */
const char *hf_test_compare_view(struct hf_test_source *source, struct hf_view *view,
                                 uint64_t position);
/* Every position at which a record ends, `step` apart, from the oldest to the newest. *ret_count:
 * how many could be opened. */
const char *hf_test_compare_all(struct hf_test_source *source, size_t step, size_t *ret_count);

#endif
