// SPDX-License-Identifier: Apache-2.0
/*
 * From a text to a point. A time is looked up along the order of positions, which is the only order
 * there is: wherever the machine's clock passes that time on its way forward, the last position
 * before is a candidate. A clock that was set back passes it more than once: then there are
 * several, and the caller has to say which (fault 39).
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/point-internal.h"
#include "store/time-text.h"

/* What a search gathers. */
struct candidates {
    struct hf_machine_reader *reader;
    struct hf_point *points;
    size_t count_max;
    size_t count; /* all that were found, kept or not */
};

static void keep(struct candidates *found, const struct hf_point *point)
{
    if (found->count < found->count_max)
        found->points[found->count] = *point;
    found->count++;
}

static int verdict(const struct candidates *found, size_t *ret_count)
{
    if (found->count == 0)
        return -HF_ENOPOINT;
    *ret_count = HF_MIN(found->count, found->count_max);
    return found->count == 1 ? 0 : -HF_EAMBIGUOUS;
}

static int find_position(struct candidates *found, uint64_t position)
{
    struct hf_point point;
    int r = hf_point_at(found->reader, position, &point);

    if (r == 0)
        keep(found, &point);
    return r;
}

static int find_latest(struct candidates *found)
{
    struct hf_machine_reader *reader = found->reader;
    const char *reason;
    uint64_t position;
    int r;

    if (hf_timeline_last_openable(&reader->timeline, UINT64_MAX, &position))
        return find_position(found, position);
    r = hf_machine_reader_openable(reader, reader->timeline.newest, &reason);
    return r < 0 ? r : -HF_ENOPOINT;
}

/* ---- Marks ---- */

struct mark_search {
    struct candidates *found;
    uint8_t kind; /* 0: any */
    bool latest;
    char prefix[HF_ID_TEXT_SIZE];
    bool unopenable;
    struct hf_point newest;
};

static int on_mark(void *context, const struct hf_point *point)
{
    struct mark_search *search = context;
    char text[HF_ID_TEXT_SIZE];

    hf_id_format(&point->id, text);
    if (strncmp(text, search->prefix, strlen(search->prefix)) != 0)
        return 0;
    if (search->kind != 0 && point->kind != search->kind)
        return 0;
    if (!point->openable) {
        search->unopenable = true;
        search->newest = search->latest ? search->newest : *point;
        return 0;
    }
    if (search->latest)
        search->newest = *point;
    else
        keep(search->found, point);
    return 0;
}

static int find_latest_mark(struct candidates *found, uint8_t kind)
{
    struct mark_search search = {.found = found, .kind = kind, .latest = true};
    int r = hf_points_each(found->reader, on_mark, &search);

    if (r == 0 && search.newest.openable)
        keep(found, &search.newest);
    return r;
}

static int find_id(struct candidates *found, const char *text)
{
    struct mark_search search = {.found = found};
    const char *reason;
    int r;

    for (size_t i = 0; text[i] != '\0'; i++)
        search.prefix[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] - 'A' + 'a' : text[i]);
    r = hf_points_each(found->reader, on_mark, &search);
    if (r == 0 && found->count == 0 && search.unopenable)
        r = hf_machine_reader_openable(found->reader, search.newest.position, &reason);
    return r;
}

static bool is_id_text(const char *text)
{
    size_t length = strspn(text, "0123456789abcdefABCDEF");

    return text[length] == '\0' && length >= 8 && length < HF_ID_TEXT_SIZE;
}

/* ---- Numbers ---- */

