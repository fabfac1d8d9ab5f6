// SPDX-License-Identifier: Apache-2.0
/*
 * A view: one machine's disks as they were at a position, readable at once, nothing copied. Any
 * number of views, in any process; each holds a lease (a shared lock on a file naming its position)
 * that merging respects. A view never changes, whatever replication, merging or pruning do (A3).
 * Writes, when allowed, go to a scratch overlay that is thrown away.
 *
 * Threads: hf_view_read and hf_view_extents may run in several threads at once on one view; writes
 * to one disk are serialised inside.
 */
#ifndef HF_STORE_VIEW_H
#define HF_STORE_VIEW_H

#include "store/point.h"

struct hf_view; /* opaque */

struct hf_view_options {
    uint64_t position;
    bool writable;
    struct hf_io *overlay_io;   /* where the scratch overlay lies; NULL: in memory. Borrowed. */
    uint64_t overlay_bytes_max; /* HF_EQUOTA when full; 0: 4 GiB */
};

/* Opens the machine as it was at options->position, under a lease that holds merging off it. */
int hf_view_open(struct hf_store *store, const struct hf_id *machine,
                 const struct hf_view_options *options, struct hf_view **ret_view);
void hf_view_close(
    struct hf_view *view); /* NULL-safe; gives the lease back, throws the overlay away */

size_t hf_view_disks(struct hf_view *view,
                     struct hf_machine_disk *ret_disks); /* HF_DISKS_MAX room */

/* Byte-granular; [offset, offset + length) inside the disk or -EINVAL. Verified content or an
 * error, never zeros for data (V11). */
int hf_view_read(struct hf_view *view, uint16_t disk, uint64_t offset, void *data, size_t length);
int hf_view_write(struct hf_view *view, uint16_t disk, uint64_t offset, const void *data,
                  size_t length); /* -EROFS */
int hf_view_zero(struct hf_view *view, uint16_t disk, uint64_t offset, uint64_t length);
int hf_view_flush(struct hf_view *view, uint16_t disk);

/* Runs that are certainly zero (holes) and runs that may hold data, in order, covering the range.
 */
int hf_view_extents(struct hf_view *view, uint16_t disk, uint64_t offset, uint64_t length,
                    int (*each)(void *context, uint64_t offset, uint64_t length, bool hole),
                    void *context);

#endif
