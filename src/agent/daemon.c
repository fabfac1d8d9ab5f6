// SPDX-License-Identifier: Apache-2.0
/*
 * Threads (README.md has the table): engine, worker, marks, control. The engine's thread owns the
 * engine; the others reach it through `calls`, a queue of one at a time: who wants something puts
 * a function there and waits until the engine's thread has run it.
 */
#include "agent/daemon.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/control.h"
#include "agent/describe.h"
#include "agent/freezer.h"
#include "agent/privileges.h"
#include "agent/state.h"
#include "agent/tls-uplink.h"
#include "base/base.h"
#include "base/error.h"
#include "base/log.h"

#define ENGINE_WAIT_MS 100
#define DESCRIBE_NS (60 * HF_NS_PER_S) /* looked at again this often */
#define MARK_TICK_MS 50

static struct hf_log_component log_agent = HF_LOG_COMPONENT("agent");
static struct hf_log_component log_engine = HF_LOG_COMPONENT("engine");

typedef int (*call_fn)(struct hf_agent *agent, void *context);

struct hf_agent {
    struct hf_agent_config config;
    struct hf_freezer *freezer;
    struct hf_source *source;
    struct hf_disk_reader *reader;
    struct hf_uplink *uplink;
    struct hf_engine *engine;
    struct hf_control *control;
    atomic_bool stopping;
    atomic_bool failed;
    pthread_t engine_thread, worker_thread, marks_thread;
    unsigned threads; /* started, of the three above, in this order */
    uint64_t described_ns;

    pthread_mutex_t call_turn; /* held by the one who calls; order: before call_lock */
    pthread_mutex_t call_lock;
    pthread_cond_t call_changed;
    call_fn call; /* below call_lock; NULL: none */
    void *call_context;
    int call_result;
    bool call_done;
};

/* ---- calls into the engine's thread ---- */

static int call_engine(struct hf_agent *agent, call_fn call, void *context)
{
    int result;

    pthread_mutex_lock(&agent->call_turn);
    pthread_mutex_lock(&agent->call_lock);
    agent->call = call;
    agent->call_context = context;
    agent->call_done = false;
    while (!agent->call_done && !agent->stopping && !agent->failed)
        pthread_cond_wait(&agent->call_changed, &agent->call_lock);
    result = agent->call_done ? agent->call_result : -ESHUTDOWN;
    agent->call = NULL;
    pthread_mutex_unlock(&agent->call_lock);
    pthread_mutex_unlock(&agent->call_turn);
    return result;
}

static void run_call(struct hf_agent *agent)
{
    pthread_mutex_lock(&agent->call_lock);
    if (agent->call && !agent->call_done) {
        agent->call_result = agent->call(agent, agent->call_context);
        agent->call_done = true;
        pthread_cond_broadcast(&agent->call_changed);
    }
    pthread_mutex_unlock(&agent->call_lock);
}

/* ---- the threads ---- */

static void describe(struct hf_agent *agent)
{
    uint64_t now_ns = hf_clock_system()->ops->boot_ns(hf_clock_system());
    char *json;
    int error;

    if (now_ns < agent->described_ns)
        return;
    agent->described_ns = now_ns + DESCRIBE_NS;
    error = hf_describe_machine(agent->config.machine_name, &json);
    if (!error) {
        error = hf_engine_describe(agent->engine, json);
        free(json);
    }
    if (error)
        hf_log_warn(&log_agent, "the machine's description could not be sent: %s",
                    hf_strerror(error));
}

static void *engine_main(void *context)
{
    struct hf_agent *agent = context;
    int work = 0;

    while (!agent->stopping && work >= 0) {
        run_call(agent);
        describe(agent);
        work = hf_engine_step(agent->engine);
        if (work == 0)
            hf_engine_wait(agent->engine, ENGINE_WAIT_MS);
    }
    if (work < 0) {
        hf_log_error(&log_agent, "the capture cannot go on: %s; restart the agent",
                     hf_strerror(work));
        pthread_mutex_lock(&agent->call_lock);
        agent->failed = true;
        pthread_cond_broadcast(&agent->call_changed);
        pthread_mutex_unlock(&agent->call_lock);
    }
    hf_engine_stop(agent->engine);
    return NULL;
}

