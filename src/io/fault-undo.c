// SPDX-License-Identifier: Apache-2.0
#include "io/fault-internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/base.h"

/* A run of old data. */
struct piece {
    struct piece *next;
    uint64_t offset;
    uint64_t length;
    uint8_t data[];
};

struct hf_fault_undo {
    struct hf_fault_undo *older;
    uint64_t offset;
    uint64_t length;
    uint64_t old_size;
    uint64_t bytes; /* held in pieces */
    struct piece *pieces;
};

static void undo_free(struct hf_fault_undo *undo)
{
    if (!undo)
        return;
    while (undo->pieces) {
        struct piece *piece = undo->pieces;

        undo->pieces = piece->next;
        free(piece);
    }
    free(undo);
}

static int save_piece(struct hf_fault_undo *undo, struct hf_file *file, uint64_t offset,
                      uint64_t length)
{
    struct piece *piece = malloc(sizeof(*piece) + length);
    int error;

    if (!piece)
        return -ENOMEM;
    piece->offset = offset;
    piece->length = length;
    error = hf_io_read_full(file, piece->data, length, offset);
    if (error) {
        free(piece);
        return error;
    }
    piece->next = undo->pieces;
    undo->pieces = piece;
    undo->bytes += length;
    return 0;
}

/* Holes need no saving: they come back as holes. */
static int save_data(struct hf_fault_undo *undo, struct hf_file *file)
{
    uint64_t offset = undo->offset, end, length;

    if (undo->offset >= undo->old_size)
        return 0;
    end =
        undo->length > undo->old_size - undo->offset ? undo->old_size : undo->offset + undo->length;
    while (offset < end) {
        int error = hf_io_next_data(file, offset, &offset, &length);

        if (error == -ENXIO || (!error && offset >= end))
            return 0;
        if (!error)
            error = save_piece(undo, file, offset, HF_MIN(length, end - offset));
        if (error)
            return error;
        offset += length;
    }
    return 0;
}

/* A kernel writes back in its own time: what is too much to keep is taken as written. */
static void forget_oldest(struct hf_fault_undo_list *list)
{
    struct hf_fault_undo **link = &list->newest;
    uint64_t bytes = 0;

    while (*link && bytes + (*link)->bytes <= HF_FAULT_UNDO_BYTES_MAX) {
        bytes += (*link)->bytes;
        link = &(*link)->older;
    }
    while (*link) {
        struct hf_fault_undo *undo = *link;

        *link = undo->older;
        undo_free(undo);
    }
    list->bytes = bytes;
}

int hf_fault_undo_add(struct hf_fault_undo_list *list, struct hf_file *file, uint64_t offset,
                      uint64_t length)
{
    struct hf_fault_undo *undo;
    struct hf_io_stat info;
    int error = hf_io_stat(file, &info);

    if (error)
        return error;
    undo = calloc(1, sizeof(*undo));
    if (!undo)
        return -ENOMEM;
    *undo = (struct hf_fault_undo){.offset = offset, .length = length, .old_size = info.size};
    error = save_data(undo, file);
    if (error) {
        undo_free(undo);
        return error;
    }
    undo->older = list->newest;
    list->newest = undo;
    list->bytes += undo->bytes;
    if (list->bytes > HF_FAULT_UNDO_BYTES_MAX)
        forget_oldest(list);
    return 0;
}

static int undo_apply(const struct hf_fault_undo *undo, struct hf_file *file)
{
    int error = hf_io_truncate(file, undo->old_size);

    if (!error && undo->offset < undo->old_size)
        error =
            hf_io_punch(file, undo->offset, HF_MIN(undo->length, undo->old_size - undo->offset));
    for (const struct piece *piece = undo->pieces; !error && piece; piece = piece->next)
        error = hf_io_write(file, piece->data, piece->length, piece->offset);
    return error;
}

int hf_fault_undo_apply(struct hf_fault_undo_list *list, struct hf_file *file)
{
    int error = 0;

    for (struct hf_fault_undo *undo = list->newest; !error && undo; undo = undo->older)
        error = undo_apply(undo, file);
    hf_fault_undo_clear(list);
    return error;
}

void hf_fault_undo_clear(struct hf_fault_undo_list *list)
{
    while (list->newest) {
        struct hf_fault_undo *undo = list->newest;

        list->newest = undo->older;
        undo_free(undo);
    }
    list->bytes = 0;
}
