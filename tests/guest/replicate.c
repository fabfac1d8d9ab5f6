// SPDX-License-Identifier: Apache-2.0
/*
 * hf-guest-replicate DEVICE REPLICA COMMAND [CAUSE]: does the capture see every write of this kind
 * of disk?
 *
 * Copies the quiet DEVICE to the file REPLICA, begins a capture, runs COMMAND with /bin/sh (which
 * writes to $DEVICE as it likes), applies every record to REPLICA meanwhile, and compares the two
 * byte for byte behind a last mark. Ranges that are discarded at the end may differ. The capture is
 * detached afterwards. Prints one line with the counts; exit status 0 only when everything is equal
 * and nothing went into a lost map. With CAUSE, something must have gone into the lost map for that
 * reason and no other, and everything outside the lost map must be equal.
 *
 * When the disk grows meanwhile, so does the replica, by zeros: what a new part of these disks
 * holds.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/capture.h"

#define PIN_DIRECTORY "/sys/fs/bpf/hf-guest-replicate"
#define CHUNK_BYTES (1u << 20)
#define SECTOR_BYTES 512u
#define WAIT_MS 20
#define CATCH_UP_POLLS_MAX 6000 /* two minutes of WAIT_MS */
#define MARK_BEGIN 1
#define MARK_END 2

struct replicate {
    struct hf_capture *capture;
    const char *device_path;
    const char *cause; /* expected; NULL: none */
    int device, replica;
    uint64_t size_bytes;
    unsigned char *discarded; /* one byte per sector: 1 while its content is undefined */
    unsigned char *chunk[2];
    unsigned slot;
    pthread_t consumer;
    bool consuming;
    _Atomic uint64_t end_position; /* of the last mark; ~0 while it is not set */
    _Atomic int consumer_error;
    uint64_t writes, zeros, discards, bytes, resizes;
};

static int say(const char *what, int error)
{
    fprintf(stderr, "%s: %s (%d)\n", what, strerror(error < 0 ? -error : error), error);
    return error;
}

static int copy_range(struct replicate *replicate, uint64_t offset, size_t length)
{
    if (pread(replicate->device, replicate->chunk[0], length, (off_t)offset) != (ssize_t)length)
        return say("reading the device", -EIO);
    if (pwrite(replicate->replica, replicate->chunk[0], length, (off_t)offset) != (ssize_t)length)
        return say("writing the replica", -EIO);
    return 0;
}

static size_t chunk_at(const struct replicate *replicate, uint64_t offset)
{
    uint64_t left = replicate->size_bytes - offset;

    return left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
}

static int copy_all(struct replicate *replicate)
{
    int error = 0;

    for (uint64_t at = 0; at < replicate->size_bytes && error == 0; at += CHUNK_BYTES)
        error = copy_range(replicate, at, chunk_at(replicate, at));
    return error;
}

static void set_discarded(struct replicate *replicate, const struct hf_capture_record *record,
                          int value)
{
    memset(replicate->discarded + record->offset_bytes / SECTOR_BYTES, value,
           record->length_bytes / SECTOR_BYTES);
}

static int write_zeros(struct replicate *replicate, uint64_t offset, uint64_t length)
{
    static const unsigned char zeros[CHUNK_BYTES];

    for (uint64_t done = 0; done < length;) {
        size_t part = length - done < CHUNK_BYTES ? (size_t)(length - done) : CHUNK_BYTES;
        if (pwrite(replicate->replica, zeros, part, (off_t)(offset + done)) != (ssize_t)part)
            return -EIO;
        done += part;
    }
    return 0;
}

static int grow(struct replicate *replicate, uint64_t size_bytes)
{
    uint64_t before = replicate->size_bytes;
    unsigned char *discarded;

    if (size_bytes < before)
        return -EINVAL;
    discarded = realloc(replicate->discarded, size_bytes / SECTOR_BYTES + 1);
    if (discarded == NULL)
        return -ENOMEM;
    replicate->discarded = discarded;
    memset(discarded + before / SECTOR_BYTES, 0, (size_bytes - before) / SECTOR_BYTES);
    replicate->size_bytes = size_bytes;
    replicate->resizes++;
    return ftruncate(replicate->replica, (off_t)size_bytes) == 0 ? 0 : -errno;
}

