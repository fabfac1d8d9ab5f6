// SPDX-License-Identifier: Apache-2.0
/*
 * Opening a point: a sparse 64 GiB disk whose journal holds millions of extents. Prints the time
 * from nothing to the first byte, the time of random reads, and the memory that a process needs for
 * it. Usage: bench-view DIRECTORY [MILLIONS-OF-EXTENTS]; the directory keeps its store for another
 * run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/error.h"
#include "store/point.h"
#include "store/view.h"
#include "measure.h"

#define DISK_BYTES (64 * HF_GIB)
#define READS 2000

static void must(int r, const char *what)
{
    if (r >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, hf_strerror(r));
    exit(1);
}

/* ---- Making the store ---- */

struct source {
    struct hf_machine *machine;
    struct hf_batch_builder *builder;
    struct hf_random_seeded random;
    struct hf_stream_id stream;
    struct hf_digest digest;
    uint64_t seq;
};

static void begin(struct source *source)
{
    hf_batch_begin_captured(source->builder, &source->stream, source->seq, &source->digest);
}

static void end(struct source *source)
{
    const void *data;
    size_t size;

    must(hf_batch_finish(source->builder, hf_clock_system()->ops->wall_ns(hf_clock_system()), &data,
                         &size, &source->digest),
         "finish");
    must(hf_machine_append(source->machine, data, size), "append");
}

static void add(struct source *source, uint8_t type, uint64_t offset, uint64_t length,
                const void *content)
{
    struct hf_record_in in = {.seq = source->seq,
                              .seq_end = source->seq + 64,
                              .offset = offset,
                              .length = length,
                              .content = content,
                              .type = type};

    if (content != NULL)
        in.seq_end += HF_ALIGN_UP(length, 8);
    if (hf_batch_add(source->builder, &in) == -ENOSPC) {
        end(source);
        begin(source);
        must(hf_batch_add(source->builder, &in), "add");
    }
    source->seq = in.seq_end;
}

static void protect(struct source *source)
{
    struct hf_disk_body disk = {.change = HF_DISK_ADD,
                                .version = 1,
                                .block_size = hf_le32_of(512),
                                .size_bytes = hf_le64_of(DISK_BYTES),
                                .name = "vda"};
    struct hf_pass_body pass = {
        .kind = HF_PASS_FULL, .version = 1, .pass = hf_le64_of(1), .disk_mask = hf_le64_of(1)};

    begin(source);
    add(source, HF_RECORD_DISK, 0, sizeof(disk), &disk);
    add(source, HF_RECORD_PASS_BEGIN, 0, sizeof(pass), &pass);
    end(source);
    begin(source);
    pass.flags = hf_le16_of(HF_PASS_COMPLETE);
    add(source, HF_RECORD_PASS_END, 0, sizeof(pass), &pass);
    end(source);
}

static void write_extents(struct source *source, uint64_t count)
{
    uint8_t content[512];

    begin(source);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t x = hf_random_seeded_next(&source->random);

        memset(content, (int)(i & 0x7f), sizeof(content));
        add(source, HF_RECORD_WRITE, x % (DISK_BYTES / 4096) * 4096, sizeof(content), content);
        if (i % 500000 == 499999)
            must(hf_machine_sync(source->machine), "sync");
    }
    end(source);
}

static void make_store(struct hf_store *store, const struct hf_id *id, uint64_t extents)
{
    struct hf_machine_options options = {.create = true};
    struct hf_batch_builder_options builder = {.compression_level = HF_COMPRESSION_OFF,
                                               .size_max = 1u << 20};
    struct source source = {0};
    double start = now_s();

    hf_random_seeded_init(&source.random, 1);
    must(hf_machine_open(store, id, &options, NULL, &source.machine), "open the machine");
    must(hf_batch_builder_new(&builder, &source.builder), "builder");
    source.stream.epoch = 1;
    must(hf_id_make(hf_random_system(), &source.stream.capture), "capture");
    must(hf_machine_stream_begin(source.machine, &source.stream), "stream");
    hf_digest_begin(&source.stream.capture, &source.digest);
    protect(&source);
    write_extents(&source, extents);
    must(hf_machine_sync(source.machine), "sync");
    hf_batch_builder_free(source.builder);
    hf_machine_close(source.machine);
    printf("made: %.1f million extents in %.1f s\n", (double)extents / 1e6, now_s() - start);
}

/* ---- Measuring ---- */

static void measure(struct hf_store *store, const struct hf_id *id)
{
    struct hf_machine_reader *reader;
    struct hf_view_options options = {0};
    struct hf_point point;
    struct hf_view *view;
    uint8_t block[4096];
    size_t count;
    double start = now_s(), found, opened, first, last;

    must(hf_machine_reader_open(store, id, &reader), "open for reading");
    must(hf_point_find(reader, "latest", &point, 1, &count), "find");
    hf_machine_reader_close(reader);
    found = now_s();
    options.position = point.position;
    must(hf_view_open(store, id, &options, &view), "open the view");
    opened = now_s();
    must(hf_view_read(view, 0, 1234567 * UINT64_C(4096), block, sizeof(block)), "read");
    first = now_s();
    for (uint64_t i = 0; i < READS; i++)
        must(hf_view_read(view, 0, i * 7919 * 4096 % DISK_BYTES, block, sizeof(block)), "read");
    last = now_s();
    printf("find the point %.3f s, open %.3f s, first byte %.4f s: %.3f s in all\n", found - start,
           opened - found, first - opened, first - start);
    printf("random 4 KiB reads: %.1f us each; resident %.1f MiB\n", (last - first) / READS * 1e6,
           resident_mib());
    hf_view_close(view);
}

int main(int argc, char **argv)
{
    uint64_t millions = argc > 2 ? strtoull(argv[2], NULL, 10) : 5;
    struct hf_id id = {{1}};
    struct hf_store *store;
    struct hf_io *io;
    int r;

    if (argc < 2) {
        fprintf(stderr, "usage: bench-view DIRECTORY [MILLIONS-OF-EXTENTS]\n");
        return 2;
    }
    must(hf_io_file_new(argv[1], &io), argv[1]);
    r = hf_store_open(io, hf_clock_system(), hf_random_system(), &store);
    if (r == -ENOENT) {
        must(hf_store_create(io, hf_random_system()), "create");
        must(hf_store_open(io, hf_clock_system(), hf_random_system(), &store), "open");
        make_store(store, &id, millions * 1000000);
    }
    measure(store, &id);
    hf_store_close(store);
    hf_io_free(io);
    return 0;
}
