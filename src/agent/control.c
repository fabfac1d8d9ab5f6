// SPDX-License-Identifier: Apache-2.0
#include "agent/control.h"

#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/status.h"
#include "base/base.h"
#include "base/error.h"
#include "base/log.h"

#define BACKLOG 16

static struct hf_log_component log_control = HF_LOG_COMPONENT("control");

struct hf_control {
    struct hf_agent *agent;
    char path[HF_AGENT_PATH_MAX];
    int listen_fd;
    int stop_fd; /* readable: end */
    pthread_t thread;
    bool started;
};

/* ---- verbs ---- */

static json_t *failure(int error, const char *message)
{
    return json_pack("{s:b, s:s, s:s}", "ok", 0, "error", hf_error_name(error), "message", message);
}

/* The cause from the code, the remedy from the verb. */
static json_t *failed(int error, const char *remedy)
{
    char text[512];

    snprintf(text, sizeof(text), "%s; %s", hf_strerror(error), remedy);
    return failure(error, text);
}

static json_t *do_status(struct hf_agent *agent, json_t *request)
{
    struct hf_engine_status *status = malloc(sizeof(*status));
    json_t *answer;

    (void)request;
    if (!status)
        return NULL;
    hf_engine_get_status(hf_agent_engine(agent), status);
    answer = json_pack("{s:b, s:o}", "ok", 1, "status",
                       hf_status_json(hf_agent_get_config(agent), status));
    free(status);
    return answer;
}

static json_t *do_mark(struct hf_agent *agent, json_t *request)
{
    char reason[HF_ENGINE_TEXT_MAX] = "", id[HF_ID_TEXT_SIZE];
    struct hf_engine_point point;
    json_t *answer;
    int error = hf_agent_mark(agent, json_is_true(json_object_get(request, "app")),
                              json_string_value(json_object_get(request, "name")), &point, reason,
                              sizeof(reason));

    if (error == -ESTALE)
        return failure(-EBUSY, "content is not captured now, or a pass is under way (see the "
                               "status); no point can be set until the pass has ended");
    if (error)
        return failed(error, "try again when the link has caught up; names have 128 bytes at most");
    hf_id_format(&point.id, id);
    answer = json_pack("{s:b, s:s, s:s, s:I}", "ok", 1, "point", id, "kind",
                       point.kind == HF_MARK_APP ? "application-consistent" : "crash-consistent",
                       "seq", (json_int_t)point.seq);
    if (answer && reason[0])
        json_object_set_new(answer, "reason", json_string(reason));
    return answer;
}

static json_t *do_resync(struct hf_agent *agent, json_t *request)
{
    uint64_t pass;
    int error = hf_agent_resync(agent, json_is_true(json_object_get(request, "full")), &pass);

    if (error)
        return failed(error, "is the agent stopping?");
    return json_pack("{s:b, s:I}", "ok", 1, "pass", (json_int_t)pass);
}

static json_t *do_disk(struct hf_agent *agent, json_t *request,
                       int (*change)(struct hf_agent *, const char *, unsigned *))
{
    const char *path = json_string_value(json_object_get(request, "path"));
    unsigned slot;
    int error;

    if (!path)
        return failure(-EINVAL, "'path' is missing; name a block device");
    error = change(agent, path, &slot);
    if (error)
        return failed(error, "name a block device that is there (disk-add) or protected "
                             "(disk-remove)");
    return json_pack("{s:b, s:i}", "ok", 1, "disk", (int)slot);
}

static json_t *do_disk_add(struct hf_agent *agent, json_t *request)
{
    return do_disk(agent, request, hf_agent_disk_add);
}

static json_t *do_disk_remove(struct hf_agent *agent, json_t *request)
{
    return do_disk(agent, request, hf_agent_disk_remove);
}

#define VERB_KEYS_MAX 2

struct verb_key {
    const char *name;
    json_type type; /* JSON_TRUE stands for a boolean */
};

static const struct verb {
    const char *name;
    json_t *(*run)(struct hf_agent *agent, json_t *request);
    struct verb_key keys[VERB_KEYS_MAX];
} verbs[] = {
    {"status", do_status, {{NULL, JSON_NULL}}},
    {"mark", do_mark, {{"app", JSON_TRUE}, {"name", JSON_STRING}}},
    {"resync", do_resync, {{"full", JSON_TRUE}}},
    {"disk-add", do_disk_add, {{"path", JSON_STRING}}},
    {"disk-remove", do_disk_remove, {{"path", JSON_STRING}}},
};

/* ---- a request ---- */

static bool key_fits(const struct verb *verb, const char *name, const json_t *value)
{
    for (size_t i = 0; i < VERB_KEYS_MAX && verb->keys[i].name; i++)
        if (strcmp(verb->keys[i].name, name) == 0)
            return verb->keys[i].type == JSON_TRUE ? json_is_boolean(value)
                                                   : json_typeof(value) == verb->keys[i].type;
    return strcmp(name, "verb") == 0;
}

static json_t *run_verb(struct hf_agent *agent, const struct verb *verb, json_t *request)
{
    const char *name;
    char text[256];
    json_t *value;

    json_object_foreach(request, name, value)
    {
        if (key_fits(verb, name, value))
            continue;
        snprintf(text, sizeof(text), "'%.100s' is not a key of '%s', or not of that type", name,
                 verb->name);
        return failure(-EINVAL, text);
    }
    return verb->run(agent, request);
}

