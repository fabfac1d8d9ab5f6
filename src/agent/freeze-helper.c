// SPDX-License-Identifier: Apache-2.0
/*
 * Between the first FIFREEZE and the last FITHAW this file opens nothing, allocates nothing and
 * forks nothing; its memory is locked. Three things thaw: the agent's THAW, the deadline, the
 * agent's end (its socket closes, also when it is killed). Should this process itself be killed or
 * stopped, the watchdog, forked with the same descriptors before the freeze, thaws in its place.
 *
 * `frozen` is shared with the watchdog: only what was frozen here is thawed, never what somebody
 * else had frozen before.
 */
#include "agent/freeze-helper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/freeze-mounts.h"
#include "agent/hooks.h"
#include "base/base.h"

#define WATCHDOG_GRACE_NS (200 * HF_NS_PER_MS) /* after the deadline, which is the helper's */

struct helper {
    int fd;
    char freeze_dir[HF_AGENT_PATH_MAX];
    char thaw_dir[HF_AGENT_PATH_MAX];
    uint64_t hook_ns;
    uint64_t freeze_ns;
    struct hf_freeze_mount mounts[HF_FREEZE_MOUNTS_MAX];
    int mount_count;
    volatile uint8_t *frozen; /* shared: of each mount, set before FIFREEZE is tried */
    pid_t watchdog;
    int watchdog_fd; /* closing it, or our end, makes the watchdog thaw and leave */
    uint64_t deadline_ns;
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * HF_NS_PER_S + (uint64_t)now.tv_nsec;
}

static int ms_until(uint64_t deadline_ns)
{
    uint64_t now = now_ns();

    return deadline_ns <= now ? 0 : (int)((deadline_ns - now + HF_NS_PER_MS - 1) / HF_NS_PER_MS);
}

/* Waits for the descriptor, or its end, or the deadline; false: the deadline. */
static bool wait_fd(int fd, uint64_t deadline_ns)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int got;

    do
        got = poll(&poll_fd, 1, ms_until(deadline_ns));
    while (got < 0 && errno == EINTR);
    return got > 0;
}

/* ---- thawing ---- */

/* Root first, as it was frozen last. */
static void thaw_all(struct helper *helper)
{
    for (int i = helper->mount_count - 1; i >= 0; i--)
        if (helper->frozen[i] && (ioctl(helper->mounts[i].fd, FITHAW, 0) == 0 || errno == EINVAL))
            helper->frozen[i] = 0;
}

static void watchdog_main(struct helper *helper, int fd)
{
    char byte;

    prctl(PR_SET_NAME, "hf-thaw");
    /* Until the helper has thawed or is no more: a freeze that hangs beyond the deadline may
     * succeed later, and the helper be stopped then. */
    for (uint64_t at = helper->deadline_ns + WATCHDOG_GRACE_NS; !wait_fd(fd, at);
         at = now_ns() + WATCHDOG_GRACE_NS)
        thaw_all(helper);
    (void)!read(fd, &byte, 1);
    thaw_all(helper);
    _exit(0);
}

static int watchdog_start(struct helper *helper)
{
    int pipe_fds[2];

    if (pipe2(pipe_fds, O_CLOEXEC))
        return -errno;
    helper->watchdog = fork();
    if (helper->watchdog < 0) {
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        return -errno;
    }
    if (helper->watchdog == 0) {
        close(pipe_fds[1]);
        close(helper->fd);
        (void)mlockall(MCL_CURRENT | MCL_FUTURE);
        watchdog_main(helper, pipe_fds[0]);
    }
    close(pipe_fds[0]);
    helper->watchdog_fd = pipe_fds[1];
    return 0;
}

static void watchdog_stop(struct helper *helper)
{
    if (helper->watchdog <= 0)
        return;
    close(helper->watchdog_fd);
    (void)waitpid(helper->watchdog, NULL, 0);
    helper->watchdog = 0;
}

/* ---- freezing ---- */

static void close_mounts(struct helper *helper)
{
    for (int i = 0; i < helper->mount_count; i++)
        if (helper->mounts[i].fd >= 0)
            close(helper->mounts[i].fd);
    helper->mount_count = 0;
}

static int open_mounts(struct helper *helper, const struct hf_freeze_request *request,
                       struct hf_freeze_reply *reply)
{
    int count =
        hf_freeze_mounts(request->disks, request->disk_count, helper->mounts, HF_FREEZE_MOUNTS_MAX);

