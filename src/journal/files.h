// SPDX-License-Identifier: Apache-2.0
/* Names of a journal's files, its state file and its watermark. Private to src/journal. */
#ifndef HF_JOURNAL_FILES_H
#define HF_JOURNAL_FILES_H

#include "journal/journal.h"

#define HF_WATERMARK_NAME "watermark"
#define HF_RESERVE_NAME "reserve"
#define HF_INDEX_TMP_NAME "index.tmp"
#define HF_STATE_TMP_NAME "state.tmp"

/* name: HF_IO_PATH_MAX bytes. -ENAMETOOLONG. */
int hf_journal_path(const char *directory, const char *file, char *name);
int hf_segment_path(const char *directory, uint64_t number, char *name);
int hf_index_path(const char *directory, uint64_t number, char *name);
/* Which number a name stands for; false when it is not "seg-" or "idx-" and sixteen digits. */
bool hf_segment_name_parse(const char *name, const char *prefix, uint64_t *ret_number);

/* Writes directory/name completely or not at all: new file, sync, rename, sync of the directory.
 * Every attempt is a new file, so that a failed sync is never tried again on it (fault 27). */
int hf_file_replace(struct hf_io *io, const char *directory, const char *tmp_name, const char *name,
                    const void *data, size_t size);

/* What must outlive all segments: so that a resume position, a number or a position is never given
 * twice (faults 19, 35). */
struct hf_journal_state {
    uint64_t generation;
    uint64_t number_next;
    uint64_t floor;
    uint64_t position_max;
    uint64_t epoch_max;
    uint64_t base;
    bool has_stream;
    struct hf_journal_progress progress;
};
/* The newest valid of the two. -ENOENT when there is none, HF_ECORRUPT when all there are are bad.
 */
int hf_state_read(struct hf_io *io, const char *directory, struct hf_journal_state *ret_state);
/* Raises state->generation and makes it durable in place of the older of the two. */
int hf_state_write(struct hf_io *io, const char *directory, struct hf_journal_state *state);

/* How far the open segment of each lane is durable: written after every sync, never synced itself,
 * because it only says what is already true. */
struct hf_watermark {
    struct hf_id segment;
    uint64_t number;
    uint64_t durable; /* file offset; 0: the slot says nothing */
    uint64_t position;
};
int hf_watermark_read(struct hf_file *file, uint8_t lane, struct hf_watermark *ret_watermark);
int hf_watermark_write(struct hf_file *file, uint8_t lane, const struct hf_watermark *watermark);

#endif
