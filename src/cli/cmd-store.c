// SPDX-License-Identifier: Apache-2.0
/* holdfast store ls, points. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/store-open.h"

/* ---- ls ---- */

struct listing {
    struct hf_table *table;
    json_t *array;
};

static const char *state_of(const struct hf_machine_summary *summary)
{
    if (summary->partial)
        return "initial replication";
    return summary->consistent ? "protected" : "resynchronizing";
}

static void ls_row(struct listing *listing, const struct hf_machine_summary *summary)
{
    char id[HF_ID_TEXT_SIZE];
    char newest[HF_OUTPUT_TEXT_MAX] = "-";
    char journal[HF_OUTPUT_TEXT_MAX];
    char base[HF_OUTPUT_TEXT_MAX];
    char disks[16];

    hf_id_format(&summary->machine, id);
    if (summary->newest_wall_ns != 0)
        hf_text_time(summary->newest_wall_ns, newest);
    snprintf(disks, sizeof(disks), "%u", summary->disk_count);
    hf_table_row(listing->table,
                 (const char *[]){summary->name, id, state_of(summary), disks, newest,
                                  hf_text_bytes(summary->journal_bytes, journal),
                                  hf_text_bytes(summary->base_bytes, base)});
}

static void ls_object(struct listing *listing, const struct hf_machine_summary *summary)
{
    char id[HF_ID_TEXT_SIZE];
    json_t *object;

    hf_id_format(&summary->machine, id);
    object = json_pack(
        "{s:s, s:s, s:s, s:I, s:b, s:b, s:i, s:I, s:I, s:I}", "machine", id, "name", summary->name,
        "state", state_of(summary), "epoch", (json_int_t)summary->epoch, "consistent",
        summary->consistent, "partial", summary->partial, "disks", (int)summary->disk_count,
        "journal_bytes", (json_int_t)summary->journal_bytes, "base_bytes",
        (json_int_t)summary->base_bytes, "newest_position", (json_int_t)summary->newest);
    hf_json_time(object, "newest_time", summary->newest_wall_ns);
    json_array_append_new(listing->array, object);
}

static int ls_each(void *context, const struct hf_machine_summary *summary)
{
    struct listing *listing = context;

    if (listing->array != NULL)
        ls_object(listing, summary);
    else
        ls_row(listing, summary);
    return 0;
}

int hf_cmd_store_ls(const struct hf_cli *cli)
{
    static const char *const headings[] = {"NAME",   "MACHINE", "STATE", "DISKS",
                                           "NEWEST", "JOURNAL", "BASE"};
    struct hf_cli_store store = {0};
    struct listing listing = {0};
    int code = hf_cli_store_open(cli, cli->arguments[0], &store);
    int error;

    if (code != HF_EXIT_OK)
        goto out;
    if (cli->json)
        listing.array = json_array();
    else
        listing.table = hf_table_new(headings, HF_ARRAY_COUNT(headings));
    error = hf_store_machines(store.store, ls_each, &listing);
    if (error < 0) {
        code = hf_cli_fail(cli, error, "cannot list the store: %s", hf_strerror(error));
        goto out;
    }
    if (cli->json)
        hf_json_print(listing.array);
    else
        hf_table_print(listing.table, stdout);
out:
    hf_table_free(listing.table);
    json_decref(listing.array);
    hf_cli_store_done(&store);
    return code;
}

/* ---- points ---- */

struct point_list {
    struct hf_point *points;
    size_t count;
    size_t capacity;
};

static int points_each(void *context, const struct hf_point *point)
{
    struct point_list *list = context;

    if (list->count == list->capacity) {
        size_t capacity = list->capacity * 2 + 256;
        struct hf_point *points = realloc(list->points, capacity * sizeof(*points));

        if (points == NULL)
            return -ENOMEM;
        list->points = points;
        list->capacity = capacity;
    }
    list->points[list->count++] = *point;
    return 0;
}

