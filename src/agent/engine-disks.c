// SPDX-License-Identifier: Apache-2.0
/* The disks of the engine: who they are, adding, removing, and bringing them into a new capture. */
#include "agent/engine-internal.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

/*
 * A disk's identity across reboots. What the hardware says of itself where it says anything; a loop
 * device says nothing, and is known by its name.
 */
static struct hf_id identity_of(const struct hf_disk_identity *disk)
{
    char text[3 * HF_DISK_TEXT_MAX + 64];
    bool named = disk->serial[0] || disk->wwid[0] || disk->partition_uuid[0];
    struct hf_hash128 hash;
    struct hf_id id;

    snprintf(text, sizeof(text), "%s|%s|%s|%u|%s", disk->serial, disk->wwid, disk->partition_uuid,
             disk->partition, named ? "" : disk->name);
    hash = hf_hash128(text, strlen(text), 0);
    memcpy(id.bytes, hash.bytes, sizeof(id.bytes));
    return id;
}

static void remember(struct hf_engine *engine, unsigned slot,
                     const struct hf_disk_identity *identity, const char *path)
{
    struct hf_engine_disk *disk = NULL;
    struct hf_saved_disk saved = {
        .identity = identity_of(identity),
        .block_size = identity->logical_block_bytes,
    };

    snprintf(saved.name, sizeof(saved.name), "%.27s", identity->name);
    hf_state_disk_set(&engine->state, slot, &saved);
    pthread_mutex_lock(&engine->status_lock);
    for (unsigned i = 0; i < engine->status.disk_count; i++)
        if (strcmp(engine->status.disks[i].path, path) == 0)
            disk = &engine->status.disks[i];
    if (!disk)
        disk = &engine->status.disks[engine->status.disk_count++];
    *disk = (struct hf_engine_disk){
        .slot = slot,
        .identity = saved.identity,
        .size_bytes = identity->size_bytes,
    };
    snprintf(disk->name, sizeof(disk->name), "%s", identity->name);
    snprintf(disk->path, sizeof(disk->path), "%s", path);
    pthread_mutex_unlock(&engine->status_lock);
    engine->identities[slot] = *identity;
}

static bool is_mine(struct hf_engine *engine, unsigned slot)
{
    for (unsigned i = 0; i < engine->status.disk_count; i++)
        if (engine->status.disks[i].slot == slot)
            return true;
    return false;
}

/* Adds to the capture, unless it has the disk from before. */
static int find_or_add(struct hf_engine *engine, const struct hf_disk_identity *identity,
                       unsigned *ret_slot, bool *ret_added)
{
    struct hf_source *source = engine->options.source;
    int slot = source->ops->disk_find(source, identity);

    *ret_added = slot < 0;
    if (slot >= 0) {
        *ret_slot = (unsigned)slot;
        return is_mine(engine, (unsigned)slot) ? -EEXIST : 0;
    }
    if (slot != -ENOENT)
        return slot;
    return source->ops->disk_add(source, identity, 1u << engine->options.target, ret_slot);
}

int hf_engine_disk_add(struct hf_engine *engine, const struct hf_disk_identity *identity,
                       const char *path, unsigned *ret_slot)
{
    struct hf_source *source = engine->options.source;
    struct hf_disk_reader *reader = engine->options.reader;
    unsigned slot;
    bool added;
    int error;

    if (engine->status.disk_count == HF_DISKS_MAX)
        return -ENOSPC;
    error = find_or_add(engine, identity, &slot, &added);
    if (error)
        return error;
    error = reader->ops->open(reader, slot, path);
    if (!error) {
        remember(engine, slot, identity, path);
        if (added)
            error = hf_engine_lose_all(engine, (uint64_t)1 << slot);
    }
    if (error) {
        if (added)
            (void)source->ops->disk_remove(source, slot);
        return error;
    }
    *ret_slot = slot;
    return 0;
}

