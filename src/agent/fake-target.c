// SPDX-License-Identifier: Apache-2.0
/*
 * The replicas are rebuilt by replaying what is durable after a crash, so that the model of
 * durability is one number: how many of the batches kept count.
 */
#include "agent/fake-target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "wire/session.h"

#define LOG_MAX 65536
#define EVENTS_MAX 256
#define HASHES_MAX 32768
#define SECRET 0x5ec4e7u

struct image {
    uint8_t *data;
    uint64_t *order; /* position of the newest record of each sector */
    uint64_t size;
    bool complete;
};

/* What the durable log makes of the world; rebuilt by replay. */
struct world {
    struct hf_stream_id stream;
    bool has_stream;
    uint64_t seq;
    struct hf_digest digest;
    uint64_t pass, pass_seq, pass_batch, pass_mask;
    struct hf_digest pass_digest;
    bool pass_added_disk; /* the pass says nothing of the other disks, at its end neither */
    bool consistent;
    uint64_t complete_mask;
};

struct logged {
    void *data;
    size_t size;
};

struct hf_fake_target {
    struct hf_uplink uplink;
    struct hf_clock *clock;
    struct hf_fake_source *watched;
    struct image images[HF_DISKS_MAX];
    struct image base[HF_DISKS_MAX]; /* what replay begins from */
    uint64_t base_mask;
    struct world world, durable;
    struct logged log[LOG_MAX];
    size_t log_count, log_durable;
    uint64_t epoch;
    bool auto_sync, cut, up, lie, replaying;
    uint64_t credit;
    struct hf_uplink_event events[EVENTS_MAX];
    size_t event_first, event_count;
    struct hf_hash128 hashes[EVENTS_MAX][HASHES_MAX / EVENTS_MAX];
    struct hf_fake_target_counts counts;
};

static struct hf_fake_target *target_of(struct hf_uplink *uplink)
{
    return (struct hf_fake_target *)((char *)uplink - offsetof(struct hf_fake_target, uplink));
}

static struct hf_uplink_event *event_push(struct hf_fake_target *target, uint16_t type)
{
    struct hf_uplink_event *event;

    HF_ASSERT(target->event_count < EVENTS_MAX);
    event = &target->events[(target->event_first + target->event_count++) % EVENTS_MAX];
    memset(event, 0, sizeof(*event));
    event->type = type;
    event->boot_ns = target->clock->ops->boot_ns(target->clock);
    return event;
}

/* ---- images ---- */

static void image_resize(struct image *image, uint64_t size)
{
    if (size == image->size)
        return;
    image->data = realloc(image->data, size + 1);
    image->order = realloc(image->order, (size / HF_SECTOR + 1) * sizeof(uint64_t));
    HF_ASSERT(image->data && image->order);
    if (size > image->size) {
        memset(image->data + image->size, 0, size - image->size);
        memset(image->order + image->size / HF_SECTOR, 0,
               (size - image->size) / HF_SECTOR * sizeof(uint64_t));
    }
    image->size = size;
}

static void image_put(struct image *image, uint64_t position, uint64_t offset, uint64_t length,
                      const uint8_t *content)
{
    if (offset + length > image->size)
        image_resize(image, offset + length);
    for (uint64_t at = 0; at < length; at += HF_SECTOR) {
        uint64_t sector = (offset + at) / HF_SECTOR;

        if (image->order[sector] > position)
            continue;
        image->order[sector] = position;
        if (content)
            memcpy(image->data + offset + at, content + at, HF_SECTOR);
        else
            memset(image->data + offset + at, 0, HF_SECTOR);
    }
}

static void image_free(struct image *image)
{
    free(image->data);
    free(image->order);
    *image = (struct image){0};
}

static void images_copy(struct image *to, const struct image *from)
{
    for (unsigned i = 0; i < HF_DISKS_MAX; i++) {
        image_free(&to[i]);
        image_resize(&to[i], from[i].size);
        if (from[i].size)
            memcpy(to[i].data, from[i].data, from[i].size);
        to[i].complete = from[i].complete;
    }
}

/* ---- records ---- */

