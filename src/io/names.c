// SPDX-License-Identifier: Apache-2.0
#include "io/io-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

static int name_list_grow(struct hf_name_list *list)
{
    size_t capacity = HF_MAX(list->capacity * 2, (size_t)64);
    char **names = realloc(list->names, capacity * sizeof(*names));

    if (!names)
        return -ENOMEM;
    list->names = names;
    list->capacity = capacity;
    return 0;
}

int hf_name_list_add(struct hf_name_list *list, const char *name)
{
    char *copy;

    if (list->count >= HF_IO_LIST_MAX)
        return -HF_ETOOBIG;
    if (list->count == list->capacity && name_list_grow(list) != 0)
        return -ENOMEM;
    copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    list->names[list->count++] = copy;
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int hf_name_list_visit(struct hf_name_list *list, int (*each)(void *context, const char *name),
                       void *context)
{
    if (list->count > 1)
        qsort(list->names, list->count, sizeof(*list->names), compare_names);
    for (size_t i = 0; i < list->count; i++) {
        int stop = each(context, list->names[i]);

        if (stop)
            return stop;
    }
    return 0;
}

void hf_name_list_done(struct hf_name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
    *list = (struct hf_name_list){0};
}
