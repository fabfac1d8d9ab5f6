// SPDX-License-Identifier: Apache-2.0
/* What the files of the pass share. Fields below `lock` are read and written under it; those of the
 * worker belong to the thread that calls hf_pass_work. */
#ifndef HF_AGENT_PASS_INTERNAL_H
#define HF_AGENT_PASS_INTERNAL_H

#include <pthread.h>

#include "agent/pass.h"
#include "agent/throttle.h"
#include "base/bitmap.h"

#define HF_PASS_QUEUE_SLOTS 64 /* a range in work may pass HF_PASS_QUEUE_MAX by what it holds */
#define HF_PASS_IN_FLIGHT_WAIT_NS ((uint64_t)2 * 1000 * 1000)

/* Hash windows: how far comparison runs ahead of the answers. */
#define HF_PASS_WINDOWS 4
#define HF_PASS_COARSE_BYTES 65536u
#define HF_PASS_FINE_BYTES 4096u
#define HF_PASS_FINE_PER_COARSE (HF_PASS_COARSE_BYTES / HF_PASS_FINE_BYTES)
#define HF_PASS_WINDOW_BLOCKS 256u /* coarse blocks in a window: 16 MiB */

struct hf_pass_chunk {
    uint16_t disk;
    uint64_t offset;
    uint64_t length;
    uint64_t batch_end; /* done when batches 0 .. batch_end-1 are durable */
};

enum hf_window_state {
    HF_WINDOW_EMPTY,
    HF_WINDOW_ASK_COARSE,
    HF_WINDOW_WAIT_COARSE,
    HF_WINDOW_COMPARE, /* the worker's turn: read and compare */
    HF_WINDOW_FINE,    /* 4 KiB hashes are asked for and arrive, many requests at once */
    HF_WINDOW_SEND,    /* the worker's turn: send what differs */
};

struct hf_pass_window {
    enum hf_window_state state;
    struct hf_pass_chunk chunk; /* what is cleared at the end */
    uint64_t offset;            /* what is compared: the chunk, widened to coarse blocks */
    uint64_t length;
    uint64_t serial; /* in the upper bits of its requests */
    uint64_t secret;
    uint32_t block_count;
    uint32_t ask_block; /* fine: where the next request looks for differing blocks */
    uint32_t waiting;   /* fine requests without an answer */
    struct hf_hash128 coarse[HF_PASS_WINDOW_BLOCKS];
    bool differs[HF_PASS_WINDOW_BLOCKS];
    struct hf_hash128 fine[HF_PASS_WINDOW_BLOCKS][HF_PASS_FINE_PER_COARSE];
    bool fine_differs[HF_PASS_WINDOW_BLOCKS][HF_PASS_FINE_PER_COARSE];
};

struct hf_pass {
    struct hf_pass_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_cond_t idle; /* the worker's step has ended */

    bool active;
    bool running; /* the link takes batches */
    unsigned run; /* rises whenever the worker must drop what it holds */
    bool wake;
    struct hf_pass_plan plan;
    uint64_t resume_batch;
    struct hf_digest resume_digest;
    struct hf_bitmap remaining[HF_DISKS_MAX];
    uint64_t disk_bytes[HF_DISKS_MAX];
    unsigned cursor_disk;
    uint64_t cursor_offset;
    struct hf_pass_chunk chunks[HF_PASS_CHUNKS_MAX]; /* a ring */
    size_t chunk_first, chunk_count;
    struct hf_bytes queue[HF_PASS_QUEUE_SLOTS]; /* a ring */
    size_t queue_first, queue_count;
    uint64_t acked;
    uint64_t batches;               /* finished so far: the number of the next one */
    bool tail_open;                 /* the worker holds records of an unfinished batch */
    bool working;                   /* a step is under way */
    bool worker_busy;               /* the worker holds a range that is in no list */
    struct hf_pass_window *windows; /* HF_PASS_WINDOWS of them; used by HASH */
    uint64_t window_serial;
    struct hf_pass_progress progress;
    uint64_t rate_since_ns, rate_since_bytes;
    struct hf_throttle throttle;

    /* the worker's */
    unsigned worker_run;
    struct hf_pass_plan worker_plan;
    struct hf_batch_builder *builder;
    bool open;
    uint64_t batch; /* number of the batch under construction */
    struct hf_digest digest;
    uint8_t *buffer; /* HF_PASS_CHUNK_BYTES, aligned */
};

/* pass.c; under the lock */
bool hf_pass_take_locked(struct hf_pass *pass, uint64_t length_max,
                         struct hf_pass_chunk *ret_chunk);
void hf_pass_clear_locked(struct hf_pass *pass, const struct hf_pass_chunk *chunk);
bool hf_pass_same_run_locked(const struct hf_pass *pass);

/* pass-send.c; the worker */
int hf_pass_flush(struct hf_pass *pass);
/* 0: all of it may be read now; -EAGAIN: an older write is in flight there (H1). */
int hf_pass_may_read(struct hf_pass *pass, uint16_t disk, uint64_t offset, uint64_t length);
/* Reads at most HF_PASS_CHUNK_BYTES into pass->buffer; unreadable blocks go into the report, are
 * zeros in the buffer and DISCARD in the stream. */
int hf_pass_read(struct hf_pass *pass, uint16_t disk, uint64_t offset, uint64_t length);
int hf_pass_send_range(struct hf_pass *pass, uint16_t disk, uint64_t offset, uint64_t length);
/* The range is in the batches so far: it is done when they are acknowledged. */
void hf_pass_commit(struct hf_pass *pass, const struct hf_pass_chunk *chunk, bool sent);

/* pass-hash.c */
void hf_pass_windows_reset_locked(struct hf_pass *pass);
bool hf_pass_windows_busy_locked(const struct hf_pass *pass);
/* As hf_pass_work. */
int hf_pass_hash_work(struct hf_pass *pass, uint64_t *ret_wait_ns);

#endif
