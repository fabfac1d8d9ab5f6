// SPDX-License-Identifier: Apache-2.0
/*
 * A bad network between an agent and a target: a TCP proxy that delays, cuts, stalls and corrupts
 * on command (fault 17). The kernel of a test machine need not know how; the commands come as lines
 * on standard input:
 *
 *     delay MS   every byte takes this long in each direction
 *     cut        every connection is reset, in the middle of whatever travels
 *     stall      nothing is read or sent any more, connections stay open (half-open); new ones get
 * no answer refuse     new connections are closed at once flip       one bit of the next bytes
 * towards the target is turned go         as at first: no delay, no stall count      prints "up
 * BYTES down BYTES flips N cuts N" since the beginning
 *
 *     e2e-proxy LISTEN-PORT TARGET-PORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAIRS_MAX 64
#define CHUNK_BYTES 65536
#define QUEUE_BYTES_MAX (8u << 20)
#define TICK_MS 5
#define LINE_MAX_BYTES 256

struct chunk {
    struct chunk *next;
    uint64_t due_ms;
    size_t size;
    size_t sent;
    uint8_t bytes[CHUNK_BYTES];
};

struct direction {
    struct chunk *first;
    struct chunk *last;
    size_t queued;
    bool ended; /* the sender has finished */
    bool shut;
};

/* Side 0 is the agent, side 1 the target; direction[i] carries what side i sent. */
struct pair {
    bool used;
    int fds[2];
    struct direction directions[2];
};

static struct pair pairs[PAIRS_MAX];
static int listener;
static uint16_t target_port;
static uint64_t delay_ms;
static bool stalled;
static bool refusing;
static bool flip_next;
static uint64_t bytes_moved[2];
static unsigned flips;
static unsigned cuts;

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void queue_clear(struct direction *direction)
{
    while (direction->first != NULL) {
        struct chunk *chunk = direction->first;

        direction->first = chunk->next;
        free(chunk);
    }
}