static void check_point(struct hf_fake_target *target, const struct hf_mark_body *body)
{
    const uint8_t *then;
    size_t size, at = 0;

    if (!target->world.consistent || !target->watched || target->replaying)
        return;
    then = hf_fake_snapshot(target->watched, &body->point, &size);
    for (unsigned i = 0; i < HF_DISKS_MAX && then && at < size; i++) {
        if (target->images[i].size == 0)
            continue;
        if (memcmp(target->images[i].data, then + at, target->images[i].size) != 0)
            then = NULL;
        else
            at += target->images[i].size;
    }
    if (then && at == size)
        target->counts.points++;
    else
        target->counts.points_wrong++;
}

static void pass_begin(struct hf_fake_target *target, const struct hf_pass_body *body, uint64_t end)
{
    struct world *world = &target->world;

    world->pass = hf_le64_get(body->pass);
    world->pass_seq = end;
    world->pass_batch = 0;
    world->pass_mask = hf_le64_get(body->disk_mask);
    hf_digest_begin_pass(&world->stream.capture, world->pass, &world->pass_digest);
    world->pass_added_disk = hf_le16_get(body->flags) & HF_PASS_ADDED_DISK;
    if (!world->pass_added_disk)
        world->consistent = false;
    target->counts.passes_begun++;
}

static void pass_end(struct hf_fake_target *target, const struct hf_pass_body *body)
{
    struct world *world = &target->world;

    if ((hf_le16_get(body->flags) & HF_PASS_COMPLETE) == 0)
        return;
    if (world->pass != hf_le64_get(body->pass) || world->pass_batch != hf_le64_get(body->batches)) {
        target->counts.refused++;
        return;
    }
    if (!world->pass_added_disk)
        world->consistent = true;
    world->complete_mask |= world->pass_mask;
    target->counts.passes_complete++;
}

static void disk_change(struct hf_fake_target *target, const struct hf_disk_body *body)
{
    uint16_t slot = hf_le16_get(body->disk);

    if (body->change == HF_DISK_REMOVE)
        image_free(&target->images[slot]);
    else
        image_resize(&target->images[slot], hf_le64_get(body->size_bytes));
}

static void apply_record(struct hf_fake_target *target, const struct hf_batch *batch, uint32_t i)
{
    static uint8_t content[HF_RECORD_CONTENT_MAX];
    const struct hf_batch_record *record = &batch->records[i];
    bool pass = batch->header->lane == HF_LANE_PASS;
    uint64_t end = hf_le64_get(record->seq) + hf_le32_get(record->seq_size);
    /* Captured records lie one above the pass that began at the same place. */
    uint64_t position = pass ? target->world.pass_seq * 2 : end * 2 + 1;
    struct image *image = &target->images[hf_le16_get(record->disk)];
    size_t length = 0;

    if (record->type != HF_RECORD_ZERO && record->type != HF_RECORD_DISCARD)
        HF_ASSERT(hf_batch_record_content(batch, i, content, &length) == 0);
    switch (record->type) {
    case HF_RECORD_WRITE:
        target->counts.pass_bytes += pass ? length : 0;
        image_put(image, position, hf_le64_get(record->offset), length, content);
        break;
    case HF_RECORD_ZERO:
    case HF_RECORD_DISCARD:
        image_put(image, position, hf_le64_get(record->offset), hf_le64_get(record->length), NULL);
        break;
    case HF_RECORD_MARK:
        check_point(target, (const void *)content);
        break;
    case HF_RECORD_PASS_BEGIN:
        pass_begin(target, (const void *)content, end);
        break;
    case HF_RECORD_PASS_END:
        pass_end(target, (const void *)content);
        break;
    case HF_RECORD_DISK:
        disk_change(target, (const void *)content);
        break;
    case HF_RECORD_GAP:
        target->world.consistent = false;
        target->counts.gaps++;
        break;
    default:
        break;
    }
    target->counts.records++;
}

static bool fits(const struct hf_fake_target *target, const struct hf_batch_header *header)
{
    const struct world *world = &target->world;
    bool pass = header->lane == HF_LANE_PASS;
    const struct hf_digest *digest = pass ? &world->pass_digest : &world->digest;

    if (!world->has_stream || !hf_id_equal(&header->capture, &world->stream.capture) ||
        hf_le64_get(header->epoch) != world->stream.epoch ||
        hf_hash128_compare(&header->digest_before, &digest->value) != 0)
        return false;
    if (pass)
        return hf_le64_get(header->pass) == world->pass &&
               hf_le64_get(header->seq_begin) == world->pass_seq &&
               hf_le64_get(header->pass_batch) == world->pass_batch;
    return hf_le64_get(header->seq_begin) == world->seq;
}

