// SPDX-License-Identifier: Apache-2.0
/*
 * holdfast view serve: one nbdkit per disk, all at the same position. This process holds a view of
 * its own all the while, so that the lease is there before the first nbdkit starts and until the
 * last has ended.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/error.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/store-open.h"
#include "store/view.h"

#define READY_TRIES 200
#define READY_PAUSE_US 25000
#define PLUGIN_FILE "holdfast-nbdkit-plugin.so"

struct server {
    struct hf_machine_disk disk;
    char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
    pid_t pid; /* 0: not running */
};

struct serving {
    const struct hf_cli *cli;
    struct hf_cli_store store;
    struct hf_view *view;
    char plugin[640];
    struct server servers[HF_DISKS_MAX];
    size_t count;
};

static int find_plugin(struct serving *serving)
{
    char self[512];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    if (length > 0) {
        self[length] = '\0';
        slash = strrchr(self, '/');
        if (slash != NULL) {
            *slash = '\0';
            snprintf(serving->plugin, sizeof(serving->plugin), "%s/../nbdkit/" PLUGIN_FILE, self);
            if (access(serving->plugin, R_OK) == 0)
                return 0;
        }
    }
    snprintf(serving->plugin, sizeof(serving->plugin), "%s/" PLUGIN_FILE, HF_PLUGIN_DIR);
    return access(serving->plugin, R_OK) == 0 ? 0 : -ENOENT;
}

static int name_sockets(struct serving *serving)
{
    const char *dir = hf_cli_value(serving->cli, "socket");

    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return hf_cli_fail(serving->cli, -errno, "cannot make %s: %s", dir, strerror(errno));
    for (size_t i = 0; i < serving->count; i++) {
        struct server *server = &serving->servers[i];
        int length;

        if (hf_cli_is_file_name(server->disk.name))
            length = snprintf(server->socket, sizeof(server->socket), "%s/%s.sock", dir,
                              server->disk.name);
        else
            length = snprintf(server->socket, sizeof(server->socket), "%s/disk%u.sock", dir,
                              server->disk.disk);
        if (length >= (int)sizeof(server->socket))
            return hf_cli_fail(serving->cli, -ENAMETOOLONG, "%s is too long for a socket's path",
                               dir);
    }
    return HF_EXIT_OK;
}

static void run_nbdkit(const struct serving *serving, const struct server *server)
{
    const struct hf_cli *cli = serving->cli;
    bool writable = hf_cli_value(cli, "writable") != NULL;
    const char *overlay = hf_cli_value(cli, "overlay");
    char machine[HF_ID_TEXT_SIZE];
    char words[5][700];
    const char *argv[16] = {0};
    size_t argc = 0;

    hf_id_format(&serving->store.machine, machine);
    snprintf(words[0], sizeof(words[0]), "store=%s", cli->arguments[0]);
    snprintf(words[1], sizeof(words[1]), "machine=%s", machine);
    snprintf(words[2], sizeof(words[2]), "point=pos:%" PRIu64, serving->store.point.position);
    snprintf(words[3], sizeof(words[3]), "disk=%u", server->disk.disk);
    snprintf(words[4], sizeof(words[4]), "overlay=%s",
             overlay != NULL ? overlay : hf_cli_value(cli, "socket"));
    argv[argc++] = "nbdkit";
    argv[argc++] = "-f";
    if (!writable)
        argv[argc++] = "-r";
    argv[argc++] = "-U";
    argv[argc++] = server->socket;
    argv[argc++] = serving->plugin;
    for (size_t i = 0; i < 4; i++)
        argv[argc++] = words[i];
    if (writable) {
        argv[argc++] = "writable=true";
        argv[argc++] = words[4];
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execvp("nbdkit", (char *const *)argv);
    fprintf(stderr, "holdfast: cannot run nbdkit: %s; install the package nbdkit\n",
            strerror(errno));
    _exit(127);
}

static int start_servers(struct serving *serving)
{
    for (size_t i = 0; i < serving->count; i++) {
        struct server *server = &serving->servers[i];

        unlink(server->socket);
        server->pid = fork();
        if (server->pid < 0) {
            server->pid = 0;
            return hf_cli_fail(serving->cli, -errno, "cannot start a server: %s", strerror(errno));
        }
        if (server->pid == 0) {
            sigset_t none;

            sigemptyset(&none);
            sigprocmask(SIG_SETMASK, &none, NULL);
            run_nbdkit(serving, server);
        }
    }
    return HF_EXIT_OK;
}

static bool answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected;

    memcpy(address.sun_path, path, strlen(path) + 1);
    connected = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0)
        close(fd);
    return connected;
}

static int wait_ready(struct serving *serving, struct server *server)
{
    for (int i = 0; i < READY_TRIES; i++) {
        if (answers(server->socket))
            return HF_EXIT_OK;
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            server->pid = 0;
            return hf_cli_fail(serving->cli, -EIO,
                               "the server of disk %s ended at once; its message is above",
                               server->disk.name);
        }
        usleep(READY_PAUSE_US);
    }
    return hf_cli_fail(serving->cli, -ETIMEDOUT, "the server of disk %s does not answer on %s",
                       server->disk.name, server->socket);
}

