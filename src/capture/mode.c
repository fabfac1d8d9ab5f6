// SPDX-License-Identifier: Apache-2.0
/*
 * Modes, passes and generations: everything that changes a value running programs have read.
 *
 * Each change stores the new value, waits until no program that saw the old one still runs
 * (quiesce), and only then puts a mark into the ring or looks at the old generation (hazard H5).
 * The order of the stores is the order README.md argues for: mode before generation, record before
 * epoch.
 */
#include <bpf/bpf.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "capture/capture-internal.h"

/* Where the kernel has no global membarrier: changing a map of maps waits just as long. */
static int quiesce_by_map(struct hf_capture *capture)
{
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
    unsigned index = HF_MAP_INDEX(HF_CAPTURE_DISKS_MAX - 1, HF_TARGETS_MAX - 1, 1, 1);
    int rc, fd;

    if (capture->bits[index].words)
        return -EBUSY; /* the very last of all maps is in use */
    fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "hf_quiesce", sizeof(uint32_t), sizeof(uint64_t), 1,
                        &options);
    if (fd < 0)
        return fd;
    rc = bpf_map_update_elem(capture->bits_fd, &index, &fd, BPF_ANY);
    if (!rc)
        rc = bpf_map_delete_elem(capture->bits_fd, &index);
    close(fd);
    return rc;
}

