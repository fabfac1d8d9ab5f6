// SPDX-License-Identifier: Apache-2.0
/* Disks that come, go, grow, are exchanged; partitions; disks without requests. Faults 4, 6, 13,
 * 14, 16. */
#include "capture-test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "capture/capture-internal.h"

static struct hf_disk_identity identify(const char *path)
{
    struct hf_disk_identity identity;

    assert_int_equal(hf_disk_identify(path, &identity), 0);
    return identity;
}

static void a_disk_is_known_by_more_than_its_name(void **state)
{
    struct test_loop loop;
    struct hf_disk_identity before, after;

    test_loop_create(&loop, TEST_IN_MEMORY, 16 * TEST_MIB);
    before = identify(loop.path);
    assert_int_equal(before.size_bytes, 16 * TEST_MIB);
    assert_int_equal(before.logical_block_bytes, 512);
    assert_int_equal(before.major, 7);
    assert_int_equal(before.disk_minor, before.minor);
    assert_string_equal(before.name, loop.path + strlen("/dev/"));
    assert_false(before.bio_based);
    assert_true(before.diskseq > 0);
    test_loop_exchange(&loop);
    after = identify(loop.path);
    assert_true(after.diskseq > before.diskseq);
    test_loop_destroy(&loop);
    assert_int_equal(hf_disk_identify("/dev/null", &after), -ENOTBLK);
    assert_int_equal(hf_disk_identify("/dev/no-such-disk", &after), -ENOENT);
}

/* Two loops, two replicas; also fault 16: one stream for both, so a mark is one place for all
 * disks. */
static void fault_14_disks_are_added_and_removed_while_others_go_on(void **state)
{
    struct test_loop loops[2];
    struct test_replica replicas[2];
    struct hf_capture *capture = test_open(TEST_RING_BYTES);
    struct hf_disk_identity identity;
    unsigned slots[2], slot;

    for (unsigned i = 0; i < 2; i++)
        test_loop_create(&loops[i], TEST_IN_MEMORY, 16 * TEST_MIB);
    slots[0] = test_protect(capture, &loops[0]);
    test_data_begin(capture);
    test_replica_create(&replicas[0], capture, slots[0], loops[0].size_bytes);
    test_write(&loops[0], 0, 65536, 1);
    test_write(&loops[1], 0, 65536, 2); /* nobody's yet */
    slots[1] = test_protect(capture, &loops[1]);
    assert_int_not_equal(slots[0], slots[1]);
    identity = identify(loops[1].path);
    assert_int_equal(hf_capture_disk_add(capture, &identity, 1, &slot), -EEXIST);
    assert_int_equal(hf_capture_disk_find(capture, &identity), (int)slots[1]);
    replicas[1] = (struct test_replica){.fd = -1};
    test_replica_create(&replicas[1], capture, slots[1], loops[1].size_bytes);
    test_write(&loops[1], 0, 65536, 3);
    test_write(&loops[0], 65536, 65536, 4);
    assert_int_equal(hf_capture_disk_remove(capture, slots[1]), 0);
    assert_int_equal(hf_capture_disk_find(capture, &identity), -ENOENT);
    test_write(&loops[1], 65536, 65536, 5); /* no longer ours */
    test_write(&loops[0], 131072, 65536, 6);
    test_replica_drain(&replicas[0], capture);
    assert_true(test_replica_equal(&replicas[0], &loops[0]));
    assert_int_equal(replicas[0].writes, 3);
    assert_int_equal(hf_capture_disk_add(capture, &identity, 1, &slot), 0);
    assert_true(slot > slots[1]); /* a slot is not used again */
    test_assert_nothing_lost(capture);
    for (unsigned i = 0; i < 2; i++) {
        test_replica_destroy(&replicas[i]);
        test_loop_destroy(&loops[i]);
    }
    test_close(capture);
}

