// SPDX-License-Identifier: Apache-2.0
/*
 * A developer's look at a capture.
 *
 *   hf-capture-dump watch DIRECTORY DEVICE...   begins a capture, protects the devices, prints
 * every record hf-capture-dump drain DIRECTORY DEVICE...   the same, but throws the records away
 * and prints counters each second hf-capture-dump stats DIRECTORY             counters of an
 * existing capture hf-capture-dump detach DIRECTORY
 *
 * HF_RING_BYTES in the environment sets the ring's size. `watch` and `drain` end with SIGINT or
 * SIGTERM and remove what they made.
 */
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/error.h"
#include "capture/capture-internal.h"

static atomic_bool stop;

static void on_signal(int number)
{
    atomic_store(&stop, true);
}

static int fail(const char *what, int rc)
{
    fprintf(stderr, "%s: %s\n", what, hf_strerror(rc));
    return 1;
}

static void print_stats(struct hf_capture *capture)
{
    struct hf_capture_stats s;

    if (hf_capture_get_stats(capture, &s))
        return;
    printf(
        "mode %s cause %s records %lu bytes %lu requests %lu dirty %lu lost %lu fill %lu max %lu "
        "failures %lu missed %lu twins %lu overlaps %lu checks %lu inflight %lu stall_ms %lu "
        "memory %lu\n",
        s.mode == HF_CAPTURE_DATA ? "data" : "dirty", hf_capture_cause_name(s.cause), s.records,
        s.content_bytes, s.requests, s.dirty_requests, s.lost_events, s.fill_bytes,
        s.fill_bytes_max, s.reserve_failures, s.missed_completions, s.twin_completions, s.overlaps,
        s.overlap_checks, s.inflight, s.stall_ns_max / HF_NS_PER_MS, s.memory_bytes);
    for (unsigned i = 1; i < HF_CAUSE_COUNT; i++)
        if (s.causes[i])
            printf("  %s %lu\n", hf_capture_cause_name(i), s.causes[i]);
    fflush(stdout);
}

static void print_record(const struct hf_capture_view *view)
{
    static const char *const names[16] = {
        [HF_CAPTURE_WRITE] = "write", [HF_CAPTURE_ZERO] = "zero", [HF_CAPTURE_DISCARD] = "discard",
        [HF_CAPTURE_MARK] = "mark",   [HF_CAPTURE_DISK] = "disk", [HF_CAPTURE_GAP] = "gap",
    };
    const struct hf_capture_record *record = view->record;

    printf("%lu %s slot %u offset %lu length %lu content %u kind %u\n", view->position,
           names[record->type & 15] ? names[record->type & 15] : "?", record->slot,
           record->offset_bytes, record->length_bytes, record->content_bytes, record->kind);
}

static int follow(struct hf_capture *capture, bool print)
{
    uint64_t position = hf_capture_consumer_position(capture);
    time_t last = time(NULL);
    struct hf_capture_view view;
    int rc = 0;

    while (!atomic_load(&stop)) {
        rc = hf_capture_peek(capture, position, &view);
        if (rc == -EAGAIN) {
            hf_capture_release(capture, position);
            hf_capture_wait(capture, position, 256 * 1024, 5);
        } else if (rc) {
            return fail("peek", rc);
        } else {
            if (print)
                print_record(&view);
            position = view.position_end;
            if (position - hf_capture_consumer_position(capture) > 1 << 20)
                hf_capture_release(capture, position);
        }
        if (time(NULL) != last) {
            last = time(NULL);
            hf_capture_heartbeat(capture);
            if (!print)
                print_stats(capture);
        }
    }
    return 0;
}

static int protect(struct hf_capture *capture, int count, char **paths)
{
    struct hf_disk_identity identity;
    uint64_t position, epoch;
    unsigned slot;
    int rc;

    for (int i = 0; i < count; i++) {
        rc = hf_disk_identify(paths[i], &identity);
        if (!rc)
            rc = hf_capture_disk_add(capture, &identity, 1, &slot);
        if (rc)
            return fail(paths[i], rc);
    }
    rc = hf_capture_data_begin(capture, 5, NULL, 0, &position, &epoch);
    return rc ? fail("data mode", rc) : 0;
}

static int run(const char *verb, const char *directory, int count, char **paths)
{
    const char *ring = getenv("HF_RING_BYTES");
    struct hf_capture_options options = {.directory = directory,
                                         .ring_bytes = ring ? (uint32_t)strtoul(ring, NULL, 10) : 0,
                                         .adopt_only = strcmp(verb, "stats") == 0};
    struct hf_capture *capture;
    int rc;

    if (strcmp(verb, "detach") == 0)
        return (rc = hf_capture_detach(directory)) ? fail(directory, rc) : 0;
    hf_capture_set_verbose(true);
    rc = hf_capture_open(&options, &capture);
    if (rc)
        return fail(directory, rc);
    if (options.adopt_only) {
        print_stats(capture);
        hf_capture_close(capture);
        return 0;
    }
    rc = protect(capture, count, paths);
    printf("ready\n");
    fflush(stdout);
    if (!rc)
        rc = follow(capture, strcmp(verb, "watch") == 0);
    print_stats(capture);
    hf_capture_close(capture);
    hf_capture_detach(directory);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: hf-capture-dump watch|drain|stats|detach DIRECTORY [DEVICE...]\n");
        return 2;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    return run(argv[1], argv[2], argc - 3, argv + 3);
}
