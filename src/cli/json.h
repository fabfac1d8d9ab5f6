// SPDX-License-Identifier: Apache-2.0
/* JSON for --output json. */
#ifndef HF_CLI_JSON_H
#define HF_CLI_JSON_H

#include <jansson.h>
#include <stdint.h>

/* Indented, with a newline, to standard output. */
void hf_json_print(const json_t *value);
/* Sets key to the time as RFC 3339 in UTC; null when it is 0. */
void hf_json_time(json_t *object, const char *key, int64_t wall_ns);

#endif
