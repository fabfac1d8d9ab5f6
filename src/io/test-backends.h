// SPDX-License-Identifier: Apache-2.0
/* Back ends by name, for tests that hold for all of them. */
#ifndef HF_IO_TEST_BACKENDS_H
#define HF_IO_TEST_BACKENDS_H

#include "io/io.h"

struct test_backend {
    const char *name; /* file, uring, memory, fault, crash */
    struct hf_io *io;
    struct hf_io *inner; /* below fault */
    char directory[64];  /* of file and uring: made new, removed by close */
};

/* An empty back end of backend->name. 0 or a negative errno. */
int test_backend_open(struct test_backend *backend);
void test_backend_close(struct test_backend *backend);

/* A new empty directory below TMPDIR (or /tmp), and its removal with all that is in it. */
int test_directory_make(char *path, size_t path_size);
void test_directory_remove(const char *path);

#endif
