// SPDX-License-Identifier: Apache-2.0
/* What the capture tells about itself. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <time.h>

#include "capture/capture-internal.h"

uint64_t hf_capture_boot_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * HF_NS_PER_S + (uint64_t)now.tv_nsec;
}

static const char *const cause_names[HF_CAUSE_COUNT] = {
    [HF_CAUSE_NONE] = "none",
    [HF_CAUSE_START] = "start",
    [HF_CAUSE_RING_FULL] = "ring-full",
    [HF_CAUSE_FORCED] = "forced",
    [HF_CAUSE_BUDGET] = "budget",
    [HF_CAUSE_NO_HEARTBEAT] = "no-heartbeat",
    [HF_CAUSE_NO_PAGE_ADDRESS] = "no-page-address",
    [HF_CAUSE_DISK_CHANGED] = "disk-changed",
    [HF_CAUSE_NO_PROGRAM] = "no-program",
    [HF_CAUSE_PAGE_UNREADABLE] = "page-unreadable",
    [HF_CAUSE_WRITE_FAILED] = "write-failed",
    [HF_CAUSE_NO_ISSUE] = "no-issue",
    [HF_CAUSE_MISSED_COMPLETION] = "missed-completion",
    [HF_CAUSE_OVERLAP] = "overlap",
    [HF_CAUSE_PASSTHROUGH] = "passthrough",
    [HF_CAUSE_TABLE_FULL] = "table-full",
    [HF_CAUSE_STRADDLE] = "straddle",
    [HF_CAUSE_MISSED_ISSUE] = "missed-issue",
};

const char *hf_capture_cause_name(enum hf_capture_cause cause)
{
    return (unsigned)cause < HF_CAUSE_COUNT && cause_names[cause] ? cause_names[cause] : "unknown";
}

static void count_inflight(const struct hf_capture *capture, struct hf_capture_stats *stats)
{
    for (unsigned i = 0; i < HF_CAPTURE_INFLIGHT_MAX; i++)
        if (capture->buckets[i / HF_CAPTURE_BUCKET_WAYS].requests[i % HF_CAPTURE_BUCKET_WAYS])
            stats->inflight++;
}

static int sum_counters(struct hf_capture *capture, struct hf_capture_stats *stats)
{
    int count = libbpf_num_possible_cpus();
    struct hf_capture_counters *counters;
    uint32_t zero = 0;
    int rc;

    if (count < 0)
        return count;
    counters = calloc((size_t)count, sizeof(*counters));
    if (!counters)
        return -ENOMEM;
    rc = bpf_map_lookup_elem(capture->counters_fd, &zero, counters);
    for (int i = 0; !rc && i < count; i++) {
        stats->records += counters[i].records;
        stats->content_bytes += counters[i].content_bytes;
        stats->requests += counters[i].requests;
        stats->dirty_requests += counters[i].dirty_requests;
        stats->dirty_bytes += counters[i].dirty_bytes;
    }
    free(counters);
    return rc;
}

static uint64_t fixed_memory(const struct hf_capture *capture)
{
    return capture->ring_bytes + sizeof(struct hf_capture_control) +
           HF_CAPTURE_BUCKETS * sizeof(struct hf_capture_bucket) +
           HF_CAPTURE_INFLIGHT_MAX * sizeof(struct hf_capture_inflight) +
           HF_CAPTURE_CELLS * sizeof(uint64_t) + sizeof(struct hf_capture_state_page) +
           HF_MAP_COUNT * sizeof(void *);
}

int hf_capture_get_stats(struct hf_capture *capture, struct hf_capture_stats *ret_stats)
{
    const struct hf_capture_control *control = capture->control;
    struct hf_capture_stats stats = {
        .mode = control->mode,
        .cause = control->mode == HF_CAPTURE_DATA ? HF_CAUSE_NONE : control->cause,
        .dirty_since_boot_ns = control->dirty_since_boot_ns,
        .lost_events = control->lost_events,
        .ring_bytes = capture->ring_bytes,
        .reserve_failures = control->reserve_failures,
        .missed_completions = control->missed_completions,
        .twin_completions = control->twin_completions,
        .overlaps = control->overlaps,
        .overlap_checks = control->overlap_checks,
        .epoch = control->epoch,
        .maps_bytes = control->maps_bytes,
        .maps_bytes_max = control->maps_bytes_max,
    };
    int rc;

    for (unsigned i = 0; i < HF_CAUSE_COUNT; i++)
        stats.causes[i] = control->causes[i];
    hf_capture_note_fill(capture, &stats.fill_bytes, &stats.oldest_age_ns);
    stats.fill_bytes_max = control->fill_bytes_max;
    stats.stall_ns_max = control->stall_ns_max;
    stats.memory_bytes = fixed_memory(capture) + stats.maps_bytes;
    count_inflight(capture, &stats);
    rc = sum_counters(capture, &stats);
    if (rc)
        return rc;
    *ret_stats = stats;
    return 0;
}
