// SPDX-License-Identifier: Apache-2.0
/* What the files of the engine share. Everything belongs to the engine's thread, but what stands
 * below status_lock. */
#ifndef HF_AGENT_ENGINE_INTERNAL_H
#define HF_AGENT_ENGINE_INTERNAL_H

#include <pthread.h>

#include "agent/engine.h"
#include "agent/history.h"
#include "agent/state.h"

#define HF_ENGINE_UPKEEP_NS ((uint64_t)20 * 1000 * 1000) /* a loss is noticed this late */
#define HF_ENGINE_HEARTBEAT_NS ((uint64_t)1000 * 1000 * 1000)
#define HF_ENGINE_EXPIRE_NS ((uint64_t)10 * 1000 * 1000 * 1000)
#define HF_ENGINE_EXPIRE_AGE_MS 120000
#define HF_ENGINE_STEP_RECORDS 4096 /* gathered in one step at most */

struct hf_engine {
    struct hf_engine_options options;
    struct hf_state state;
    struct hf_history history;
    struct hf_pass *pass;
    struct hf_stream_id stream;
    char *description; /* JSON, to be put into a new capture too */
    struct hf_disk_identity identities[HF_DISKS_MAX];
    struct hf_disk_identity identities_before[HF_DISKS_MAX]; /* of the capture that ended */

    /* the captured lane */
    struct hf_batch_builder *builder;
    bool open;            /* the builder has a batch begun */
    bool ship_now;        /* it holds something that must not wait */
    bool full;            /* it took no more */
    struct hf_chain read; /* behind the last record gathered; its digest is of the batch's begin */
    uint64_t first_boot_ns, last_boot_ns;
    uint32_t gathered;
    uint64_t gathered_raw_bytes;
    bool pending; /* a finished batch that the link did not take yet */
    const void *pending_data;
    size_t pending_size;
    struct hf_chain sent;            /* behind the last batch finished */
    struct hf_msg_hash_get question; /* of a HASH pass; valid when it waits for the link */
    bool question_waits;
    uint64_t resized_seq; /* newest RESIZE record acted on */

    /* the link */
    enum hf_engine_link link_state;
    unsigned attempt;
    uint64_t retry_ns;
    bool stopped;
    bool restart_wanted; /* this capture cannot go on: begin a new one */

    /* passes and modes */
    bool replace_pass;         /* begin a new pass even while one is under way */
    uint64_t return_ns;        /* of the last return to DATA; 0: none */
    uint64_t told_lost_events; /* losses that a NOTE in the ring tells of */
    int begin_error;           /* last reason a pass could not begin; reported once */
    enum hf_capture_mode mode;
    enum hf_capture_cause cause;
    uint64_t generation_ns;
    uint64_t generation_producer;
    uint64_t upkeep_ns, heartbeat_ns, expire_ns;

    pthread_mutex_t status_lock;
    struct hf_engine_status status; /* below the lock */
};

/* engine.c */
void hf_engine_say(struct hf_engine *engine, enum hf_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
uint64_t hf_engine_now(struct hf_engine *engine); /* boot ns */
/* Puts a record of the agent's own into the ring; *ret_seq_end (may be NULL) behind it. */
int hf_engine_put(struct hf_engine *engine, enum hf_record_type type, const void *body, size_t size,
                  bool need_data, uint64_t *ret_seq_end);
/* Slots in use, as a mask. */
uint64_t hf_engine_slots(struct hf_engine *engine);
uint64_t hf_engine_disk_bytes(struct hf_engine *engine, unsigned slot);
int hf_engine_describe_again(struct hf_engine *engine);
/* The stream's names and first chain values from the source and its pinned state. */
int hf_engine_adopt(struct hf_engine *engine);

/* engine-disks.c */
int hf_engine_disks_restore(struct hf_engine *engine); /* into a new capture */

/* engine-ship.c */
int hf_engine_ship(struct hf_engine *engine);      /* 1: did something */
int hf_engine_ship_pass(struct hf_engine *engine); /* 1: did something */
/* Forgets what is gathered and sent; shipping goes on from chain. */
void hf_engine_ship_from(struct hf_engine *engine, const struct hf_chain *chain);
/* The chain at seq, computed from `from` on over what the ring holds. HF_EDIVERGED: no record ends
 * there. */
int hf_engine_walk(struct hf_engine *engine, const struct hf_chain *from, uint64_t seq,
                   struct hf_chain *ret_chain);

/* engine-link.c */
int hf_engine_link_step(struct hf_engine *engine); /* 1: did something */
/* The link failed; try again after a pause. */
void hf_engine_link_down(struct hf_engine *engine, const char *why);
/* The two sides do not hold the same stream: a new capture and a HASH pass. */
void hf_engine_diverged(struct hf_engine *engine, const char *why);
int hf_engine_attached(struct hf_engine *engine, const struct hf_msg_attach_ok *ok);

/* engine-ack.c */
void hf_engine_ack(struct hf_engine *engine, const struct hf_msg_ack *ack, uint64_t boot_ns);
/* The target is durable up to chain, which is our own. */
void hf_engine_advance(struct hf_engine *engine, const struct hf_chain *chain, uint64_t hop_seq,
                       uint64_t boot_ns);
int hf_engine_lost(struct hf_engine *engine);
void hf_engine_generation_upkeep(struct hf_engine *engine);

/* engine-pass.c */
void hf_engine_pass_upkeep(struct hf_engine *engine, const struct hf_capture_stats *stats);
/* Puts PASS_END as soon as nothing is outstanding: no point is offered before it. */
void hf_engine_pass_end_if_done(struct hf_engine *engine);
int hf_engine_lose_all(struct hf_engine *engine, uint64_t mask); /* everything into the lost map */
int hf_engine_pass_restart(struct hf_engine *engine); /* after adopting: the pass in the state */

#endif
