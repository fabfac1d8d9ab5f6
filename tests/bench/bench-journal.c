// SPDX-License-Identifier: Apache-2.0
/*
 * How fast the journal is on a real disk: appending with a sync after each batch and with a thread
 * that syncs beside (as the target does), what preallocation does to a sync, and opening a journal
 * of millions of extents. Usage: bench-journal DIRECTORY [MIB-PER-CASE [MILLIONS-OF-EXTENTS]]
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/error.h"
#include "io/io-test.h"
#include "journal/journal.h"
#include "journal/reader.h"
#include "stream/batch.h"
#include "measure.h"

#define BATCH_BYTES (1u << 20)
#define SYNC_ROUNDS 200
#define LOOKUPS 2000

static void must(int r, const char *what)
{
    if (r == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, hf_strerror(r));
    exit(1);
}

/* ---- A source ---- */

struct source {
    struct hf_batch_builder *builder;
    struct hf_random_seeded random;
    struct hf_stream_id stream;
    struct hf_digest digest;
    uint64_t seq;
    uint64_t disk_bytes;
    uint32_t record_bytes;
    uint32_t records; /* per batch */
    uint8_t content[HF_RECORD_CONTENT_MAX];
};

static void source_init(struct source *source, uint32_t record_bytes, bool zeros)
{
    struct hf_batch_builder_options options = {.compression_level = HF_COMPRESSION_OFF,
                                               .size_max = HF_BATCH_SIZE_MAX};

    memset(source, 0, sizeof(*source));
    hf_random_seeded_init(&source->random, 1);
    must(hf_batch_builder_new(&options, &source->builder), "builder");
    source->stream.epoch = 1;
    must(hf_id_make(&source->random.random, &source->stream.capture), "id");
    hf_digest_begin(&source->stream.capture, &source->digest);
    source->disk_bytes = 64 * HF_GIB;
    source->record_bytes = record_bytes;
    source->records = zeros ? 500 : BATCH_BYTES / record_bytes;
    if (!zeros)
        must(source->random.random.ops->fill(&source->random.random, source->content,
                                             sizeof(source->content)),
             "random");
}

static void source_batch(struct source *source, const void **ret_data, size_t *ret_size)
{
    hf_batch_begin_captured(source->builder, &source->stream, source->seq, &source->digest);
    for (uint32_t i = 0; i < source->records; i++) {
        uint64_t place = hf_random_seeded_next(&source->random);
        struct hf_record_in record = {
            .seq = source->seq,
            .seq_end = source->seq + 64 + source->record_bytes,
            .boot_ns = source->seq,
            .offset = place % (source->disk_bytes / source->record_bytes) * source->record_bytes,
            .length = source->record_bytes,
            .content = source->content,
            .type = HF_RECORD_WRITE,
        };

        must(hf_batch_add(source->builder, &record), "record");
        source->seq = record.seq_end;
    }
    must(hf_batch_finish(source->builder, 1, ret_data, ret_size, &source->digest), "batch");
}

static void source_append(struct source *source, struct hf_journal *journal, double *seconds)
{
    struct hf_batch batch;
    const void *data;
    double started;
    size_t size;

    source_batch(source, &data, &size);
    must(hf_batch_parse(data, size, &batch), "parse");
    started = now_s();
    must(hf_journal_append(journal, &batch, 1), "append");
    *seconds += now_s() - started;
}

/* ---- Files ---- */

static int unlink_name(void *context, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "journal/%s", name);
    return hf_io_unlink(context, path);
}

static struct hf_io *fresh(const char *directory)
{
    struct hf_io *io;

    must(hf_io_file_new(directory, &io), directory);
    (void)hf_io_list(io, "journal", unlink_name, io);
    return io;
}

static struct hf_journal *journal_open(struct hf_io *io, uint64_t segment_bytes)
{
    struct hf_journal_options options = {
        .io = io,
        .path = "journal",
        .random = hf_random_system(),
        .clock = hf_clock_system(),
        .segment_bytes = segment_bytes,
    };
    struct hf_journal *journal;

    must(hf_journal_open(&options, NULL, &journal), "open");
    return journal;
}

/* ---- Appending ---- */

struct syncer {
    struct hf_journal *journal;
    atomic_bool done;
    uint64_t syncs;
};

static void *sync_on(void *argument)
{
    struct syncer *syncer = argument;

    while (!atomic_load(&syncer->done)) {
        must(hf_journal_sync(syncer->journal), "sync");
        syncer->syncs++;
    }
    return NULL;
}

static void bench_append(const char *directory, uint32_t record_bytes, uint64_t mib, bool beside)
{
    struct hf_io *io = fresh(directory);
    struct syncer syncer = {.journal = journal_open(io, 0)};
    struct source source;
    double append_s = 0;
    double started;
    double elapsed;
    pthread_t thread;

    source_init(&source, record_bytes, false);
    must(hf_journal_stream_begin(syncer.journal, &source.stream), "stream");
    started = now_s();
    if (beside)
        must(-pthread_create(&thread, NULL, sync_on, &syncer), "thread");
    for (uint64_t i = 0; i < mib; i++) {
        source_append(&source, syncer.journal, &append_s);
        if (!beside) {
            must(hf_journal_sync(syncer.journal), "sync");
            syncer.syncs++;
        }
    }
    atomic_store(&syncer.done, true);
    if (beside)
        pthread_join(thread, NULL);
    must(hf_journal_sync(syncer.journal), "sync");
    elapsed = now_s() - started;
    printf("append %5u-byte records, %s: %7.1f MB/s (append alone %7.1f MB/s), %llu syncs\n",
           record_bytes, beside ? "sync beside     " : "sync every 1 MiB",
           (double)(mib * HF_MIB) / 1e6 / elapsed, (double)(mib * HF_MIB) / 1e6 / append_s,
           (unsigned long long)syncer.syncs);
    hf_journal_close(syncer.journal);
    hf_batch_builder_free(source.builder);
    (void)hf_io_list(io, "journal", unlink_name, io);
    hf_io_free(io);
}

