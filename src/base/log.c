// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/utf8.h"

#define LOG_TEXT_MAX 2048 /* bytes of one message before escaping; longer ones are cut */
#define LOG_LINE_MAX (LOG_TEXT_MAX * 6 + 256) /* JSON writes a control byte as six */
#define LOG_OVERRIDES_MAX 32                  /* components with a level of their own */
#define LOG_NAME_MAX 32

struct override {
    char name[LOG_NAME_MAX];
    int level;
};

struct levels {
    int everything;
    struct override overrides[LOG_OVERRIDES_MAX];
    size_t override_count;
};

/* The lock guards the level table and the list of components; each component's own level is read
 * without it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct levels current = {.everything = HF_LOG_INFO};
static struct hf_log_component *components;
static int current_format = HF_LOG_TEXT;

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const level_labels[] = {"ERROR", "WARN", "INFO", "DEBUG"};

/* ---- Levels ---- */

static int level_parse(const char *text, size_t size)
{
    for (size_t i = 0; i < HF_ARRAY_COUNT(level_names); i++)
        if (strlen(level_names[i]) == size && memcmp(level_names[i], text, size) == 0)
            return (int)i;
    return -EINVAL;
}

/* "name=level" or "level". */
static int levels_parse_item(struct levels *levels, const char *item, size_t size)
{
    const char *equals = memchr(item, '=', size);
    size_t name_size = equals ? (size_t)(equals - item) : 0;
    const char *text = equals ? equals + 1 : item;
    int level = level_parse(text, size - (size_t)(text - item));
    struct override *override;

    if (level < 0)
        return level;
    if (!equals) {
        levels->everything = level;
        return 0;
    }
    if (name_size == 0 || name_size >= LOG_NAME_MAX || levels->override_count == LOG_OVERRIDES_MAX)
        return -EINVAL;
    override = &levels->overrides[levels->override_count++];
    memcpy(override->name, item, name_size);
    override->name[name_size] = '\0';
    override->level = level;
    return 0;
}

static int levels_parse(struct levels *levels, const char *spec)
{
    for (;;) {
        size_t size = strcspn(spec, ",");
        int error = levels_parse_item(levels, spec, size);

        if (error)
            return error;
        if (spec[size] == '\0')
            return 0;
        spec += size + 1;
    }
}

/* The last mention of a name counts. */
static int levels_of(const struct levels *levels, const char *name)
{
    for (size_t i = levels->override_count; i > 0; i--)
        if (strcmp(levels->overrides[i - 1].name, name) == 0)
            return levels->overrides[i - 1].level;
    return levels->everything;
}

int hf_log_set_levels(const char *spec)
{
    struct levels levels = {.everything = HF_LOG_INFO};
    int error = levels_parse(&levels, spec);

    if (error)
        return error;
    pthread_mutex_lock(&lock);
    current = levels;
    for (struct hf_log_component *c = components; c; c = c->next)
        __atomic_store_n(&c->level, levels_of(&current, c->name), __ATOMIC_RELAXED);
    pthread_mutex_unlock(&lock);
    return 0;
}

void hf_log_set_format(enum hf_log_format format)
{
    __atomic_store_n(&current_format, (int)format, __ATOMIC_RELAXED);
}

static int component_level(struct hf_log_component *component)
{
    int level = __atomic_load_n(&component->level, __ATOMIC_RELAXED);

    if (level >= 0)
        return level;
    pthread_mutex_lock(&lock);
    if (component->level < 0) {
        component->next = components;
        components = component;
        __atomic_store_n(&component->level, levels_of(&current, component->name), __ATOMIC_RELAXED);
    }
    level = component->level;
    pthread_mutex_unlock(&lock);
    return level;
}

/* ---- Lines ---- */

struct line {
    char data[LOG_LINE_MAX];
    size_t size;
};

static void line_add(struct line *line, const char *text, size_t size)
{
    HF_ASSERT(size <= sizeof(line->data) - line->size);
    memcpy(line->data + line->size, text, size);
    line->size += size;
}

static void line_add_text(struct line *line, const char *text)
{
    line_add(line, text, strlen(text));
}

static void __attribute__((format(printf, 2, 3)))
line_format(struct line *line, const char *format, ...)
{
    char text[128];
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (size > 0)
        line_add(line, text, HF_MIN((size_t)size, sizeof(text) - 1));
}

/* A message is one line whatever is in it: text that came from a peer can neither forge a line nor
 * send escape sequences to a terminal. */
static void line_add_plain(struct line *line, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        line_add(line, c < 0x20 || c == 0x7f ? "?" : text, 1);
    }
}

static void line_add_json_character(struct line *line, const char *text, size_t size)
{
    unsigned char c = (unsigned char)*text;

    if (size == 0)
        line_add_text(line, "\\ufffd");
    else if (size == 1 && (c < 0x20 || c == 0x7f))
        line_format(line, "\\u%04x", c);
    else if (c == '"' || c == '\\')
        line_format(line, "\\%c", c);
    else
        line_add(line, text, size);
}

static void line_add_json(struct line *line, const char *text)
{
    size_t left = strlen(text);

    line_add_text(line, "\"");
    while (left > 0) {
        size_t size = hf_utf8_next(text, left);
        size_t step = HF_MAX(size, (size_t)1);

        line_add_json_character(line, text, size);
        text += step;
        left -= step;
    }
    line_add_text(line, "\"");
}

static void line_add_time(struct line *line)
{
    struct timespec now;
    struct tm parts;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    line_format(line, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ\"", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                now.tv_nsec / 1000000);
}

static void line_build_json(struct line *line, const char *name, enum hf_log_level level,
                            const char *message)
{
    line_add_text(line, "{\"time\":");
    line_add_time(line);
    line_format(line, ",\"level\":\"%s\",\"component\":\"%.*s\",\"message\":", level_names[level],
                LOG_NAME_MAX, name);
    line_add_json(line, message);
    line_add_text(line, "}\n");
}

static void line_build_text(struct line *line, const char *name, enum hf_log_level level,
                            const char *message)
{
    line_format(line, "%s %.*s: ", level_labels[level], LOG_NAME_MAX, name);
    line_add_plain(line, message);
    line_add_text(line, "\n");
}

/* A log that cannot be written must not stop replication (fault 58): failures are passed over. */
static void line_write(const struct line *line)
{
    ssize_t written;

    do {
        written = write(STDERR_FILENO, line->data, line->size);
    } while (written < 0 && errno == EINTR);
}

void hf_log_write(struct hf_log_component *component, enum hf_log_level level, const char *format,
                  ...)
{
    int saved_errno = errno;
    char message[LOG_TEXT_MAX];
    struct line line;
    va_list arguments;

    if ((int)level > component_level(component))
        return;
    errno = saved_errno; /* for %m */
    va_start(arguments, format);
    if (vsnprintf(message, sizeof(message), format, arguments) < 0)
        snprintf(message, sizeof(message), "(message cannot be formatted)");
    va_end(arguments);
    line.size = 0;
    if (__atomic_load_n(&current_format, __ATOMIC_RELAXED) == HF_LOG_JSON)
        line_build_json(&line, component->name, level, message);
    else
        line_build_text(&line, component->name, level, message);
    line_write(&line);
    errno = saved_errno;
}