static void *worker_main(void *context)
{
    struct hf_agent *agent = context;
    struct hf_pass *pass = hf_engine_pass(agent->engine);
    uint64_t wait_ns;
    int work;

    while (!agent->stopping) {
        work = hf_pass_work(pass, &wait_ns);
        if (work < 0)
            hf_log_error(&log_agent, "a pass met an error and goes on later: %s",
                         hf_strerror(work));
        if (work <= 0)
            hf_pass_wait(pass, work < 0 ? HF_NS_PER_S : wait_ns);
    }
    return NULL;
}

/* Once per change of the reason. */
static void report_mark(int error, int *last_error)
{
    if (error == *last_error)
        return;
    *last_error = error;
    if (error)
        hf_log_warn(&log_agent, "no recovery points: %s",
                    error == -ESTALE ? "content is not captured now" : hf_strerror(error));
    else
        hf_log_info(&log_agent, "recovery points are set again");
}

static void *marks_main(void *context)
{
    struct hf_agent *agent = context;
    struct hf_clock *clock = hf_clock_system();
    uint64_t next_ns = clock->ops->boot_ns(clock) + agent->config.marks_interval_ns;
    uint64_t next_app_ns = clock->ops->boot_ns(clock) + agent->config.app_interval_ns;
    struct hf_engine_point point;
    char reason[HF_ENGINE_TEXT_MAX];
    int last_error = 0;

    while (!agent->stopping) {
        uint64_t now_ns = clock->ops->boot_ns(clock);

        if (agent->config.app_interval_ns && now_ns >= next_app_ns) {
            next_app_ns = now_ns + agent->config.app_interval_ns;
            if (hf_agent_mark(agent, true, NULL, &point, reason, sizeof(reason)) == 0 && reason[0])
                hf_log_warn(&log_agent, "a point is only crash-consistent: %s", reason);
        } else if (now_ns >= next_ns) {
            next_ns = HF_MAX(next_ns + agent->config.marks_interval_ns, now_ns);
            report_mark(hf_engine_mark(agent->engine, HF_MARK_CRASH, NULL, &point), &last_error);
        }
        clock->ops->sleep_ns(clock, MARK_TICK_MS * HF_NS_PER_MS);
    }
    return NULL;
}

/* ---- orders ---- */

struct disk_order {
    const char *path;
    unsigned slot;
};

/* The disk at this path was exchanged, and naming it again says that the new one is meant. */
static bool is_exchanged(struct hf_agent *agent, const char *path, unsigned *ret_slot)
{
    struct hf_engine_status *status = malloc(sizeof(*status));
    bool exchanged = false;

    if (!status)
        return false;
    hf_engine_get_status(agent->engine, status);
    for (unsigned i = 0; i < status->disk_count; i++) {
        if (strcmp(status->disks[i].path, path) != 0 || !status->disks[i].refused)
            continue;
        *ret_slot = status->disks[i].slot;
        exchanged = true;
    }
    free(status);
    return exchanged;
}

static int add_disk(struct hf_agent *agent, void *context)
{
    struct disk_order *order = context;
    struct hf_disk_identity identity;
    int error = hf_disk_identify(order->path, &identity);

    if (error)
        return error;
    if (is_exchanged(agent, order->path, &order->slot))
        return hf_engine_disk_confirm(agent->engine, order->slot, &identity);
    return hf_engine_disk_add(agent->engine, &identity, order->path, &order->slot);
}

static int remove_disk(struct hf_agent *agent, void *context)
{
    struct disk_order *order = context;
    struct hf_disk_identity identity;
    int error = hf_disk_identify(order->path, &identity);

    return error ? error : hf_engine_disk_remove(agent->engine, &identity, &order->slot);
}

int hf_agent_disk_add(struct hf_agent *agent, const char *path, unsigned *ret_slot)
{
    struct disk_order order = {.path = path};
    int error;

    if (path[0] != '/' || strlen(path) >= HF_AGENT_PATH_MAX)
        return -EINVAL;
    error = call_engine(agent, add_disk, &order);
    if (!error)
        *ret_slot = order.slot;
    return error;
}

