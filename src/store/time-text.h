// SPDX-License-Identifier: Apache-2.0
/* Times as people write them. Uses the process's time zone; any thread. */
#ifndef HF_STORE_TIME_TEXT_H
#define HF_STORE_TIME_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define HF_TIME_INSTANTS_MAX 2 /* a local time at the end of daylight saving names two */

/*
 * "YYYY-MM-DD HH:MM[:SS[.fff]][Z|+hh:mm]" (T or a space between), or "-10s", "-5m", "-2h", "-1d"
 * before newest_ns. Instants are nanoseconds since 1970, earlier first. -EINVAL.
 */
int hf_time_parse(const char *text, int64_t newest_ns, int64_t *ret_instants, size_t *ret_count);

#endif
