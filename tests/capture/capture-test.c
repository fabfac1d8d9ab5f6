// SPDX-License-Identifier: Apache-2.0
#include "capture-test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

void test_require_capture(void)
{
    if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK) != 0) {
        printf("skipped: needs root and a kernel with BTF\n");
        exit(77);
    }
}

const char *test_directory(void)
{
    static char directory[64];

    if (!directory[0])
        snprintf(directory, sizeof(directory), TEST_DIRECTORY "-%d", (int)getpid());
    return directory;
}

/* False when somebody else has it by now. */
static bool attach_loop(struct test_loop *loop, int number)
{
    int file = open(loop->file, O_RDWR | O_CLOEXEC), rc;
    struct loop_config config = {.fd = (uint32_t)file, .block_size = 512};

    assert_true(file >= 0);
    config.info.lo_flags = loop->buffered ? 0 : LO_FLAGS_DIRECT_IO;
    snprintf(loop->path, sizeof(loop->path), "/dev/loop%d", number);
    loop->fd = open(loop->path, O_RDWR | O_CLOEXEC);
    assert_true(loop->fd >= 0);
    rc = ioctl(loop->fd, LOOP_CONFIGURE, &config);
    close(file);
    if (rc)
        close(loop->fd);
    return rc == 0;
}

static void loop_create(struct test_loop *loop, const char *directory, uint64_t size_bytes,
                        bool buffered)
{
    static unsigned created;
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int number, fd, tries = 0;

    *loop = (struct test_loop){.size_bytes = size_bytes, .buffered = buffered};
    snprintf(loop->file, sizeof(loop->file), "%s/hf-capture-%d-%u", directory, (int)getpid(),
             created++);
    fd = open(loop->file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size_bytes), 0);
    close(fd);
    do {
        number = ioctl(control, LOOP_CTL_GET_FREE);
        assert_true(number >= 0);
    } while (!attach_loop(loop, number) && ++tries < 100);
    assert_true(tries < 100);
    close(control);
}

void test_loop_create(struct test_loop *loop, const char *directory, uint64_t size_bytes)
{
    loop_create(loop, directory, size_bytes, false);
}

void test_loop_create_buffered(struct test_loop *loop, const char *directory, uint64_t size_bytes)
{
    loop_create(loop, directory, size_bytes, true);
}

void test_loop_resize(struct test_loop *loop, uint64_t size_bytes)
{
    assert_int_equal(truncate(loop->file, (off_t)size_bytes), 0);
    assert_int_equal(ioctl(loop->fd, LOOP_SET_CAPACITY, 0), 0);
    loop->size_bytes = size_bytes;
}

static void detach_loop(struct test_loop *loop)
{
    (void)ioctl(loop->fd, LOOP_CLR_FD, 0);
    close(loop->fd);
    loop->fd = -1;
}

void test_loop_exchange(struct test_loop *loop)
{
    int number = (int)strtol(loop->path + strlen("/dev/loop"), NULL, 10);

    detach_loop(loop);
    usleep(50 * 1000);
    assert_true(attach_loop(loop, number));
}

void test_loop_destroy(struct test_loop *loop)
{
    if (loop->fd >= 0)
        detach_loop(loop);
    unlink(loop->file);
}

struct hf_capture *test_open(uint32_t ring_bytes)
{
    struct hf_capture_options options = {.directory = test_directory(), .ring_bytes = ring_bytes};
    struct hf_capture *capture = NULL;
    int rc = hf_capture_open(&options, &capture);

    if (rc)
        printf("open: %d %s\n", rc, hf_strerror(rc));
    assert_int_equal(rc, 0);
    return capture;
}

unsigned test_protect(struct hf_capture *capture, const struct test_loop *loop)
{
    struct hf_disk_identity identity;
    unsigned slot = 0;

    assert_int_equal(hf_disk_identify(loop->path, &identity), 0);
    assert_int_equal(hf_capture_disk_add(capture, &identity, 1, &slot), 0);
    return slot;
}

uint64_t test_data_begin(struct hf_capture *capture)
{
    uint64_t position, epoch = 0;

    assert_int_equal(hf_capture_data_begin(capture, 5, "pass", 4, &position, &epoch), 0);
    return epoch;
}

void test_close(struct hf_capture *capture)
{
    hf_capture_close(capture);
    assert_int_equal(hf_capture_detach(test_directory()), 0);
}

struct hf_capture_stats test_stats(struct hf_capture *capture)
{
    struct hf_capture_stats stats;

    assert_int_equal(hf_capture_get_stats(capture, &stats), 0);
    return stats;
}

void test_assert_nothing_lost(struct hf_capture *capture)
{
    struct hf_capture_stats stats = test_stats(capture);

    for (unsigned i = 0; stats.lost_events && i < HF_CAUSE_COUNT; i++)
        if (stats.causes[i])
            printf("  %s: %llu\n", hf_capture_cause_name(i), (unsigned long long)stats.causes[i]);
    assert_int_equal(stats.lost_events, 0);
}

void test_fill_pattern(void *buffer, size_t length, uint64_t seed)
{
    uint64_t *words = buffer, state = seed * 0x9E3779B97F4A7C15u + 1;

    for (size_t i = 0; i < length / sizeof(*words); i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        words[i] = state;
    }
}

void test_write(const struct test_loop *loop, uint64_t offset, size_t length, uint64_t seed)
{
    int fd = open(loop->path, O_RDWR | O_DIRECT | O_CLOEXEC);
    void *buffer = NULL;

    assert_true(fd >= 0);
    assert_int_equal(posix_memalign(&buffer, 4096, length), 0);
    test_fill_pattern(buffer, length, seed);
    assert_int_equal(pwrite(fd, buffer, length, (off_t)offset), (ssize_t)length);
    free(buffer);
    close(fd);
}