static int parse_number(const char *text, uint64_t *ret_value)
{
    char *end;

    if (*text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    *ret_value = strtoull(text, &end, 10);
    return errno != 0 || *end != '\0' ? -EINVAL : 0;
}

struct base_search {
    uint64_t base;
    bool any;
};

static int on_event(void *context, const struct hf_journal_event *event)
{
    struct base_search *search = context;

    search->base = event->position - event->seq;
    search->any = true;
    return 0;
}

static int find_seq(struct candidates *found, uint64_t seq)
{
    struct hf_machine_reader *reader = found->reader;
    struct base_search search = {0};
    uint64_t position;
    int r = hf_journal_reader_events(reader->journal, 0, UINT64_MAX, on_event, &search);

    if (r < 0)
        return r;
    if (!search.any || !hf_add_u64(search.base, seq, &position))
        return -HF_ENOPOINT;
    return find_position(found, position);
}

/* ---- Times ---- */

struct time_search {
    struct candidates *found;
    int64_t instant;
    bool before; /* the moment walked last ends at or before the instant */
    bool any;
    uint64_t position; /* its end */
    uint64_t last_found;
};

static int candidate(struct time_search *search)
{
    struct hf_machine_reader *reader = search->found->reader;
    uint64_t position;

    if (!hf_timeline_last_openable(&reader->timeline, search->position, &position) ||
        (search->found->count > 0 && position == search->last_found))
        return 0;
    search->last_found = position;
    return find_position(search->found, position);
}

static int on_moment(void *context, const struct hf_journal_moment *moment)
{
    struct time_search *search = context;
    bool before = moment->wall_last_ns <= search->instant;
    int r = 0;

    search->any |= moment->wall_first_ns <= search->instant;
    if (search->before && !before)
        r = candidate(search);
    else if (!search->before && !before && moment->wall_first_ns <= search->instant) {
        search->position = moment->position_begin; /* the instant lies inside a batch */
        r = candidate(search);
    }
    search->before = before;
    search->position = moment->position_end;
    return r;
}

static int find_instant(struct candidates *found, int64_t instant)
{
    struct hf_machine_reader *reader = found->reader;
    struct time_search search = {.found = found, .instant = instant};
    uint64_t position;
    int r = hf_journal_reader_moments(reader->journal, reader->manifest.base_at, UINT64_MAX,
                                      on_moment, &search);

    if (r == 0 && search.before)
        r = candidate(&search);
    if (r < 0 || found->count > 0)
        return r;
    if (!hf_timeline_last_openable(&reader->timeline, UINT64_MAX, &position))
        return find_latest(found);
    return search.any ? -HF_ENOPOINT : -HF_EPRUNED;
}

static int find_time(struct candidates *found, const char *text)
{
    int64_t instants[HF_TIME_INSTANTS_MAX];
    size_t count;
    int r = hf_time_parse(text, found->reader->timeline.newest_wall_ns, instants, &count);
    int first = 0;

    for (size_t i = 0; r == 0 && i < count; i++) {
        r = find_instant(found, instants[i]);
        if (r == -HF_EPRUNED || r == -HF_ENOPOINT) {
            first = r;
            r = 0;
        }
    }
    return r == 0 && found->count == 0 ? first : r;
}

/* Two local times may name the same position. */
static void drop_repeats(struct candidates *found)
{
    if (found->count == 2 && found->count_max >= 2 &&
        found->points[0].position == found->points[1].position)
        found->count = 1;
}

static int find(struct candidates *found, const char *text)
{
    uint64_t number;
    int r;

    if (strcmp(text, "latest") == 0)
        return find_latest(found);
    if (strcmp(text, "latest-mark") == 0)
        return find_latest_mark(found, 0);
    if (strcmp(text, "latest-app") == 0)
        return find_latest_mark(found, HF_MARK_APP);
    if (strncmp(text, "pos:", 4) == 0) {
        r = parse_number(text + 4, &number);
        return r < 0 ? r : find_position(found, number);
    }
    if (strncmp(text, "seq:", 4) == 0) {
        r = parse_number(text + 4, &number);
        return r < 0 ? r : find_seq(found, number);
    }
    return is_id_text(text) ? find_id(found, text) : find_time(found, text);
}

int hf_point_find(struct hf_machine_reader *reader, const char *text, struct hf_point *ret_points,
                  size_t count_max, size_t *ret_count)
{
    struct candidates found = {.reader = reader, .points = ret_points, .count_max = count_max};
    int r;

    HF_ASSERT(count_max > 0);
    r = find(&found, text);
    if (r < 0)
        return r;
    drop_repeats(&found);
    return verdict(&found, ret_count);
}
