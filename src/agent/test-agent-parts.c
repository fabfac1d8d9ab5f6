// SPDX-License-Identifier: Apache-2.0
/* The agent's smaller parts: pinned state, history, histogram, throttle, translation. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/disk-reader.h"
#include "agent/histogram.h"
#include "agent/history.h"
#include "agent/throttle.h"
#include "agent/translate.h"
#include "base/base.h"
#include "base/error.h"

static uint64_t memory[HF_AGENT_STATE_BYTES / 8];

/* ---- state ---- */

static void fresh_memory_holds_no_state(void **unused)
{
    struct hf_state state;
    bool found = true;

    (void)unused;
    memset(memory, 0, sizeof(memory));
    assert_int_equal(hf_state_load(&state, memory, &found), 0);
    assert_false(found);
}

static void the_newest_whole_state_is_found_again(void **unused)
{
    struct hf_state state, again;
    bool found;

    (void)unused;
    memset(memory, 0, sizeof(memory));
    assert_int_equal(hf_state_load(&state, memory, &found), 0);
    for (uint64_t i = 1; i <= 5; i++) {
        state.now.acked.seq = i * 100;
        hf_state_save(&state);
        assert_int_equal(hf_state_load(&again, memory, &found), 0);
        assert_true(found);
        assert_int_equal(again.now.acked.seq, i * 100);
    }
}

/* A kill between any two stores of a save: either the old state or the new one. */
static void a_torn_save_leaves_the_state_before(void **unused)
{
    uint64_t before[HF_AGENT_STATE_BYTES / 8], after[HF_AGENT_STATE_BYTES / 8];
    struct hf_state state, again;
    bool found;

    (void)unused;
    memset(memory, 0, sizeof(memory));
    assert_int_equal(hf_state_load(&state, memory, &found), 0);
    for (uint64_t i = 1; i <= 4; i++) {
        state.now.acked.seq = i;
        hf_state_save(&state);
    }
    memcpy(before, memory, sizeof(memory));
    state.now.acked.seq = 5;
    hf_state_save(&state);
    memcpy(after, memory, sizeof(memory));
    for (size_t torn = 0; torn < HF_ARRAY_COUNT(memory); torn++) {
        memcpy(memory, after, torn * 8);
        memcpy(memory + torn, before + torn, sizeof(memory) - torn * 8);
        assert_int_equal(hf_state_load(&again, memory, &found), 0);
        assert_true(found);
        assert_true(again.now.acked.seq == 4 || again.now.acked.seq == 5);
    }
}

static void a_state_of_another_version_is_refused(void **unused)
{
    struct hf_state state;
    bool found;

    (void)unused;
    memset(memory, 0, sizeof(memory));
    assert_int_equal(hf_state_load(&state, memory, &found), 0);
    ((uint32_t *)memory)[2]++;
    assert_int_equal(hf_state_load(&state, memory, &found), -HF_EVERSION);
}

static void disks_are_remembered_by_slot(void **unused)
{
    struct hf_saved_disk disk = {.block_size = 4096, .name = "vda"}, got;
    struct hf_state state;
    bool found;

    (void)unused;
    memset(memory, 0, sizeof(memory));
    assert_int_equal(hf_state_load(&state, memory, &found), 0);
    hf_state_disk_set(&state, 63, &disk);
    hf_state_save(&state);
    hf_state_disk_get(&state, 63, &got);
    assert_string_equal(got.name, "vda");
    hf_state_disk_get(&state, 0, &got);
    assert_int_equal(got.block_size, 0);
}

/* ---- history ---- */

static void a_history_finds_only_the_ends_it_holds(void **unused)
{
    struct hf_history *history = calloc(1, sizeof(*history));

    (void)unused;
    assert_non_null(history);
    for (uint64_t i = 1; i <= 3 * HF_HISTORY_MAX; i++) {
        struct hf_history_entry entry = {.chain.seq = i * 10, .bytes = 1};

        if (history->count == HF_HISTORY_MAX)
            hf_history_pop(history);
        assert_int_equal(hf_history_push(history, &entry), 0);
    }
    assert_int_equal(history->bytes, HF_HISTORY_MAX);
    assert_non_null(hf_history_find(history, 30 * HF_HISTORY_MAX));
    assert_int_equal(hf_history_oldest(history)->chain.seq, (2 * HF_HISTORY_MAX + 1) * 10);
    assert_null(hf_history_find(history, 30 * HF_HISTORY_MAX - 5));
    assert_null(hf_history_find(history, 10));
    {
        struct hf_history_entry more = {.chain.seq = 40 * HF_HISTORY_MAX};

        assert_int_equal(hf_history_push(history, &more), -ENOSPC);
    }
    free(history);
}

