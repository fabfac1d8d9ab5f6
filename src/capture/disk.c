// SPDX-License-Identifier: Apache-2.0
/*
 * Disks under protection. A disk becomes visible to the programs in one step, the update of the map
 * that says which slots watch it; everything about the slot is complete before.
 *
 * Crash argument. A slot is ACTIVE before it is watched and no longer watched before it stops being
 * ACTIVE. An agent killed in between leaves a slot that is active and captures nothing, which
 * hf_capture_disk_find shows only when the watch has it; adding again then takes another slot.
 */
#include <bpf/bpf.h>
#include <unistd.h>

#include "capture/capture-internal.h"

#define BIO_SETTLE_TRIES 500 /* of 10 ms each */

static uint32_t disk_dev(const struct hf_disk_identity *identity)
{
    return identity->disk_major << 20 | identity->disk_minor;
}

static int get_watch(const struct hf_capture *capture, uint32_t dev, struct hf_capture_watch *watch)
{
    *watch = (struct hf_capture_watch){.count = 0};
    return bpf_map_lookup_elem(capture->watch_fd, &dev, watch);
}

static int watch_slot(const struct hf_capture *capture, uint32_t dev, unsigned slot)
{
    struct hf_capture_watch watch;

    (void)get_watch(capture, dev, &watch);
    if (watch.count >= HF_CAPTURE_WINDOWS_MAX)
        return -ENOSPC;
    watch.slots[watch.count++] = (uint8_t)slot;
    return bpf_map_update_elem(capture->watch_fd, &dev, &watch, BPF_ANY);
}

static int unwatch_slot(const struct hf_capture *capture, uint32_t dev, unsigned slot)
{
    struct hf_capture_watch watch, left = {.count = 0};

    if (get_watch(capture, dev, &watch))
        return 0;
    for (unsigned i = 0; i < watch.count; i++)
        if (watch.slots[i] != slot)
            left.slots[left.count++] = watch.slots[i];
    if (!left.count)
        return bpf_map_delete_elem(capture->watch_fd, &dev);
    return bpf_map_update_elem(capture->watch_fd, &dev, &left, BPF_ANY);
}

static bool same_disk(const struct hf_capture_disk *disk, const struct hf_disk_identity *identity)
{
    return disk->dev == disk_dev(identity) && disk->partition == identity->partition &&
           disk->diskseq == identity->diskseq;
}

int hf_capture_disk_find(struct hf_capture *capture, const struct hf_disk_identity *identity)
{
    struct hf_capture_watch watch;

    if (get_watch(capture, disk_dev(identity), &watch))
        return -ENOENT;
    for (unsigned i = 0; i < watch.count; i++)
        if (same_disk(&capture->control->disks[watch.slots[i]], identity))
            return watch.slots[i];
    return -ENOENT;
}

int hf_capture_disk_get(struct hf_capture *capture, unsigned slot, struct hf_capture_disk *ret_disk)
{
    if (!hf_capture_slot_used(capture, slot))
        return -ENODEV;
    *ret_disk = capture->control->disks[slot];
    return 0;
}

static int free_slot(const struct hf_capture *capture)
{
    for (unsigned slot = 0; slot < HF_CAPTURE_DISKS_MAX; slot++)
        if (!capture->control->disks[slot].flags)
            return (int)slot;
    return -ENOSPC;
}

/* Half of what is left for one disk, so that the next one finds room as well. */
static int choose_shift(const struct hf_capture *capture, uint64_t disk_bytes, uint32_t target_mask,
                        uint64_t own_bytes, uint32_t *ret_shift)
{
    const struct hf_capture_control *control = capture->control;
    uint64_t used = control->maps_bytes - own_bytes;
    uint64_t left = control->maps_bytes_max > used ? control->maps_bytes_max - used : 0;
    uint32_t targets = (uint32_t)__builtin_popcount(target_mask);
    uint32_t shift = hf_capture_bits_shift(disk_bytes, left / 2 / HF_MAX(1, targets));

    if (!shift)
        return -ENOSPC;
    *ret_shift = shift;
    return 0;
}

