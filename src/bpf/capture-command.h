/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Commands of user space, run with BPF_PROG_TEST_RUN by whoever holds the descriptor: marks, and
 * the questions from which the address of a page's content is found and verified. The context is
 * struct hf_capture_command.
 */
#ifndef HF_BPF_CAPTURE_COMMAND_H
#define HF_BPF_CAPTURE_COMMAND_H

extern const void page_offset_base __ksym __weak;
extern const void vmemmap_base __ksym __weak;

#define HF_MARK_SHORT 256

/* Errors are returned as the program's value. */
#define HF_NO_SPACE 28 /* ENOSPC */
#define HF_STALE 116   /* ESTALE */
#define HF_INVALID 22  /* EINVAL */

static __always_inline void hf_mark_head(struct hf_capture_command *command,
                                         struct hf_capture_record *head,
                                         struct hf_capture_control *control, __u32 bytes)
{
    hf_head(head, command->type, command->slot, command->offset_bytes, command->length_bytes,
            command->boot_ns ? command->boot_ns : bpf_ktime_get_boot_ns());
    head->kind = command->kind;
    head->number = command->number;
    head->content_bytes = bytes;
    head->lost_events = HF_READ_ONCE(control->lost_events);
    if (HF_READ_ONCE(control->mode) != HF_CAPTURE_DATA)
        head->flags = HF_CAPTURE_RECORD_DIRTY;
}

#define HF_MARK_SPACE(size)                                                                        \
    struct hf_mark_##size {                                                                        \
        struct hf_capture_record head;                                                             \
        __u8 payload[size];                                                                        \
    };                                                                                             \
    static __always_inline int hf_put_mark_##size(struct hf_capture_command *command,              \
                                                  struct hf_capture_control *control, __u32 bytes) \
    {                                                                                              \
        struct hf_mark_##size *space = bpf_ringbuf_reserve(&hf_ring, sizeof(*space), 0);           \
                                                                                                   \
        if (!space)                                                                                \
            return HF_NO_SPACE;                                                                    \
        hf_mark_head(command, &space->head, control, bytes);                                       \
        bpf_probe_read_kernel(space->payload, size, command->payload);                             \
        bpf_ringbuf_submit(space, hf_submit_flags(control));                                       \
        return 0;                                                                                  \
    }
HF_MARK_SPACE(256)
HF_MARK_SPACE(4000)

/*
 * The mode is looked at before the place in the ring is taken: a write that was lost before this
 * moment made the mode DIRTY before it reached its device, so a mark taken in DATA mode has every
 * completed write before it. The epoch rises behind the mark: what lies before it has an earlier
 * epoch.
 */
static __always_inline int hf_command_mark(struct hf_capture_command *command,
                                           struct hf_capture_control *control)
{
    __u32 bytes = command->payload_bytes;
    int rc;

    if (bytes > HF_CAPTURE_MARK_MAX)
        return HF_INVALID;
    if ((command->flags & HF_COMMAND_NEED_DATA) && HF_READ_ONCE(control->mode) != HF_CAPTURE_DATA)
        return HF_STALE;
    if (bytes <= HF_MARK_SHORT)
        rc = hf_put_mark_256(command, control, bytes);
    else
        rc = hf_put_mark_4000(command, control, bytes);
    if (!rc && (command->flags & HF_COMMAND_NEXT_EPOCH))
        command->ret_values[0] = __sync_fetch_and_add(&control->epoch, 1) + 1;
    return rc;
}

/* The struct page of the first page of a file of the caller, and its page table root. */
static __always_inline int hf_command_page(struct hf_capture_command *command)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct file **files = BPF_CORE_READ(task, files, fdt, fd);
    struct file *file = NULL;
    __u64 entry;

    if (bpf_probe_read_kernel(&file, sizeof(file), files + (command->argument & 0xffff)) || !file)
        return HF_INVALID;
    entry = (__u64)BPF_CORE_READ(file, f_mapping, i_pages.xa_head);
    for (int depth = 0; depth < 4; depth++) { /* inner nodes are marked in the low bits */
        if ((entry & 3) != 2 || entry < 4096)
            break;
        entry = (__u64)BPF_CORE_READ((struct xa_node *)(entry - 2), slots[0]);
    }
    if (entry & 3)
        return HF_INVALID;
    command->ret_values[0] = entry;
    command->ret_values[1] = (__u64)BPF_CORE_READ(task, mm, pgd);
    return 0;
}

static __always_inline int hf_command_read(struct hf_capture_command *command)
{
    __u32 zero = 0;
    struct hf_state *state = bpf_map_lookup_elem(&hf_state, &zero);

    if (!state ||
        bpf_probe_read_kernel(state->page, sizeof(state->page), (void *)command->argument))
        return HF_INVALID;
    return 0;
}

static __always_inline int hf_command_ksyms(struct hf_capture_command *command)
{
    __u64 offset = 0, map = 0;

    if (!&page_offset_base || !&vmemmap_base)
        return HF_INVALID;
    bpf_probe_read_kernel(&offset, sizeof(offset), &page_offset_base);
    bpf_probe_read_kernel(&map, sizeof(map), &vmemmap_base);
    command->ret_values[0] = offset;
    command->ret_values[1] = map;
    return 0;
}

/* Returns 0 or a positive errno. */
SEC("syscall")
int hf_command(struct hf_capture_command *command)
{
    struct hf_capture_control *control = hf_get_control();

    if (!control)
        return HF_INVALID;
    switch (command->command) {
    case HF_COMMAND_MARK:
        return hf_command_mark(command, control);
    case HF_COMMAND_PAGE:
        return hf_command_page(command);
    case HF_COMMAND_READ:
        return hf_command_read(command);
    case HF_COMMAND_KSYMS:
        return hf_command_ksyms(command);
    default:
        return HF_INVALID;
    }
}

#endif
