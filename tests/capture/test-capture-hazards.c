// SPDX-License-Identifier: Apache-2.0
/*
 * The hazards H1, H3 to H7 and H9 of the capture (src/capture/README.md), each provoked. H2 and H8
 * are in test-capture-restart.c.
 *
 * A write that stays in flight for as long as a test likes: the disk is a loop over a file of a
 * file system that is frozen.
 */
#include "capture-test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

struct stalling {
    struct test_loop under; /* carries the file system */
    struct test_loop loop;  /* over a file in it */
    char mount_point[64];
    int mount_fd;
};

static void stalling_create(struct stalling *s)
{
    char command[160];

    test_loop_create(&s->under, TEST_IN_MEMORY, 64 * TEST_MIB);
    snprintf(s->mount_point, sizeof(s->mount_point), "/tmp/hf-capture-mount-%d", (int)getpid());
    mkdir(s->mount_point, 0700);
    snprintf(command, sizeof(command), "mkfs.ext4 -q -F %s && mount %s %s", s->under.path,
             s->under.path, s->mount_point);
    assert_int_equal(test_run(command), 0);
    /* Direct writes would slip through on older kernels. */
    test_loop_create_buffered(&s->loop, s->mount_point, 16 * TEST_MIB);
    test_write(&s->loop, 0, 16 * TEST_MIB, 1); /* allocated */
    s->mount_fd = open(s->mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(s->mount_fd >= 0);
}

static void stall(struct stalling *s)
{
    assert_int_equal(ioctl(s->mount_fd, FIFREEZE, 0), 0);
}

static void flow(struct stalling *s)
{
    assert_int_equal(ioctl(s->mount_fd, FITHAW, 0), 0);
}

static void stalling_destroy(struct stalling *s)
{
    test_loop_destroy(&s->loop);
    close(s->mount_fd);
    for (unsigned i = 0; i < 50 && umount(s->mount_point); i++)
        usleep(20 * 1000); /* the loop lets go of its file a little later */
    rmdir(s->mount_point);
    test_loop_destroy(&s->under);
}

struct writer {
    pthread_t thread;
    const struct test_loop *loop;
    uint64_t offset, seed;
    size_t length;
};

static void *write_thread(void *argument)
{
    const struct writer *writer = argument;

    test_write(writer->loop, writer->offset, writer->length, writer->seed);
    return NULL;
}

static void writer_start(struct writer *writer, const struct test_loop *loop, uint64_t offset,
                         size_t length, uint64_t seed)
{
    *writer = (struct writer){.loop = loop, .offset = offset, .length = length, .seed = seed};
    assert_int_equal(pthread_create(&writer->thread, NULL, write_thread, writer), 0);
}

static void await_inflight(struct hf_capture *capture, uint64_t count)
{
    for (unsigned i = 0; i < 500 && test_stats(capture).inflight != count; i++)
        usleep(10 * 1000);
    assert_int_equal(test_stats(capture).inflight, count);
}

static bool lost_touches(struct hf_capture *capture, unsigned slot, uint64_t offset,
                         uint64_t length)
{
    uint64_t at, count;

    return hf_capture_map_next(capture, slot, 0, HF_MAP_LOST, HF_GENERATION_CURRENT, offset, length,
                               &at, &count) == 1 &&
           at < offset + length;
}

/* Fault 3. */
static void h1_a_pass_waits_for_writes_issued_before_it(void **state)
{
    struct stalling s;
    struct writer writer;
    struct hf_capture *capture = test_open(TEST_RING_BYTES);
    uint64_t position, epoch;
    unsigned slot;

    stalling_create(&s);
    slot = test_protect(capture, &s.loop);
    test_data_begin(capture);
    stall(&s);
    writer_start(&writer, &s.loop, TEST_MIB, 65536, 7);
    await_inflight(capture, 1);
    assert_int_equal(hf_capture_pass_begin(capture, 1, 5, NULL, 0, &position, &epoch), 0);
    assert_int_equal(hf_capture_inflight_before(capture, slot, TEST_MIB, 4096, epoch), 1);
    assert_int_equal(hf_capture_inflight_before(capture, slot, 0, TEST_MIB, epoch), 0);
    assert_int_equal(hf_capture_inflight_before(capture, slot, TEST_MIB + 65536, 4096, epoch), 0);
    assert_int_equal(hf_capture_inflight_before(capture, slot, TEST_MIB, 4096, epoch - 1), 0);
    flow(&s);
    pthread_join(writer.thread, NULL);
    await_inflight(capture, 0);
    assert_int_equal(hf_capture_inflight_before(capture, slot, TEST_MIB, 4096, epoch), 0);
    test_assert_nothing_lost(capture);
    test_close(capture);
    stalling_destroy(&s);
}

static void h1_a_write_given_up_is_lost_and_no_longer_waited_for(void **state)
{
    struct stalling s;
    struct writer writer;
    struct hf_capture *capture = test_open(TEST_RING_BYTES);
    unsigned slot;
    uint64_t lost;

    stalling_create(&s);
    slot = test_protect(capture, &s.loop);
    test_data_begin(capture);
    stall(&s);
    writer_start(&writer, &s.loop, TEST_MIB, 8192, 7);
    await_inflight(capture, 1);
    assert_int_equal(hf_capture_inflight_expire(capture, 60 * 1000), 0);
    usleep(20 * 1000);
    assert_int_equal(hf_capture_inflight_expire(capture, 10), 1);
    assert_true(lost_touches(capture, slot, TEST_MIB, 8192));
    assert_int_equal(test_stats(capture).inflight, 0);
    lost = test_stats(capture).lost_events;
    flow(&s);
    pthread_join(writer.thread, NULL);
    assert_true(test_stats(capture).lost_events > lost); /* it came after all */
    assert_int_equal(test_stats(capture).causes[HF_CAUSE_NO_ISSUE], 1);
    test_close(capture);
    stalling_destroy(&s);
}

static void h3_a_write_that_the_device_fails_is_lost(void **state)
{
    struct test_loop loop;
    struct hf_capture *capture = test_open(TEST_RING_BYTES);
    char place[64], command[128];
    uint8_t *buffer = NULL;
    unsigned slot;
    int fd;

    snprintf(place, sizeof(place), "/tmp/hf-capture-full-%d", (int)getpid());
    mkdir(place, 0700);
    assert_int_equal(mount("hf-capture-full", place, "tmpfs", 0, "size=1m"), 0);
    test_loop_create(&loop, place, 16 * TEST_MIB);
    slot = test_protect(capture, &loop);
    test_data_begin(capture);
    fd = open(loop.path, O_RDWR | O_DIRECT | O_CLOEXEC);
    assert_int_equal(posix_memalign((void **)&buffer, 4096, 4 * TEST_MIB), 0);
    test_fill_pattern(buffer, 4 * TEST_MIB, 1);
    assert_true(pwrite(fd, buffer, 4 * TEST_MIB, 8 * TEST_MIB) < (ssize_t)(4 * TEST_MIB));
    assert_true(test_stats(capture).causes[HF_CAUSE_WRITE_FAILED] > 0);
    assert_true(lost_touches(capture, slot, 8 * TEST_MIB, 4 * TEST_MIB));
    assert_false(lost_touches(capture, slot, 0, 8 * TEST_MIB));
    close(fd);
    free(buffer);
    test_close(capture);
    test_loop_destroy(&loop);
    snprintf(command, sizeof(command), "umount -l %s", place);
    assert_int_equal(test_run(command), 0);
    rmdir(place);
}

static void h4_overflow_in_a_request_loses_its_rest_and_all_that_follows(void **state)
{
    struct test_loop loop;
    struct test_replica replica;
    struct hf_capture *capture = test_open(256 * 1024);
    struct hf_capture_view view;
    uint64_t kept = 0, at = 0;
    unsigned slot;

    test_loop_create(&loop, TEST_IN_MEMORY, 16 * TEST_MIB);
    slot = test_protect(capture, &loop);
    test_data_begin(capture);
    test_replica_create(&replica, capture, slot, loop.size_bytes);
    test_write(&loop, 4 * TEST_MIB, TEST_MIB, 1);
    assert_int_equal(test_stats(capture).mode, HF_CAPTURE_DIRTY);
    assert_int_equal(test_stats(capture).cause, HF_CAUSE_RING_FULL);
    for (at = replica.position; hf_capture_peek(capture, at, &view) == 0; at = view.position_end)
        if (view.record->type == HF_CAPTURE_WRITE)
            kept += view.record->content_bytes;
    assert_true(kept > 0 && kept < TEST_MIB);
    assert_false(lost_touches(capture, slot, 4 * TEST_MIB, kept));
    assert_true(lost_touches(capture, slot, 4 * TEST_MIB + kept, 4096));
    test_replica_drain(&replica, capture);
    test_write(&loop, 0, 4096, 2); /* there is room now, but the mode is DIRTY */
    assert_int_equal(test_replica_drain(&replica, capture), 0);
    assert_true(lost_touches(capture, slot, 0, 4096));
    assert_int_equal(hf_capture_mark(capture, 1, NULL, 0, true, NULL, NULL), -ESTALE);
    test_replica_mend(&replica, capture, &loop, test_data_begin(capture));
    test_replica_drain(&replica, capture);
    assert_true(test_replica_equal(&replica, &loop));
    test_replica_destroy(&replica);
    test_close(capture);
    test_loop_destroy(&loop);
}

static void fault_1_a_ring_of_one_page_shows_no_false_clean(void **state)
{
    struct test_loop loop;
    struct test_replica replica;
    struct hf_capture *capture = test_open((uint32_t)sysconf(_SC_PAGESIZE));
    unsigned slot;

    test_loop_create(&loop, TEST_IN_MEMORY, 16 * TEST_MIB);
    slot = test_protect(capture, &loop);
    test_replica_create(&replica, capture, slot, loop.size_bytes);
    for (unsigned round = 0; round < 5; round++) {
        uint64_t epoch;

        test_replica_drain(&replica, capture);
        epoch = test_data_begin(capture);
        test_replica_mend(&replica, capture, &loop, epoch);
        for (unsigned i = 0; i < 20; i++)
            test_write(&loop, (round * 20 + i) * 131072, 512u << (i % 6), round + i);
        assert_int_equal(test_stats(capture).mode, HF_CAPTURE_DIRTY);
        assert_true(test_stats(capture).reserve_failures > round);
    }
    test_replica_drain(&replica, capture);
    test_replica_mend(&replica, capture, &loop, test_data_begin(capture));
    assert_true(test_replica_equal(&replica, &loop));
    test_replica_destroy(&replica);
    test_close(capture);
    test_loop_destroy(&loop);
}

/* Which 4 KiB blocks have a record in front of `end`: bit 0 since the mark before, bit 1 between
 * that one and its predecessor (a write that ran while the generations were exchanged has its bit
 * in the later one). */
static void note_records(struct hf_capture *capture, uint64_t *from, uint64_t end, uint8_t *seen)
{
    struct hf_capture_view view;

    for (size_t i = 0; i < 64 * TEST_MIB / 4096; i++)
        seen[i] = (uint8_t)(seen[i] << 1 & 2);

    while (*from < end && hf_capture_peek(capture, *from, &view) == 0) {
        const struct hf_capture_record *record = view.record;

        if (record->type == HF_CAPTURE_WRITE)
            for (uint64_t at = 0; at < record->length_bytes; at += 4096)
                seen[(record->offset_bytes + at) / 4096] |= 1;
        *from = view.position_end;
    }
    assert_int_equal(hf_capture_release(capture, *from), 0);
}

static uint64_t check_old_generation(struct hf_capture *capture, unsigned slot, const uint8_t *seen)
{
    uint64_t from = 0, offset, length, bits = 0;

    while (hf_capture_map_next(capture, slot, 0, HF_MAP_UNCONFIRMED, HF_GENERATION_OLD, from, 4096,
                               &offset, &length) == 1) {
        assert_int_not_equal(seen[offset / 4096], 0);
        from = offset + length;
        bits++;
    }
    return bits;
}

static void h5_bits_of_the_old_generation_have_their_records_before_the_mark(void **state)
{
    struct test_loop loop;
    struct hf_capture *capture = test_open(128u << 20);
    uint8_t *seen = calloc(1, 64 * TEST_MIB / 4096);
    uint64_t from, position, bits = 0;
    char command[256];
    pid_t child;
    unsigned slot;

    test_loop_create(&loop, TEST_IN_MEMORY, 64 * TEST_MIB);
    slot = test_protect(capture, &loop);
    test_data_begin(capture);
    snprintf(command, sizeof(command),
             "fio --name=w --filename=%s --direct=1 --ioengine=io_uring --rw=randwrite --bs=4k "
             "--iodepth=16 --time_based --runtime=3 --size=64m --rate_iops=8000",
             loop.path);
    child = test_spawn(command);
    from = hf_capture_consumer_position(capture);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(
            hf_capture_generation_swap(capture, HF_MAP_UNCONFIRMED, 0, 10, NULL, 0, &position), 0);
        note_records(capture, &from, position, seen);
        bits += check_old_generation(capture, slot, seen);
        assert_int_equal(
            hf_capture_map_clear(capture, slot, 0, HF_MAP_UNCONFIRMED, 0, loop.size_bytes), 0);
        usleep(50 * 1000);
    }
    assert_int_equal(test_wait(child), 0);
    assert_true(bits > 1000);
    assert_int_equal(test_stats(capture).mode, HF_CAPTURE_DATA);
    free(seen);
    test_close(capture);
    test_loop_destroy(&loop);
}

