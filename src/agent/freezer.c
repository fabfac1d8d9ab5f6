// SPDX-License-Identifier: Apache-2.0
#include "agent/freezer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/freeze-helper.h"
#include "agent/hooks.h"
#include "base/base.h"

#define MARGIN_NS (500 * HF_NS_PER_MS) /* left when freeze returns, for the mark */
#define ANSWER_MARGIN_NS (60 * HF_NS_PER_S)

struct hf_freezer {
    int fd;
    pid_t helper;
    uint64_t answer_ns;   /* longest a whole freeze may take */
    pthread_mutex_t turn; /* held from freeze to thaw */
};

int hf_freezer_new(const struct hf_freezer_options *options, struct hf_freezer **ret_freezer)
{
    struct hf_freezer *freezer = calloc(1, sizeof(*freezer));
    int fds[2];

    if (!freezer)
        return -ENOMEM;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)) {
        free(freezer);
        return -errno;
    }
    freezer->helper = fork();
    if (freezer->helper == 0) {
        close(fds[0]);
        hf_freeze_helper_main(fds[1], options);
    }
    close(fds[1]);
    freezer->fd = fds[0];
    freezer->answer_ns =
        2 * HF_HOOKS_MAX * options->hook_ns + options->freeze_ns + ANSWER_MARGIN_NS;
    pthread_mutex_init(&freezer->turn, NULL);
    if (freezer->helper < 0) {
        hf_freezer_free(freezer);
        return -EAGAIN;
    }
    *ret_freezer = freezer;
    return 0;
}

void hf_freezer_free(struct hf_freezer *freezer)
{
    if (!freezer)
        return;
    close(freezer->fd);
    if (freezer->helper > 0)
        (void)waitpid(freezer->helper, NULL, 0);
    pthread_mutex_destroy(&freezer->turn);
    free(freezer);
}

static int ask(struct hf_freezer *freezer, const struct hf_freeze_request *request,
               struct hf_freeze_reply *ret_reply)
{
    struct pollfd fd = {.fd = freezer->fd, .events = POLLIN};
    int got;

    if (send(freezer->fd, request, sizeof(*request), MSG_NOSIGNAL) != (ssize_t)sizeof(*request))
        return -EPIPE;
    do
        got = poll(&fd, 1, (int)HF_MIN(freezer->answer_ns / HF_NS_PER_MS, (uint64_t)INT32_MAX));
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return -ETIMEDOUT;
    return recv(freezer->fd, ret_reply, sizeof(*ret_reply), 0) == (ssize_t)sizeof(*ret_reply)
               ? 0
               : -EPIPE;
}

/* The process that freezes is gone: nothing is frozen any more. */
static int helper_gone(int error, char *reason, size_t reason_size)
{
    snprintf(reason, reason_size, "the freeze helper %s",
             error == -ETIMEDOUT ? "does not answer" : "is gone; restart the agent");
    return error;
}

static void fill_disks(const struct hf_engine_status *status, struct hf_freeze_request *request)
{
    struct stat disk;

    for (unsigned i = 0; i < status->disk_count; i++)
        if (stat(status->disks[i].path, &disk) == 0 && S_ISBLK(disk.st_mode))
            request->disks[request->disk_count++] = disk.st_rdev;
}

static bool enough_time(uint64_t deadline_ns)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * HF_NS_PER_S + (uint64_t)now.tv_nsec + MARGIN_NS < deadline_ns;
}

static int ask_to_freeze(struct hf_freezer *freezer, const struct hf_engine_status *status,
                         uint64_t *ret_deadline_ns, char *reason, size_t reason_size)
{
    struct hf_freeze_request request = {.verb = HF_FREEZE_FREEZE};
    struct hf_freeze_reply reply;
    int error;

    fill_disks(status, &request);
    error = ask(freezer, &request, &reply);
    if (error)
        return helper_gone(error, reason, reason_size);
    *ret_deadline_ns = reply.deadline_ns;
    snprintf(reason, reason_size, "%s",
             reply.error && !reply.reason[0] ? "freezing failed" : reply.reason);
    return reply.error;
}

int hf_freezer_freeze(struct hf_freezer *freezer, const struct hf_engine_status *status,
                      char *reason, size_t reason_size)
{
    uint64_t deadline_ns;
    int error;

    if (!freezer) {
        snprintf(reason, reason_size, "there is no freeze helper");
        return -ENOSYS;
    }
    if (pthread_mutex_trylock(&freezer->turn)) {
        snprintf(reason, reason_size, "another freeze is under way");
        return -EBUSY;
    }
    error = ask_to_freeze(freezer, status, &deadline_ns, reason, reason_size);
    if (error) {
        pthread_mutex_unlock(&freezer->turn);
        return error;
    }
    if (enough_time(deadline_ns))
        return 0; /* the turn is kept until the thaw */
    (void)hf_freezer_thaw(freezer, reason, reason_size);
    snprintf(reason, reason_size, "freezing took nearly all of freeze.timeout");
    return -ETIMEDOUT;
}

int hf_freezer_thaw(struct hf_freezer *freezer, char *reason, size_t reason_size)
{
    struct hf_freeze_request request = {.verb = HF_FREEZE_THAW};
    struct hf_freeze_reply reply;
    int error = ask(freezer, &request, &reply);

    if (error)
        helper_gone(error, reason, reason_size);
    else if (reply.reason[0])
        snprintf(reason, reason_size, "%s", reply.reason);
    pthread_mutex_unlock(&freezer->turn);
    return error ? error : reply.error;
}
