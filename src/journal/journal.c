// SPDX-License-Identifier: Apache-2.0
/* Opening, closing and asking; the work is in append.c, sync.c, seal.c, recover.c and drop.c. */
#include "journal/journal-internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

/* ---- Opening ---- */

static int journal_new(const struct hf_journal_options *options, struct hf_journal **ret_journal)
{
    struct hf_journal *journal = calloc(1, sizeof(*journal));

    if (!journal)
        return -ENOMEM;
    journal->path = strdup(options->path);
    if (!journal->path) {
        free(journal);
        return -ENOMEM;
    }
    journal->io = options->io;
    journal->random = options->random;
    journal->clock = options->clock;
    journal->segment_bytes =
        options->segment_bytes ? options->segment_bytes : HF_SEGMENT_BYTES_DEFAULT;
    journal->reserve_bytes =
        options->reserve_bytes ? options->reserve_bytes : HF_RESERVE_BYTES_DEFAULT;
    journal->position_min = options->position_min;
    pthread_mutex_init(&journal->append_lock, NULL);
    pthread_mutex_init(&journal->sync_lock, NULL);
    pthread_mutex_init(&journal->lock, NULL);
    *ret_journal = journal;
    return 0;
}

/* The directory, and its name in the one above, durable. */
static int directory_make(struct hf_io *io, const char *path)
{
    char parent[HF_IO_PATH_MAX] = "";
    const char *slash = strrchr(path, '/');
    int r;

    if (slash && (size_t)(slash - path) < sizeof(parent))
        memcpy(parent, path, (size_t)(slash - path));
    r = *path ? hf_io_mkdir(io, path) : -EEXIST;
    /* Also when it was there: whoever made it may not have come to this. */
    return r < 0 && r != -EEXIST ? r : hf_io_sync_dir(io, parent);
}

/* One writer: the lock goes with the open file, so that no crash leaves it behind. */
static int writer_lock(struct hf_journal *journal)
{
    char path[HF_IO_PATH_MAX];
    int r = hf_journal_path(journal->path, HF_WATERMARK_NAME, path);

    if (r == 0)
        r = hf_io_open(journal->io, path, HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE,
                       &journal->watermark);
    if (r < 0)
        return r;
    for (int i = 0; i < HF_WRITER_LOCK_TRIES; i++) {
        r = hf_io_lock(journal->watermark, HF_LOCK_EXCLUSIVE);
        if (r != -EAGAIN)
            return r;
        journal->clock->ops->sleep_ns(journal->clock, HF_WRITER_LOCK_WAIT_NS);
    }
    return -EBUSY;
}

int hf_journal_open(const struct hf_journal_options *options,
                    struct hf_journal_recovery *ret_recovery, struct hf_journal **ret_journal)
{
    struct hf_journal_recovery recovery = {0};
    struct hf_journal *journal = NULL;
    int r;

    if (options->segment_bytes > HF_SEGMENT_BYTES_MAX)
        return -EINVAL;
    r = journal_new(options, &journal);
    if (r == 0)
        r = directory_make(journal->io, journal->path);
    if (r == 0)
        r = writer_lock(journal);
    if (r == 0)
        r = hf_journal_recover(journal, &recovery);
    if (r < 0) {
        hf_journal_close(journal);
        return r;
    }
    hf_journal_reserve_take(journal);
    if (ret_recovery)
        *ret_recovery = recovery;
    *ret_journal = journal;
    return 0;
}

void hf_journal_close(struct hf_journal *journal)
{
    if (!journal)
        return;
    for (int i = 0; i < HF_LANES; i++)
        hf_open_segment_free(journal->open[i]);
    hf_io_close(journal->watermark);
    pthread_mutex_destroy(&journal->append_lock);
    pthread_mutex_destroy(&journal->sync_lock);
    pthread_mutex_destroy(&journal->lock);
    free(journal->segments);
    free(journal->damage);
    free(journal->buffer);
    free(journal->path);
    free(journal);
}

/* ---- Streams ---- */

static int stream_start(struct hf_journal *journal, const struct hf_stream_id *stream)
{
    struct hf_journal_progress progress = {.stream = *stream};
    uint64_t newest = HF_MAX(journal->state.position_max, journal->position_min);
    int r = hf_journal_seal_lane(journal, HF_LANE_CAPTURED);

    if (r == 0)
        r = hf_journal_seal_lane(journal, HF_LANE_PASS);
    if (r < 0)
        return r;
    journal->base = HF_ALIGN_UP(newest, HF_STREAM_BASE_STEP) + HF_STREAM_BASE_STEP;
    progress.position = journal->base;
    hf_digest_begin(&stream->capture, &progress.digest);
    pthread_mutex_lock(&journal->lock);
    journal->has_stream = true;
    journal->appended = progress;
    journal->durable = progress;
    pthread_mutex_unlock(&journal->lock);
    journal->state.epoch_max = HF_MAX(journal->state.epoch_max, stream->epoch);
    return 0;
}