    if (count < 0)
        return count;
    helper->mount_count = count;
    memset((void *)helper->frozen, 0, HF_FREEZE_MOUNTS_MAX);
    for (int i = 0; i < count; i++) {
        struct hf_freeze_mount *mount = &helper->mounts[i];

        mount->fd = open(mount->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (mount->fd < 0) {
            snprintf(reply->reason, sizeof(reply->reason), "'%.200s' cannot be opened",
                     mount->path);
            return -errno;
        }
        (void)syncfs(mount->fd); /* so that the freeze itself is short */
    }
    return 0;
}

static int freeze_all(struct helper *helper, struct hf_freeze_reply *reply)
{
    for (int i = 0; i < helper->mount_count; i++) {
        helper->frozen[i] = 1;
        if (ioctl(helper->mounts[i].fd, FIFREEZE, 0)) {
            int error = -errno;

            helper->frozen[i] = 0;
            if (error == -EOPNOTSUPP)
                continue; /* a file system that cannot: as after a power cut, it alone */
            snprintf(reply->reason, sizeof(reply->reason), "'%.200s' cannot be frozen%s",
                     helper->mounts[i].path,
                     error == -EBUSY ? ": somebody else has frozen it" : "");
            return error;
        }
        /* The watchdog may have met it half way, found nothing frozen and let go of it. */
        helper->frozen[i] = 1;
        if (now_ns() >= helper->deadline_ns) {
            snprintf(reply->reason, sizeof(reply->reason),
                     "freezing took longer than freeze.timeout");
            return -ETIMEDOUT;
        }
    }
    return 0;
}

static void run_thaw_hooks(struct helper *helper, struct hf_freeze_reply *reply)
{
    char reason[sizeof(reply->reason)] = "";

    if (hf_hooks_run(helper->thaw_dir, "thaw", helper->hook_ns, reason, sizeof(reason)) &&
        reply->reason[0] == '\0')
        memcpy(reply->reason, reason, sizeof(reason));
}

static void back_to_normal(struct helper *helper, struct hf_freeze_reply *reply)
{
    thaw_all(helper);
    watchdog_stop(helper);
    close_mounts(helper);
    run_thaw_hooks(helper, reply);
}

static int freeze(struct helper *helper, const struct hf_freeze_request *request,
                  struct hf_freeze_reply *reply)
{
    int error = hf_hooks_run(helper->freeze_dir, "freeze", helper->hook_ns, reply->reason,
                             sizeof(reply->reason));

    if (!error)
        error = open_mounts(helper, request, reply);
    helper->deadline_ns = now_ns() + helper->freeze_ns;
    if (!error)
        error = watchdog_start(helper);
    if (!error)
        error = freeze_all(helper, reply);
    reply->deadline_ns = helper->deadline_ns;
    return error;
}

/* ---- serving ---- */

/* Frozen now: until THAW, the deadline, or the agent's end. */
static void stay_frozen(struct helper *helper)
{
    struct hf_freeze_reply reply = {0};
    struct hf_freeze_request request;
    bool asked = wait_fd(helper->fd, helper->deadline_ns);

    if (!asked || now_ns() >= helper->deadline_ns) {
        snprintf(reply.reason, sizeof(reply.reason),
                 "the deadline passed while file systems were frozen");
        reply.error = -ETIMEDOUT;
    }
    back_to_normal(helper, &reply);
    /* The THAW of someone who was too late is answered too. */
    if (recv(helper->fd, &request, sizeof(request), 0) <= 0)
        _exit(0);
    (void)send(helper->fd, &reply, sizeof(reply), MSG_NOSIGNAL);
}

static void serve(struct helper *helper, const struct hf_freeze_request *request)
{
    struct hf_freeze_reply reply = {0};

    reply.error = request->disk_count <= HF_DISKS_MAX && request->verb == HF_FREEZE_FREEZE
                      ? freeze(helper, request, &reply)
                      : -EINVAL;
    if (reply.error)
        back_to_normal(helper, &reply);
    if (send(helper->fd, &reply, sizeof(reply), MSG_NOSIGNAL) < 0 && !reply.error)
        back_to_normal(helper, &reply);
    else if (!reply.error)
        stay_frozen(helper);
}

static void lock_memory(void)
{
    /* Without the right to lock it (a test) the freeze is still bounded by the deadline. */
    (void)mlockall(MCL_CURRENT | MCL_FUTURE);
}

void hf_freeze_helper_main(int fd, const struct hf_freezer_options *options)
{
    static struct helper helper;
    static struct hf_freeze_request request;
    sigset_t all;

    sigfillset(&all); /* ends when the agent does, never in the middle of a freeze */
    sigprocmask(SIG_SETMASK, &all, NULL);
    prctl(PR_SET_NAME, "hf-freeze");
    helper.fd = fd;
    snprintf(helper.freeze_dir, sizeof(helper.freeze_dir), "%s", options->freeze_dir);
    snprintf(helper.thaw_dir, sizeof(helper.thaw_dir), "%s", options->thaw_dir);
    helper.hook_ns = options->hook_ns;
    helper.freeze_ns = HF_MIN(options->freeze_ns, HF_FREEZE_NS_MAX);
    helper.frozen =
        mmap(NULL, HF_FREEZE_MOUNTS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (helper.frozen == MAP_FAILED || chdir("/"))
        _exit(1);
    lock_memory();
    while (recv(fd, &request, sizeof(request), 0) == (ssize_t)sizeof(request))
        serve(&helper, &request);
    _exit(0);
}
