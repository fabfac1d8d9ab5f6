// SPDX-License-Identifier: Apache-2.0
#include "store/timeline.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

/* Room for one more item; sizes double. */
static int grow(void **items, size_t count, size_t item_size)
{
    void *more;

    if (count > 0 && (count & (count - 1)) != 0)
        return 0;
    if (count >= HF_TIMELINE_ITEMS_MAX)
        return -HF_ETOOBIG;
    more = realloc(*items, (count == 0 ? 1 : count * 2) * item_size);
    if (more == NULL)
        return -ENOMEM;
    *items = more;
    return 0;
}

/* ---- Boundaries ---- */

struct moment_walk {
    struct hf_timeline *timeline;
    struct hf_stream_id stream;
    bool has_stream;
};

static bool same_stream(const struct hf_stream_id *a, const struct hf_stream_id *b)
{
    return a->epoch == b->epoch && hf_id_equal(&a->capture, &b->capture);
}

static int add_boundary(struct hf_timeline *timeline, const struct hf_journal_moment *moment,
                        bool hole)
{
    int r = grow((void **)&timeline->boundaries, timeline->boundary_count,
                 sizeof(*timeline->boundaries));

    if (r < 0)
        return r;
    timeline->boundaries[timeline->boundary_count++] = (struct hf_boundary){
        .position = hole ? timeline->newest : moment->position_begin,
        .stream = moment->stream,
        .hole = hole,
    };
    return 0;
}

static int on_moment(void *context, const struct hf_journal_moment *moment)
{
    struct moment_walk *walk = context;
    struct hf_timeline *timeline = walk->timeline;
    int r = 0;

    if (!walk->has_stream || !same_stream(&walk->stream, &moment->stream))
        r = add_boundary(timeline, moment, false);
    else if (moment->position_begin > timeline->newest)
        r = add_boundary(timeline, moment, true);
    if (r < 0)
        return r;
    walk->has_stream = true;
    walk->stream = moment->stream;
    timeline->newest = HF_MAX(timeline->newest, moment->position_end);
    timeline->newest_wall_ns = moment->wall_last_ns;
    timeline->newest_receipt_ns = moment->receipt_ns;
    return 0;
}

static int find_boundaries(struct hf_journal_reader *reader, const struct hf_manifest *manifest,
                           uint64_t position_max, struct hf_timeline *timeline)
{
    struct moment_walk walk = {
        .timeline = timeline,
        .stream = manifest->state.stream,
        .has_stream = manifest->state.has_stream,
    };

    timeline->newest = manifest->base_at;
    return hf_journal_reader_moments(reader, manifest->base_at, position_max, on_moment, &walk);
}

struct damage_walk {
    struct hf_timeline *timeline;
    uint64_t base_at;
};

static int on_damage(void *context, const struct hf_journal_damage *damage)
{
    struct damage_walk *walk = context;
    struct hf_timeline *timeline = walk->timeline;
    int r;

    /* what lies in the base images already does not matter any more */
    if (HF_MAX(damage->position_begin, damage->position_end) <= walk->base_at)
        return 0;
    r = grow((void **)&timeline->boundaries, timeline->boundary_count,
             sizeof(*timeline->boundaries));
    if (r < 0)
        return r;
    timeline->boundaries[timeline->boundary_count++] = (struct hf_boundary){
        .position = HF_MAX(damage->position_begin, walk->base_at),
        .hole = true,
    };
    return 0;
}

static int compare_boundaries(const void *left, const void *right)
{
    const struct hf_boundary *a = left, *b = right;

    if (a->position != b->position)
        return a->position < b->position ? -1 : 1;
    return (int)a->hole - (int)b->hole;
}

static int find_damage(struct hf_journal_reader *reader, const struct hf_manifest *manifest,
                       struct hf_timeline *timeline)
{
    struct damage_walk walk = {.timeline = timeline, .base_at = manifest->base_at};
    int r = hf_journal_reader_damage(reader, on_damage, &walk);

    if (r == 0 && timeline->boundary_count > 0)
        qsort(timeline->boundaries, timeline->boundary_count, sizeof(*timeline->boundaries),
              compare_boundaries);
    return r;
}

/* ---- Replaying ---- */

struct replay_walk {
    const struct hf_replay *replay;
    struct hf_state *state;
    struct hf_state before;
    size_t boundary; /* next */
};

static void pass_boundaries(struct replay_walk *walk, uint64_t position)
{
    const struct hf_replay *replay = walk->replay;

    while (walk->boundary < replay->boundary_count &&
           replay->boundaries[walk->boundary].position < position) {
        const struct hf_boundary *b = &replay->boundaries[walk->boundary++];

        if (b->hole)
            hf_state_hole(walk->state);
        else
            hf_state_stream(walk->state, &b->stream);
    }
}

