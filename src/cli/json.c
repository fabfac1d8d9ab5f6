// SPDX-License-Identifier: Apache-2.0
#include "cli/json.h"

#include <stdio.h>

#include "cli/output.h"

void hf_json_print(const json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
}

void hf_json_time(json_t *object, const char *key, int64_t wall_ns)
{
    char text[HF_OUTPUT_TEXT_MAX];

    json_object_set_new(object, key,
                        wall_ns != 0 ? json_string(hf_text_time_utc(wall_ns, text)) : json_null());
}
