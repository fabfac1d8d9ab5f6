// SPDX-License-Identifier: Apache-2.0
/* A window that slides over a file: aligned reads, so that it works on files opened with DIRECT.
 * Private to src/journal. */
#ifndef HF_JOURNAL_SCAN_H
#define HF_JOURNAL_SCAN_H

#include "io/io.h"

#define HF_SCAN_STEP_BYTES (1u << 20) /* read at least this much at once */

struct hf_scan {
    struct hf_file *file; /* borrowed */
    uint8_t *buffer;
    size_t capacity;
    uint64_t begin;
    size_t length;
    uint64_t file_size; /* when the scan was opened */
};

/* -ENOMEM, or an error of stat. Close with hf_scan_close whatever it returned. */
int hf_scan_open(struct hf_scan *scan, struct hf_file *file);
void hf_scan_close(struct hf_scan *scan);

/*
 * [offset, offset + size) in memory: *ret_data is borrowed until the next call. *ret_available is
 * less than size only at the end of the file. size is at most HF_ENTRY_BYTES_MAX.
 */
int hf_scan_bytes(struct hf_scan *scan, uint64_t offset, size_t size, const uint8_t **ret_data,
                  size_t *ret_available);

#endif
