// SPDX-License-Identifier: Apache-2.0
/* holdfast agent status, mark, resync, disk. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/agent-socket.h"
#include "cli/json.h"
#include "cli/output.h"

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static uint64_t number_at(const json_t *object, const char *key)
{
    return (uint64_t)json_number_value(json_object_get(object, key));
}

static void print_pass(const json_t *pass)
{
    uint64_t done = number_at(pass, "done_bytes");
    uint64_t total = number_at(pass, "total_bytes");
    char done_text[HF_OUTPUT_TEXT_MAX];
    char total_text[HF_OUTPUT_TEXT_MAX];
    char rate[HF_OUTPUT_TEXT_MAX];
    char left[HF_OUTPUT_TEXT_MAX];

    printf("Pass         %s: %s of %s (%" PRIu64 "%%), %s/s, %s left\n", text_at(pass, "kind"),
           hf_text_bytes(done, done_text), hf_text_bytes(total, total_text),
           total > 0 ? done * 100 / total : 100,
           hf_text_bytes(number_at(pass, "rate_bytes_s"), rate),
           hf_text_duration(number_at(pass, "eta_s") * UINT64_C(1000000000), left));
}

static void print_disks(const json_t *disks)
{
    size_t index;
    json_t *disk;

    json_array_foreach(disks, index, disk)
    {
        char size[HF_OUTPUT_TEXT_MAX];

        printf("Disk %-7" PRIu64 " %s, %s%s\n", number_at(disk, "disk"), text_at(disk, "path"),
               hf_text_bytes(number_at(disk, "size_bytes"), size),
               json_is_true(json_object_get(disk, "complete"))
                   ? ""
                   : ", not complete at the target yet");
    }
}

static void print_status(const json_t *status)
{
    const json_t *lag = json_object_get(status, "lag_ms");
    const json_t *ring = json_object_get(status, "ring");
    const json_t *pass = json_object_get(status, "pass");
    const json_t *point = json_object_get(status, "last_point");
    const char *cause = text_at(status, "cause");
    const char *link_error = text_at(status, "link_error");
    char fill[HF_OUTPUT_TEXT_MAX];
    char size[HF_OUTPUT_TEXT_MAX];

    printf("Machine      %s\n", text_at(status, "machine"));
    printf("State        %s\n",
           json_is_true(json_object_get(status, "protected")) ? "protected" : "not protected yet");
    printf("Mode         %s%s%s\n", text_at(status, "mode"), cause[0] != '\0' ? ": " : "", cause);
    printf("Target       %s, %s%s%s\n", text_at(status, "target"), text_at(status, "link"),
           link_error[0] != '\0' ? ": " : "", link_error);
    printf(
        "Lag          %" PRIu64 " ms now; p50 %" PRIu64 ", p99 %" PRIu64 ", max %" PRIu64 " ms\n",
        number_at(lag, "now"), number_at(lag, "p50"), number_at(lag, "p99"), number_at(lag, "max"));
    printf("Ring         %s of %s; longest stall survived %" PRIu64 " ms\n",
           hf_text_bytes(number_at(ring, "fill_bytes"), fill),
           hf_text_bytes(number_at(ring, "size_bytes"), size), number_at(ring, "longest_stall_ms"));
    if (json_is_object(pass))
        print_pass(pass);
    if (json_is_object(point))
        printf("Last point   %s, %s, %s\n", text_at(point, "time"), text_at(point, "kind"),
               text_at(point, "id"));
    print_disks(json_object_get(status, "disks"));
}

static int show_status(const struct hf_cli *cli)
{
    json_t *answer;
    int code = hf_cli_agent_ask(cli, json_pack("{s:s}", "verb", "status"), &answer);

    if (code != HF_EXIT_OK)
        return code;
    if (cli->json)
        hf_json_print(json_object_get(answer, "status"));
    else
        print_status(json_object_get(answer, "status"));
    fflush(stdout);
    json_decref(answer);
    return HF_EXIT_OK;
}

int hf_cmd_agent_status(const struct hf_cli *cli)
{
    bool watch = hf_cli_value(cli, "watch") != NULL;
    int code;

    for (;;) {
        if (watch && isatty(STDOUT_FILENO) != 0)
            fputs("\033[H\033[2J", stdout);
        code = show_status(cli);
        if (!watch || code != HF_EXIT_OK)
            return code;
        sleep(1);
    }
}

int hf_cmd_agent_mark(const struct hf_cli *cli)
{
    const char *name = hf_cli_value(cli, "name");
    json_t *answer;
    int code = hf_cli_agent_ask(cli,
                                json_pack("{s:s, s:b, s:s}", "verb", "mark", "app",
                                          hf_cli_value(cli, "app") != NULL, "name",
                                          name != NULL ? name : ""),
                                &answer);

    if (code != HF_EXIT_OK)
        return code;
    if (cli->json)
        hf_json_print(answer);
    else
        printf("%s %s\n", text_at(answer, "point"), text_at(answer, "kind"));
    if (!cli->json && text_at(answer, "reason")[0] != '\0')
        printf("not application-consistent: %s\n", text_at(answer, "reason"));
    json_decref(answer);
    return HF_EXIT_OK;
}

/* Prints the whole answer as JSON, or one line. */
static int finish(const struct hf_cli *cli, int code, json_t *answer, const char *line)
{
    if (code != HF_EXIT_OK)
        return code;
    if (cli->json)
        hf_json_print(answer);
    else
        puts(line);
    json_decref(answer);
    return HF_EXIT_OK;
}

int hf_cmd_agent_resync(const struct hf_cli *cli)
{
    json_t *answer = NULL;
    int code = hf_cli_agent_ask(
        cli, json_pack("{s:s, s:b}", "verb", "resync", "full", hf_cli_value(cli, "full") != NULL),
        &answer);

    return finish(cli, code, answer,
                  "The pass has begun; `holdfast agent status --watch` follows it.");
}

int hf_cmd_agent_disk(const struct hf_cli *cli)
{
    bool add = strcmp(cli->arguments[0], "add") == 0;
    json_t *answer = NULL;
    int code;

    if (!add && strcmp(cli->arguments[0], "remove") != 0) {
        fprintf(stderr, "holdfast: it is 'disk add PATH' or 'disk remove PATH', not '%s'\n",
                cli->arguments[0]);
        return HF_EXIT_USAGE;
    }
    code = hf_cli_agent_ask(cli,
                            json_pack("{s:s, s:s}", "verb", add ? "disk-add" : "disk-remove",
                                      "path", cli->arguments[1]),
                            &answer);
    return finish(cli, code, answer,
                  add ? "The disk is being copied; it belongs to points once that is done."
                      : "The disk is no longer captured; its history stays.");
}
