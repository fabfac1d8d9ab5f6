// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * The capture program: everything written to the protected disks goes, in order, into a ring, or
 * else into maps.
 *
 * Hooks. Writes to request-based disks (virtio, SCSI, NVMe, loop) are taken where a request is
 * handed to its driver (block_rq_issue): nothing is seen that is not issued. Disks without requests
 * (dm, md, zram) are taken where bios are queued. Completions empty the table of writes in flight.
 *
 * Stubs. A tracing link cannot change its program, so what is attached (and pinned) is a stub that
 * calls slot 0 of a pinned program array: an upgrade replaces the slot in one step, under load
 * (hazard H8).
 *
 * Twins. The kernel does not run a program again on a processor where it is running already, so a
 * completion that interrupts another one's program would be missed. Two stubs are attached to
 * completions: the second acts when the first did not see the request.
 */
#include "kernel-types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "capture-event.h"
#include "capture-maps.h"
#include "capture-bits.h"
#include "capture-inflight.h"
#include "capture-copy.h"
#include "capture-request.h"
#include "capture-command.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline __u32 hf_dev(const struct gendisk *disk)
{
    return (__u32)disk->major << 20 | (__u32)disk->first_minor;
}

static __always_inline __u32 hf_partition(const struct block_device *device)
{
    const struct block_device___flags *flags = (const void *)device;
    const struct block_device___number *number = (const void *)device;

    if (bpf_core_field_exists(flags->__bd_flags))
        return BPF_CORE_READ(flags, __bd_flags.counter) & 0xff;
    return BPF_CORE_READ(number, bd_partno);
}

static __always_inline void hf_request_from(struct hf_request *request, struct gendisk *disk,
                                            struct block_device *device)
{
    struct hf_capture_control *control = hf_get_control();

    request->dev = hf_dev(disk);
    request->diskseq = disk->diskseq;
    request->disk_sectors = disk->part0->bd_nr_sectors;
    request->partition = device ? hf_partition(device) : 0;
    request->part_start = device ? device->bd_start_sect : 0;
    request->part_sectors = device ? device->bd_nr_sectors : 0;
    request->epoch = control ? HF_READ_ONCE(control->epoch) : 0;
    request->now = bpf_ktime_get_boot_ns();
}

/* Every slot that watches the disk, then the table of writes in flight: a mark between the two is a
 * mark before the write. */
static __always_inline void hf_capture_all(struct hf_request *request,
                                           const struct hf_capture_watch *watch)
{
    __u32 i;

    for (i = 0; i < HF_CAPTURE_WINDOWS_MAX; i++)
        if (i < watch->count)
            hf_capture_on(watch->slots[i], request);
    if (!hf_op_known(request->op))
        return;
    if (request->op != HF_OP_WRITE && !request->bio_based)
        hf_take_hull(request);
    hf_inflight_enter(request);
}

SEC("tp_btf/block_rq_issue")
int BPF_PROG(hf_issue, struct request *rq)
{
    struct hf_scratch *scratch = hf_get_scratch(0);
    struct hf_capture_watch *watch;
    struct hf_request *request;
    struct gendisk *disk = rq->q->disk;
    __u32 dev;

    if (!disk || !scratch)
        return 0;
    dev = hf_dev(disk);
    watch = bpf_map_lookup_elem(&hf_watch, &dev);
    if (!watch)
        return 0;
    request = &scratch->request;
    request->op = rq->cmd_flags & HF_OP_MASK;
    request->name = (__u64)rq;
    request->bio = (__u64)rq->bio;
    request->bio_based = 0;
    request->start = rq->__sector;
    request->end = request->start + (rq->__data_len >> 9);
    if (hf_op_known(request->op) && request->end == request->start)
        return 0; /* a flush */
    hf_request_from(request, disk, rq->bio ? rq->bio->bi_bdev : NULL);
    hf_capture_all(request, watch);
    return 0;
}

