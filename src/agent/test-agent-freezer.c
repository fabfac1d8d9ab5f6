// SPDX-License-Identifier: Apache-2.0
/*
 * Freezing real file systems (fault 11): an ext4 on a loop device, and a second one on a loop
 * device whose file lies in the first. Whether a file system is frozen is seen from a child that
 * writes to it. Needs root, loop devices and mkfs.ext4.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/freezer.h"
#include "agent/freeze-mounts.h"
#include "base/base.h"

#define SKIP 77
#define FREEZE_NS (3 * HF_NS_PER_S)

struct place {
    char directory[64];
    char mounts[2][96];
    char loops[2][64];
};

static struct place place;

static int command(const char *line, char *output, size_t size)
{
    FILE *pipe = popen(line, "re"); /* NOLINT(cert-env33-c): a test's own words */

    output[0] = '\0';
    if (!pipe)
        return -1;
    if (!fgets(output, (int)size, pipe))
        output[0] = '\0';
    output[strcspn(output, "\n")] = '\0';
    return pclose(pipe);
}

static int make_file_system(int i, const char *file)
{
    char line[512], output[64];

    snprintf(line, sizeof(line),
             "truncate -s 32M %s && mkfs.ext4 -q -F %s >/dev/null 2>&1 && losetup -f --show %s",
             file, file, file);
    if (command(line, place.loops[i], sizeof(place.loops[i])))
        return -1;
    snprintf(line, sizeof(line), "mkdir -p %s && mount %s %s", place.mounts[i], place.loops[i],
             place.mounts[i]);
    return command(line, output, sizeof(output));
}

static int group_setup(void **state)
{
    char file[192];

    (void)state;
    snprintf(place.directory, sizeof(place.directory), "/tmp/hf-agent-freeze-XXXXXX");
    if (!mkdtemp(place.directory))
        return -1;
    snprintf(place.mounts[0], sizeof(place.mounts[0]), "%s/with-a-long-name-outside",
             place.directory);
    snprintf(place.mounts[1], sizeof(place.mounts[1]), "%s/in", place.directory);
    snprintf(file, sizeof(file), "%s/outer.img", place.directory);
    if (make_file_system(0, file))
        return -1;
    snprintf(file, sizeof(file), "%s/inner.img", place.mounts[0]);
    return make_file_system(1, file);
}

static int group_teardown(void **state)
{
    char line[512], output[64];

    (void)state;
    for (int i = 1; i >= 0; i--) {
        if (place.loops[i][0] == '\0')
            continue;
        snprintf(line, sizeof(line), "umount %s; losetup -d %s", place.mounts[i], place.loops[i]);
        (void)command(line, output, sizeof(output));
    }
    snprintf(line, sizeof(line), "rm -rf %s", place.directory);
    return command(line, output, sizeof(output));
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* How long a write takes that begins now; at most limit_s. */
static double write_takes(int i, double limit_s)
{
    double began = seconds();
    char path[160];
    pid_t pid;

    snprintf(path, sizeof(path), "%s/probe", place.mounts[i]);
    pid = fork();
    if (pid == 0) {
        int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);

        _exit(fd < 0 || write(fd, "x", 1) != 1 || fsync(fd));
    }
    while (waitpid(pid, NULL, WNOHANG) == 0 && seconds() - began < limit_s)
        usleep(10000);
    return seconds() - began;
}

static struct hf_freezer *freezer_make(void)
{
    struct hf_freezer_options options = {
        .freeze_dir = "/nonexistent/freeze.d",
        .thaw_dir = "/nonexistent/thaw.d",
        .hook_ns = HF_NS_PER_S,
        .freeze_ns = FREEZE_NS,
    };
    struct hf_freezer *freezer;

    assert_int_equal(hf_freezer_new(&options, &freezer), 0);
    return freezer;
}

static const struct hf_engine_status *disks(void)
{
    static struct hf_engine_status status;

    status.disk_count = 2;
    for (int i = 0; i < 2; i++)
        snprintf(status.disks[i].path, sizeof(status.disks[i].path), "%s", place.loops[i]);
    return &status;
}

static void the_file_system_on_a_loop_comes_before_its_holder(void **state)
{
    struct hf_freeze_mount mounts[8];
    struct stat status[2];
    dev_t devices[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(stat(place.loops[i], &status[i]), 0);
        devices[i] = status[i].st_rdev;
    }
    assert_int_equal(hf_freeze_mounts(devices, 2, mounts, 8), 2);
    assert_string_equal(mounts[0].path, place.mounts[1]);
    assert_string_equal(mounts[1].path, place.mounts[0]);
    assert_int_equal(hf_freeze_mounts(devices, 1, mounts, 8), 1);
    assert_string_equal(mounts[0].path, place.mounts[0]);
}

