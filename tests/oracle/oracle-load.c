// SPDX-License-Identifier: Apache-2.0
/*
 * Writes self-describing sectors to one or more disks with O_DIRECT from many threads, with
 * discards and zeroing between, and enters each call's begin and end into the record before and
 * after it is made. Threads own disjoint granules, so that no two writes of one sector are ever in
 * flight at once: "newer" is then a fact of the record and not a matter of opinion.
 *
 *     oracle-load RECORD SECONDS THREADS SEED DISK...
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oracle/record.h"

#define GRANULE 65536
#define DISKS_MAX 8
#define THREADS_MAX 64
#define PAUSE_ONE_IN 2 /* a pause now and then, so that gaps between writes occur too */
#define PAUSE_US 4000
#define SHORT_SECTORS 24 /* most calls have at most these */

struct load {
    struct oracle_record *record;
    int fds[DISKS_MAX];
    unsigned disks;
    uint64_t granules;
    uint64_t end_ns;
    unsigned threads;
    _Atomic int error;
};

struct worker {
    struct load *load;
    unsigned index;
    uint64_t state;
    pthread_t thread;
};

static uint64_t random_next(struct worker *worker)
{
    worker->state ^= worker->state << 13;
    worker->state ^= worker->state >> 7;
    worker->state ^= worker->state << 17;
    return worker->state * UINT64_C(2685821657736338717);
}

/* A range inside one granule of this worker's own. */
static void choose_range(struct worker *worker, struct oracle_entry *entry)
{
    struct load *load = worker->load;
    uint64_t mine = load->granules / load->threads;
    uint64_t granule = (random_next(worker) % mine) * load->threads + worker->index;
    uint64_t sectors = GRANULE / ORACLE_SECTOR;
    uint64_t first = random_next(worker) % sectors;
    uint64_t count = 1 + random_next(worker) % (sectors - first);

    if (random_next(worker) % 8 != 0 && count > SHORT_SECTORS)
        count = 1 + random_next(worker) % SHORT_SECTORS;
    if (random_next(worker) % 4 != 0) { /* mostly what file systems do: 4 KiB blocks */
        first &= ~UINT64_C(7);
        count = count < 8 ? 8 : count & ~UINT64_C(7);
        if (first + count > sectors)
            count = sectors - first;
    }
    entry->disk = (uint16_t)(random_next(worker) % load->disks);
    entry->offset = granule * GRANULE + first * ORACLE_SECTOR;
    entry->length = (uint32_t)(count * ORACLE_SECTOR);
}

static uint16_t choose_kind(struct worker *worker)
{
    uint64_t dice = random_next(worker) % 100;

    if (dice < 4)
        return ORACLE_DISCARD;
    return dice < 8 ? ORACLE_ZERO : ORACLE_WRITE;
}

static int perform(struct load *load, const struct oracle_entry *entry, uint64_t number,
                   uint8_t *buffer)
{
    int fd = load->fds[entry->disk];
    uint64_t range[2] = {entry->offset, entry->length};

    if (entry->kind == ORACLE_DISCARD)
        return ioctl(fd, BLKDISCARD, range) < 0 ? -errno : 0;
    if (entry->kind == ORACLE_ZERO)
        return ioctl(fd, BLKZEROOUT, range) < 0 ? -errno : 0;
    for (uint32_t i = 0; i < entry->length; i += ORACLE_SECTOR)
        oracle_sector_make((struct oracle_sector *)(buffer + i), number, entry->disk,
                           (entry->offset + i) / ORACLE_SECTOR);
    return pwrite(fd, buffer, entry->length, (off_t)entry->offset) == (ssize_t)entry->length ? 0
                                                                                             : -EIO;
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    struct load *load = worker->load;
    uint8_t *buffer = aligned_alloc(4096, GRANULE);

    while (buffer != NULL && load->error == 0 && oracle_now_ns() < load->end_ns) {
        uint64_t number = atomic_fetch_add(&load->record->count, 1) + 1;
        struct oracle_entry *entry;
        int error;

        if (number > ORACLE_ENTRIES_MAX) {
            atomic_fetch_sub(&load->record->count, 1);
            break;
        }
        entry = &load->record->entries[number - 1];
        choose_range(worker, entry);
        entry->submit_ns = oracle_now_ns();
        atomic_thread_fence(memory_order_seq_cst);
        entry->kind = choose_kind(worker);
        error = perform(load, entry, number, buffer);
        if (error == 0)
            entry->complete_ns = oracle_now_ns();
        else
            load->error = error;
        if (random_next(worker) % PAUSE_ONE_IN == 0)
            usleep(PAUSE_US);
    }
    free(buffer);
    return NULL;
}

static struct oracle_record *record_make(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    void *memory = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, (off_t)ORACLE_RECORD_BYTES) == 0)
        memory = mmap(NULL, ORACLE_RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

static int open_disks(struct load *load, char **paths, int count)
{
    uint64_t smallest = UINT64_MAX;

    for (int i = 0; i < count; i++) {
        uint64_t bytes = 0;

        load->fds[i] = open(paths[i], O_RDWR | O_DIRECT);
        if (load->fds[i] < 0 || ioctl(load->fds[i], BLKGETSIZE64, &bytes) < 0)
            return -errno;
        smallest = bytes < smallest ? bytes : smallest;
    }
    load->disks = (unsigned)count;
    load->granules = smallest / GRANULE;
    load->record->disks = (uint64_t)count;
    load->record->disk_bytes = smallest;
    return 0;
}

int main(int argc, char **argv)
{
    static struct worker workers[THREADS_MAX];
    struct load load = {0};
    uint64_t seed;

    if (argc < 6 || argc - 5 > DISKS_MAX) {
        fprintf(stderr, "usage: oracle-load RECORD SECONDS THREADS SEED DISK...\n");
        return 2;
    }
    load.record = record_make(argv[1]);
    load.threads = (unsigned)strtoul(argv[3], NULL, 10);
    seed = strtoull(argv[4], NULL, 10);
    if (load.record == NULL || load.threads < 1 || load.threads > THREADS_MAX ||
        open_disks(&load, argv + 5, argc - 5) < 0) {
        fprintf(stderr, "oracle-load: cannot open record or disks: %s\n", strerror(errno));
        return 1;
    }
    load.record->magic = ORACLE_MAGIC;
    load.end_ns = oracle_now_ns() + strtoull(argv[2], NULL, 10) * UINT64_C(1000000000);
    for (unsigned i = 0; i < load.threads; i++) {
        workers[i] = (struct worker){.load = &load, .index = i, .state = seed * 1000003 + i + 1};
        if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0)
            return 1;
    }
    for (unsigned i = 0; i < load.threads; i++)
        pthread_join(workers[i].thread, NULL);
    printf("oracle-load: %lu calls on %u disks by %u threads, seed %lu\n",
           (unsigned long)load.record->count, load.disks, load.threads, (unsigned long)seed);
    if (load.error != 0)
        fprintf(stderr, "oracle-load: a call failed: %s\n", strerror(-load.error));
    return load.error != 0;
}
