// SPDX-License-Identifier: Apache-2.0
/* holdfast store export. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/store-open.h"
#include "store/export.h"

#define DESCRIPTION_FILE "machine.json"

struct exporting {
    const struct hf_cli *cli;
    struct hf_cli_store store;
    struct hf_view *view;
    struct hf_io *out;
    struct hf_progress progress;
    json_t *disks;
};

static int on_progress(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
    hf_progress_update(context, done_bytes, total_bytes);
    return 0;
}

static bool disk_is_wanted(const char *wanted, const struct hf_machine_disk *disk)
{
    char number[8];

    snprintf(number, sizeof(number), "%u", disk->disk);
    return wanted == NULL || strcmp(wanted, disk->name) == 0 || strcmp(wanted, number) == 0;
}

static void report_disk(struct exporting *exporting, const struct hf_machine_disk *disk,
                        const char *file, uint64_t data_bytes)
{
    char size[HF_OUTPUT_TEXT_MAX];
    char data[HF_OUTPUT_TEXT_MAX];

    if (exporting->cli->json)
        json_array_append_new(exporting->disks,
                              json_pack("{s:i, s:s, s:s, s:I, s:I}", "disk", (int)disk->disk,
                                        "name", disk->name, "file", file, "size_bytes",
                                        (json_int_t)disk->size_bytes, "data_bytes",
                                        (json_int_t)data_bytes));
    else
        printf("%s/%s: %s, %s of it data\n", exporting->cli->arguments[1], file,
               hf_text_bytes(disk->size_bytes, size), hf_text_bytes(data_bytes, data));
}

static int export_disk(struct exporting *exporting, const struct hf_machine_disk *disk)
{
    struct hf_export_options options = {.progress = on_progress, .context = &exporting->progress};
    char file[HF_DISK_NAME_MAX + 16];
    uint64_t data_bytes = 0;
    int error;

    if (hf_cli_is_file_name(disk->name))
        snprintf(file, sizeof(file), "%s.raw", disk->name);
    else
        snprintf(file, sizeof(file), "disk%u.raw", disk->disk);
    hf_progress_begin(exporting->cli, file, &exporting->progress);
    error =
        hf_view_export(exporting->view, disk->disk, exporting->out, file, &options, &data_bytes);
    hf_progress_end(&exporting->progress);
    if (error == -EEXIST)
        return hf_cli_fail(exporting->cli, error,
                           "%s/%s is there already; choose another directory or move it away",
                           exporting->cli->arguments[1], file);
    if (error < 0)
        return hf_cli_fail(exporting->cli, error, "cannot export %s: %s", file, hf_strerror(error));
    report_disk(exporting, disk, file, data_bytes);
    return HF_EXIT_OK;
}

static int export_disks(struct exporting *exporting)
{
    struct hf_machine_disk disks[HF_DISKS_MAX];
    size_t count = hf_view_disks(exporting->view, disks);
    const char *wanted = hf_cli_value(exporting->cli, "disk");
    size_t exported = 0;

    for (size_t i = 0; i < count; i++) {
        int code;

        if (!disk_is_wanted(wanted, &disks[i]))
            continue;
        code = export_disk(exporting, &disks[i]);
        if (code != HF_EXIT_OK)
            return code;
        exported++;
    }
    if (exported == 0)
        return hf_cli_fail(exporting->cli, -ENOENT, "that point has no disk '%s'",
                           wanted != NULL ? wanted : "");
    return HF_EXIT_OK;
}

/* A point without a description is whole all the same: only the file is missing then. */
static int export_description(struct exporting *exporting)
{
    struct hf_file *file = NULL;
    char *json = NULL;
    int error = hf_point_machine_description(exporting->store.reader,
                                             exporting->store.point.position, &json);

    if (error == -ENOENT)
        return HF_EXIT_OK;
    if (error == 0)
        error = hf_io_open(exporting->out, DESCRIPTION_FILE, HF_OPEN_WRITE | HF_OPEN_CREATE, &file);
    if (error == 0)
        error = hf_io_truncate(file, 0);
    if (error == 0)
        error = hf_io_write(file, json, strlen(json), 0);
    if (error == 0)
        error = hf_io_sync(file);
    hf_io_close(file);
    free(json);
    if (error < 0)
        return hf_cli_fail(exporting->cli, error, "cannot write " DESCRIPTION_FILE ": %s",
                           hf_strerror(error));
    return HF_EXIT_OK;
}

static int prepare(struct exporting *exporting)
{
    const struct hf_cli *cli = exporting->cli;
    struct hf_view_options options = {0};
    int code = hf_cli_store_open(cli, cli->arguments[0], &exporting->store);
    int error;

    if (code == HF_EXIT_OK)
        code = hf_cli_store_machine(cli, hf_cli_value(cli, "machine"), &exporting->store);
    if (code == HF_EXIT_OK)
        code = hf_cli_store_point(cli, hf_cli_value(cli, "point"), &exporting->store);
    if (code != HF_EXIT_OK)
        return code;
    options.position = exporting->store.point.position;
    error =
        hf_view_open(exporting->store.store, &exporting->store.machine, &options, &exporting->view);
    if (error < 0)
        return hf_cli_fail(cli, error, "cannot open that point: %s", hf_strerror(error));
    if (mkdir(cli->arguments[1], 0700) < 0 && errno != EEXIST)
        return hf_cli_fail(cli, -errno, "cannot make %s: %s", cli->arguments[1], strerror(errno));
    error = hf_io_best_new(cli->arguments[1], &exporting->out);
    if (error < 0)
        return hf_cli_fail(cli, error, "cannot use %s: %s", cli->arguments[1], hf_strerror(error));
    return HF_EXIT_OK;
}

int hf_cmd_store_export(const struct hf_cli *cli)
{
    struct exporting exporting = {.cli = cli, .disks = json_array()};
    int code = prepare(&exporting);

    if (code == HF_EXIT_OK)
        code = export_disks(&exporting);
    if (code == HF_EXIT_OK)
        code = export_description(&exporting);
    if (code == HF_EXIT_OK && cli->json)
        hf_json_print(exporting.disks);
    json_decref(exporting.disks);
    hf_io_free(exporting.out);
    hf_view_close(exporting.view);
    hf_cli_store_done(&exporting.store);
    return code;
}
