// SPDX-License-Identifier: Apache-2.0
/* What the benchmarks in C measure with: elapsed seconds, resident memory of this process. */
#ifndef HF_TESTS_BENCH_MEASURE_H
#define HF_TESTS_BENCH_MEASURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"

static inline double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The second field of /proc/self/statm, in MiB; 0 when it cannot be read. */
static inline double resident_mib(void)
{
    char text[128] = "";
    FILE *file = fopen("/proc/self/statm", "r");
    const char *field;

    if (!file)
        return 0;
    if (!fgets(text, sizeof(text), file))
        text[0] = '\0';
    fclose(file);
    field = strchr(text, ' ');
    return field ? (double)strtol(field, NULL, 10) * (double)sysconf(_SC_PAGESIZE) / (double)HF_MIB
                 : 0;
}

#endif
