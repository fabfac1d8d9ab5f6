// SPDX-License-Identifier: Apache-2.0
/* Reads and verifies everything a machine has in a store: manifest, journal, base images. Works on
 * the directory alone, beside a living writer or without one; changes nothing but its own lease. */
#ifndef HF_STORE_CHECK_H
#define HF_STORE_CHECK_H

#include "store/point.h"

enum hf_check_part { HF_CHECK_MANIFEST, HF_CHECK_JOURNAL, HF_CHECK_BASE };

/* One piece of damage. */
struct hf_check_damage {
    enum hf_check_part part;
    int error;        /* -HF_ECORRUPT, -EIO, ... */
    const char *text; /* static: what it is */
    uint64_t segment; /* journal */
    uint64_t file_offset;
    uint16_t disk;   /* base */
    uint64_t offset; /* base: bytes on the disk */
    uint64_t length;
    /* Points at positions in [position_begin, position_end] may be affected; all others read right.
     */
    uint64_t position_begin;
    uint64_t position_end;
};

struct hf_check_result {
    uint64_t damages;
    uint64_t journal_bytes; /* looked at */
    uint64_t base_bytes;
    uint64_t points;          /* marks that can be opened ... */
    uint64_t points_affected; /* ... and of these, those that damage may touch */
};

struct hf_check_options {
    int (*damage)(void *context,
                  const struct hf_check_damage *damage); /* non-zero ends the check */
    void (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes); /* may be NULL */
    void *context;
};

/* 0: all is well; -HF_EDAMAGED: *ret_result says how much is not. Other errors: it could not be
 * checked. Blocks for as long as reading everything takes. */
int hf_store_check(struct hf_store *store, const struct hf_id *machine,
                   const struct hf_check_options *options, struct hf_check_result *ret_result);

#endif
