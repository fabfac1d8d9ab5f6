// SPDX-License-Identifier: Apache-2.0
/* 128-bit random identities (captures, machines, points, segments) and their text form: 32
 * lower-case hex digits. */
#ifndef HF_BASE_ID_H
#define HF_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

#define HF_ID_TEXT_SIZE 33 /* 32 digits and the terminator */

struct hf_id {
    uint8_t bytes[16];
};

struct hf_random;

/* A new identity from `random`. Returns 0 or a negative errno of the source. Any thread if the
 * source allows. */
int hf_id_make(struct hf_random *random, struct hf_id *ret_id);

/* Writes the text form; text has HF_ID_TEXT_SIZE bytes. */
void hf_id_format(const struct hf_id *id, char *text);

/* Parses exactly 32 hex digits. -EINVAL otherwise. */
int hf_id_parse(const char *text, struct hf_id *ret_id);

/* Any thread. */
bool hf_id_equal(const struct hf_id *a, const struct hf_id *b);
bool hf_id_is_zero(const struct hf_id *id);

#endif