int hf_engine_disk_remove(struct hf_engine *engine, const struct hf_disk_identity *identity,
                          unsigned *ret_slot)
{
    struct hf_source *source = engine->options.source;
    struct hf_disk_reader *reader = engine->options.reader;
    struct hf_engine_status *status = &engine->status;
    int slot = source->ops->disk_find(source, identity);
    int error;

    if (slot < 0)
        return slot;
    error = source->ops->disk_remove(source, (unsigned)slot);
    if (error)
        return error;
    pthread_mutex_lock(&engine->status_lock);
    for (unsigned i = 0; i < status->disk_count; i++)
        if (status->disks[i].slot == (unsigned)slot)
            status->disks[i--] = status->disks[--status->disk_count];
    pthread_mutex_unlock(&engine->status_lock);
    engine->state.now.complete_mask &= ~((uint64_t)1 << slot);
    hf_state_save(&engine->state);
    if (engine->state.now.pass_mask >> slot & 1 && engine->state.now.pass) {
        hf_pass_stop(engine->pass);
        engine->replace_pass = true;
    }
    hf_pass_quiesce(engine->pass);
    reader->ops->close(reader, (unsigned)slot);
    *ret_slot = (unsigned)slot;
    return 0;
}

int hf_engine_disk_confirm(struct hf_engine *engine, unsigned slot,
                           const struct hf_disk_identity *identity)
{
    struct hf_source *source = engine->options.source;
    struct hf_disk_reader *reader = engine->options.reader;
    char path[HF_ENGINE_PATH_MAX] = "";
    int error;

    for (unsigned i = 0; i < engine->status.disk_count; i++)
        if (engine->status.disks[i].slot == slot)
            snprintf(path, sizeof(path), "%s", engine->status.disks[i].path);
    if (path[0] == '\0')
        return -ENOENT;
    error = source->ops->disk_confirm(source, slot, identity);
    if (error)
        return error;
    engine->begin_error = 0;
    if (engine->state.now.pass) {
        hf_pass_stop(engine->pass);
        engine->replace_pass = true;
    }
    hf_pass_quiesce(engine->pass);
    reader->ops->close(reader, slot);
    error = reader->ops->open(reader, slot, path);
    if (!error)
        remember(engine, slot, identity, path);
    return error;
}

int hf_engine_unclaimed(struct hf_engine *engine, unsigned from, char *ret_name)
{
    struct hf_source *source = engine->options.source;
    struct hf_capture_disk disk;
    struct hf_saved_disk saved;

    for (unsigned slot = from; slot < HF_DISKS_MAX; slot++) {
        if (is_mine(engine, slot) || source->ops->disk_get(source, slot, &disk))
            continue;
        hf_state_disk_get(&engine->state, slot, &saved);
        memcpy(ret_name, saved.name, sizeof(saved.name));
        return (int)slot;
    }
    return -1;
}

int hf_engine_drop_unclaimed(struct hf_engine *engine, unsigned slot)
{
    struct hf_source *source = engine->options.source;

    engine->state.now.complete_mask &= ~((uint64_t)1 << slot);
    hf_state_save(&engine->state);
    return source->ops->disk_remove(source, slot);
}

/* The new capture gives new slots. */
int hf_engine_disks_restore(struct hf_engine *engine)
{
    struct hf_engine_disk disks[HF_DISKS_MAX];
    struct hf_disk_identity *identities = engine->identities_before;
    unsigned count = engine->status.disk_count, slot;
    int error = 0;

    memcpy(disks, engine->status.disks, sizeof(disks));
    memcpy(identities, engine->identities, sizeof(engine->identities));
    hf_pass_quiesce(engine->pass);
    for (unsigned i = 0; i < count; i++)
        engine->options.reader->ops->close(engine->options.reader, disks[i].slot);
    pthread_mutex_lock(&engine->status_lock);
    engine->status.disk_count = 0;
    pthread_mutex_unlock(&engine->status_lock);
    for (unsigned i = 0; i < count && !error; i++)
        error = hf_engine_disk_add(engine, &identities[disks[i].slot], disks[i].path, &slot);
    return error;
}
