// SPDX-License-Identifier: Apache-2.0
/*
 * Judges a store by the record (P1, V1, invariant A3): opens views at marks and at arbitrary
 * positions and looks at every sector.
 *
 *     oracle-check RECORD STORE MARKS|- POSITIONS SEED
 *
 * MARKS has a line per mark: position-id, begin_ns, end_ns (CLOCK_BOOTTIME around the request). At
 * a mark, every call that ended before the request began must show, and none that began after the
 * answer. At an arbitrary position the cut has no known time, but it must be one: when any call
 * shows whose begin is T, every call that had ended before T must show, on every disk (one order
 * per machine).
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "oracle/record.h"
#include "store/view.h"

#define VIOLATIONS_SHOWN 10
#define DISKS_MAX 8
/* Positions inside a pass or behind a gap are no points: others are drawn, up to this many for one.
 */
#define DRAWS_MAX 3

/* The calls that touched one sector, in the order they were made (they never overlap in time). */
struct sector_history {
    uint32_t first; /* into `numbers` */
    uint32_t count;
};

struct judge {
    const struct oracle_record *record;
    uint64_t entry_count;
    uint64_t sectors;                 /* of one disk */
    struct sector_history *histories; /* disks * sectors */
    uint64_t *numbers;
    struct hf_io *io;
    struct hf_store *store;
    struct hf_machine_reader *reader;
    struct hf_id machine;
    uint64_t violations;
    uint64_t sectors_judged;
    uint8_t *image; /* one disk */
    uint64_t *seen; /* entry number each sector shows; 0: zeros */
};

/* What is known of a cut: everything that ended before `complete_before` shows, nothing that began
 * after `submit_after` does. */
struct cut {
    const char *what;
    uint64_t position;
    uint64_t complete_before_ns;
    uint64_t submit_after_ns;
};

static const struct oracle_entry *entry_of(const struct judge *judge, uint64_t number)
{
    return &judge->record->entries[number - 1];
}

static void violation(struct judge *judge, const struct cut *cut, unsigned disk, uint64_t sector,
                      const char *why, uint64_t shown, uint64_t other)
{
    if (judge->violations++ >= VIOLATIONS_SHOWN)
        return;
    fprintf(stderr,
            "oracle-check: %s at position %" PRIu64 ", disk %u sector %" PRIu64
            ": %s (shows call %" PRIu64 ", other %" PRIu64 ")\n",
            cut->what, cut->position, disk, sector, why, shown, other);
}

/* Counts first, then places: two walks over the record. */
static int histories_build(struct judge *judge)
{
    uint64_t total = 0;

    for (int walk = 0; walk < 2; walk++) {
        for (uint64_t n = 1; n <= judge->entry_count; n++) {
            const struct oracle_entry *entry = entry_of(judge, n);
            uint64_t first = entry->offset / ORACLE_SECTOR;

            for (uint64_t i = 0; entry->kind != 0 && i < entry->length / ORACLE_SECTOR; i++) {
                struct sector_history *history =
                    &judge->histories[entry->disk * judge->sectors + first + i];

                if (walk == 1)
                    judge->numbers[history->first + history->count] = n;
                history->count++;
            }
        }
        if (walk == 1)
            break;
        for (uint64_t i = 0; i < judge->record->disks * judge->sectors; i++) {
            judge->histories[i].first = (uint32_t)total;
            total += judge->histories[i].count;
            judge->histories[i].count = 0;
        }
        judge->numbers = calloc(total + 1, sizeof(*judge->numbers));
        if (judge->numbers == NULL)
            return -ENOMEM;
    }
    return 0;
}

static bool sector_is_zero(const uint8_t *data)
{
    static const uint8_t zeros[ORACLE_SECTOR];

    return memcmp(data, zeros, ORACLE_SECTOR) == 0;
}

/* Which call a sector shows: 0 for zeros; a mixture or a stranger is a violation by itself. */
static uint64_t sector_number(struct judge *judge, const struct cut *cut, unsigned disk,
                              uint64_t index, const uint8_t *data)
{
    const struct oracle_sector *sector = (const struct oracle_sector *)(const void *)data;
    struct oracle_sector expected;

    if (sector_is_zero(data))
        return 0;
    if (sector->magic != ORACLE_MAGIC || sector->number == 0 ||
        sector->number > judge->entry_count) {
        violation(judge, cut, disk, index, "holds bytes nobody wrote", 0, 0);
        return 0;
    }
    oracle_sector_make(&expected, sector->number, disk, index);
    if (memcmp(&expected, data, ORACLE_SECTOR) != 0)
        violation(judge, cut, disk, index, "is torn or misplaced", sector->number, 0);
    return sector->number;
}

