// SPDX-License-Identifier: Apache-2.0
/*
 * Walks the events of libfyaml with the table in hand: nothing is built that the table does not
 * ask for, the first thing it does not know ends the walk, and recursion is as deep as the table.
 */
#include <fcntl.h>
#include <libfyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/utf8.h"
#include "conf/conf-internal.h"

struct parser {
    struct fy_parser *fyp;
    struct fy_diag *diag;   /* collects what libfyaml has to say */
    struct fy_event *event; /* the current one */
    const char *name;
    int line; /* of the current event */
    int depth;
    struct hf_conf_error *error;
};

/* One struct being filled: the whole file's, or an item's of a list. */
struct scope {
    const struct hf_conf_key *keys;
    size_t key_count;
    uint8_t *target;
    const char *where; /* path of the item, "" for the file */
    int line;          /* where it begins */
    size_t seen_count;
    char seen[HF_CONF_KEYS_MAX * 2][HF_CONF_PATH_MAX]; /* keys and sections */
};

static int parse_map(struct parser *parser, struct scope *scope, const char *section);

/* ---- Errors ---- */

static int __attribute__((format(printf, 4, 5)))
fail(struct parser *parser, const struct scope *scope, const char *path, const char *format, ...)
{
    char cause[HF_CONF_CAUSE_MAX];
    const char *where = scope ? scope->where : "";
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(cause, sizeof(cause), format, arguments);
    va_end(arguments);
    parser->error->line = parser->line;
    if (path)
        snprintf(parser->error->text, sizeof(parser->error->text), "%s:%d: key '%s%s%s': %s",
                 parser->name, parser->line, where, where[0] && path[0] ? "." : "", path, cause);
    else
        snprintf(parser->error->text, sizeof(parser->error->text), "%s:%d: %s", parser->name,
                 parser->line, cause);
    return -HF_ECONFIG;
}

/* What the YAML parser found, which is the first error it collected. */
static int fail_syntax(struct parser *parser)
{
    void *iterator = NULL;
    struct fy_diag_error *found = fy_diag_errors_iterate(parser->diag, &iterator);

    if (found && found->line > 0)
        parser->line = found->line;
    return fail(parser, NULL, NULL, "this is not YAML (%.150s); mend the line or the one before",
                found && found->msg ? found->msg : "it cannot be parsed");
}

/* Its own output would go to standard error. */
static void drop_output(struct fy_diag *diag, void *user, const char *buffer, size_t size) {}

static int open_parser(struct parser *parser)
{
    struct fy_parse_cfg config = {.search_path = "", .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG};
    struct fy_diag_cfg diag_config;

    fy_diag_cfg_default(&diag_config);
    diag_config.fp = NULL;
    diag_config.output_fn = drop_output;
    diag_config.colorize = false;
    parser->diag = fy_diag_create(&diag_config);
    if (!parser->diag)
        return -ENOMEM;
    fy_diag_set_collect_errors(parser->diag, true);
    config.diag = parser->diag;
    parser->fyp = fy_parser_create(&config);
    return parser->fyp ? 0 : -ENOMEM;
}

static void close_parser(struct parser *parser)
{
    if (parser->event)
        fy_parser_event_free(parser->fyp, parser->event);
    fy_parser_destroy(parser->fyp);
    fy_diag_destroy(parser->diag); /* unref would leak the collected errors (libfyaml 0.7.12) */
}

/* ---- Events ---- */

static int next_event(struct parser *parser)
{
    const struct fy_mark *mark;

    if (parser->event)
        fy_parser_event_free(parser->fyp, parser->event);
    parser->event = fy_parser_parse(parser->fyp);
    if (!parser->event)
        return fail_syntax(parser);
    mark = fy_event_start_mark(parser->event);
    if (mark && mark->line >= 0)
        parser->line = mark->line + 1;
    return 0;
}

static bool has_decoration(struct fy_event *event)
{
    return fy_event_get_anchor_token(event) || fy_event_get_tag_token(event);
}

