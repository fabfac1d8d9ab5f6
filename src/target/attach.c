// SPDX-License-Identifier: Apache-2.0
#include "target/attach.h"

#include <string.h>

/* The first epoch of every machine; any higher one was made by a failover. */
#define EPOCH_FIRST 1

uint64_t hf_attach_epoch(const struct hf_msg_attach *attach, uint64_t epoch_have)
{
    if (attach->stream.epoch != 0)
        return attach->stream.epoch;
    return epoch_have != 0 ? epoch_have : EPOCH_FIRST;
}

/*
 * A source with an old epoch comes back after the machine was failed over: it must not write here
 * (A7). One that names no epoch at all has lost its memory; it is believed only while there was
 * never a failover it could have slept through.
 */
static bool source_is_superseded(const struct hf_msg_attach *attach, uint64_t epoch_have)
{
    if (attach->stream.epoch == 0)
        return epoch_have > EPOCH_FIRST;
    return attach->stream.epoch < epoch_have;
}

/* A source that claims an epoch the target never issued speaks of another store: nothing it holds
 * fits here. */
static bool source_is_from_elsewhere(const struct hf_msg_attach *attach, uint64_t epoch_have)
{
    return attach->stream.epoch > EPOCH_FIRST && attach->stream.epoch > epoch_have;
}

static bool digests_differ_at_ack(const struct hf_msg_attach *attach,
                                  const struct hf_journal_progress *progress)
{
    return attach->seq_acked == progress->seq &&
           hf_hash128_compare(&attach->digest_acked.value, &progress->digest.value) != 0;
}

/*
 * The stream is here. It goes on when the source still holds what follows, and nothing that it saw
 * acknowledged is missing. A digest further on is compared by the source itself, when its own chain
 * reaches the sequence answered here.
 */
static uint8_t decide_known(const struct hf_msg_attach *attach,
                            const struct hf_journal_progress *progress)
{
    if (progress->seq < attach->seq_acked || progress->seq < attach->seq_oldest)
        return HF_ATTACH_DIVERGED;
    if (progress->seq > attach->seq_newest || digests_differ_at_ack(attach, progress))
        return HF_ATTACH_DIVERGED;
    return HF_ATTACH_RESUME;
}

static void answer_progress(const struct hf_journal_progress *progress, struct hf_msg_attach_ok *ok)
{
    ok->seq = progress->seq;
    ok->digest = progress->digest;
    ok->pass = progress->pass;
    ok->pass_batch = progress->pass_batch;
    ok->pass_digest = progress->pass_digest;
}

void hf_attach_decide(const struct hf_msg_attach *attach, const struct hf_attach_have *have,
                      struct hf_msg_attach_ok *ret_ok)
{
    struct hf_msg_attach_ok ok = {.verdict = HF_ATTACH_NEW};

    ok.stream.capture = attach->stream.capture;
    ok.stream.epoch = hf_attach_epoch(attach, have->epoch);
    ok.disk_complete_mask = have->complete_mask;
    ok.seq = attach->seq_oldest;
    hf_digest_begin(&attach->stream.capture, &ok.digest);

    if (source_is_superseded(attach, have->epoch)) {
        ok.verdict = HF_ATTACH_SUPERSEDED;
        ok.stream.epoch = have->epoch;
    } else if (source_is_from_elsewhere(attach, have->epoch)) {
        ok.verdict = HF_ATTACH_DIVERGED;
        ok.stream.epoch = have->epoch != 0 ? have->epoch : EPOCH_FIRST;
    } else if (have->stream_known) {
        ok.verdict = decide_known(attach, &have->progress);
        if (ok.verdict == HF_ATTACH_RESUME)
            answer_progress(&have->progress, &ok);
    } else if (attach->seq_oldest != 0 || attach->seq_acked != 0) {
        /* The source already gave away the beginning of this stream, to a store that is not this
         * one. */
        ok.verdict = HF_ATTACH_DIVERGED;
    } else {
        ok.verdict = have->complete_mask != 0 ? HF_ATTACH_CHECKSUM : HF_ATTACH_NEW;
    }
    *ret_ok = ok;
}
