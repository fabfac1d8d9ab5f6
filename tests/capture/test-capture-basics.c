// SPDX-License-Identifier: Apache-2.0
/* One disk, one writer: what is written is in the ring, in order, in place. */
#include "capture-test.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"

struct fixture {
    struct test_loop loop;
    struct hf_capture *capture;
    struct test_replica replica;
    unsigned slot;
};

static int set_up(void **state)
{
    static struct fixture fixture;

    test_loop_create(&fixture.loop, TEST_ON_DISK, 64 * TEST_MIB);
    fixture.capture = test_open(TEST_RING_BYTES);
    fixture.slot = test_protect(fixture.capture, &fixture.loop);
    test_data_begin(fixture.capture);
    test_replica_create(&fixture.replica, fixture.capture, fixture.slot, fixture.loop.size_bytes);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    test_replica_destroy(&f->replica);
    test_close(f->capture);
    test_loop_destroy(&f->loop);
    return 0;
}

static void writes_of_every_size_arrive(void **state)
{
    static const size_t sizes[] = {512,
                                   1024,
                                   1536,
                                   4096,
                                   8192,
                                   12288,
                                   20480,
                                   49152,
                                   65536,
                                   61440,
                                   66048,
                                   131072,
                                   TEST_MIB,
                                   512 * 7,
                                   65536 + 512,
                                   TEST_MIB - 512,
                                   3 * TEST_MIB / 2,
                                   2 * TEST_MIB};
    struct fixture *f = *state;
    uint64_t offset = 0;

    for (unsigned i = 0; i < HF_ARRAY_COUNT(sizes); i++) {
        test_write(&f->loop, offset, sizes[i], i + 1);
        offset += sizes[i];
        assert_true(test_replica_drain(&f->replica, f->capture) > 0);
    }
    assert_true(test_replica_equal(&f->replica, &f->loop));
    test_assert_nothing_lost(f->capture);
    assert_int_equal(test_stats(f->capture).content_bytes, offset);
}

static void memory_cut_elsewhere_than_at_pages_arrives(void **state)
{
    struct fixture *f = *state;
    int fd = open(f->loop.path, O_RDWR | O_DIRECT | O_CLOEXEC);
    uint8_t *buffer = NULL;

    assert_int_equal(posix_memalign((void **)&buffer, 4096, 1 << 20), 0);
    test_fill_pattern(buffer, 1 << 20, 99);
    for (size_t shift = 512; shift < 4096; shift += 512)
        assert_int_equal(pwrite(fd, buffer + shift, 200 * 1024 + shift, (off_t)(shift * 1024)),
                         (ssize_t)(200 * 1024 + shift));
    test_replica_drain(&f->replica, f->capture);
    assert_true(test_replica_equal(&f->replica, &f->loop));
    test_assert_nothing_lost(f->capture);
    free(buffer);
    close(fd);
}

static void zeroes_and_discards_arrive(void **state)
{
    struct fixture *f = *state;
    uint64_t zero[2] = {1 * TEST_MIB, TEST_MIB}, discard[2] = {4 * TEST_MIB, 2 * TEST_MIB};

    test_write(&f->loop, 0, 6 * TEST_MIB, 3);
    assert_int_equal(ioctl(f->loop.fd, BLKZEROOUT, zero), 0);
    assert_int_equal(ioctl(f->loop.fd, BLKDISCARD, discard), 0);
    test_replica_drain(&f->replica, f->capture);
    assert_true(test_replica_equal(&f->replica, &f->loop));
    test_assert_nothing_lost(f->capture);
}

