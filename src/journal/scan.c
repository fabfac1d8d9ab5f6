// SPDX-License-Identifier: Apache-2.0
#include "journal/scan.h"

#include <stdlib.h>

#include "base/base.h"
#include "base/error.h"
#include "journal/format.h"

int hf_scan_open(struct hf_scan *scan, struct hf_file *file)
{
    struct hf_io_stat stat;
    int r;

    *scan = (struct hf_scan){.file = file};
    r = hf_io_stat(file, &stat);
    if (r < 0)
        return r;
    scan->file_size = stat.size;
    return 0;
}

void hf_scan_close(struct hf_scan *scan)
{
    free(scan->buffer);
    scan->buffer = NULL;
}

static int scan_room(struct hf_scan *scan, size_t size)
{
    if (size <= scan->capacity)
        return 0;
    free(scan->buffer);
    scan->capacity = 0;
    scan->length = 0;
    scan->buffer = aligned_alloc(HF_IO_ALIGN, size);
    if (!scan->buffer)
        return -ENOMEM;
    scan->capacity = size;
    return 0;
}

/* Small files are read whole; the window never grows beyond one entry and its alignment. */
static size_t scan_window(const struct hf_scan *scan, uint64_t begin, uint64_t end)
{
    uint64_t wanted = HF_MAX(end - begin, (uint64_t)HF_SCAN_STEP_BYTES);
    uint64_t rest = scan->file_size > begin ? scan->file_size - begin : 1;

    return (size_t)HF_ALIGN_UP(HF_MIN(wanted, rest), HF_IO_ALIGN);
}

static int scan_fill(struct hf_scan *scan, uint64_t begin, uint64_t end)
{
    size_t window = scan_window(scan, begin, end);
    size_t got = 0;
    int r = scan_room(scan, window);

    if (r < 0)
        return r;
    scan->length = 0;
    r = hf_io_read(scan->file, scan->buffer, window, begin, &got);
    if (r < 0)
        return r;
    scan->begin = begin;
    scan->length = got;
    return 0;
}

int hf_scan_bytes(struct hf_scan *scan, uint64_t offset, size_t size, const uint8_t **ret_data,
                  size_t *ret_available)
{
    uint64_t end = HF_MIN(offset + size, scan->file_size);

    HF_ASSERT(size <= HF_ENTRY_BYTES_MAX);
    if (end <= offset) {
        *ret_data = scan->buffer;
        *ret_available = 0;
        return 0;
    }
    if (offset < scan->begin || end > scan->begin + scan->length || !scan->buffer) {
        int r = scan_fill(scan, HF_ALIGN_DOWN(offset, HF_IO_ALIGN), end);

        if (r < 0)
            return r;
    }
    end = HF_MIN(end, scan->begin + scan->length);
    *ret_data = scan->buffer + (offset - scan->begin);
    *ret_available = end > offset ? (size_t)(end - offset) : 0;
    return 0;
}
