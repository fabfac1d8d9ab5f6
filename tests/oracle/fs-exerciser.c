// SPDX-License-Identifier: Apache-2.0
/*
 * Random file system work with a model beside it: writes through the page cache, through mappings
 * and past the cache, truncation, hole punching, syncs, renames. Every read is compared with the
 * model, so that a capture which disturbed the machine would show here.
 *
 *     fs-exerciser DIRECTORY SECONDS SEED
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define FILES 6
#define FILE_BYTES_MAX (2u << 20)
#define RUN_BYTES_MAX (192u << 10)
#define PAGE 4096

struct subject {
    int fd;
    int direct_fd;
    uint64_t size;
    uint8_t *model;
    char path[512];
    unsigned generation;
};

static uint64_t state;
static struct subject subjects[FILES];
static const char *directory;
static uint8_t *buffer;

static uint64_t random_below(uint64_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state * UINT64_C(2685821657736338717)) % bound;
}

static int fail(const struct subject *subject, const char *what, uint64_t at)
{
    fprintf(stderr, "fs-exerciser: %s on %s at %llu: %s\n", what, subject->path,
            (unsigned long long)at, strerror(errno));
    return -1;
}

static int subject_open(struct subject *subject, unsigned index)
{
    snprintf(subject->path, sizeof(subject->path), "%s/subject-%u-%u", directory, index,
             subject->generation);
    subject->fd = open(subject->path, O_RDWR | O_CREAT, 0600);
    subject->direct_fd = open(subject->path, O_RDWR | O_DIRECT);
    return subject->fd < 0 || subject->direct_fd < 0 ? fail(subject, "open", 0) : 0;
}

static void model_grow(struct subject *subject, uint64_t size)
{
    if (size > subject->size) {
        memset(subject->model + subject->size, 0, size - subject->size);
        subject->size = size;
    }
}

static void fill(uint64_t length)
{
    bool text = random_below(2) == 0;

    for (uint64_t i = 0; i < length; i += 8) {
        uint64_t word = text ? UINT64_C(0x2020746c6f662064) + i / 512 : random_below(UINT64_MAX);

        memcpy(buffer + i, &word, 8);
    }
}

static int do_write(struct subject *subject, uint64_t offset, uint64_t length)
{
    fill(length);
    if (pwrite(subject->fd, buffer, length, (off_t)offset) != (ssize_t)length)
        return fail(subject, "write", offset);
    model_grow(subject, offset + length);
    memcpy(subject->model + offset, buffer, length);
    return 0;
}

static int do_direct_write(struct subject *subject, uint64_t offset, uint64_t length)
{
    offset &= ~(uint64_t)(PAGE - 1);
    length = (length + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    fill(length);
    if (pwrite(subject->direct_fd, buffer, length, (off_t)offset) != (ssize_t)length)
        return fail(subject, "direct write", offset);
    model_grow(subject, offset + length);
    memcpy(subject->model + offset, buffer, length);
    return 0;
}

static int do_mapped_write(struct subject *subject, uint64_t offset, uint64_t length)
{
    uint8_t *map;

    if (offset >= subject->size)
        return 0;
    if (offset + length > subject->size)
        length = subject->size - offset;
    map = mmap(NULL, subject->size, PROT_READ | PROT_WRITE, MAP_SHARED, subject->fd, 0);
    if (map == MAP_FAILED)
        return fail(subject, "mmap", offset);
    fill((length + 7) & ~UINT64_C(7));
    memcpy(map + offset, buffer, length);
    memcpy(subject->model + offset, buffer, length);
    if (random_below(3) == 0)
        msync(map, subject->size, MS_SYNC);
    munmap(map, subject->size);
    return 0;
}

static int do_truncate(struct subject *subject, uint64_t size)
{
    if (ftruncate(subject->fd, (off_t)size) < 0)
        return fail(subject, "truncate", size);
    if (size > subject->size)
        model_grow(subject, size);
    subject->size = size;
    return 0;
}

static int do_punch(struct subject *subject, uint64_t offset, uint64_t length)
{
    if (fallocate(subject->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                  (off_t)length) < 0)
        return fail(subject, "punch", offset);
    if (offset < subject->size)
        memset(subject->model + offset, 0,
               length < subject->size - offset ? length : subject->size - offset);
    return 0;
}

static int do_read(struct subject *subject, uint64_t offset, uint64_t length)
{
    ssize_t got = pread(subject->fd, buffer, length, (off_t)offset);
    uint64_t expected = offset >= subject->size ? 0 : subject->size - offset;

    if (expected > length)
        expected = length;
    if (got != (ssize_t)expected)
        return fail(subject, "read of another length", offset);
    if (memcmp(buffer, subject->model + offset, expected) != 0) {
        errno = EILSEQ;
        return fail(subject, "read of other bytes", offset);
    }
    return 0;
}

static int do_replace(struct subject *subject, unsigned index)
{
    char old[sizeof(subject->path)];

    memcpy(old, subject->path, sizeof(old));
    close(subject->fd);
    close(subject->direct_fd);
    subject->generation++;
    snprintf(subject->path, sizeof(subject->path), "%s/subject-%u-%u", directory, index,
             subject->generation);
    if (rename(old, subject->path) < 0)
        return fail(subject, "rename", 0);
    return subject_open(subject, index);
}

static int step(unsigned index)
{
    struct subject *subject = &subjects[index];
    uint64_t length = 1 + random_below(RUN_BYTES_MAX - PAGE);
    uint64_t offset = random_below(FILE_BYTES_MAX - RUN_BYTES_MAX);

    switch (random_below(12)) {
    case 0:
    case 1:
    case 2:
        return do_write(subject, offset, length);
    case 3:
    case 4:
        return do_direct_write(subject, offset, length);
    case 5:
    case 6:
        return do_mapped_write(subject, offset, length);
    case 7:
        return do_truncate(subject, random_below(FILE_BYTES_MAX));
    case 8:
        return do_punch(subject, offset, length);
    case 9:
        return fdatasync(subject->fd) < 0 ? fail(subject, "fdatasync", 0) : 0;
    case 10:
        return random_below(20) == 0 ? do_replace(subject, index)
                                     : do_read(subject, offset, length);
    default:
        return do_read(subject, offset, length);
    }
}

int main(int argc, char **argv)
{
    uint64_t steps = 0;
    time_t end;

    if (argc != 4) {
        fprintf(stderr, "usage: fs-exerciser DIRECTORY SECONDS SEED\n");
        return 2;
    }
    directory = argv[1];
    end = time(NULL) + strtol(argv[2], NULL, 10);
    state = strtoull(argv[3], NULL, 10) * 2 + 1;
    buffer = aligned_alloc(PAGE, RUN_BYTES_MAX + PAGE);
    for (unsigned i = 0; i < FILES; i++) {
        subjects[i].model = calloc(1, FILE_BYTES_MAX + RUN_BYTES_MAX);
        if (buffer == NULL || subjects[i].model == NULL || subject_open(&subjects[i], i) < 0)
            return 1;
    }
    while (time(NULL) < end) {
        if (step((unsigned)random_below(FILES)) < 0)
            return 1;
        steps++;
    }
    for (unsigned i = 0; i < FILES; i++)
        if (do_read(&subjects[i], 0, RUN_BYTES_MAX) < 0 || fsync(subjects[i].fd) < 0)
            return 1;
    printf("fs-exerciser: %llu steps, every read as written\n", (unsigned long long)steps);
    return 0;
}