static int apply(struct hf_fake_target *target, const void *data, size_t size)
{
    struct world *world = &target->world;
    struct hf_batch batch;

    if (hf_batch_parse(data, size, &batch) || hf_batch_verify(&batch, NULL) ||
        !fits(target, batch.header))
        return -HF_ECORRUPT;
    for (uint32_t i = 0; i < batch.record_count; i++)
        apply_record(target, &batch, i);
    if (batch.header->lane == HF_LANE_PASS) {
        world->pass_batch++;
        world->pass_digest.value = batch.header->digest_after;
        target->counts.pass_batches++;
    } else {
        world->seq = hf_le64_get(batch.header->seq_end);
        world->digest.value = batch.header->digest_after;
        target->counts.batches++;
    }
    return 0;
}

/* ---- durability ---- */

static void ack(struct hf_fake_target *target)
{
    struct hf_uplink_event *event;

    if (!target->up)
        return;
    event = event_push(target, HF_MSG_ACK);
    event->u.ack = (struct hf_msg_ack){
        .hop_seq = target->durable.seq,
        .target_seq = target->durable.seq,
        .target_digest = target->durable.digest,
        .pass = target->durable.pass,
        .pass_batch = target->durable.pass_batch,
    };
    event->u.ack.target_digest.value.bytes[0] ^= target->lie;
    target->lie = false;
}

void hf_fake_target_sync(struct hf_fake_target *target)
{
    target->log_durable = target->log_count;
    target->durable = target->world;
    ack(target);
}

static void log_clear(struct hf_fake_target *target)
{
    for (size_t i = 0; i < target->log_count; i++)
        free(target->log[i].data);
    target->log_count = target->log_durable = 0;
}

void hf_fake_target_crash(struct hf_fake_target *target)
{
    struct hf_fake_target_counts counts = target->counts;
    struct world empty = {.complete_mask = 0};

    for (size_t i = target->log_durable; i < target->log_count; i++)
        free(target->log[i].data);
    target->log_count = target->log_durable;
    empty.stream = target->durable.stream;
    empty.has_stream = target->durable.has_stream;
    hf_digest_begin(&empty.stream.capture, &empty.digest);
    target->world = empty;
    images_copy(target->images, target->base);
    target->replaying = true;
    for (size_t i = 0; i < target->log_count; i++)
        HF_ASSERT(apply(target, target->log[i].data, target->log[i].size) == 0);
    target->replaying = false;
    target->durable = target->world;
    target->counts = counts;
    target->up = false;
}

/* ---- the uplink ---- */

static void stream_begin(struct hf_fake_target *target, const struct hf_msg_attach *attach)
{
    images_copy(target->base, target->images);
    images_copy(target->images, target->base); /* in a new order */
    target->base_mask |= target->world.complete_mask;
    log_clear(target);
    target->world = (struct world){
        .stream = {.epoch = target->epoch, .capture = attach->stream.capture},
        .has_stream = true,
        .complete_mask = 0,
    };
    hf_digest_begin(&attach->stream.capture, &target->world.digest);
    for (uint32_t i = 0; i < attach->disk_count; i++)
        image_resize(&target->images[attach->disks[i].disk], attach->disks[i].size_bytes);
    target->durable = target->world;
}

static enum hf_attach_verdict verdict(struct hf_fake_target *target,
                                      const struct hf_msg_attach *attach)
{
    const struct world *world = &target->durable;
    bool same = world->has_stream && hf_id_equal(&world->stream.capture, &attach->stream.capture);

    if (attach->stream.epoch && attach->stream.epoch < target->epoch)
        return HF_ATTACH_SUPERSEDED;
    if (!same)
        return world->complete_mask || target->base_mask ? HF_ATTACH_CHECKSUM : HF_ATTACH_NEW;
    if (world->seq < attach->seq_oldest || world->seq > attach->seq_newest ||
        world->seq < attach->seq_acked ||
        (world->seq == attach->seq_acked &&
         hf_hash128_compare(&world->digest.value, &attach->digest_acked.value) != 0))
        return HF_ATTACH_DIVERGED;
    return HF_ATTACH_RESUME;
}

