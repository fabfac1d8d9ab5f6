// SPDX-License-Identifier: Apache-2.0
/*
 * The journal: an append-only log of batches in segment files. The process server's spool and the
 * target's retention are this same code; only who drops segments, and when, differs.
 *
 * Positions. A journal outlives streams (a reboot begins a new capture), so it has an order of its
 * own: every stream is given a base when it is first appended, and a record's *position* is base +
 * its seq. Positions rise for ever; a point is a position: the state of everything whose end
 * position is <= it. A pass's data has the position of its PASS_BEGIN record and, among equal
 * positions, the later append wins.
 *
 * Durability. hf_journal_append gives bytes to the file; only hf_journal_sync makes them durable
 * and only then may anything be acknowledged. After any failed write or sync the segment takes no
 * more (HF_ESYNC): it is verified, what is whole is copied to a new segment and synced there, or
 * the error stays. It is never synced again.
 *
 * Recovery (on open). The last segment is scanned; a torn tail is cut; a bad record followed by one
 * that claims durability beyond it is damage: reported, never cut. Whatever was recovered is sealed
 * and writing goes on in a new segment.
 *
 * Threads: one writer thread (append, sync, seal, drop); hf_journal_sync may run in a second thread
 * beside appends. Readers are separate objects (hf_journal_reader) that never write and work on a
 * journal whose writer lives in another process. Specification: docs/formats/journal.md.
 */
#ifndef HF_JOURNAL_JOURNAL_H
#define HF_JOURNAL_JOURNAL_H

#include "base/clock.h"
#include "io/io.h"
#include "stream/batch.h"

#define HF_JOURNAL_STREAMS_MAX                                                                     \
    4096 /* streams one journal has seen; older ones are folded away with their segments */
#define HF_SEGMENT_BYTES_DEFAULT (64u << 20)
#define HF_SEGMENT_BYTES_MAX (1u << 30)
#define HF_SEGMENTS_MAX 65536

struct hf_journal; /* opaque */

struct hf_journal_options {
    struct hf_io *io;         /* borrowed */
    const char *path;         /* directory below io's root; made when absent */
    struct hf_random *random; /* borrowed */
    struct hf_clock *clock;   /* borrowed */
    uint64_t segment_bytes;   /* a captured segment is sealed when it passes this; 0: default */
    uint64_t reserve_bytes;   /* kept allocated so that sealing and dropping always have room (fault
                                 28); 0: 8 MiB */
    uint64_t position_min;    /* positions of new streams lie above it: a second guard, beside the
                                 journal's own state, against giving one twice. 0: none */
};

/* What opening found. Sizes in bytes. */
struct hf_journal_recovery {
    uint64_t segments;
    uint64_t batches;
    uint64_t torn_bytes;       /* cut from the tail of the last segment: nothing durable */
    uint64_t damaged_segments; /* see hf_journal_damage_each */
};

/* One run of positions whose content is bad or missing. */
struct hf_journal_damage {
    uint64_t segment;
    uint64_t file_offset;
    uint64_t position_begin;
    uint64_t position_end;
    int error; /* HF_ECORRUPT, or what reading gave */
};

/* What is durable of one lane; what acknowledgements and resume positions are made of. */
struct hf_journal_progress {
    struct hf_stream_id stream;
    uint64_t seq;            /* captured: everything with seq_end <= this is there */
    struct hf_digest digest; /* at seq */
    uint64_t pass;           /* the newest pass seen; 0 when none */
    uint64_t pass_seq;
    uint64_t pass_batch; /* its batches 0 .. pass_batch-1 are there */
    struct hf_digest pass_digest;
    uint64_t position; /* of seq */
};

/* Opens a journal for writing and recovers it: a torn tail is cut, damage is reported in
 * ret_recovery. One writer; blocks. The caller closes it. */
int hf_journal_open(const struct hf_journal_options *options,
                    struct hf_journal_recovery *ret_recovery, struct hf_journal **ret_journal);
/* Seals nothing and syncs nothing: closing is like a crash that lost nothing. NULL-safe. */
void hf_journal_close(struct hf_journal *journal);

/*
 * Announces the stream that appends will belong to. A stream already known goes on where it is; a
 * new one gets the next base. A lower epoch than the highest known: HF_EFENCED. A new stream with
 * the same epoch is allowed (a reboot). Not durable until a sync.
 */
int hf_journal_stream_begin(struct hf_journal *journal, const struct hf_stream_id *stream);

/*
 * Appends a checked batch (hf_batch_parse and hf_batch_verify have passed). Its lane must continue
 * exactly: captured: seq_begin == progress.seq and digest_before == progress.digest; pass: its
 * number or the next. A batch that lies wholly at or below what is there: -EALREADY (idempotent,
 * nothing written). Anything else: HF_EDIVERGED (digest) or HF_EPROTO (gap). -ENOSPC leaves the
 * journal usable. receipt_wall_ns is the store's own clock.
 */
int hf_journal_append(struct hf_journal *journal, const struct hf_batch *batch,
                      int64_t receipt_wall_ns);

/* Makes everything appended before the call durable. May run beside hf_journal_append of another
 * thread. Blocks. */
int hf_journal_sync(struct hf_journal *journal);

/* Appended so far, and durable so far. Any thread. */
void hf_journal_appended(struct hf_journal *journal, struct hf_journal_progress *ret_progress);
void hf_journal_durable(struct hf_journal *journal, struct hf_journal_progress *ret_progress);

/* Seals the open segments: index written and synced, no more appends to them. Blocks. */
int hf_journal_seal(struct hf_journal *journal);

/* Segments in order of position. */
struct hf_segment_info {
    uint64_t number;
    struct hf_id id;
    uint8_t lane;
    bool sealed;
    bool damaged;
    uint64_t position_begin; /* captured: what it covers; pass: both its position */
    uint64_t position_end;
    uint64_t file_bytes;
    uint64_t entries; /* index entries */
    int64_t wall_first_ns;
    int64_t wall_last_ns;
};
size_t hf_journal_segment_count(struct hf_journal *journal);
int hf_journal_segment_info(struct hf_journal *journal, size_t index,
                            struct hf_segment_info *ret_info);

/* Unlinks sealed segments that lie wholly at or below `position` (their records are in the base
 * image). Any that a pass at a higher position needs stay. *ret_bytes: space given back.
 * Crash-safe: a dropped segment may come back at open, never half. */
int hf_journal_drop_below(struct hf_journal *journal, uint64_t position, uint64_t *ret_bytes);

/* What its files take, in bytes. Any thread. */
uint64_t hf_journal_bytes(struct hf_journal *journal);
/* Calls each for every damage known; stops at the first non-zero and returns it. */
int hf_journal_damage_each(struct hf_journal *journal,
                           int (*each)(void *context, const struct hf_journal_damage *damage),
                           void *context);

#endif
