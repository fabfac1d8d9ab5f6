// SPDX-License-Identifier: Apache-2.0
/*
 * One segment file as bytes: its header, its entries, and the walk over them that decides what is
 * whole, what is a torn tail and what is damage. Private to src/journal.
 */
#ifndef HF_JOURNAL_SEGMENT_H
#define HF_JOURNAL_SEGMENT_H

#include "journal/format.h"
#include "journal/journal.h"

/* A segment header in the host's form. */
struct hf_segment_head {
    uint64_t number;
    struct hf_id id;
    struct hf_stream_id stream;
    uint64_t base;
    uint64_t seq_begin;
    struct hf_digest digest_begin;
    uint64_t pass;
    uint64_t pass_batch;
    int64_t created_wall_ns;
    uint8_t lane;
    uint64_t hash; /* filled by encode and decode: the first entry chains to it */
};

/* The first eight bytes of the id: every entry and index page is bound to its segment by them. */
uint64_t hf_segment_tag(const struct hf_id *id);

/* page: HF_PAGE_BYTES, wholly written. Sets head->hash. */
void hf_segment_head_encode(struct hf_segment_head *head, uint8_t *page);
/* HF_ECORRUPT, HF_EVERSION. `number` is what the file name says. */
int hf_segment_head_decode(const uint8_t *page, uint64_t number, struct hf_segment_head *ret_head);
/* Reads and decodes page 0. Errors of decode and of reading. */
int hf_segment_head_read(struct hf_file *file, uint64_t number, struct hf_segment_head *ret_head);

/* Bytes an entry with a batch of `size` takes in the file. */
uint64_t hf_entry_bytes(uint64_t size);

/* What an entry header says besides its batch. */
struct hf_entry_fields {
    uint8_t kind;
    uint32_t size;
    uint32_t number;
    uint64_t segment_tag;
    uint64_t offset;
    uint64_t previous;
    uint64_t durable;
    int64_t receipt_ns;
    uint64_t body_hash;
};
/* Writes the header; returns its hash, to which the next entry chains. */
uint64_t hf_entry_encode(const struct hf_entry_fields *fields, struct hf_entry_header *ret_header);

/* A whole entry, borrowed from the walk's window for the length of a callback. */
struct hf_entry {
    uint64_t offset;
    uint64_t end; /* file offset behind it */
    uint32_t number;
    uint64_t durable;
    int64_t receipt_ns;
    uint64_t hash;
    struct hf_batch batch;
};

/* File offset at which the batch's payload byte `payload_offset` lies. */
uint64_t hf_entry_payload_offset(const struct hf_entry *entry, uint64_t payload_offset);
/* Positions that an entry of a segment covers (pass: both are the pass's). */
uint64_t hf_entry_position_begin(const struct hf_segment_head *head, const struct hf_entry *entry);
uint64_t hf_entry_position_end(const struct hf_segment_head *head, const struct hf_entry *entry);

/*
 * Walks the entries of a segment in order. Fill the first part (hf_walk_init gives defaults), run,
 * read the second. It may be run again later on a file that has grown: it goes on where it stopped.
 *
 * The damage rule: where an entry is not whole, everything behind it is searched for entries that
 * are. If one of them, or known_durable, says that the file was durable beyond that place, it is
 * damage: reported, and the walk goes on at the next whole entry. Otherwise it is a torn tail and
 * the walk ends before it. While a writer lives (`live`) the walk ends at the first entry that is
 * not whole and lies at or behind known_durable: it may be a write under way.
 */
struct hf_walk {
    struct hf_file *file; /* borrowed; opened with DIRECT or not */
    const struct hf_segment_head *head;
    uint64_t known_durable;
    uint64_t known_position; /* where what is durable ends, as far as the watermark knows; or 0 */
    uint64_t limit;          /* entries ending behind this file offset do not count; default none */
    bool live;
    bool unchained;     /* offset was set to a later entry: what lies before it is not known */
    uint64_t seq_limit; /* captured: a successor begins here */
    uint64_t pass_batch_limit;                                /* pass: likewise */
    int (*each)(void *context, const struct hf_entry *entry); /* non-zero stops the walk */
    int (*damage)(void *context, const struct hf_journal_damage *damage);
    void *context;

    uint64_t offset; /* behind the last whole entry */
    uint32_t number; /* of the next entry */
    uint64_t chain;  /* hash of the last entry */
    uint64_t seq_end;
    struct hf_digest digest_end;
    uint64_t pass_batch_end;
    uint64_t entries;
    uint64_t claimed; /* greatest durable offset that was claimed */
    uint64_t torn_bytes;
    bool sealed; /* an entry says that nothing follows */
};

void hf_walk_init(struct hf_walk *walk, struct hf_file *file, const struct hf_segment_head *head);
/* 0, an error of reading, or what a callback returned. */
int hf_walk_run(struct hf_walk *walk);

/*
 * Searches [from, end of file) for intact entry headers, at every place where one can begin. Fill
 * the first part; the file may be read to its end.
 */
struct hf_search {
    uint64_t tag;
    bool any_tag; /* entries of whichever segment count: for a file whose own header is lost */
    bool stop_at_next;
    uint64_t after; /* `next` lies behind this */

    uint64_t claimed; /* the greatest durable offset they state; 0: none found */
    uint64_t next;    /* the first of them; UINT64_MAX: none */
    uint64_t last;    /* behind the last non-zero byte; from: all zeros */
};
int hf_segment_search(struct hf_file *file, uint64_t from, struct hf_search *search);

#endif
