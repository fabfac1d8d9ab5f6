// SPDX-License-Identifier: Apache-2.0
#include "store/store-test.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/reader-internal.h"

/* ---- The store ---- */

void hf_test_store_init(struct hf_test_store *test, struct hf_io *io, uint64_t seed)
{
    memset(test, 0, sizeof(*test));
    test->io = io;
    hf_clock_manual_init(&test->clock, HF_NS_PER_S, 1700000000 * (int64_t)HF_NS_PER_S);
    hf_random_seeded_init(&test->random, seed);
    hf_id_make(&test->random.random, &test->id);
    test->options.create = true;
    test->options.segment_bytes = 64 * HF_KIB;
}

int hf_test_store_open(struct hf_test_store *test)
{
    int r = hf_store_open(test->io, &test->clock.clock, &test->random.random, &test->store);

    if (r == -ENOENT) {
        r = hf_store_create(test->io, &test->random.random);
        if (r == 0)
            r = hf_store_open(test->io, &test->clock.clock, &test->random.random, &test->store);
    }
    if (r == 0)
        r = hf_machine_open(test->store, &test->id, &test->options, &test->recovery,
                            &test->machine);
    return r;
}

void hf_test_store_close(struct hf_test_store *test)
{
    hf_machine_close(test->machine);
    hf_store_close(test->store);
    test->machine = NULL;
    test->store = NULL;
}

/* ---- The source ---- */

void hf_test_source_init(struct hf_test_source *source, struct hf_test_store *test, uint64_t seed)
{
    struct hf_batch_builder_options options = {.compression_level = HF_COMPRESSION_FAST,
                                               .size_max = HF_BATCH_SIZE_MAX};

    memset(source, 0, sizeof(*source));
    source->test = test;
    hf_random_seeded_init(&source->random, seed);
    HF_ASSERT(hf_batch_builder_new(&options, &source->builder) == 0);
    HF_ASSERT(hf_batch_builder_new(&options, &source->pass_builder) == 0);
}

void hf_test_source_done(struct hf_test_source *source)
{
    hf_batch_builder_free(source->builder);
    hf_batch_builder_free(source->pass_builder);
    hf_model_clear(&source->model);
}

uint64_t hf_test_position(const struct hf_test_source *source)
{
    return source->base + source->seq;
}

static uint64_t draw(struct hf_test_source *source, uint64_t below)
{
    HF_ASSERT(below > 0);
    return hf_random_seeded_next(&source->random) % below;
}

int hf_test_stream(struct hf_test_source *source)
{
    struct hf_journal_progress progress;
    struct hf_model_event event = {0};
    int r;

    source->stream.epoch = 1;
    hf_id_make(&source->random.random, &source->stream.capture);
    r = hf_machine_stream_begin(source->test->machine, &source->stream);
    if (r < 0)
        return r;
    hf_machine_appended(source->test->machine, &progress);
    source->base = progress.position - progress.seq;
    source->seq = source->seq_sent = 0;
    source->digest = progress.digest;
    source->pass = 0;
    source->pass_open = false;
    event.position = source->base;
    hf_model_event_add(&source->model, &event);
    return 0;
}

static int record(struct hf_test_source *source, struct hf_record_in *record)
{
    if (!source->in_batch)
        hf_batch_begin_captured(source->builder, &source->stream, source->seq_sent,
                                &source->digest);
    source->in_batch = true;
    record->seq = source->seq;
    record->seq_end = source->seq + 64 + HF_ALIGN_UP(record->content ? record->length : 0, 8);
    record->boot_ns = source->test->clock.boot_ns;
    source->seq = record->seq_end;
    return hf_batch_add(source->builder, record);
}

int hf_test_write(struct hf_test_source *source, uint16_t disk, uint64_t offset, uint64_t length)
{
    uint8_t content[HF_RECORD_CONTENT_MAX];
    struct hf_record_in in = {.type = HF_RECORD_WRITE,
                              .disk = disk,
                              .offset = offset,
                              .length = length,
                              .content = content};
    struct hf_model_op op = {
        .offset = offset, .length = length, .seed = ++source->content, .disk = disk};
    int r;

    hf_model_content(op.seed, content, length);
    r = record(source, &in);
    op.position = hf_test_position(source);
    hf_model_op_add(&source->model, &op);
    return r;
}

