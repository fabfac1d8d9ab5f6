// SPDX-License-Identifier: Apache-2.0
/* What the two halves of a session share: session.c (calls in, bytes out), session-input.c (bytes
 * in, events out). */
#ifndef HF_WIRE_SESSION_INTERNAL_H
#define HF_WIRE_SESSION_INTERNAL_H

#include <zstd.h>

#include "wire/session.h"

#define STAGE_SIZE (32 * 1024)      /* headers and small bodies are received here */
#define BODY_STAGED_MAX (16 * 1024) /* a larger body gets a buffer of its own */

struct hf_session {
    enum hf_session_role role;
    enum hf_session_state state;
    bool attached; /* an ATTACH_OK that lets batches flow has passed */
    struct hf_id node;
    char software[64];
    unsigned pings;        /* sent, not answered */
    unsigned hash_gets;    /* under way */
    uint64_t credit_total; /* bytes of BATCH granted since ATTACH_OK */
    uint64_t credit_used;

    struct hf_bytes output;
    size_t output_sent; /* leading bytes of `output` that are gone */

    /* Input: the message under way begins at stage_begin, or has its header in `header` and its
     * body in stage or body. */
    uint8_t stage[STAGE_SIZE];
    size_t stage_begin;
    size_t stage_end;
    struct hf_message_header header;
    bool has_header;
    bool is_delivered; /* its event is out, borrowed */
    bool is_large;     /* body lies in `body` */
    uint8_t *body;
    size_t body_capacity;
    size_t body_filled;
    uint8_t *raw; /* decompressed body */
    size_t raw_capacity;
    ZSTD_DCtx *decoder; /* made with the first compressed message */
};

/* Where output goes; its size_max is HF_SESSION_OUTPUT_MAX. */
struct hf_bytes *hf_session_output_buffer(struct hf_session *session);
/* Ends the session because of what the peer sent: `error` becomes an ERROR for the peer. Returns
 * error. */
int hf_session_refuse(struct hf_session *session, int error, const char *why);

#endif