/* Fault 2. */
static void h6_a_buffer_changed_while_it_is_written_converges(void **state)
{
    struct test_loop loop;
    struct test_replica replica;
    struct hf_capture *capture = test_open(TEST_RING_BYTES);
    struct writer writer;
    unsigned slot;

    test_loop_create(&loop, TEST_IN_MEMORY, 16 * TEST_MIB);
    slot = test_protect(capture, &loop);
    test_data_begin(capture);
    test_replica_create(&replica, capture, slot, loop.size_bytes);
    for (uint64_t i = 0; i < 50; i++) { /* two writers of the same blocks, then a last word */
        writer_start(&writer, &loop, 65536 * i, 65536, i);
        test_write(&loop, 65536 * i, 65536, i + 1000);
        pthread_join(writer.thread, NULL);
        test_write(&loop, 65536 * i, 65536, i + 2000);
        test_replica_drain(&replica, capture);
    }
    assert_true(test_replica_equal(&replica, &loop));
    test_replica_destroy(&replica);
    test_close(capture);
    test_loop_destroy(&loop);
}

static void h7_overlapping_writes_in_flight_are_lost_and_neighbours_are_not(void **state)
{
    static const struct {
        uint64_t offset;
        size_t length;
        bool overlaps;
    } seconds[] = {
        {TEST_MIB + 8192, 512, false}, /* right behind */
        {TEST_MIB - 512, 512, false},  /* right before */
        {TEST_MIB + 7680, 1024, true}, {TEST_MIB + 512, 512, true}, {TEST_MIB, 8192, true},
        {0, 6 * TEST_MIB, true}, /* longer than the filter holds in one request's cells */
    };
    struct stalling s;
    struct writer first, second;

    for (unsigned i = 0; i < HF_ARRAY_COUNT(seconds); i++) {
        struct hf_capture *capture = test_open(2 * TEST_RING_BYTES);
        unsigned slot;

        stalling_create(&s);
        slot = test_protect(capture, &s.loop);
        test_data_begin(capture);
        stall(&s);
        writer_start(&first, &s.loop, TEST_MIB, 8192, 1);
        await_inflight(capture, 1);
        writer_start(&second, &s.loop, seconds[i].offset, seconds[i].length, 2);
        for (unsigned wait = 0; wait < 200 && test_stats(capture).inflight < 2; wait++)
            usleep(10 * 1000);
        assert_int_equal(test_stats(capture).overlaps > 0, seconds[i].overlaps);
        assert_int_equal(lost_touches(capture, slot, TEST_MIB, 8192), seconds[i].overlaps);
        flow(&s);
        pthread_join(first.thread, NULL);
        pthread_join(second.thread, NULL);
        await_inflight(capture, 0);
        test_close(capture);
        stalling_destroy(&s);
    }
}

static void h9_every_capture_has_an_identity_of_its_own(void **state)
{
    struct hf_capture *capture = test_open(65536);
    struct hf_id first, second;

    hf_capture_get_id(capture, &first);
    test_close(capture);
    capture = test_open(65536);
    hf_capture_get_id(capture, &second);
    assert_false(hf_id_is_zero(&first));
    assert_false(hf_id_equal(&first, &second));
    test_close(capture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(h1_a_pass_waits_for_writes_issued_before_it),
        cmocka_unit_test(h1_a_write_given_up_is_lost_and_no_longer_waited_for),
        cmocka_unit_test(h3_a_write_that_the_device_fails_is_lost),
        cmocka_unit_test(h4_overflow_in_a_request_loses_its_rest_and_all_that_follows),
        cmocka_unit_test(fault_1_a_ring_of_one_page_shows_no_false_clean),
        cmocka_unit_test(h5_bits_of_the_old_generation_have_their_records_before_the_mark),
        cmocka_unit_test(h6_a_buffer_changed_while_it_is_written_converges),
        cmocka_unit_test(h7_overlapping_writes_in_flight_are_lost_and_neighbours_are_not),
        cmocka_unit_test(h9_every_capture_has_an_identity_of_its_own),
    };

    test_require_capture();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
