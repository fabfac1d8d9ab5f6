// SPDX-License-Identifier: Apache-2.0
#include "agent/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/base.h"

#define US_PER_MS 1000.0

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static const char *mode_name(const struct hf_engine_status *status)
{
    if (status->link == HF_UPLINK_SUPERSEDED)
        return "SUPERSEDED";
    return status->capture_stats.mode == HF_CAPTURE_DATA ? "DATA" : "DIRTY";
}

static const char *link_name(const struct hf_engine_status *status)
{
    if (status->link == HF_UPLINK_STREAMING)
        return "connected";
    return status->link == HF_UPLINK_SUPERSEDED ? "refused" : "connecting";
}

static const char *cause_name(const struct hf_engine_status *status)
{
    return status->capture_stats.mode == HF_CAPTURE_DATA
               ? ""
               : hf_capture_cause_name(status->capture_stats.cause);
}

static const char *kind_name(enum hf_pass_kind kind)
{
    return kind == HF_PASS_FULL ? "full" : kind == HF_PASS_HASH ? "hash" : "map";
}

static json_t *point_json(const struct hf_engine_status *status)
{
    char id[HF_ID_TEXT_SIZE], text[64];
    time_t seconds = (time_t)(status->last_point.wall_ns / (int64_t)HF_NS_PER_S);
    struct tm time;

    if (!status->point_set)
        return json_null();
    hf_id_format(&status->last_point.id, id);
    gmtime_r(&seconds, &time);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &time);
    return json_pack("{s:s, s:s, s:s}", "id", id, "kind",
                     status->last_point.kind == HF_MARK_APP ? "application-consistent"
                                                            : "crash-consistent",
                     "time", text);
}

static json_t *unreadable_json(const struct hf_pass_progress *pass)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < pass->unreadable_count; i++)
        json_array_append_new(list,
                              json_pack("{s:i, s:I, s:I}", "disk", (int)pass->unreadable[i].disk,
                                        "offset", (json_int_t)pass->unreadable[i].offset, "length",
                                        (json_int_t)pass->unreadable[i].length));
    return list;
}

static json_t *pass_json(const struct hf_pass_progress *pass)
{
    if (!pass->active)
        return json_null();
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "kind", kind_name(pass->kind),
                     "number", number(pass->number), "done_bytes", number(pass->done_bytes),
                     "total_bytes", number(pass->total_bytes), "sent_bytes",
                     number(pass->sent_bytes), "rate_bytes_s", number(pass->bytes_per_s), "eta_s",
                     number(pass->eta_s), "waits", number(pass->waits), "unreadable",
                     unreadable_json(pass));
}

static json_t *disks_json(const struct hf_engine_status *status)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < status->disk_count; i++) {
        const struct hf_engine_disk *disk = &status->disks[i];
        char identity[HF_ID_TEXT_SIZE];

        hf_id_format(&disk->identity, identity);
        json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:o, s:s, s:b, s:b}", "disk",
                                              (int)disk->slot, "name", disk->name, "path",
                                              disk->path, "size_bytes", number(disk->size_bytes),
                                              "identity", identity, "complete", disk->complete,
                                              "exchanged", disk->refused));
    }
    return list;
}

static json_t *causes_json(const struct hf_capture_stats *stats)
{
    json_t *causes = json_object();

    for (int cause = 1; cause < HF_CAUSE_COUNT; cause++)
        if (stats->causes[cause])
            json_object_set_new(causes, hf_capture_cause_name((enum hf_capture_cause)cause),
                                number(stats->causes[cause]));
    return causes;
}

static json_t *counters_json(const struct hf_engine_status *status)
{
    const struct hf_capture_stats *stats = &status->capture_stats;
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        {"captured_records", stats->records},
        {"captured_bytes", stats->content_bytes},
        {"captured_requests", stats->requests},
        {"dirty_writes", stats->dirty_requests},
        {"dirty_bytes", stats->dirty_bytes},
        {"lost_events", stats->lost_events},
        {"missed_completions", stats->missed_completions},
        {"overlaps", stats->overlaps},
        {"inflight", stats->inflight},
        {"sent_batches", status->batches},
        {"sent_records", status->records},
        {"sent_bytes", status->sent_bytes},
        {"sent_raw_bytes", status->sent_raw_bytes},
        {"pass_sent_bytes", status->pass.sent_bytes},
        {"pass_read_errors", status->pass.read_errors},
        {"passes", status->passes},
        {"reconnects", status->attaches ? status->attaches - 1 : 0},
        {"captures_begun", status->captures_begun},
        {"generations_cleared", status->generations_cleared},
        {"dirty_returns", status->dirty_returns},
        {"lost_messages", status->lost_messages},
    };
    json_t *object = json_object();

    for (size_t i = 0; i < HF_ARRAY_COUNT(counters); i++)
        json_object_set_new(object, counters[i].name, number(counters[i].value));
    return object;
}

static json_t *lag_json(const struct hf_engine_status *status)
{
    const struct hf_histogram *lag = &status->lag;

    return json_pack(
        "{s:f, s:f, s:f, s:f}", "p50", (double)hf_histogram_quantile_us(lag, 500) / US_PER_MS,
        "p99", (double)hf_histogram_quantile_us(lag, 990) / US_PER_MS, "max",
        (double)lag->max_us / US_PER_MS, "now", (double)status->lag_now_us / US_PER_MS);
}

static json_t *ring_json(const struct hf_capture_stats *stats)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "size_bytes", number(stats->ring_bytes), "fill_bytes",
                     number(stats->fill_bytes), "fill_max_bytes", number(stats->fill_bytes_max),
                     "longest_stall_ms", number(stats->stall_ns_max / HF_NS_PER_MS));
}

/* Memory of this process alone: the ring and the maps, which are mapped too, are counted by the
 * capture. */
static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    unsigned long long kib = 0;
    char line[128];

    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, "RssAnon:", 8) == 0)
            kib = strtoull(line + 8, NULL, 10);
    if (file)
        fclose(file);
    return kib * HF_KIB;
}

static uint64_t cpu_ms(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage))
        return 0;
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

json_t *hf_status_json(const struct hf_agent_config *config, const struct hf_engine_status *status)
{
    char capture[HF_ID_TEXT_SIZE];
    const struct {
        const char *key;
        json_t *value;
    } fields[] = {
        {"machine", json_string(config->machine_name)},
        {"mode", json_string(mode_name(status))},
        {"cause", json_string(cause_name(status))},
        {"link", json_string(link_name(status))},
        {"link_error", json_string(status->link_error)},
        {"target", json_string(config->target)},
        {"protected", json_boolean(status->protected)},
        {"epoch", number(status->epoch)},
        {"seq_captured", number(status->seq_captured)},
        {"seq_sent", number(status->seq_sent)},
        {"seq_acked", number(status->seq_acked)},
        {"lag_ms", lag_json(status)},
        {"ring", ring_json(&status->capture_stats)},
        {"pass", pass_json(&status->pass)},
        {"last_point", point_json(status)},
        {"counters", counters_json(status)},
        {"causes", causes_json(&status->capture_stats)},
        {"disks", disks_json(status)},
        {"memory_bytes", number(resident_bytes() + status->capture_stats.memory_bytes)},
        {"cpu_ms", number(cpu_ms())},
    };
    json_t *object = json_object();

    for (size_t i = 0; i < HF_ARRAY_COUNT(fields); i++)
        json_object_set_new(object, fields[i].key,
                            fields[i].value ? fields[i].value : json_string("?"));
    hf_id_format(&status->capture, capture);
    json_object_set_new(object, "capture", json_string(capture));
    return object;
}