static void fault_14_another_disk_under_the_same_name_is_refused_until_confirmed(void **state)
{
    struct test_loop loop;
    struct test_replica replica;
    struct hf_capture *capture = test_open(TEST_RING_BYTES);
    struct hf_disk_identity identity;
    uint64_t position, epoch;
    unsigned slot;

    test_loop_create(&loop, TEST_IN_MEMORY, 16 * TEST_MIB);
    slot = test_protect(capture, &loop);
    test_data_begin(capture);
    test_replica_create(&replica, capture, slot, loop.size_bytes);
    test_replica_drain(&replica, capture);
    test_loop_exchange(&loop);
    test_write(&loop, 0, 65536, 1);
    assert_int_equal(test_replica_drain(&replica, capture), 0);
    assert_int_equal(test_stats(capture).mode, HF_CAPTURE_DIRTY);
    assert_int_equal(test_stats(capture).cause, HF_CAUSE_DISK_CHANGED);
    assert_int_equal(hf_capture_data_begin(capture, 5, NULL, 0, &position, &epoch), -ESTALE);
    identity = identify(loop.path);
    assert_int_equal(hf_capture_disk_confirm(capture, slot, &identity), 0);
    epoch = test_data_begin(capture);
    test_replica_mend(&replica, capture, &loop, epoch);
    test_write(&loop, 65536, 65536, 2);
    assert_true(test_replica_drain(&replica, capture) > 0);
    assert_true(test_replica_equal(&replica, &loop));
    test_replica_destroy(&replica);
    test_close(capture);
    test_loop_destroy(&loop);
}

static void fault_13_a_grown_disk_is_announced_before_its_first_write(void **state)
{
    struct test_loop loop;
    struct test_replica replica;
    struct hf_capture *capture = test_open(TEST_RING_BYTES);
    struct hf_capture_view view;
    uint64_t from, bytes;
    unsigned slot;

    test_loop_create(&loop, TEST_IN_MEMORY, 16 * TEST_MIB);
    slot = test_protect(capture, &loop);
    test_data_begin(capture);
    test_replica_create(&replica, capture, slot, loop.size_bytes);
    test_write(&loop, 15 * TEST_MIB, TEST_MIB, 1);
    test_replica_drain(&replica, capture);
    test_loop_resize(&loop, 48 * TEST_MIB);
    from = replica.position;
    test_write(&loop, 40 * TEST_MIB, 65536, 2);
    assert_int_equal(hf_capture_peek(capture, from, &view), 0);
    assert_int_equal(view.record->type, HF_CAPTURE_DISK);
    assert_int_equal(view.record->kind, HF_CAPTURE_DISK_RESIZE);
    assert_int_equal(view.record->length_bytes, 48 * TEST_MIB);
    assert_int_equal(hf_capture_disk_resized(capture, slot), 0);
    assert_int_equal(
        hf_capture_map_bytes(capture, slot, 0, HF_MAP_LOST, HF_GENERATION_CURRENT, &bytes), 0);
    assert_int_equal(bytes, 32 * TEST_MIB);
    test_write(&loop, 47 * TEST_MIB, 65536, 3);
    assert_int_equal(
        hf_capture_map_bytes(capture, slot, 0, HF_MAP_UNCONFIRMED, HF_GENERATION_CURRENT, &bytes),
        0);
    assert_true(bytes >= TEST_MIB + 2 * 65536);
    test_replica_drain(&replica, capture);
    assert_true(test_replica_equal(&replica, &loop));
    test_replica_destroy(&replica);
    test_close(capture);
    test_loop_destroy(&loop);
}

