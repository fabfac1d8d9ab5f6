// SPDX-License-Identifier: Apache-2.0
/* Shared by the back ends. */
#ifndef HF_IO_IO_INTERNAL_H
#define HF_IO_IO_INTERNAL_H

#include "io/io.h"

/* Names of a directory, for the back ends' `list`. Zero-initialised is empty. */
struct hf_name_list {
    char **names;
    size_t count;
    size_t capacity;
};

/* Copies the name. -ENOMEM, -HF_ETOOBIG. */
int hf_name_list_add(struct hf_name_list *list, const char *name);
/* Sorts by bytes and calls `each` until it returns non-zero, which is then returned. */
int hf_name_list_visit(struct hf_name_list *list, int (*each)(void *context, const char *name),
                       void *context);
void hf_name_list_done(struct hf_name_list *list);

#endif
