// SPDX-License-Identifier: Apache-2.0
/*
 * Leases: how readers of any process keep merging away from their points. A reader takes the gate
 * shared, writes its position to a file of its own, locks that file, reads the manifest, and lets
 * the gate go. A merge takes the gate exclusively for the moment in which it looks at the leases
 * and makes its new floor durable. So each sees the other: a lease below the floor cannot begin
 * behind the merge's back, and a reader that came later reads the new floor.
 */
#ifndef HF_STORE_LEASE_H
#define HF_STORE_LEASE_H

#include "store/store.h"

struct hf_lease {
    struct hf_io *io;
    struct hf_file *file; /* the lease, or the machine's lock where nothing can be written */
    char path[HF_IO_PATH_MAX];
    bool written;
};

/* The gate. Waits on the clock, at most about four seconds: then -EAGAIN. */
int hf_gate_enter(struct hf_store *store, const struct hf_id *machine, enum hf_lock_mode mode,
                  struct hf_file **ret_gate);
/* Without waiting. */
int hf_gate_try(struct hf_store *store, const struct hf_id *machine, enum hf_lock_mode mode,
                struct hf_file **ret_gate);
void hf_gate_leave(struct hf_file *gate); /* NULL-safe */

/* Inside the gate (shared). */
int hf_lease_take(struct hf_store *store, const struct hf_id *machine, uint64_t position,
                  struct hf_lease *ret_lease);
/* On a read-only file system: no lease, but the machine's lock, shared, which keeps writers out
 * altogether. -EROFS when there is a writer. Needs no gate. */
int hf_lease_take_readonly(struct hf_store *store, const struct hf_id *machine,
                           struct hf_lease *ret_lease);
void hf_lease_give_back(struct hf_lease *lease); /* NULL-safe, idempotent */

/* Inside the gate (exclusive): the lowest position that a living reader holds, UINT64_MAX when
 * there is none. Removes the files of dead ones. */
int hf_lease_floor(struct hf_store *store, const struct hf_id *machine, uint64_t *ret_position);

#endif