/* -HF_ENOPOINT: the store claims no point there. */
static int read_view(struct judge *judge, const struct cut *cut)
{
    struct hf_view_options options = {.position = cut->position};
    struct hf_view *view;
    int error = hf_view_open(judge->store, &judge->machine, &options, &view);

    if (error == -HF_ENOPOINT)
        return error;

    for (unsigned disk = 0; error == 0 && disk < judge->record->disks; disk++) {
        error = hf_view_read(view, (uint16_t)disk, 0, judge->image, judge->sectors * ORACLE_SECTOR);
        for (uint64_t i = 0; error == 0 && i < judge->sectors; i++)
            judge->seen[disk * judge->sectors + i] =
                sector_number(judge, cut, disk, i, judge->image + i * ORACLE_SECTOR);
        if (error < 0)
            hf_view_close(view);
    }
    if (error < 0) {
        fprintf(stderr, "oracle-check: cannot open or read %s at %" PRIu64 ": %s\n", cut->what,
                cut->position, hf_strerror(error));
        judge->violations++;
        return error;
    }
    hf_view_close(view);
    return 0;
}

/* The latest begin of any call that shows: everything that had ended before it must show too. */
static uint64_t latest_shown_ns(const struct judge *judge)
{
    uint64_t latest = 0;

    for (uint64_t i = 0; i < judge->record->disks * judge->sectors; i++)
        if (judge->seen[i] != 0 && entry_of(judge, judge->seen[i])->submit_ns > latest)
            latest = entry_of(judge, judge->seen[i])->submit_ns;
    return latest;
}

/* Zeros: some zeroing call, or none at all, must be able to be the newest that shows. */
static bool zeros_are_possible(const struct judge *judge, const struct sector_history *history,
                               const struct cut *cut)
{
    for (uint32_t i = history->count; i > 0; i--) {
        const struct oracle_entry *entry = entry_of(judge, judge->numbers[history->first + i - 1]);

        if (entry->submit_ns > cut->submit_after_ns)
            continue;
        if (entry->kind != ORACLE_WRITE)
            return true;
        if (entry->complete_ns != 0 && entry->complete_ns < cut->complete_before_ns)
            return false;
    }
    return true;
}

static void judge_sector(struct judge *judge, const struct cut *cut, unsigned disk, uint64_t index)
{
    const struct sector_history *history = &judge->histories[disk * judge->sectors + index];
    uint64_t shown = judge->seen[disk * judge->sectors + index];

    judge->sectors_judged++;
    if (shown == 0) {
        if (!zeros_are_possible(judge, history, cut))
            violation(judge, cut, disk, index, "shows zeros where a finished write must show", 0,
                      0);
        return;
    }
    if (entry_of(judge, shown)->submit_ns > cut->submit_after_ns)
        violation(judge, cut, disk, index, "shows a call from after the mark", shown, 0);
    for (uint32_t i = history->count; i > 0; i--) {
        uint64_t number = judge->numbers[history->first + i - 1];
        const struct oracle_entry *entry = entry_of(judge, number);

        if (number == shown)
            return;
        if (entry->complete_ns != 0 && entry->complete_ns < cut->complete_before_ns) {
            violation(judge, cut, disk, index, "misses a call that had ended", shown, number);
            return;
        }
    }
    violation(judge, cut, disk, index, "shows a call that was not made here", shown, 0);
}

static bool judge_cut(struct judge *judge, struct cut *cut)
{
    uint64_t latest;
    int error = read_view(judge, cut);

    if (error < 0)
        return error != -HF_ENOPOINT;
    latest = latest_shown_ns(judge);
    if (latest > cut->complete_before_ns)
        cut->complete_before_ns = latest;
    for (unsigned disk = 0; disk < judge->record->disks; disk++)
        for (uint64_t i = 0; i < judge->sectors; i++)
            judge_sector(judge, cut, disk, i);
    return true;
}

/* ---- which cuts ---- */

struct mark_search {
    struct judge *judge;
    FILE *marks;
    uint64_t judged;
    uint64_t first_position;
    uint64_t last_position;
};

struct mark_line {
    uint64_t begin_ns;
    uint64_t end_ns;
};

static bool mark_find(FILE *marks, const char *id, struct mark_line *ret_line)
{
    char text[128];

    rewind(marks);
    while (fgets(text, sizeof(text), marks) != NULL) {
        char *end;

        if (strlen(text) < HF_ID_TEXT_SIZE || strncmp(text, id, HF_ID_TEXT_SIZE - 1) != 0)
            continue;
        ret_line->begin_ns = strtoull(text + HF_ID_TEXT_SIZE, &end, 10);
        ret_line->end_ns = strtoull(end, NULL, 10);
        return ret_line->end_ns >= ret_line->begin_ns && ret_line->begin_ns > 0;
    }
    return false;
}