int hf_agent_disk_remove(struct hf_agent *agent, const char *path, unsigned *ret_slot)
{
    struct disk_order order = {.path = path};
    int error = call_engine(agent, remove_disk, &order);

    if (!error)
        *ret_slot = order.slot;
    return error;
}

struct resync_order {
    bool full;
    uint64_t pass;
};

static int resync(struct hf_agent *agent, void *context)
{
    struct resync_order *order = context;

    return hf_engine_resync(agent->engine, order->full, &order->pass);
}

int hf_agent_resync(struct hf_agent *agent, bool full, uint64_t *ret_pass)
{
    struct resync_order order = {.full = full};
    int error = call_engine(agent, resync, &order);

    if (!error)
        *ret_pass = order.pass;
    return error;
}

/* Between freeze and thaw nothing here may touch a disk, nor log. */
int hf_agent_mark(struct hf_agent *agent, bool app, const char *name,
                  struct hf_engine_point *ret_point, char *reason, size_t reason_size)
{
    struct hf_engine_status status;
    bool frozen = false;
    int error;

    reason[0] = '\0';
    if (app) {
        hf_engine_get_status(agent->engine, &status);
        frozen = hf_freezer_freeze(agent->freezer, &status, reason, reason_size) == 0;
    }
    error = hf_engine_mark(agent->engine, frozen ? HF_MARK_APP : HF_MARK_CRASH, name, ret_point);
    if (frozen && hf_freezer_thaw(agent->freezer, reason, reason_size) && !error)
        error = hf_engine_mark(agent->engine, HF_MARK_CRASH, name, ret_point);
    return error;
}

struct hf_engine *hf_agent_engine(struct hf_agent *agent)
{
    return agent->engine;
}

const struct hf_agent_config *hf_agent_get_config(struct hf_agent *agent)
{
    return &agent->config;
}

bool hf_agent_failed(struct hf_agent *agent)
{
    return agent->failed;
}

static int load_credentials(const struct hf_agent_config *config, struct hf_tls **ret_tls)
{
    struct hf_tls_options options = {
        .certificate_file = config->certificate,
        .key_file = config->key,
        .authority_file = config->authority,
        .deny_file = config->deny[0] ? config->deny : NULL,
    };
    char text[HF_UPLINK_TEXT_MAX] = "";
    int error = hf_tls_new(&options, ret_tls, text, sizeof(text));

    if (error)
        hf_log_error(&log_agent, "certificates: %s", text[0] ? text : hf_strerror(error));
    return error;
}

/* Old ones stay in use when the new ones are not good. */
static void renew_credentials(struct hf_agent *agent, const struct hf_agent_config *config)
{
    struct hf_tls *tls;

    if (load_credentials(config, &tls) == 0 && hf_tls_uplink_renew(agent->uplink, tls) == 0)
        hf_log_info(&log_agent, "certificates read again, for the next connection");
}

static bool names_disk(const struct hf_agent_config *config, const char *path)
{
    for (size_t i = 0; i < config->disk_count; i++)
        if (strcmp(config->disks[i], path) == 0)
            return true;
    return false;
}

void hf_agent_reload(struct hf_agent *agent, const struct hf_agent_config *config)
{
    unsigned slot;
    int error;

    renew_credentials(agent, config);
    for (size_t i = 0; i < config->disk_count; i++) {
        if (names_disk(&agent->config, config->disks[i]))
            continue;
        error = hf_agent_disk_add(agent, config->disks[i], &slot);
        if (error && error != -EEXIST)
            hf_log_error(&log_agent, "'%s' could not be added: %s", config->disks[i],
                         hf_strerror(error));
    }
    for (size_t i = 0; i < agent->config.disk_count; i++) {
        if (names_disk(config, agent->config.disks[i]))
            continue;
        error = hf_agent_disk_remove(agent, agent->config.disks[i], &slot);
        if (error)
            hf_log_error(&log_agent, "'%s' could not be removed: %s", agent->config.disks[i],
                         hf_strerror(error));
    }
    memcpy(agent->config.disks, config->disks, sizeof(config->disks));
    agent->config.disk_count = config->disk_count;
}

