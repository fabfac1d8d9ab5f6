// SPDX-License-Identifier: Apache-2.0
/* Speed of building and of checking batches on one core: bench-batch [record-bytes] [level]. */
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "stream/stream-test.h"

#define CONTENT_BYTES (64 * HF_MIB)
#define ROUNDS 8

static double seconds(void)
{
    return (double)hf_clock_system()->ops->boot_ns(hf_clock_system()) / HF_NS_PER_S;
}

struct bench {
    struct hf_batch_builder *builder;
    struct hf_digest digest;
    uint64_t stored_bytes;
    double build_s;
    double check_s;
};

static void check(struct bench *bench)
{
    struct hf_batch batch;
    double started;
    const void *data;
    size_t size;

    hf_batch_finish(bench->builder, 0, &data, &size, &bench->digest);
    bench->stored_bytes += size;
    started = seconds();
    HF_ASSERT(hf_batch_parse(data, size, &batch) == 0 && hf_batch_verify(&batch, NULL) == 0);
    bench->check_s += seconds() - started;
}

static void run(enum hf_test_content kind, const char *name, size_t record_bytes, int level)
{
    struct hf_batch_builder_options options = {level, 1 << 20};
    struct hf_stream_id stream = {.epoch = 1};
    struct bench bench = {0};
    uint8_t *content = malloc(CONTENT_BYTES);
    uint64_t seq = 0, records = ROUNDS * CONTENT_BYTES / record_bytes;
    double started;

    HF_ASSERT(content && hf_batch_builder_new(&options, &bench.builder) == 0);
    hf_test_content_fill(kind, 1, content, CONTENT_BYTES);
    hf_digest_begin(&stream.capture, &bench.digest);
    started = seconds();
    hf_batch_begin_captured(bench.builder, &stream, 0, &bench.digest);
    for (uint64_t i = 0; i < records; i++, seq += 64 + record_bytes) {
        struct hf_record_in record = {.seq = seq,
                                      .seq_end = seq + 64 + record_bytes,
                                      .boot_ns = i,
                                      .offset = i * record_bytes,
                                      .length = record_bytes,
                                      .content = content + i * record_bytes % CONTENT_BYTES,
                                      .type = HF_RECORD_WRITE};

        if (hf_batch_add(bench.builder, &record) == 0)
            continue;
        check(&bench);
        hf_batch_begin_captured(bench.builder, &stream, seq, &bench.digest);
        HF_ASSERT(hf_batch_add(bench.builder, &record) == 0);
    }
    check(&bench);
    bench.build_s = seconds() - started - bench.check_s;
    printf("%-5s %6zu bytes: build %6.0f MB/s %8.0f/s, check %6.0f MB/s, stored %.2f\n", name,
           record_bytes, records * record_bytes / bench.build_s / 1e6, records / bench.build_s,
           records * record_bytes / bench.check_s / 1e6,
           (double)bench.stored_bytes / (records * record_bytes));
    hf_batch_builder_free(bench.builder);
    free(content);
}

int main(int argc, char **argv)
{
    size_t record_bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 65536;
    int level = argc > 2 ? (int)strtol(argv[2], NULL, 10) : HF_COMPRESSION_FAST;

    run(HF_TEST_TEXT, "text", record_bytes, level);
    run(HF_TEST_NOISE, "noise", record_bytes, level);
    run(HF_TEST_ZEROS, "zeros", record_bytes, level);
    return 0;
}