static int apply_record(struct replicate *replicate, const struct hf_capture_view *view)
{
    const struct hf_capture_record *record = view->record;

    if (record->type == HF_CAPTURE_WRITE) {
        ssize_t length = (ssize_t)record->content_bytes;
        replicate->writes++;
        replicate->bytes += record->content_bytes;
        set_discarded(replicate, record, 0);
        return pwrite(replicate->replica, view->content, record->content_bytes,
                      (off_t)record->offset_bytes) == length
                   ? 0
                   : -EIO;
    }
    if (record->type == HF_CAPTURE_ZERO || record->type == HF_CAPTURE_DISCARD) {
        bool discard = record->type == HF_CAPTURE_DISCARD;
        replicate->discards += discard;
        replicate->zeros += !discard;
        set_discarded(replicate, record, discard);
        return write_zeros(replicate, record->offset_bytes, record->length_bytes);
    }
    if (record->type == HF_CAPTURE_DISK && record->kind == HF_CAPTURE_DISK_RESIZE)
        return grow(replicate, record->length_bytes);
    return record->type == HF_CAPTURE_GAP ? -ESTALE : 0;
}

static void *consume(void *argument)
{
    struct replicate *replicate = argument;
    uint64_t position = hf_capture_consumer_position(replicate->capture);
    struct hf_capture_view view;

    while (position < atomic_load(&replicate->end_position)) {
        int error = hf_capture_peek(replicate->capture, position, &view);
        if (error == -EAGAIN) {
            hf_capture_wait(replicate->capture, position, 1, WAIT_MS);
            continue;
        }
        if (error == 0)
            error = apply_record(replicate, &view);
        if (error == 0)
            error = hf_capture_release(replicate->capture, view.position_end);
        if (error != 0) {
            atomic_store(&replicate->consumer_error, say("applying a record", error));
            break;
        }
        position = view.position_end;
    }
    return NULL;
}

/* The GAP that data_begin puts first is skipped here: the consumer takes any later one as a loss.
 */
static int begin_capture(struct replicate *replicate)
{
    struct hf_capture_options options = {.directory = PIN_DIRECTORY};
    struct hf_disk_identity identity;
    uint64_t position, epoch;
    int error = hf_disk_identify(replicate->device_path, &identity);

    if (error != 0)
        return say("hf_disk_identify", error);
    replicate->size_bytes = identity.size_bytes;
    error = hf_capture_open(&options, &replicate->capture);
    if (error != 0)
        return say("hf_capture_open", error);
    error = hf_capture_disk_add(replicate->capture, &identity, 1, &replicate->slot);
    if (error != 0)
        return say("hf_capture_disk_add", error);
    error = hf_capture_data_begin(replicate->capture, MARK_BEGIN, "begin", 5, &position, &epoch);
    if (error != 0)
        return say("hf_capture_data_begin", error);
    return hf_capture_release(replicate->capture, position);
}

static int allocate(struct replicate *replicate)
{
    replicate->discarded = calloc(1, replicate->size_bytes / SECTOR_BYTES + 1);
    for (int i = 0; i < 2; i++)
        if (posix_memalign((void **)&replicate->chunk[i], 4096, CHUNK_BYTES) != 0)
            return -ENOMEM;
    return replicate->discarded != NULL ? 0 : -ENOMEM;
}

static int run_command(const struct replicate *replicate, const char *command)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        setenv("DEVICE", replicate->device_path, 1);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -errno;
    return status == 0 ? 0 : -ECHILD;
}

static int catch_up(struct replicate *replicate)
{
    uint64_t position, position_end;
    int error;

    fsync(replicate->device);
    error = hf_capture_mark(replicate->capture, MARK_END, "end", 3, true, &position, &position_end);
    if (error != 0)
        return say("hf_capture_mark", error);
    atomic_store(&replicate->end_position, position_end);
    pthread_join(replicate->consumer, NULL);
    replicate->consuming = false;
    return atomic_load(&replicate->consumer_error);
}

static bool is_lost(struct replicate *replicate, uint64_t offset)
{
    uint64_t lost_offset, lost_length;

    for (int generation = HF_GENERATION_OLD; generation <= HF_GENERATION_CURRENT; generation++) {
        if (hf_capture_map_next(replicate->capture, replicate->slot, 0, HF_MAP_LOST, generation,
                                offset, SECTOR_BYTES, &lost_offset, &lost_length) == 1 &&
            lost_offset <= offset)
            return true;
    }
    return false;
}