int hf_test_zero(struct hf_test_source *source, uint16_t disk, uint64_t offset, uint64_t length,
                 bool discard)
{
    struct hf_record_in in = {.type = discard ? HF_RECORD_DISCARD : HF_RECORD_ZERO,
                              .disk = disk,
                              .offset = offset,
                              .length = length};
    struct hf_model_op op = {.offset = offset, .length = length, .disk = disk};
    int r = record(source, &in);

    op.position = hf_test_position(source);
    hf_model_op_add(&source->model, &op);
    return r;
}

static int control(struct hf_test_source *source, uint8_t type, const void *body, size_t size,
                   struct hf_model_event *event)
{
    struct hf_record_in in = {.type = type, .length = size, .content = body};
    int r = record(source, &in);

    event->type = type;
    event->position = hf_test_position(source);
    hf_model_event_add(&source->model, event);
    return r;
}

int hf_test_mark(struct hf_test_source *source, uint8_t kind, const char *name,
                 struct hf_id *ret_id)
{
    uint8_t bytes[sizeof(struct hf_mark_body) + HF_MARK_NAME_MAX];
    struct hf_mark_body body = {.kind = kind, .version = 1};
    struct hf_model_event event = {0};

    hf_id_make(&source->random.random, &body.point);
    body.name_length = hf_le16_of((uint16_t)strlen(name));
    body.wall_ns = hf_le64_of((uint64_t)source->test->clock.wall_ns);
    memcpy(bytes, &body, sizeof(body));
    memcpy(bytes + sizeof(body), name, strlen(name));
    if (ret_id != NULL)
        *ret_id = body.point;
    return control(source, HF_RECORD_MARK, bytes, sizeof(body) + strlen(name), &event);
}

int hf_test_gap(struct hf_test_source *source)
{
    struct hf_gap_body body = {.cause = HF_GAP_RING_FULL, .version = 1};
    struct hf_model_event event = {0};

    return control(source, HF_RECORD_GAP, &body, sizeof(body), &event);
}

int hf_test_disk(struct hf_test_source *source, uint8_t change, uint16_t disk, uint64_t size)
{
    struct hf_disk_body body = {
        .change = change,
        .version = 1,
        .disk = hf_le16_of(disk),
        .block_size = hf_le32_of(512),
        .size_bytes = hf_le64_of(size),
    };
    struct hf_model_event event = {
        .change = change, .disk_mask = UINT64_C(1) << disk, .size_bytes = size};

    body.identity.bytes[0] = (uint8_t)(disk + 1);
    body.name[0] = 'd';
    body.name[1] = (char)('a' + disk);
    if (change != HF_DISK_REMOVE)
        source->disk_size[disk] = size;
    return control(source, HF_RECORD_DISK, &body, sizeof(body), &event);
}

int hf_test_describe(struct hf_test_source *source, uint32_t version, const char *json)
{
    uint8_t bytes[sizeof(struct hf_machine_body) + 4096];
    size_t total = strlen(json), half = total / 2;
    struct hf_model_event event = {0};
    int r = 0;

    for (uint16_t part = 0; r == 0 && part < 2; part++) {
        size_t length = part == 0 ? half : total - half;
        struct hf_machine_body body = {
            .version = hf_le32_of(version),
            .part = hf_le16_of(part),
            .parts = hf_le16_of(2),
            .part_length = hf_le32_of((uint32_t)length),
            .total_length = hf_le32_of((uint32_t)total),
        };

        memcpy(bytes, &body, sizeof(body));
        memcpy(bytes + sizeof(body), json + (part == 0 ? 0 : half), length);
        r = control(source, HF_RECORD_MACHINE, bytes, sizeof(body) + length, &event);
    }
    return r;
}

static int pass_record(struct hf_test_source *source, uint8_t type, uint16_t flags)
{
    struct hf_pass_body body = {
        .kind = source->pass_kind,
        .version = 1,
        .flags = hf_le16_of(flags),
        .pass = hf_le64_of(source->pass),
        .disk_mask = hf_le64_of(source->pass_mask),
        .batches = hf_le64_of(type == HF_RECORD_PASS_END ? source->pass_batch : 0),
    };
    struct hf_model_event event = {
        .kind = source->pass_kind,
        .flags = flags,
        .pass = source->pass,
        .disk_mask = source->pass_mask,
    };

    return control(source, type, &body, sizeof(body), &event);
}