static int on_event(void *context, const struct hf_journal_event *event)
{
    struct replay_walk *walk = context;
    struct hf_state_event change = {
        .type = event->type,
        .position = event->position,
        .seq_end = event->seq,
        .body = event->body,
        .body_length = event->body_length,
    };

    pass_boundaries(walk, event->position);
    if (walk->replay->each != NULL)
        walk->before = *walk->state;
    if (hf_state_event(walk->state, &change) < 0)
        hf_state_hole(walk->state);
    if (walk->replay->each == NULL)
        return 0;
    return walk->replay->each(walk->replay->context, event, &walk->before, walk->state);
}

int hf_replay_run(const struct hf_replay *replay, struct hf_state *ret_state)
{
    struct replay_walk *walk = calloc(1, sizeof(*walk));
    int r;

    if (walk == NULL)
        return -ENOMEM;
    walk->replay = replay;
    walk->state = ret_state;
    *ret_state = replay->manifest->state;
    r = hf_journal_reader_events(replay->reader, replay->manifest->base_at, replay->position,
                                 on_event, walk);
    if (r == 0)
        pass_boundaries(walk, replay->position);
    free(walk);
    return r;
}

/* ---- Stretches ---- */

static bool openable(const struct hf_state *state)
{
    return state->consistent && hf_state_any_complete(state);
}

struct stretch_walk {
    struct hf_timeline *timeline;
    bool open;
    uint64_t begin;
    size_t boundary;
};

static int close_stretch(struct stretch_walk *walk, uint64_t end)
{
    struct hf_timeline *timeline = walk->timeline;
    int r;

    if (!walk->open)
        return 0;
    walk->open = false;
    if (end < walk->begin)
        return 0;
    r = grow((void **)&timeline->stretches, timeline->stretch_count, sizeof(*timeline->stretches));
    if (r < 0)
        return r;
    timeline->stretches[timeline->stretch_count++] = (struct hf_stretch){walk->begin, end};
    return 0;
}

/* A boundary ends the stretch it lies in: at its own position everything is still as before. */
static int close_at_boundary(struct stretch_walk *walk, uint64_t before)
{
    struct hf_timeline *timeline = walk->timeline;
    int r = 0;

    while (r == 0 && walk->boundary < timeline->boundary_count &&
           timeline->boundaries[walk->boundary].position < before)
        r = close_stretch(walk, timeline->boundaries[walk->boundary++].position);
    return r;
}

static int on_change(void *context, const struct hf_journal_event *event,
                     const struct hf_state *before, const struct hf_state *after)
{
    struct stretch_walk *walk = context;
    int r = close_at_boundary(walk, event->position);

    if (r < 0)
        return r;
    if (walk->open && !openable(after))
        return close_stretch(walk, event->position - 1);
    if (!walk->open && openable(after)) {
        walk->open = true;
        walk->begin = event->position;
    }
    return 0;
}

static int find_stretches(struct hf_journal_reader *reader, const struct hf_manifest *manifest,
                          uint64_t position_max, struct hf_timeline *timeline)
{
    struct stretch_walk walk = {
        .timeline = timeline,
        .open = openable(&manifest->state),
        .begin = manifest->base_at,
    };
    struct hf_replay replay = {
        .reader = reader,
        .manifest = manifest,
        .boundaries = timeline->boundaries,
        .boundary_count = timeline->boundary_count,
        .position = position_max,
        .each = on_change,
        .context = &walk,
    };
    int r = hf_replay_run(&replay, &timeline->state);

    if (r == 0)
        r = close_at_boundary(&walk, UINT64_MAX);
    return r < 0 ? r : close_stretch(&walk, timeline->newest);
}

int hf_timeline_build(struct hf_journal_reader *reader, const struct hf_manifest *manifest,
                      uint64_t position_max, struct hf_timeline *ret_timeline)
{
    struct hf_timeline *timeline = calloc(1, sizeof(*timeline));
    int r;

    if (timeline == NULL)
        return -ENOMEM;
    timeline->oldest = manifest->oldest_openable;
    r = find_boundaries(reader, manifest, position_max, timeline);
    if (r == 0)
        r = find_damage(reader, manifest, timeline);
    if (r == 0)
        r = find_stretches(reader, manifest, position_max, timeline);
    if (r == 0)
        *ret_timeline = *timeline;
    else
        hf_timeline_clear(timeline);
    free(timeline);
    return r;
}

void hf_timeline_clear(struct hf_timeline *timeline)
{
    if (timeline == NULL)
        return;
    free(timeline->boundaries);
    free(timeline->stretches);
    memset(timeline, 0, sizeof(*timeline));
}

bool hf_timeline_last_openable(const struct hf_timeline *timeline, uint64_t position,
                               uint64_t *ret_position)
{
    for (size_t i = timeline->stretch_count; i > 0; i--) {
        const struct hf_stretch *stretch = &timeline->stretches[i - 1];
        uint64_t last = HF_MIN(stretch->end, position);

        if (stretch->begin > position)
            continue;
        if (last < timeline->oldest)
            return false;
        *ret_position = last;
        return true;
    }
    return false;
}

bool hf_timeline_is_openable(const struct hf_timeline *timeline, uint64_t position)
{
    uint64_t last;

    return hf_timeline_last_openable(timeline, position, &last) && last == position;
}