static void frozen_until_thawed(void **state)
{
    struct hf_freezer *freezer = freezer_make();
    char reason[256] = "";

    (void)state;
    assert_int_equal(hf_freezer_freeze(freezer, disks(), reason, sizeof(reason)), 0);
    assert_true(write_takes(0, 0.5) >= 0.5);
    assert_true(write_takes(1, 0.5) >= 0.5);
    assert_int_equal(hf_freezer_thaw(freezer, reason, sizeof(reason)), 0);
    assert_string_equal(reason, "");
    assert_true(write_takes(0, 2) < 2);
    assert_true(write_takes(1, 2) < 2);
    hf_freezer_free(freezer);
}

static void fault_11_the_deadline_thaws_and_the_lateness_is_told(void **state)
{
    struct hf_freezer *freezer = freezer_make();
    char reason[256] = "";

    (void)state;
    assert_int_equal(hf_freezer_freeze(freezer, disks(), reason, sizeof(reason)), 0);
    assert_true(write_takes(1, 5) < 4);
    assert_true(write_takes(0, 5) < 4);
    assert_int_equal(hf_freezer_thaw(freezer, reason, sizeof(reason)), -ETIMEDOUT);
    assert_non_null(strstr(reason, "deadline"));
    /* And it works again. */
    assert_int_equal(hf_freezer_freeze(freezer, disks(), reason, sizeof(reason)), 0);
    assert_int_equal(hf_freezer_thaw(freezer, reason, sizeof(reason)), 0);
    hf_freezer_free(freezer);
}

/* An agent in a child freezes and waits; what happens to it then is the parent's choice. */
static pid_t frozen_agent(void)
{
    int ready[2];
    pid_t pid;
    char byte;

    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        char reason[256];
        struct hf_freezer *freezer = freezer_make();

        if (hf_freezer_freeze(freezer, disks(), reason, sizeof(reason)) ||
            write(ready[1], "f", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void fault_11_a_killed_agent_leaves_nothing_frozen(void **state)
{
    pid_t pid = frozen_agent();

    (void)state;
    assert_true(write_takes(0, 0.3) >= 0.3);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(write_takes(0, 2) < 1.5); /* at once, not at the deadline */
    assert_true(write_takes(1, 2) < 1.5);
}

static void fault_11_a_stopped_agent_is_thawed_at_the_deadline(void **state)
{
    pid_t pid = frozen_agent();

    (void)state;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_true(write_takes(0, 6) < 4);
    assert_true(write_takes(1, 2) < 2);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* The process that froze: a child of the agent by the name of hf-freeze. */
static pid_t helper_of(pid_t agent)
{
    char line[128], output[64];

    snprintf(line, sizeof(line), "cat /proc/%d/task/%d/children", (int)agent, (int)agent);
    assert_int_equal(command(line, output, sizeof(output)), 0);
    return (pid_t)strtol(output, NULL, 10);
}

static void fault_11_a_killed_helper_is_replaced_by_its_watchdog(void **state)
{
    pid_t pid = frozen_agent(), helper = helper_of(pid);

    (void)state;
    assert_true(helper > 1);
    assert_int_equal(kill(helper, SIGKILL), 0);
    assert_true(write_takes(0, 3) < 2);
    assert_true(write_takes(1, 3) < 2);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_stopped_helper_is_replaced_at_the_deadline(void **state)
{
    pid_t pid = frozen_agent(), helper = helper_of(pid);

    (void)state;
    assert_int_equal(kill(helper, SIGSTOP), 0);
    assert_true(write_takes(0, 6) < 4.5);
    assert_true(write_takes(1, 2) < 2);
    assert_int_equal(kill(helper, SIGKILL), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_system_on_a_loop_comes_before_its_holder),
        cmocka_unit_test(frozen_until_thawed),
        cmocka_unit_test(fault_11_the_deadline_thaws_and_the_lateness_is_told),
        cmocka_unit_test(fault_11_a_killed_agent_leaves_nothing_frozen),
        cmocka_unit_test(fault_11_a_stopped_agent_is_thawed_at_the_deadline),
        cmocka_unit_test(fault_11_a_killed_helper_is_replaced_by_its_watchdog),
        cmocka_unit_test(a_stopped_helper_is_replaced_at_the_deadline),
    };

    if (geteuid() != 0) {
        puts("SKIP: freezing file systems needs root");
        return SKIP;
    }
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
