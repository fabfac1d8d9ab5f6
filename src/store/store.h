// SPDX-License-Identifier: Apache-2.0
/*
 * A store: a directory that holds protected machines: base images, journal, catalogue. It is enough
 * by itself: with nothing else alive its points can be listed, checked, opened and exported.
 *
 *     STORE/holdfast-store           identity and format version
 *     STORE/machines/ID/             one machine
 *         manifest.0 manifest.1      alternating superblocks: epoch, streams, disks, base_at,
 * oldest_openable lock                       held exclusively by the one process that writes this
 * machine journal/                   src/journal disk-NN/base               base image (sparse),
 * base.sums its checksums, newest.hash hashes of the newest state leases/                    a file
 * per reader, naming the position it reads; locked shared while it lives
 *
 * Two handles: hf_machine (the single writer: hf_target or a test) and hf_view (any number of
 * readers, any process, view.h). Crash argument and merge order: src/store/README.md. Format:
 * docs/formats/store.md.
 */
#ifndef HF_STORE_STORE_H
#define HF_STORE_STORE_H

#include "journal/journal.h"

#define HF_STORE_MACHINES_MAX 4096
#define HF_MACHINE_NAME_MAX 128

struct hf_store;   /* opaque */
struct hf_machine; /* opaque */

/* Makes a store in an empty (or absent) directory below io's root. -ENOTEMPTY when it holds
 * something else. */
int hf_store_create(struct hf_io *io, struct hf_random *random);
/* Opens an existing one; HF_EVERSION, -ENOENT. Borrowed: io, clock, random outlive it. */
int hf_store_open(struct hf_io *io, struct hf_clock *clock, struct hf_random *random,
                  struct hf_store **ret_store);
void hf_store_close(struct hf_store *store); /* NULL-safe */
void hf_store_id(struct hf_store *store, struct hf_id *ret_id);

struct hf_machine_summary {
    struct hf_id machine;
    char name[HF_MACHINE_NAME_MAX];
    uint64_t epoch;
    bool consistent;  /* nothing outstanding now: the newest position is a point */
    bool partial;     /* no base image complete yet */
    uint64_t base_at; /* positions */
    uint64_t oldest_openable;
    uint64_t newest;
    int64_t newest_wall_ns;
    uint64_t journal_bytes;
    uint64_t base_bytes;
    uint32_t disk_count;
    uint64_t generation; /* of the manifest: never falls, unless the store's own disk was set back
                            (fault 35: who remembers a higher one must not trust this store) */
    int error;           /* the machine cannot be read: nothing above but its identity holds */
};
/* Works on the directory alone; takes no lock. */
int hf_store_machines(struct hf_store *store,
                      int (*each)(void *context, const struct hf_machine_summary *summary),
                      void *context);

/* ---- The writer's side of one machine ---- */

struct hf_retention {
    uint64_t window_ns;         /* every position of this long is kept openable; default 2 h */
    uint64_t journal_bytes_max; /* 0: no limit; above it the window is shortened, oldest first, and
                                   reported */
    uint64_t
        free_bytes_warn; /* file system: warn below, shorten the window, then refuse (fault 28) */
    uint64_t free_bytes_refuse;
};

struct hf_machine_options {
    struct hf_retention retention;
    uint64_t segment_bytes; /* 0: journal's default */
    bool create;            /* make the machine when absent */
};

/* -EBUSY when another process writes it. Recovers, finishes or repeats an interrupted merge. */
int hf_machine_open(struct hf_store *store, const struct hf_id *machine,
                    const struct hf_machine_options *options,
                    struct hf_journal_recovery *ret_recovery, struct hf_machine **ret_machine);
void hf_machine_close(struct hf_machine *machine); /* NULL-safe */

/* Epoch: durable before it returns. Raising only; a lower one: HF_EFENCED. */
uint64_t hf_machine_epoch(struct hf_machine *machine);
int hf_machine_epoch_raise(struct hf_machine *machine, uint64_t epoch);

/* What the source says it is, on attach. Sizes are of the stream's disks as they are now. */
struct hf_machine_disk {
    uint16_t disk;
    bool present;
    bool complete; /* its base image is whole */
    uint32_t block_size;
    uint64_t size_bytes;
    struct hf_id identity;
    char name[HF_DISK_NAME_MAX];
};
int hf_machine_disk_info(struct hf_machine *machine, uint16_t disk,
                         struct hf_machine_disk *ret_disk); /* -ENOENT */
int hf_machine_name_set(struct hf_machine *machine, const char *name);

/* As hf_journal_stream_begin, for the machine's journal. */
int hf_machine_stream_begin(struct hf_machine *machine, const struct hf_stream_id *stream);
/*
 * Takes a batch as received: parses, verifies every frame, applies it. Captured batches go to the
 * journal. A pass's go to a pass segment, or straight into a base image that was never complete.
 * Not durable until hf_machine_sync. Errors as hf_journal_append; -ENOSPC and HF_ESYNC leave
 * everything acknowledged so far intact and readable.
 */
int hf_machine_append(struct hf_machine *machine, const void *data, size_t size);
/* Everything appended before is durable when it returns 0. May run in a second thread beside
 * hf_machine_append. */
int hf_machine_sync(struct hf_machine *machine);
void hf_machine_durable(struct hf_machine *machine, struct hf_journal_progress *ret_progress);
void hf_machine_appended(struct hf_machine *machine, struct hf_journal_progress *ret_progress);

/*
 * Hashes of the newest state: XXH3-128 (seeded with the disk's secret, which travels in the hash
 * exchange) of `count` blocks from offset, block_size 65536 or 4096; the last block of a disk may
 * be short. Kept ones are given back, others are read and kept.
 */
int hf_machine_hash_secret(struct hf_machine *machine, uint16_t disk, uint64_t *ret_secret);
int hf_machine_hashes(struct hf_machine *machine, uint16_t disk, uint64_t offset,
                      uint32_t block_size, uint32_t count, struct hf_hash128 *ret_hashes);

/*
 * One bounded step of upkeep (merge, drop, prune, hash), at most about `budget_bytes` of I/O. Call
 * again while it returns 1; 0: nothing to do. Never makes appends wait for longer than one block.
 */
int hf_machine_maintain(struct hf_machine *machine, uint64_t budget_bytes);

enum hf_space_state { HF_SPACE_FINE, HF_SPACE_WARN, HF_SPACE_SHORTENED, HF_SPACE_REFUSING };
struct hf_machine_status {
    struct hf_machine_summary summary;
    enum hf_space_state space;
    uint64_t window_ns;      /* history that can be opened now */
    uint64_t merged_bytes;   /* since open */
    uint64_t merges_skipped; /* because a reader's lease was in the way */
    uint64_t damaged_segments;
    uint64_t lost_blocks; /* met by merging since open: their content cannot be made any more */
    uint64_t clock_jumps; /* receipt times that went back or jumped by over an hour: not counted as
                             age (faults 39, 40) */
};
int hf_machine_status(struct hf_machine *machine, struct hf_machine_status *ret_status);

#endif