static int each_mark(void *context, const struct hf_point *point)
{
    struct mark_search *search = context;
    char id[HF_ID_TEXT_SIZE];
    struct mark_line line;

    if (!point->openable)
        return 0;
    if (search->first_position == 0)
        search->first_position = point->position;
    search->last_position = point->position;
    hf_id_format(&point->id, id);
    if (search->marks != NULL && mark_find(search->marks, id, &line)) {
        struct cut cut = {"mark", point->position, line.begin_ns, line.end_ns};

        if (judge_cut(search->judge, &cut))
            search->judged++;
    }
    return 0;
}

static uint64_t judge_positions(struct judge *judge, const struct mark_search *range,
                                uint64_t wanted, uint64_t seed)
{
    uint64_t state = seed * 2 + 1;
    uint64_t judged = 0;
    uint64_t drawn = 0;

    while (judged < wanted && drawn++ < wanted * DRAWS_MAX &&
           range->last_position > range->first_position) {
        struct cut cut = {"position", 0, 0, UINT64_MAX};

        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        cut.position =
            range->first_position + state % (range->last_position - range->first_position);
        judged += judge_cut(judge, &cut);
    }
    return judged;
}

static int find_machine(void *context, const struct hf_machine_summary *summary)
{
    struct judge *judge = context;

    judge->machine = summary->machine;
    return 0;
}

static int judge_open(struct judge *judge, const char *record_path)
{
    int fd = open(record_path, O_RDONLY);
    void *memory =
        fd < 0 ? MAP_FAILED : mmap(NULL, ORACLE_RECORD_BYTES, PROT_READ, MAP_SHARED, fd, 0);

    if (fd >= 0)
        close(fd);
    if (memory == MAP_FAILED)
        return -ENOENT;
    judge->record = memory;
    if (judge->record->magic != ORACLE_MAGIC || judge->record->disks > DISKS_MAX)
        return -EINVAL;
    judge->entry_count = judge->record->count;
    judge->sectors = judge->record->disk_bytes / ORACLE_SECTOR;
    judge->histories = calloc(judge->record->disks * judge->sectors, sizeof(*judge->histories));
    judge->seen = calloc(judge->record->disks * judge->sectors, sizeof(*judge->seen));
    judge->image = malloc(judge->sectors * ORACLE_SECTOR);
    if (judge->histories == NULL || judge->seen == NULL || judge->image == NULL)
        return -ENOMEM;
    return histories_build(judge);
}

static void judge_free(struct judge *judge)
{
    hf_machine_reader_close(judge->reader);
    hf_store_close(judge->store);
    hf_io_free(judge->io);
    free(judge->histories);
    free(judge->numbers);
    free(judge->seen);
    free(judge->image);
}

static int store_open(struct judge *judge, const char *path)
{
    int error = hf_io_file_new(path, &judge->io);

    if (error == 0)
        error = hf_store_open(judge->io, hf_clock_system(), hf_random_system(), &judge->store);
    if (error == 0)
        error = hf_store_machines(judge->store, find_machine, judge);
    if (error == 0)
        error = hf_machine_reader_open(judge->store, &judge->machine, &judge->reader);
    return error;
}

int main(int argc, char **argv)
{
    struct judge judge = {0};
    struct mark_search search = {.judge = &judge};
    uint64_t positions;
    int code = 1;
    int error;

    if (argc != 6) {
        fprintf(stderr, "usage: oracle-check RECORD STORE MARKS|- POSITIONS SEED\n");
        return 2;
    }
    error = judge_open(&judge, argv[1]);
    if (error == 0)
        error = store_open(&judge, argv[2]);
    if (error < 0) {
        fprintf(stderr, "oracle-check: cannot open record or store: %s\n", hf_strerror(error));
        goto out;
    }
    search.marks = strcmp(argv[3], "-") == 0 ? NULL : fopen(argv[3], "r");
    hf_points_each(judge.reader, each_mark, &search);
    if (search.marks != NULL)
        fclose(search.marks);
    positions =
        judge_positions(&judge, &search, strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10));
    printf("oracle-check: %" PRIu64 " marks and %" PRIu64 " positions judged, %" PRIu64
           " sectors, %" PRIu64 " calls recorded, %" PRIu64 " violations\n",
           search.judged, positions, judge.sectors_judged, judge.entry_count, judge.violations);
    code = judge.violations != 0 || search.judged + positions == 0;
out:
    judge_free(&judge);
    return code;
}