static void writes_beyond_the_maps_are_not_forgotten(void **state)
{
    struct test_loop loop;
    struct hf_capture *capture = test_open(TEST_RING_BYTES);
    uint64_t offset, length;
    unsigned slot;

    test_loop_create(&loop, TEST_IN_MEMORY, 16 * TEST_MIB);
    slot = test_protect(capture, &loop);
    assert_int_equal(test_stats(capture).mode, HF_CAPTURE_DIRTY);
    test_loop_resize(&loop, 512 * TEST_MIB); /* behind what one word of the maps covers */
    test_write(&loop, 500 * TEST_MIB, 65536, 1);
    test_data_begin(capture);
    test_write(&loop, 0, 4096, 2); /* announces the size */
    assert_int_equal(hf_capture_disk_resized(capture, slot), 0);
    assert_int_equal(hf_capture_map_next(capture, slot, 0, HF_MAP_LOST, HF_GENERATION_OLD,
                                         500 * TEST_MIB, TEST_MIB, &offset, &length),
                     1);
    assert_int_equal(offset, 500 * TEST_MIB);
    test_close(capture);
    test_loop_destroy(&loop);
}

static void a_partition_is_captured_with_offsets_of_its_own(void **state)
{
    struct test_loop loop, part;
    struct test_replica replica;
    struct hf_capture *capture = test_open(TEST_RING_BYTES);
    struct hf_disk_identity identity;
    char command[320];
    unsigned slot;

    test_loop_create(&loop, TEST_IN_MEMORY, 32 * TEST_MIB);
    snprintf(command, sizeof(command),
             "printf '2048,16384\\n20480,16384\\n' | sfdisk -q %s && partx -u %s", loop.path,
             loop.path);
    if (test_run(command)) {
        snprintf(command, sizeof(command),
                 "partx -d %s; addpart %s 1 2048 16384 && addpart %s 2 20480 16384", loop.path,
                 loop.path, loop.path);
        assert_int_equal(test_run(command), 0);
    }
    part = loop;
    snprintf(part.path, sizeof(part.path), "%.28sp2", loop.path);
    part.size_bytes = 16384 * 512;
    identity = identify(part.path);
    assert_int_equal(identity.partition, 2);
    assert_int_equal(identity.start_bytes, 20480 * 512);
    assert_int_equal(hf_capture_disk_add(capture, &identity, 1, &slot), 0);
    test_data_begin(capture);
    test_replica_create(&replica, capture, slot, part.size_bytes);
    test_write(&part, 4096, 65536, 1);
    test_write(&loop, 0, 65536, 2);                   /* elsewhere on the disk */
    test_write(&loop, 20480 * 512 + 262144, 8192, 3); /* in the partition, through the disk */
    test_replica_drain(&replica, capture);
    assert_int_equal(replica.writes, 2);
    assert_true(test_replica_equal(&replica, &part));
    test_assert_nothing_lost(capture);
    test_write(&loop, 20480 * 512 - 4096, 8192, 4); /* over the edge */
    assert_int_equal(test_stats(capture).causes[HF_CAUSE_STRADDLE], 1);
    test_replica_destroy(&replica);
    test_close(capture);
    test_loop_destroy(&loop);
}

static int zram_new(char *path, size_t size)
{
    char text[32] = "", command[96];
    int fd = open("/sys/class/zram-control/hot_add", O_RDONLY | O_CLOEXEC), number;

    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
        return -1;
    close(fd);
    number = (int)strtol(text, NULL, 10);
    snprintf(path, size, "/dev/zram%d", number);
    snprintf(command, sizeof(command), "echo 32M > /sys/block/zram%d/disksize", number);
    return test_run(command) ? -1 : number;
}

