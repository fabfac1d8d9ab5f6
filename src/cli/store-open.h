// SPDX-License-Identifier: Apache-2.0
/* What the offline commands share: opening a store by its path, choosing a machine and a point in
 * it. */
#ifndef HF_CLI_STORE_OPEN_H
#define HF_CLI_STORE_OPEN_H

#include "cli/cli.h"
#include "store/point.h"

/* A store opened for a command. Zero-initialise; hf_cli_store_done closes what is open. */
struct hf_cli_store {
    struct hf_io *io;
    struct hf_store *store;
    struct hf_id machine;
    char machine_name[HF_MACHINE_NAME_MAX];
    struct hf_machine_reader *reader; /* NULL until a machine was chosen */
    struct hf_point point;
};

/* Each says what is wrong and returns an exit code; HF_EXIT_OK when it worked. */
int hf_cli_store_open(const struct hf_cli *cli, const char *path, struct hf_cli_store *store);
/* By name, by identity, or the only one there is when `machine` is NULL. Opens the reader. */
int hf_cli_store_machine(const struct hf_cli *cli, const char *machine, struct hf_cli_store *store);
/* Fills store->point; NULL means latest. Ambiguous times are listed. */
int hf_cli_store_point(const struct hf_cli *cli, const char *point, struct hf_cli_store *store);
/* Whether a machine is the one meant by a name or identity; NULL means any. */
bool hf_cli_machine_matches(const char *wanted, const struct hf_machine_summary *summary);
/* Whether a disk's name, which the machine chose, is safe as a file name here. */
bool hf_cli_is_file_name(const char *name);
void hf_cli_store_done(struct hf_cli_store *store);

#endif