/* The next event inside the document. */
static int next_content(struct parser *parser)
{
    int error = next_event(parser);

    if (error)
        return error;
    switch (parser->event->type) {
    case FYET_ALIAS:
        return fail(parser, NULL, NULL, "aliases are not used here; write the value out");
    case FYET_SCALAR:
    case FYET_MAPPING_START:
    case FYET_SEQUENCE_START:
        if (has_decoration(parser->event))
            return fail(parser, NULL, NULL, "anchors and tags are not used here; remove it");
        return 0;
    default:
        return 0;
    }
}

struct scalar {
    const char *text;
    size_t size;
    bool plain;
};

static struct scalar scalar_of(struct parser *parser)
{
    struct fy_token *token = parser->event->scalar.value;
    struct scalar scalar = {.text = "", .plain = true};

    if (token) {
        const char *text = fy_token_get_text(token, &scalar.size);

        scalar.text = text ? text : "";
        scalar.size = text ? scalar.size : 0;
        scalar.plain = fy_token_scalar_style(token) == FYSS_PLAIN;
    }
    return scalar;
}

static int enter(struct parser *parser)
{
    if (++parser->depth > HF_CONF_DEPTH_MAX)
        return fail(parser, NULL, NULL, "maps and lists are nested too deep; use at most %d levels",
                    HF_CONF_DEPTH_MAX);
    return 0;
}

/* ---- Keys ---- */

static const struct hf_conf_key *find_key(const struct scope *scope, const char *path)
{
    for (size_t i = 0; i < scope->key_count; i++)
        if (strcmp(scope->keys[i].path, path) == 0)
            return &scope->keys[i];
    return NULL;
}

static bool is_section(const struct scope *scope, const char *path)
{
    size_t size = strlen(path);

    for (size_t i = 0; i < scope->key_count; i++)
        if (strncmp(scope->keys[i].path, path, size) == 0 && scope->keys[i].path[size] == '.')
            return true;
    return false;
}

static bool was_seen(const struct scope *scope, const char *path)
{
    for (size_t i = 0; i < scope->seen_count; i++)
        if (strcmp(scope->seen[i], path) == 0)
            return true;
    return false;
}

/* Only keys and sections of the table get here, so the array is never full. */
static void set_seen(struct scope *scope, const char *path)
{
    HF_ASSERT(scope->seen_count < HF_ARRAY_COUNT(scope->seen));
    snprintf(scope->seen[scope->seen_count++], HF_CONF_PATH_MAX, "%s", path);
}

/* The section's own keys, to help whoever mistyped one. */
static void list_known(const struct scope *scope, const char *section, char *text, size_t text_size)
{
    size_t prefix = strlen(section), used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < scope->key_count; i++) {
        const char *path = scope->keys[i].path;

        if (strncmp(path, section, prefix) != 0 || (prefix && path[prefix] != '.'))
            continue;
        path += prefix ? prefix + 1 : 0;
        if (used + strlen(path) + 3 > text_size)
            break;
        used += (size_t)snprintf(text + used, text_size - used, "%s%s", used ? ", " : "", path);
    }
}

static int fail_unknown(struct parser *parser, const struct scope *scope, const char *section,
                        const char *path)
{
    char known[160];

    list_known(scope, section, known, sizeof(known));
    return fail(parser, scope, path, "unknown key; known here: %s", known);
}

/* ---- Scopes ---- */

static void check_key(const struct hf_conf_key *key)
{
    static const size_t sizes[] = {[HF_CONF_SIZE] = sizeof(uint64_t),
                                   [HF_CONF_DURATION] = sizeof(uint64_t),
                                   [HF_CONF_INTEGER] = sizeof(int64_t),
                                   [HF_CONF_BOOL] = sizeof(bool)};

    HF_ASSERT(strlen(key->path) < HF_CONF_PATH_MAX);
    HF_ASSERT(!key->required || key->example || key->type == HF_CONF_LIST);
    if (key->type == HF_CONF_LIST)
        HF_ASSERT(key->list && !key->fallback && key->size % key->list->item_size == 0);
    else if (key->type == HF_CONF_TEXT || key->type == HF_CONF_PATH)
        HF_ASSERT(key->size > 0);
    else
        HF_ASSERT(key->size == sizes[key->type]);
}

