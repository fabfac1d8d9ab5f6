// SPDX-License-Identifier: Apache-2.0
/*
 * The base images are read through a resolver at oldest_openable, under a lease there: a block that
 * a merge is changing is settled as for any reader, so a check may run beside the writer.
 */
#include "store/check.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/lease.h"
#include "store/reader-internal.h"
#include "store/resolve.h"

#define RANGES_MAX                                                                                 \
    1024u /* damaged ranges remembered for counting points; more count as everything */

struct check {
    struct hf_store *store;
    struct hf_id machine;
    const struct hf_check_options *options;
    struct hf_check_result *result;
    struct hf_machine_reader *reader;
    uint64_t base_at;
    struct hf_resolver *resolver;
    uint64_t done_bytes; /* of the journal */
    uint64_t total_bytes;
    uint64_t base_total; /* space that the images take */
    uint64_t ranges[RANGES_MAX][2];
    size_t range_count;
};

static int report(struct check *check, struct hf_check_damage *damage)
{
    check->result->damages++;
    if (check->range_count < RANGES_MAX) {
        check->ranges[check->range_count][0] = damage->position_begin;
        check->ranges[check->range_count][1] = damage->position_end;
        check->range_count++;
    } else {
        check->ranges[0][0] = 0;
        check->ranges[0][1] = UINT64_MAX;
    }
    return check->options->damage == NULL ? 0
                                          : check->options->damage(check->options->context, damage);
}

static void tell_progress(struct check *check, uint64_t done_bytes)
{
    if (check->options->progress != NULL)
        check->options->progress(check->options->context, done_bytes, check->total_bytes);
}

/* ---- Manifest ---- */

static int manifest_damage(struct check *check, int error)
{
    struct hf_check_damage damage = {
        .part = HF_CHECK_MANIFEST,
        .error = error,
        .text = "the manifest cannot be read",
        .position_end = UINT64_MAX,
    };

    return report(check, &damage);
}

/* ---- Journal ---- */

static int on_journal_damage(void *context, const struct hf_journal_damage *found)
{
    struct check *check = context;
    struct hf_check_damage damage = {
        .part = HF_CHECK_JOURNAL,
        .error = found->error,
        .text = "a journal segment is damaged",
        .segment = found->segment,
        .file_offset = found->file_offset,
        .position_begin = found->position_begin,
        .position_end = UINT64_MAX, /* everything later is built upon it */
    };

    return report(check, &damage);
}

static void on_journal_progress(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
    struct check *check = context;

    check->result->journal_bytes = done_bytes;
    check->total_bytes = total_bytes + check->base_total;
    check->done_bytes = done_bytes;
    tell_progress(check, done_bytes);
}

static int check_journal(struct check *check)
{
    int r = hf_journal_reader_check(check->reader->journal, on_journal_damage, on_journal_progress,
                                    check);

    return r == -HF_EDAMAGED ? 0 : r;
}

/* ---- Base images ---- */

static int report_blocks(struct check *check, uint16_t disk, uint64_t first, const int *errors,
                         uint32_t count)
{
    int r = 0;

    for (uint32_t i = 0, n; r == 0 && i < count; i += n) {
        for (n = 1; i + n < count && errors[i + n] == errors[i];)
            n++;
        if (errors[i] < 0) {
            struct hf_check_damage damage = {
                .part = HF_CHECK_BASE,
                .error = errors[i],
                .text = "a base image does not fit its sums",
                .disk = disk,
                .offset = (first + i) * HF_STORE_BLOCK,
                .length = (uint64_t)n * HF_STORE_BLOCK,
                .position_end = UINT64_MAX,
            };

            r = report(check, &damage);
        }
    }
    return r;
}

static int check_blocks(struct check *check, uint16_t disk, uint64_t first, uint8_t *content)
{
    int errors[HF_RESOLVE_BLOCKS_MAX];
    struct hf_resolve what = {
        .disk = disk,
        .first = first,
        .count = HF_RESOLVE_BLOCKS_MAX,
        .position = check->base_at,
        .errors = errors,
        .content = content,
    };
    int r = hf_resolve_blocks(check->resolver, &what);

    if (r < 0)
        return r;
    check->result->base_bytes += HF_RESOLVE_BLOCKS_MAX * (uint64_t)HF_STORE_BLOCK;
    tell_progress(check, HF_MIN(check->done_bytes + check->result->base_bytes, check->total_bytes));
    return report_blocks(check, disk, first, errors, HF_RESOLVE_BLOCKS_MAX);
}

