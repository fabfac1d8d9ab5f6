// SPDX-License-Identifier: Apache-2.0
#ifndef HF_CONF_CONF_INTERNAL_H
#define HF_CONF_CONF_INTERNAL_H

#include "conf/conf.h"

#define HF_CONF_CAUSE_MAX 256

/* Parses one scalar into the field at `field`. 0, or -HF_ECONFIG with "cause; remedy" in `cause`
 * (HF_CONF_CAUSE_MAX bytes). `plain`: not quoted. */
int hf_conf_value_parse(const struct hf_conf_key *key, const char *text, size_t size, bool plain,
                        void *field, char *cause);

/* "64MiB", "10min": the shortest exact form; buffer of 32 bytes. */
#define HF_CONF_NUMBER_MAX 32
void hf_conf_number_format(enum hf_conf_type type, int64_t value, char *text);

/* "size", "duration", ... */
const char *hf_conf_type_name(enum hf_conf_type type);

#endif
