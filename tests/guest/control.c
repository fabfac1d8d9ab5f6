// SPDX-License-Identifier: Apache-2.0
/*
 * The guest's end of the control channel: runs shell scripts that arrive over a virtio-serial port.
 *
 * Both directions carry frames: a 16-byte little-endian header (magic, type, job id, payload
 * length), then the payload. host → guest  HELLO (nonce), RUN (a script for /bin/bash), STDIN
 * (data; empty closes), KILL (SIGKILL to the job's group) guest → host  HELLO (the nonce back),
 * STDOUT, STDERR (data), EXIT (u32: status, 128 + signal when killed) A client that goes away hangs
 * up the port: a half-received frame is dropped and jobs go on; a client that arrives says HELLO
 * first and ignores everything up to its own nonce. Output of a job nobody listens to waits in its
 * pipe, so a script meant to outlive its client sends its output to a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT_PATH "/dev/vport0p1"
#define FRAME_MAGIC 0x31434648u /* "HFC1" */
#define FRAME_PAYLOAD_MAX (64 * 1024)
#define JOBS_MAX 16
#define IDLE_POLL_MS 50
#define CHILD_POLL_MS 20

enum frame_type {
    FRAME_HELLO = 1,
    FRAME_RUN,
    FRAME_STDIN,
    FRAME_KILL,
    FRAME_STDOUT,
    FRAME_STDERR,
    FRAME_EXIT
};

struct frame_header {
    uint32_t magic;
    uint32_t type;
    uint32_t id;
    uint32_t length;
};

struct job {
    uint32_t id;
    pid_t pid; /* 0: slot free; stays set until the exit status has been sent */
    int in, out, err;
};