int hf_test_pass_begin(struct hf_test_source *source, uint8_t kind, uint16_t flags, uint64_t mask)
{
    int r;

    source->pass++;
    source->pass_open = true;
    source->pass_kind = kind;
    source->pass_flags = flags;
    source->pass_mask = mask;
    source->pass_batch = 0;
    hf_digest_begin_pass(&source->stream.capture, source->pass, &source->pass_digest);
    r = pass_record(source, HF_RECORD_PASS_BEGIN, flags);
    source->pass_seq = source->seq;
    return r < 0 ? r : hf_test_flush(source);
}

static void model_pass_data(struct hf_test_source *source, uint16_t disk, uint64_t offset,
                            uint64_t length, uint64_t seed)
{
    struct hf_model_op op = {
        .position = source->base + source->pass_seq,
        .offset = offset,
        .length = length,
        .seed = seed,
        .pass = source->pass,
        .pass_batch = source->pass_batch,
        .disk = disk,
    };

    hf_model_op_add(&source->model, &op);
}

int hf_test_pass_data(struct hf_test_source *source, uint16_t disk, uint64_t offset,
                      uint64_t length, bool zero)
{
    uint8_t content[HF_RECORD_CONTENT_MAX];
    uint64_t seed = zero ? 0 : ++source->content;
    struct hf_record_in in = {
        .type = zero ? HF_RECORD_ZERO : HF_RECORD_WRITE,
        .seq = source->pass_seq,
        .seq_end = source->pass_seq,
        .disk = disk,
        .offset = offset,
        .length = length,
        .content = zero ? NULL : content,
        .boot_ns = source->test->clock.boot_ns,
    };
    const void *data;
    size_t size;
    int r;

    if (!zero)
        hf_model_content(seed, content, length);
    hf_batch_begin_pass(source->pass_builder, &source->stream, source->pass_seq, source->pass,
                        source->pass_batch, &source->pass_digest);
    r = hf_batch_add(source->pass_builder, &in);
    if (r == 0)
        r = hf_batch_finish(source->pass_builder, source->test->clock.wall_ns, &data, &size,
                            &source->pass_digest);
    if (r == 0)
        r = hf_machine_append(source->test->machine, data, size);
    model_pass_data(source, disk, offset, length, seed);
    source->pass_batch++;
    return r;
}

int hf_test_pass_all(struct hf_test_source *source)
{
    int r = 0;

    for (uint16_t disk = 0; r == 0 && disk < HF_DISKS_MAX; disk++) {
        if (!(source->pass_mask >> disk & 1))
            continue;
        for (uint64_t at = 0; r == 0 && at < source->disk_size[disk]; at += HF_RECORD_CONTENT_MAX) {
            uint64_t n = HF_MIN(source->disk_size[disk] - at, (uint64_t)HF_RECORD_CONTENT_MAX);

            r = hf_test_pass_data(source, disk, at, n, draw(source, 4) == 0);
        }
    }
    return r;
}

int hf_test_pass_end(struct hf_test_source *source, bool complete)
{
    uint16_t flags = (uint16_t)(source->pass_flags | (complete ? HF_PASS_COMPLETE : 0));

    source->pass_open = false;
    return pass_record(source, HF_RECORD_PASS_END, flags);
}

int hf_test_flush(struct hf_test_source *source)
{
    const void *data;
    size_t size;
    int r;

    source->test->clock.boot_ns += 100 * HF_NS_PER_MS;
    source->test->clock.wall_ns += 100 * (int64_t)HF_NS_PER_MS;
    if (!source->in_batch || source->hold)
        return 0;
    source->in_batch = false;
    r = hf_batch_finish(source->builder, source->test->clock.wall_ns, &data, &size,
                        &source->digest);
    if (r == 0)
        r = hf_machine_append(source->test->machine, data, size);
    source->seq_sent = source->seq;
    return r;
}

int hf_test_sync(struct hf_test_source *source)
{
    uint64_t position = hf_test_position(source), pass_batch = source->pass_batch;
    int r = hf_test_flush(source);

    if (r == 0)
        r = hf_machine_sync(source->test->machine);
    if (r == 0) {
        source->acked_position = position;
        source->acked_pass_batch = pass_batch;
        source->acked_pass = source->pass;
    }
    return r;
}

