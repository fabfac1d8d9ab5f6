// SPDX-License-Identifier: Apache-2.0
/* One value: from text to a field of the caller's struct. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "conf/conf-internal.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* Ascending, the plain form first. A size may go without unit; a duration may not. */
static const struct unit size_units[] = {
    {"B", 1}, {"KiB", HF_KIB}, {"MiB", HF_MIB}, {"GiB", HF_GIB}, {"TiB", HF_GIB * 1024}};
static const struct unit duration_units[] = {{"ms", HF_NS_PER_MS},
                                             {"s", HF_NS_PER_S},
                                             {"min", 60 * HF_NS_PER_S},
                                             {"h", 3600 * HF_NS_PER_S},
                                             {"d", 86400 * HF_NS_PER_S}};

static int __attribute__((format(printf, 2, 3))) fail(char *cause, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(cause, HF_CONF_CAUSE_MAX, format, arguments);
    va_end(arguments);
    return -HF_ECONFIG;
}

const char *hf_conf_type_name(enum hf_conf_type type)
{
    static const char *const names[] = {
        [HF_CONF_TEXT] = "text",         [HF_CONF_PATH] = "path",       [HF_CONF_SIZE] = "size",
        [HF_CONF_DURATION] = "duration", [HF_CONF_INTEGER] = "integer", [HF_CONF_BOOL] = "boolean",
        [HF_CONF_LIST] = "list",
    };

    return names[type];
}

/* ---- Numbers ---- */

static void format_units(const struct unit *units, size_t count, uint64_t value, char *text)
{
    size_t best = 0;

    for (size_t i = 0; i < count; i++)
        if (value != 0 && value % units[i].factor == 0)
            best = i;
    snprintf(text, HF_CONF_NUMBER_MAX, "%" PRIu64 "%s", value / units[best].factor,
             units[best].name);
}

void hf_conf_number_format(enum hf_conf_type type, int64_t value, char *text)
{
    if (type == HF_CONF_SIZE)
        format_units(size_units, HF_ARRAY_COUNT(size_units), (uint64_t)value, text);
    else if (type == HF_CONF_DURATION)
        format_units(duration_units, HF_ARRAY_COUNT(duration_units), (uint64_t)value, text);
    else
        snprintf(text, HF_CONF_NUMBER_MAX, "%" PRId64, value);
}

static bool has_range(const struct hf_conf_key *key)
{
    return key->min != 0 || key->max != 0;
}

static int check_range(const struct hf_conf_key *key, int64_t value, char *cause)
{
    char low[HF_CONF_NUMBER_MAX], high[HF_CONF_NUMBER_MAX];

    if (!has_range(key) || (value >= key->min && value <= key->max))
        return 0;
    hf_conf_number_format(key->type, key->min, low);
    hf_conf_number_format(key->type, key->max, high);
    return fail(cause, "the value is out of range; use %s to %s", low, high);
}

/* Decimal digits at the front; returns how many, 0 when none or too large. */
static size_t parse_digits(const char *text, size_t size, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t i;

    for (i = 0; i < size && text[i] >= '0' && text[i] <= '9'; i++)
        if (!hf_mul_u64(value, 10, &value) || !hf_add_u64(value, (uint64_t)(text[i] - '0'), &value))
            return 0;
    *ret_value = value;
    return i;
}

static const struct unit *find_unit(const struct unit *units, size_t count, const char *name,
                                    size_t size)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(units[i].name) == size && memcmp(units[i].name, name, size) == 0)
            return &units[i];
    return NULL;
}

static int parse_with_unit(const struct hf_conf_key *key, const char *text, size_t size,
                           uint64_t *field, char *cause)
{
    bool is_size = key->type == HF_CONF_SIZE;
    const struct unit *units = is_size ? size_units : duration_units;
    size_t unit_count = is_size ? HF_ARRAY_COUNT(size_units) : HF_ARRAY_COUNT(duration_units);
    const char *remedy = is_size ? "write it as 512, 64KiB, 10MiB, 2GiB or 1TiB"
                                 : "write it as 250ms, 5s, 10min, 2h or 7d";
    uint64_t value = 0;
    size_t digits = parse_digits(text, size, &value);
    const struct unit *unit = find_unit(units, unit_count, text + digits, size - digits);
    int error;

    if (is_size && digits > 0 && digits == size)
        unit = &units[0];
    if (digits == 0 || !unit)
        return fail(cause, "this is not a %s; %s", hf_conf_type_name(key->type), remedy);
    if (!hf_mul_u64(value, unit->factor, &value) || value > INT64_MAX)
        return fail(cause, "the value is too large; use less than 8388608TiB or 106751d");
    error = check_range(key, (int64_t)value, cause);
    if (!error)
        *field = value;
    return error;
}

