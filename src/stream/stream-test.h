// SPDX-License-Identifier: Apache-2.0
/* For tests: content with known properties, records, and batches signed again after a change. */
#ifndef HF_STREAM_TEST_H
#define HF_STREAM_TEST_H

#include "base/clock.h"
#include "stream/batch.h"

/* What a seed stands for: content that compresses well, not at all, or is zero. */
enum hf_test_content { HF_TEST_TEXT, HF_TEST_NOISE, HF_TEST_ZEROS };
void hf_test_content_fill(enum hf_test_content kind, uint64_t seed, void *content, size_t size);

/* A batch of `count` random records of several disks on the captured lane, from seq_begin on, built
 * into `builder` (idle) and left there; random sizes, some space between. Returns the number of
 * records that fitted. */
uint32_t hf_test_batch_fill(struct hf_batch_builder *builder, struct hf_random_seeded *random,
                            const struct hf_stream_id *stream, uint64_t seq_begin,
                            const struct hf_digest *digest, uint32_t count);

/* Recomputes the digest chain and the hashes of a whole batch, as a hostile writer would. `size` is
 * what the batch says of itself. */
void hf_test_batch_sign(void *data);

#endif
