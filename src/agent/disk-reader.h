// SPDX-License-Identifier: Apache-2.0
/* Reading protected disks for a pass, behind a table so that tests read memory. Used by the pass's
 * thread; open and close by the engine's thread while no pass reads that slot. */
#ifndef HF_AGENT_DISK_READER_H
#define HF_AGENT_DISK_READER_H

#include <stddef.h>
#include <stdint.h>

struct hf_disk_reader;

struct hf_disk_reader_ops {
    uint32_t size;
    uint32_t version; /* 1 */
    void (*free)(struct hf_disk_reader *reader);
    /* path: a block device; kept open from here on, so that privileges can be dropped. */
    int (*open)(struct hf_disk_reader *reader, unsigned slot, const char *path);
    void (*close)(struct hf_disk_reader *reader, unsigned slot);
    /* Past the page cache. offset and size are multiples of the disk's logical block; data is
     * aligned to HF_IO_ALIGN. All of it or a negative errno. */
    int (*read)(struct hf_disk_reader *reader, unsigned slot, void *data, size_t size,
                uint64_t offset);
};

struct hf_disk_reader {
    const struct hf_disk_reader_ops *ops;
};

/* O_DIRECT through io_uring where it works, else threads of pread. */
int hf_direct_reader_new(struct hf_disk_reader **ret_reader);

#endif
