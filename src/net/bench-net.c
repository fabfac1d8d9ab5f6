// SPDX-License-Identifier: Apache-2.0
/*
 * Throughput over loopback with TLS, on the cores that the process may use: bench-net [seconds].
 * Raw connection in one direction and in both; then batches over a link, built and verified as
 * agent and target do, in records of 64 KiB and of 4 KiB.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/base.h"
#include "net/link.h"
#include "net/net-internal.h"
#include "net/net-test.h"
#include "stream/stream-test.h"

#define BLOCK (1 << 20)
#define BUILDERS 4
#define CREDIT (16u << 20)

static int run_ms = 3000;

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- The connection alone ---- */

struct raw {
    struct hf_conn *conn;
    uint64_t bytes;
};

static void *raw_write(void *arg)
{
    struct raw *raw = arg;
    int64_t until_ms = hf_net_now_ms() + run_ms;
    char *block = calloc(1, BLOCK);

    HF_ASSERT(block);
    while (hf_net_now_ms() < until_ms && hf_conn_write(raw->conn, block, BLOCK, 10000) == 0)
        raw->bytes += BLOCK;
    hf_conn_write(raw->conn, "x", 1, 1000); /* not a whole block: the end */
    free(block);
    return NULL;
}

static void *raw_read(void *arg)
{
    struct raw *raw = arg;
    char *block = malloc(BLOCK);
    long part = 0;

    HF_ASSERT(block);
    do {
        raw->bytes += (uint64_t)part;
        part = hf_conn_read(raw->conn, block, BLOCK, 10000);
    } while (part > 0 && (raw->bytes + (uint64_t)part) % BLOCK != 1);
    free(block);
    return NULL;
}

static void bench_raw(struct hf_test_pki *pki, bool both)
{
    struct hf_conn *agent, *target;
    struct hf_tls *tls[2];
    pthread_t threads[4];
    int count = both ? 4 : 2;
    double cpu = cpu_seconds(), megabytes;
    int64_t started;

    hf_test_connect(pki, &agent, &target, tls);
    struct raw raws[4] = {{agent, 0}, {target, 0}, {target, 0}, {agent, 0}};
    started = hf_net_now_ms();
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, i % 2 ? raw_read : raw_write, &raws[i]);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    megabytes = (double)(raws[0].bytes + raws[2].bytes) / 1e6;
    printf("connection, %s: %.0f MB/s in all, %.2f ms of processor a MB\n",
           both ? "both ways" : "one way ",
           megabytes / ((double)(hf_net_now_ms() - started) / 1000),
           (cpu_seconds() - cpu) * 1000 / megabytes);
    hf_conn_free(agent);
    hf_conn_free(target);
    hf_tls_free(tls[0]);
    hf_tls_free(tls[1]);
}

/* ---- Batches over a link ---- */

struct slot {
    struct hf_batch_builder *builder;
    struct feeder *feeder;
    bool is_free;
};

struct feeder {
    struct hf_link *link;
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct slot slots[BUILDERS];
    size_t record_bytes;
    uint64_t records;
    const uint8_t *content;
};

#define CONTENT_BYTES (64 * HF_MIB)

static void slot_release(void *arg, int status)
{
    struct slot *slot = arg;

    pthread_mutex_lock(&slot->feeder->lock);
    slot->is_free = true;
    pthread_cond_signal(&slot->feeder->freed);
    pthread_mutex_unlock(&slot->feeder->lock);
}

static struct slot *slot_take(struct feeder *feeder)
{
    struct slot *slot = NULL;

    pthread_mutex_lock(&feeder->lock);
    while (!slot) {
        for (int i = 0; i < BUILDERS && !slot; i++)
            slot = feeder->slots[i].is_free ? &feeder->slots[i] : NULL;
        if (!slot)
            pthread_cond_wait(&feeder->freed, &feeder->lock);
    }
    slot->is_free = false;
    pthread_mutex_unlock(&feeder->lock);
    return slot;
}

static void *feed(void *arg)
{
    struct hf_stream_id stream = {.epoch = 1};
    struct feeder *feeder = arg;
    int64_t until_ms = hf_net_now_ms() + run_ms;
    struct hf_digest digest;
    uint64_t seq = 0;
    int error = 0;

    hf_digest_begin(&stream.capture, &digest);
    while (hf_net_now_ms() < until_ms && !error) {
        struct slot *slot = slot_take(feeder);
        const void *data;
        size_t size;

        hf_batch_begin_captured(slot->builder, &stream, seq, &digest);
        while (!error) {
            struct hf_record_in record = {
                .seq = seq,
                .seq_end = seq + 64 + feeder->record_bytes,
                .length = feeder->record_bytes,
                .content = feeder->content + feeder->records * feeder->record_bytes % CONTENT_BYTES,
                .type = HF_RECORD_WRITE,
            };

            error = hf_batch_add(slot->builder, &record);
            if (!error) {
                seq = record.seq_end;
                feeder->records++;
            }
        }
        hf_batch_finish(slot->builder, 0, &data, &size, &digest);
        error = hf_link_batch(feeder->link, HF_LANE_CAPTURED, data, size, slot_release, slot, -1);
    }
    hf_link_stop(feeder->link);
    return NULL;
}

struct sink {
    struct hf_link *link;
    uint64_t records;
    uint64_t bytes;
};

