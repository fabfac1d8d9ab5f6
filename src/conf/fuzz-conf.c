// SPDX-License-Identifier: Apache-2.0
/* Any bytes as a configuration file, with a table that has every type, sections in sections and
 * lists in lists. */
#include "base/error.h"
#include "conf/conf.h"
#include "fuzz.h"

struct disk {
    char name[16];
    char path[64];
    uint64_t limit_bytes;
    char tags[2][8];
    size_t tag_count;
};

struct settings {
    char store[64];
    uint64_t segment_bytes;
    uint64_t keep_ns;
    int64_t workers;
    bool verify;
    struct disk disks[4];
    size_t disk_count;
};

static const struct hf_conf_key tag_keys[] = {{"", HF_CONF_TEXT, .offset = 0, .size = 8}};
static const struct hf_conf_list tags = {tag_keys, 1, 8, offsetof(struct disk, tag_count)};
static const struct hf_conf_key disk_keys[] = {
    {"name", HF_CONF_TEXT, HF_CONF_FIELD(struct disk, name), .required = true, .example = "a"},
    {"path", HF_CONF_PATH, HF_CONF_FIELD(struct disk, path)},
    {"limit", HF_CONF_SIZE, HF_CONF_FIELD(struct disk, limit_bytes), .fallback = "1GiB"},
    {"tags", HF_CONF_LIST, HF_CONF_FIELD(struct disk, tags), .list = &tags},
};
static const struct hf_conf_list disks = {disk_keys, 4, sizeof(struct disk),
                                          offsetof(struct settings, disk_count)};
static const struct hf_conf_key keys[] = {
    {"store", HF_CONF_PATH, HF_CONF_FIELD(struct settings, store)},
    {"j.s", HF_CONF_SIZE, HF_CONF_FIELD(struct settings, segment_bytes), .fallback = "64MiB"},
    {"j.k.d", HF_CONF_DURATION, HF_CONF_FIELD(struct settings, keep_ns), .fallback = "2h"},
    {"j.v", HF_CONF_BOOL, HF_CONF_FIELD(struct settings, verify), .fallback = "true"},
    {"w", HF_CONF_INTEGER, HF_CONF_FIELD(struct settings, workers), .min = -1, .max = 64},
    {"disks", HF_CONF_LIST, HF_CONF_FIELD(struct settings, disks), .list = &disks},
};
static const struct hf_conf_table table = HF_CONF_TABLE(keys, struct settings);

/* libfyaml 0.7.12 itself leaks the text of a quoted scalar that it had to rewrite, before a parse
 * error. A configuration is read once; what our own code leaks is still found. Called by
 * LeakSanitizer. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so";
}

/* Either the values keep the table's promises, or there is a text that says why not. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_conf_error error = {0};
    struct settings settings;
    int result = hf_conf_parse_memory(&table, "f", data, size, &settings, &error);

    HF_ASSERT(result == 0 || result == -ENOMEM || (result == -HF_ECONFIG && error.text[0] != '\0'));
    if (result == 0) {
        HF_ASSERT(settings.workers >= -1 && settings.workers <= 64);
        HF_ASSERT(settings.disk_count <= 4 && settings.disks[0].tag_count <= 2);
        HF_ASSERT(settings.store[0] == '\0' || settings.store[0] == '/');
    }
    return 0;
}