/* ---- starting ---- */

static void report(void *context, enum hf_log_level level, const char *text)
{
    (void)context;
    hf_log_write(&log_engine, level, "%s", text);
}

static int machine_id(const struct hf_agent_config *config, struct hf_id *ret_id)
{
    char text[HF_ID_TEXT_SIZE + 1] = "";
    FILE *file;

    if (config->machine_id[0])
        return hf_id_parse(config->machine_id, ret_id);
    file = fopen("/etc/machine-id", "re");
    if (file) {
        if (!fgets(text, HF_ID_TEXT_SIZE, file))
            text[0] = '\0';
        fclose(file);
    }
    if (hf_id_parse(text, ret_id)) {
        hf_log_error(&log_agent, "/etc/machine-id holds no id; set machine.id in the "
                                 "configuration");
        return -HF_ECONFIG;
    }
    return 0;
}

static int open_uplink(struct hf_agent *agent, const struct hf_id *node)
{
    struct hf_tls_uplink_options uplink = {.address = agent->config.target, .node = *node};
    int error = load_credentials(&agent->config, &uplink.tls);

    return error ? error : hf_tls_uplink_new(&uplink, &agent->uplink);
}

static int open_source(struct hf_agent *agent)
{
    struct hf_capture_options options = {
        .directory = agent->config.bpffs_dir,
        .ring_bytes = (uint32_t)agent->config.ring_bytes,
        .maps_bytes_max = agent->config.maps_bytes,
    };
    int error = hf_capture_source_new(&options, &agent->source);

    if (error == -EBUSY)
        hf_log_error(&log_agent, "another agent uses the capture in '%s'", options.directory);
    else if (error == -HF_EVERSION)
        hf_log_error(&log_agent,
                     "the capture in '%s' was made by another version of the agent; run that one, "
                     "or `holdfast-agent detach` and accept a checksum pass",
                     options.directory);
    else if (error)
        hf_log_error(&log_agent,
                     "capturing is not possible: %s (needs root, BTF in /sys/kernel/btf, and the "
                     "block tracepoints)",
                     hf_strerror(error));
    return error;
}

static int open_engine(struct hf_agent *agent, const struct hf_id *machine)
{
    const struct hf_agent_config *config = &agent->config;
    struct hf_engine_options options;
    int error;

    hf_engine_options_default(&options);
    options.source = agent->source;
    options.link = agent->uplink;
    options.reader = agent->reader;
    options.clock = hf_clock_system();
    options.random = hf_random_system();
    options.machine = *machine;
    snprintf(options.machine_name, sizeof(options.machine_name), "%s", config->machine_name);
    options.compression_level =
        config->compression_off ? HF_COMPRESSION_OFF : (int)config->compression_level;
    options.batch_bytes = config->batch_bytes;
    options.batch_delay_ns = config->batch_delay_ns;
    options.generation_ns = config->generation_ns;
    options.dirty_return_ns = config->dirty_return_ns;
    options.pass_bytes_per_s = config->pass_bytes_per_s;
    options.report = report;
    error = hf_engine_new(&options, &agent->engine);
    if (error == -HF_EVERSION)
        hf_log_error(&log_agent, "the pinned state is of another version; `holdfast-agent detach`");
    return error;
}

/* What the configuration names must be there; the agent does not protect half a machine silently.
 */
static int open_disks(struct hf_agent *agent)
{
    for (size_t i = 0; i < agent->config.disk_count; i++) {
        struct disk_order order = {.path = agent->config.disks[i]};
        int error = add_disk(agent, &order);

        if (error == -EEXIST)
            hf_log_warn(&log_agent, "'%s' is named twice", order.path);
        else if (error) {
            hf_log_error(&log_agent, "'%s' cannot be protected: %s", order.path,
                         hf_strerror(error));
            return error;
        }
    }
    return 0;
}

/* Disks that were added by the control socket, or dropped from the configuration while no agent
 * ran: protection ends only when somebody says so. */
