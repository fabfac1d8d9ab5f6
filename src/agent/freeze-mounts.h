// SPDX-License-Identifier: Apache-2.0
/* Which file systems lie on the protected disks, in the order in which they can be frozen. */
#ifndef HF_AGENT_FREEZE_MOUNTS_H
#define HF_AGENT_FREEZE_MOUNTS_H

#include <stddef.h>
#include <sys/types.h>

#define HF_FREEZE_MOUNT_PATH_MAX 512

struct hf_freeze_mount {
    char path[HF_FREEZE_MOUNT_PATH_MAX];
    dev_t dev;    /* of the files in it */
    dev_t device; /* of the block device below it */
    int level;    /* loops below it, and what holds their files: the higher is frozen first */
    int fd;       /* for the caller: -1 */
};

/*
 * Writable file systems on `disks`, on their partitions, or on devices built from them (dm, md).
 * A file system on a loop device comes before the one that holds the loop's file, then deeper paths
 * before shorter ones (leaf to root), each file system once. At most `max`. The count, or negative
 * errno.
 */
int hf_freeze_mounts(const dev_t *disks, size_t disk_count, struct hf_freeze_mount *ret_mounts,
                     size_t max);

#endif
