// SPDX-License-Identifier: Apache-2.0
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* One write(2) and abort: no lock is taken and nothing is allocated, since what is broken may be
 * the allocator or the holder of a lock. */
void hf_assert_failed(const char *cond, const char *file, int line)
{
    char text[512];
    int size =
        snprintf(text, sizeof(text), "ERROR assert: %s:%d: %s does not hold\n", file, line, cond);

    if (size > 0 && write(STDERR_FILENO, text, HF_MIN((size_t)size, sizeof(text) - 1)) < 0)
        abort();
    abort();
}
