// SPDX-License-Identifier: Apache-2.0
/*
 * Threads: `accepting` (new sockets), `upkeep` (merge, retention, hashes; one bounded step at a
 * time over all machines), `reaping` (frees ended connections, so that none of them joins itself),
 * and those of each connection.
 */
#include "target/daemon.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"
#include "base/error.h"
#include "base/log.h"
#include "target/connection.h"

#define ACCEPT_MS 1000
#define ACCEPT_PAUSE_US 100000 /* after a failure: without descriptors left it fails at once */
#define UPKEEP_STEP_BYTES (8 * HF_MIB)
#define UPKEEP_PAUSE_US 200000

static struct hf_log_component log_daemon = HF_LOG_COMPONENT("target");

struct slot {
    struct hf_connection *connection;
    bool used;
    bool ended;
};

struct hf_target {
    struct hf_io *io;
    struct hf_store *store;
    struct hf_registry *registry;
    struct hf_tls *tls;
    struct hf_listener *listener;
    struct hf_connection_options connection_options;
    pthread_t accepting;
    pthread_t upkeep;
    pthread_t reaping;
    unsigned threads_started; /* in that order */
    atomic_bool stopping;
    pthread_mutex_t lock; /* guards slots */
    pthread_cond_t changed;
    struct slot slots[HF_TARGET_CONNECTIONS_MAX];
};

static void connection_ended(struct hf_connection *connection, void *context)
{
    struct hf_target *target = context;

    pthread_mutex_lock(&target->lock);
    for (size_t i = 0; i < HF_TARGET_CONNECTIONS_MAX; i++)
        if (target->slots[i].used && target->slots[i].connection == connection)
            target->slots[i].ended = true;
    pthread_cond_broadcast(&target->changed);
    pthread_mutex_unlock(&target->lock);
}

static struct slot *slot_free(struct hf_target *target)
{
    for (size_t i = 0; i < HF_TARGET_CONNECTIONS_MAX; i++)
        if (!target->slots[i].used)
            return &target->slots[i];
    return NULL;
}

/* The lock is held across the start, so that `ended` finds the slot filled. */
static void start_connection(struct hf_target *target, int fd)
{
    struct slot *slot;
    int error;

    pthread_mutex_lock(&target->lock);
    slot = slot_free(target);
    if (slot == NULL) {
        hf_log_warn(&log_daemon, "refused a connection: %d are open already",
                    HF_TARGET_CONNECTIONS_MAX);
        close(fd);
    } else {
        error = hf_connection_start(&target->connection_options, fd, connection_ended, target,
                                    &slot->connection);
        if (error < 0)
            hf_log_error(&log_daemon, "cannot serve a connection: %s", hf_strerror(error));
        else
            slot->used = true;
    }
    pthread_mutex_unlock(&target->lock);
}

static void *accepting_main(void *context)
{
    struct hf_target *target = context;

    while (!atomic_load(&target->stopping)) {
        int fd;
        int error = hf_listener_accept(target->listener, ACCEPT_MS, &fd);

        if (error == 0)
            start_connection(target, fd);
        else if (error == -ECANCELED)
            break;
        else if (error != -ETIMEDOUT) {
            hf_log_warn(&log_daemon, "accept: %s", hf_strerror(error));
            usleep(ACCEPT_PAUSE_US);
        }
    }
    return NULL;
}

static struct hf_connection *take_ended(struct hf_target *target, bool *ret_any)
{
    *ret_any = false;
    for (size_t i = 0; i < HF_TARGET_CONNECTIONS_MAX; i++) {
        struct slot *slot = &target->slots[i];

        *ret_any |= slot->used;
        if (slot->used && slot->ended) {
            struct hf_connection *connection = slot->connection;

            *slot = (struct slot){0};
            return connection;
        }
    }
    return NULL;
}

static void *reaping_main(void *context)
{
    struct hf_target *target = context;
    bool any = true;

    pthread_mutex_lock(&target->lock);
    while (any || !atomic_load(&target->stopping)) {
        struct hf_connection *connection = take_ended(target, &any);

        if (connection != NULL) {
            pthread_mutex_unlock(&target->lock);
            hf_connection_free(connection);
            pthread_mutex_lock(&target->lock);
            any = true;
        } else if (any || !atomic_load(&target->stopping)) {
            pthread_cond_wait(&target->changed, &target->lock);
            any = true; /* connections came while this waited: look again before ending */
        }
    }
    pthread_mutex_unlock(&target->lock);
    return NULL;
}

static void upkeep_failed(void *context, const struct hf_id *machine, int error)
{
    char text[HF_ID_TEXT_SIZE];

    hf_id_format(machine, text);
    hf_log_error(
        &log_daemon, "upkeep of machine %s: %s; its points stay as they are%s", text,
        hf_strerror(error),
        error == -HF_ESYNC
            ? ". See to the store's disk and restart holdfast-target: until then nothing of "
              "this machine is merged"
            : "");
}

