// SPDX-License-Identifier: Apache-2.0
/* The sample file and the reference, from the same table that parses. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "conf/conf-internal.h"

#define LINE_MAX_BYTES 1024
#define COMMENT_COLUMNS 96

/* Errors stay: after the first nothing more is added. */
struct printer {
    struct hf_bytes *out;
    int error;
};

static void __attribute__((format(printf, 2, 3)))
put(struct printer *printer, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    HF_ASSERT(size >= 0 && (size_t)size < sizeof(line));
    if (!printer->error)
        printer->error = hf_bytes_append(printer->out, line, (size_t)size);
}

/* "size, 1MiB to 1GiB, default 64MiB" */
static void describe(const struct hf_conf_key *key, char *text, size_t text_size)
{
    char low[HF_CONF_NUMBER_MAX], high[HF_CONF_NUMBER_MAX];
    size_t used = (size_t)snprintf(text, text_size, "%s", hf_conf_type_name(key->type));

    if (key->min != 0 || key->max != 0) {
        bool is_text = key->type == HF_CONF_TEXT || key->type == HF_CONF_PATH;

        hf_conf_number_format(key->type, key->min, low);
        hf_conf_number_format(key->type, key->max, high);
        used += (size_t)snprintf(text + used, text_size - used, ", %s to %s%s", low, high,
                                 is_text                     ? " bytes"
                                 : key->type == HF_CONF_LIST ? " items"
                                                             : "");
    }
    if (key->fallback)
        used += (size_t)snprintf(text + used, text_size - used, ", default %s",
                                 key->fallback[0] ? key->fallback : "empty");
    if (key->required)
        used += (size_t)snprintf(text + used, text_size - used, ", required");
    HF_ASSERT(used < text_size);
}

/* ---- Sample ---- */

static void put_indent(struct printer *printer, int indent)
{
    put(printer, "%*s", indent, "");
}

/* Breaks at spaces. */
static void put_comment(struct printer *printer, int indent, const char *text)
{
    size_t width = COMMENT_COLUMNS - (size_t)indent;

    while (*text) {
        size_t size = strlen(text), part = size;

        if (size > width) {
            for (part = width; part > 0 && text[part] != ' '; part--)
                ;
            part = part ? part : width;
        }
        put_indent(printer, indent);
        put(printer, "# %.*s\n", (int)part, text);
        text += part;
        text += strspn(text, " ");
    }
}

/* How many components of `path` lead to it, and how many of those the two have in common. */
static size_t common_sections(const char *a, const char *b)
{
    size_t common = 0;

    for (; *a && *a == *b; a++, b++)
        common += *a == '.';
    return common;
}

static const char *skip_components(const char *path, size_t count)
{
    while (count-- > 0)
        path = strchr(path, '.') + 1;
    return path;
}

/* Opens the sections of `path` that `previous` was not in; returns the indent of its key. */
static int put_sections(struct printer *printer, const char *previous, const char *path, int indent)
{
    size_t common = common_sections(previous, path);
    const char *rest = skip_components(path, common), *dot;

    indent += 2 * (int)common;
    for (; (dot = strchr(rest, '.')); rest = dot + 1, indent += 2) {
        put(printer, "\n");
        put_indent(printer, indent);
        put(printer, "%.*s:\n", (int)(dot - rest), rest);
    }
    return indent;
}

static const char *last_component(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot ? dot + 1 : path;
}

static const char *sample_value(const struct hf_conf_key *key)
{
    if (key->type == HF_CONF_LIST)
        return "[]";
    if (key->example)
        return key->example;
    return key->fallback && key->fallback[0] ? key->fallback : "''";
}

/* The first item; its keys without sections of their own, which lists of maps do not need. */
static void put_item(struct printer *printer, const struct hf_conf_list *list, int indent,
                     const char *comment)
{
    for (size_t i = 0; i < list->key_count; i++) {
        const struct hf_conf_key *key = &list->keys[i];
        char description[256];

        put_indent(printer, indent);
        describe(key, description, sizeof(description));
        put(printer, "%s%s %s%s%s  # %s\n", comment, i == 0 ? "-" : " ", key->path,
            key->path[0] ? ": " : "", sample_value(key), description);
    }
}

static void put_key(struct printer *printer, const struct hf_conf_key *key, int indent)
{
    const char *comment = key->required ? "" : "# ";
    char description[256];

    describe(key, description, sizeof(description));
    put(printer, "\n");
    put_comment(printer, indent, key->doc ? key->doc : "");
    put_comment(printer, indent, description);
    put_indent(printer, indent);
    if (key->type != HF_CONF_LIST) {
        put(printer, "%s%s: %s\n", comment, last_component(key->path), sample_value(key));
        return;
    }
    put(printer, "%s%s:\n", comment, last_component(key->path));
    put_item(printer, key->list, indent + 2, comment);
}

int hf_conf_print_sample(const struct hf_conf_table *table, struct hf_bytes *out)
{
    struct printer printer = {.out = out};
    const char *previous = "";

    for (size_t i = 0; i < table->key_count; i++) {
        const struct hf_conf_key *key = &table->keys[i];

        put_key(&printer, key, put_sections(&printer, previous, key->path, 0));
        previous = key->path;
    }
    return printer.error;
}

/* ---- Reference ---- */

/* scdoc takes these characters for markup. */
static void put_escaped(struct printer *printer, const char *text)
{
    for (; *text; text++)
        put(printer, "%s%c", strchr("_*\\`[]#<>", *text) ? "\\" : "", *text);
}

static void put_reference(struct printer *printer, const char *prefix, const char *path,
                          const struct hf_conf_key *key)
{
    char description[256];

    describe(key, description, sizeof(description));
    put(printer, "*");
    put_escaped(printer, prefix);
    put_escaped(printer, path);
    put(printer, "* (");
    put_escaped(printer, description);
    put(printer, ")\n\t");
    put_escaped(printer, key->doc ? key->doc : "");
    put(printer, "\n\n");
}

static void put_list_reference(struct printer *printer, const struct hf_conf_key *key)
{
    char prefix[HF_CONF_PATH_MAX + 4];

    snprintf(prefix, sizeof(prefix), "%s[].", key->path);
    for (size_t i = 0; i < key->list->key_count; i++)
        if (key->list->keys[i].path[0])
            put_reference(printer, prefix, key->list->keys[i].path, &key->list->keys[i]);
}

int hf_conf_print_manual(const struct hf_conf_table *table, struct hf_bytes *out)
{
    struct printer printer = {.out = out};

    for (size_t i = 0; i < table->key_count; i++) {
        put_reference(&printer, "", table->keys[i].path, &table->keys[i]);
        if (table->keys[i].type == HF_CONF_LIST)
            put_list_reference(&printer, &table->keys[i]);
    }
    return printer.error;
}
