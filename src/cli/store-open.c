// SPDX-License-Identifier: Apache-2.0
#include "cli/store-open.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/output.h"

int hf_cli_store_open(const struct hf_cli *cli, const char *path, struct hf_cli_store *store)
{
    int error = hf_io_file_new(path, &store->io);

    if (error == 0)
        error = hf_store_open(store->io, hf_clock_system(), hf_random_system(), &store->store);
    if (error == -ENOENT)
        return hf_cli_fail(
            cli, error,
            "%s is not a store; a store is the directory that holdfast-target was given", path);
    if (error < 0)
        return hf_cli_fail(cli, error, "cannot open the store %s: %s", path, hf_strerror(error));
    return HF_EXIT_OK;
}

struct choice {
    const char *wanted;
    struct hf_cli_store *store;
    size_t count;
    size_t matches;
};

bool hf_cli_machine_matches(const char *wanted, const struct hf_machine_summary *summary)
{
    char id[HF_ID_TEXT_SIZE];

    if (wanted == NULL)
        return true;
    hf_id_format(&summary->machine, id);
    return strcmp(wanted, summary->name) == 0 || strcmp(wanted, id) == 0;
}

static int consider(void *context, const struct hf_machine_summary *summary)
{
    struct choice *choice = context;

    choice->count++;
    if (!hf_cli_machine_matches(choice->wanted, summary))
        return 0;
    choice->matches++;
    choice->store->machine = summary->machine;
    memcpy(choice->store->machine_name, summary->name, sizeof(choice->store->machine_name));
    return 0;
}

int hf_cli_store_machine(const struct hf_cli *cli, const char *machine, struct hf_cli_store *store)
{
    struct choice choice = {.wanted = machine, .store = store};
    int error = hf_store_machines(store->store, consider, &choice);

    if (error < 0)
        return hf_cli_fail(cli, error, "cannot list the store: %s", hf_strerror(error));
    if (choice.count == 0)
        return hf_cli_fail(cli, -ENOENT, "the store holds no machine yet");
    if (choice.matches == 0)
        return hf_cli_fail(
            cli, -ENOENT,
            "the store holds no machine '%s'; `holdfast store ls` shows which it does", machine);
    if (choice.matches > 1)
        return hf_cli_fail(cli, -EINVAL, "the store holds %zu machines; choose one with --machine",
                           choice.matches);
    error = hf_machine_reader_open(store->store, &store->machine, &store->reader);
    if (error < 0)
        return hf_cli_fail(cli, error, "cannot read machine %s: %s", store->machine_name,
                           hf_strerror(error));
    return HF_EXIT_OK;
}

static void list_candidates(const struct hf_point *points, size_t count)
{
    fprintf(stderr,
            "That time happened more than once on the machine's clock. Choose one by position:\n");
    for (size_t i = 0; i < count; i++) {
        char machine_time[HF_OUTPUT_TEXT_MAX];
        char store_time[HF_OUTPUT_TEXT_MAX];

        fprintf(stderr, "  --point pos:%llu   machine's clock %s, received %s\n",
                (unsigned long long)points[i].position,
                hf_text_time(points[i].wall_ns, machine_time),
                hf_text_time(points[i].receipt_ns, store_time));
    }
}

int hf_cli_store_point(const struct hf_cli *cli, const char *point, struct hf_cli_store *store)
{
    struct hf_point points[HF_POINT_CANDIDATES_MAX];
    const char *text = point != NULL ? point : "latest";
    size_t count = 0;
    int error = hf_point_find(store->reader, text, points, HF_POINT_CANDIDATES_MAX, &count);

    switch (-error) {
    case 0:
        store->point = points[0];
        return HF_EXIT_OK;
    case HF_EAMBIGUOUS:
        list_candidates(points, count);
        return hf_cli_fail(cli, error, "'%s' names %zu moments", text, count);
    case HF_EPARTIAL:
        return hf_cli_fail(
            cli, error, "machine %s cannot be opened yet: its initial replication has not finished",
            store->machine_name);
    case HF_EPRUNED:
        return hf_cli_fail(
            cli, error,
            "'%s' is older than the history that is kept; `holdfast store points` shows what is",
            text);
    case HF_ENOPOINT:
        return hf_cli_fail(
            cli, error,
            "no recovery point answers to '%s'; `holdfast store points` shows what can be opened",
            text);
    case EINVAL:
        return hf_cli_fail(cli, error,
                           "'%s' is not a point: give latest, latest-app, an id, a time "
                           "(2026-01-31 14:03:05) or -10s",
                           text);
    default:
        return hf_cli_fail(cli, error, "cannot find '%s': %s", text, hf_strerror(error));
    }
}

bool hf_cli_is_file_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

void hf_cli_store_done(struct hf_cli_store *store)
{
    hf_machine_reader_close(store->reader);
    hf_store_close(store->store);
    hf_io_free(store->io);
    *store = (struct hf_cli_store){0};
}
