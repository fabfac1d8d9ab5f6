// SPDX-License-Identifier: Apache-2.0
#include "base/test-support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "conf/conf.h"

#define DISKS 4

struct disk {
    char name[16];
    char path[64];
    uint64_t limit_bytes;
    char tags[2][8];
    size_t tag_count;
};

struct settings {
    char store[64];
    char title[32];
    uint64_t segment_bytes;
    uint64_t keep_ns;
    int64_t workers;
    bool verify;
    struct disk disks[DISKS];
    size_t disk_count;
};

static const struct hf_conf_key tag_keys[] = {
    {"", HF_CONF_TEXT, .offset = 0, .size = 8, .example = "fast"},
};
static const struct hf_conf_list tags = {tag_keys, 1, 8, offsetof(struct disk, tag_count)};
static const struct hf_conf_key disk_keys[] = {
    {"name", HF_CONF_TEXT, HF_CONF_FIELD(struct disk, name), .required = true, .example = "root",
     .doc = "The disk's name."},
    {"path", HF_CONF_PATH, HF_CONF_FIELD(struct disk, path), .required = true,
     .example = "/dev/vda", .doc = "The device."},
    {"limit", HF_CONF_SIZE, HF_CONF_FIELD(struct disk, limit_bytes), .fallback = "1GiB",
     .doc = "Its limit."},
    {"tags", HF_CONF_LIST, HF_CONF_FIELD(struct disk, tags), .list = &tags, .doc = "Its tags."},
};
static const struct hf_conf_list disks = {disk_keys, 4, sizeof(struct disk),
                                          offsetof(struct settings, disk_count)};
static const struct hf_conf_key keys[] = {
    {"store", HF_CONF_PATH, HF_CONF_FIELD(struct settings, store), .required = true,
     .example = "/var/lib/holdfast",
     .doc = "Where the store lies. This text is long enough to be broken into two comment lines, "
            "at a space and not in a word."},
    {"title", HF_CONF_TEXT, HF_CONF_FIELD(struct settings, title), .fallback = "", .min = 0,
     .max = 20, .doc = "What people call it."},
    {"journal.segment", HF_CONF_SIZE, HF_CONF_FIELD(struct settings, segment_bytes),
     .fallback = "64MiB", .min = 1 << 20, .max = 1 << 30, .doc = "Size of a segment."},
    {"journal.keep.dense", HF_CONF_DURATION, HF_CONF_FIELD(struct settings, keep_ns),
     .fallback = "2h", .doc = "How long any second can be opened."},
    {"journal.verify", HF_CONF_BOOL, HF_CONF_FIELD(struct settings, verify), .fallback = "true",
     .doc = "Check while reading."},
    {"workers", HF_CONF_INTEGER, HF_CONF_FIELD(struct settings, workers), .fallback = "-1",
     .min = -1, .max = 64, .doc = "Threads; -1: one for each processor."},
    {"disks", HF_CONF_LIST, HF_CONF_FIELD(struct settings, disks), .list = &disks,
     .doc = "The disks."},
};
static const struct hf_conf_table table = HF_CONF_TABLE(keys, struct settings);

static void parse_good(const char *text, struct settings *settings)
{
    struct hf_conf_error error = {0};

    if (hf_conf_parse_memory(&table, "t.yaml", text, strlen(text), settings, &error) != 0)
        fail_msg("%s", error.text);
}

static void assert_error(const char *text, const char *expected)
{
    struct settings settings, before;
    struct hf_conf_error error = {0};

    memset(&settings, 0x5a, sizeof(settings));
    before = settings;
    assert_int_equal(hf_conf_parse_memory(&table, "t.yaml", text, strlen(text), &settings, &error),
                     -HF_ECONFIG);
    if (strncmp(error.text, expected, strlen(expected)) != 0)
        fail_msg("'%s' instead of '%s'", error.text, expected);
    assert_memory_equal(&settings, &before, sizeof(settings));
}

/* ---- What is right ---- */

static void defaults_fill_what_is_not_said(void **state)
{
    struct settings settings, defaults;

    parse_good("store: /s\n", &settings);
    assert_string_equal(settings.store, "/s");
    assert_string_equal(settings.title, "");
    assert_int_equal(settings.segment_bytes, 64 * HF_MIB);
    assert_int_equal(settings.keep_ns, 7200 * HF_NS_PER_S);
    assert_int_equal(settings.workers, -1);
    assert_true(settings.verify);
    assert_int_equal(settings.disk_count, 0);
    hf_conf_defaults(&table, &defaults);
    assert_int_equal(defaults.segment_bytes, 64 * HF_MIB);
    assert_string_equal(defaults.store, "");
}

