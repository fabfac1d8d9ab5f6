// SPDX-License-Identifier: Apache-2.0
#include "base/base.h"
#include "base/error.h"
#include "store/store-test.h"

int hf_test_maintain(struct hf_test_source *source)
{
    int r = 1;

    for (unsigned i = 0; r == 1 && i < 10000; i++)
        r = hf_machine_maintain(source->test->machine, 32 * HF_KIB);
    return r;
}

static int changes(struct hf_test_source *source, unsigned count, unsigned disks)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < count; i++) {
        r = hf_test_random_change(source, (uint16_t)(i % disks));
        if (r == 0 && i % 3 == 0)
            r = hf_test_flush(source);
    }
    if (r == 0)
        r = hf_test_mark(source, HF_MARK_CRASH, "in between", NULL);
    return r == 0 ? hf_test_sync(source) : r;
}

static int pass(struct hf_test_source *source, uint8_t kind, uint16_t flags, uint64_t mask)
{
    int r = hf_test_pass_begin(source, kind, flags, mask);

    if (r == 0)
        r = hf_test_random_change(source, 0);
    if (r == 0)
        r = hf_test_pass_all(source);
    if (r == 0)
        r = hf_test_sync(source);
    if (r == 0)
        r = hf_test_pass_end(source, true);
    return r == 0 ? hf_test_sync(source) : r;
}

static int gap_and_pass(struct hf_test_source *source)
{
    int r = hf_test_gap(source);

    if (r == 0)
        r = hf_test_pass_begin(source, HF_PASS_MAP, 0, 3);
    if (r == 0)
        r = hf_test_pass_data(source, 0, 0, 4096, false);
    if (r == 0)
        r = hf_test_gap(source); /* it is given up half way */
    return r == 0 ? pass(source, HF_PASS_MAP, 0, 3) : r;
}

static int reboot(struct hf_test_source *source)
{
    int r = hf_test_stream(source);

    if (r == 0)
        r = hf_test_disk(source, HF_DISK_ADD, 0, source->disk_size[0]);
    if (r == 0)
        r = hf_test_disk(source, HF_DISK_ADD, 1, source->disk_size[1]);
    return r == 0 ? pass(source, HF_PASS_HASH, 0, 3) : r;
}

/* An orderly stop with hashes known; they must be right afterwards. */
static int stop_and_start(struct hf_test_source *source)
{
    int r = hf_test_check_hashes(source);

    if (r < 0)
        return r;
    hf_machine_close(source->test->machine);
    source->test->machine = NULL;
    r = hf_machine_open(source->test->store, &source->test->id, &source->test->options,
                        &source->test->recovery, &source->test->machine);
    if (r < 0)
        return r;
    r = hf_machine_stream_begin(source->test->machine, &source->stream);
    return r == 0 ? hf_test_check_hashes(source) : r;
}

static int resize_and_merge(struct hf_test_source *source)
{
    int r = hf_test_disk(source, HF_DISK_RESIZE, 1, HF_TEST_DISK_BYTES + 20 * HF_SECTOR);

    if (r == 0)
        r = changes(source, 20, 2);
    return r == 0 ? hf_test_maintain(source) : r;
}

static int add_and_remove(struct hf_test_source *source)
{
    int r = hf_test_disk(source, HF_DISK_ADD, 2, HF_TEST_DISK_BYTES / 2);

    if (r == 0)
        r = hf_test_write(source, 2, 8192, 1536);
    if (r == 0)
        r = pass(source, HF_PASS_FULL, HF_PASS_ADDED_DISK, 4);
    if (r == 0)
        r = changes(source, 12, 3);
    if (r == 0)
        r = hf_test_maintain(source);
    if (r == 0)
        r = hf_test_disk(source, HF_DISK_REMOVE, 2, 0);
    return r == 0 ? changes(source, 6, 2) : r;
}

int hf_test_workload(struct hf_test_source *source)
{
    int r = hf_test_protect(source, 2);

    if (r == 0)
        r = changes(source, 30, 2);
    if (r == 0)
        r = resize_and_merge(source);
    if (r == 0)
        r = stop_and_start(source);
    if (r == 0)
        r = gap_and_pass(source);
    if (r == 0)
        r = hf_machine_name_set(source->test->machine, "reference");
    if (r == 0)
        r = changes(source, 20, 2);
    if (r == 0)
        r = hf_test_maintain(source);
    if (r == 0)
        r = add_and_remove(source);
    if (r == 0)
        r = reboot(source);
    if (r == 0)
        r = changes(source, 20, 2);
    return r == 0 ? hf_test_maintain(source) : r;
}

static uint64_t present_disks(const struct hf_test_source *source)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < source->model.event_count; i++) {
        const struct hf_model_event *event = &source->model.events[i];

        if (event->type != HF_RECORD_DISK)
            continue;
        if (event->change == HF_DISK_REMOVE)
            mask &= ~event->disk_mask;
        else
            mask |= event->disk_mask;
    }
    return mask;
}

int hf_test_go_on(struct hf_test_source *source)
{
    int r = 0;

    if (source->seq == 0 || present_disks(source) == 0)
        return hf_test_protect(source, 2);
    if (source->pass_open) {
        r = hf_test_pass_all(source);
        if (r == 0)
            r = hf_test_pass_end(source, true);
    }
    if (r == 0 && !hf_model_openable(&source->model, hf_test_position(source)))
        r = pass(source, HF_PASS_HASH, 0, present_disks(source));
    if (r == 0)
        r = changes(source, 6, 1);
    return r == 0 ? hf_test_maintain(source) : r;
}
