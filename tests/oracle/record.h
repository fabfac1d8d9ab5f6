// SPDX-License-Identifier: Apache-2.0
/*
 * The independent record: who wrote what, when. Made by programs that know nothing of Holdfast (the
 * load generator above the disk, the recording disk below it) and judged by oracle-check.
 *
 * A record file is a header and an array of entries in a shared mapping, so that a killed program
 * leaves everything it had entered. An entry whose complete_ns is 0 was still under way.
 */
#ifndef HF_TESTS_ORACLE_RECORD_H
#define HF_TESTS_ORACLE_RECORD_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define ORACLE_MAGIC UINT64_C(0x31656c6361726f48)
#define ORACLE_ENTRIES_MAX (4u << 20)
#define ORACLE_SECTOR 512

enum oracle_kind { ORACLE_WRITE = 1, ORACLE_ZERO = 2, ORACLE_DISCARD = 3 };

struct oracle_entry {
    uint64_t submit_ns;   /* CLOCK_BOOTTIME, before the call */
    uint64_t complete_ns; /* after it */
    uint64_t offset;
    uint32_t length;
    uint16_t disk;
    uint16_t kind; /* enum oracle_kind; 0: never filled */
};

struct oracle_record {
    uint64_t magic;
    _Atomic uint64_t count; /* entries handed out; entry number n (from 1) is entries[n - 1] */
    uint64_t disks;
    uint64_t disk_bytes;
    struct oracle_entry entries[];
};

#define ORACLE_RECORD_BYTES                                                                        \
    (sizeof(struct oracle_record) + sizeof(struct oracle_entry) * (size_t)ORACLE_ENTRIES_MAX)

/* What every sector of entry `number` holds: it names itself, and any mixture shows. */
struct oracle_sector {
    uint64_t magic;
    uint64_t number;
    uint64_t disk;
    uint64_t sector;
    uint64_t filling[60];
};
_Static_assert(sizeof(struct oracle_sector) == ORACLE_SECTOR, "one sector");

static inline uint64_t oracle_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline void oracle_sector_make(struct oracle_sector *sector, uint64_t number, uint64_t disk,
                                      uint64_t index)
{
    uint64_t state = (number * UINT64_C(0x9e3779b97f4a7c15)) ^ (index << 20) ^ disk;

    sector->magic = ORACLE_MAGIC;
    sector->number = number;
    sector->disk = disk;
    sector->sector = index;
    for (size_t i = 0; i < 60; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        /* Half of it compresses, as real data does. */
        sector->filling[i] = i % 2 ? state : number;
    }
}

#endif
