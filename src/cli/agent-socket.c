// SPDX-License-Identifier: Apache-2.0
#include "cli/agent-socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

#define ANSWER_BYTES_MAX (64 * 1024)
#define ANSWER_TIMEOUT_S 120 /* an application-consistent mark runs hooks */
#define SOCKET_DEFAULT "/run/holdfast/agent.sock"

static int connect_agent(const struct hf_cli *cli, const char *path, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
    int fd;

    if (strlen(path) >= sizeof(address.sun_path))
        return hf_cli_fail(cli, -ENAMETOOLONG, "%s is too long for a socket's path", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return hf_cli_fail(cli, -errno, "cannot make a socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int error = -errno;

        close(fd);
        if (error == -ENOENT || error == -ECONNREFUSED)
            return hf_cli_fail(
                cli, error,
                "no agent answers on %s; is holdfast-agent running? (--socket names another path)",
                path);
        return hf_cli_fail(cli, error, "cannot reach the agent on %s: %s", path, strerror(-error));
    }
    *ret_fd = fd;
    return HF_EXIT_OK;
}

static int send_line(int fd, const char *line)
{
    size_t left = strlen(line);

    while (left > 0) {
        ssize_t sent = send(fd, line, left, MSG_NOSIGNAL);

        if (sent < 0)
            return -errno;
        line += sent;
        left -= (size_t)sent;
    }
    return 0;
}

static int receive_line(int fd, char *line, size_t line_size)
{
    size_t length = 0;

    for (;;) {
        ssize_t got = recv(fd, line + length, line_size - 1 - length, 0);
        char *end;

        if (got < 0)
            return -errno;
        if (got == 0)
            return -ECONNRESET;
        length += (size_t)got;
        line[length] = '\0';
        end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
            return 0;
        }
        if (length + 1 == line_size)
            return -HF_ETOOBIG;
    }
}

static int exchange(int fd, const json_t *request, json_t **ret_answer)
{
    char *text = json_dumps(request, JSON_COMPACT);
    char *line = malloc(ANSWER_BYTES_MAX);
    int error = text == NULL || line == NULL ? -ENOMEM : send_line(fd, text);

    if (error == 0)
        error = send_line(fd, "\n");
    if (error == 0)
        error = receive_line(fd, line, ANSWER_BYTES_MAX);
    if (error == 0) {
        *ret_answer = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        if (*ret_answer == NULL)
            error = -HF_EPROTO;
    }
    free(line);
    free(text);
    return error;
}

/* An answer that says it failed becomes this command's failure. */
static int check_answer(const struct hf_cli *cli, const json_t *answer)
{
    const char *message = json_string_value(json_object_get(answer, "message"));

    if (json_is_true(json_object_get(answer, "ok")))
        return HF_EXIT_OK;
    return hf_cli_fail(cli, -EIO, "%s",
                       message != NULL ? message : "the agent refused without saying why");
}

int hf_cli_agent_ask(const struct hf_cli *cli, json_t *request, json_t **ret_answer)
{
    const char *path = hf_cli_value(cli, "socket");
    json_t *answer = NULL;
    int fd = -1;
    int code = connect_agent(cli, path != NULL ? path : SOCKET_DEFAULT, &fd);

    if (code == HF_EXIT_OK) {
        int error = exchange(fd, request, &answer);

        close(fd);
        if (error < 0)
            code = hf_cli_fail(cli, error, "the agent did not answer: %s", hf_strerror(error));
        else
            code = check_answer(cli, answer);
    }
    json_decref(request);
    if (code == HF_EXIT_OK)
        *ret_answer = answer;
    else
        json_decref(answer);
    return code;
}