int hf_capture_quiesce(struct hf_capture *capture)
{
    if (!syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
        return 0;
    return quiesce_by_map(capture);
}

void hf_capture_count_lost(struct hf_capture *capture, unsigned slot, unsigned cause)
{
    struct hf_capture_control *control = capture->control;

    __atomic_fetch_add(&control->disks[slot].lost_events, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&control->lost_events, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&control->causes[cause], 1, __ATOMIC_SEQ_CST);
}

static uint32_t mode_of(const struct hf_capture *capture)
{
    return __atomic_load_n(&capture->control->mode, __ATOMIC_SEQ_CST);
}

static void set_dirty(struct hf_capture *capture, enum hf_capture_cause cause)
{
    struct hf_capture_control *control = capture->control;
    uint32_t data = HF_CAPTURE_DATA;

    if (!__atomic_compare_exchange_n(&control->mode, &data, HF_CAPTURE_DIRTY, false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return;
    control->cause = cause;
    control->dirty_since_boot_ns = hf_capture_boot_ns();
    __atomic_fetch_add(&control->causes[cause], 1, __ATOMIC_SEQ_CST);
}

int hf_capture_force_dirty(struct hf_capture *capture, enum hf_capture_cause cause)
{
    if (cause != HF_CAUSE_FORCED && cause != HF_CAUSE_BUDGET)
        return -EINVAL;
    set_dirty(capture, cause);
    return hf_capture_quiesce(capture);
}

/* Old generations fold into the current ones, which then become the old ones. */
static void swap_generations(struct hf_capture *capture, uint32_t target_mask,
                             enum hf_capture_map_kind kind)
{
    uint32_t toggled = 0;

    for (unsigned target = 0; target < HF_TARGETS_MAX; target++) {
        if (!(target_mask & 1u << target))
            continue;
        toggled |= 1u << (target * HF_MAP_KINDS + kind);
        for (unsigned slot = 0; slot < HF_CAPTURE_DISKS_MAX; slot++)
            hf_capture_bits_fold(capture, slot, target, kind);
    }
    __atomic_fetch_xor(&capture->control->generations, toggled, __ATOMIC_SEQ_CST);
}

/* After the quiescing: no program writes the old generations any more. */
static void spread_generations(struct hf_capture *capture, uint32_t target_mask,
                               enum hf_capture_map_kind kind)
{
    for (unsigned i = 0; i < HF_CAPTURE_DISKS_MAX * HF_TARGETS_MAX; i++) {
        struct hf_capture_bits *bits = hf_capture_bits_of(
            capture, i / HF_TARGETS_MAX, i % HF_TARGETS_MAX, kind, HF_GENERATION_OLD);

        if (bits && (target_mask & 1u << i % HF_TARGETS_MAX))
            hf_capture_bits_spread(bits);
    }
}

/* Mark, new epoch, quiesce: what data_begin and pass_begin end with. */
static int begin_epoch(struct hf_capture *capture, uint32_t kind, const void *payload,
                       size_t payload_bytes, uint64_t *ret_position, uint64_t *ret_epoch)
{
    struct hf_capture_command command = {.type = HF_CAPTURE_MARK,
                                         .kind = kind,
                                         .flags = HF_COMMAND_NEED_DATA | HF_COMMAND_NEXT_EPOCH};
    struct hf_capture_view view;
    int rc = hf_capture_put(capture, &command, payload, payload_bytes, &view);

    if (rc)
        return rc == -ESTALE ? -EAGAIN : rc;
    *ret_position = view.position;
    *ret_epoch = command.ret_values[0];
    return hf_capture_quiesce(capture);
}

static bool any_refused(const struct hf_capture *capture)
{
    for (unsigned slot = 0; slot < HF_CAPTURE_DISKS_MAX; slot++)
        if (hf_capture_slot_used(capture, slot) &&
            (capture->control->disks[slot].flags & HF_DISK_REFUSED))
            return true;
    return false;
}

static int put_gap(struct hf_capture *capture)
{
    struct hf_capture_control *control = capture->control;
    struct hf_capture_command command = {
        .type = HF_CAPTURE_GAP, .kind = control->cause, .boot_ns = control->dirty_since_boot_ns};
    struct hf_capture_view view;

    return hf_capture_put(capture, &command, NULL, 0, &view);
}

int hf_capture_data_begin(struct hf_capture *capture, uint32_t kind, const void *payload,
                          size_t payload_bytes, uint64_t *ret_position, uint64_t *ret_epoch)
{
    uint32_t all = (1u << HF_TARGETS_MAX) - 1;
    int rc;

    if (mode_of(capture) == HF_CAPTURE_DATA)
        return -EALREADY;
    if (any_refused(capture))
        return -ESTALE;
    if (!capture->control->page_to_address && hf_capture_find_pages(capture))
        return -ENODATA;
    rc = hf_capture_heartbeat(capture);
    if (!rc)
        rc = put_gap(capture);
    if (rc)
        return rc;
    __atomic_store_n(&capture->control->mode, HF_CAPTURE_DATA, __ATOMIC_SEQ_CST);
    swap_generations(capture, all, HF_MAP_LOST);
    rc = hf_capture_quiesce(capture);
    if (!rc) {
        spread_generations(capture, all, HF_MAP_LOST);
        rc = begin_epoch(capture, kind, payload, payload_bytes, ret_position, ret_epoch);
    }
    if (rc)
        set_dirty(capture, HF_CAUSE_RING_FULL);
    return rc;
}

int hf_capture_pass_begin(struct hf_capture *capture, uint32_t target_mask, uint32_t kind,
                          const void *payload, size_t payload_bytes, uint64_t *ret_position,
                          uint64_t *ret_epoch)
{
    int rc;

    if (mode_of(capture) != HF_CAPTURE_DATA)
        return -EAGAIN;
    swap_generations(capture, target_mask, HF_MAP_LOST);
    rc = hf_capture_quiesce(capture);
    if (rc)
        return rc;
    spread_generations(capture, target_mask, HF_MAP_LOST);
    return begin_epoch(capture, kind, payload, payload_bytes, ret_position, ret_epoch);
}

int hf_capture_generation_swap(struct hf_capture *capture, enum hf_capture_map_kind kind,
                               unsigned target, uint32_t mark_kind, const void *payload,
                               size_t payload_bytes, uint64_t *ret_position)
{
    int rc;

    if (target >= HF_TARGETS_MAX || (unsigned)kind >= HF_MAP_KINDS)
        return -EINVAL;
    swap_generations(capture, 1u << target, kind);
    rc = hf_capture_quiesce(capture);
    if (rc)
        return rc;
    spread_generations(capture, 1u << target, kind);
    return hf_capture_mark(capture, mark_kind, payload, payload_bytes, false, ret_position, NULL);
}

/* How often the kernel skipped the issue program. Then writes may have passed unseen: every disk is
 * in doubt. */
int hf_capture_check_misses(struct hf_capture *capture)
{
    struct hf_capture_control *control = capture->control;
    struct bpf_prog_info info = {.id = 0};
    uint32_t size = sizeof(info);
    int rc = bpf_obj_get_info_by_fd(capture->stub_issue_fd, &info, &size);

    if (rc || info.recursion_misses == control->issue_misses_seen)
        return rc;
    for (unsigned slot = 0; slot < HF_CAPTURE_DISKS_MAX; slot++)
        if (hf_capture_slot_used(capture, slot))
            hf_capture_bits_set_all(capture, slot, HF_CAUSE_MISSED_ISSUE);
    control->issue_misses_seen = info.recursion_misses;
    return 0;
}

int hf_capture_heartbeat(struct hf_capture *capture)
{
    uint64_t fill, age;

    __atomic_store_n(&capture->control->heartbeat_boot_ns, hf_capture_boot_ns(), __ATOMIC_SEQ_CST);
    hf_capture_note_fill(capture, &fill, &age);
    return hf_capture_check_misses(capture);
}
