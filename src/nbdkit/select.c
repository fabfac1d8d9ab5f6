// SPDX-License-Identifier: Apache-2.0
#include "nbdkit/select.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

/* ---- Machine ---- */

struct machine_search {
    const char *wanted; /* NULL: any */
    struct hf_id id;
    unsigned found;
};

static int on_machine(void *context, const struct hf_machine_summary *summary)
{
    struct machine_search *search = context;
    char text[HF_ID_TEXT_SIZE];

    hf_id_format(&summary->machine, text);
    if (search->wanted != NULL && strcmp(search->wanted, text) != 0 &&
        strcmp(search->wanted, summary->name) != 0)
        return 0;
    search->id = summary->machine;
    search->found++;
    return 0;
}

static int find_machine(struct hf_store *store, const char *wanted, struct hf_id *ret_id,
                        char *text, size_t text_size)
{
    struct machine_search search = {.wanted = wanted};
    int r = hf_store_machines(store, on_machine, &search);

    if (r < 0) {
        snprintf(text, text_size, "the machines cannot be listed: %s", hf_strerror(r));
        return r;
    }
    if (search.found == 1) {
        *ret_id = search.id;
        return 0;
    }
    if (wanted == NULL)
        snprintf(text, text_size,
                 "the store holds %u machines: say which with machine=", search.found);
    else
        snprintf(text, text_size, "%u machines are called '%s'", search.found, wanted);
    return -ENOENT;
}

/* ---- Point ---- */

static void list_candidates(const struct hf_point *points, size_t count, const char *wanted,
                            char *text, size_t text_size)
{
    int used = snprintf(text, text_size, "'%s' names more than one moment:", wanted);

    for (size_t i = 0; i < count && used > 0 && (size_t)used < text_size; i++)
        used += snprintf(text + used, text_size - (size_t)used, " pos:%llu",
                         (unsigned long long)points[i].position);
}

static int find_point(struct hf_store *store, const struct hf_id *machine, const char *wanted,
                      uint64_t *ret_position, char *text, size_t text_size)
{
    struct hf_point points[HF_POINT_CANDIDATES_MAX];
    struct hf_machine_reader *reader;
    size_t count = 0;
    int r = hf_machine_reader_open(store, machine, &reader);

    if (r < 0) {
        snprintf(text, text_size, "the machine cannot be read: %s", hf_strerror(r));
        return r;
    }
    r = hf_point_find(reader, wanted, points, HF_ARRAY_COUNT(points), &count);
    hf_machine_reader_close(reader);
    if (r == 0)
        *ret_position = points[0].position;
    else if (r == -HF_EAMBIGUOUS)
        list_candidates(points, count, wanted, text, text_size);
    else
        snprintf(text, text_size, "point '%s': %s", wanted, hf_strerror(r));
    return r;
}

/* ---- Disks ---- */

static bool is_called(const struct hf_machine_disk *disk, const char *name)
{
    char number[16];

    snprintf(number, sizeof(number), "%u", disk->disk);
    return strcmp(name, disk->name) == 0 || strcmp(name, number) == 0;
}

const struct hf_machine_disk *hf_nbdkit_view_disk(const struct hf_nbdkit_view *view,
                                                  const char *name)
{
    if (name == NULL || name[0] == '\0')
        return view->disk_count == 1 ? &view->disks[0] : NULL;
    for (size_t i = 0; i < view->disk_count; i++) {
        if (is_called(&view->disks[i], name))
            return &view->disks[i];
    }
    return NULL;
}

static int keep_disk(struct hf_nbdkit_view *view, const char *wanted, char *text, size_t text_size)
{
    const struct hf_machine_disk *disk = hf_nbdkit_view_disk(view, wanted);

    if (disk == NULL) {
        snprintf(text, text_size, "there is no disk '%s' at this point", wanted);
        return -ENOENT;
    }
    if (disk != &view->disks[0])
        view->disks[0] = *disk;
    view->disk_count = 1;
    return 0;
}

/* ---- All of it ---- */

static int open_store(const struct hf_nbdkit_options *options, struct hf_nbdkit_view *view,
                      char *text, size_t text_size)
{
    int r = hf_io_file_new(options->store, &view->io);

    if (r == 0)
        r = hf_store_open(view->io, hf_clock_system(), hf_random_system(), &view->store);
    if (r == 0 && options->writable && options->overlay != NULL)
        r = hf_io_file_new(options->overlay, &view->overlay_io);
    if (r < 0)
        snprintf(text, text_size, "the store %s cannot be opened: %s", options->store,
                 hf_strerror(r));
    return r;
}

static int open_view(const struct hf_nbdkit_options *options, struct hf_nbdkit_view *view,
                     char *text, size_t text_size)
{
    struct hf_view_options view_options = {
        .writable = options->writable,
        .overlay_io = view->overlay_io,
        .overlay_bytes_max = options->overlay_bytes_max,
    };
    struct hf_id machine;
    int r = find_machine(view->store, options->machine, &machine, text, text_size);

    if (r == 0)
        r = find_point(view->store, &machine, options->point, &view_options.position, text,
                       text_size);
    if (r < 0)
        return r;
    r = hf_view_open(view->store, &machine, &view_options, &view->view);
    if (r < 0) {
        snprintf(text, text_size, "point '%s' cannot be opened: %s", options->point,
                 hf_strerror(r));
        return r;
    }
    view->disk_count = hf_view_disks(view->view, view->disks);
    return options->disk == NULL ? 0 : keep_disk(view, options->disk, text, text_size);
}

int hf_nbdkit_view_open(const struct hf_nbdkit_options *options, struct hf_nbdkit_view *ret_view,
                        char *text, size_t text_size)
{
    struct hf_nbdkit_view view = {0};
    int r = open_store(options, &view, text, text_size);

    if (r == 0)
        r = open_view(options, &view, text, text_size);
    if (r < 0) {
        hf_nbdkit_view_close(&view);
        return r;
    }
    *ret_view = view;
    return 0;
}

void hf_nbdkit_view_close(struct hf_nbdkit_view *view)
{
    hf_view_close(view->view);
    hf_store_close(view->store);
    hf_io_free(view->overlay_io);
    hf_io_free(view->io);
    memset(view, 0, sizeof(*view));
}
