// SPDX-License-Identifier: Apache-2.0
/* holdfast store check. */
#include <inttypes.h>
#include <jansson.h>

#include "base/error.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/store-open.h"
#include "store/check.h"

/* More is counted, not printed. */
#define DAMAGES_SHOWN 100

struct checking {
    const struct hf_cli *cli;
    struct hf_cli_store store;
    const char *name; /* of the machine under way */
    struct hf_progress progress;
    json_t *machines; /* JSON output */
    json_t *damages;
    uint64_t shown;
    int code;
};

static const char *part_name(enum hf_check_part part)
{
    switch (part) {
    case HF_CHECK_MANIFEST:
        return "manifest";
    case HF_CHECK_JOURNAL:
        return "journal";
    default:
        return "base image";
    }
}

static void print_damage(const struct checking *checking, const struct hf_check_damage *damage)
{
    printf("%s: %s: %s (%s)\n", checking->name, part_name(damage->part), damage->text,
           hf_strerror(damage->error));
    if (damage->part == HF_CHECK_JOURNAL)
        printf("    segment %" PRIu64 ", at byte %" PRIu64 "\n", damage->segment,
               damage->file_offset);
    if (damage->part == HF_CHECK_BASE)
        printf("    disk %u, bytes %" PRIu64 " to %" PRIu64 "\n", damage->disk, damage->offset,
               damage->offset + damage->length);
    printf("    points at positions %" PRIu64 " to %" PRIu64
           " may be affected; all others read right\n",
           damage->position_begin, damage->position_end);
}

static json_t *damage_object(const struct hf_check_damage *damage)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:I, s:I, s:I, s:I}", "part",
                     part_name(damage->part), "error", hf_error_name(damage->error), "text",
                     damage->text, "segment", (json_int_t)damage->segment, "file_offset",
                     (json_int_t)damage->file_offset, "disk", (int)damage->disk, "offset",
                     (json_int_t)damage->offset, "length", (json_int_t)damage->length,
                     "position_begin", (json_int_t)damage->position_begin, "position_end",
                     (json_int_t)damage->position_end);
}

static int on_damage(void *context, const struct hf_check_damage *damage)
{
    struct checking *checking = context;

    if (checking->shown++ >= DAMAGES_SHOWN)
        return 0;
    hf_progress_pause(&checking->progress);
    if (checking->cli->json)
        json_array_append_new(checking->damages, damage_object(damage));
    else
        print_damage(checking, damage);
    return 0;
}

static void on_progress(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
    hf_progress_update(&((struct checking *)context)->progress, done_bytes, total_bytes);
}

static void print_result(struct checking *checking, const struct hf_check_result *result)
{
    char journal[HF_OUTPUT_TEXT_MAX];
    char base[HF_OUTPUT_TEXT_MAX];

    if (checking->cli->json) {
        json_array_append_new(checking->machines,
                              json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:O}", "machine",
                                        checking->name, "damages", (json_int_t)result->damages,
                                        "journal_bytes", (json_int_t)result->journal_bytes,
                                        "base_bytes", (json_int_t)result->base_bytes, "points",
                                        (json_int_t)result->points, "points_affected",
                                        (json_int_t)result->points_affected, "damage",
                                        checking->damages));
        return;
    }
    hf_text_bytes(result->journal_bytes, journal);
    hf_text_bytes(result->base_bytes, base);
    if (result->damages == 0)
        printf("%s: all is well: %s of journal and %s of base images verified, %" PRIu64
               " points\n",
               checking->name, journal, base, result->points);
    else
        printf("%s: damaged in %" PRIu64 " places; %" PRIu64 " of %" PRIu64
               " points may be affected, the others read right\n",
               checking->name, result->damages, result->points_affected, result->points);
}

static int check_machine(void *context, const struct hf_machine_summary *summary)
{
    struct checking *checking = context;
    struct hf_check_options options = {
        .damage = on_damage, .progress = on_progress, .context = checking};
    struct hf_check_result result = {0};
    int error;

    if (!hf_cli_machine_matches(hf_cli_value(checking->cli, "machine"), summary))
        return 0;
    checking->name = summary->name;
    checking->shown = 0;
    checking->damages = json_array();
    hf_progress_begin(checking->cli, summary->name, &checking->progress);
    error = hf_store_check(checking->store.store, &summary->machine, &options, &result);
    hf_progress_end(&checking->progress);
    if (error == 0 || error == -HF_EDAMAGED)
        print_result(checking, &result);
    else
        checking->code = hf_cli_fail(checking->cli, error, "%s cannot be checked: %s",
                                     summary->name, hf_strerror(error));
    if (error == -HF_EDAMAGED)
        checking->code = HF_EXIT_DAMAGED;
    json_decref(checking->damages);
    return 0;
}

int hf_cmd_store_check(const struct hf_cli *cli)
{
    struct checking checking = {.cli = cli};
    int error;

    checking.code = hf_cli_store_open(cli, cli->arguments[0], &checking.store);
    if (checking.code == HF_EXIT_OK && hf_cli_value(cli, "machine") != NULL)
        checking.code = hf_cli_store_machine(cli, hf_cli_value(cli, "machine"), &checking.store);
    if (checking.code == HF_EXIT_OK) {
        checking.machines = json_array();
        error = hf_store_machines(checking.store.store, check_machine, &checking);
        if (error < 0)
            checking.code =
                hf_cli_fail(cli, error, "cannot list the store: %s", hf_strerror(error));
        else if (cli->json)
            hf_json_print(checking.machines);
    }
    json_decref(checking.machines);
    hf_cli_store_done(&checking.store);
    return checking.code;
}
