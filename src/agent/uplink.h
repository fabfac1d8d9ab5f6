// SPDX-License-Identifier: Apache-2.0
/*
 * The way to the target, as the engine sees it: an attached session with a bounded output. The
 * production one is TLS (tls-uplink.c); tests use an in-memory target (fake-target.c). Calls are
 * made by the engine's thread only and do not block, wait and close apart.
 */
#ifndef HF_AGENT_UPLINK_H
#define HF_AGENT_UPLINK_H

#include "wire/message.h"

struct hf_uplink;

/* What came from the target. Pointers inside are borrowed until the next call of `next`. */
struct hf_uplink_event {
    uint16_t type;    /* HF_MSG_ATTACH_OK (first), _ACK, _LOST, _HASH_LIST or _ERROR */
    uint64_t boot_ns; /* when it arrived */
    union {
        struct hf_msg_attach_ok attach_ok;
        struct hf_msg_ack ack;
        struct hf_msg_lost lost;
        struct hf_msg_hash_list hash_list;
        struct hf_msg_error error;
    } u;
};

#define HF_UPLINK_TEXT_MAX 512

struct hf_uplink_ops {
    uint32_t size;
    uint32_t version; /* 1 */
    void (*free)(struct hf_uplink *link);
    /* Begins to connect, say hello and attach, and returns; `next` tells the outcome: ATTACH_OK, or
     * a negative error. The link is closed. */
    int (*start)(struct hf_uplink *link, const struct hf_msg_attach *attach);
    /* Takes a whole batch (copied). -EAGAIN: no credit or no room now. Other errors: link broken.
     */
    int (*batch)(struct hf_uplink *link, const void *data, size_t size);
    int (*hash_get)(struct hf_uplink *link, const struct hf_msg_hash_get *get);
    /* Forgets batches of the pass lane that were taken and are not under way. */
    void (*drop_pass)(struct hf_uplink *link);
    /* 1 and an event; 0: nothing now; negative: the link is broken (error_text says why), call
     * close. */
    int (*next)(struct hf_uplink *link, struct hf_uplink_event *ret_event);
    /* Waits until `next` or `batch` may have something to do, at most timeout_ms. */
    void (*wait)(struct hf_uplink *link, int timeout_ms);
    /* Back to closed. orderly: says CLOSE first and gives the target a moment to answer. */
    void (*close)(struct hf_uplink *link, bool orderly);
    const char *(*error_text)(struct hf_uplink *link); /* borrowed until the next start */
};

struct hf_uplink {
    const struct hf_uplink_ops *ops;
};

#endif