static void every_type_is_read(void **state)
{
    struct settings settings;

    parse_good("store: \"/a b/c\"\n"
               "title: 'Größe: x'\n"
               "journal: {segment: 2MiB, keep: {dense: 90min}, verify: false}\n"
               "workers: 7\n"
               "disks:\n"
               "  - name: a\n"
               "    path: /dev/a\n"
               "    tags: [x, y]\n"
               "  - {path: /dev/b, name: b, limit: 4096}\n",
               &settings);
    assert_string_equal(settings.store, "/a b/c");
    assert_string_equal(settings.title, "Größe: x");
    assert_int_equal(settings.segment_bytes, 2 * HF_MIB);
    assert_int_equal(settings.keep_ns, 90 * 60 * HF_NS_PER_S);
    assert_false(settings.verify);
    assert_int_equal(settings.workers, 7);
    assert_int_equal(settings.disk_count, 2);
    assert_string_equal(settings.disks[0].path, "/dev/a");
    assert_int_equal(settings.disks[0].limit_bytes, HF_GIB);
    assert_int_equal(settings.disks[0].tag_count, 2);
    assert_string_equal(settings.disks[0].tags[1], "y");
    assert_string_equal(settings.disks[1].name, "b");
    assert_int_equal(settings.disks[1].limit_bytes, 4096);
    assert_int_equal(settings.disks[1].tag_count, 0);
}

static void an_empty_section_and_comments_are_fine(void **state)
{
    struct settings settings;

    parse_good("# a comment\nstore: /s # another\njournal:\n# segment: 1MiB\n", &settings);
    assert_int_equal(settings.segment_bytes, 64 * HF_MIB);
    parse_good("---\nstore: /s\n...\n", &settings);
}

/* ---- What is wrong ---- */

static void an_unknown_key_is_an_error_with_its_line(void **state)
{
    assert_error("store: /s\nstroe: /x\n", "t.yaml:2: key 'stroe': unknown key; known here: store, "
                                           "title, journal.segment");
    assert_error("store: /s\njournal:\n  segment: 1MiB\n  segmnt: 1MiB\n",
                 "t.yaml:4: key 'journal.segmnt': unknown key; known here: segment, keep.dense, "
                 "verify");
    assert_error("store: /s\njournal.segment: 1MiB\n",
                 "t.yaml:2: key 'journal.segment': unknown key; ");
    assert_error("store: /s\ndisks:\n- {name: a, path: /a}\n- {name: b, path: /b, x: 1}\n",
                 "t.yaml:4: key 'disks[1].x': unknown key; known here: name, path, limit, tags");
    assert_error("? [a]\n: b\n", "t.yaml:1: key '': a key is not text; ");
}

static void a_repeated_key_is_an_error(void **state)
{
    assert_error("store: /s\nstore: /t\n", "t.yaml:2: key 'store': the key is here twice; ");
    assert_error("journal: {verify: true}\nstore: /s\njournal: {verify: true}\n",
                 "t.yaml:3: key 'journal': the key is here twice; ");
    assert_error("disks: [{name: a, name: b}]\n",
                 "t.yaml:1: key 'disks[0].name': the key is here twice; ");
}

static void a_wrong_type_is_an_error(void **state)
{
    assert_error("store: [a]\n", "t.yaml:1: key 'store': the type is path; ");
    assert_error("store: s\n", "t.yaml:1: key 'store': the path is not absolute; ");
    assert_error("store: /a/../b\n", "t.yaml:1: key 'store': the path holds '.' or '..'; ");
    assert_error("store: /a/.\n", "t.yaml:1: key 'store': the path holds '.' or '..'; ");
    assert_error("store:\n", "t.yaml:1: key 'store': there is no value; ");
    assert_error("workers: 1.5\n", "t.yaml:1: key 'workers': this is not an integer; ");
    assert_error("workers: 0x10\n", "t.yaml:1: key 'workers': this is not an integer; ");
    assert_error("workers: '1'\n",
                 "t.yaml:1: key 'workers': this is text, but the type is integer; ");
    assert_error("workers: 99999999999999999999\n",
                 "t.yaml:1: key 'workers': this is not an integer; ");
    assert_error("journal: {segment: 1MB}\n",
                 "t.yaml:1: key 'journal.segment': this is not a size; write it as 512, ");
    assert_error("journal: {segment: -1MiB}\n",
                 "t.yaml:1: key 'journal.segment': this is not a size; ");
    assert_error("journal: {keep: {dense: 60}}\n",
                 "t.yaml:1: key 'journal.keep.dense': this is not a duration; ");
    assert_error("journal: {verify: yes}\n",
                 "t.yaml:1: key 'journal.verify': this is not a boolean; ");
    assert_error("journal: 5\n", "t.yaml:1: key 'journal': this is a section; ");
    assert_error("disks: a\n", "t.yaml:1: key 'disks': a list is expected; ");
    assert_error("disks: [a]\n", "t.yaml:1: key 'disks[0]': the item is not a map; ");
    assert_error("[a]\n", "t.yaml:1: the file is not a map; ");
    assert_error("title: \"a\\0b\"\n", "t.yaml:1: key 'title': the text");
    assert_error("title: \"a\\nb\"\n", "t.yaml:1: key 'title': the text holds a control character");
}

