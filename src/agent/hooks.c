// SPDX-License-Identifier: Apache-2.0
#include "agent/hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

#define HOOK_PATH_MAX 512
#define EXEC_FAILED 127

static bool is_safe(const struct stat *status)
{
    return (status->st_uid == 0 || status->st_uid == geteuid()) &&
           (status->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* ---- one hook ---- */

static void run_child(const char *path, const char *argument)
{
    char *const arguments[] = {(char *)path, (char *)argument, NULL};
    char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", NULL};
    sigset_t none;
    int null = open("/dev/null", O_RDONLY);

    setpgid(0, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0)
        _exit(EXEC_FAILED);
    execve(path, arguments, environment);
    _exit(EXEC_FAILED);
}

/* 1: it has ended, status filled; 0: it has not within timeout_ns. */
static int wait_child(pid_t pid, int pidfd, uint64_t timeout_ns, int *ret_status)
{
    struct pollfd fd = {.fd = pidfd, .events = POLLIN};
    int got;

    do
        got = poll(&fd, 1, (int)(timeout_ns / HF_NS_PER_MS));
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return 0;
    return waitpid(pid, ret_status, 0) == pid;
}

static int kill_hook(pid_t pid, int pidfd, const char *path, char *reason, size_t reason_size)
{
    int status;

    kill(-pid, SIGKILL);
    if (wait_child(pid, pidfd, HF_HOOK_KILL_NS, &status))
        snprintf(reason, reason_size, "'%s' took too long and was killed", path);
    else
        snprintf(reason, reason_size, "'%s' took too long and cannot be killed", path);
    return -ETIMEDOUT;
}

static int run_hook(const char *path, const char *argument, uint64_t timeout_ns, char *reason,
                    size_t reason_size)
{
    pid_t pid = fork();
    int pidfd, status = 0, error = 0;

    if (pid < 0)
        return -errno;
    if (pid == 0)
        run_child(path, argument);
    setpgid(pid, pid); /* whoever comes first */
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return -errno;
    if (!wait_child(pid, pidfd, timeout_ns, &status)) {
        error = kill_hook(pid, pidfd, path, reason, reason_size);
    } else if (status != 0) {
        snprintf(reason, reason_size, "'%s' failed (%s %d)", path,
                 WIFSIGNALED(status) ? "signal" : "exit status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        error = -ECHILD;
    }
    close(pidfd);
    return error;
}

/* ---- all of them ---- */

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return __builtin_strcmp((*a)->d_name, (*b)->d_name);
}

static int check_and_run(const char *directory, const char *name, const char *argument,
                         uint64_t each_ns, char *reason, size_t reason_size)
{
    char path[HOOK_PATH_MAX];
    struct stat status;

    if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    if (lstat(path, &status))
        return -errno;
    if (!S_ISREG(status.st_mode) || (status.st_mode & S_IXUSR) == 0)
        return 0; /* a README, a disabled hook */
    if (!is_safe(&status)) {
        snprintf(reason, reason_size, "'%s' is not root's or can be written by others", path);
        return -EPERM;
    }
    return run_hook(path, argument, each_ns, reason, reason_size);
}

int hf_hooks_run(const char *directory, const char *argument, uint64_t each_ns, char *reason,
                 size_t reason_size)
{
    struct dirent **names = NULL;
    struct stat status;
    int count, error = 0;

    if (stat(directory, &status))
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISDIR(status.st_mode) || !is_safe(&status)) {
        snprintf(reason, reason_size, "'%s' is not root's directory or can be written by others",
                 directory);
        return -EPERM;
    }
    count = scandir(directory, &names, is_visible, by_bytes);
    if (count < 0)
        return -errno;
    if (count > HF_HOOKS_MAX) {
        snprintf(reason, reason_size, "'%s' holds more than %d hooks", directory, HF_HOOKS_MAX);
        error = -E2BIG;
    }
    for (int i = 0; i < count; i++) {
        if (!error)
            error =
                check_and_run(directory, names[i]->d_name, argument, each_ns, reason, reason_size);
        free(names[i]);
    }
    free(names);
    return error;
}
