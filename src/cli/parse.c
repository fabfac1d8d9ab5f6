// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

#include <getopt.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

/* Every command takes these too; they come after its own in the table given to getopt_long. */
enum common_option { COMMON_HELP, COMMON_OUTPUT, COMMON_QUIET, COMMON_COUNT };

static size_t option_count(const struct hf_cli_command *command)
{
    size_t count = 0;

    while (count < HF_CLI_OPTIONS_MAX && command->options[count].name != NULL)
        count++;
    return count;
}

const char *hf_cli_value(const struct hf_cli *cli, const char *name)
{
    size_t count = option_count(cli->command);

    for (size_t i = 0; i < count; i++)
        if (strcmp(cli->command->options[i].name, name) == 0)
            return cli->values[i];
    HF_ASSERT(!"the option is in the command's table");
    return NULL;
}

int hf_cli_fail(const struct hf_cli *cli, int error, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (cli->json) {
        json_t *object = json_pack("{s:s, s:s}", "error", hf_error_name(error), "message", text);

        json_dumpf(object, stderr, JSON_INDENT(2));
        fputc('\n', stderr);
        json_decref(object);
    } else {
        fprintf(stderr, "holdfast: %s\n", text);
    }
    return HF_EXIT_FAILED;
}

static bool group_exists(const char *name)
{
    for (size_t i = 0; i < hf_cli_command_count; i++)
        if (hf_cli_commands[i].group != NULL && strcmp(hf_cli_commands[i].group, name) == 0)
            return true;
    return false;
}

/* Finds the command that argv[1..] begins with; *ret_words is how many words name it. */
static const struct hf_cli_command *find_command(int argc, char **argv, int *ret_words)
{
    for (size_t i = 0; i < hf_cli_command_count; i++) {
        const struct hf_cli_command *command = &hf_cli_commands[i];
        int words = command->group != NULL ? 2 : 1;

        if (argc <= words)
            continue;
        if (command->group != NULL && strcmp(command->group, argv[1]) != 0)
            continue;
        if (strcmp(command->name, argv[words]) == 0) {
            *ret_words = words;
            return command;
        }
    }
    return NULL;
}

static void build_long_options(const struct hf_cli_command *command, struct option *options)
{
    size_t count = option_count(command);

    for (size_t i = 0; i < count; i++)
        options[i] =
            (struct option){command->options[i].name,
                            command->options[i].metavar != NULL ? required_argument : no_argument,
                            NULL, (int)(256 + i)};
    options[count++] = (struct option){"help", no_argument, NULL, 'h'};
    options[count++] = (struct option){"output", required_argument, NULL, 'o'};
    options[count++] = (struct option){"quiet", no_argument, NULL, 'q'};
    options[count] = (struct option){0};
}

__attribute__((format(printf, 2, 3))) static int usage_error(const struct hf_cli_command *command,
                                                             const char *format, ...)
{
    va_list arguments;

    fputs("holdfast: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nTry: holdfast %s%s%s --help\n", command->group != NULL ? command->group : "",
            command->group != NULL ? " " : "", command->name);
    return HF_EXIT_USAGE;
}

static int set_output(struct hf_cli *cli, const char *format)
{
    if (strcmp(format, "json") == 0)
        cli->json = true;
    else if (strcmp(format, "table") != 0)
        return usage_error(cli->command, "--output takes table or json, not '%s'", format);
    return HF_EXIT_OK;
}

/* Returns an exit code; *ret_run false when help was shown. */
static int parse_options(int argc, char **argv, struct hf_cli *cli, bool *ret_run)
{
    struct option options[HF_CLI_OPTIONS_MAX + COMMON_COUNT + 1];
    int found;

    build_long_options(cli->command, options);
    opterr = 0;
    optind = 1;
    while ((found = getopt_long(argc, argv, ":ho:q", options, NULL)) != -1) {
        if (found == 'h') {
            hf_cli_help_command(cli->command);
            *ret_run = false;
            return HF_EXIT_OK;
        }
        if (found == ':')
            return usage_error(cli->command, "%s needs a value", argv[optind - 1]);
        if (found == '?')
            return usage_error(cli->command, "there is no option %s here", argv[optind - 1]);
        if (found == 'q')
            cli->quiet = true;
        if (found == 'o' && optarg != NULL && set_output(cli, optarg) != HF_EXIT_OK)
            return HF_EXIT_USAGE;
        if (found >= 256)
            cli->values[found - 256] = optarg != NULL ? optarg : "";
    }
    return HF_EXIT_OK;
}

static int take_arguments(int argc, char **argv, struct hf_cli *cli)
{
    const struct hf_cli_command *command = cli->command;
    size_t count = (size_t)(argc - optind);

    if (count < command->arguments_min)
        return usage_error(command, "it needs %s", command->arguments);
    if (count > command->arguments_max)
        return usage_error(command, "'%s' is one word too many",
                           argv[optind + (int)command->arguments_max]);
    for (size_t i = 0; i < count; i++)
        cli->arguments[i] = argv[optind + (int)i];
    cli->argument_count = count;
    for (size_t i = 0; i < option_count(command); i++)
        if (command->options[i].required && cli->values[i] == NULL)
            return usage_error(command, "--%s %s is needed", command->options[i].name,
                               command->options[i].metavar);
    return HF_EXIT_OK;
}

static int without_command(int argc, char **argv)
{
    bool help = argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
                strcmp(argv[1], "help") == 0;

    if (help) {
        hf_cli_help(NULL);
        return argc < 2 ? HF_EXIT_USAGE : HF_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("holdfast " HF_VERSION);
        return HF_EXIT_OK;
    }
    if (group_exists(argv[1]) &&
        (argc == 2 || strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0)) {
        hf_cli_help(argv[1]);
        return argc == 2 ? HF_EXIT_USAGE : HF_EXIT_OK;
    }
    fprintf(stderr, "holdfast: there is no command '%s%s%s'\nTry: holdfast --help\n", argv[1],
            group_exists(argv[1]) ? " " : "", group_exists(argv[1]) ? argv[2] : "");
    return HF_EXIT_USAGE;
}

int hf_cli_parse(int argc, char **argv, struct hf_cli *ret_cli, bool *ret_run)
{
    struct hf_cli cli = {0};
    int words = 0;
    int code;

    *ret_run = false;
    cli.command = find_command(argc, argv, &words);
    if (cli.command == NULL)
        return without_command(argc, argv);
    *ret_run = true;
    code = parse_options(argc - words, argv + words, &cli, ret_run);
    if (code == HF_EXIT_OK && *ret_run)
        code = take_arguments(argc - words, argv + words, &cli);
    if (code != HF_EXIT_OK)
        *ret_run = false;
    *ret_cli = cli;
    return code;
}