int hf_test_random_change(struct hf_test_source *source, uint16_t disk)
{
    uint64_t sectors = source->disk_size[disk] / HF_SECTOR;
    uint64_t first = draw(source, HF_MAX(sectors, 1));
    uint64_t count = 1 + draw(source, draw(source, 3) == 0 ? 128 : 16);
    uint64_t kind = draw(source, 10);

    count = HF_MIN(count, sectors - first);
    if (draw(source, 4) == 0 && sectors >= 128) {
        first = draw(source, sectors / 128) * 128;
        count = 128;
    }
    if (kind < 7)
        return hf_test_write(source, disk, first * HF_SECTOR, count * HF_SECTOR);
    return hf_test_zero(source, disk, first * HF_SECTOR, count * HF_SECTOR, kind == 9);
}

/* The newest pass that the model still knows of, and whether it has ended. */
static void find_pass(struct hf_test_source *source)
{
    source->pass = 0;
    source->pass_open = false;
    for (size_t i = 0; i < source->model.event_count; i++) {
        const struct hf_model_event *event = &source->model.events[i];

        if (event->type == 0)
            source->pass = 0;
        if (event->type == 0 || event->type == HF_RECORD_PASS_END)
            source->pass_open = false;
        if (event->type != HF_RECORD_PASS_BEGIN)
            continue;
        source->pass = event->pass;
        source->pass_open = true;
        source->pass_kind = event->kind;
        source->pass_flags = event->flags;
        source->pass_mask = event->disk_mask;
        source->pass_seq = event->position - source->base;
    }
}

void hf_test_rewind(struct hf_test_source *source)
{
    struct hf_journal_progress progress;
    const void *data;
    size_t size;

    hf_machine_durable(source->test->machine, &progress);
    if (source->in_batch) /* thrown away */
        hf_batch_finish(source->builder, 0, &data, &size, &source->digest);
    source->in_batch = false;
    source->stream = progress.stream;
    source->base = progress.position - progress.seq;
    source->seq = source->seq_sent = progress.seq;
    source->digest = progress.digest;
    hf_model_truncate(&source->model, progress.position,
                      progress.position - progress.seq + progress.pass_seq, progress.pass_batch);
    if (progress.seq == 0) {
        struct hf_model_event begin = {.position = progress.position};

        hf_model_event_add(&source->model, &begin);
    }
    find_pass(source);
    source->pass_batch =
        source->pass != 0 && source->pass == progress.pass ? progress.pass_batch : 0;
    source->pass_digest = progress.pass_digest;
    if (source->pass_batch == 0)
        hf_digest_begin_pass(&source->stream.capture, source->pass, &source->pass_digest);
    source->acked_position = progress.position;
    source->acked_pass_batch = source->pass_batch;
    source->acked_pass = source->pass;
    for (uint16_t i = 0; i < HF_DISKS_MAX; i++)
        source->disk_size[i] = hf_model_size(&source->model, progress.position, i);
}

int hf_test_protect(struct hf_test_source *source, unsigned disks)
{
    uint64_t mask = (UINT64_C(1) << disks) - 1;
    int r = hf_test_stream(source);

    HF_ASSERT(disks > 0);
    for (uint16_t i = 0; r == 0 && i < disks; i++)
        r = hf_test_disk(source, HF_DISK_ADD, i, HF_TEST_DISK_BYTES);
    if (r == 0)
        r = hf_test_describe(source, 1, "{\"name\":\"first\"}");
    if (r == 0)
        r = hf_test_random_change(source, 0);
    if (r == 0)
        r = hf_test_pass_begin(source, HF_PASS_FULL, 0, mask);
    for (unsigned i = 0; r == 0 && i < 4; i++)
        r = hf_test_random_change(source, (uint16_t)(i % disks));
    if (r == 0)
        r = hf_test_sync(source);
    if (r == 0)
        r = hf_test_pass_all(source);
    if (r == 0)
        r = hf_test_pass_end(source, true);
    return r == 0 ? hf_test_sync(source) : r;
}

/* ---- Comparing ---- */

int hf_test_check_hashes(struct hf_test_source *source)
{
    static uint8_t image[HF_TEST_DISK_BYTES_MAX];
    struct hf_hash128 hashes[HF_TEST_DISK_BYTES_MAX / 65536], expected;
    uint64_t size = source->disk_size[0], secret;
    uint32_t count = (uint32_t)(HF_ALIGN_UP(size, 65536) / 65536);
    int r = hf_machine_hash_secret(source->test->machine, 0, &secret);

    if (r == 0)
        r = hf_machine_hashes(source->test->machine, 0, 0, 65536, count, hashes);
    if (r < 0)
        return r;
    hf_model_image(&source->model, UINT64_MAX, 0, image, size);
    for (uint32_t i = 0; i < count; i++) {
        expected =
            hf_hash128(image + (size_t)i * 65536, HF_MIN(65536, size - (size_t)i * 65536), secret);
        if (hf_hash128_compare(&expected, &hashes[i]) != 0)
            return -EUCLEAN;
    }
    return 0;
}

