// SPDX-License-Identifier: Apache-2.0
#include "store/time-text.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/base.h"

/* Reads exactly `digits` digits. */
static bool take_number(const char **text, unsigned digits, int *ret_value)
{
    int value = 0;

    for (unsigned i = 0; i < digits; i++, (*text)++) {
        if (**text < '0' || **text > '9')
            return false;
        value = value * 10 + (**text - '0');
    }
    *ret_value = value;
    return true;
}

static bool take(const char **text, char c)
{
    if (**text != c)
        return false;
    (*text)++;
    return true;
}

static bool take_date(const char **text, struct tm *tm)
{
    if (!take_number(text, 4, &tm->tm_year) || !take(text, '-') ||
        !take_number(text, 2, &tm->tm_mon) || !take(text, '-') ||
        !take_number(text, 2, &tm->tm_mday))
        return false;
    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    return tm->tm_mon >= 0 && tm->tm_mon < 12 && tm->tm_mday >= 1 && tm->tm_mday <= 31;
}

static bool take_clock(const char **text, struct tm *tm)
{
    if (!take_number(text, 2, &tm->tm_hour) || !take(text, ':') ||
        !take_number(text, 2, &tm->tm_min))
        return false;
    if (take(text, ':') && !take_number(text, 2, &tm->tm_sec))
        return false;
    return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

static bool take_fraction(const char **text, int64_t *ret_ns)
{
    int64_t unit = 100000000;

    *ret_ns = 0;
    if (!take(text, '.'))
        return true;
    if (**text < '0' || **text > '9')
        return false;
    for (; **text >= '0' && **text <= '9'; (*text)++, unit /= 10)
        *ret_ns += (**text - '0') * unit;
    return true;
}

/* Seconds east of UTC. */
static bool take_offset(const char **text, long *ret_seconds)
{
    int sign = **text == '-' ? -1 : 1;
    int hours, minutes;

    if (!take(text, '+') && !take(text, '-'))
        return false;
    if (!take_number(text, 2, &hours) || !take(text, ':') || !take_number(text, 2, &minutes) ||
        hours > 23 || minutes > 59)
        return false;
    *ret_seconds = sign * (hours * 3600L + minutes * 60L);
    return true;
}

/* The instant a local time names when daylight saving is (not) in force; false when it names none.
 */
static bool local_instant(const struct tm *tm, int dst, time_t *ret_time)
{
    struct tm in = *tm, back;
    time_t t;

    in.tm_isdst = dst;
    t = mktime(&in);
    if (t == (time_t)-1 || localtime_r(&t, &back) == NULL)
        return false;
    if (back.tm_hour != tm->tm_hour || back.tm_min != tm->tm_min || back.tm_mday != tm->tm_mday)
        return false;
    *ret_time = t;
    return true;
}

static int local_instants(const struct tm *tm, int64_t ns, int64_t *ret_instants, size_t *ret_count)
{
    struct tm any = *tm;
    time_t summer, winter;
    bool has_summer = local_instant(tm, 1, &summer);
    bool has_winter = local_instant(tm, 0, &winter);

    if (!has_summer && !has_winter) {
        any.tm_isdst = -1; /* the hour that spring leaves out */
        winter = mktime(&any);
        has_winter = true;
    }
    *ret_count = 0;
    if (has_summer)
        ret_instants[(*ret_count)++] = (int64_t)summer * (int64_t)HF_NS_PER_S + ns;
    if (has_winter && !(has_summer && summer == winter))
        ret_instants[(*ret_count)++] = (int64_t)winter * (int64_t)HF_NS_PER_S + ns;
    return 0;
}

static int parse_absolute(const char *text, int64_t *ret_instants, size_t *ret_count)
{
    struct tm tm = {0};
    int64_t ns;
    long east = 0;

    if (!take_date(&text, &tm) || (!take(&text, 'T') && !take(&text, ' ')) ||
        !take_clock(&text, &tm) || !take_fraction(&text, &ns))
        return -EINVAL;
    if (*text == '\0')
        return local_instants(&tm, ns, ret_instants, ret_count);
    if (!take(&text, 'Z') && !take_offset(&text, &east))
        return -EINVAL;
    if (*text != '\0')
        return -EINVAL;
    ret_instants[0] = ((int64_t)timegm(&tm) - east) * (int64_t)HF_NS_PER_S + ns;
    *ret_count = 1;
    return 0;
}

static int64_t unit_seconds(char unit)
{
    switch (unit) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 86400;
    default:
        return 0;
    }
}

static int parse_relative(const char *text, int64_t newest_ns, int64_t *ret_instants,
                          size_t *ret_count)
{
    int64_t value = 0;
    const char *at = text + 1;

    for (; *at >= '0' && *at <= '9'; at++) {
        if (value > 100000000)
            return -EINVAL;
        value = value * 10 + (*at - '0');
    }
    if (at == text + 1 || unit_seconds(*at) == 0 || at[1] != '\0' ||
        value > 100000000 / unit_seconds(*at))
        return -EINVAL;
    ret_instants[0] = newest_ns - value * unit_seconds(*at) * (int64_t)HF_NS_PER_S;
    *ret_count = 1;
    return 0;
}

int hf_time_parse(const char *text, int64_t newest_ns, int64_t *ret_instants, size_t *ret_count)
{
    if (text[0] == '-')
        return parse_relative(text, newest_ns, ret_instants, ret_count);
    return parse_absolute(text, ret_instants, ret_count);
}