static json_t *answer_to(struct hf_agent *agent, json_t *request)
{
    const char *name = json_string_value(json_object_get(request, "verb"));
    char text[256];

    if (!name)
        return failure(-EINVAL, "not a JSON object with a 'verb'");
    for (size_t i = 0; i < HF_ARRAY_COUNT(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return run_verb(agent, &verbs[i], request);
    snprintf(text, sizeof(text),
             "'%.100s' is not a verb; status, mark, resync, disk-add and "
             "disk-remove are",
             name);
    return failure(-EINVAL, text);
}

char *hf_control_answer(struct hf_agent *agent, const char *line)
{
    json_t *request = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    json_t *answer = answer_to(agent, request);
    char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;

    json_decref(request);
    json_decref(answer);
    return text;
}

/* ---- the socket ---- */

static bool wait_readable(struct hf_control *control, int fd, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
                           {.fd = control->stop_fd, .events = POLLIN}};

    return poll(fds, 2, timeout_ms) > 0 && fds[1].revents == 0 && fds[0].revents != 0;
}

/* One line; false when the client is too slow, too long or gone. */
static bool read_request(struct hf_control *control, int fd, char *line)
{
    size_t size = 0;

    while (size < HF_CONTROL_REQUEST_MAX && wait_readable(control, fd, HF_CONTROL_IDLE_MS)) {
        ssize_t got = read(fd, line + size, HF_CONTROL_REQUEST_MAX - size);
        char *end;

        if (got <= 0)
            return false;
        end = memchr(line + size, '\n', (size_t)got);
        size += (size_t)got;
        if (end) {
            *end = '\0';
            return true;
        }
    }
    return false;
}

static void write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, text, size, MSG_NOSIGNAL);

        if (sent <= 0)
            return;
        text += sent;
        size -= (size_t)sent;
    }
}

static void serve(struct hf_control *control, int fd)
{
    struct timeval patience = {.tv_sec = HF_CONTROL_IDLE_MS / 1000};
    char line[HF_CONTROL_REQUEST_MAX + 1];
    char *answer;

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    while (read_request(control, fd, line)) {
        answer = hf_control_answer(control->agent, line);
        if (!answer)
            return;
        if (strlen(answer) < HF_CONTROL_ANSWER_MAX) {
            write_all(fd, answer, strlen(answer));
            write_all(fd, "\n", 1);
        }
        free(answer);
    }
}

static void *control_main(void *context)
{
    struct hf_control *control = context;

    for (;;) {
        int fd;

        if (!wait_readable(control, control->listen_fd, -1))
            return NULL;
        fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        serve(control, fd);
        close(fd);
    }
}

static bool somebody_answers(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool answers;

    if (fd < 0)
        return false;
    answers = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
    close(fd);
    return answers;
}

static void make_directory(const char *path)
{
    char directory[HF_AGENT_PATH_MAX];
    char *slash;

    snprintf(directory, sizeof(directory), "%s", path);
    slash = strrchr(directory, '/');
    if (!slash || slash == directory)
        return;
    *slash = '\0';
    (void)mkdir(directory, 0755);
}

static int listen_at(struct hf_control *control)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    mode_t mask;
    int error = 0;

    if (strlen(control->path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, control->path, strlen(control->path) + 1);
    make_directory(control->path);
    if (somebody_answers(&address))
        return -EADDRINUSE;
    (void)unlink(control->path);
    mask = umask(0177);
    if (bind(control->listen_fd, (struct sockaddr *)&address, sizeof(address)) ||
        listen(control->listen_fd, BACKLOG))
        error = -errno;
    umask(mask);
    return error;
}

int hf_control_new(struct hf_agent *agent, const char *path, struct hf_control **ret_control)
{
    struct hf_control *control = calloc(1, sizeof(*control));
    int error;

    if (!control)
        return -ENOMEM;
    control->agent = agent;
    control->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    control->stop_fd = eventfd(0, EFD_CLOEXEC);
    error = control->listen_fd < 0 || control->stop_fd < 0 ? -errno : 0;
    if (!error) {
        snprintf(control->path, sizeof(control->path), "%s", path);
        error = listen_at(control);
    }
    if (error) {
        hf_log_error(&log_control, "'%s': %s%s", path, hf_strerror(error),
                     error == -EADDRINUSE ? "; another agent runs" : "");
        control->path[0] = '\0';
        hf_control_free(control);
        return error;
    }
    *ret_control = control;
    return 0;
}

int hf_control_start(struct hf_control *control)
{
    int error = pthread_create(&control->thread, NULL, control_main, control);

    control->started = error == 0;
    return -error;
}

void hf_control_free(struct hf_control *control)
{
    uint64_t one = 1;

    if (!control)
        return;
    if (control->started) {
        if (write(control->stop_fd, &one, sizeof(one)) == sizeof(one))
            pthread_join(control->thread, NULL);
    }
    if (control->path[0])
        (void)unlink(control->path);
    if (control->listen_fd >= 0)
        close(control->listen_fd);
    if (control->stop_fd >= 0)
        close(control->stop_fd);
    free(control);
}