static void disks_without_requests_are_captured_where_bios_are_queued(void **state)
{
    struct test_loop disk = {.size_bytes = 32 * TEST_MIB};
    struct test_replica replica;
    struct hf_capture *capture;
    struct hf_disk_identity identity;
    char command[96];
    unsigned slot;
    int number = zram_new(disk.path, sizeof(disk.path));

    if (number < 0) {
        printf("skipped: no zram on this kernel\n");
        skip();
    }
    capture = test_open(TEST_RING_BYTES);
    identity = identify(disk.path);
    assert_true(identity.bio_based);
    assert_int_equal(hf_capture_disk_add(capture, &identity, 1, &slot), 0);
    test_data_begin(capture);
    test_replica_create(&replica, capture, slot, disk.size_bytes);
    for (unsigned i = 0; i < 20; i++)
        test_write(&disk, i * TEST_MIB, 4096 << (i % 7), i);
    snprintf(command, sizeof(command), "blkdiscard -o 1M -l 1M %s; sync", disk.path);
    assert_int_equal(test_run(command), 0);
    test_replica_drain(&replica, capture);
    assert_true(test_replica_equal(&replica, &disk));
    test_assert_nothing_lost(capture);
    assert_int_equal(test_stats(capture).inflight, 0);
    test_replica_destroy(&replica);
    test_close(capture);
    snprintf(command, sizeof(command), "echo %d > /sys/class/zram-control/hot_remove", number);
    assert_int_equal(test_run(command), 0);
}

static void the_map_budget_bounds_any_number_of_disks(void **state)
{
    struct hf_capture_options options = {
        .directory = test_directory(), .ring_bytes = 65536, .maps_bytes_max = 256 * 1024};
    struct hf_capture *capture;
    struct hf_disk_identity identity;
    struct test_loop loop;
    unsigned slot, added = 0;
    int rc = 0;

    assert_int_equal(hf_capture_open(&options, &capture), 0);
    test_loop_create(&loop, TEST_IN_MEMORY, 16 * TEST_MIB);
    identity = identify(loop.path);
    identity.size_bytes = (uint64_t)64 << 40; /* 64 TiB, and more of them than fit */
    for (unsigned i = 0; i < 30 && !rc; i++) {
        identity.diskseq++;
        identity.disk_minor = 100 + i;
        rc = hf_capture_disk_add(capture, &identity, 1, &slot);
        added += rc == 0;
    }
    assert_int_equal(rc, -ENOSPC);
    assert_true(added >= 3);
    assert_true(test_stats(capture).maps_bytes <= options.maps_bytes_max);
    test_close(capture);
    test_loop_destroy(&loop);
}

static void maps_survive_their_agent(void **state)
{
    struct test_loop loop;
    struct hf_capture *capture = test_open(TEST_RING_BYTES);
    uint64_t offset, length;
    unsigned slot;

    test_loop_create(&loop, TEST_IN_MEMORY, 16 * TEST_MIB);
    slot = test_protect(capture, &loop); /* DIRTY from the start */
    test_write(&loop, 3 * TEST_MIB, 8192, 1);
    hf_capture_close(capture);
    test_write(&loop, 9 * TEST_MIB, 4096, 1);
    capture = test_open(0);
    assert_int_equal(hf_capture_map_next(capture, slot, 0, HF_MAP_LOST, HF_GENERATION_CURRENT, 0,
                                         TEST_MIB, &offset, &length),
                     1);
    assert_int_equal(offset, 3 * TEST_MIB);
    assert_int_equal(length, 8192);
    assert_int_equal(hf_capture_map_next(capture, slot, 0, HF_MAP_LOST, HF_GENERATION_CURRENT,
                                         offset + length, TEST_MIB, &offset, &length),
                     1);
    assert_int_equal(offset, 9 * TEST_MIB);
    test_close(capture);
    test_loop_destroy(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_is_known_by_more_than_its_name),
        cmocka_unit_test(fault_14_disks_are_added_and_removed_while_others_go_on),
        cmocka_unit_test(fault_14_another_disk_under_the_same_name_is_refused_until_confirmed),
        cmocka_unit_test(fault_13_a_grown_disk_is_announced_before_its_first_write),
        cmocka_unit_test(writes_beyond_the_maps_are_not_forgotten),
        cmocka_unit_test(a_partition_is_captured_with_offsets_of_its_own),
        cmocka_unit_test(disks_without_requests_are_captured_where_bios_are_queued),
        cmocka_unit_test(the_map_budget_bounds_any_number_of_disks),
        cmocka_unit_test(maps_survive_their_agent),
    };

    test_require_capture();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
