// SPDX-License-Identifier: Apache-2.0
/* What the tests of the capture share: loop devices, a capture of their own, a replica built from
 * the ring alone. */
#ifndef HF_TESTS_CAPTURE_TEST_H
#define HF_TESTS_CAPTURE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/base.h"
#include "capture/capture.h"

#define TEST_DIRECTORY "/sys/fs/bpf/hf-capture-test"
#define TEST_RING_BYTES (8u << 20)
#define TEST_ON_DISK "/var/tmp"
#define TEST_IN_MEMORY "/dev/shm" /* cannot write zeroes: such requests fail */
#define TEST_MIB ((uint64_t)1 << 20)

/* A loop device over a file of our own. */
struct test_loop {
    char path[32]; /* /dev/loopN */
    char file[128];
    int fd; /* of the device, O_RDWR */
    uint64_t size_bytes;
    bool buffered; /* writes go through the page cache of the file's system */
};
void test_loop_create_buffered(struct test_loop *loop, const char *directory, uint64_t size_bytes);
void test_loop_create(struct test_loop *loop, const char *directory, uint64_t size_bytes);
void test_loop_resize(struct test_loop *loop, uint64_t size_bytes);
void test_loop_exchange(struct test_loop *loop); /* detached and attached again: another diskseq */
void test_loop_destroy(struct test_loop *loop);

/* Exit code 77 unless root on a kernel with BTF. */
void test_require_capture(void);
/* The name of this process's pin directory. */
const char *test_directory(void);

struct hf_capture *test_open(uint32_t ring_bytes);
unsigned test_protect(struct hf_capture *capture, const struct test_loop *loop);
uint64_t test_data_begin(struct hf_capture *capture); /* returns the pass's epoch */
void test_close(struct hf_capture *capture);          /* and detach */
struct hf_capture_stats test_stats(struct hf_capture *capture);

/* No range went into a lost map; says why when one did. */
void test_assert_nothing_lost(struct hf_capture *capture);

/* Writes through O_DIRECT; the pattern depends on offset and seed. */
void test_write(const struct test_loop *loop, uint64_t offset, size_t length, uint64_t seed);
void test_fill_pattern(void *buffer, size_t length, uint64_t seed);
/* Through the shell, output thrown away. */
pid_t test_spawn(const char *command);
int test_wait(pid_t child); /* its exit status */
int test_run(const char *command);

/* A file that gets what the ring holds, and nothing else. */
struct test_replica {
    int fd;
    unsigned slot;
    uint64_t position; /* next record */
    uint64_t records, writes, marks;
    uint64_t last_mark_kind;
};
void test_replica_create(struct test_replica *replica, const struct hf_capture *capture,
                         unsigned slot, uint64_t size_bytes);
/* Applies what is committed; returns how many records. Releases what it applied. */
unsigned test_replica_drain(struct test_replica *replica, struct hf_capture *capture);
void test_replica_mend(struct test_replica *replica, struct hf_capture *capture,
                       const struct test_loop *loop, uint64_t epoch);
bool test_replica_equal(struct test_replica *replica, const struct test_loop *loop);
void test_replica_destroy(struct test_replica *replica);

/* The same in a thread of its own, until stopped. */
struct test_drainer {
    pthread_t thread;
    struct test_replica *replica;
    struct hf_capture *capture;
    atomic_bool stop;
};
void test_drainer_start(struct test_drainer *drainer, struct test_replica *replica,
                        struct hf_capture *capture);
void test_drainer_stop(struct test_drainer *drainer);

#endif
