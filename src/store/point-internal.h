// SPDX-License-Identifier: Apache-2.0
/* Shared by the files about points. */
#ifndef HF_STORE_POINT_INTERNAL_H
#define HF_STORE_POINT_INTERNAL_H

#include "store/reader-internal.h"

/* A position as a point, with the time of the batch it lies in. Errors when it cannot be opened. */
int hf_point_at(struct hf_machine_reader *reader, uint64_t position, struct hf_point *ret_point);
/* The description at a position. The caller clears it. */
int hf_description_replay(struct hf_journal_reader *journal, const struct hf_manifest *manifest,
                          uint64_t position, struct hf_description *ret_description);
/* The disks that are present; HF_DISKS_MAX room. Returns how many. */
size_t hf_state_disk_list(const struct hf_state *state, struct hf_machine_disk *ret_disks);

#endif