static int uplink_start(struct hf_uplink *uplink, const struct hf_msg_attach *attach)
{
    struct hf_fake_target *target = target_of(uplink);
    enum hf_attach_verdict answer;
    struct hf_uplink_event *event;

    if (target->cut)
        return -ECONNREFUSED;
    target->event_count = 0;
    target->up = true;
    target->counts.attaches++;
    answer = verdict(target, attach);
    if (answer == HF_ATTACH_NEW || answer == HF_ATTACH_CHECKSUM)
        stream_begin(target, attach);
    event = event_push(target, HF_MSG_ATTACH_OK);
    event->u.attach_ok = (struct hf_msg_attach_ok){
        .verdict = (uint8_t)answer,
        .stream = target->world.stream,
        .seq = target->durable.seq,
        .digest = target->durable.digest,
        .pass = target->durable.pass,
        .pass_batch = target->durable.pass_batch,
        .pass_digest = target->durable.pass_digest,
        .credit = target->credit,
        .disk_complete_mask = target->durable.complete_mask,
    };
    if (answer == HF_ATTACH_RESUME && target->log_count != target->log_durable)
        hf_fake_target_crash(target); /* a new connection begins from what is durable */
    target->up = true;
    return 0;
}

static int uplink_batch(struct hf_uplink *uplink, const void *data, size_t size)
{
    struct hf_fake_target *target = target_of(uplink);
    struct logged *entry = &target->log[target->log_count];
    int error;

    if (!target->up || target->cut)
        return -ECONNRESET;
    if (target->credit < size)
        return -EAGAIN;
    HF_ASSERT(target->log_count < LOG_MAX);
    error = apply(target, data, size);
    if (error) {
        target->counts.refused++;
        target->up = false;
        return error;
    }
    target->credit -= size;
    entry->data = malloc(size);
    entry->size = size;
    HF_ASSERT(entry->data);
    memcpy(entry->data, data, size);
    target->log_count++;
    if (target->auto_sync)
        hf_fake_target_sync(target);
    return 0;
}

/* Whose answers were not taken yet. */
static size_t questions(const struct hf_fake_target *target)
{
    size_t count = 0;

    for (size_t i = 0; i < target->event_count; i++)
        count += target->events[(target->event_first + i) % EVENTS_MAX].type == HF_MSG_HASH_LIST;
    return count;
}

static int uplink_hash_get(struct hf_uplink *uplink, const struct hf_msg_hash_get *get)
{
    struct hf_fake_target *target = target_of(uplink);
    struct image *image = &target->images[get->disk];
    size_t place = (target->event_first + target->event_count) % EVENTS_MAX;
    struct hf_uplink_event *event;
    struct hf_msg_hash_list *list;

    if (questions(target) >= HF_SESSION_HASH_GETS_MAX)
        return -EAGAIN;
    event = event_push(target, HF_MSG_HASH_LIST);
    list = &event->u.hash_list;
    target->counts.hash_requests++;
    *list = (struct hf_msg_hash_list){.request = get->request, .secret = SECRET};
    if ((target->base_mask >> get->disk & 1) == 0 ||
        get->count > HF_ARRAY_COUNT(target->hashes[0])) {
        list->error = -HF_EPARTIAL;
        return 0;
    }
    list->count = get->count;
    list->hashes = target->hashes[place];
    for (uint32_t i = 0; i < get->count; i++) {
        uint64_t offset = get->offset + (uint64_t)i * get->block_size;

        HF_ASSERT(offset < image->size);
        target->hashes[place][i] =
            hf_hash128(image->data + offset, HF_MIN(get->block_size, image->size - offset), SECRET);
    }
    return 0;
}

static void uplink_drop_pass(struct hf_uplink *uplink)
{
    (void)uplink; /* nothing waits here */
}

static int uplink_next(struct hf_uplink *uplink, struct hf_uplink_event *ret_event)
{
    struct hf_fake_target *target = target_of(uplink);

    if (!target->up || target->cut)
        return -ECONNRESET;
    if (target->event_count == 0)
        return 0;
    *ret_event = target->events[target->event_first];
    target->event_first = (target->event_first + 1) % EVENTS_MAX;
    target->event_count--;
    return 1;
}