static int put_disk_record(struct hf_capture *capture, unsigned slot, uint32_t event,
                           uint64_t size_before)
{
    const struct hf_capture_disk *disk = &capture->control->disks[slot];
    struct hf_capture_disk_change change = {.size_bytes = disk->size_sectors << 9,
                                            .size_bytes_before = size_before,
                                            .diskseq = disk->diskseq};
    struct hf_capture_command command = {
        .type = HF_CAPTURE_DISK, .kind = event, .slot = slot, .length_bytes = change.size_bytes};
    struct hf_capture_view view;

    return hf_capture_put(capture, &command, &change, sizeof(change), &view);
}

static int create_maps(struct hf_capture *capture, unsigned slot, uint64_t disk_bytes,
                       uint32_t target_mask)
{
    uint32_t shift;
    int rc = choose_shift(capture, disk_bytes, target_mask, 0, &shift);

    for (unsigned target = 0; !rc && target < HF_TARGETS_MAX; target++)
        if (target_mask & 1u << target)
            rc = hf_capture_bits_create(capture, slot, target, disk_bytes, shift);
    return rc;
}

static unsigned inflight_of(const struct hf_capture *capture, uint32_t dev)
{
    unsigned count = 0;

    for (unsigned place = 0; place < HF_CAPTURE_INFLIGHT_MAX; place++)
        if (capture->buckets[place / HF_CAPTURE_BUCKET_WAYS]
                .requests[place % HF_CAPTURE_BUCKET_WAYS] &&
            capture->inflight[place].dev == dev)
            count++;
    return count;
}

/* Writes of the disk in flight as the kernel counts them. */
static int kernel_inflight(const struct hf_disk_identity *identity, unsigned *ret_writes)
{
    char path[64], text[64] = "";
    FILE *file;
    char *end;

    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/inflight", identity->disk_major,
             identity->disk_minor);
    file = fopen(path, "re");
    if (!file)
        return -errno;
    end = fgets(text, sizeof(text), file);
    fclose(file);
    if (!end)
        return -EIO;
    (void)strtoul(text, &end, 10);
    *ret_writes = (unsigned)strtoul(end, NULL, 10);
    return 0;
}

/* A bio that was queued before the disk was watched leaves no trace when it ends: wait until none
 * can be left. */
static int settle_bios(const struct hf_capture *capture, const struct hf_disk_identity *identity)
{
    for (unsigned i = 0; i < BIO_SETTLE_TRIES; i++) {
        unsigned ours = inflight_of(capture, disk_dev(identity)), all = 0;
        int rc = kernel_inflight(identity, &all);

        if (rc || all <= ours)
            return rc;
        usleep(10 * 1000);
    }
    return -EBUSY;
}

static void describe_slot(struct hf_capture_disk *disk, const struct hf_disk_identity *identity,
                          uint32_t target_mask)
{
    disk->dev = disk_dev(identity);
    disk->partition = identity->partition;
    disk->diskseq = identity->diskseq;
    disk->start_sectors = identity->start_bytes / 512;
    disk->size_sectors = identity->size_bytes / 512;
    disk->target_mask = target_mask;
    disk->mapped_bytes = identity->size_bytes;
}

static int watch_new_slot(struct hf_capture *capture, const struct hf_disk_identity *identity,
                          unsigned slot)
{
    int rc = put_disk_record(capture, slot, HF_CAPTURE_DISK_ADD, 0);

    if (!rc)
        rc = watch_slot(capture, disk_dev(identity), slot);
    if (!rc)
        rc = hf_capture_quiesce(capture);
    if (!rc && identity->bio_based)
        rc = settle_bios(capture, identity);
    return rc;
}

int hf_capture_disk_add(struct hf_capture *capture, const struct hf_disk_identity *identity,
                        uint32_t target_mask, unsigned *ret_slot)
{
    struct hf_capture_disk *disk;
    int slot = free_slot(capture), rc;

    if (slot < 0)
        return slot;
    if (identity->zoned || identity->dax)
        return -EOPNOTSUPP;
    if (!target_mask || target_mask >= 1u << HF_TARGETS_MAX || !identity->size_bytes)
        return -EINVAL;
    if (hf_capture_disk_find(capture, identity) >= 0)
        return -EEXIST;
    if (identity->bio_based) {
        rc = hf_capture_object_attach_bios(capture);
        if (rc)
            return rc;
    }
    rc = create_maps(capture, (unsigned)slot, identity->size_bytes, target_mask);
    if (rc) {
        hf_capture_bits_destroy(capture, (unsigned)slot);
        return rc;
    }
    disk = &capture->control->disks[slot];
    describe_slot(disk, identity, target_mask);
    __atomic_store_n(&disk->flags,
                     identity->bio_based ? HF_DISK_ACTIVE | HF_DISK_BIO_BASED : HF_DISK_ACTIVE,
                     __ATOMIC_SEQ_CST);
    rc = watch_new_slot(capture, identity, (unsigned)slot);
    if (rc) {
        (void)hf_capture_disk_remove(capture, (unsigned)slot);
        return rc;
    }
    *ret_slot = (unsigned)slot;
    return 0;
}

