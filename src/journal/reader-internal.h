// SPDX-License-Identifier: Apache-2.0
/* The reader's insides, shared by the files of src/journal that make it up. */
#ifndef HF_READER_INTERNAL_H
#define HF_READER_INTERNAL_H

#include "journal/files.h"
#include "journal/index.h"
#include "journal/reader.h"
#include "journal/recover-internal.h"
#include "journal/segment.h"

#define HF_READER_FILTER_BYTES (16u << 20) /* filters kept in memory, all segments together */
#define HF_READER_REBUILT_BYTES                                                                    \
    (32u << 20) /* indexes made in memory for segments that have none, beyond the newest */
#define HF_READER_TORN_TRIES 3  /* a gap beside a living writer is looked at again so often */
#define HF_READER_LIST_TRIES 16 /* a segment dropped while the directory is read: read again */

struct hf_reader_segment {
    uint64_t number;
    struct hf_segment_head head;
    struct hf_file *file; /* stays open when the segment is dropped: a view goes on reading it */
    struct hf_index index;
    bool index_open;
    bool sealed;    /* has an index file, or nothing can follow */
    bool rebuilt;   /* the index is an image made from the segment */
    bool index_bad; /* there is a file, and it is not whole */
    uint64_t used;
    uint64_t position_begin;
    uint64_t position_end;
    uint64_t segment_end;
    struct hf_index_filter filter;
    bool filter_loaded;
    bool filter_absent; /* no room for it: the segment is always asked */

    /* An open segment: what was walked so far, to go on from. */
    struct hf_walk walk;
    struct hf_index_builder builder;
    bool walking;
    uint32_t walked_entries; /* in the image */
    bool listed;             /* by the refresh under way */
};

struct hf_journal_reader {
    struct hf_io *io;
    char *path;
    struct hf_page_cache *cache;
    struct hf_reader_segment **segments; /* by position, then number */
    size_t segment_count;
    struct hf_reader_segment **by_number;
    size_t by_number_count;
    struct hf_journal_damage *damage;
    size_t damage_count;
    struct hf_journal_state state;
    bool has_state;
    uint64_t tick;
    uint64_t rebuilt_bytes;
    uint64_t filter_bytes;
    uint8_t *frame; /* one stored frame */

    /* During a refresh. */
    bool live; /* a writer holds the journal */
    struct hf_watermark watermarks[2];
};

/* ---- reader-segment.c ---- */
/* Opens a segment that the reader does not have. -ENOENT: gone meanwhile. *ret_segment is NULL when
 * there is nothing to read in it yet. */
int hf_reader_segment_open(struct hf_journal_reader *reader, uint64_t number,
                           struct hf_reader_segment **ret_segment);
/* An open segment that may have grown or been sealed since. */
int hf_reader_segment_refresh(struct hf_journal_reader *reader, struct hf_reader_segment *segment);
void hf_reader_segment_free(struct hf_journal_reader *reader, struct hf_reader_segment *segment);
/* Makes sure that segment->index can be read. */
int hf_reader_segment_index(struct hf_journal_reader *reader, struct hf_reader_segment *segment);
/* The index file turned out to be bad: one made from the segment takes its place. */
int hf_reader_segment_rebuild(struct hf_journal_reader *reader, struct hf_reader_segment *segment);
int hf_reader_damage_add(struct hf_journal_reader *reader, const struct hf_journal_damage *damage);
struct hf_reader_segment *hf_reader_segment_find(struct hf_journal_reader *reader, uint64_t number);
/* A walk over what the index covers. Where the segment's own header is bad the first entry is taken
 * without a chain to it. Errors of reading. */
int hf_reader_walk_init(struct hf_walk *walk, struct hf_reader_segment *segment);

#endif
