// SPDX-License-Identifier: Apache-2.0
/*
 * The writer's side of a machine, shared by its files: machine.c (open, close, status), append.c
 * (what comes in), direct.c (a first pass, straight into base images), newest.c (hashes of the
 * newest state), retention.c (how far merging may go), merge.c (going there).
 *
 * Locks, in the order they are taken:
 *   maintain_lock  one step of upkeep at a time; guards merge
 *   hash_lock      one hash request at a time; guards the newest state's resolver
 *   append_lock    the journal's writer calls, direct, retention's samples
 *   fill_lock      base images: a merge's writing, or a first pass's beginning
 *   manifest_lock  manifest and its files
 *   lock           state, progress, counters; never held over I/O
 */
#ifndef HF_STORE_MACHINE_INTERNAL_H
#define HF_STORE_MACHINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/base-image.h"
#include "store/manifest.h"
#include "store/newest.h"
#include "store/resolve.h"
#include "store/retention.h"
#include "store/store-internal.h"

/* No content may lie behind this: what merging can map, twice the largest disk there is. */
#define HF_CONTENT_END_MAX (UINT64_C(1) << 47)

/* ---- direct.c ---- */

/* How far a pass that goes straight into base images has come. */
struct hf_direct_progress {
    struct hf_stream_id stream;
    uint64_t pass;
    uint64_t pass_seq;
    uint64_t batch; /* batches 0 .. batch-1 are in the base images */
    struct hf_digest digest;
};

struct hf_direct {
    bool active;         /* the newest pass is one of these */
    bool started;        /* the manifest says so */
    _Atomic bool failed; /* a sync failed: no more until the machine is opened again (fault 27) */
    uint64_t disk_mask;
    uint64_t position;
    struct hf_direct_progress appended;
    struct hf_direct_progress durable;
    pthread_mutex_t sync_lock; /* guards file, generation; taken after append_lock */
    struct hf_file *file;      /* progress: two slots */
    uint64_t generation;
};

/* ---- merge.c ---- */

#define HF_MERGE_BLOCKS_MAX 2048u /* blocks written between two syncs of the sums: 8 MiB */

struct hf_merge {
    bool active;
    bool failed;       /* a sync failed: no more until the machine is opened again (fault 27) */
    uint64_t position; /* where base_at will be */
    unsigned disk;
    bool mapped;       /* windows of `disk` are known */
    uint64_t *windows; /* bit per HF_RESOLVE_BLOCKS_MAX blocks: the journal has something there */
    size_t window_words;
    uint64_t window;   /* next to look at */
    bool prepared;     /* the resolver sees everything up to `position` */
    bool has_resolver; /* kept from merge to merge: opening a long journal is not cheap */
    struct hf_resolver resolver;
};

/* The hash of a block that one record of a batch replaces as a whole. */
#define HF_PENDING_HASHES_MAX 1024u
struct hf_pending_hash {
    uint32_t record;
    struct hf_hash128 hash;
};

struct hf_machine {
    struct hf_store *store; /* borrowed */
    struct hf_id id;
    struct hf_machine_options options;
    struct hf_file *lock_file;
    bool opened;        /* wholly: closing it is an orderly stop */
    _Atomic bool stale; /* a sync failed: what was appended may be gone, see hf_machine_renew */

    pthread_mutex_t maintain_lock;
    struct hf_merge merge;

    pthread_mutex_t hash_lock;
    bool has_newest_resolver;
    struct hf_resolver newest_resolver;

    uint64_t hash_secrets[HF_DISKS_MAX]; /* never change */

    pthread_mutex_t append_lock;
    struct hf_journal *journal;
    struct hf_direct direct; /* its progress: under lock */
    struct hf_retention_clock retention;
    struct hf_pending_hash *pending; /* HF_PENDING_HASHES_MAX: of the batch being appended */
    size_t pending_count;
    uint8_t *scratch; /* HF_RECORD_CONTENT_MAX bytes */
    uint8_t *run;     /* HF_RESOLVE_BLOCKS_MAX blocks */

    pthread_mutex_t fill_lock;
    pthread_mutex_t manifest_lock;
    struct hf_manifest manifest;
    struct hf_manifest_writer manifest_writer;

    pthread_mutex_t lock;
    struct hf_state state; /* at what was appended last */
    struct hf_base_image bases[HF_DISKS_MAX];
    _Atomic bool base_open[HF_DISKS_MAX];
    struct hf_newest newest;
    enum hf_space_state space;
    uint64_t appended_since_space_check;
    uint64_t merged_bytes;
    uint64_t merges_skipped;
    uint64_t lost_blocks;
};

/* ---- machine.c ---- */

/* Opens a slot's base image for writing, once. */
int hf_machine_base(struct hf_machine *machine, uint16_t disk, struct hf_base_image **ret_base);
/* Changes the manifest: takes a copy, lets `edit` change it, writes it, installs it. */
int hf_machine_manifest_edit(struct hf_machine *machine,
                             int (*edit)(void *context, struct hf_manifest *manifest),
                             void *context);

/* All called with append_lock held, but the sync. */
int hf_direct_start(struct hf_machine *machine);
void hf_direct_on_pass_begin(struct hf_machine *machine);
int hf_direct_append(struct hf_machine *machine, const struct hf_batch *batch);
/* Loads what is durable of the newest pass; the state has been replayed. */
int hf_direct_open(struct hf_machine *machine);
/* Makes everything appended before durable. Any thread, beside appends. */
int hf_direct_sync(struct hf_machine *machine);
void hf_direct_override(struct hf_machine *machine, const struct hf_direct_progress *from,
                        struct hf_journal_progress *progress);

/* append_lock held. After a failed sync: takes the state, ages and hashes from what is durable. */
int hf_machine_renew(struct hf_machine *machine);
/* Makes a resolver over the newest journal; bases and from are set by the current manifest. */
int hf_machine_resolver_open(struct hf_machine *machine, struct hf_resolver *ret_resolver);

/* ---- merge.c; maintain_lock held ---- */
/* 1: more to do. */
int hf_merge_step(struct hf_machine *machine, uint64_t budget_bytes);
/* Goes as far as `position` or the leases allow; 0 with merge.active false: a lease forbids it. */
int hf_merge_begin(struct hf_machine *machine, uint64_t position);
void hf_merge_done(struct hf_merge *merge);

#endif