static void announce_json(const struct serving *serving)
{
    json_t *disks = json_array();
    json_t *object;

    for (size_t i = 0; i < serving->count; i++) {
        const struct server *server = &serving->servers[i];

        json_array_append_new(disks, json_pack("{s:i, s:s, s:I, s:s}", "disk",
                                               (int)server->disk.disk, "name", server->disk.name,
                                               "size_bytes", (json_int_t)server->disk.size_bytes,
                                               "socket", server->socket));
    }
    object = json_pack("{s:s, s:I, s:o}", "machine", serving->store.machine_name, "position",
                       (json_int_t)serving->store.point.position, "disks", disks);
    hf_json_time(object, "time", serving->store.point.wall_ns);
    hf_json_print(object);
    json_decref(object);
}

static void announce(const struct serving *serving)
{
    char time[HF_OUTPUT_TEXT_MAX];
    char size[HF_OUTPUT_TEXT_MAX];

    if (serving->cli->json) {
        announce_json(serving);
    } else {
        printf("%s as it was at %s\n", serving->store.machine_name,
               hf_text_time(serving->store.point.wall_ns, time));
        for (size_t i = 0; i < serving->count; i++)
            printf("  %-12s %10s  nbd+unix:///?socket=%s\n", serving->servers[i].disk.name,
                   hf_text_bytes(serving->servers[i].disk.size_bytes, size),
                   serving->servers[i].socket);
        printf("Serving until interrupted.\n");
    }
    fflush(stdout);
}

/* Returns when a signal asks to end, or a server died (then it says so). */
static int serve_until_told(struct serving *serving, const sigset_t *signals)
{
    for (;;) {
        int received = 0;

        if (sigwait(signals, &received) != 0)
            return HF_EXIT_FAILED;
        if (received != SIGCHLD)
            return HF_EXIT_OK;
        for (size_t i = 0; i < serving->count; i++) {
            struct server *server = &serving->servers[i];

            if (server->pid != 0 && waitpid(server->pid, NULL, WNOHANG) == server->pid) {
                server->pid = 0;
                return hf_cli_fail(serving->cli, -EIO, "the server of disk %s ended by itself",
                                   server->disk.name);
            }
        }
    }
}

static void stop_servers(struct serving *serving)
{
    for (size_t i = 0; i < serving->count; i++)
        if (serving->servers[i].pid != 0)
            kill(serving->servers[i].pid, SIGTERM);
    for (size_t i = 0; i < serving->count; i++) {
        if (serving->servers[i].pid != 0)
            waitpid(serving->servers[i].pid, NULL, 0);
        unlink(serving->servers[i].socket);
    }
}

static int open_view(struct serving *serving)
{
    struct hf_view_options options = {.position = serving->store.point.position};
    struct hf_machine_disk disks[HF_DISKS_MAX];
    int error =
        hf_view_open(serving->store.store, &serving->store.machine, &options, &serving->view);

    if (error < 0)
        return hf_cli_fail(serving->cli, error, "cannot open that point: %s", hf_strerror(error));
    serving->count = hf_view_disks(serving->view, disks);
    for (size_t i = 0; i < serving->count; i++)
        serving->servers[i].disk = disks[i];
    return HF_EXIT_OK;
}

static int prepare(struct serving *serving)
{
    const struct hf_cli *cli = serving->cli;
    int code = hf_cli_store_open(cli, cli->arguments[0], &serving->store);

    if (code == HF_EXIT_OK)
        code = hf_cli_store_machine(cli, hf_cli_value(cli, "machine"), &serving->store);
    if (code == HF_EXIT_OK)
        code = hf_cli_store_point(cli, hf_cli_value(cli, "point"), &serving->store);
    if (code == HF_EXIT_OK && find_plugin(serving) < 0)
        code =
            hf_cli_fail(cli, -ENOENT, "the nbdkit plugin is not installed (%s)", serving->plugin);
    if (code == HF_EXIT_OK)
        code = open_view(serving);
    if (code == HF_EXIT_OK)
        code = name_sockets(serving);
    return code;
}

int hf_cmd_view_serve(const struct hf_cli *cli)
{
    struct serving serving = {.cli = cli};
    sigset_t signals;
    int code;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    code = prepare(&serving);
    if (code == HF_EXIT_OK)
        code = start_servers(&serving);
    for (size_t i = 0; code == HF_EXIT_OK && i < serving.count; i++)
        code = wait_ready(&serving, &serving.servers[i]);
    if (code == HF_EXIT_OK) {
        announce(&serving);
        code = serve_until_told(&serving, &signals);
    }
    stop_servers(&serving);
    hf_view_close(serving.view);
    hf_cli_store_done(&serving.store);
    return code;
}
