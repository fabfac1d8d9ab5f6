// SPDX-License-Identifier: Apache-2.0
/*
 * Transactions over two disks, whose order anyone can check afterwards.
 *
 * hf-guest-txn write FIRST SECOND STATUS
 *     Transaction n: record n of FIRST, fsync, record n of SECOND, fsync; then STATUS (on a tmpfs)
 *     says "n running". SIGUSR1 pauses between two transactions ("n paused"), SIGUSR2 goes on.
 * hf-guest-txn verify FIRST SECOND
 *     Prints "FIRST n SECOND m"; exit status 1 when the promise below is broken.
 *
 * With FIRST and SECOND on different disks, every moment of the machine has m <= n <= m + 1, each
 * file holds records 1..n whole and nothing valid behind the first hole. A replica that breaks this
 * has mixed up the order of writes, inside one disk or between the two.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RECORD_BYTES 4096
#define RECORD_MAGIC UINT64_C(0x6e78742d74736567)
#define TRANSACTIONS_MAX 30000 /* 117 MiB a file */
#define PAUSE_POLL_MS 10
#define THINK_MS 10

struct record {
    uint64_t magic;
    uint64_t number;
    uint64_t words[RECORD_BYTES / 8 - 3];
    uint64_t checksum;
};

static volatile sig_atomic_t pause_wanted;

static void on_pause(int signal_number)
{
    pause_wanted = signal_number == SIGUSR1;
}

static uint64_t record_checksum(const struct record *record)
{
    const unsigned char *at = (const unsigned char *)record;
    uint64_t sum = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < sizeof(*record) - sizeof(record->checksum); i++)
        sum = (sum ^ at[i]) * UINT64_C(0x100000001b3);
    return sum;
}

static void fill_record(struct record *record, uint64_t number)
{
    uint64_t state = number * UINT64_C(0x9e3779b97f4a7c15) + 1;

    record->magic = RECORD_MAGIC;
    record->number = number;
    for (size_t i = 0; i < sizeof(record->words) / sizeof(record->words[0]); i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        record->words[i] = state;
    }
    record->checksum = record_checksum(record);
}

static bool record_is(const struct record *record, uint64_t number)
{
    return record->magic == RECORD_MAGIC && record->number == number &&
           record->checksum == record_checksum(record);
}

static off_t record_offset(uint64_t number)
{
    return (off_t)((number - 1) * RECORD_BYTES);
}

static int write_record(int fd, uint64_t number)
{
    struct record record;
    ssize_t count;

    fill_record(&record, number);
    count = pwrite(fd, &record, sizeof(record), record_offset(number));
    if (count != (ssize_t)sizeof(record))
        return count < 0 ? -errno : -EIO;
    return fsync(fd) < 0 ? -errno : 0;
}

static void write_status(int fd, uint64_t number, const char *state)
{
    char text[40];
    int length = snprintf(text, sizeof(text), "%08" PRIu64 " %-8s\n", number, state);

    if (pwrite(fd, text, (size_t)length, 0) != length)
        _exit(3);
}

static void sleep_ms(long duration_ms)
{
    struct timespec duration = {.tv_sec = 0, .tv_nsec = duration_ms * 1000000};

    nanosleep(&duration, NULL);
}

static void wait_while_paused(int status, uint64_t number)
{
    if (!pause_wanted)
        return;
    write_status(status, number, "paused");
    while (pause_wanted)
        sleep_ms(PAUSE_POLL_MS);
    write_status(status, number, "running");
}

static int run_transactions(int first, int second, int status)
{
    for (uint64_t number = 1; number <= TRANSACTIONS_MAX; number++) {
        int error = write_record(first, number);
        if (error == 0)
            error = write_record(second, number);
        if (error != 0) {
            fprintf(stderr, "transaction %" PRIu64 ": %s\n", number, strerror(-error));
            return EXIT_FAILURE;
        }
        write_status(status, number, "running");
        wait_while_paused(status, number);
        sleep_ms(THINK_MS);
    }
    return EXIT_SUCCESS;
}

/* The number of whole records from the first on; -EILSEQ when one follows behind a hole. */
static int64_t count_records(const char *path)
{
    struct record record;
    int64_t count = 0, result = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    for (uint64_t number = 1; number <= TRANSACTIONS_MAX; number++) {
        if (pread(fd, &record, sizeof(record), record_offset(number)) != (ssize_t)sizeof(record))
            break;
        if (!record_is(&record, number))
            continue;
        if (count + 1 != (int64_t)number)
            result = -EILSEQ;
        count = (int64_t)number;
    }
    close(fd);
    return result < 0 ? result : count;
}

static int verify(const char *first_path, const char *second_path)
{
    int64_t first = count_records(first_path), second = count_records(second_path);

    printf("FIRST %" PRId64 " SECOND %" PRId64 "\n", first, second);
    if (first < 0 || second < 0)
        return EXIT_FAILURE;
    return second <= first && first <= second + 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int open_new(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return fd;
}

int main(int argc, char **argv)
{
    signal(SIGUSR1, on_pause);
    signal(SIGUSR2, on_pause);
    if (argc == 5 && strcmp(argv[1], "write") == 0) {
        int first = open_new(argv[2]), second = open_new(argv[3]), status = open_new(argv[4]);
        if (first < 0 || second < 0 || status < 0)
            return EXIT_FAILURE;
        return run_transactions(first, second, status);
    }
    if (argc == 4 && strcmp(argv[1], "verify") == 0)
        return verify(argv[2], argv[3]);
    fprintf(stderr, "usage: %s write FIRST SECOND STATUS | verify FIRST SECOND\n", argv[0]);
    return 2;
}
