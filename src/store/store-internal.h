// SPDX-License-Identifier: Apache-2.0
/* What the files of src/store share and nobody else sees: the store handle, names on disk, limits.
 */
#ifndef HF_STORE_STORE_INTERNAL_H
#define HF_STORE_STORE_INTERNAL_H

#include "store/store.h"

#define HF_STORE_MAGIC 0x31534648u    /* "HFS1" */
#define HF_MANIFEST_MAGIC 0x314d4648u /* "HFM1" */
#define HF_PROGRESS_MAGIC 0x31504648u /* "HFP1" */
#define HF_HASHES_MAGIC 0x31484648u   /* "HFH1" */
#define HF_STORE_VERSION 1
#define HF_MANIFEST_BYTES_MAX (512u << 10)
#define HF_STORE_BLOCK 4096u                /* one sum stands for this many bytes of a base image */
#define HF_GATE_ATTEMPTS 2000               /* tries to pass the lease gate ... */
#define HF_GATE_PAUSE_NS (2 * HF_NS_PER_MS) /* ... this far apart */

struct hf_store {
    struct hf_io *io;         /* borrowed */
    struct hf_clock *clock;   /* borrowed */
    struct hf_random *random; /* borrowed */
    struct hf_id id;
};

/* "machines/ID/LEAF", or "machines/ID" with leaf NULL, into path, which has HF_IO_PATH_MAX bytes.
 */
void hf_machine_path(const struct hf_id *machine, const char *leaf, char *path);
/* "machines/ID/disk-NN/LEAF" (leaf NULL: the directory). */
void hf_disk_path(const struct hf_id *machine, uint16_t disk, const char *leaf, char *path);
/* mkdir that is content with an existing directory. */
int hf_make_directory(struct hf_io *io, const char *path);

#endif
