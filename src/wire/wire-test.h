// SPDX-License-Identifier: Apache-2.0
/* For tests: two sessions back to back, and a session brought to a wanted state. */
#ifndef HF_WIRE_TEST_H
#define HF_WIRE_TEST_H

#include "wire/session.h"

#define HF_TEST_CREDIT (16u << 20)

struct hf_test_pair {
    struct hf_session *source;
    struct hf_session *sink;
};
/* Fails the calling test when memory is short. */
void hf_test_pair_new(struct hf_test_pair *pair);
void hf_test_pair_free(struct hf_test_pair *pair);

/* Gives `size` bytes to a session, reading its events as they come: at most chunk bytes at a time.
 * Returns the first error, or the number of events; the last event is in *ret_event (may be NULL).
 * Stops at ENDED. */
int hf_test_feed(struct hf_session *session, const void *data, size_t size, size_t chunk,
                 struct hf_session_event *ret_event);
/* Moves all output of one session into the other. As hf_test_feed. */
int hf_test_pump(struct hf_session *from, struct hf_session *to,
                 struct hf_session_event *ret_event);

/*
 * Brings both sides to where one of them is in `state`: the source for HELLO_SENT and ATTACH_SENT,
 * the sink for ATTACHING, `closing` for CLOSING and ENDED. From READY on one PING of each side is
 * unanswered; in STREAMING one HASH_GET is under way.
 */
void hf_test_pair_advance(struct hf_test_pair *pair, enum hf_session_state state,
                          struct hf_session *closing);

#endif
