// SPDX-License-Identifier: Apache-2.0
/* Help, man page and completion: three ways to print the one table. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char intro[] = "holdfast keeps copies of running machines a few seconds behind at "
                            "another site, and opens any second of\n"
                            "them there.\n";

static const struct {
    const char *name;
    const char *help;
} groups[] = {
    {"store", "look into a store, with nothing else alive"},
    {"view", "open a machine at any point"},
    {"agent", "talk to the agent on this machine"},
    {"pki", "certificates"},
};

static void print_usage(FILE *out, const struct hf_cli_command *command)
{
    fprintf(out, "holdfast %s%s%s%s%s", command->group != NULL ? command->group : "",
            command->group != NULL ? " " : "", command->name,
            command->arguments[0] != '\0' ? " " : "", command->arguments);
}

static bool in_group(const struct hf_cli_command *command, const char *group)
{
    if (group == NULL)
        return command->group == NULL;
    return command->group != NULL && strcmp(command->group, group) == 0;
}

static void print_commands(const char *group)
{
    for (size_t i = 0; i < hf_cli_command_count; i++) {
        const struct hf_cli_command *command = &hf_cli_commands[i];
        char words[64];

        if (!in_group(command, group))
            continue;
        snprintf(words, sizeof(words), "%s%s%s", group != NULL ? group : "",
                 group != NULL ? " " : "", command->name);
        printf("  %-18s %s\n", words, command->summary);
    }
}

void hf_cli_help(const char *group)
{
    if (group != NULL) {
        printf("Usage: holdfast %s COMMAND ...\n\n", group);
        print_commands(group);
    } else {
        printf("%s\nUsage: holdfast COMMAND ... [--output table|json] [--quiet]\n\n", intro);
        print_commands(NULL);
        for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
            printf("\n%s\n", groups[i].help);
            print_commands(groups[i].name);
        }
    }
    printf("\nholdfast COMMAND --help says more about each.\n");
}

static void print_wrapped(const char *text, int indent, int width)
{
    int column = 0;

    while (*text != '\0') {
        int length = (int)strcspn(text, " ");

        if (column > 0 && column + 1 + length > width) {
            putchar('\n');
            column = 0;
        }
        column += printf("%*s%.*s", column == 0 ? indent : 1, "", length, text);
        text += length;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void print_option(const struct hf_cli_option *option)
{
    char words[64];

    snprintf(words, sizeof(words), "--%s%s%s", option->name, option->metavar != NULL ? " " : "",
             option->metavar != NULL ? option->metavar : "");
    printf("  %-22s %s%s\n", words, option->help, option->required ? " (required)" : "");
}

void hf_cli_help_command(const struct hf_cli_command *command)
{
    fputs("Usage: ", stdout);
    print_usage(stdout, command);
    printf(" [options]\n\n");
    print_wrapped(command->description, 0, 96);
    printf("\nOptions:\n");
    for (size_t i = 0; i < HF_CLI_OPTIONS_MAX && command->options[i].name != NULL; i++)
        print_option(&command->options[i]);
    printf("  %-22s %s\n  %-22s %s\n  %-22s %s\n", "-o, --output FORMAT", "table (default) or json",
           "-q, --quiet", "no progress bars", "-h, --help", "this text");
    if (command->example != NULL)
        printf("\nExample:\n  %s\n", command->example);
}

/* roff takes '-' as a hyphen and a leading '.' or ''' as a request. */
static void print_roff(const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text != '\0'; text++) {
        if (*text == '-')
            putchar('\\');
        if (*text == '\\')
            putchar('\\');
        putchar(*text);
    }
}

static void man_command(const struct hf_cli_command *command)
{
    fputs(".SS \"", stdout);
    print_usage(stdout, command);
    fputs("\"\n", stdout);
    print_roff(command->description);
    putchar('\n');
    for (size_t i = 0; i < HF_CLI_OPTIONS_MAX && command->options[i].name != NULL; i++) {
        const struct hf_cli_option *option = &command->options[i];

        fputs(".TP\n.B ", stdout);
        printf("\\-\\-%s", option->name);
        if (option->metavar != NULL)
            printf(" \\fI%s\\fR", option->metavar);
        putchar('\n');
        print_roff(option->help);
        putchar('\n');
    }
    if (command->example != NULL) {
        fputs(".PP\nExample:\n.PP\n.RS\n.nf\n", stdout);
        print_roff(command->example);
        fputs("\n.fi\n.RE\n", stdout);
    }
}

void hf_cli_print_man(void)
{
    printf(
        ".TH HOLDFAST 1 \"\" \"holdfast " HF_VERSION
        "\" \"Holdfast\"\n.SH NAME\nholdfast \\- site recovery: open any second of a "
        "machine elsewhere\n.SH SYNOPSIS\n.B holdfast\n.I COMMAND\n[options]\n.SH DESCRIPTION\n");
    print_roff(intro);
    printf(".SH COMMANDS\n");
    for (size_t i = 0; i < hf_cli_command_count; i++)
        man_command(&hf_cli_commands[i]);
    printf(".SH OPTIONS OF EVERY COMMAND\n.TP\n.B \\-o, \\-\\-output "
           "\\fItable\\fR|\\fIjson\\fR\nhow results are printed\n.TP\n.B \\-q, "
           "\\-\\-quiet\nno progress bars\n.TP\n.B \\-h, \\-\\-help\nhelp for the command\n");
    printf(".SH EXIT STATUS\n0 done; 1 tried and failed; 2 wrong usage; 3 damage found by store "
           "check.\n");
}

static void completion_words(const char *group)
{
    for (size_t i = 0; i < hf_cli_command_count; i++)
        if (in_group(&hf_cli_commands[i], group))
            printf("%s ", hf_cli_commands[i].name);
}

static void completion_options(const struct hf_cli_command *command)
{
    printf("        \"%s%s%s\") words=\"--help --output --quiet",
           command->group != NULL ? command->group : "", command->group != NULL ? " " : "",
           command->name);
    for (size_t i = 0; i < HF_CLI_OPTIONS_MAX && command->options[i].name != NULL; i++)
        printf(" --%s", command->options[i].name);
    printf("\" ;;\n");
}

void hf_cli_print_bash_completion(void)
{
    printf("# bash completion for holdfast, printed by `holdfast completion bash`\n_holdfast()\n{\n"
           "    local current=\"${COMP_WORDS[COMP_CWORD]}\" words=\"\" path=\"${COMP_WORDS[1]}\"\n"
           "    [ \"$COMP_CWORD\" -gt 2 ] && path=\"$path ${COMP_WORDS[2]}\"\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then\n        words=\"");
    completion_words(NULL);
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
        printf("%s ", groups[i].name);
    printf("--help --version\"\n    elif [ \"$COMP_CWORD\" = 2 ] && [ \"${current:0:1}\" != - ]; "
           "then\n        case "
           "\"${COMP_WORDS[1]}\" in\n");
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        printf("        %s) words=\"", groups[i].name);
        completion_words(groups[i].name);
        printf("\" ;;\n");
    }
    printf("        esac\n    elif [ \"${current:0:1}\" = - ]; then\n        case \"$path\" in\n");
    for (size_t i = 0; i < hf_cli_command_count; i++)
        completion_options(&hf_cli_commands[i]);
    printf("        esac\n    fi\n"
           "    if [ -n \"$words\" ]; then\n        mapfile -t COMPREPLY < <(compgen -W \"$words\" "
           "-- \"$current\")\n"
           "    else\n        mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n    "
           "fi\n}\ncomplete -o filenames -F _holdfast holdfast\n");
}
