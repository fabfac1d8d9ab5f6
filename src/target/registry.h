// SPDX-License-Identifier: Apache-2.0
/*
 * The machines of this target's store, each opened once for writing and attached by at most one
 * connection. Any thread. Lock order: registry, then machine entry.
 */
#ifndef HF_TARGET_REGISTRY_H
#define HF_TARGET_REGISTRY_H

#include "store/store.h"

#define HF_REGISTRY_MACHINES_MAX 1024

struct hf_registry;       /* opaque */
struct hf_registry_entry; /* one machine */

struct hf_registry_options {
    struct hf_store *store; /* borrowed */
    struct hf_retention retention;
    uint64_t segment_bytes;
};

int hf_registry_new(const struct hf_registry_options *options, struct hf_registry **ret_registry);
void hf_registry_free(struct hf_registry *registry); /* NULL-safe; nothing may be attached */

/* Opens every machine the store holds, so that upkeep goes on for those that never connect. Returns
 * the first failure; the others open. */
int hf_registry_open_all(struct hf_registry *registry,
                         void (*failed)(void *context, const struct hf_id *machine, int error),
                         void *context);

/*
 * Takes a machine for one connection, opening or making it. A machine that is attached already: its
 * holder's `evict` is called (it must only wake the holder and return), and this waits up to
 * timeout_ms for it to let go: -EBUSY after that. HF_EIDENTITY when the machine belongs to another
 * name; HF_EQUOTA over the limit of machines.
 */
int hf_registry_attach(struct hf_registry *registry, const struct hf_id *machine, const char *name,
                       int timeout_ms, void (*evict)(void *context), void *evict_context,
                       struct hf_registry_entry **ret_entry);
void hf_registry_detach(struct hf_registry *registry, struct hf_registry_entry *entry);
struct hf_machine *hf_registry_machine(struct hf_registry_entry *entry);

/* One round of upkeep over all machines; true when more is waiting. `failed` is called when a
 * machine's step fails otherwise than its last one did. Blocks for disk I/O. One thread. */
bool hf_registry_maintain(struct hf_registry *registry, uint64_t budget_bytes,
                          void (*failed)(void *context, const struct hf_id *machine, int error),
                          void *context);

/* Status of every open machine, for the status socket. Stops at the first non-zero. */
int hf_registry_each(struct hf_registry *registry,
                     int (*each)(void *context, const struct hf_machine_status *status,
                                 bool attached),
                     void *context);

#endif
