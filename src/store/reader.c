// SPDX-License-Identifier: Apache-2.0
/*
 * Opening a machine for reading. The manifest is read, then the journal, then the manifest again:
 * only when base_at is the same do the two belong together (a merge that finished in between has
 * dropped segments that the first manifest still needs).
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/reader-internal.h"

static void drop_content(struct hf_machine_reader *reader)
{
    hf_timeline_clear(&reader->timeline);
    hf_journal_reader_close(reader->journal);
    reader->journal = NULL;
    hf_manifest_clear(&reader->manifest);
    memset(&reader->manifest, 0, sizeof(reader->manifest));
}

static int open_journal(struct hf_machine_reader *reader)
{
    char path[HF_IO_PATH_MAX];

    hf_machine_path(&reader->machine, "journal", path);
    return hf_journal_reader_open(reader->store->io, path, &reader->journal);
}

/* 1: manifest and journal fit each other. */
static int load_once(struct hf_machine_reader *reader)
{
    struct hf_manifest *again;
    int r = hf_manifest_read(reader->store->io, &reader->machine, &reader->manifest);

    if (r < 0)
        return r;
    r = open_journal(reader);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    again = calloc(1, sizeof(*again));
    if (again == NULL)
        return -ENOMEM;
    r = hf_manifest_read(reader->store->io, &reader->machine, again);
    if (r == 0) {
        r = again->base_at == reader->manifest.base_at;
        hf_manifest_clear(&reader->manifest);
        reader->manifest = *again;
    }
    free(again);
    return r;
}

static int load(struct hf_machine_reader *reader)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < HF_READER_OPEN_ATTEMPTS; i++) {
        drop_content(reader);
        r = load_once(reader);
    }
    if (r == 0)
        r = -EAGAIN;
    if (r > 0)
        r = hf_timeline_build(reader->journal, &reader->manifest, UINT64_MAX, &reader->timeline);
    if (r < 0)
        drop_content(reader);
    return r;
}

int hf_machine_reader_open(struct hf_store *store, const struct hf_id *machine,
                           struct hf_machine_reader **ret_reader)
{
    struct hf_machine_reader *reader = calloc(1, sizeof(*reader));
    int r;

    if (reader == NULL)
        return -ENOMEM;
    reader->store = store;
    reader->machine = *machine;
    r = load(reader);
    if (r < 0) {
        free(reader);
        return r;
    }
    *ret_reader = reader;
    return 0;
}

int hf_machine_reader_refresh(struct hf_machine_reader *reader)
{
    struct hf_machine_reader fresh = {.store = reader->store, .machine = reader->machine};
    int r = load(&fresh);

    if (r < 0)
        return r;
    drop_content(reader);
    *reader = fresh;
    return 0;
}

void hf_machine_reader_close(struct hf_machine_reader *reader)
{
    if (reader == NULL)
        return;
    drop_content(reader);
    free(reader);
}

int hf_machine_reader_state(struct hf_machine_reader *reader, uint64_t position,
                            struct hf_state *ret_state)
{
    struct hf_replay replay = {
        .reader = reader->journal,
        .manifest = &reader->manifest,
        .boundaries = reader->timeline.boundaries,
        .boundary_count = reader->timeline.boundary_count,
        .position = position,
    };

    return hf_replay_run(&replay, ret_state);
}

static int why_not(struct hf_machine_reader *reader, uint64_t position, const char **ret_reason)
{
    struct hf_state *state = calloc(1, sizeof(*state));
    int r;

    if (state == NULL)
        return -ENOMEM;
    r = hf_machine_reader_state(reader, position, state);
    if (r == 0 && !hf_state_any_complete(state)) {
        *ret_reason = "no complete base image";
        r = -HF_EPARTIAL;
    } else if (r == 0) {
        *ret_reason =
            state->pass.open ? "inside a pass" : "changes were lost and not yet made good";
        r = -HF_ENOPOINT;
    }
    free(state);
    return r;
}

int hf_machine_reader_openable(struct hf_machine_reader *reader, uint64_t position,
                               const char **ret_reason)
{
    *ret_reason = "";
    if (position > reader->timeline.newest) {
        *ret_reason = "beyond the newest position";
        return -HF_ENOPOINT;
    }
    if (hf_timeline_is_openable(&reader->timeline, position))
        return 0;
    if (position < reader->timeline.oldest) {
        *ret_reason = "below the retention window";
        return -HF_EPRUNED;
    }
    return why_not(reader, position, ret_reason);
}
