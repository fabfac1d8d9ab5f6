// SPDX-License-Identifier: Apache-2.0
/*
 * What control socket, signals and timers ask of the agent. The engine belongs to its thread: who
 * wants something of it puts a function and its context into `call` and waits until that thread has
 * run it; one at a time.
 */
#include "agent/daemon-internal.h"

#include <stdlib.h>
#include <string.h>

#include "agent/freezer.h"
#include "base/error.h"
#include "base/log.h"

static struct hf_log_component log_agent = HF_LOG_COMPONENT("agent");

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

void hf_agent_run_call(struct hf_agent *agent)
{
    pthread_mutex_lock(&agent->call_lock);
    if (agent->call && !agent->call_done) {
        agent->call_result = agent->call(agent, agent->call_context);
        agent->call_done = true;
        pthread_cond_broadcast(&agent->call_changed);
    }
    pthread_mutex_unlock(&agent->call_lock);
}

/* ---- orders ---- */

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

int hf_agent_add_disk_now(struct hf_agent *agent, void *context)
{
    struct hf_disk_order *order = context;
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
    struct hf_disk_order *order = context;
    struct hf_disk_identity identity;
    int error = hf_disk_identify(order->path, &identity);

    return error ? error : hf_engine_disk_remove(agent->engine, &identity, &order->slot);
}

int hf_agent_disk_add(struct hf_agent *agent, const char *path, unsigned *ret_slot)
{
    struct hf_disk_order order = {.path = path};
    int error;

    if (path[0] != '/' || strlen(path) >= HF_AGENT_PATH_MAX)
        return -EINVAL;
    error = call_engine(agent, hf_agent_add_disk_now, &order);
    if (!error)
        *ret_slot = order.slot;
    return error;
}

int hf_agent_disk_remove(struct hf_agent *agent, const char *path, unsigned *ret_slot)
{
    struct hf_disk_order order = {.path = path};
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

int hf_agent_load_credentials(const struct hf_agent_config *config, struct hf_tls **ret_tls)
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

    if (hf_agent_load_credentials(config, &tls) == 0 &&
        hf_tls_uplink_renew(agent->uplink, tls) == 0)
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
