// SPDX-License-Identifier: Apache-2.0
/*
 * A replica built from the ring alone equals the source, whatever file systems and loads do to it.
 * Nothing may be lost on the way but what the kernel kept from us (a missed completion, an
 * overlap); that is mended by a pass as an agent does.
 */
#include "capture-test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#define DISK_BYTES (512 * TEST_MIB)

struct fixture {
    struct test_loop loop;
    struct hf_capture *capture;
    struct test_replica replica;
    struct test_drainer drainer;
    char mount_point[64];
};

static int set_up(void **state)
{
    static struct fixture f;
    unsigned slot;

    test_loop_create(&f.loop, TEST_ON_DISK, DISK_BYTES);
    f.capture = test_open(512u << 20); /* so that a busy machine does not make it overflow */
    slot = test_protect(f.capture, &f.loop);
    test_data_begin(f.capture);
    test_replica_create(&f.replica, f.capture, slot, f.loop.size_bytes);
    snprintf(f.mount_point, sizeof(f.mount_point), "/tmp/hf-capture-mount-%d", (int)getpid());
    mkdir(f.mount_point, 0700);
    test_drainer_start(&f.drainer, &f.replica, f.capture);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    test_replica_destroy(&f->replica);
    test_close(f->capture);
    test_loop_destroy(&f->loop);
    rmdir(f->mount_point);
    return 0;
}

static void run(const struct fixture *f, const char *format)
{
    char command[1024];

    snprintf(command, sizeof(command), "set -e; D=%s; M=%s; %s", f->loop.path, f->mount_point,
             format);
    assert_int_equal(test_run(command), 0);
}

static uint64_t excused(const struct hf_capture_stats *stats)
{
    return stats->causes[HF_CAUSE_MISSED_COMPLETION] + stats->causes[HF_CAUSE_OVERLAP] +
           stats->causes[HF_CAUSE_WRITE_FAILED];
}

static void expect_equal(struct fixture *f)
{
    struct hf_capture_stats stats;
    uint64_t position, epoch;

    test_drainer_stop(&f->drainer);
    stats = test_stats(f->capture);
    assert_int_equal(stats.mode, HF_CAPTURE_DATA);
    assert_int_equal(stats.lost_events, excused(&stats));
    if (stats.lost_events) {
        printf("  missed %u, overlaps %u, failed %u\n",
               (unsigned)stats.causes[HF_CAUSE_MISSED_COMPLETION],
               (unsigned)stats.causes[HF_CAUSE_OVERLAP],
               (unsigned)stats.causes[HF_CAUSE_WRITE_FAILED]);
        hf_capture_inflight_expire(f->capture, 1);
        assert_int_equal(hf_capture_pass_begin(f->capture, 1, 5, NULL, 0, &position, &epoch), 0);
        test_replica_drain(&f->replica, f->capture);
        test_replica_mend(&f->replica, f->capture, &f->loop, epoch);
    }
    assert_true(f->replica.writes > 0);
    assert_true(test_replica_equal(&f->replica, &f->loop));
}

#define FILES                                                                                      \
    "cp -r /usr/include $M/a; sync; rm -rf $M/a/linux; cp -r /usr/include/c++ $M/b; "              \
    "fio --name=x --directory=$M --size=32m --rw=randrw --bsrange=512-64k --ioengine=psync "       \
    "--fsync=16 --runtime=3 --time_based; "                                                        \
    "fio --name=m --directory=$M --size=16m --rw=randwrite --ioengine=mmap --bs=4k "               \
    "--runtime=2 --time_based; fstrim $M; "

static void ext4(void **state)
{
    struct fixture *f = *state;

    run(f, "mkfs.ext4 -q $D; mount $D $M; " FILES "umount $M; mount -o discard $D $M; "
           "rm -rf $M/b; sync; umount $M; e2fsck -fn $D");
    expect_equal(f);
}

static void xfs(void **state)
{
    struct fixture *f = *state;

    run(f, "mkfs.xfs -q -f $D; mount $D $M; " FILES "umount $M; xfs_repair -n $D");
    expect_equal(f);
}

static void btrfs(void **state)
{
    struct fixture *f = *state;

    run(f, "mkfs.btrfs -q -f $D; mount -o compress=zstd $D $M; " FILES "umount $M; btrfs check $D");
    expect_equal(f);
}

static void raw_writes_discards_and_zeroes(void **state)
{
    struct fixture *f = *state;

    run(f,
        "fio --filename=$D --direct=1 --ioengine=io_uring --size=256m --time_based --runtime=4 "
        "--rate=50m "
        "--name=w --rw=randwrite --bsrange=512-256k --bs_unaligned=0 --blockalign=512 --iodepth=8 "
        "--name=s --rw=write --bs=1m --iodepth=4 --offset=256m --size=192m & P=$!; "
        "for i in $(seq 40); do blkdiscard -o $((448 + i))M -l 1M $D; "
        "fallocate -z -o $((448 + i))M -l 512K $D; "
        "dd if=/dev/urandom of=$D bs=64k seek=$((7168 + i * 16)) count=4 oflag=direct; done; "
        "wait $P");
    expect_equal(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(raw_writes_discards_and_zeroes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ext4, set_up, tear_down),
        cmocka_unit_test_setup_teardown(xfs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(btrfs, set_up, tear_down),
    };

    test_require_capture();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
