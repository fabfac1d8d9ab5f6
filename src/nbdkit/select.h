// SPDX-License-Identifier: Apache-2.0
/* From the plugin's parameters to an open view. */
#ifndef HF_NBDKIT_SELECT_H
#define HF_NBDKIT_SELECT_H

#include "store/view.h"

#define HF_NBDKIT_ERROR_MAX 2048

struct hf_nbdkit_options {
    char *store;         /* directory, absolute */
    const char *machine; /* identity or name; NULL: the only one */
    const char *point;
    const char *disk; /* slot or name; NULL: all */
    bool writable;
    char *overlay; /* directory, absolute; NULL: in memory */
    uint64_t overlay_bytes_max;
};

struct hf_nbdkit_view {
    struct hf_io *io;
    struct hf_io *overlay_io;
    struct hf_store *store;
    struct hf_view *view;
    struct hf_machine_disk disks[HF_DISKS_MAX]; /* those that are served */
    size_t disk_count;
};

/* 0, or a negative code and a line of text for people. Blocks. One thread. */
int hf_nbdkit_view_open(const struct hf_nbdkit_options *options, struct hf_nbdkit_view *ret_view,
                        char *text, size_t text_size);
void hf_nbdkit_view_close(struct hf_nbdkit_view *view); /* idempotent */

/* The disk of an export name: its name or slot number; "" when only one is served. NULL: none. */
const struct hf_machine_disk *hf_nbdkit_view_disk(const struct hf_nbdkit_view *view,
                                                  const char *name);

#endif
