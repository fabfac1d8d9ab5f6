// SPDX-License-Identifier: Apache-2.0
/*
 * The console. One table of commands (commands.c) is the parser, the help, the completion and the
 * man page. A command gets its options parsed, does its work through the libraries, and writes
 * through output.h; it returns an exit code of enum hf_exit.
 */
#ifndef HF_CLI_CLI_H
#define HF_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#define HF_CLI_OPTIONS_MAX 16
#define HF_CLI_ARGUMENTS_MAX 8

enum hf_exit {
    HF_EXIT_OK = 0,
    HF_EXIT_FAILED = 1,  /* it was tried and did not work; the message says why */
    HF_EXIT_USAGE = 2,   /* the words were wrong; nothing was tried */
    HF_EXIT_DAMAGED = 3, /* store check: damage was found */
};

struct hf_cli_option {
    const char *name;    /* long name, without dashes */
    const char *metavar; /* NULL: a switch */
    const char *help;    /* one line */
    bool required;
};

/* A parsed command line: values[i] belongs to command->options[i]; NULL when absent, "" for a
 * switch that is on. */
struct hf_cli {
    const struct hf_cli_command *command;
    const char *values[HF_CLI_OPTIONS_MAX];
    const char *arguments[HF_CLI_ARGUMENTS_MAX];
    size_t argument_count;
    bool json;
    bool quiet;
};

struct hf_cli_command {
    const char *group; /* "store"; NULL for a command that stands alone */
    const char *name;
    const char *arguments; /* "STORE [MACHINE]" as help shows them */
    size_t arguments_min;
    size_t arguments_max;
    const char *summary;     /* one line */
    const char *description; /* paragraphs */
    const char *example;     /* one command line, or NULL */
    int (*run)(const struct hf_cli *cli);
    struct hf_cli_option options[HF_CLI_OPTIONS_MAX]; /* ends at the first without a name */
};

extern const struct hf_cli_command hf_cli_commands[];
extern const size_t hf_cli_command_count;

/* The value of an option by its name, or NULL. The name must be in the command's table. */
const char *hf_cli_value(const struct hf_cli *cli, const char *name);

/* "holdfast: text" on standard error. With json, an object {"error": code name, "message": text}.
 * Returns HF_EXIT_FAILED. */
int hf_cli_fail(const struct hf_cli *cli, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Parses argv[1..]; HF_EXIT_OK and a command to run, or what main should exit with (help shown, or
 * usage error). */
int hf_cli_parse(int argc, char **argv, struct hf_cli *ret_cli, bool *ret_run);

/* help.c: to standard output. */
void hf_cli_help(const char *group);
void hf_cli_help_command(const struct hf_cli_command *command);
void hf_cli_print_man(void);
void hf_cli_print_bash_completion(void);

/* The commands. */
int hf_cmd_store_ls(const struct hf_cli *cli);
int hf_cmd_store_points(const struct hf_cli *cli);
int hf_cmd_store_check(const struct hf_cli *cli);
int hf_cmd_store_export(const struct hf_cli *cli);
int hf_cmd_view_serve(const struct hf_cli *cli);
int hf_cmd_agent_status(const struct hf_cli *cli);
int hf_cmd_agent_mark(const struct hf_cli *cli);
int hf_cmd_agent_resync(const struct hf_cli *cli);
int hf_cmd_agent_disk(const struct hf_cli *cli);
int hf_cmd_pki_init(const struct hf_cli *cli);
int hf_cmd_pki_issue(const struct hf_cli *cli);
int hf_cmd_demo(const struct hf_cli *cli);
int hf_cmd_completion(const struct hf_cli *cli);
int hf_cmd_man(const struct hf_cli *cli);

#endif
