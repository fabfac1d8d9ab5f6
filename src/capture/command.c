// SPDX-License-Identifier: Apache-2.0
/* Running the command program, and marks. */
#include <bpf/bpf.h>

#include "capture/capture-internal.h"

/* Returns what the program returned, negated: 0 or a negative errno. */
int hf_capture_run(struct hf_capture *capture, struct hf_capture_command *command)
{
    LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = command, .ctx_size_in = sizeof(*command));
    int rc = bpf_prog_test_run_opts(capture->command_fd, &options);

    return rc ? rc : -(int)options.retval;
}

/* Walks over records, finished or not, to the one with our number. Their lengths are there from the
 * moment they are reserved. */
static int find_number(struct hf_capture *capture, uint64_t from, uint64_t number,
                       struct hf_capture_view *ret_view)
{
    uint64_t producer = hf_capture_producer_position(capture);

    for (uint64_t position = from; position < producer;) {
        const struct hf_capture_record *record;
        uint64_t end = hf_capture_record_end(capture, position, &record);

        if (record->type != HF_CAPTURE_WRITE && record->number == number) {
            *ret_view = (struct hf_capture_view){
                .position = position, .position_end = end, .record = record, .content = record + 1};
            return 0;
        }
        position = end;
    }
    return -EOVERFLOW;
}

/* Puts a record of the command's type into the ring and says where it is. */
int hf_capture_put(struct hf_capture *capture, struct hf_capture_command *command,
                   const void *payload, size_t payload_bytes, struct hf_capture_view *ret_view)
{
    uint64_t from = hf_capture_producer_position(capture);
    int rc;

    if (payload_bytes > HF_CAPTURE_MARK_MAX)
        return -EINVAL;
    command->command = HF_COMMAND_MARK;
    command->number = atomic_fetch_add(&capture->next_number, 1) | 1ull << 63;
    command->payload_bytes = (uint32_t)payload_bytes;
    if (payload_bytes)
        memcpy(command->payload, payload, payload_bytes);
    rc = hf_capture_run(capture, command);
    return rc ? rc : find_number(capture, from, command->number, ret_view);
}

int hf_capture_mark(struct hf_capture *capture, uint32_t kind, const void *payload,
                    size_t payload_bytes, bool need_data, uint64_t *ret_position,
                    uint64_t *ret_position_end)
{
    struct hf_capture_command command = {
        .type = HF_CAPTURE_MARK, .kind = kind, .flags = need_data ? HF_COMMAND_NEED_DATA : 0};
    struct hf_capture_view view;
    int rc = hf_capture_check_misses(capture);

    if (!rc || rc == -EPERM) /* a mere holder of descriptors may set marks, the heartbeat checks */
        rc = hf_capture_put(capture, &command, payload, payload_bytes, &view);
    if (rc)
        return rc;
    if (ret_position)
        *ret_position = view.position;
    if (ret_position_end)
        *ret_position_end = view.position_end;
    return 0;
}
