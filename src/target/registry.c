// SPDX-License-Identifier: Apache-2.0
#include "target/registry.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/error.h"

struct hf_registry_entry {
    struct hf_id id;
    struct hf_machine *machine;
    bool attached;
    void (*evict)(void *context);
    void *evict_context;
    int upkeep_error; /* of the last step: said once, not with each step. The upkeep's own */
};

struct hf_registry {
    struct hf_registry_options options;
    pthread_mutex_t lock; /* guards the table and every entry's attached/evict; never held during
                             I/O but an open */
    pthread_cond_t detached;
    size_t count;
    struct hf_registry_entry
        *entries[HF_REGISTRY_MACHINES_MAX]; /* grow only: an entry lives as long as the registry */
};

int hf_registry_new(const struct hf_registry_options *options, struct hf_registry **ret_registry)
{
    struct hf_registry *registry = calloc(1, sizeof(*registry));
    pthread_condattr_t attributes;

    if (registry == NULL)
        return -ENOMEM;
    registry->options = *options;
    pthread_mutex_init(&registry->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&registry->detached, &attributes);
    pthread_condattr_destroy(&attributes);
    *ret_registry = registry;
    return 0;
}

void hf_registry_free(struct hf_registry *registry)
{
    if (registry == NULL)
        return;
    for (size_t i = 0; i < registry->count; i++) {
        HF_ASSERT(!registry->entries[i]->attached);
        hf_machine_close(registry->entries[i]->machine);
        free(registry->entries[i]);
    }
    pthread_cond_destroy(&registry->detached);
    pthread_mutex_destroy(&registry->lock);
    free(registry);
}

static struct hf_registry_entry *entry_find(struct hf_registry *registry,
                                            const struct hf_id *machine)
{
    for (size_t i = 0; i < registry->count; i++)
        if (hf_id_equal(&registry->entries[i]->id, machine))
            return registry->entries[i];
    return NULL;
}

/* The registry's lock is held: two connections must not open one machine twice. */
static int entry_open(struct hf_registry *registry, const struct hf_id *machine, bool create,
                      struct hf_registry_entry **ret_entry)
{
    struct hf_machine_options options = {
        .retention = registry->options.retention,
        .segment_bytes = registry->options.segment_bytes,
        .create = create,
    };
    struct hf_journal_recovery recovery;
    struct hf_registry_entry *entry;
    int error;

    if (registry->count == HF_REGISTRY_MACHINES_MAX)
        return -HF_EQUOTA;
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return -ENOMEM;
    entry->id = *machine;
    error = hf_machine_open(registry->options.store, machine, &options, &recovery, &entry->machine);
    if (error < 0) {
        free(entry);
        return error;
    }
    registry->entries[registry->count++] = entry;
    *ret_entry = entry;
    return 0;
}

struct open_all {
    struct hf_registry *registry;
    void (*failed)(void *context, const struct hf_id *machine, int error);
    void *context;
    int first_error;
};

static int open_one(void *context, const struct hf_machine_summary *summary)
{
    struct open_all *all = context;
    struct hf_registry_entry *entry;
    int error;

    if (entry_find(all->registry, &summary->machine) != NULL)
        return 0;
    error = entry_open(all->registry, &summary->machine, false, &entry);
    if (error < 0) {
        all->failed(all->context, &summary->machine, error);
        if (all->first_error == 0)
            all->first_error = error;
    }
    return 0;
}

int hf_registry_open_all(struct hf_registry *registry,
                         void (*failed)(void *context, const struct hf_id *machine, int error),
                         void *context)
{
    struct open_all all = {.registry = registry, .failed = failed, .context = context};
    int error;

    pthread_mutex_lock(&registry->lock);
    error = hf_store_machines(registry->options.store, open_one, &all);
    pthread_mutex_unlock(&registry->lock);
    return error < 0 ? error : all.first_error;
}

/* A machine belongs to the name that attached it first: another certificate can not append to it
 * (SEC9). */
static int entry_claim(struct hf_registry_entry *entry, const char *name)
{
    struct hf_machine_status status;
    int error = hf_machine_status(entry->machine, &status);

    if (error < 0)
        return error;
    if (status.summary.name[0] == '\0')
        return hf_machine_name_set(entry->machine, name);
    return strcmp(status.summary.name, name) == 0 ? 0 : -HF_EIDENTITY;
}

static int wait_detached(struct hf_registry *registry, struct hf_registry_entry *entry,
                         int timeout_ms)
{
    struct timespec deadline;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    while (entry->attached) {
        entry->evict(entry->evict_context);
        if (pthread_cond_timedwait(&registry->detached, &registry->lock, &deadline) == ETIMEDOUT)
            return -EBUSY;
    }
    return 0;
}

int hf_registry_attach(struct hf_registry *registry, const struct hf_id *machine, const char *name,
                       int timeout_ms, void (*evict)(void *context), void *evict_context,
                       struct hf_registry_entry **ret_entry)
{
    struct hf_registry_entry *entry;
    int error = 0;

    pthread_mutex_lock(&registry->lock);
    entry = entry_find(registry, machine);
    if (entry == NULL)
        error = entry_open(registry, machine, true, &entry);
    if (error == 0)
        error = entry_claim(entry, name);
    if (error == 0)
        error = wait_detached(registry, entry, timeout_ms);
    if (error == 0) {
        entry->attached = true;
        entry->evict = evict;
        entry->evict_context = evict_context;
        *ret_entry = entry;
    }
    pthread_mutex_unlock(&registry->lock);
    return error;
}

void hf_registry_detach(struct hf_registry *registry, struct hf_registry_entry *entry)
{
    pthread_mutex_lock(&registry->lock);
    HF_ASSERT(entry->attached);
    entry->attached = false;
    entry->evict = NULL;
    pthread_cond_broadcast(&registry->detached);
    pthread_mutex_unlock(&registry->lock);
}

struct hf_machine *hf_registry_machine(struct hf_registry_entry *entry)
{
    return entry->machine;
}

/* Entries never go away, so the table can be walked with the lock given up in between. */
static struct hf_registry_entry *entry_at(struct hf_registry *registry, size_t index,
                                          bool *ret_attached)
{
    struct hf_registry_entry *entry = NULL;

    pthread_mutex_lock(&registry->lock);
    if (index < registry->count) {
        entry = registry->entries[index];
        *ret_attached = entry->attached;
    }
    pthread_mutex_unlock(&registry->lock);
    return entry;
}

bool hf_registry_maintain(struct hf_registry *registry, uint64_t budget_bytes,
                          void (*failed)(void *context, const struct hf_id *machine, int error),
                          void *context)
{
    struct hf_registry_entry *entry;
    bool more = false;
    bool attached;

    for (size_t i = 0; (entry = entry_at(registry, i, &attached)) != NULL; i++) {
        int step = hf_machine_maintain(entry->machine, budget_bytes);

        if (step < 0 && step != entry->upkeep_error)
            failed(context, &entry->id, step);
        entry->upkeep_error = HF_MIN(step, 0);
        more |= step > 0;
    }
    return more;
}

int hf_registry_each(struct hf_registry *registry,
                     int (*each)(void *context, const struct hf_machine_status *status,
                                 bool attached),
                     void *context)
{
    struct hf_registry_entry *entry;
    bool attached;
    int result = 0;

    for (size_t i = 0; result == 0 && (entry = entry_at(registry, i, &attached)) != NULL; i++) {
        struct hf_machine_status status;

        result = hf_machine_status(entry->machine, &status);
        if (result == 0)
            result = each(context, &status, attached);
    }
    return result;
}
