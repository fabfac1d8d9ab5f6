// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration files: YAML, described by a table that also gives the defaults, the sample file
 * and the reference text. Strict: an unknown or repeated key, a wrong type and a value out of
 * range are errors that name file, line, key, cause and remedy. Anchors, aliases, tags and further
 * documents are refused.
 *
 *     struct settings { char store[256]; uint64_t segment_bytes; };
 *     static const struct hf_conf_key keys[] = {
 *         {"store", HF_CONF_PATH, HF_CONF_FIELD(struct settings, store), .required = true,
 *          .example = "/var/lib/holdfast", .doc = "Where the store lies."},
 *         {"journal.segment", HF_CONF_SIZE, HF_CONF_FIELD(struct settings, segment_bytes),
 *          .fallback = "64MiB", .min = 1 << 20, .max = 1 << 30, .doc = "Size of one segment."},
 *     };
 *     static const struct hf_conf_table table = HF_CONF_TABLE(keys, struct settings);
 */
#ifndef HF_CONF_CONF_H
#define HF_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/bytes.h"

#define HF_CONF_FILE_BYTES_MAX ((size_t)1 << 20)
#define HF_CONF_DEPTH_MAX 8   /* maps and lists inside each other */
#define HF_CONF_KEYS_MAX 128  /* in one table */
#define HF_CONF_PATH_MAX 128  /* bytes of a key's full path with its terminator */
#define HF_CONF_LIST_MAX 4096 /* most items of any list */

enum hf_conf_type {
    HF_CONF_TEXT,     /* char[n]: UTF-8 without control characters; min, max: bytes */
    HF_CONF_PATH,     /* char[n]: absolute, without "." or ".." components */
    HF_CONF_SIZE,     /* uint64_t bytes: 512, 512B, 64KiB, MiB, GiB, TiB */
    HF_CONF_DURATION, /* uint64_t nanoseconds: 250ms, 5s, 10min, 2h, 7d */
    HF_CONF_INTEGER,  /* int64_t */
    HF_CONF_BOOL,     /* bool: true, false */
    HF_CONF_LIST,     /* T[n]: items as `list` says; min, max: number of items */
};

struct hf_conf_key;

/* The items of a list: maps with keys of their own, or, when the table's only key has the path "",
 * plain values. */
struct hf_conf_list {
    const struct hf_conf_key *keys;
    size_t key_count;
    size_t item_size;    /* of one T */
    size_t count_offset; /* of a size_t in the struct that holds the list */
};

struct hf_conf_key {
    const char *path; /* "section.key", in the order in which the sample shows them; keys of one
                         section stand together */
    enum hf_conf_type type;
    size_t offset; /* HF_CONF_FIELD fills both */
    size_t size;
    int64_t min; /* in the field's unit; both 0: only the type's own limits */
    int64_t max;
    const char *fallback; /* as it would stand in the file; NULL: zero, empty or required */
    bool required;
    const char *example; /* for the sample; needed for what is required */
    const char *doc;     /* one or more sentences */
    const struct hf_conf_list *list;
};

struct hf_conf_table {
    const struct hf_conf_key *keys;
    size_t key_count;
    size_t struct_size;
};

#define HF_CONF_FIELD(type_, member_)                                                              \
    .offset = offsetof(type_, member_), .size = sizeof(((type_ *)NULL)->member_)
#define HF_CONF_TABLE(keys_, type_)                                                                \
    {                                                                                              \
        .keys = (keys_), .key_count = HF_ARRAY_COUNT(keys_), .struct_size = sizeof(type_)          \
    }

/* What is wrong, for the operator: "FILE:LINE: key 'a.b': cause; remedy". */
struct hf_conf_error {
    int line; /* from 1; 0: the file as a whole */
    char text[768];
};

/* Parses `size` bytes; `name` stands for the file in messages. *target (table->struct_size bytes,
 * plain data without pointers) is written only on success. -HF_ECONFIG with *ret_error filled, or
 * -ENOMEM. Any thread; does not block. A table that is itself wrong (a default out of range, a
 * field of the wrong size) is an assertion. */
int hf_conf_parse_memory(const struct hf_conf_table *table, const char *name, const void *text,
                         size_t size, void *target, struct hf_conf_error *ret_error);

/* The same for a file. Also a negative errno when it cannot be read, *ret_error filled. Blocks. */
int hf_conf_parse_file(const struct hf_conf_table *table, const char *path, void *target,
                       struct hf_conf_error *ret_error);

/* Fills *target with the defaults; what has none is zero. */
void hf_conf_defaults(const struct hf_conf_table *table, void *target);

/* Appends a commented sample file, which parses and means the defaults: what is optional is
 * commented out. Errors as hf_bytes_append. */
int hf_conf_print_sample(const struct hf_conf_table *table, struct hf_bytes *out);

/* Appends the reference of all keys as a part of a man page in scdoc(5) form. Errors as
 * hf_bytes_append. */
int hf_conf_print_manual(const struct hf_conf_table *table, struct hf_bytes *out);

#endif