static void sink_batch(struct sink *sink, const struct hf_session_event *event)
{
    struct hf_session *session;
    struct hf_batch batch;

    HF_ASSERT(hf_batch_parse(event->u.batch.data, event->u.batch.size, &batch) == 0 &&
              hf_batch_verify(&batch, NULL) == 0);
    sink->records += batch.record_count;
    sink->bytes += batch.size;
    session = hf_link_lock(sink->link);
    hf_session_credit(session, sink->bytes + CREDIT);
    hf_link_unlock(sink->link);
}

static void *sink_main(void *arg)
{
    struct hf_msg_attach_ok ok = {.verdict = HF_ATTACH_RESUME, .credit = CREDIT};
    struct hf_session_event event;
    struct sink *sink = arg;

    while (hf_link_next(sink->link, 10000, &event) > 0) {
        if (event.type == HF_MSG_ATTACH) {
            hf_session_attach_ok(hf_link_lock(sink->link), &ok);
            hf_link_unlock(sink->link);
        } else if (event.type == HF_MSG_BATCH) {
            sink_batch(sink, &event);
        }
    }
    return NULL;
}

static void source_attach(struct hf_link *link)
{
    struct hf_session_event event = {0};
    struct hf_msg_attach attach = {.disk_count = 0};

    HF_ASSERT(hf_link_next(link, 5000, &event) == 1 && event.type == HF_MSG_HELLO_OK);
    hf_session_attach(hf_link_lock(link), &attach);
    hf_link_unlock(link);
    HF_ASSERT(hf_link_next(link, 5000, &event) == 1 && event.type == HF_MSG_ATTACH_OK);
}

static struct hf_link *link_of(struct hf_conn *conn, enum hf_session_role role)
{
    struct hf_link_options options = {.role = role, .node = {{1}}, .software = "bench"};
    struct hf_link *link = NULL;

    HF_ASSERT(hf_link_new(conn, &options, &link) == 0);
    return link;
}

static void feeder_init(struct feeder *feeder, size_t batch_bytes)
{
    struct hf_batch_builder_options options = {HF_COMPRESSION_FAST, batch_bytes};

    pthread_mutex_init(&feeder->lock, NULL);
    pthread_cond_init(&feeder->freed, NULL);
    for (int i = 0; i < BUILDERS; i++) {
        feeder->slots[i].feeder = feeder;
        feeder->slots[i].is_free = true;
        HF_ASSERT(hf_batch_builder_new(&options, &feeder->slots[i].builder) == 0);
    }
}

static void bench_link(struct hf_test_pki *pki, size_t record_bytes, enum hf_test_content kind,
                       const char *what)
{
    struct feeder feeder = {.record_bytes = record_bytes};
    struct hf_conn *agent, *target;
    struct hf_session_event event;
    struct hf_tls *tls[2];
    struct sink sink = {0};
    pthread_t threads[2];
    double cpu, seconds;
    uint8_t *content = malloc(CONTENT_BYTES);
    int64_t started;

    HF_ASSERT(content);
    hf_test_content_fill(kind, 1, content, CONTENT_BYTES);
    feeder.content = content;
    feeder_init(&feeder, BLOCK);
    hf_test_connect(pki, &agent, &target, tls);
    feeder.link = link_of(agent, HF_SESSION_SOURCE);
    sink.link = link_of(target, HF_SESSION_SINK);
    cpu = cpu_seconds();
    started = hf_net_now_ms();
    pthread_create(&threads[0], NULL, sink_main, &sink);
    source_attach(feeder.link);
    pthread_create(&threads[1], NULL, feed, &feeder);
    while (hf_link_next(feeder.link, -1, &event) > 0)
        ;
    pthread_join(threads[1], NULL);
    seconds = (double)(hf_net_now_ms() - started) / 1000;
    hf_link_free(feeder.link);
    pthread_join(threads[0], NULL);
    printf("link, %5zu bytes a record, %s: %.0f records/s, %.0f MB/s of content, %.2f stored, %.2f "
           "ms of processor a MB\n",
           record_bytes, what, (double)sink.records / seconds,
           (double)(sink.records * record_bytes) / 1e6 / seconds,
           (double)sink.bytes / (double)(sink.records * record_bytes),
           (cpu_seconds() - cpu) * 1000 / ((double)(sink.records * record_bytes) / 1e6));
    hf_link_free(sink.link);
    for (int i = 0; i < BUILDERS; i++)
        hf_batch_builder_free(feeder.slots[i].builder);
    hf_tls_free(tls[0]);
    hf_tls_free(tls[1]);
    free(content);
}

int main(int argc, char **argv)
{
    struct hf_test_pki pki = {0};

    if (argc > 1)
        run_ms = (int)strtol(argv[1], NULL, 10) * 1000;
    hf_test_pki_new(&pki);
    bench_raw(&pki, false);
    bench_raw(&pki, true);
    bench_link(&pki, 65536, HF_TEST_TEXT, "text ");
    bench_link(&pki, 65536, HF_TEST_NOISE, "noise");
    bench_link(&pki, 4096, HF_TEST_TEXT, "text ");
    bench_link(&pki, 4096, HF_TEST_NOISE, "noise");
    hf_test_pki_remove(&pki);
    return 0;
}