/* ---- Preallocation ---- */

static void bench_sync(const char *directory, bool allocate)
{
    static uint8_t data[65536];
    struct hf_io *io = fresh(directory);
    struct hf_file *file;
    double in_sync = 0;
    double worst = 0;

    memset(data, 0x5a, sizeof(data));
    must(hf_io_open(io, "bench-sync", HF_OPEN_WRITE | HF_OPEN_CREATE, &file), "file");
    if (allocate)
        must(hf_io_allocate(file, 0, SYNC_ROUNDS * sizeof(data)), "allocate");
    must(hf_io_sync(file), "sync");
    for (uint64_t i = 0; i < SYNC_ROUNDS; i++) {
        double started;

        must(hf_io_write(file, data, sizeof(data), i * sizeof(data)), "write");
        started = now_s();
        must(hf_io_sync(file), "sync");
        worst = HF_MAX(worst, now_s() - started);
        in_sync += now_s() - started;
    }
    printf("fdatasync of 64 KiB, %s: mean %.3f ms, worst %.3f ms\n",
           allocate ? "preallocated" : "growing     ", in_sync / SYNC_ROUNDS * 1e3, worst * 1e3);
    hf_io_close(file);
    must(hf_io_unlink(io, "bench-sync"), "unlink");
    hf_io_free(io);
}

/* ---- Opening ---- */

static void fill(struct hf_io *io, uint64_t extents)
{
    struct hf_journal *journal = journal_open(io, 950000);
    struct source source;
    double append_s = 0;

    source_init(&source, 4096, true);
    must(hf_journal_stream_begin(journal, &source.stream), "stream");
    for (uint64_t i = 0; i < extents; i += source.records)
        source_append(&source, journal, &append_s);
    must(hf_journal_seal(journal), "seal");
    printf("%llu extents in %zu segments, %.1f MiB\n", (unsigned long long)extents,
           hf_journal_segment_count(journal), (double)hf_journal_bytes(journal) / (double)HF_MIB);
    hf_journal_close(journal);
    hf_batch_builder_free(source.builder);
}

static int count_extent(void *context, const struct hf_journal_extent *extent)
{
    ++*(uint64_t *)context;
    return 0;
}

static void look_up(struct hf_journal_reader *reader, struct hf_random_seeded *random,
                    uint64_t *found)
{
    uint64_t offset = hf_random_seeded_next(random) % (64 * HF_GIB / 4096) * 4096;

    must(hf_journal_reader_extents(reader, 0, offset, 4096, 0, UINT64_MAX, count_extent, found),
         "extents");
}

static void bench_open(const char *directory, uint64_t extents)
{
    struct hf_io *io = fresh(directory);
    struct hf_io *counted;
    struct hf_journal_reader *reader;
    struct hf_random_seeded random;
    double before_mib;
    double started;
    double opened;
    double first;
    uint64_t reads;
    uint64_t found = 0;

    fill(io, extents);
    must(hf_io_fault_new(io, &counted), "counting");
    hf_random_seeded_init(&random, 9);
    before_mib = resident_mib();
    started = now_s();
    must(hf_journal_reader_open(counted, "journal", &reader), "reader");
    opened = now_s();
    look_up(reader, &random, &found);
    first = now_s();
    reads = hf_io_fault_reads(counted);
    for (int i = 0; i < LOOKUPS; i++)
        look_up(reader, &random, &found);
    printf(
        "open: %.1f ms; first lookup: %.1f ms; then %.1f us and %.2f reads a lookup, %.2f extents; "
        "%.1f MiB\n",
        (opened - started) * 1e3, (first - opened) * 1e3, (now_s() - first) / LOOKUPS * 1e6,
        (double)(hf_io_fault_reads(counted) - reads) / LOOKUPS, (double)found / LOOKUPS,
        resident_mib() - before_mib);
    hf_journal_reader_close(reader);
    hf_io_free(counted);
    (void)hf_io_list(io, "journal", unlink_name, io);
    hf_io_free(io);
}

int main(int argc, char **argv)
{
    uint64_t mib = argc > 2 ? strtoull(argv[2], NULL, 10) : 256;
    uint64_t millions = argc > 3 ? strtoull(argv[3], NULL, 10) : 5;

    if (argc < 2) {
        fprintf(stderr, "usage: bench-journal DIRECTORY [MIB-PER-CASE [MILLIONS-OF-EXTENTS]]\n");
        return 2;
    }
    for (int i = 0; i < 2; i++) {
        bench_sync(argv[1], false);
        bench_sync(argv[1], true);
    }
    for (int beside = 0; beside < 2; beside++) {
        bench_append(argv[1], 4096, mib, beside);
        bench_append(argv[1], 65536, mib, beside);
    }
    bench_open(argv[1], millions * 1000000);
    return 0;
}
