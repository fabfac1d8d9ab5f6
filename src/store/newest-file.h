// SPDX-License-Identifier: Apache-2.0
/* Hashes of the newest state, kept over an orderly stop. One thread: opening and closing. */
#ifndef HF_STORE_NEWEST_FILE_H
#define HF_STORE_NEWEST_FILE_H

#include "journal/journal.h"
#include "store/newest.h"

/* Writes what is known; everything up to `at` is durable and nothing behind it was appended.
 * Blocks. */
int hf_newest_save(struct hf_io *io, const struct hf_id *machine, const struct hf_newest *newest,
                   const struct hf_journal_progress *at, uint64_t secret);
/* Takes the file away and, if it is of exactly this moment, its hashes. Disks have their sizes
 * already. 0 also when there is none or it does not fit. Blocks. */
int hf_newest_load(struct hf_io *io, const struct hf_id *machine, struct hf_newest *newest,
                   const struct hf_journal_progress *at, uint64_t secret);

#endif