static int check_disk(struct check *check, uint16_t disk)
{
    struct hf_base_image base;
    uint8_t *content = malloc((size_t)HF_RESOLVE_BLOCKS_MAX * HF_STORE_BLOCK);
    uint64_t first = 0;
    int r;

    if (content == NULL)
        return -ENOMEM;
    r = hf_base_open(check->store->io, &check->machine, disk, false, &base);
    if (r == 0) {
        check->resolver->bases[disk] = &base;
        check->resolver->from[disk] = hf_manifest_disk_from(&check->reader->manifest, disk);
        while (r == 0 && (first = hf_base_next_data(&base, first)) != UINT64_MAX) {
            r = check_blocks(check, disk, first, content);
            first += HF_RESOLVE_BLOCKS_MAX;
        }
        check->resolver->bases[disk] = NULL;
        hf_base_close(&base);
    }
    free(content);
    return r;
}

static uint64_t no_floor(void *context)
{
    const struct check *check = context;

    return check->base_at;
}

/* Only images that some point rests on: one that a first pass is filling has blocks under way. */
static int check_bases(struct check *check)
{
    struct hf_journal_reader *journal;
    char path[HF_IO_PATH_MAX];
    int r;

    hf_machine_path(&check->machine, "journal", path);
    r = hf_journal_reader_open(check->store->io, path, &journal);
    if (r < 0)
        return r;
    check->resolver = calloc(1, sizeof(*check->resolver));
    if (check->resolver == NULL) {
        hf_journal_reader_close(journal);
        return -ENOMEM;
    }
    r = hf_resolver_init(check->resolver, check->store, journal);
    check->resolver->merge_floor = no_floor;
    check->resolver->context = check;
    for (uint16_t i = 0; r == 0 && i < HF_DISKS_MAX; i++) {
        if (check->reader->timeline.state.disks[i].ever_complete)
            r = check_disk(check, i);
    }
    hf_resolver_done(check->resolver);
    free(check->resolver);
    return r;
}

/* ---- Points ---- */

static int on_point(void *context, const struct hf_point *point)
{
    struct check *check = context;
    bool affected = false;

    if (!point->openable)
        return 0;
    for (size_t i = 0; i < check->range_count; i++)
        affected |=
            point->position >= check->ranges[i][0] && point->position <= check->ranges[i][1];
    check->result->points++;
    check->result->points_affected += affected;
    return 0;
}

static int measure_bases(struct check *check)
{
    int r = 0;

    for (uint16_t i = 0; r == 0 && i < HF_DISKS_MAX; i++) {
        struct hf_base_image base;

        if (!check->reader->timeline.state.disks[i].ever_complete)
            continue;
        r = hf_base_open(check->store->io, &check->machine, i, false, &base);
        if (r == 0) {
            check->base_total += hf_base_bytes(&base);
            hf_base_close(&base);
        }
    }
    return r;
}

static int check_content(struct check *check)
{
    int r = measure_bases(check);

    if (r == 0)
        r = check_journal(check);
    if (r == 0)
        r = check_bases(check);
    if (r == 0)
        r = hf_points_each(check->reader, on_point, check);
    return r;
}

/* A lease at oldest_openable: from here on a merge waits. */
static int take_lease(struct check *check, struct hf_lease *ret_lease)
{
    struct hf_manifest *manifest = calloc(1, sizeof(*manifest));
    struct hf_file *gate = NULL;
    int r = manifest == NULL ? -ENOMEM : 0;

    if (r == 0)
        r = hf_gate_enter(check->store, &check->machine, HF_LOCK_SHARED, &gate);
    if (r == -EROFS || r == -EACCES || r == -EPERM)
        r = hf_lease_take_readonly(check->store, &check->machine, ret_lease);
    else if (r == 0) {
        r = hf_manifest_read(check->store->io, &check->machine, manifest);
        if (r == 0)
            r = hf_lease_take(check->store, &check->machine, manifest->oldest_openable, ret_lease);
        hf_manifest_clear(manifest);
    }
    hf_gate_leave(gate);
    free(manifest);
    return r;
}

static bool is_damage(int error)
{
    return error == -HF_ECORRUPT || error == -HF_EVERSION || error == -HF_ETOOBIG ||
           error == -HF_EIDENTITY;
}

static int check_machine(struct check *check)
{
    struct hf_lease lease = {0};
    int r = take_lease(check, &lease);

    if (r == 0)
        r = hf_machine_reader_open(check->store, &check->machine, &check->reader);
    if (is_damage(r)) {
        r = manifest_damage(check, r);
    } else if (r == 0 && check->reader != NULL) {
        check->base_at = check->reader->manifest.oldest_openable;
        r = check_content(check);
    }
    hf_machine_reader_close(check->reader);
    hf_lease_give_back(&lease);
    return r;
}

int hf_store_check(struct hf_store *store, const struct hf_id *machine,
                   const struct hf_check_options *options, struct hf_check_result *ret_result)
{
    struct check *check = calloc(1, sizeof(*check));
    int r;

    if (check == NULL)
        return -ENOMEM;
    memset(ret_result, 0, sizeof(*ret_result));
    check->store = store;
    check->machine = *machine;
    check->options = options;
    check->result = ret_result;
    r = check_machine(check);
    free(check);
    if (r == 0 && ret_result->damages > 0)
        r = -HF_EDAMAGED;
    return r;
}
