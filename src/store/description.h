// SPDX-License-Identifier: Apache-2.0
/* Puts a machine's description (JSON) together from the MACHINE records that carry its parts. Plain
 * memory; one thread. */
#ifndef HF_STORE_DESCRIPTION_H
#define HF_STORE_DESCRIPTION_H

#include "base/bytes.h"

struct hf_description {
    struct hf_bytes whole;   /* the newest complete one, without a terminator; empty: none yet */
    struct hf_bytes pending; /* parts 0 .. pending_parts-1 of the next */
    uint32_t pending_version;
    uint16_t pending_parts;
};

/* Takes the body of one MACHINE record. Parts come in order; a part out of order throws the pending
 * ones away. HF_ECORRUPT for a malformed body (nothing changes), -ENOMEM. */
int hf_description_part(struct hf_description *description, const void *body, size_t size);
/* *ret_copy = from, owning its memory. -ENOMEM. */
int hf_description_copy(const struct hf_description *from, struct hf_description *ret_copy);
void hf_description_clear(struct hf_description *description); /* NULL-safe */

#endif