static void adopt_disks(struct hf_agent *agent)
{
    char name[sizeof(((struct hf_saved_disk *)NULL)->name)], path[HF_AGENT_PATH_MAX];
    int slot = hf_engine_unclaimed(agent->engine, 0, name);

    for (; slot >= 0; slot = hf_engine_unclaimed(agent->engine, (unsigned)slot + 1, name)) {
        struct hf_disk_identity identity;
        unsigned found;

        snprintf(path, sizeof(path), "/dev/%.27s", name);
        if (hf_disk_identify(path, &identity) == 0 &&
            agent->source->ops->disk_find(agent->source, &identity) == slot &&
            hf_engine_disk_add(agent->engine, &identity, path, &found) == 0) {
            hf_log_warn(&log_agent,
                        "'%s' is protected but not in the configuration; add it there, or remove "
                        "it with `holdfast agent disk-remove`",
                        path);
            continue;
        }
        hf_log_error(&log_agent,
                     "the disk that was protected as '%s' is not there any more; its protection "
                     "ends",
                     path);
        (void)hf_engine_drop_unclaimed(agent->engine, (unsigned)slot);
    }
}

static int start_threads(struct hf_agent *agent)
{
    int error = pthread_create(&agent->engine_thread, NULL, engine_main, agent);

    if (!error) {
        agent->threads++;
        error = pthread_create(&agent->worker_thread, NULL, worker_main, agent);
    }
    if (!error) {
        agent->threads++;
        error = pthread_create(&agent->marks_thread, NULL, marks_main, agent);
    }
    if (!error)
        agent->threads++;
    return -error;
}

static int open_all(struct hf_agent *agent)
{
    struct hf_id machine;
    int error = machine_id(&agent->config, &machine);

    if (!error)
        error = open_uplink(agent, &machine);
    if (!error)
        error = hf_direct_reader_new(&agent->reader);
    if (!error)
        error = open_source(agent);
    if (!error)
        error = open_engine(agent, &machine);
    if (!error)
        error = open_disks(agent);
    if (!error) {
        adopt_disks(agent);
        error = hf_control_new(agent, agent->config.control_socket, &agent->control);
    }
    return error;
}

int hf_agent_start(const struct hf_agent_config *config, struct hf_freezer *freezer,
                   struct hf_agent **ret_agent)
{
    struct hf_agent *agent = calloc(1, sizeof(*agent));
    int error;

    if (!agent)
        return -ENOMEM;
    agent->config = *config;
    agent->freezer = freezer;
    pthread_mutex_init(&agent->call_turn, NULL);
    pthread_mutex_init(&agent->call_lock, NULL);
    pthread_cond_init(&agent->call_changed, NULL);
    error = open_all(agent);
    if (!error) {
        int dropped = hf_privileges_drop();

        if (dropped)
            hf_log_warn(&log_agent, "privileges are kept: %s", hf_strerror(dropped));
        error = start_threads(agent);
    }
    if (!error)
        error = hf_control_start(agent->control);
    if (error) {
        hf_agent_stop(agent);
        return error;
    }
    hf_log_info(&log_agent, "protecting %zu disk(s) of '%s', target %s", config->disk_count,
                config->machine_name, config->target);
    *ret_agent = agent;
    return 0;
}

void hf_agent_stop(struct hf_agent *agent)
{
    agent->stopping = true;
    pthread_mutex_lock(&agent->call_lock);
    pthread_cond_broadcast(&agent->call_changed);
    pthread_mutex_unlock(&agent->call_lock);
    hf_control_free(agent->control);
    if (agent->threads > 0)
        pthread_join(agent->engine_thread, NULL);
    if (agent->threads > 1) {
        hf_pass_wake(hf_engine_pass(agent->engine));
        pthread_join(agent->worker_thread, NULL);
    }
    if (agent->threads > 2)
        pthread_join(agent->marks_thread, NULL);
    hf_engine_free(agent->engine);
    if (agent->uplink)
        agent->uplink->ops->free(agent->uplink);
    if (agent->reader)
        agent->reader->ops->free(agent->reader);
    if (agent->source)
        agent->source->ops->free(agent->source);
    pthread_cond_destroy(&agent->call_changed);
    pthread_mutex_destroy(&agent->call_lock);
    pthread_mutex_destroy(&agent->call_turn);
    free(agent);
}
