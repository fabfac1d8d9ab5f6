// SPDX-License-Identifier: Apache-2.0
#include "store/store-model.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

void hf_model_content(uint64_t seed, void *content, size_t size)
{
    uint64_t x = seed;

    for (size_t i = 0; i < size; i += sizeof(x)) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        memcpy((uint8_t *)content + i, &x, HF_MIN(sizeof(x), size - i));
    }
}

void hf_model_op_add(struct hf_model *model, const struct hf_model_op *op)
{
    size_t at = model->op_count;

    model->ops = realloc(model->ops, (model->op_count + 1) * sizeof(*model->ops));
    HF_ASSERT(model->ops != NULL);
    while (at > 0 && model->ops[at - 1].position > op->position)
        at--;
    memmove(&model->ops[at + 1], &model->ops[at], (model->op_count - at) * sizeof(*op));
    model->ops[at] = *op;
    model->op_count++;
}

void hf_model_event_add(struct hf_model *model, const struct hf_model_event *event)
{
    model->events = realloc(model->events, (model->event_count + 1) * sizeof(*model->events));
    HF_ASSERT(model->events != NULL);
    model->events[model->event_count++] = *event;
}

static bool never_came(const struct hf_model_op *op, uint64_t position, uint64_t pass_position,
                       uint64_t pass_batch)
{
    if (op->position > position)
        return true;
    return op->pass != 0 && op->position == pass_position && op->pass_batch >= pass_batch;
}

void hf_model_truncate(struct hf_model *model, uint64_t position, uint64_t pass_position,
                       uint64_t pass_batch)
{
    size_t kept = 0, events = 0;

    for (size_t i = 0; i < model->op_count; i++) {
        if (!never_came(&model->ops[i], position, pass_position, pass_batch))
            model->ops[kept++] = model->ops[i];
    }
    model->op_count = kept;
    for (size_t i = 0; i < model->event_count; i++) {
        const struct hf_model_event *event = &model->events[i];

        if (event->position < position || (event->position == position && event->type != 0))
            model->events[events++] = *event;
    }
    model->event_count = events;
}

void hf_model_clear(struct hf_model *model)
{
    free(model->ops);
    free(model->events);
    memset(model, 0, sizeof(*model));
}

/* ---- Naive answers ---- */

struct answer {
    bool consistent;
    uint64_t pass;
    uint64_t complete;
    uint64_t present;
};

static void on_pass_end(struct answer *answer, const struct hf_model_event *event)
{
    if (event->pass != answer->pass || !(event->flags & HF_PASS_COMPLETE))
        return;
    answer->complete |= event->disk_mask & answer->present;
    answer->pass = 0;
    if (!(event->flags & HF_PASS_ADDED_DISK))
        answer->consistent = true;
}

static void on_event(struct answer *answer, const struct hf_model_event *event)
{
    switch (event->type) {
    case 0:
        answer->consistent = false;
        answer->pass = 0;
        break;
    case HF_RECORD_GAP:
        answer->consistent = false;
        break;
    case HF_RECORD_PASS_BEGIN:
        answer->pass = event->pass;
        if (!(event->flags & HF_PASS_ADDED_DISK))
            answer->consistent = false;
        break;
    case HF_RECORD_PASS_END:
        on_pass_end(answer, event);
        break;
    case HF_RECORD_DISK:
        if (event->change == HF_DISK_REMOVE) {
            answer->present &= ~event->disk_mask;
            answer->complete &= ~event->disk_mask;
        } else {
            answer->present |= event->disk_mask;
        }
        break;
    default:
        break;
    }
}

static struct answer answer_at(const struct hf_model *model, uint64_t position)
{
    struct answer answer = {0};

    for (size_t i = 0; i < model->event_count; i++) {
        const struct hf_model_event *event = &model->events[i];

        if (event->position < position || (event->position == position && event->type != 0))
            on_event(&answer, event);
    }
    return answer;
}

bool hf_model_openable(const struct hf_model *model, uint64_t position)
{
    struct answer answer = answer_at(model, position);

    return answer.consistent && answer.complete != 0;
}

uint64_t hf_model_disks(const struct hf_model *model, uint64_t position)
{
    return answer_at(model, position).complete;
}

uint64_t hf_model_size(const struct hf_model *model, uint64_t position, uint16_t disk)
{
    uint64_t size = 0;

    for (size_t i = 0; i < model->event_count; i++) {
        const struct hf_model_event *event = &model->events[i];

        if (event->position <= position && event->type == HF_RECORD_DISK &&
            event->change != HF_DISK_REMOVE && event->disk_mask == UINT64_C(1) << disk)
            size = event->size_bytes;
    }
    return size;
}

static void apply(const struct hf_model_op *op, uint8_t *image, size_t size)
{
    uint8_t content[HF_RECORD_CONTENT_MAX];

    if (op->offset >= size)
        return;
    if (op->seed == 0) {
        memset(image + op->offset, 0, HF_MIN(op->length, size - op->offset));
        return;
    }
    hf_model_content(op->seed, content, op->length);
    memcpy(image + op->offset, content, HF_MIN(op->length, size - op->offset));
}

void hf_model_image(const struct hf_model *model, uint64_t position, uint16_t disk, void *image,
                    size_t size)
{
    memset(image, 0, size);
    for (size_t i = 0; i < model->op_count; i++) {
        if (model->ops[i].position <= position && model->ops[i].disk == disk)
            apply(&model->ops[i], image, size);
    }
}
