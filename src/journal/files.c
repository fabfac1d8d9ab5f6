// SPDX-License-Identifier: Apache-2.0
#include "journal/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "journal/format.h"

#define WATERMARK_READS 8

/* ---- Names ---- */

int hf_journal_path(const char *directory, const char *file, char *name)
{
    int length = snprintf(name, HF_IO_PATH_MAX, "%s%s%s", directory, *directory ? "/" : "", file);

    return length < HF_IO_PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int numbered_path(const char *directory, const char *prefix, uint64_t number, char *name)
{
    char file[32];

    snprintf(file, sizeof(file), "%s%016" PRIx64, prefix, number);
    return hf_journal_path(directory, file, name);
}

int hf_segment_path(const char *directory, uint64_t number, char *name)
{
    return numbered_path(directory, "seg-", number, name);
}

int hf_index_path(const char *directory, uint64_t number, char *name)
{
    return numbered_path(directory, "idx-", number, name);
}

bool hf_segment_name_parse(const char *name, const char *prefix, uint64_t *ret_number)
{
    size_t skip = strlen(prefix);
    uint64_t number = 0;

    if (strncmp(name, prefix, skip) != 0 || strlen(name) != skip + 16)
        return false;
    for (const char *p = name + skip; *p; p++) {
        if (*p >= '0' && *p <= '9')
            number = number << 4 | (uint64_t)(*p - '0');
        else if (*p >= 'a' && *p <= 'f')
            number = number << 4 | (uint64_t)(*p - 'a' + 10);
        else
            return false;
    }
    *ret_number = number;
    return true;
}

/* ---- Whole files ---- */

static int file_write_new(struct hf_io *io, const char *path, const void *data, size_t size)
{
    struct hf_file *file = NULL;
    int r = hf_io_unlink(io, path);

    if (r < 0 && r != -ENOENT)
        return r;
    r = hf_io_open(io, path, HF_OPEN_WRITE | HF_OPEN_CREATE | HF_OPEN_EXCLUSIVE, &file);
    if (r < 0)
        return r;
    r = hf_io_write(file, data, size, 0);
    if (r == 0)
        r = hf_io_sync(file);
    hf_io_close(file);
    return r;
}

int hf_file_replace(struct hf_io *io, const char *directory, const char *tmp_name, const char *name,
                    const void *data, size_t size)
{
    char tmp_path[HF_IO_PATH_MAX];
    char path[HF_IO_PATH_MAX];
    int r = hf_journal_path(directory, tmp_name, tmp_path);

    if (r == 0)
        r = hf_journal_path(directory, name, path);
    if (r == 0)
        r = file_write_new(io, tmp_path, data, size);
    if (r == 0)
        r = hf_io_rename(io, tmp_path, path);
    if (r == 0)
        r = hf_io_sync_dir(io, directory);
    return r;
}

/* ---- State ---- */

static void state_encode(const struct hf_journal_state *state, struct hf_state_file *file)
{
    const struct hf_journal_progress *progress = &state->progress;

    *file = (struct hf_state_file){
        .magic = hf_le64_of(HF_STATE_MAGIC),
        .version = hf_le32_of(HF_STATE_VERSION),
        .size = hf_le32_of(sizeof(*file)),
        .generation = hf_le64_of(state->generation),
        .number_next = hf_le64_of(state->number_next),
        .floor = hf_le64_of(state->floor),
        .position_max = hf_le64_of(state->position_max),
        .epoch_max = hf_le64_of(state->epoch_max),
        .epoch = hf_le64_of(progress->stream.epoch),
        .capture = progress->stream.capture,
        .base = hf_le64_of(state->base),
        .seq = hf_le64_of(progress->seq),
        .digest = progress->digest.value,
        .pass = hf_le64_of(progress->pass),
        .pass_seq = hf_le64_of(progress->pass_seq),
        .pass_batch = hf_le64_of(progress->pass_batch),
        .pass_digest = progress->pass_digest.value,
        .has_stream = state->has_stream,
    };
    file->hash = hf_le64_of(hf_hash64(file, offsetof(struct hf_state_file, hash)));
}

static int state_decode(const struct hf_state_file *file, struct hf_journal_state *ret_state)
{
    if (hf_le64_get(file->magic) != HF_STATE_MAGIC)
        return -HF_ECORRUPT;
    if (hf_le32_get(file->version) != HF_STATE_VERSION || hf_le32_get(file->incompatible) != 0)
        return -HF_EVERSION;
    if (hf_le64_get(file->hash) != hf_hash64(file, offsetof(struct hf_state_file, hash)))
        return -HF_ECORRUPT;
    *ret_state = (struct hf_journal_state){
        .generation = hf_le64_get(file->generation),
        .number_next = hf_le64_get(file->number_next),
        .floor = hf_le64_get(file->floor),
        .position_max = hf_le64_get(file->position_max),
        .epoch_max = hf_le64_get(file->epoch_max),
        .base = hf_le64_get(file->base),
        .has_stream = file->has_stream != 0,
        .progress = {.stream = {.epoch = hf_le64_get(file->epoch), .capture = file->capture},
                     .seq = hf_le64_get(file->seq),
                     .digest = {.value = file->digest},
                     .pass = hf_le64_get(file->pass),
                     .pass_seq = hf_le64_get(file->pass_seq),
                     .pass_batch = hf_le64_get(file->pass_batch),
                     .pass_digest = {.value = file->pass_digest},
                     .position = hf_le64_get(file->base) + hf_le64_get(file->seq)},
    };
    return 0;
}

static const char *const state_names[2] = {"state.0", "state.1"};

static int state_read_one(struct hf_io *io, const char *directory, const char *name,
                          struct hf_journal_state *ret_state)
{
    char path[HF_IO_PATH_MAX];
    struct hf_state_file content;
    struct hf_file *file = NULL;
    size_t got = 0;
    int r = hf_journal_path(directory, name, path);

    if (r == 0)
        r = hf_io_open(io, path, HF_OPEN_READ, &file);
    if (r < 0)
        return r;
    r = hf_io_read(file, &content, sizeof(content), 0, &got);
    hf_io_close(file);
    if (r < 0)
        return r;
    return got == sizeof(content) ? state_decode(&content, ret_state) : -HF_ECORRUPT;
}

int hf_state_read(struct hf_io *io, const char *directory, struct hf_journal_state *ret_state)
{
    bool found = false;
    bool corrupt = false;

    for (int i = 0; i < 2; i++) {
        struct hf_journal_state state;
        int r = state_read_one(io, directory, state_names[i], &state);

        if (r == -HF_ECORRUPT)
            corrupt = true;
        else if (r < 0 && r != -ENOENT)
            return r;
        if (r == 0 && (!found || state.generation > ret_state->generation)) {
            *ret_state = state;
            found = true;
        }
    }
    return found ? 0 : corrupt ? -HF_ECORRUPT : -ENOENT;
}

int hf_state_write(struct hf_io *io, const char *directory, struct hf_journal_state *state)
{
    struct hf_state_file file;

    state->generation++;
    state_encode(state, &file);
    return hf_file_replace(io, directory, HF_STATE_TMP_NAME, state_names[state->generation & 1],
                           &file, sizeof(file));
}

/* ---- Watermark ---- */

static uint64_t watermark_offset(uint8_t lane)
{
    HF_ASSERT(lane == HF_LANE_CAPTURED || lane == HF_LANE_PASS);
    return (uint64_t)(lane - 1) * HF_WATERMARK_SLOT_BYTES;
}

static bool slot_whole(const struct hf_watermark_slot *slot)
{
    return hf_le64_get(slot->magic) == HF_WATERMARK_MAGIC &&
           hf_le64_get(slot->hash) == hf_hash64(slot, offsetof(struct hf_watermark_slot, hash));
}

/* A slot that is torn or was never written says nothing; that is no error: claims of entries and
 * indexes remain. It may only have been read while it was written, so it is read some times. */
int hf_watermark_read(struct hf_file *file, uint8_t lane, struct hf_watermark *ret_watermark)
{
    struct hf_watermark_slot slot;
    size_t got = sizeof(slot);
    bool whole = false;

    *ret_watermark = (struct hf_watermark){0};
    for (int i = 0; i < WATERMARK_READS && !whole && got == sizeof(slot); i++) {
        int r = hf_io_read(file, &slot, sizeof(slot), watermark_offset(lane), &got);

        if (r < 0)
            return r;
        whole = got == sizeof(slot) && slot_whole(&slot);
    }
    if (!whole)
        return 0;
    *ret_watermark = (struct hf_watermark){
        .segment = slot.segment,
        .number = hf_le64_get(slot.number),
        .durable = hf_le64_get(slot.durable),
        .position = hf_le64_get(slot.position),
    };
    return 0;
}

int hf_watermark_write(struct hf_file *file, uint8_t lane, const struct hf_watermark *watermark)
{
    struct hf_watermark_slot slot = {
        .magic = hf_le64_of(HF_WATERMARK_MAGIC),
        .segment = watermark->segment,
        .number = hf_le64_of(watermark->number),
        .durable = hf_le64_of(watermark->durable),
        .position = hf_le64_of(watermark->position),
    };

    slot.hash = hf_le64_of(hf_hash64(&slot, offsetof(struct hf_watermark_slot, hash)));
    return hf_io_write(file, &slot, sizeof(slot), watermark_offset(lane));
}
