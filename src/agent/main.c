// SPDX-License-Identifier: Apache-2.0
/* holdfast-agent: reads its configuration, forks the freezer, starts the library, waits for
 * signals. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/daemon.h"
#include "agent/freezer.h"
#include "base/error.h"
#include "base/log.h"

#define EXIT_USAGE 2
#define LOOK_NS 500000000L /* whether the agent has failed */

static struct hf_log_component log_main = HF_LOG_COMPONENT("agent");

static const char usage[] =
    "Usage: holdfast-agent --config FILE [--check-config]\n"
    "       holdfast-agent detach --config FILE\n"
    "       holdfast-agent --sample | --version | --help\n"
    "\n"
    "Captures what is written to this machine's disks and sends it to the target.\n"
    "\n"
    "  detach           remove every trace of capturing: programs, maps, ring, pins; the next\n"
    "                   start compares checksums\n"
    "  --config FILE    the configuration (YAML); SIGHUP reads its disks and\n"
    "                   certificates again\n"
    "  --check-config   read and check it, and do nothing else\n"
    "  --sample         print a commented sample configuration\n";

struct arguments {
    const char *config;
    bool check;
    bool detach;
};

static int print_sample(void)
{
    struct hf_bytes text = {0};
    int error = hf_conf_print_sample(&hf_agent_conf_table, &text);

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
            return puts("holdfast-agent " HF_VERSION) < 0;
        else
            return fputs(usage, found == 'h' ? stdout : stderr) < 0 || found != 'h' ? EXIT_USAGE
                                                                                    : 0;
    }
    if (optind + 1 == argc && strcmp(argv[optind], "detach") == 0) {
        arguments.detach = true;
        optind++;
    }
    if (arguments.config == NULL || optind != argc) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    *ret_arguments = arguments;
    return -1;
}

static int read_config(const char *path, struct hf_agent_config *ret_config)
{
    struct hf_conf_error problem;
    char text[256];

    if (hf_conf_parse_file(&hf_agent_conf_table, path, ret_config, &problem) < 0) {
        fprintf(stderr, "holdfast-agent: %s\n", problem.text);
        return -HF_ECONFIG;
    }
    if (hf_agent_config_check(ret_config, text, sizeof(text)) < 0) {
        fprintf(stderr, "holdfast-agent: %s: %s\n", path, text);
        return -HF_ECONFIG;
    }
    if (hf_log_set_levels(ret_config->log) < 0) {
        fprintf(stderr, "holdfast-agent: %s: log.levels: '%s' is not a list of levels\n", path,
                ret_config->log);
        return -HF_ECONFIG;
    }
    hf_log_set_format(ret_config->log_json ? HF_LOG_JSON : HF_LOG_TEXT);
    return 0;
}

static int detach(const struct hf_agent_config *config)
{
    int error = hf_capture_detach(config->bpffs_dir);

    if (error == -EBUSY)
        fprintf(stderr, "holdfast-agent: an agent uses '%s'; stop it first\n", config->bpffs_dir);
    else if (error)
        fprintf(stderr, "holdfast-agent: '%s' could not be removed: %s\n", config->bpffs_dir,
                hf_strerror(error));
    return error ? 1 : 0;
}

/* Blocked in every thread that starts later; waited for here. */
static void block_signals(sigset_t *ret_signals)
{
    sigemptyset(ret_signals);
    sigaddset(ret_signals, SIGINT);
    sigaddset(ret_signals, SIGTERM);
    sigaddset(ret_signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, ret_signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void reload(struct hf_agent *agent, const char *path)
{
    static struct hf_agent_config config;

    hf_log_info(&log_main, "reading '%s' again", path);
    if (read_config(path, &config) == 0)
        hf_agent_reload(agent, &config);
}

/* Until a signal says stop, or the agent fails. */
static int wait_for_end(struct hf_agent *agent, const sigset_t *signals, const char *path)
{
    const struct timespec look = {.tv_nsec = LOOK_NS};

    for (;;) {
        int received = sigtimedwait(signals, NULL, &look);

        if (received == SIGHUP)
            reload(agent, path);
        else if (received > 0) {
            hf_log_info(&log_main, "%s: stopping; capturing goes on in the kernel",
                        strsignal(received));
            return 0;
        }
        if (hf_agent_failed(agent))
            return 1;
    }
}

static int run(const struct hf_agent_config *config, const char *path)
{
    struct hf_freezer_options freeze = {
        .freeze_dir = config->freeze_dir,
        .thaw_dir = config->thaw_dir,
        .hook_ns = config->hook_ns,
        .freeze_ns = config->freeze_ns,
    };
    struct hf_freezer *freezer = NULL;
    struct hf_agent *agent;
    sigset_t signals;
    int code = 1, error;

    error = hf_freezer_new(&freeze, &freezer);
    if (error)
        hf_log_warn(&log_main, "no application-consistent points: %s", hf_strerror(error));
    block_signals(&signals);
    if (hf_agent_start(config, freezer, &agent) == 0) {
        code = wait_for_end(agent, &signals, path);
        hf_agent_stop(agent);
    }
    hf_freezer_free(freezer);
    return code;
}

int main(int argc, char **argv)
{
    static struct hf_agent_config config;
    struct arguments arguments;
    int code = parse_arguments(argc, argv, &arguments);

    if (code >= 0)
        return code;
    if (read_config(arguments.config, &config))
        return EXIT_USAGE;
    if (arguments.detach)
        return detach(&config);
    return arguments.check ? 0 : run(&config, arguments.config);
}