static bool stream_equal(const struct hf_stream_id *a, const struct hf_stream_id *b)
{
    return a->epoch == b->epoch && hf_id_equal(&a->capture, &b->capture);
}

/* A stream that is known but is not the newest lies below positions already given. */
static bool stream_is_old(const struct hf_journal *journal, const struct hf_stream_id *stream)
{
    for (size_t i = 0; i < journal->segment_count; i++)
        if (stream_equal(&journal->segments[i].head.stream, stream))
            return true;
    return false;
}

int hf_journal_stream_begin(struct hf_journal *journal, const struct hf_stream_id *stream)
{
    int r;

    pthread_mutex_lock(&journal->append_lock);
    if (stream->epoch < journal->state.epoch_max)
        r = -HF_EFENCED;
    else if (journal->error)
        r = journal->error;
    else if (journal->has_stream && stream_equal(&journal->appended.stream, stream))
        r = 0;
    else if (stream_is_old(journal, stream))
        r = -HF_EDIVERGED;
    else
        r = stream_start(journal, stream);
    pthread_mutex_unlock(&journal->append_lock);
    return r;
}

/* ---- Asking ---- */

void hf_journal_appended(struct hf_journal *journal, struct hf_journal_progress *ret_progress)
{
    pthread_mutex_lock(&journal->lock);
    *ret_progress = journal->appended;
    pthread_mutex_unlock(&journal->lock);
}

void hf_journal_durable(struct hf_journal *journal, struct hf_journal_progress *ret_progress)
{
    pthread_mutex_lock(&journal->lock);
    *ret_progress = journal->durable;
    pthread_mutex_unlock(&journal->lock);
}

size_t hf_journal_segment_count(struct hf_journal *journal)
{
    size_t count;

    pthread_mutex_lock(&journal->lock);
    count = journal->segment_count;
    for (int i = 0; i < HF_LANES; i++)
        count += journal->open[i] != NULL;
    pthread_mutex_unlock(&journal->lock);
    return count;
}

static void open_info(const struct hf_open_segment *open, struct hf_segment_info *ret_info)
{
    const struct hf_index_builder *builder = &open->builder;

    *ret_info = (struct hf_segment_info){
        .number = builder->head.number,
        .id = builder->head.id,
        .lane = builder->head.lane,
        .position_begin = builder->head.base + builder->head.seq_begin,
        .position_end = builder->head.base + builder->seq_end,
        .file_bytes = builder->segment_end,
        .entries = builder->ordinal,
        .wall_first_ns = builder->wall_first_ns,
        .wall_last_ns = builder->wall_last_ns,
    };
}

int hf_journal_segment_info(struct hf_journal *journal, size_t index,
                            struct hf_segment_info *ret_info)
{
    int r = -ENOENT;

    pthread_mutex_lock(&journal->lock);
    if (index < journal->segment_count) {
        *ret_info = journal->segments[index].info;
        r = 0;
    } else {
        index -= journal->segment_count;
        for (int i = 0; i < HF_LANES && r < 0; i++) {
            if (!journal->open[i] || index-- > 0)
                continue;
            open_info(journal->open[i], ret_info);
            r = 0;
        }
    }
    pthread_mutex_unlock(&journal->lock);
    return r;
}

uint64_t hf_journal_bytes(struct hf_journal *journal)
{
    uint64_t bytes = 0;

    pthread_mutex_lock(&journal->lock);
    for (size_t i = 0; i < journal->segment_count; i++)
        bytes += journal->segments[i].info.file_bytes + journal->segments[i].index_bytes;
    for (int i = 0; i < HF_LANES; i++)
        bytes += journal->open[i] ? journal->open[i]->builder.segment_end : 0;
    pthread_mutex_unlock(&journal->lock);
    return bytes;
}

int hf_journal_damage_each(struct hf_journal *journal,
                           int (*each)(void *context, const struct hf_journal_damage *damage),
                           void *context)
{
    for (size_t i = 0; i < journal->damage_count; i++) {
        int r = each(context, &journal->damage[i]);

        if (r != 0)
            return r;
    }
    return 0;
}