static void fill_defaults(const struct hf_conf_key *keys, size_t key_count, uint8_t *target)
{
    char cause[HF_CONF_CAUSE_MAX];

    HF_ASSERT(key_count <= HF_CONF_KEYS_MAX);
    for (size_t i = 0; i < key_count; i++) {
        const struct hf_conf_key *key = &keys[i];

        check_key(key);
        if (key->fallback)
            HF_ASSERT(hf_conf_value_parse(key, key->fallback, strlen(key->fallback),
                                          key->fallback[0] != '\0' || key->type > HF_CONF_PATH,
                                          target + key->offset, cause) == 0);
    }
}

static int check_required(struct parser *parser, const struct scope *scope)
{
    for (size_t i = 0; i < scope->key_count; i++) {
        const struct hf_conf_key *key = &scope->keys[i];

        if (!key->required || was_seen(scope, key->path))
            continue;
        parser->line = scope->line;
        return fail(parser, scope, key->path, "the key is missing; add it, for example '%s'",
                    key->example ? key->example : "- ...");
    }
    return 0;
}

static struct scope *scope_new(const struct hf_conf_key *keys, size_t key_count, uint8_t *target,
                               const char *where, int line)
{
    struct scope *scope = malloc(sizeof(*scope));

    if (!scope)
        return NULL;
    scope->keys = keys;
    scope->key_count = key_count;
    scope->target = target;
    scope->where = where;
    scope->line = line;
    scope->seen_count = 0;
    fill_defaults(keys, key_count, target);
    return scope;
}

/* ---- Values ---- */

static int parse_scalar(struct parser *parser, const struct scope *scope,
                        const struct hf_conf_key *key)
{
    char cause[HF_CONF_CAUSE_MAX];
    struct scalar scalar;

    if (parser->event->type != FYET_SCALAR)
        return fail(parser, scope, key->path, "the type is %s; write one value behind the colon",
                    hf_conf_type_name(key->type));
    scalar = scalar_of(parser);
    if (hf_conf_value_parse(key, scalar.text, scalar.size, scalar.plain,
                            scope->target + key->offset, cause) != 0)
        return fail(parser, scope, key->path, "%s", cause);
    return 0;
}

/* An item is a map, or, for a list of plain values, a scalar. The current event is its first. */
static int parse_item_content(struct parser *parser, struct scope *scope)
{
    bool is_plain = scope->key_count == 1 && scope->keys[0].path[0] == '\0';
    int error;

    if (is_plain)
        return parse_scalar(parser, scope, &scope->keys[0]);
    if (parser->event->type != FYET_MAPPING_START)
        return fail(parser, scope, "", "the item is not a map; write 'key: value' lines");
    error = parse_map(parser, scope, "");
    return error ? error : check_required(parser, scope);
}

static int parse_item(struct parser *parser, const struct scope *outer,
                      const struct hf_conf_key *key, size_t index)
{
    const struct hf_conf_list *list = key->list;
    char where[2 * HF_CONF_PATH_MAX + 32];
    struct scope *scope;
    int error;

    snprintf(where, sizeof(where), "%s%s%s[%zu]", outer->where, outer->where[0] ? "." : "",
             key->path, index);
    scope = scope_new(list->keys, list->key_count,
                      outer->target + key->offset + index * list->item_size, where, parser->line);
    if (!scope)
        return -ENOMEM;
    error = parse_item_content(parser, scope);
    free(scope);
    return error;
}

