// SPDX-License-Identifier: Apache-2.0
/* Listing marks, and what a position, a description, a set of disks looks like there. */
#include "store/point.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/point-internal.h"

/* ---- Marks ---- */

/* false: not a mark that can be understood. */
static bool decode_mark(const struct hf_journal_event *event, struct hf_point *ret_point)
{
    struct hf_mark_body body;
    size_t name_length;

    if (event->body_length < sizeof(body))
        return false;
    memcpy(&body, event->body, sizeof(body));
    name_length = hf_le16_get(body.name_length);
    if (name_length > HF_MARK_NAME_MAX || name_length != event->body_length - sizeof(body))
        return false;
    memset(ret_point, 0, sizeof(*ret_point));
    ret_point->position = event->position;
    ret_point->kind = body.kind;
    ret_point->id = body.point;
    ret_point->stream = event->stream;
    ret_point->seq = event->seq;
    ret_point->wall_ns = (int64_t)hf_le64_get(body.wall_ns);
    ret_point->receipt_ns = event->receipt_ns;
    ret_point->uncertainty_ns = hf_le64_get(body.wall_uncertainty_ns);
    memcpy(ret_point->name, (const uint8_t *)event->body + sizeof(body), name_length);
    return true;
}

static const char *reason_of(const struct hf_machine_reader *reader, const struct hf_state *state,
                             uint64_t position)
{
    if (position < reader->timeline.oldest)
        return "below the retention window";
    if (!hf_state_any_complete(state))
        return "no complete base image";
    return state->pass.open ? "inside a pass" : "changes were lost and not yet made good";
}

struct mark_walk {
    struct hf_machine_reader *reader;
    int (*each)(void *context, const struct hf_point *point);
    void *context;
};

static int on_mark(void *context, const struct hf_journal_event *event,
                   const struct hf_state *before, const struct hf_state *after)
{
    struct mark_walk *walk = context;
    struct hf_point point;

    if (event->type != HF_RECORD_MARK || !decode_mark(event, &point))
        return 0;
    point.openable = hf_timeline_is_openable(&walk->reader->timeline, point.position);
    if (!point.openable)
        point.reason = reason_of(walk->reader, after, point.position);
    return walk->each(walk->context, &point);
}

int hf_points_each(struct hf_machine_reader *reader,
                   int (*each)(void *context, const struct hf_point *point), void *context)
{
    struct mark_walk walk = {.reader = reader, .each = each, .context = context};
    struct hf_replay replay = {
        .reader = reader->journal,
        .manifest = &reader->manifest,
        .boundaries = reader->timeline.boundaries,
        .boundary_count = reader->timeline.boundary_count,
        .position = reader->timeline.newest,
        .each = on_mark,
        .context = &walk,
    };
    struct hf_state *state = calloc(1, sizeof(*state));
    int r;

    if (state == NULL)
        return -ENOMEM;
    r = hf_replay_run(&replay, state);
    free(state);
    return r;
}

/* ---- Positions ---- */

struct moment_search {
    uint64_t position;
    struct hf_journal_moment found;
    bool any;
};

static int on_moment(void *context, const struct hf_journal_moment *moment)
{
    struct moment_search *search = context;

    if (search->any && moment->position_begin >= search->position)
        return 1;
    search->found = *moment;
    search->any = true;
    return 0;
}

int hf_point_at(struct hf_machine_reader *reader, uint64_t position, struct hf_point *ret_point)
{
    struct moment_search search = {.position = position};
    const char *reason;
    int r = hf_journal_reader_moments(reader->journal, reader->manifest.base_at, UINT64_MAX,
                                      on_moment, &search);

    if (r < 0)
        return r;
    r = hf_machine_reader_openable(reader, position, &reason);
    if (r < 0)
        return r;
    memset(ret_point, 0, sizeof(*ret_point));
    ret_point->position = position;
    ret_point->openable = true;
    if (!search.any) {
        ret_point->stream = reader->manifest.state.stream;
        return 0;
    }
    ret_point->stream = search.found.stream;
    ret_point->wall_ns = position >= search.found.position_end ? search.found.wall_last_ns
                                                               : search.found.wall_first_ns;
    ret_point->uncertainty_ns =
        search.found.wall_last_ns > search.found.wall_first_ns
            ? (uint64_t)(search.found.wall_last_ns - search.found.wall_first_ns)
            : 0;
    ret_point->receipt_ns = search.found.receipt_ns;
    return 0;
}

/* ---- Description and disks ---- */

static int on_description(void *context, const struct hf_journal_event *event)
{
    int r;

    if (event->type != HF_RECORD_MACHINE)
        return 0;
    r = hf_description_part(context, event->body, event->body_length);
    return r == -HF_ECORRUPT ? 0 : r;
}

int hf_description_replay(struct hf_journal_reader *journal, const struct hf_manifest *manifest,
                          uint64_t position, struct hf_description *ret_description)
{
    struct hf_description description;
    int r = hf_description_copy(&manifest->description, &description);

    if (r < 0)
        return r;
    r = hf_journal_reader_events(journal, manifest->base_at, position, on_description,
                                 &description);
    if (r < 0) {
        hf_description_clear(&description);
        return r;
    }
    *ret_description = description;
    return 0;
}

int hf_point_machine_description(struct hf_machine_reader *reader, uint64_t position,
                                 char **ret_json)
{
    struct hf_description description;
    char *json = NULL;
    int r = hf_description_replay(reader->journal, &reader->manifest, position, &description);

    if (r < 0)
        return r;
    if (description.whole.size == 0)
        r = -ENOENT;
    else if ((json = malloc(description.whole.size + 1)) == NULL)
        r = -ENOMEM;
    if (r == 0) {
        memcpy(json, description.whole.data, description.whole.size);
        json[description.whole.size] = '\0';
        *ret_json = json;
    }
    hf_description_clear(&description);
    return r;
}

size_t hf_state_disk_list(const struct hf_state *state, struct hf_machine_disk *ret_disks)
{
    size_t count = 0;

    for (uint16_t i = 0; i < HF_DISKS_MAX; i++)
        count += hf_state_disk(state, i, &ret_disks[count]);
    return count;
}

int hf_point_disks(struct hf_machine_reader *reader, uint64_t position,
                   struct hf_machine_disk *ret_disks, size_t *ret_count)
{
    struct hf_state *state = calloc(1, sizeof(*state));
    int r;

    if (state == NULL)
        return -ENOMEM;
    r = hf_machine_reader_state(reader, position, state);
    if (r == 0)
        *ret_count = hf_state_disk_list(state, ret_disks);
    free(state);
    return r;
}