static int parse_integer(const struct hf_conf_key *key, const char *text, size_t size,
                         int64_t *field, char *cause)
{
    bool negative = size > 0 && text[0] == '-';
    uint64_t magnitude = 0;
    size_t digits = parse_digits(text + negative, size - negative, &magnitude);
    int64_t value;
    int error;

    if (digits == 0 || digits + negative != size || magnitude > INT64_MAX)
        return fail(cause, "this is not an integer; write decimal digits");
    value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    error = check_range(key, value, cause);
    if (!error)
        *field = value;
    return error;
}

static int parse_bool(const char *text, size_t size, bool *field, char *cause)
{
    bool is_true = size == 4 && memcmp(text, "true", 4) == 0;

    if (!is_true && !(size == 5 && memcmp(text, "false", 5) == 0))
        return fail(cause, "this is not a boolean; write true or false");
    *field = is_true;
    return 0;
}

/* ---- Text ---- */

static int check_characters(const char *text, size_t size, char *cause)
{
    if (!hf_utf8_valid(text, size))
        return fail(cause, "the text is not UTF-8; save the file as UTF-8");
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return fail(cause, "the text holds a control character; remove it");
    return 0;
}

static bool component_is_dots(const char *component, size_t size)
{
    return (size == 1 && component[0] == '.') || (size == 2 && memcmp(component, "..", 2) == 0);
}

static int check_path(const char *text, size_t size, char *cause)
{
    size_t start = 1;

    if (size == 0 || text[0] != '/')
        return fail(cause, "the path is not absolute; begin it with '/'");
    for (size_t i = 1; i <= size; i++) {
        if (i < size && text[i] != '/')
            continue;
        if (component_is_dots(text + start, i - start))
            return fail(cause, "the path holds '.' or '..'; write it out");
        start = i + 1;
    }
    return 0;
}

static int parse_text(const struct hf_conf_key *key, const char *text, size_t size, char *field,
                      char *cause)
{
    int error = check_characters(text, size, cause);

    if (!error && key->type == HF_CONF_PATH)
        error = check_path(text, size, cause);
    if (!error && size >= key->size)
        error = fail(cause, "the text is too long; use at most %zu bytes", key->size - 1);
    if (!error && has_range(key) && ((int64_t)size < key->min || (int64_t)size > key->max))
        error = fail(cause, "the text has %zu bytes; use %" PRId64 " to %" PRId64, size, key->min,
                     key->max);
    if (error)
        return error;
    memcpy(field, text, size);
    memset(field + size, 0, key->size - size);
    return 0;
}

int hf_conf_value_parse(const struct hf_conf_key *key, const char *text, size_t size, bool plain,
                        void *field, char *cause)
{
    bool is_text = key->type == HF_CONF_TEXT || key->type == HF_CONF_PATH;

    if (plain && size == 0)
        return fail(cause, "there is no value; write one of type %s behind the colon",
                    hf_conf_type_name(key->type));
    if (!plain && !is_text)
        return fail(cause, "this is text, but the type is %s; write it without quotation marks",
                    hf_conf_type_name(key->type));
    switch (key->type) {
    case HF_CONF_TEXT:
    case HF_CONF_PATH:
        return parse_text(key, text, size, field, cause);
    case HF_CONF_SIZE:
    case HF_CONF_DURATION:
        return parse_with_unit(key, text, size, field, cause);
    case HF_CONF_INTEGER:
        return parse_integer(key, text, size, field, cause);
    case HF_CONF_BOOL:
        return parse_bool(text, size, field, cause);
    case HF_CONF_LIST:
        return fail(cause, "a list is expected; write each item on a line that begins with '- '");
    }
    return fail(cause, "the key has no type");
}