static int check_item_count(struct parser *parser, const struct scope *scope,
                            const struct hf_conf_key *key, size_t count)
{
    size_t room = HF_MIN(key->size / key->list->item_size, (size_t)HF_CONF_LIST_MAX);
    size_t max = key->max > 0 ? HF_MIN(room, (size_t)key->max) : room;

    if (count > max)
        return fail(parser, scope, key->path, "the list is too long; use at most %zu items", max);
    return 0;
}

static int parse_list(struct parser *parser, const struct scope *scope,
                      const struct hf_conf_key *key)
{
    size_t count = 0;
    int error;

    if (parser->event->type != FYET_SEQUENCE_START)
        return fail(parser, scope, key->path,
                    "a list is expected; write each item on a line that begins with '- '");
    error = enter(parser);
    while (!error) {
        error = next_content(parser);
        if (error || parser->event->type == FYET_SEQUENCE_END)
            break;
        error = check_item_count(parser, scope, key, count + 1);
        if (!error)
            error = parse_item(parser, scope, key, count++);
    }
    parser->depth--;
    if (!error && (int64_t)count < key->min)
        error = fail(parser, scope, key->path, "the list is too short; use at least %zu items",
                     (size_t)key->min);
    if (!error)
        memcpy(scope->target + key->list->count_offset, &count, sizeof(count));
    return error;
}

/* A section whose keys are all commented out is a map of nothing. */
static int parse_section(struct parser *parser, struct scope *scope, const char *path)
{
    if (parser->event->type == FYET_MAPPING_START)
        return parse_map(parser, scope, path);
    if (parser->event->type == FYET_SCALAR && scalar_of(parser).size == 0 &&
        scalar_of(parser).plain)
        return 0;
    return fail(parser, scope, path, "this is a section; write its keys indented below it");
}

static int parse_entry(struct parser *parser, struct scope *scope, const char *section)
{
    char path[HF_CONF_PATH_MAX];
    const struct hf_conf_key *key;
    struct scalar name;
    int error;

    if (parser->event->type != FYET_SCALAR)
        return fail(parser, scope, section, "a key is not text; write 'key: value'");
    name = scalar_of(parser);
    if (snprintf(path, sizeof(path), "%s%s%.*s", section, section[0] ? "." : "",
                 (int)HF_MIN(name.size, sizeof(path)), name.text) >= (int)sizeof(path))
        return fail(parser, scope, section, "a key is too long; see the list of keys");
    key = memchr(name.text, '.', name.size) ? NULL : find_key(scope, path);
    if (name.size == 0 || memchr(name.text, '.', name.size) || (!key && !is_section(scope, path)))
        return fail_unknown(parser, scope, section, path);
    if (was_seen(scope, path))
        return fail(parser, scope, path, "the key is here twice; keep one of them");
    set_seen(scope, path);
    error = next_content(parser);
    if (error)
        return error;
    if (!key)
        return parse_section(parser, scope, path);
    return key->type == HF_CONF_LIST ? parse_list(parser, scope, key)
                                     : parse_scalar(parser, scope, key);
}

/* The current event is the map's start; on success it is its end. */
static int parse_map(struct parser *parser, struct scope *scope, const char *section)
{
    int error = enter(parser);

    while (!error) {
        error = next_content(parser);
        if (error || parser->event->type == FYET_MAPPING_END)
            break;
        error = parse_entry(parser, scope, section);
    }
    parser->depth--;
    return error;
}

/* ---- The document ---- */

static int expect(struct parser *parser, enum fy_event_type type)
{
    int error = next_event(parser);

    if (error)
        return error;
    if (parser->event->type != type)
        return fail(parser, NULL, NULL, "the file holds more than one document; keep one");
    return 0;
}

