// SPDX-License-Identifier: Apache-2.0
/*
 * Preloaded into one program: its wall clock is off by what the file named in HF_CLOCK_SHIFT says
 * (seconds, a signed number, read anew each time), while its other clocks and the machine's stay
 * right (fault 39).
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
    static int (*real)(clockid_t, struct timespec *);
    const char *path = getenv("HF_CLOCK_SHIFT");
    char text[32] = "";
    int fd;

    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (clock != CLOCK_REALTIME || path == NULL)
        return real(clock, time);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, text, sizeof(text) - 1) < 0)
            text[0] = '\0';
        close(fd);
    }
    if (real(clock, time) < 0)
        return -1;
    time->tv_sec += strtol(text, NULL, 10);
    return 0;
}