static void *upkeep_main(void *context)
{
    struct hf_target *target = context;

    while (!atomic_load(&target->stopping))
        if (!hf_registry_maintain(target->registry, UPKEEP_STEP_BYTES, upkeep_failed, target))
            usleep(UPKEEP_PAUSE_US);
    return NULL;
}

static void open_failed(void *context, const struct hf_id *machine, int error)
{
    char text[HF_ID_TEXT_SIZE];

    hf_id_format(machine, text);
    hf_log_error(&log_daemon,
                 "machine %s cannot be opened: %s; run `holdfast store check` on this store", text,
                 hf_strerror(error));
}

static int open_store(struct hf_target *target, const struct hf_target_config *config)
{
    struct hf_registry_options options = {.retention = config->retention,
                                          .segment_bytes = config->segment_bytes};
    int error = hf_io_best_new(config->store, &target->io);

    if (error == 0)
        error = hf_store_open(target->io, hf_clock_system(), hf_random_system(), &target->store);
    if (error == -ENOENT) {
        error = hf_store_create(target->io, hf_random_system());
        if (error == 0)
            error =
                hf_store_open(target->io, hf_clock_system(), hf_random_system(), &target->store);
    }
    if (error < 0) {
        hf_log_error(&log_daemon, "store %s: %s", config->store, hf_strerror(error));
        return error;
    }
    options.store = target->store;
    error = hf_registry_new(&options, &target->registry);
    if (error == 0)
        hf_registry_open_all(target->registry, open_failed,
                             target); /* one bad machine must not stop the others */
    return error;
}

static int open_network(struct hf_target *target, const struct hf_target_config *config)
{
    struct hf_tls_options options = {
        .certificate_file = config->certificate,
        .key_file = config->key,
        .authority_file = config->authority,
        .deny_file = config->deny[0] != '\0' ? config->deny : NULL,
    };
    char text[256] = "";
    int error = hf_tls_new(&options, &target->tls, text, sizeof(text));

    if (error < 0) {
        hf_log_error(&log_daemon, "TLS: %s", text[0] != '\0' ? text : hf_strerror(error));
        return error;
    }
    error = hf_listener_new(config->listen, &target->listener);
    if (error < 0)
        hf_log_error(&log_daemon, "cannot listen on %s: %s", config->listen, hf_strerror(error));
    return error;
}

static int start_threads(struct hf_target *target)
{
    void *(*const mains[])(void *) = {accepting_main, upkeep_main, reaping_main};
    pthread_t *const threads[] = {&target->accepting, &target->upkeep, &target->reaping};

    for (size_t i = 0; i < HF_ARRAY_COUNT(mains); i++) {
        int error = -pthread_create(threads[i], NULL, mains[i], target);

        if (error < 0)
            return error;
        target->threads_started++;
    }
    return 0;
}

int hf_target_start(const struct hf_target_config *config, struct hf_target **ret_target)
{
    struct hf_target *target = calloc(1, sizeof(*target));
    int error;

    if (target == NULL)
        return -ENOMEM;
    pthread_mutex_init(&target->lock, NULL);
    pthread_cond_init(&target->changed, NULL);
    error = open_store(target, config);
    if (error == 0)
        error = open_network(target, config);
    if (error == 0) {
        target->connection_options.registry = target->registry;
        target->connection_options.tls = target->tls;
        hf_store_id(target->store, &target->connection_options.target);
        error = start_threads(target);
    }
    if (error < 0) {
        hf_target_stop(target);
        return error;
    }
    hf_log_info(&log_daemon, "store %s, listening on %s", config->store, config->listen);
    *ret_target = target;
    return 0;
}

int hf_target_port(struct hf_target *target)
{
    return hf_listener_port(target->listener);
}

static void stop_connections(struct hf_target *target)
{
    pthread_mutex_lock(&target->lock);
    for (size_t i = 0; i < HF_TARGET_CONNECTIONS_MAX; i++)
        if (target->slots[i].used && !target->slots[i].ended)
            hf_connection_stop(target->slots[i].connection);
    pthread_cond_broadcast(&target->changed);
    pthread_mutex_unlock(&target->lock);
}

void hf_target_stop(struct hf_target *target)
{
    if (target == NULL)
        return;
    atomic_store(&target->stopping, true);
    if (target->listener != NULL)
        hf_listener_stop(target->listener);
    if (target->threads_started > 0)
        pthread_join(target->accepting, NULL);
    stop_connections(target);
    if (target->threads_started > 1)
        pthread_join(target->upkeep, NULL);
    if (target->threads_started > 2)
        pthread_join(target->reaping, NULL);
    hf_registry_free(target->registry);
    hf_listener_free(target->listener);
    hf_tls_free(target->tls);
    hf_store_close(target->store);
    hf_io_free(target->io);
    pthread_cond_destroy(&target->changed);
    pthread_mutex_destroy(&target->lock);
    free(target);
}