struct control {
    int port;
    size_t have; /* bytes of header and payload received so far */
    struct frame_header header;
    unsigned char payload[FRAME_PAYLOAD_MAX + 1]; /* one more for a script's terminating zero */
    struct job jobs[JOBS_MAX];
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int write_all(int fd, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t count = write(fd, at, size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        at += count;
        size -= (size_t)count;
    }
    return 0;
}

static void send_frame(struct control *control, enum frame_type type, uint32_t id, const void *data,
                       size_t size)
{
    struct frame_header header = {
        .magic = FRAME_MAGIC, .type = type, .id = id, .length = (uint32_t)size};

    if (write_all(control->port, &header, sizeof(header)) == 0)
        (void)write_all(control->port, data, size);
}

static struct job *find_job(struct control *control, uint32_t id)
{
    for (int i = 0; i < JOBS_MAX; i++)
        if (control->jobs[i].pid != 0 && control->jobs[i].id == id)
            return &control->jobs[i];
    return NULL;
}

static struct job *free_job(struct control *control)
{
    for (int i = 0; i < JOBS_MAX; i++)
        if (control->jobs[i].pid == 0)
            return &control->jobs[i];
    return NULL;
}

static void send_exit(struct control *control, uint32_t id, uint32_t status)
{
    send_frame(control, FRAME_EXIT, id, &status, sizeof(status));
}

static _Noreturn void exec_script(const char *script, int in, int out, int err)
{
    setsid();
    signal(SIGPIPE, SIG_DFL);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execl("/bin/bash", "bash", "-lc", script, (char *)NULL);
    _exit(127);
}

static void start_job(struct control *control, uint32_t id, const char *script)
{
    struct job *job = free_job(control);
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
    pid_t pid = -1;

    if (job != NULL && pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 &&
        pipe2(err, O_CLOEXEC) == 0)
        pid = fork();
    if (pid == 0)
        exec_script(script, in[0], out[1], err[1]);
    close_fd(&in[0]);
    close_fd(&out[1]);
    close_fd(&err[1]);
    if (pid < 0) {
        close_fd(&in[1]);
        close_fd(&out[0]);
        close_fd(&err[0]);
        send_exit(control, id, 126);
        return;
    }
    *job = (struct job){.id = id, .pid = pid, .in = in[1], .out = out[0], .err = err[0]};
}

static void handle_frame(struct control *control)
{
    uint32_t id = control->header.id, length = control->header.length;
    struct job *job = find_job(control, id);

    control->payload[length] = 0;
    if (control->header.type == FRAME_HELLO)
        send_frame(control, FRAME_HELLO, id, control->payload, length);
    else if (control->header.type == FRAME_RUN && job == NULL)
        start_job(control, id, (const char *)control->payload);
    else if (control->header.type == FRAME_STDIN && job != NULL &&
             (length == 0 || write_all(job->in, control->payload, length) < 0))
        close_fd(&job->in);
    else if (control->header.type == FRAME_KILL && job != NULL)
        kill(-job->pid, SIGKILL);
}

/* Returns 0 when a read made progress, -1 when no client is connected. */
static int read_port(struct control *control)
{
    size_t head = sizeof(control->header);
    unsigned char *to = control->have < head ? (unsigned char *)&control->header + control->have
                                             : control->payload + control->have - head;
    size_t want =
        control->have < head ? head - control->have : head + control->header.length - control->have;
    ssize_t count = read(control->port, to, want);

    if (count <= 0) {
        control->have = 0;
        return count < 0 && (errno == EINTR || errno == EAGAIN) ? 0 : -1;
    }
    control->have += (size_t)count;
    if (control->have == head &&
        (control->header.magic != FRAME_MAGIC || control->header.length > FRAME_PAYLOAD_MAX)) {
        memmove(&control->header, (char *)&control->header + 1,
                head - 1); /* look for the next frame byte by byte */
        control->have = head - 1;
    } else if (control->have >= head && control->have == head + control->header.length) {
        handle_frame(control);
        control->have = 0;
    }
    return 0;
}

static void pump_output(struct control *control, struct job *job, int *fd, enum frame_type type)
{
    char data[16 * 1024];
    ssize_t count = read(*fd, data, sizeof(data));

    if (count > 0)
        send_frame(control, type, job->id, data, (size_t)count);
    else if (count == 0 || errno != EINTR)
        close_fd(fd);
}

/* A job is over when its shell has ended: descendants that keep the pipes open do not hold it up.
 */
static void reap_job(struct control *control, struct job *job)
{
    int status;

    if (waitpid(job->pid, &status, WNOHANG) != job->pid)
        return;
    for (int i = 0; i < 2; i++) {
        int *fd = i == 0 ? &job->out : &job->err;
        struct pollfd poller = {.fd = *fd, .events = POLLIN};
        while (*fd >= 0 && poll(&poller, 1, 0) > 0)
            pump_output(control, job, fd, i == 0 ? FRAME_STDOUT : FRAME_STDERR);
        close_fd(fd);
    }
    close_fd(&job->in);
    send_exit(control, job->id,
              WIFSIGNALED(status) ? 128u + (uint32_t)WTERMSIG(status)
                                  : (uint32_t)WEXITSTATUS(status));
    job->pid = 0;
}

static void serve_once(struct control *control)
{
    struct pollfd pollers[1 + 2 * JOBS_MAX];
    bool running = false;

    pollers[0] = (struct pollfd){.fd = control->port, .events = POLLIN};
    for (int i = 0; i < JOBS_MAX; i++) {
        struct job *job = &control->jobs[i];
        pollers[1 + 2 * i] = (struct pollfd){.fd = job->pid != 0 ? job->out : -1, .events = POLLIN};
        pollers[2 + 2 * i] = (struct pollfd){.fd = job->pid != 0 ? job->err : -1, .events = POLLIN};
        running |= job->pid != 0;
    }
    (void)poll(pollers, 1 + 2 * JOBS_MAX, running ? CHILD_POLL_MS : -1);
    if (pollers[0].revents != 0 && (read_port(control) < 0))
        usleep(IDLE_POLL_MS * 1000);
    for (int i = 0; i < JOBS_MAX; i++) {
        struct job *job = &control->jobs[i];
        if (pollers[1 + 2 * i].revents != 0)
            pump_output(control, job, &job->out, FRAME_STDOUT);
        if (pollers[2 + 2 * i].revents != 0)
            pump_output(control, job, &job->err, FRAME_STDERR);
        if (job->pid != 0)
            reap_job(control, job);
    }
}

int main(void)
{
    static struct control control;

    signal(SIGPIPE, SIG_IGN);
    control.port = open(PORT_PATH, O_RDWR | O_CLOEXEC);
    if (control.port < 0) {
        sleep(1); /* init starts this program again */
        return EXIT_FAILURE;
    }
    for (;;)
        serve_once(&control);
}