int hf_capture_disk_remove(struct hf_capture *capture, unsigned slot)
{
    struct hf_capture_watch watch;
    struct hf_capture_disk *disk;
    int rc;

    if (!hf_capture_slot_used(capture, slot))
        return -ENODEV;
    disk = &capture->control->disks[slot];
    rc = unwatch_slot(capture, disk->dev, slot);
    if (!rc)
        rc = hf_capture_quiesce(capture);
    if (rc)
        return rc;
    if (get_watch(capture, disk->dev, &watch))
        hf_capture_inflight_forget(capture, disk->dev);
    rc = put_disk_record(capture, slot, HF_CAPTURE_DISK_REMOVE, disk->size_sectors << 9);
    __atomic_store_n(&disk->flags, HF_DISK_REMOVED, __ATOMIC_SEQ_CST);
    hf_capture_bits_destroy(capture, slot);
    return rc;
}

static int regrow_maps(struct hf_capture *capture, unsigned slot, uint64_t disk_bytes)
{
    const struct hf_capture_disk *disk = &capture->control->disks[slot];
    uint64_t own = 0;
    uint32_t shift;
    int rc;

    for (unsigned i = HF_MAP_INDEX(slot, 0, 0, 0); i < HF_MAP_INDEX(slot + 1, 0, 0, 0); i++)
        own += capture->bits[i].map_bytes;
    rc = choose_shift(capture, disk_bytes, disk->target_mask, own, &shift);
    for (unsigned target = 0; !rc && target < HF_TARGETS_MAX; target++)
        if (disk->target_mask & 1u << target)
            rc = hf_capture_bits_regrow(capture, slot, target, disk_bytes, shift);
    return rc;
}

int hf_capture_disk_resized(struct hf_capture *capture, unsigned slot)
{
    struct hf_capture_disk *disk;
    uint64_t size, before;
    int rc = 0;

    if (!hf_capture_slot_used(capture, slot))
        return -ENODEV;
    disk = &capture->control->disks[slot];
    size = disk->size_sectors << 9;
    before = disk->mapped_bytes;
    if (size > before)
        rc = regrow_maps(capture, slot, size);
    for (unsigned target = 0; !rc && size > before && target < HF_TARGETS_MAX; target++)
        if (disk->target_mask & 1u << target)
            rc = hf_capture_map_set(capture, slot, target, HF_MAP_LOST, before, size - before);
    if (!rc)
        disk->mapped_bytes = size;
    return rc ? rc : hf_capture_quiesce(capture);
}

int hf_capture_disk_confirm(struct hf_capture *capture, unsigned slot,
                            const struct hf_disk_identity *identity)
{
    struct hf_capture_disk *disk;
    uint64_t before;
    int rc;

    if (!hf_capture_slot_used(capture, slot))
        return -ENODEV;
    if (identity->zoned || identity->dax)
        return -EOPNOTSUPP;
    disk = &capture->control->disks[slot];
    before = disk->size_sectors << 9;
    rc = unwatch_slot(capture, disk->dev, slot);
    if (!rc)
        rc = hf_capture_quiesce(capture);
    if (!rc && identity->size_bytes > disk->mapped_bytes)
        rc = regrow_maps(capture, slot, identity->size_bytes);
    if (rc)
        return rc;
    describe_slot(disk, identity, disk->target_mask);
    hf_capture_bits_set_all(capture, slot, HF_CAUSE_DISK_CHANGED);
    __atomic_fetch_and(&disk->flags, ~(uint32_t)HF_DISK_REFUSED, __ATOMIC_SEQ_CST);
    rc = put_disk_record(capture, slot, HF_CAPTURE_DISK_RESIZE, before);
    if (!rc)
        rc = watch_slot(capture, disk->dev, slot);
    return rc ? rc : hf_capture_quiesce(capture);
}
