// SPDX-License-Identifier: Apache-2.0
/* Names on disk. */
#include <stdio.h>

#include "base/base.h"
#include "base/error.h"
#include "store/store-internal.h"

void hf_machine_path(const struct hf_id *machine, const char *leaf, char *path)
{
    char text[HF_ID_TEXT_SIZE];
    int n;

    hf_id_format(machine, text);
    n = snprintf(path, HF_IO_PATH_MAX, "machines/%s%s%s", text, leaf == NULL ? "" : "/",
                 leaf == NULL ? "" : leaf);
    HF_ASSERT(n > 0 && n < HF_IO_PATH_MAX);
}

void hf_disk_path(const struct hf_id *machine, uint16_t disk, const char *leaf, char *path)
{
    char name[64];
    int n = snprintf(name, sizeof(name), "disk-%02u%s%s", disk, leaf == NULL ? "" : "/",
                     leaf == NULL ? "" : leaf);

    HF_ASSERT(n > 0 && (size_t)n < sizeof(name));
    hf_machine_path(machine, name, path);
}

int hf_make_directory(struct hf_io *io, const char *path)
{
    int r = hf_io_mkdir(io, path);

    return r == -EEXIST ? 0 : r;
}