static void a_mark_lies_behind_completed_writes_and_before_later_ones(void **state)
{
    struct fixture *f = *state;
    struct hf_capture_view view;
    uint64_t position, end, at;
    char payload[HF_CAPTURE_MARK_MAX];

    memset(payload, 'm', sizeof(payload));
    test_write(&f->loop, 0, 4096, 1);
    assert_int_equal(
        hf_capture_mark(f->capture, 77, payload, sizeof(payload), true, &position, &end), 0);
    test_write(&f->loop, 0, 4096, 2);
    at = f->replica.position;
    while (hf_capture_peek(f->capture, at, &view) == 0 && view.record->type != HF_CAPTURE_WRITE)
        at = view.position_end;
    assert_int_equal(view.position_end, position);
    assert_int_equal(hf_capture_peek(f->capture, position, &view), 0);
    assert_int_equal(view.record->type, HF_CAPTURE_MARK);
    assert_int_equal(view.record->kind, 77);
    assert_int_equal(view.record->content_bytes, sizeof(payload));
    assert_memory_equal(view.content, payload, sizeof(payload));
    assert_int_equal(view.position_end, end);
    assert_int_equal(hf_capture_peek(f->capture, end, &view), 0);
    assert_int_equal(view.record->type, HF_CAPTURE_WRITE);
}

static void positions_outside_the_ring_are_refused(void **state)
{
    struct fixture *f = *state;
    struct hf_capture_view view;
    uint64_t producer = hf_capture_producer_position(f->capture);

    assert_int_equal(hf_capture_peek(f->capture, producer, &view), -EAGAIN);
    assert_int_equal(hf_capture_peek(f->capture, producer + 8, &view), -EINVAL);
    assert_int_equal(hf_capture_release(f->capture, producer + 8), -EINVAL);
    assert_int_equal(hf_capture_release(f->capture, producer), 0);
    assert_int_equal(hf_capture_peek(f->capture, 0, &view), -EINVAL);
    assert_int_equal(hf_capture_release(f->capture, 0), 0);
    assert_int_equal(hf_capture_consumer_position(f->capture), producer);
}

static void unconfirmed_bits_follow_every_write(void **state)
{
    struct fixture *f = *state;
    uint64_t offset, length, position;

    test_write(&f->loop, 5 * TEST_MIB, 8192, 1);
    assert_int_equal(hf_capture_map_next(f->capture, f->slot, 0, HF_MAP_UNCONFIRMED,
                                         HF_GENERATION_CURRENT, 0, TEST_MIB, &offset, &length),
                     1);
    assert_int_equal(offset, 5 * TEST_MIB);
    assert_int_equal(length, 8192);
    assert_int_equal(
        hf_capture_generation_swap(f->capture, HF_MAP_UNCONFIRMED, 0, 10, "", 0, &position), 0);
    assert_int_equal(hf_capture_map_next(f->capture, f->slot, 0, HF_MAP_UNCONFIRMED,
                                         HF_GENERATION_CURRENT, 0, TEST_MIB, &offset, &length),
                     0);
    assert_int_equal(hf_capture_map_next(f->capture, f->slot, 0, HF_MAP_UNCONFIRMED,
                                         HF_GENERATION_OLD, 0, TEST_MIB, &offset, &length),
                     1);
    assert_int_equal(
        hf_capture_map_clear(f->capture, f->slot, 0, HF_MAP_UNCONFIRMED, 0, f->loop.size_bytes), 0);
    assert_int_equal(hf_capture_map_next(f->capture, f->slot, 0, HF_MAP_UNCONFIRMED,
                                         HF_GENERATION_OLD, 0, TEST_MIB, &offset, &length),
                     0);
}

static void the_budget_is_kept(void **state)
{
    struct fixture *f = *state;
    struct hf_capture_stats stats = test_stats(f->capture);

    assert_true(stats.maps_bytes > 0);
    assert_true(stats.maps_bytes <= stats.maps_bytes_max);
    assert_true(stats.memory_bytes - stats.ring_bytes + HF_CAPTURE_RING_BYTES_DEFAULT <=
                96 * TEST_MIB);
    assert_int_equal(stats.inflight, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_of_every_size_arrive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_cut_elsewhere_than_at_pages_arrives, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(zeroes_and_discards_arrive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mark_lies_behind_completed_writes_and_before_later_ones,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(positions_outside_the_ring_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unconfirmed_bits_follow_every_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_budget_is_kept, set_up, tear_down),
    };

    test_require_capture();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