static __always_inline void hf_done(struct request *rq, __u32 error, __u32 bytes, __u32 twin)
{
    struct hf_completion done = {.name = (__u64)rq, .error = error, .twin = twin, .quiet = twin};
    struct gendisk *disk = rq->q->disk;
    __u32 length = rq->__data_len;

    if (!disk || !bytes || !hf_op_known(rq->cmd_flags & HF_OP_MASK))
        return;
    done.dev = hf_dev(disk);
    if (!bpf_map_lookup_elem(&hf_watch, &done.dev))
        return;
    done.start = rq->__sector;
    done.end = done.start + (length >> 9);
    done.partial = bytes < length;
    hf_inflight_leave(&done);
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(hf_complete, struct request *rq, unsigned int error, unsigned int bytes)
{
    struct hf_capture_counters *counters = hf_get_counters();

    if (counters)
        HF_WRITE_ONCE(counters->last_completion[0], (__u64)rq);
    hf_done(rq, error & 0xff, bytes, 0);
    return 0;
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(hf_twin, struct request *rq, unsigned int error, unsigned int bytes)
{
    struct hf_capture_counters *counters = hf_get_counters();

    if (counters && HF_READ_ONCE(counters->last_completion[0]) == (__u64)rq) {
        HF_WRITE_ONCE(counters->last_completion[0], 0);
        return 0;
    }
    hf_done(rq, error & 0xff, bytes, 1);
    return 0;
}

SEC("tp_btf/block_rq_requeue")
int BPF_PROG(hf_requeue, struct request *rq)
{
    struct hf_completion back = {.name = (__u64)rq};

    hf_inflight_requeue(&back);
    return 0;
}

SEC("tp_btf/block_bio_queue")
int BPF_PROG(hf_queue, struct bio *bio)
{
    struct hf_scratch *scratch = hf_get_scratch(1);
    struct hf_capture_watch *watch;
    struct hf_request *request;
    struct block_device *device = bio->bi_bdev;
    struct gendisk *disk = device->bd_disk;
    __u32 dev = hf_dev(disk);

    watch = bpf_map_lookup_elem(&hf_watch, &dev);
    if (!watch || !scratch)
        return 0;
    request = &scratch->request;
    request->op = bio->bi_opf & HF_OP_MASK;
    request->name = (__u64)bio;
    request->bio = (__u64)bio;
    request->bio_based = 1;
    request->start = bio->bi_iter.bi_sector;
    request->end = request->start + (bio->bi_iter.bi_size >> 9);
    if (hf_op_known(request->op) && request->end == request->start)
        return 0;
    hf_request_from(request, disk, device);
    hf_capture_all(request, watch);
    return 0;
}

SEC("tp_btf/block_bio_complete")
int BPF_PROG(hf_end, struct request_queue *queue, struct bio *bio)
{
    struct hf_completion done = {.name = (__u64)bio, .error = bio->bi_status, .quiet = 1};

    done.dev = hf_dev(bio->bi_bdev->bd_disk);
    hf_inflight_leave(&done);
    return 0;
}

/* ---- what is attached ---- */

static __always_inline int hf_no_program(void)
{
    struct hf_capture_control *control = hf_get_control();

    if (control) {
        hf_set_dirty(control, HF_CAUSE_NO_PROGRAM);
        hf_count_cause(control, HF_CAUSE_NO_PROGRAM);
    }
    return 0;
}

SEC("tp_btf/block_rq_issue")
int BPF_PROG(hf_stub_issue, struct request *rq)
{
    if (!hf_op_changes(rq->cmd_flags))
        return 0;
    bpf_tail_call(ctx, &hf_slot_issue, 0);
    return hf_no_program();
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(hf_stub_complete, struct request *rq, unsigned int error, unsigned int bytes)
{
    if (!hf_op_changes(rq->cmd_flags))
        return 0;
    bpf_tail_call(ctx, &hf_slot_complete, 0);
    return hf_no_program();
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(hf_stub_twin, struct request *rq, unsigned int error, unsigned int bytes)
{
    if (!hf_op_changes(rq->cmd_flags))
        return 0;
    bpf_tail_call(ctx, &hf_slot_twin, 0);
    return hf_no_program();
}

SEC("tp_btf/block_rq_requeue")
int BPF_PROG(hf_stub_requeue, struct request *rq)
{
    if (!hf_op_changes(rq->cmd_flags))
        return 0;
    bpf_tail_call(ctx, &hf_slot_requeue, 0);
    return hf_no_program();
}

SEC("tp_btf/block_bio_queue")
int BPF_PROG(hf_stub_queue, struct bio *bio)
{
    if (!hf_op_changes(bio->bi_opf))
        return 0;
    bpf_tail_call(ctx, &hf_slot_queue, 0);
    return hf_no_program();
}

SEC("tp_btf/block_bio_complete")
int BPF_PROG(hf_stub_end, struct request_queue *queue, struct bio *bio)
{
    if (!hf_op_changes(bio->bi_opf))
        return 0;
    bpf_tail_call(ctx, &hf_slot_end, 0);
    return hf_no_program();
}
