// SPDX-License-Identifier: Apache-2.0
/* The writer's insides, shared by the files of src/journal that make it up. */
#ifndef HF_JOURNAL_INTERNAL_H
#define HF_JOURNAL_INTERNAL_H

#include <pthread.h>

#include "journal/files.h"
#include "journal/index.h"
#include "journal/journal.h"
#include "journal/segment.h"

#define HF_LANES 2
#define HF_ALLOCATE_STEP_MAX (8u << 20) /* an open segment is preallocated this far ahead */
#define HF_ALLOCATE_STEP_MIN (64u << 10)
#define HF_RESERVE_BYTES_DEFAULT (8u << 20)
#define HF_STREAM_BASE_STEP 4096u /* a new stream's base: rounded up to it, and one further */
#define HF_JOURNAL_DAMAGE_MAX 65536u
#define HF_WRITER_LOCK_TRIES 50 /* a reader that looks whether a writer lives holds it briefly */
#define HF_WRITER_LOCK_WAIT_NS (10 * 1000 * 1000)

/* A sealed segment. */
struct hf_known_segment {
    struct hf_segment_info info;
    struct hf_segment_head head;
    uint64_t seq_end;
    struct hf_digest digest_end;
    uint64_t pass_batch_end;
    uint64_t index_bytes;
};

/* A segment that is appended to. */
struct hf_open_segment {
    struct hf_file *file;
    struct hf_index_builder builder; /* its head, end, chain and lane end: the writer thread's */
    uint64_t allocated;
    uint64_t durable; /* under lock */
    bool name_durable;
    int error; /* under lock: a write or sync failed; it takes no more */
};

struct hf_journal {
    struct hf_io *io;
    char *path;
    struct hf_random *random;
    struct hf_clock *clock;
    uint64_t segment_bytes;
    uint64_t reserve_bytes;
    uint64_t position_min;

    /*
     * Lock order: append_lock, sync_lock, lock.
     * append_lock: whoever changes which segments there are, or appends.
     * sync_lock: whoever syncs an open segment; `open` changes under it and append_lock.
     * lock: the values below that other threads read; never held over I/O.
     */
    pthread_mutex_t append_lock;
    pthread_mutex_t sync_lock;
    pthread_mutex_t lock;

    struct hf_file *watermark; /* also the lock that says a writer lives */
    struct hf_open_segment *open[HF_LANES];
    uint8_t *buffer; /* one entry; grows to the largest so far; writer thread */
    size_t buffer_bytes;
    bool reserve_absent; /* was given up; writer thread */
    int error;           /* under lock: HF_ESYNC for good; only opening again helps */

    struct hf_known_segment *segments; /* by position, then number; append_lock and lock */
    size_t segment_count;
    size_t segment_capacity;
    struct hf_journal_damage *damage;
    size_t damage_count;

    struct hf_journal_state state; /* progress in it is what was last written */
    bool has_stream;
    uint64_t base;
    struct hf_journal_progress appended; /* under lock */
    struct hf_journal_progress durable;  /* under lock */
};

static inline struct hf_open_segment **hf_journal_lane(struct hf_journal *journal, uint8_t lane)
{
    return &journal->open[lane - 1];
}

/* ---- seal.c ---- */
/* append_lock held. Makes an empty segment for the lane, named but not durable. */
int hf_open_segment_new(struct hf_journal *journal, const struct hf_segment_head *head,
                        struct hf_open_segment **ret_open);
void hf_open_segment_free(struct hf_open_segment *open); /* NULL-safe */
/* append_lock held. Syncs, indexes and closes the lane's open segment, if there is one. */
int hf_journal_seal_lane(struct hf_journal *journal, uint8_t lane);
/* append_lock held. Writes the index of a segment and adds it to the table. optional: a full disk
 * leaves the segment without one, to be made at the next open; readers scan it until then. */
int hf_journal_index_install(struct hf_journal *journal, struct hf_index_builder *builder,
                             bool damaged, bool optional);
/* Writes with one retry that gives up the reserve when the disk is full. */
int hf_journal_replace(struct hf_journal *journal, const char *tmp_name, const char *name,
                       const void *data, size_t size);
int hf_journal_state_write(struct hf_journal *journal);
void hf_journal_reserve_take(struct hf_journal *journal);
int hf_journal_segment_add(struct hf_journal *journal, const struct hf_index_info *info,
                           uint64_t file_bytes, bool damaged);

/* ---- append.c ---- */
/* append_lock held: the entry at the end of `open`, one write; then, in one step for whoever takes
 * lock, the index and `progress` include it. */
int hf_open_segment_write(struct hf_journal *journal, struct hf_open_segment *open,
                          const struct hf_batch *batch, int64_t receipt_ns,
                          struct hf_journal_progress *progress);

struct hf_segment_head hf_open_segment_head(const struct hf_journal *journal,
                                            const struct hf_batch_header *header);
/* Moves the fields of the batch's lane behind it. */
void hf_progress_take(struct hf_journal_progress *progress, uint64_t base,
                      const struct hf_batch_header *header);

/* ---- sync.c ---- */
/* sync_lock held. Syncs one open segment and publishes how far it is durable. */
int hf_journal_sync_lane(struct hf_journal *journal, uint8_t lane);
/* append_lock held: after a failed write or sync of the lane's open segment. */
int hf_journal_rescue(struct hf_journal *journal, uint8_t lane);
/* The fields of one lane. */
void hf_progress_copy(struct hf_journal_progress *to, const struct hf_journal_progress *from,
                      uint8_t lane);

/* ---- recover.c ---- */
int hf_journal_recover(struct hf_journal *journal, struct hf_journal_recovery *ret_recovery);
int hf_journal_damage_add(struct hf_journal *journal, const struct hf_journal_damage *damage);

#endif