static void a_value_out_of_range_is_an_error(void **state)
{
    assert_error("journal: {segment: 512KiB}\n", "t.yaml:1: key 'journal.segment': the value is "
                                                 "out of range; use 1MiB to 1GiB");
    assert_error("journal: {segment: 2GiB}\n",
                 "t.yaml:1: key 'journal.segment': the value is out of range; ");
    assert_error("journal: {segment: 9999999999999TiB}\n",
                 "t.yaml:1: key 'journal.segment': the value is too large; ");
    assert_error("workers: -2\n",
                 "t.yaml:1: key 'workers': the value is out of range; use -1 to 64");
    assert_error("title: aaaaaaaaaaaaaaaaaaaaa\n",
                 "t.yaml:1: key 'title': the text has 21 bytes; use 0 to 20");
    assert_error("disks: [{name: aaaaaaaaaaaaaaaa}]\n",
                 "t.yaml:1: key 'disks[0].name': the text is too long; use at most 15 bytes");
    assert_error("disks:\n- {name: a, path: /a, tags: [a, b, c]}\n",
                 "t.yaml:2: key 'disks[0].tags': the list is too long; use at most 2 items");
}

static void a_missing_key_is_an_error(void **state)
{
    assert_error("workers: 1\n", "t.yaml:");
    assert_error("", "t.yaml:1: key 'store': the key is missing; add it, for example "
                     "'/var/lib/holdfast'");
    assert_error("store: /s\ndisks:\n- name: a\n",
                 "t.yaml:3: key 'disks[0].path': the key is missing; ");
}

static void what_yaml_has_beyond_values_is_refused(void **state)
{
    assert_error("store: &a /s\n", "t.yaml:1: anchors and tags are not used here; ");
    assert_error("store: !!str /s\n", "t.yaml:1: anchors and tags are not used here; ");
    assert_error("store: /s\ntitle: *a\n", "t.yaml:2: ");
    assert_error("store: /s\n---\nstore: /t\n",
                 "t.yaml:2: the file holds more than one document; ");
}

static void broken_yaml_says_where(void **state)
{
    assert_error("store: /s\ntitle: 'a\n", "t.yaml:");
    assert_error("store: /s\njournal: {segment: 1MiB\n", "t.yaml:");
    assert_error("store: /s\n\ttitle: a\n",
                 "t.yaml:1: this is not YAML (invalid multiline plain key); mend");
    assert_error("store: /s\ntitle: a: b\n", "t.yaml:2: this is not YAML (");
    assert_error("store: /s\ntitle: \xff\n", "t.yaml:2: this is not UTF-8 text; ");
}

static void nesting_and_size_have_limits(void **state)
{
    struct settings settings;
    struct hf_conf_error error;
    size_t size = HF_CONF_FILE_BYTES_MAX + 1;
    char *text = malloc(size);

    memset(text, '[', size);
    assert_int_equal(hf_conf_parse_memory(&table, "t", text, size, &settings, &error), -HF_ECONFIG);
    assert_string_equal(error.text, "t:0: the file is too large; use at most 1048576 bytes");
    assert_int_equal(hf_conf_parse_memory(&table, "t", text, size - 1, &settings, &error),
                     -HF_ECONFIG);
    memset(text, ' ', size - 1);
    memcpy(text, "store: /s", 9);
    assert_int_equal(hf_conf_parse_memory(&table, "t", text, size - 1, &settings, &error), 0);
    free(text);
}

/* A small fuzz run: whatever the bytes are, there is a result and an error text. */
static void damaged_files_never_do_more_than_fail(void **state)
{
    static const char good[] = "store: /s\njournal: {segment: 2MiB, keep: {dense: 90min}}\n"
                               "disks:\n  - name: \"a\"\n    path: '/dev/a'\n    tags: [x, y]\n";
    static const char special[] = "{}[]:,&*!|>'\"%@`#- \n\t?\\a0\xc3";
    struct hf_random_seeded seeded;
    struct settings settings;
    char text[sizeof(good)];
    size_t failed = 0;

    hf_random_seeded_init(&seeded, 5);
    for (int round = 0; round < 3000; round++) {
        struct hf_conf_error error = {0};
        size_t size = 1 + hf_random_seeded_next(&seeded) % (sizeof(good) - 1);
        int result;

        memcpy(text, good, sizeof(good));
        for (int i = 0; i < 3; i++)
            text[hf_random_seeded_next(&seeded) % size] =
                special[hf_random_seeded_next(&seeded) % (sizeof(special) - 1)];
        result = hf_conf_parse_memory(&table, "t", text, size, &settings, &error);
        assert_true(result == 0 || (result == -HF_ECONFIG && error.text[0] != '\0'));
        failed += result != 0;
    }
    assert_true(failed > 1000 && failed < 3000);
}