pid_t test_spawn(const char *command)
{
    pid_t child = fork();

    if (child == 0) {
        int null = open("/dev/null", O_RDWR);

        dup2(null, 1);
        if (!getenv("HF_TEST_VERBOSE"))
            dup2(null, 2);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_true(child > 0);
    return child;
}

int test_wait(pid_t child)
{
    int status = 0;

    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int test_run(const char *command)
{
    return test_wait(test_spawn(command));
}

void test_replica_create(struct test_replica *replica, const struct hf_capture *capture,
                         unsigned slot, uint64_t size_bytes)
{
    *replica = (struct test_replica){.fd = memfd_create("hf-replica", MFD_CLOEXEC), .slot = slot};
    assert_true(replica->fd >= 0);
    assert_int_equal(ftruncate(replica->fd, (off_t)size_bytes), 0);
    replica->position = hf_capture_consumer_position(capture);
}

static void apply_write(struct test_replica *replica, const struct hf_capture_view *view)
{
    const struct hf_capture_record *record = view->record;

    assert_int_equal(record->length_bytes, record->content_bytes);
    assert_int_equal(
        pwrite(replica->fd, view->content, record->content_bytes, (off_t)record->offset_bytes),
        (ssize_t)record->content_bytes);
    replica->writes++;
}

static void apply(struct test_replica *replica, const struct hf_capture_view *view)
{
    const struct hf_capture_record *record = view->record;

    replica->records++;
    if (record->type == HF_CAPTURE_MARK) {
        replica->marks++;
        replica->last_mark_kind = record->kind;
    }
    if (record->slot != replica->slot)
        return;
    if (record->type == HF_CAPTURE_WRITE)
        apply_write(replica, view);
    if (record->type == HF_CAPTURE_ZERO || record->type == HF_CAPTURE_DISCARD)
        assert_int_equal(fallocate(replica->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                   (off_t)record->offset_bytes, (off_t)record->length_bytes),
                         0);
    if (record->type == HF_CAPTURE_DISK && record->kind != HF_CAPTURE_DISK_REMOVE)
        assert_int_equal(ftruncate(replica->fd, (off_t)record->length_bytes), 0);
}

unsigned test_replica_drain(struct test_replica *replica, struct hf_capture *capture)
{
    struct hf_capture_view view;
    unsigned count = 0;
    int rc;

    while ((rc = hf_capture_peek(capture, replica->position, &view)) == 0) {
        assert_int_equal(view.position, replica->position);
        apply(replica, &view);
        replica->position = view.position_end;
        if (++count % 64 == 0)
            assert_int_equal(hf_capture_release(capture, replica->position), 0);
    }
    assert_int_equal(rc, -EAGAIN);
    assert_int_equal(hf_capture_release(capture, replica->position), 0);
    return count;
}

/* A pass over the old lost generation, as an agent makes it. */
void test_replica_mend(struct test_replica *replica, struct hf_capture *capture,
                       const struct test_loop *loop, uint64_t epoch)
{
    int source = open(loop->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    uint64_t offset, length;
    void *buffer = NULL;

    assert_true(source >= 0);
    assert_int_equal(posix_memalign(&buffer, 4096, TEST_MIB), 0);
    while (hf_capture_map_next(capture, replica->slot, 0, HF_MAP_LOST, HF_GENERATION_OLD, 0,
                               TEST_MIB, &offset, &length) == 1) {
        while (hf_capture_inflight_before(capture, replica->slot, offset, length, epoch) > 0)
            usleep(1000);
        assert_int_equal(pread(source, buffer, length, (off_t)offset), (ssize_t)length);
        assert_int_equal(pwrite(replica->fd, buffer, length, (off_t)offset), (ssize_t)length);
        assert_int_equal(
            hf_capture_map_clear(capture, replica->slot, 0, HF_MAP_LOST, offset, length), 0);
    }
    free(buffer);
    close(source);
}

bool test_replica_equal(struct test_replica *replica, const struct test_loop *loop)
{
    int source = open(loop->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    void *ours = NULL, *theirs = NULL;
    bool equal = true;

    assert_true(source >= 0);
    assert_int_equal(posix_memalign(&ours, 4096, TEST_MIB), 0);
    assert_int_equal(posix_memalign(&theirs, 4096, TEST_MIB), 0);
    for (uint64_t at = 0; equal && at < loop->size_bytes; at += TEST_MIB) {
        ssize_t count = pread(source, theirs, TEST_MIB, (off_t)at);

        assert_true(count > 0);
        assert_int_equal(pread(replica->fd, ours, (size_t)count, (off_t)at), count);
        equal = memcmp(ours, theirs, (size_t)count) == 0;
    }
    free(ours);
    free(theirs);
    close(source);
    return equal;
}

void test_replica_destroy(struct test_replica *replica)
{
    close(replica->fd);
}

static void *drain_thread(void *argument)
{
    struct test_drainer *drainer = argument;

    while (!atomic_load(&drainer->stop))
        if (!test_replica_drain(drainer->replica, drainer->capture))
            hf_capture_wait(drainer->capture, drainer->replica->position, 65536, 2);
    return NULL;
}

void test_drainer_start(struct test_drainer *drainer, struct test_replica *replica,
                        struct hf_capture *capture)
{
    drainer->replica = replica;
    drainer->capture = capture;
    atomic_init(&drainer->stop, false);
    assert_int_equal(pthread_create(&drainer->thread, NULL, drain_thread, drainer), 0);
}

void test_drainer_stop(struct test_drainer *drainer)
{
    atomic_store(&drainer->stop, true);
    pthread_join(drainer->thread, NULL);
    test_replica_drain(drainer->replica, drainer->capture);
}