static const char *kind_of(const struct hf_point *point)
{
    switch (point->kind) {
    case HF_MARK_CRASH:
        return "crash-consistent";
    case HF_MARK_APP:
        return "application-consistent";
    case HF_MARK_FINAL:
        return "final";
    default:
        return "position";
    }
}

static json_t *point_object(const struct hf_point *point)
{
    char id[HF_ID_TEXT_SIZE];
    json_t *object;

    hf_id_format(&point->id, id);
    object = json_pack("{s:s, s:I, s:I, s:s, s:b, s:s}", "kind", kind_of(point), "position",
                       (json_int_t)point->position, "seq", (json_int_t)point->seq, "name",
                       point->name, "openable", point->openable, "reason",
                       point->reason != NULL ? point->reason : "");
    if (!hf_id_is_zero(&point->id))
        json_object_set_new(object, "id", json_string(id));
    hf_json_time(object, "time", point->wall_ns);
    hf_json_time(object, "received", point->receipt_ns);
    return object;
}

static void print_points(const struct hf_cli *cli, const struct hf_point *points, size_t count)
{
    static const char *const headings[] = {"TIME", "POINT", "KIND", "POSITION", "OPENABLE", "NAME"};
    struct hf_table *table;

    if (cli->json) {
        json_t *array = json_array();

        for (size_t i = 0; i < count; i++)
            json_array_append_new(array, point_object(&points[i]));
        hf_json_print(array);
        json_decref(array);
        return;
    }
    table = hf_table_new(headings, HF_ARRAY_COUNT(headings));
    for (size_t i = 0; i < count; i++) {
        char time[HF_OUTPUT_TEXT_MAX];
        char id[HF_ID_TEXT_SIZE];
        char position[24];

        hf_id_format(&points[i].id, id);
        snprintf(position, sizeof(position), "%" PRIu64, points[i].position);
        hf_table_row(
            table, (const char *[]){hf_text_time(points[i].wall_ns, time),
                                    points[i].kind != 0 ? id : "-", kind_of(&points[i]), position,
                                    points[i].openable ? "yes" : points[i].reason, points[i].name});
    }
    hf_table_print(table, stdout);
    hf_table_free(table);
}

/* Returns false when the text is no count. */
static bool parse_count(const char *text, size_t *ret_count)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0')
        return false;
    *ret_count = value;
    return true;
}

static int list_points(const struct hf_cli *cli, struct hf_cli_store *store)
{
    struct point_list list = {0};
    const char *last = hf_cli_value(cli, "last");
    size_t skip = 0;
    size_t count;
    int error = hf_points_each(store->reader, points_each, &list);
    int code = HF_EXIT_OK;

    if (error < 0) {
        code = hf_cli_fail(cli, error, "cannot list the points of %s: %s", store->machine_name,
                           hf_strerror(error));
    } else if (last != NULL && !parse_count(last, &count)) {
        fprintf(stderr, "holdfast: --last takes a number, not '%s'\n", last);
        code = HF_EXIT_USAGE;
    } else {
        if (last != NULL && count < list.count)
            skip = list.count - count;
        print_points(cli, list.points + skip, list.count - skip);
    }
    free(list.points);
    return code;
}

int hf_cmd_store_points(const struct hf_cli *cli)
{
    struct hf_cli_store store = {0};
    const char *find = hf_cli_value(cli, "find");
    int code = hf_cli_store_open(cli, cli->arguments[0], &store);

    if (code == HF_EXIT_OK)
        code = hf_cli_store_machine(cli, hf_cli_value(cli, "machine"), &store);
    if (code == HF_EXIT_OK && find != NULL) {
        code = hf_cli_store_point(cli, find, &store);
        if (code == HF_EXIT_OK)
            print_points(cli, &store.point, 1);
    } else if (code == HF_EXIT_OK) {
        code = list_points(cli, &store);
    }
    hf_cli_store_done(&store);
    return code;
}
