// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

int main(int argc, char **argv)
{
    struct hf_cli cli;
    bool run;
    int code = hf_cli_parse(argc, argv, &cli, &run);

    return run ? cli.command->run(&cli) : code;
}
