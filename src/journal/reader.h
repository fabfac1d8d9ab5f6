// SPDX-License-Identifier: Apache-2.0
/*
 * Reading a journal, from any process, while its writer lives or is long dead. A reader sees what
 * was there when it was opened (and after hf_journal_reader_refresh): sealed segments through their
 * indexes, paged from disk, and the open tail by scanning it. Never writes, never cuts. One thread
 * per reader.
 */
#ifndef HF_JOURNAL_READER_H
#define HF_JOURNAL_READER_H

#include "journal/journal.h"

struct hf_journal_reader; /* opaque */

/* Opens the journal in directory `path` of io (borrowed until close). Blocks. */
int hf_journal_reader_open(struct hf_io *io, const char *path,
                           struct hf_journal_reader **ret_reader);
/* Sees what was appended, sealed or dropped since. Blocks. */
int hf_journal_reader_refresh(struct hf_journal_reader *reader);
void hf_journal_reader_close(struct hf_journal_reader *reader); /* NULL-safe */

/*
 * How far this reader sees. While a writer lives that is what the writer has made durable, never
 * more: a state that a power cut could take back is not shown (A2). When none lives, the reader
 * syncs the open segments itself and sees everything whole in them. -ENOENT when the journal never
 * held anything.
 */
int hf_journal_reader_newest(struct hf_journal_reader *reader,
                             struct hf_journal_progress *ret_progress);

/* The damage known without reading everything: what recovery found, what an index recorded, what is
 * missing between segments. No point whose position lies behind a range's position_begin may rely
 * on it. hf_journal_reader_check finds the rest. */
int hf_journal_reader_damage(struct hf_journal_reader *reader,
                             int (*each)(void *context, const struct hf_journal_damage *damage),
                             void *context);

/* ---- Extents: what a view resolves reads through ---- */

/* One indexed piece of content: a frame, or a ZERO/DISCARD range. */
struct hf_journal_extent {
    uint64_t offset; /* on the disk, bytes */
    uint64_t length;
    uint64_t position; /* end position of its record: visible in a state at S when position <= S */
    uint64_t order;    /* among equal positions the larger wins */
    uint64_t segment;  /* number */
    uint64_t file_offset;
    uint64_t checksum;
    uint32_t stored_size;
    uint8_t encoding; /* enum hf_frame_encoding */
    uint8_t type;     /* WRITE, ZERO or DISCARD */
};

/*
 * Calls each for every extent of `disk` that overlaps [offset, offset + length) and has min <
 * position <= max, newest first or in any order (the caller sorts: `order` and `position` decide).
 * Stops at the first non-zero and returns it. Memory used is bounded by HF_READER_CACHE_BYTES
 * however long the journal is.
 */
#define HF_READER_CACHE_BYTES (16u << 20)
int hf_journal_reader_extents(struct hf_journal_reader *reader, uint16_t disk, uint64_t offset,
                              uint64_t length, uint64_t position_min, uint64_t position_max,
                              int (*each)(void *context, const struct hf_journal_extent *extent),
                              void *context);

/* The verified content of a WRITE extent into content (extent->length bytes). HF_ECORRUPT, -EIO;
 * never zeros for data (V11). -ESTALE when its segment was dropped and the reader refreshed since.
 */
int hf_journal_reader_content(struct hf_journal_reader *reader,
                              const struct hf_journal_extent *extent, void *content);

/* ---- Events: marks, passes, disks, descriptions, gaps, and the clock, in order of position ----
 */

struct hf_journal_event {
    uint64_t position; /* end position of the record */
    uint8_t type;      /* enum hf_record_type, never WRITE, ZERO or DISCARD */
    struct hf_stream_id stream;
    uint64_t seq;
    int64_t wall_ns;    /* the machine's clock at that record */
    int64_t receipt_ns; /* the store's */
    uint64_t boot_ns;
    const void *body; /* borrowed for the call */
    size_t body_length;
};
int hf_journal_reader_events(struct hf_journal_reader *reader, uint64_t position_min,
                             uint64_t position_max,
                             int (*each)(void *context, const struct hf_journal_event *event),
                             void *context);

/* One entry per captured batch: where it ends and when. What a second is looked up in. */
struct hf_journal_moment {
    uint64_t position_begin;
    uint64_t position_end;
    struct hf_stream_id stream;
    int64_t wall_first_ns;
    int64_t wall_last_ns;
    int64_t receipt_ns;
};
int hf_journal_reader_moments(struct hf_journal_reader *reader, uint64_t position_min,
                              uint64_t position_max,
                              int (*each)(void *context, const struct hf_journal_moment *moment),
                              void *context);

/*
 * Whole batches that overlap (position_min, position_max], for merging, forwarding and checking;
 * batch bytes are borrowed for the call and already parsed. Captured ones come in order of
 * position; a pass's in their order, behind the captured batch that holds its PASS_BEGIN and before
 * the next. Records of that one captured batch may lie behind PASS_BEGIN and are then newer than
 * the pass: whoever applies them compares positions (position_base + seq_end). HF_EDAMAGED where a
 * batch is bad or missing: nothing is skipped silently.
 */
int hf_journal_reader_batches(struct hf_journal_reader *reader, uint64_t position_min,
                              uint64_t position_max,
                              int (*each)(void *context, const struct hf_batch *batch,
                                          uint64_t position_base),
                              void *context);

/* Reads and verifies every byte of every segment and index; reports each damage. One with an empty
 * range of positions concerns an index only, which is rebuilt from its segment. Returns 0 when all
 * is well, HF_EDAMAGED otherwise. */
int hf_journal_reader_check(struct hf_journal_reader *reader,
                            int (*damage)(void *context, const struct hf_journal_damage *damage),
                            void (*progress)(void *context, uint64_t done_bytes,
                                             uint64_t total_bytes),
                            void *context);

#endif