static void uplink_wait(struct hf_uplink *uplink, int timeout_ms)
{
    struct hf_fake_target *target = target_of(uplink);

    target->clock->ops->sleep_ns(target->clock, (uint64_t)timeout_ms * HF_NS_PER_MS);
}

static void uplink_close(struct hf_uplink *uplink, bool orderly)
{
    struct hf_fake_target *target = target_of(uplink);

    (void)orderly;
    target->up = false;
    target->event_count = 0;
}

static const char *uplink_error_text(struct hf_uplink *uplink)
{
    (void)uplink;
    return "connection reset";
}

static void uplink_free(struct hf_uplink *uplink)
{
    (void)uplink; /* the test owns it */
}

static const struct hf_uplink_ops uplink_ops = {
    .size = sizeof(struct hf_uplink_ops),
    .version = 1,
    .free = uplink_free,
    .start = uplink_start,
    .batch = uplink_batch,
    .hash_get = uplink_hash_get,
    .drop_pass = uplink_drop_pass,
    .next = uplink_next,
    .wait = uplink_wait,
    .close = uplink_close,
    .error_text = uplink_error_text,
};

/* ---- what the tests do ---- */

int hf_fake_target_new(struct hf_clock *clock, struct hf_fake_target **ret_target)
{
    struct hf_fake_target *target = calloc(1, sizeof(*target));

    if (!target)
        return -ENOMEM;
    target->uplink.ops = &uplink_ops;
    target->clock = clock;
    target->epoch = 1;
    target->credit = UINT64_MAX;
    *ret_target = target;
    return 0;
}

void hf_fake_target_free(struct hf_fake_target *target)
{
    if (!target)
        return;
    log_clear(target);
    for (unsigned i = 0; i < HF_DISKS_MAX; i++) {
        image_free(&target->images[i]);
        image_free(&target->base[i]);
    }
    free(target);
}

struct hf_uplink *hf_fake_target_uplink(struct hf_fake_target *target)
{
    return &target->uplink;
}

void hf_fake_target_watch(struct hf_fake_target *target, struct hf_fake_source *source)
{
    target->watched = source;
}

void hf_fake_target_auto_sync(struct hf_fake_target *target, bool on)
{
    target->auto_sync = on;
}

void hf_fake_target_cut(struct hf_fake_target *target, bool cut)
{
    target->cut = cut;
}

void hf_fake_target_credit(struct hf_fake_target *target, uint64_t bytes)
{
    target->credit = bytes;
}

void hf_fake_target_lose(struct hf_fake_target *target)
{
    event_push(target, HF_MSG_LOST)->u.lost.from_seq = target->durable.seq;
}

void hf_fake_target_lie(struct hf_fake_target *target)
{
    target->lie = true;
}

void hf_fake_target_raise_epoch(struct hf_fake_target *target)
{
    target->epoch++;
}

void hf_fake_target_forget_stream(struct hf_fake_target *target)
{
    images_copy(target->base, target->images);
    target->base_mask |= target->world.complete_mask;
    log_clear(target);
    target->world.has_stream = target->durable.has_stream = false;
    target->up = false;
}

bool hf_fake_target_consistent(struct hf_fake_target *target)
{
    return target->world.consistent;
}

bool hf_fake_target_equals(struct hf_fake_target *target, struct hf_fake_source *source)
{
    for (unsigned number = 0; number < 4; number++) {
        int slot = hf_fake_disk_slot(source, number);
        uint64_t size;
        const uint8_t *data;

        if (slot < 0)
            continue;
        data = hf_fake_disk_data(source, number, &size);
        if (target->images[slot].size != size || memcmp(target->images[slot].data, data, size) != 0)
            return false;
    }
    return true;
}

uint8_t *hf_fake_target_image(struct hf_fake_target *target, unsigned slot, uint64_t *ret_size)
{
    *ret_size = target->images[slot].size;
    return target->images[slot].data;
}

uint64_t hf_fake_target_seq(struct hf_fake_target *target)
{
    return target->durable.seq;
}

void hf_fake_target_get_counts(struct hf_fake_target *target,
                               struct hf_fake_target_counts *ret_counts)
{
    *ret_counts = target->counts;
}
