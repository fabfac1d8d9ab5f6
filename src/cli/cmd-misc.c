// SPDX-License-Identifier: Apache-2.0
/* holdfast completion, man, demo. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/cli.h"

int hf_cmd_completion(const struct hf_cli *cli)
{
    if (strcmp(cli->arguments[0], "bash") != 0) {
        fprintf(stderr, "holdfast: completion is there for bash, not for '%s'\n",
                cli->arguments[0]);
        return HF_EXIT_USAGE;
    }
    hf_cli_print_bash_completion();
    return HF_EXIT_OK;
}

int hf_cmd_man(const struct hf_cli *cli)
{
    hf_cli_print_man();
    return HF_EXIT_OK;
}

/* The script stands beside the program in a build tree, and in the package's own directory once
 * installed. */
static const char *find_demo(char *path, size_t path_size)
{
    char self[512];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    if (length > 0) {
        self[length] = '\0';
        slash = strrchr(self, '/');
        if (slash != NULL) {
            *slash = '\0';
            snprintf(path, path_size, "%s/holdfast-demo", self);
            if (access(path, X_OK) == 0)
                return path;
        }
    }
    snprintf(path, path_size, "%s/holdfast-demo", HF_LIBEXEC_DIR);
    return access(path, X_OK) == 0 ? path : NULL;
}

int hf_cmd_demo(const struct hf_cli *cli)
{
    char path[640];
    const char *seconds = hf_cli_value(cli, "seconds");
    const char *argv[8] = {0};
    size_t argc = 0;

    if (geteuid() != 0)
        return hf_cli_fail(cli, -EPERM,
                           "the demo makes network namespaces and loop devices; run it as root");
    if (find_demo(path, sizeof(path)) == NULL)
        return hf_cli_fail(cli, -ENOENT, "holdfast-demo is not installed beside this program");
    argv[argc++] = path;
    if (hf_cli_value(cli, "keep") != NULL)
        argv[argc++] = "--keep";
    if (seconds != NULL) {
        argv[argc++] = "--seconds";
        argv[argc++] = seconds;
    }
    execv(path, (char *const *)argv);
    return hf_cli_fail(cli, -errno, "cannot run %s: %s", path, strerror(errno));
}
