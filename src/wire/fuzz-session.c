// SPDX-License-Identifier: Apache-2.0
/*
 * Any bytes from a peer, in every state. The input's first byte says which role is attacked (bit
 * 0), the second how far the session got before, the third the size of the pieces; the rest is what
 * the peer sends. The attacked side answers as a program would.
 */
#include <string.h>

#include "base/base.h"
#include "fuzz.h"
#include "wire/wire-test.h"

#define PREFIX 3

static void answer(struct hf_session *session, const struct hf_session_event *event)
{
    struct hf_msg_attach_ok ok = {.verdict = HF_ATTACH_RESUME, .credit = HF_TEST_CREDIT};
    struct hf_msg_hash_list list = {.error = -5};
    struct hf_batch batch;

    switch (event->type) {
    case HF_MSG_ATTACH:
        HF_ASSERT(event->u.attach.disk_count <= HF_DISKS_MAX);
        HF_ASSERT(hf_session_attach_ok(session, &ok) == 0);
        break;
    case HF_MSG_HASH_GET:
        list.request = event->u.hash_get.request;
        hf_session_hash_list(session, &list);
        break;
    case HF_MSG_BATCH:
        if (hf_batch_parse(event->u.batch.data, event->u.batch.size, &batch) == 0)
            hf_batch_verify(&batch, NULL);
        break;
    default:
        break;
    }
}

static void drain(struct hf_session *session)
{
    const void *data;
    size_t size;

    hf_session_output(session, &data, &size);
    hf_session_sent(session, size);
}

static void attack(struct hf_session *session, const uint8_t *data, size_t size, size_t chunk)
{
    static struct hf_session_event event;

    while (size > 0) {
        size_t room, part;
        void *into;
        int result;

        HF_ASSERT(hf_session_input(session, &into, &room) == 0);
        HF_ASSERT((room == 0) == (hf_session_state(session) == HF_SESSION_ENDED));
        if (room == 0)
            return;
        part = HF_MIN(HF_MIN(size, room), chunk);
        memcpy(into, data, part);
        hf_session_received(session, part);
        data += part;
        size -= part;
        while ((result = hf_session_next(session, &event)) > 0)
            answer(session, &event);
        HF_ASSERT(result == 0 || hf_session_state(session) == HF_SESSION_ENDED);
        drain(session);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_test_pair pair;
    struct hf_session *session;

    if (size < PREFIX)
        return 0;
    hf_test_pair_new(&pair);
    session = data[0] % 2 ? pair.sink : pair.source;
    hf_test_pair_advance(&pair, data[1] % (HF_SESSION_CLOSING + 1), session);
    drain(session);
    attack(session, data + PREFIX, size - PREFIX, data[2] ? data[2] : SIZE_MAX);
    hf_test_pair_free(&pair);
    return 0;
}
