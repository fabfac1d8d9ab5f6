// SPDX-License-Identifier: Apache-2.0
/* Addresses, connecting with a deadline, listening. */
#include "net/net-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/error.h"

#define BACKLOG 128
#define KEEPALIVE_IDLE_S 10
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT 3
#define USER_TIMEOUT_MS 20000 /* sent and not acknowledged by the peer's kernel: gone */
#define BACKOFF_FIRST_MS 250
#define PORT_TEXT_MAX 16

struct hf_listener {
    int fd;
    int stop_fd; /* readable once stopped */
};

int64_t hf_net_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t hf_net_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? -1 : hf_net_now_ms() + timeout_ms;
}

int hf_net_left_ms(int64_t deadline_ms)
{
    int64_t left;

    if (deadline_ms < 0)
        return -1;
    left = deadline_ms - hf_net_now_ms();
    return (int)HF_MAX(left, 0);
}

void hf_net_say(char *ret_error, size_t error_size, const char *format, ...)
{
    va_list arguments;

    if (!ret_error || error_size == 0)
        return;
    va_start(arguments, format);
    vsnprintf(ret_error, error_size, format, arguments);
    va_end(arguments);
}

/* "host:port", "[v6]:port", ":port" (any address). */
static int split_address(const char *address, char *host, char *port)
{
    const char *colon = strrchr(address, ':');
    size_t host_size, port_size;

    if (!colon || strlen(address) >= HF_NET_ADDRESS_MAX)
        return -EINVAL;
    host_size = (size_t)(colon - address);
    if (host_size >= 2 && address[0] == '[' && colon[-1] == ']') {
        address++;
        host_size -= 2;
    } else if (memchr(address, ':', host_size)) {
        return -EINVAL; /* IPv6 without brackets: where does the port begin? */
    }
    port_size = strlen(colon + 1);
    if (port_size == 0 || port_size >= PORT_TEXT_MAX)
        return -EINVAL;
    memcpy(host, address, host_size);
    host[host_size] = '\0';
    memcpy(port, colon + 1, port_size + 1);
    return 0;
}

static int resolve(const char *address, int flags, struct addrinfo **ret_list)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    char host[HF_NET_ADDRESS_MAX], port[PORT_TEXT_MAX];
    int error = split_address(address, host, port);

    if (error)
        return error;
    switch (getaddrinfo(host[0] ? host : NULL, port, &hints, ret_list)) {
    case 0:
        return 0;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_SERVICE:
        return -EINVAL;
    default:
        return -EHOSTUNREACH;
    }
}

static void set_option(int fd, int level, int option, int value)
{
    /* Each only makes things better: a kernel without it is no reason to fail. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

/* Buffer sizes are left to the kernel, which grows them with the path (up to tcp_rmem, tcp_wmem); a
 * size set here would be cut to rmem_max, far below that, and switch the growing off. */
void hf_socket_tune(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
}

static int wait_connected(int fd, int64_t deadline_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    socklen_t size = sizeof(int);
    int ready, error = 0;

    do {
        ready = poll(&poll_fd, 1, hf_net_left_ms(deadline_ms));
    } while (ready < 0 && errno == EINTR);
    if (ready == 0)
        return -ETIMEDOUT;
    if (ready < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return -errno;
    return -error;
}

static int dial_one(const struct addrinfo *to, int64_t deadline_ms, int *ret_fd)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = 0;

    if (fd < 0)
        return -errno;
    if (connect(fd, to->ai_addr, to->ai_addrlen) < 0)
        error = errno == EINPROGRESS ? wait_connected(fd, deadline_ms) : -errno;
    if (error) {
        close(fd);
        return error;
    }
    hf_socket_tune(fd);
    *ret_fd = fd;
    return 0;
}

int hf_socket_dial(const char *address, int64_t deadline_ms, int *ret_fd)
{
    struct addrinfo *list = NULL;
    int error = resolve(address, 0, &list);

    if (error)
        return error;
    error = -EHOSTUNREACH;
    for (struct addrinfo *at = list; at && error && error != -ETIMEDOUT; at = at->ai_next)
        error = dial_one(at, deadline_ms, ret_fd);
    freeaddrinfo(list);
    return error;
}

/* ---- Listening ---- */

static int listen_on(const struct addrinfo *at, int *ret_fd)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error;

    if (fd < 0)
        return -errno;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        error = -errno;
        close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

int hf_listener_new(const char *address, struct hf_listener **ret_listener)
{
    struct hf_listener *listener = calloc(1, sizeof(*listener));
    struct addrinfo *list = NULL;
    int error;

    if (!listener)
        return -ENOMEM;
    listener->fd = -1;
    listener->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    error = listener->stop_fd < 0 ? -errno : resolve(address, AI_PASSIVE, &list);
    if (error)
        goto out;
    error = -EADDRNOTAVAIL;
    for (struct addrinfo *at = list; at && error; at = at->ai_next)
        error = listen_on(at, &listener->fd);
    if (error)
        goto out;
    *ret_listener = listener;
    listener = NULL;
out:
    if (list)
        freeaddrinfo(list);
    hf_listener_free(listener);
    return error;
}

void hf_listener_free(struct hf_listener *listener)
{
    if (!listener)
        return;
    if (listener->fd >= 0)
        close(listener->fd);
    if (listener->stop_fd >= 0)
        close(listener->stop_fd);
    free(listener);
}

int hf_listener_port(struct hf_listener *listener)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t size = sizeof(address);

    memset(&address, 0, sizeof(address));
    if (getsockname(listener->fd, &address.any, &size) < 0)
        return -errno;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

void hf_listener_stop(struct hf_listener *listener)
{
    uint64_t one = 1;
    ssize_t written = write(listener->stop_fd, &one, sizeof(one));

    (void)written; /* can only fail when it has been stopped 2^64 times */
}

/* What a connection that went away again leaves behind (accept(2)): wait for the next. */
static bool is_passing(int error)
{
    return error == EAGAIN || error == EINTR || error == ECONNABORTED || error == EPROTO ||
           error == ENETDOWN || error == EHOSTUNREACH || error == ENETUNREACH;
}

int hf_listener_accept(struct hf_listener *listener, int timeout_ms, int *ret_fd)
{
    int64_t deadline_ms = hf_net_deadline(timeout_ms);
    struct pollfd fds[] = {{.fd = listener->stop_fd, .events = POLLIN},
                           {.fd = listener->fd, .events = POLLIN}};

    for (;;) {
        int ready = poll(fds, HF_ARRAY_COUNT(fds), hf_net_left_ms(deadline_ms)), fd;

        if (ready < 0 && errno != EINTR)
            return -errno;
        if (ready > 0 && fds[0].revents)
            return -ECANCELED;
        if (ready == 0)
            return -ETIMEDOUT;
        fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            hf_socket_tune(fd);
            *ret_fd = fd;
            return 0;
        }
        if (!is_passing(errno))
            return -errno;
    }
}

int hf_backoff_ms(unsigned attempt, struct hf_random *random)
{
    uint32_t dice = 0, limit = BACKOFF_FIRST_MS;

    while (attempt-- > 0 && limit < HF_BACKOFF_MS_MAX)
        limit *= 2;
    limit = HF_MIN(limit, HF_BACKOFF_MS_MAX);
    /* Between half and all of it, so that many that failed together do not come back together. */
    if (random->ops->fill(random, &dice, sizeof(dice)) < 0)
        return (int)limit;
    return (int)(limit / 2 + dice % (limit - limit / 2 + 1));
}