static void pair_end(struct pair *pair, bool reset)
{
    struct linger linger = {.l_onoff = 1};

    for (int i = 0; i < 2; i++) {
        if (reset)
            setsockopt(pair->fds[i], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        close(pair->fds[i]);
        queue_clear(&pair->directions[i]);
    }
    memset(pair, 0, sizeof(*pair));
}

static int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(target_port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void accept_one(void)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int one = 1;
    int other;

    if (fd < 0)
        return;
    other = refusing ? -1 : dial();
    for (size_t i = 0; other >= 0 && i < PAIRS_MAX; i++) {
        if (pairs[i].used)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        setsockopt(other, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        pairs[i] = (struct pair){.used = true, .fds = {fd, other}};
        return;
    }
    close(fd);
    if (other >= 0)
        close(other);
}

/* False when the connection is gone. */
static bool take_in(struct pair *pair, int side)
{
    struct direction *direction = &pair->directions[side];
    struct chunk *chunk = malloc(sizeof(*chunk));
    ssize_t got =
        chunk == NULL ? -1 : recv(pair->fds[side], chunk->bytes, CHUNK_BYTES, MSG_DONTWAIT);

    if (got <= 0) {
        free(chunk);
        if (got == 0)
            direction->ended = true;
        return got == 0 || errno == EAGAIN;
    }
    if (side == 0 && flip_next) {
        chunk->bytes[got / 2] ^= 1;
        flip_next = false;
        flips++;
    }
    chunk->next = NULL;
    chunk->due_ms = now_ms() + delay_ms;
    chunk->size = (size_t)got;
    chunk->sent = 0;
    if (direction->first == NULL)
        direction->first = chunk;
    else
        direction->last->next = chunk;
    direction->last = chunk;
    direction->queued += chunk->size;
    return true;
}

static bool give_out(struct pair *pair, int side)
{
    struct direction *direction = &pair->directions[side];

    while (direction->first != NULL && direction->first->due_ms <= now_ms()) {
        struct chunk *chunk = direction->first;
        ssize_t wrote = send(pair->fds[1 - side], chunk->bytes + chunk->sent,
                             chunk->size - chunk->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (wrote < 0)
            return errno == EAGAIN;
        bytes_moved[side] += (uint64_t)wrote;
        chunk->sent += (size_t)wrote;
        if (chunk->sent < chunk->size)
            return true;
        direction->queued -= chunk->size;
        direction->first = chunk->next;
        free(chunk);
    }
    if (direction->first == NULL && direction->ended && !direction->shut) {
        shutdown(pair->fds[1 - side], SHUT_WR);
        direction->shut = true;
    }
    return true;
}

static void serve_pair(struct pair *pair)
{
    for (int side = 0; side < 2; side++) {
        struct direction *direction = &pair->directions[side];

        if ((!direction->ended && direction->queued < QUEUE_BYTES_MAX && !take_in(pair, side)) ||
            !give_out(pair, side)) {
            pair_end(pair, false);
            return;
        }
    }
    if (pair->directions[0].shut && pair->directions[1].shut)
        pair_end(pair, false);
}

static void cut_all(void)
{
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        if (pairs[i].used) {
            pair_end(&pairs[i], true);
            cuts++;
        }
    }
}

static void obey(const char *line)
{
    if (strncmp(line, "delay ", 6) == 0)
        delay_ms = strtoull(line + 6, NULL, 10);
    else if (strcmp(line, "cut") == 0)
        cut_all();
    else if (strcmp(line, "stall") == 0)
        stalled = true;
    else if (strcmp(line, "refuse") == 0)
        refusing = true;
    else if (strcmp(line, "flip") == 0)
        flip_next = true;
    else if (strcmp(line, "go") == 0)
        delay_ms = 0, stalled = false, refusing = false;
    else if (strcmp(line, "count") == 0)
        printf("up %llu down %llu flips %u cuts %u\n", (unsigned long long)bytes_moved[0],
               (unsigned long long)bytes_moved[1], flips, cuts);
    else
        fprintf(stderr, "e2e-proxy: no such command: %s\n", line);
    fflush(stdout);
}

/* False at the end of standard input. */
static bool read_commands(void)
{
    static char text[LINE_MAX_BYTES];
    static size_t length;
    ssize_t got = read(STDIN_FILENO, text + length, sizeof(text) - 1 - length);
    char *end;

    if (got <= 0)
        return got < 0 && errno == EINTR;
    length += (size_t)got;
    text[length] = '\0';
    while ((end = strchr(text, '\n')) != NULL) {
        *end = '\0';
        obey(text);
        length -= (size_t)(end + 1 - text);
        memmove(text, end + 1, length + 1);
    }
    return length < sizeof(text) - 1;
}

/* Waits until something can be done; at most a tick while bytes are on their way. */
static bool wait_some(void)
{
    struct pollfd fds[2 + 2 * PAIRS_MAX] = {{.fd = STDIN_FILENO, .events = POLLIN}};
    nfds_t count = 1;
    bool waiting = false;

    if (!stalled)
        fds[count++] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (size_t i = 0; !stalled && i < PAIRS_MAX; i++) {
        for (int side = 0; pairs[i].used && side < 2; side++) {
            const struct direction *direction = &pairs[i].directions[side];

            waiting |= direction->first != NULL;
            if (!direction->ended && direction->queued < QUEUE_BYTES_MAX)
                fds[count++] = (struct pollfd){.fd = pairs[i].fds[side], .events = POLLIN};
        }
    }
    if (poll(fds, count, waiting ? TICK_MS : 1000) < 0)
        return errno == EINTR;
    if (!stalled && (fds[1].revents & POLLIN))
        accept_one();
    return fds[0].revents == 0 || read_commands();
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0
               ? -1
               : listen(listener, 16);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: e2e-proxy LISTEN-PORT TARGET-PORT\n");
        return 2;
    }
    target_port = (uint16_t)strtoul(argv[2], NULL, 10);
    if (listen_on((uint16_t)strtoul(argv[1], NULL, 10)) < 0) {
        perror("e2e-proxy");
        return 1;
    }
    while (wait_some())
        for (size_t i = 0; !stalled && i < PAIRS_MAX; i++)
            if (pairs[i].used)
                serve_pair(&pairs[i]);
    cut_all();
    return 0;
}