/* Reads around the page cache: what the device holds, not what the kernel remembers. */
static int compare_range(struct replicate *replicate, uint64_t offset, size_t length)
{
    if (pread(replicate->device, replicate->chunk[0], length, (off_t)offset) != (ssize_t)length ||
        pread(replicate->replica, replicate->chunk[1], length, (off_t)offset) != (ssize_t)length)
        return say("comparing", -EIO);
    for (size_t at = 0; at < length; at += SECTOR_BYTES) {
        if (replicate->discarded[(offset + at) / SECTOR_BYTES] ||
            memcmp(replicate->chunk[0] + at, replicate->chunk[1] + at, SECTOR_BYTES) == 0 ||
            is_lost(replicate, offset + at))
            continue;
        fprintf(stderr, "differs at byte %" PRIu64 "\n", offset + at);
        return -EBADMSG;
    }
    return 0;
}

static int compare_all(struct replicate *replicate)
{
    int error = 0;

    for (uint64_t at = 0; at < replicate->size_bytes && error == 0; at += CHUNK_BYTES)
        error = compare_range(replicate, at, chunk_at(replicate, at));
    return error;
}

/* The causes must be those expected: none, or the one of the command line alone. */
static int judge(const struct replicate *replicate, const struct hf_capture_stats *stats)
{
    bool seen = false;
    int error = 0;

    for (unsigned cause = 0; cause < HF_CAUSE_COUNT; cause++) {
        const char *name = hf_capture_cause_name(cause);
        if (stats->causes[cause] == 0)
            continue;
        printf("  cause %s: %" PRIu64 "\n", name, stats->causes[cause]);
        if (replicate->cause != NULL && strcmp(replicate->cause, name) == 0)
            seen = true;
        else
            error = say("an unexpected cause", -ESTALE);
    }
    if (replicate->cause != NULL && !seen)
        error = say("the expected cause did not occur", -ENODATA);
    if (replicate->cause == NULL && (replicate->writes == 0 || stats->lost_events != 0))
        error = say("nothing captured, or something lost", -ENODATA);
    return stats->mode == HF_CAPTURE_DATA ? error : say("not in DATA mode", -ESTALE);
}

static int report(struct replicate *replicate)
{
    struct hf_capture_stats stats;
    int error = hf_capture_get_stats(replicate->capture, &stats);

    if (error != 0)
        return say("hf_capture_get_stats", error);
    printf("%s: %" PRIu64 " writes, %" PRIu64 " zeroings, %" PRIu64 " discards, %" PRIu64
           " bytes, %" PRIu64 " resizes; mode %s, lost events %" PRIu64
           ", missed completions %" PRIu64 "\n",
           replicate->device_path, replicate->writes, replicate->zeros, replicate->discards,
           replicate->bytes, replicate->resizes, stats.mode == HF_CAPTURE_DATA ? "DATA" : "DIRTY",
           stats.lost_events, stats.missed_completions);
    return judge(replicate, &stats);
}

static int replicate_run(struct replicate *replicate, const char *command)
{
    int error = begin_capture(replicate);

    if (error == 0)
        error = allocate(replicate);
    if (error == 0)
        error = copy_all(replicate);
    if (error != 0)
        return error;
    error = -pthread_create(&replicate->consumer, NULL, consume, replicate);
    if (error != 0)
        return error;
    replicate->consuming = true;
    error = run_command(replicate, command);
    if (error != 0)
        return say("the command", error);
    error = catch_up(replicate);
    if (error == 0)
        error = report(replicate);
    return error != 0 ? error : compare_all(replicate);
}

int main(int argc, char **argv)
{
    struct replicate replicate = {.end_position = UINT64_MAX};
    int error, detach_error;

    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: %s DEVICE REPLICA COMMAND [CAUSE]\n", argv[0]);
        return 2;
    }
    replicate.device_path = argv[1];
    replicate.cause = argv[4];
    replicate.device = open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
    replicate.replica = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (replicate.device < 0 || replicate.replica < 0)
        return say("opening", errno) != 0;
    error = replicate_run(&replicate, argv[3]);
    if (replicate.consuming) {
        atomic_store(&replicate.end_position, 0);
        pthread_join(replicate.consumer, NULL);
    }
    hf_capture_close(replicate.capture);
    detach_error = hf_capture_detach(PIN_DIRECTORY);
    if (detach_error != 0)
        say("hf_capture_detach", detach_error);
    return error == 0 && detach_error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