/* ---- Files and generated text ---- */

static void a_file_is_read_and_a_missing_one_named(void **state)
{
    char path[] = "/tmp/hf-conf-XXXXXX";
    int fd = mkstemp(path);
    struct hf_conf_error error;
    struct settings settings;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "store: /s\n", 10), 10);
    close(fd);
    assert_int_equal(hf_conf_parse_file(&table, path, &settings, &error), 0);
    assert_string_equal(settings.store, "/s");
    unlink(path);
    assert_int_equal(hf_conf_parse_file(&table, path, &settings, &error), -ENOENT);
    assert_non_null(strstr(error.text, "the file cannot be read (No such file or directory); "));
    assert_int_equal(hf_conf_parse_file(&table, "/tmp", &settings, &error), -EISDIR);
}

static void the_sample_parses_to_the_defaults(void **state)
{
    struct hf_bytes sample = {0};
    struct settings settings, defaults;

    assert_int_equal(hf_conf_print_sample(&table, &sample), 0);
    assert_int_equal(hf_bytes_append(&sample, NULL, 1), 0);
    parse_good((const char *)sample.data, &settings);
    hf_conf_defaults(&table, &defaults);
    snprintf(defaults.store, sizeof(defaults.store), "/var/lib/holdfast");
    assert_memory_equal(&settings, &defaults, sizeof(settings));
    assert_non_null(strstr((const char *)sample.data,
                           "\njournal:\n\n  # Size of a segment.\n  # size, 1MiB to 1GiB, default "
                           "64MiB\n  # segment: 64MiB\n"));
    hf_bytes_clear(&sample);
}

/* Without its comment marks the sample is a whole file with every key. */
static void the_sample_parses_with_everything_switched_on(void **state)
{
    struct hf_bytes sample = {0};
    struct settings settings;
    char *text, *out, *line;

    assert_int_equal(hf_conf_print_sample(&table, &sample), 0);
    assert_int_equal(hf_bytes_append(&sample, NULL, 1), 0);
    out = text = calloc(1, sample.size + 1);
    for (line = (char *)sample.data; *line; line += strcspn(line, "\n") + 1) {
        size_t size = strcspn(line, "\n") + 1, indent = strspn(line, " ");
        char *value = line + indent + 2;
        size_t name = strspn(value, "abcdefghijklmnopqrstuvwxyz");
        bool is_key = value[name] == ':' || value[0] == '-' || strncmp(value, "  ", 2) == 0;

        if (line[indent] != '#') {
            memcpy(out, line, size);
            out += size;
        } else if (is_key) {
            memcpy(out, line, indent);
            memcpy(out + indent, value, size - indent - 2);
            out += size - 2;
        }
    }
    parse_good(text, &settings);
    assert_int_equal(settings.disk_count, 1);
    assert_string_equal(settings.disks[0].path, "/dev/vda");
    free(text);
    hf_bytes_clear(&sample);
}

static void the_manual_names_every_key(void **state)
{
    struct hf_bytes manual = {0};

    assert_int_equal(hf_conf_print_manual(&table, &manual), 0);
    assert_int_equal(hf_bytes_append(&manual, NULL, 1), 0);
    assert_non_null(strstr((const char *)manual.data,
                           "*journal.keep.dense* (duration, default 2h)\n\tHow long"));
    assert_non_null(strstr((const char *)manual.data, "*disks\\[\\].path* (path, required)\n"));
    assert_non_null(strstr((const char *)manual.data, "*workers* (integer, -1 to 64, default -1)"));
    hf_bytes_clear(&manual);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_is_not_said),
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(an_empty_section_and_comments_are_fine),
        cmocka_unit_test(an_unknown_key_is_an_error_with_its_line),
        cmocka_unit_test(a_repeated_key_is_an_error),
        cmocka_unit_test(a_wrong_type_is_an_error),
        cmocka_unit_test(a_value_out_of_range_is_an_error),
        cmocka_unit_test(a_missing_key_is_an_error),
        cmocka_unit_test(what_yaml_has_beyond_values_is_refused),
        cmocka_unit_test(broken_yaml_says_where),
        cmocka_unit_test(nesting_and_size_have_limits),
        cmocka_unit_test(damaged_files_never_do_more_than_fail),
        cmocka_unit_test(a_file_is_read_and_a_missing_one_named),
        cmocka_unit_test(the_sample_parses_to_the_defaults),
        cmocka_unit_test(the_sample_parses_with_everything_switched_on),
        cmocka_unit_test(the_manual_names_every_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
