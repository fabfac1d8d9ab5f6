// SPDX-License-Identifier: Apache-2.0
#include "io/test-backends.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/io-test.h"

#define URING_DEPTH 8

int test_directory_make(char *path, size_t path_size)
{
    const char *parent = getenv("TMPDIR");
    int size = snprintf(path, path_size, "%s/hf-io-XXXXXX", parent ? parent : "/tmp");

    if (size < 0 || (size_t)size >= path_size)
        return -ENAMETOOLONG;
    return mkdtemp(path) ? 0 : -errno;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    return remove(path);
}

void test_directory_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int open_in_directory(struct test_backend *backend)
{
    int error = test_directory_make(backend->directory, sizeof(backend->directory));

    if (error)
        return error;
    error = strcmp(backend->name, "uring") == 0
                ? hf_io_uring_new(backend->directory, URING_DEPTH, &backend->io)
                : hf_io_file_new(backend->directory, &backend->io);
    if (error)
        test_directory_remove(backend->directory);
    return error;
}

static int open_fault(struct test_backend *backend)
{
    int error = hf_io_memory_new(&backend->inner);

    return error ? error : hf_io_fault_new(backend->inner, &backend->io);
}

int test_backend_open(struct test_backend *backend)
{
    backend->inner = NULL;
    backend->directory[0] = '\0';
    if (strcmp(backend->name, "memory") == 0)
        return hf_io_memory_new(&backend->io);
    if (strcmp(backend->name, "crash") == 0)
        return hf_io_crash_new(&backend->io);
    if (strcmp(backend->name, "fault") == 0)
        return open_fault(backend);
    return open_in_directory(backend);
}

void test_backend_close(struct test_backend *backend)
{
    hf_io_free(backend->io);
    hf_io_free(backend->inner);
    if (backend->directory[0])
        test_directory_remove(backend->directory);
}
