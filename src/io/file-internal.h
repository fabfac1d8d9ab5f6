// SPDX-License-Identifier: Apache-2.0
/* Plain files, as the io_uring back end builds on them. */
#ifndef HF_IO_FILE_INTERNAL_H
#define HF_IO_FILE_INTERNAL_H

#include "io/io.h"

struct hf_file_io {
    struct hf_io io;
    int root_fd;
};

struct hf_file_file {
    struct hf_file file;
    int fd;
    uint32_t align_bytes;
};

/* Opens `root`. The struct is the caller's; hf_file_io_done closes what init opened. */
int hf_file_io_init(struct hf_file_io *file_io, const struct hf_io_ops *ops, const char *root);
void hf_file_io_done(struct hf_file_io *file_io);

/* The table of plain files, to be copied and changed. */
extern const struct hf_io_ops hf_file_ops;

/* One operation with pread or pwrite: 0, or a negative errno; a short one is -EIO. */
int hf_file_run_op(const struct hf_io_op *op);

#endif