/* ---- histogram ---- */

static void quantiles_are_right_within_an_eighth(void **unused)
{
    struct hf_histogram histogram = {0};

    (void)unused;
    assert_int_equal(hf_histogram_quantile_us(&histogram, 500), 0);
    for (uint64_t us = 1; us <= 100000; us++)
        hf_histogram_add(&histogram, us, 1);
    assert_in_range(hf_histogram_quantile_us(&histogram, 500), 50000, 56250);
    assert_in_range(hf_histogram_quantile_us(&histogram, 990), 99000, 100000);
    assert_int_equal(hf_histogram_quantile_us(&histogram, 1000), 100000);
    hf_histogram_add(&histogram, UINT64_MAX, 1);
    assert_int_equal(histogram.max_us, UINT64_MAX);
}

static void small_values_are_exact(void **unused)
{
    struct hf_histogram histogram = {0};

    (void)unused;
    hf_histogram_add(&histogram, 3, 10);
    hf_histogram_add(&histogram, 12, 1);
    assert_int_equal(hf_histogram_quantile_us(&histogram, 500), 3);
    assert_int_equal(hf_histogram_quantile_us(&histogram, 1000), 12);
}

/* ---- throttle ---- */

static void a_throttle_keeps_the_rate(void **unused)
{
    struct hf_throttle throttle = {.bytes_per_s = 1000000};
    uint64_t now_ns = 100 * HF_NS_PER_S, began = now_ns;

    (void)unused;
    for (int i = 0; i < 100; i++) {
        now_ns += hf_throttle_wait_ns(&throttle, now_ns);
        hf_throttle_use(&throttle, 100000, now_ns);
    }
    now_ns += hf_throttle_wait_ns(&throttle, now_ns);
    assert_in_range(now_ns - began, 95 * HF_NS_PER_S / 10, 10 * HF_NS_PER_S);
}

static void no_rate_means_no_waiting(void **unused)
{
    struct hf_throttle throttle = {0};

    (void)unused;
    hf_throttle_use(&throttle, UINT64_MAX / 2, 5);
    assert_int_equal(hf_throttle_wait_ns(&throttle, 5), 0);
}

/* ---- translation ---- */

static struct hf_capture_record record;
static struct hf_capture_view view = {.position = 64, .position_end = 128, .record = &record};

static uint8_t translated_type(struct hf_chain *chain, const struct hf_state *state)
{
    struct hf_translated translated;

    if (hf_translate(chain, state, &view, &translated))
        return 0;
    return translated.record.type;
}

static void a_mark_after_a_loss_is_a_gap_and_no_point(void **unused)
{
    struct hf_state state = {.memory = memory};
    struct hf_chain chain = {.lost_events = 3, .pass_lost_events = 3};
    static const struct hf_mark_body body = {.kind = HF_MARK_CRASH};

    (void)unused;
    view.content = &body;
    record = (struct hf_capture_record){.type = HF_CAPTURE_MARK,
                                        .kind = HF_RECORD_MARK,
                                        .content_bytes = sizeof(body),
                                        .lost_events = 3};
    assert_int_equal(translated_type(&chain, &state), HF_RECORD_MARK);
    record.lost_events = 4;
    assert_int_equal(translated_type(&chain, &state), HF_RECORD_GAP);
    assert_int_equal(translated_type(&chain, &state), HF_RECORD_MARK); /* said once */
    record.flags = HF_CAPTURE_RECORD_DIRTY;
    assert_int_equal(translated_type(&chain, &state), HF_RECORD_GAP);
}

