// SPDX-License-Identifier: Apache-2.0
/*
 * The two halves of the crash back end: what a power cut leaves of a file's content, and what it
 * leaves of names. README.md has the model. The caller holds the back end's lock.
 */
#ifndef HF_IO_CRASH_INTERNAL_H
#define HF_IO_CRASH_INTERNAL_H

#include "base/clock.h"
#include "io/io-test.h"
#include "io/memory-internal.h"

#define HF_CRASH_SECTOR_BYTES ((uint64_t)512)

/* How a restart decides. One `random` for the whole restart, asked in a fixed order. */
struct hf_crash_fate {
    enum hf_crash_survive survive;
    uint64_t torn_write; /* number of the write that TEAR_LAST tears; UINT64_MAX: none */
    struct hf_random_seeded random;
};

/* true in `percent` of the cases. */
bool hf_crash_chance(struct hf_crash_fate *fate, unsigned percent);
/* 0, 25, 50, 75 or 100: so that now and then all of something survives, or nothing. */
unsigned hf_crash_percent(struct hf_crash_fate *fate);

/* ---- Content (crash-content.c). Each call changes what running code sees and remembers the change
 * as unsynced; -ENOMEM or -EFBIG leave both alone. ---- */

int hf_crash_content_new(struct hf_crash_content **ret_content);
void hf_crash_content_free(struct hf_crash_content *content); /* NULL-safe */
int hf_crash_write(struct hf_mem_inode *inode, uint64_t number, const void *data, size_t size,
                   uint64_t offset);
int hf_crash_truncate(struct hf_mem_inode *inode, uint64_t number, uint64_t size);
int hf_crash_punch(struct hf_mem_inode *inode, uint64_t number, uint64_t offset, uint64_t length);
int hf_crash_allocate(struct hf_mem_inode *inode, uint64_t number, uint64_t end);
/* All unsynced changes become durable. */
int hf_crash_content_sync(struct hf_mem_inode *inode);
/* The number of the newest unsynced write, or UINT64_MAX. */
uint64_t hf_crash_newest_write(const struct hf_mem_inode *inode);
/* Decides what survives; then running code sees that, and nothing is unsynced. */
int hf_crash_content_restart(struct hf_mem_inode *inode, struct hf_crash_fate *fate);

/* ---- Names (crash-names.c) ---- */

/* An entry of a directory given to an inode, or taken away (inode NULL). */
struct hf_crash_slot {
    struct hf_mem_inode *directory; /* a reference */
    char *name;                     /* owned */
    struct hf_mem_inode *inode;     /* a reference, or NULL */
};

enum hf_crash_name_kind { HF_CRASH_CREATE, HF_CRASH_MKDIR, HF_CRASH_UNLINK, HF_CRASH_RENAME };

/* One change of names: it survives whole or not at all. */
struct hf_crash_name_change {
    enum hf_crash_name_kind kind;
    struct hf_crash_slot slots[2]; /* rename: the old name goes, the new one comes */
    size_t slot_count;
    struct hf_mem_inode *replaced; /* what was unlinked or replaced: a reference, or NULL */
};

/* Changes not yet durable, in order. Zero-initialised is empty. */
struct hf_crash_names {
    struct hf_crash_name_change *changes;
    size_t count;
    size_t capacity;
};

/* Appends a change, taking its references. `slots` names are copied. -ENOMEM: unchanged. */
int hf_crash_names_add(struct hf_crash_names *names, enum hf_crash_name_kind kind,
                       const struct hf_crash_slot *slots, size_t slot_count,
                       struct hf_mem_inode *replaced);
void hf_crash_names_drop_last(struct hf_crash_names *names); /* takes back the last add */
/* Everything in `directory` becomes durable, and what that depends on. */
int hf_crash_names_sync(struct hf_crash_names *names, const struct hf_mem_inode *directory);
/* Decides what survives and makes it durable; nothing is pending after. */
int hf_crash_names_restart(struct hf_crash_names *names, struct hf_crash_fate *fate);
void hf_crash_names_clear(struct hf_crash_names *names);

#endif
