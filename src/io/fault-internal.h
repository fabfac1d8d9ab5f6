// SPDX-License-Identifier: Apache-2.0
/* What of a file was not synced yet, and how to take it back: a failed sync may drop the dirty
 * pages (fault 27), and the fault back end drops all of them. */
#ifndef HF_IO_FAULT_INTERNAL_H
#define HF_IO_FAULT_INTERNAL_H

#include "io/io.h"

#define HF_FAULT_UNDO_BYTES_MAX                                                                    \
    ((uint64_t)64 << 20) /* per file; older changes count as on disk                               \
                          */

struct hf_fault_undo;

/* Zero-initialised is empty. `file` of each call is open for READ and WRITE and not DIRECT. */
struct hf_fault_undo_list {
    struct hf_fault_undo *newest;
    uint64_t bytes;
};

/* Call before [offset, offset + length) or the size changes. */
int hf_fault_undo_add(struct hf_fault_undo_list *list, struct hf_file *file, uint64_t offset,
                      uint64_t length);
/* Brings the file back to what it was when the list was empty; empties the list. */
int hf_fault_undo_apply(struct hf_fault_undo_list *list, struct hf_file *file);
/* All is durable: forgets it. */
void hf_fault_undo_clear(struct hf_fault_undo_list *list);

#endif