static void a_pass_that_lost_something_is_not_complete(void **unused)
{
    struct hf_state state = {.memory = memory};
    struct hf_chain chain = {0};
    static struct hf_pass_body body = {.kind = HF_PASS_MAP};
    const struct hf_pass_body *out;
    struct hf_translated translated;

    (void)unused;
    body.flags = hf_le16_of(HF_PASS_COMPLETE);
    view.content = &body;
    record = (struct hf_capture_record){.type = HF_CAPTURE_MARK,
                                        .kind = HF_RECORD_PASS_BEGIN,
                                        .content_bytes = sizeof(body),
                                        .lost_events = 7};
    assert_int_equal(translated_type(&chain, &state), HF_RECORD_PASS_BEGIN);
    record.kind = HF_RECORD_PASS_END;
    assert_int_equal(hf_translate(&chain, &state, &view, &translated), 0);
    out = translated.record.content;
    assert_int_equal(hf_le16_get(out->flags), HF_PASS_COMPLETE);
    record.lost_events = 8;
    assert_int_equal(hf_translate(&chain, &state, &view, &translated), 0);
    out = translated.record.content;
    assert_int_equal(hf_le16_get(out->flags), 0);
}

static void unknown_records_are_refused(void **unused)
{
    struct hf_state state = {.memory = memory};
    struct hf_chain chain = {0};

    (void)unused;
    record = (struct hf_capture_record){.type = 99};
    assert_int_equal(translated_type(&chain, &state), 0);
    record = (struct hf_capture_record){.type = HF_CAPTURE_MARK, .kind = 99};
    assert_int_equal(translated_type(&chain, &state), 0);
    record = (struct hf_capture_record){
        .type = HF_CAPTURE_WRITE, .length_bytes = 4096, .content_bytes = 512};
    assert_int_equal(translated_type(&chain, &state), 0);
    record = (struct hf_capture_record){.type = HF_CAPTURE_DISK, .kind = 9};
    assert_int_equal(translated_type(&chain, &state), 0);
}

/* ---- the disk reader ---- */

#define READ_BYTES 65536u

struct reading {
    struct hf_disk_reader *reader;
    atomic_bool stop;
    atomic_uint reads;
    atomic_uint wrong;
};

static void *read_all_the_time(void *context)
{
    struct reading *reading = context;
    uint8_t *data = aligned_alloc(4096, READ_BYTES);

    while (data && !reading->stop) {
        int error = reading->reader->ops->read(reading->reader, 3, data, READ_BYTES, 0);

        if (error == 0 && (data[0] != 0x5c || data[READ_BYTES - 1] != 0x5c))
            reading->wrong++;
        if (error == 0)
            reading->reads++;
        else if (error != -EBADF)
            reading->wrong++;
    }
    free(data);
    return NULL;
}

static void a_disk_may_be_closed_and_opened_while_it_is_read(void **unused)
{
    struct reading reading = {0};
    char path[4096], directory[2048];
    static uint8_t content[READ_BYTES];
    pthread_t thread;
    FILE *file;

    (void)unused;
    assert_non_null(getcwd(directory, sizeof(directory)));
    snprintf(path, sizeof(path), "%s/reader-%ld", directory, (long)getpid());
    memset(content, 0x5c, sizeof(content));
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, sizeof(content), file), sizeof(content));
    fclose(file);
    assert_int_equal(hf_direct_reader_new(&reading.reader), 0);
    assert_int_equal(reading.reader->ops->open(reading.reader, 3, path), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_all_the_time, &reading), 0);
    for (int i = 0; i < 3000 || reading.reads < 20; i++) {
        reading.reader->ops->close(reading.reader, 3);
        assert_int_equal(reading.reader->ops->open(reading.reader, 3, path), 0);
        if (i % 16 == 0)
            usleep(100);
    }
    reading.stop = true;
    pthread_join(thread, NULL);
    assert_int_equal(reading.wrong, 0);
    reading.reader->ops->free(reading.reader);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_memory_holds_no_state),
        cmocka_unit_test(the_newest_whole_state_is_found_again),
        cmocka_unit_test(a_torn_save_leaves_the_state_before),
        cmocka_unit_test(a_state_of_another_version_is_refused),
        cmocka_unit_test(disks_are_remembered_by_slot),
        cmocka_unit_test(a_history_finds_only_the_ends_it_holds),
        cmocka_unit_test(quantiles_are_right_within_an_eighth),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(a_throttle_keeps_the_rate),
        cmocka_unit_test(no_rate_means_no_waiting),
        cmocka_unit_test(a_mark_after_a_loss_is_a_gap_and_no_point),
        cmocka_unit_test(a_pass_that_lost_something_is_not_complete),
        cmocka_unit_test(unknown_records_are_refused),
        cmocka_unit_test(a_disk_may_be_closed_and_opened_while_it_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