static const char *compare_disk(struct hf_test_source *source, struct hf_view *view,
                                const struct hf_machine_disk *disk, uint64_t position)
{
    static uint8_t expected[HF_TEST_DISK_BYTES_MAX], got[HF_TEST_DISK_BYTES_MAX];
    uint64_t size = hf_model_size(&source->model, position, disk->disk);

    if (disk->size_bytes != size)
        return "a disk has another size";
    HF_ASSERT(size <= sizeof(expected));
    hf_model_image(&source->model, position, disk->disk, expected, size);
    memset(got, 0xa5, size);
    if (hf_view_read(view, disk->disk, 0, got, size) < 0)
        return "a disk cannot be read";
    return memcmp(expected, got, size) == 0 ? NULL : "a disk has other content";
}

const char *hf_test_compare_view(struct hf_test_source *source, struct hf_view *view,
                                 uint64_t position)
{
    struct hf_machine_disk disks[HF_DISKS_MAX];
    size_t count = hf_view_disks(view, disks);
    const char *wrong = NULL;
    uint64_t mask = 0;

    for (size_t i = 0; wrong == NULL && i < count; i++) {
        mask |= UINT64_C(1) << disks[i].disk;
        wrong = compare_disk(source, view, &disks[i], position);
    }
    if (wrong == NULL && mask != hf_model_disks(&source->model, position))
        wrong = "other disks belong to the point";
    return wrong;
}

const char *hf_test_compare(struct hf_test_source *source, struct hf_machine_reader *reader,
                            uint64_t position)
{
    struct hf_view_options options = {.position = position};
    const char *reason, *wrong;
    struct hf_view *view;
    bool expected = hf_model_openable(&source->model, position) &&
                    position >= reader->timeline.oldest && position <= reader->timeline.newest;
    int r = hf_machine_reader_openable(reader, position, &reason);

    if ((r == 0) != expected)
        return expected ? "a position cannot be opened" : "a position can be opened";
    r = hf_view_open(source->test->store, &source->test->id, &options, &view);
    if ((r == 0) != expected) {
        if (r == 0)
            hf_view_close(view);
        return expected ? "a view cannot be opened" : "a view can be opened";
    }
    if (!expected)
        return NULL;
    wrong = hf_test_compare_view(source, view, position);
    hf_view_close(view);
    return wrong;
}

static int compare_u64(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return a < b ? -1 : a > b;
}

static uint64_t *list_positions(const struct hf_model *model, size_t *ret_count)
{
    size_t count = 0;
    uint64_t *positions = malloc((model->op_count + 2 * model->event_count + 1) * sizeof(uint64_t));

    HF_ASSERT(positions != NULL);
    for (size_t i = 0; i < model->op_count; i++)
        positions[count++] = model->ops[i].position;
    for (size_t i = 0; i < model->event_count; i++) {
        positions[count++] = model->events[i].position;
        if (model->events[i].position > 0)
            positions[count++] = model->events[i].position - 1;
    }
    qsort(positions, count, sizeof(*positions), compare_u64);
    *ret_count = count;
    return positions;
}

const char *hf_test_compare_all(struct hf_test_source *source, size_t step, size_t *ret_count)
{
    struct hf_machine_reader *reader;
    const char *wrong = NULL;
    size_t count;
    uint64_t *positions;
    int r = hf_machine_reader_open(source->test->store, &source->test->id, &reader);

    *ret_count = 0;
    if (r < 0)
        return "the machine cannot be read";
    positions = list_positions(&source->model, &count);
    for (size_t i = 0; wrong == NULL && i < count; i += step) {
        if (i > 0 && positions[i] == positions[i - 1])
            continue;
        wrong = hf_test_compare(source, reader, positions[i]);
        *ret_count += hf_timeline_is_openable(&reader->timeline, positions[i]);
    }
    if (wrong == NULL && reader->timeline.newest < source->acked_position)
        wrong = "what was acknowledged is missing";
    free(positions);
    hf_machine_reader_close(reader);
    return wrong;
}
