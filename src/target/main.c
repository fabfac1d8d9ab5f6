// SPDX-License-Identifier: Apache-2.0
/* holdfast-target: reads its configuration, starts the library, waits to be told to stop. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "target/daemon.h"

static struct hf_log_component log_main = HF_LOG_COMPONENT("target");

static const char usage[] = "Usage: holdfast-target --config FILE [--check-config]\n"
                            "       holdfast-target --sample | --version | --help\n"
                            "\n"
                            "Takes the streams of protected machines and keeps them in a store.\n"
                            "\n"
                            "  --config FILE    the configuration (YAML)\n"
                            "  --check-config   read and check it, and do nothing else\n"
                            "  --sample         print a commented sample configuration\n";

struct arguments {
    const char *config;
    bool check;
};

static int print_sample(void)
{
    struct hf_bytes text = {0};
    int error = hf_conf_print_sample(&hf_target_conf_table, &text);

    if (error == 0)
        fwrite(text.data, 1, text.size, stdout);
    hf_bytes_clear(&text);
    return error == 0 ? 0 : 1;
}

/* Returns an exit code when there is nothing to run, -1 otherwise. */
static int parse_arguments(int argc, char **argv, struct arguments *ret_arguments)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"check-config", no_argument, NULL, 'k'},
        {"sample", no_argument, NULL, 's'},       {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {0}};
    struct arguments arguments = {0};
    int found;

    while ((found = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (found == 'c')
            arguments.config = optarg;
        else if (found == 'k')
            arguments.check = true;
        else if (found == 's')
            return print_sample();
        else if (found == 'v')
            return puts("holdfast-target " HF_VERSION) < 0;
        else
            return fputs(usage, found == 'h' ? stdout : stderr) < 0 || found != 'h' ? 2 : 0;
    }
    if (arguments.config == NULL || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    *ret_arguments = arguments;
    return -1;
}

/* Blocked in every thread that starts later; waited for here. */
static void block_signals(sigset_t *ret_signals)
{
    sigemptyset(ret_signals);
    sigaddset(ret_signals, SIGINT);
    sigaddset(ret_signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, ret_signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int run(const struct hf_target_config *config)
{
    struct hf_target *target;
    sigset_t signals;
    int received = 0;
    int error;

    block_signals(&signals);
    error = hf_target_start(config, &target);
    if (error < 0)
        return 1; /* the library's caller in us has logged the cause */
    sigwait(&signals, &received);
    hf_log_info(&log_main, "%s: stopping", strsignal(received));
    hf_target_stop(target);
    return 0;
}

int main(int argc, char **argv)
{
    static struct hf_target_config config;
    struct arguments arguments;
    struct hf_conf_error problem;
    int code = parse_arguments(argc, argv, &arguments);

    if (code >= 0)
        return code;
    if (hf_conf_parse_file(&hf_target_conf_table, arguments.config, &config, &problem) < 0) {
        fprintf(stderr, "holdfast-target: %s\n", problem.text);
        return 2;
    }
    if (hf_log_set_levels(config.log) < 0) {
        fprintf(stderr, "holdfast-target: log.levels: '%s' is not a list of levels\n", config.log);
        return 2;
    }
    hf_log_set_format(config.log_json ? HF_LOG_JSON : HF_LOG_TEXT);
    return arguments.check ? 0 : run(&config);
}
