// SPDX-License-Identifier: Apache-2.0
/*
 * Sets recovery points through the agent's control socket and prints, for each, its identity and
 * the moments (CLOCK_BOOTTIME) right before the request and right after the answer: what
 * oracle-check needs to know about a mark, from outside.
 *
 *     oracle-mark SOCKET COUNT INTERVAL_US
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "oracle/record.h"

#define ANSWER_BYTES_MAX 65536
#define REFUSALS_MAX 600 /* a machine in a pass takes no marks: tried again every 100 ms */

static int connect_agent(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The answer, or NULL. */
static json_t *ask_mark(const char *path)
{
    static const char request[] = "{\"verb\": \"mark\"}\n";
    static char answer[ANSWER_BYTES_MAX];
    int fd = connect_agent(path);
    size_t length = 0;
    ssize_t got = 1;

    if (fd < 0)
        return NULL;
    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(request) - 1)
        got = 0;
    while (got > 0 && memchr(answer, '\n', length) == NULL && length + 1 < sizeof(answer)) {
        got = recv(fd, answer + length, sizeof(answer) - 1 - length, 0);
        length += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    answer[length] = '\0';
    return json_loads(answer, 0, NULL);
}

int main(int argc, char **argv)
{
    unsigned long count;
    unsigned refusals = 0;

    if (argc != 4) {
        fprintf(stderr, "usage: oracle-mark SOCKET COUNT INTERVAL_US\n");
        return 2;
    }
    count = strtoul(argv[2], NULL, 10);
    while (count > 0) {
        uint64_t begin_ns = oracle_now_ns();
        json_t *answer = ask_mark(argv[1]);
        uint64_t end_ns = oracle_now_ns();
        const char *id = json_string_value(json_object_get(answer, "point"));

        if (id != NULL) {
            printf("%s %" PRIu64 " %" PRIu64 "\n", id, begin_ns, end_ns);
            count--;
            usleep((useconds_t)strtoul(argv[3], NULL, 10));
        } else if (++refusals > REFUSALS_MAX) {
            fprintf(stderr, "oracle-mark: the agent sets no marks\n");
            json_decref(answer);
            return 1;
        } else {
            usleep(100000);
        }
        json_decref(answer);
    }
    return 0;
}
