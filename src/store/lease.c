// SPDX-License-Identifier: Apache-2.0
#include "store/lease.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/store-internal.h"

struct lease_body {
    hf_le64 position;
    hf_le64 hash; /* of position: a lease that was not written through keeps everything */
} __attribute__((packed));
_Static_assert(sizeof(struct lease_body) == 16, "on disk");

int hf_gate_try(struct hf_store *store, const struct hf_id *machine, enum hf_lock_mode mode,
                struct hf_file **ret_gate)
{
    char path[HF_IO_PATH_MAX];
    struct hf_file *gate = NULL;
    int r;

    hf_machine_path(machine, "gate", path);
    r = hf_io_open(store->io, path, HF_OPEN_READ | HF_OPEN_WRITE, &gate);
    if (r < 0)
        return r;
    r = hf_io_lock(gate, mode);
    if (r < 0) {
        hf_io_close(gate);
        return r;
    }
    *ret_gate = gate;
    return 0;
}

int hf_gate_enter(struct hf_store *store, const struct hf_id *machine, enum hf_lock_mode mode,
                  struct hf_file **ret_gate)
{
    int r = -EAGAIN;

    for (unsigned i = 0; r == -EAGAIN && i < HF_GATE_ATTEMPTS; i++) {
        if (i > 0)
            store->clock->ops->sleep_ns(store->clock, HF_GATE_PAUSE_NS);
        r = hf_gate_try(store, machine, mode, ret_gate);
    }
    return r;
}

void hf_gate_leave(struct hf_file *gate)
{
    hf_io_close(gate);
}

static int lease_write(struct hf_file *file, uint64_t position)
{
    struct lease_body body = {.position = hf_le64_of(position)};

    body.hash = hf_le64_of(hf_hash64(&body.position, sizeof(body.position)));
    return hf_io_write(file, &body, sizeof(body), 0);
}

int hf_lease_take(struct hf_store *store, const struct hf_id *machine, uint64_t position,
                  struct hf_lease *ret_lease)
{
    struct hf_lease lease = {.io = store->io, .written = true};
    char text[HF_ID_TEXT_SIZE], leaf[64];
    struct hf_id id;
    int r = hf_id_make(store->random, &id);

    if (r < 0)
        return r;
    hf_id_format(&id, text);
    snprintf(leaf, sizeof(leaf), "leases/%s", text);
    hf_machine_path(machine, leaf, lease.path);
    r = hf_io_open(store->io, lease.path,
                   HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE | HF_OPEN_EXCLUSIVE, &lease.file);
    if (r < 0)
        return r;
    r = lease_write(lease.file, position);
    if (r == 0)
        r = hf_io_lock(lease.file, HF_LOCK_SHARED);
    if (r < 0) {
        hf_lease_give_back(&lease);
        return r;
    }
    *ret_lease = lease;
    return 0;
}

int hf_lease_take_readonly(struct hf_store *store, const struct hf_id *machine,
                           struct hf_lease *ret_lease)
{
    struct hf_lease lease = {.io = store->io};
    int r;

    hf_machine_path(machine, "lock", lease.path);
    r = hf_io_open(store->io, lease.path, HF_OPEN_READ, &lease.file);
    if (r < 0)
        return r;
    r = hf_io_lock(lease.file, HF_LOCK_SHARED);
    if (r < 0) {
        hf_io_close(lease.file);
        return r == -EAGAIN ? -EROFS : r;
    }
    *ret_lease = lease;
    return 0;
}

void hf_lease_give_back(struct hf_lease *lease)
{
    if (lease == NULL || lease->file == NULL)
        return;
    if (lease->written)
        hf_io_unlink(lease->io, lease->path);
    hf_io_close(lease->file);
    lease->file = NULL;
}

/* A lease whose content is not whole holds everything: its owner is alive, so the safe floor is 0.
 */
static uint64_t lease_position(struct hf_file *file)
{
    struct lease_body body;

    if (hf_io_read_full(file, &body, sizeof(body), 0) < 0)
        return 0;
    if (hf_le64_get(body.hash) != hf_hash64(&body.position, sizeof(body.position)))
        return 0;
    return hf_le64_get(body.position);
}

struct floor_scan {
    struct hf_store *store;
    const struct hf_id *machine;
    uint64_t position;
};

static int look_at_lease(void *context, const char *name)
{
    struct floor_scan *scan = context;
    char leaf[HF_IO_PATH_MAX / 2], path[HF_IO_PATH_MAX];
    struct hf_file *file = NULL;
    int n = snprintf(leaf, sizeof(leaf), "leases/%s", name);
    int r;

    if (n < 0 || (size_t)n >= sizeof(leaf))
        return 0;
    hf_machine_path(scan->machine, leaf, path);
    r = hf_io_open(scan->store->io, path, HF_OPEN_READ | HF_OPEN_WRITE, &file);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = hf_io_lock(file, HF_LOCK_EXCLUSIVE);
    if (r == 0)
        r = hf_io_unlink(scan->store->io, path);
    else if (r == -EAGAIN) {
        scan->position = HF_MIN(scan->position, lease_position(file));
        r = 0;
    }
    hf_io_close(file);
    return r == -ENOENT ? 0 : r;
}

int hf_lease_floor(struct hf_store *store, const struct hf_id *machine, uint64_t *ret_position)
{
    struct floor_scan scan = {.store = store, .machine = machine, .position = UINT64_MAX};
    char path[HF_IO_PATH_MAX];
    int r;

    hf_machine_path(machine, "leases", path);
    r = hf_io_list(store->io, path, look_at_lease, &scan);
    if (r < 0)
        return r;
    *ret_position = scan.position;
    return 0;
}