/* An empty file is a map of nothing. */
static int parse_root(struct parser *parser, struct scope *scope)
{
    int error = next_content(parser);
    bool empty;

    if (error)
        return error;
    if (parser->event->type == FYET_MAPPING_START)
        return parse_map(parser, scope, "");
    empty = parser->event->type == FYET_SCALAR && scalar_of(parser).size == 0;
    return empty ? 0 : fail(parser, NULL, NULL, "the file is not a map; write 'key: value' lines");
}

static int parse_stream(struct parser *parser, struct scope *scope)
{
    int error = next_event(parser);

    if (!error)
        error = next_event(parser);
    if (!error && parser->event->type == FYET_DOCUMENT_START) {
        error = parse_root(parser, scope);
        if (!error)
            error = expect(parser, FYET_DOCUMENT_END);
        if (!error)
            error = expect(parser, FYET_STREAM_END);
    }
    return error ? error : check_required(parser, scope);
}

/* The text's own encoding is checked first: what libfyaml sees is UTF-8 without NUL. */
static int check_text(struct parser *parser, const char *text, size_t size)
{
    size_t position = 0, length;

    parser->line = 0;
    if (size > HF_CONF_FILE_BYTES_MAX)
        return fail(parser, NULL, NULL, "the file is too large; use at most %zu bytes",
                    HF_CONF_FILE_BYTES_MAX);
    for (parser->line = 1; position < size; position += length) {
        length = hf_utf8_next(text + position, size - position);
        if (length == 0 || text[position] == '\0')
            return fail(parser, NULL, NULL, "this is not UTF-8 text; save the file as UTF-8");
        parser->line += text[position] == '\n';
    }
    parser->line = 1;
    return 0;
}

static int parse_with(struct parser *parser, const struct hf_conf_table *table, const char *text,
                      size_t size, uint8_t *target)
{
    struct scope *scope = scope_new(table->keys, table->key_count, target, "", 1);
    int error = -ENOMEM;

    if (!scope)
        return -ENOMEM;
    if (fy_parser_set_string(parser->fyp, text, size) == 0)
        error = parse_stream(parser, scope);
    free(scope);
    return error;
}

int hf_conf_parse_memory(const struct hf_conf_table *table, const char *name, const void *text,
                         size_t size, void *target, struct hf_conf_error *ret_error)
{
    struct parser parser = {.name = name, .error = ret_error};
    uint8_t *filled;
    int error = check_text(&parser, text, size);

    if (error)
        return error;
    filled = calloc(1, table->struct_size);
    error = filled ? open_parser(&parser) : -ENOMEM;
    if (!error)
        error = parse_with(&parser, table, size ? text : "", size, filled);
    if (!error)
        memcpy(target, filled, table->struct_size);
    close_parser(&parser);
    free(filled);
    return error;
}

void hf_conf_defaults(const struct hf_conf_table *table, void *target)
{
    memset(target, 0, table->struct_size);
    fill_defaults(table->keys, table->key_count, target);
}

/* ---- Files ---- */

/* One byte over the limit is read, so that a file that is too large is told from one that fits. */
static int read_file(const char *path, char *text, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
    size_t size = 0;

    if (fd < 0)
        return -errno;
    while (size <= HF_CONF_FILE_BYTES_MAX) {
        ssize_t got = read(fd, text + size, HF_CONF_FILE_BYTES_MAX + 1 - size);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            error = -errno;
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    close(fd);
    *ret_size = size;
    return error;
}

int hf_conf_parse_file(const struct hf_conf_table *table, const char *path, void *target,
                       struct hf_conf_error *ret_error)
{
    char *text = malloc(HF_CONF_FILE_BYTES_MAX + 1);
    size_t size = 0;
    int error;

    if (!text)
        return -ENOMEM;
    error = read_file(path, text, &size);
    if (error) {
        ret_error->line = 0;
        snprintf(ret_error->text, sizeof(ret_error->text),
                 "%s: the file cannot be read (%s); check its name and permissions", path,
                 hf_strerror(error));
    } else {
        error = hf_conf_parse_memory(table, path, text, size, target, ret_error);
    }
    free(text);
    return error;
}
