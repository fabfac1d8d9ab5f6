// SPDX-License-Identifier: Apache-2.0
/* Threads (README.md has the table) and the order in which everything is opened and closed. */
#include "agent/daemon-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/control.h"
#include "agent/describe.h"
#include "agent/privileges.h"
#include "agent/state.h"
#include "base/base.h"
#include "base/error.h"
#include "base/log.h"

#define ENGINE_WAIT_MS 100
#define DESCRIBE_NS (60 * HF_NS_PER_S) /* looked at again this often */
#define MARK_TICK_MS 50

static struct hf_log_component log_agent = HF_LOG_COMPONENT("agent");
static struct hf_log_component log_engine = HF_LOG_COMPONENT("engine");

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
        hf_agent_run_call(agent);
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
                    error == -ESTALE ? "content is not captured now, or a pass has to end first"
                                     : hf_strerror(error));
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
    int error = hf_agent_load_credentials(&agent->config, &uplink.tls);

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
        struct hf_disk_order order = {.path = agent->config.disks[i]};
        int error = hf_agent_add_disk_now(agent, &order);

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
