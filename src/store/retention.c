// SPDX-License-Identifier: Apache-2.0
#include "store/retention.h"

#include <string.h>

#include "base/base.h"

void hf_retention_init(struct hf_retention_clock *clock, uint64_t window_ns)
{
    memset(clock, 0, sizeof(*clock));
    clock->interval_ns = window_ns / (HF_RETENTION_SAMPLES_MAX / 2);
}

static const struct hf_retention_sample *sample(const struct hf_retention_clock *clock, size_t i)
{
    return &clock->samples[(clock->first + i) % HF_RETENTION_SAMPLES_MAX];
}

/* Every second sample goes, and samples come half as often: history may outgrow its window while a
 * lease or a pass keeps it. */
static void thin_out(struct hf_retention_clock *clock)
{
    size_t kept = 0;

    for (size_t i = 0; i < clock->count; i += 2)
        clock->samples[(clock->first + kept++) % HF_RETENTION_SAMPLES_MAX] = *sample(clock, i);
    clock->count = kept;
    clock->interval_ns = clock->interval_ns * 2 + 1;
}

void hf_retention_batch(struct hf_retention_clock *clock, uint64_t position, int64_t receipt_ns)
{
    int64_t step = clock->begun ? receipt_ns - clock->receipt_ns : 0;
    const struct hf_retention_sample *last;

    clock->begun = true;
    clock->receipt_ns = receipt_ns;
    if (step > 0 && (uint64_t)step <= HF_RETENTION_JUMP_MAX_NS)
        clock->age_ns += (uint64_t)step;
    else if (step != 0)
        clock->jumps++;
    last = clock->count > 0 ? sample(clock, clock->count - 1) : NULL;
    if (last != NULL && clock->age_ns - last->age_ns < clock->interval_ns)
        return;
    if (clock->count == HF_RETENTION_SAMPLES_MAX)
        thin_out(clock);
    clock->samples[(clock->first + clock->count) % HF_RETENTION_SAMPLES_MAX] =
        (struct hf_retention_sample){position, clock->age_ns};
    clock->count++;
}

void hf_retention_point(struct hf_retention_clock *clock, uint64_t position)
{
    clock->has_openable = true;
    clock->openable_position = position;
    clock->openable_age_ns = clock->age_ns;
}

bool hf_retention_floor(const struct hf_retention_clock *clock, uint64_t window_ns,
                        uint64_t *ret_position)
{
    bool found = false;

    if (!clock->has_openable || clock->openable_age_ns < window_ns)
        return false;
    for (size_t i = 0; i < clock->count; i++) {
        const struct hf_retention_sample *s = sample(clock, i);

        if (s->age_ns > clock->openable_age_ns - window_ns ||
            s->position > clock->openable_position)
            break;
        *ret_position = s->position;
        found = true;
    }
    return found;
}

uint64_t hf_retention_next(const struct hf_retention_clock *clock, uint64_t position,
                           uint64_t otherwise)
{
    for (size_t i = 0; i < clock->count; i++) {
        if (sample(clock, i)->position >= position)
            return HF_MIN(sample(clock, i)->position, otherwise);
    }
    return otherwise;
}

uint64_t hf_retention_history_ns(const struct hf_retention_clock *clock, uint64_t oldest)
{
    uint64_t age = 0;

    for (size_t i = 0; i < clock->count && sample(clock, i)->position <= oldest; i++)
        age = sample(clock, i)->age_ns;
    return clock->openable_age_ns > age ? clock->openable_age_ns - age : 0;
}

void hf_retention_forget(struct hf_retention_clock *clock, uint64_t position)
{
    while (clock->count > 1 && sample(clock, 1)->position <= position) {
        clock->first = (clock->first + 1) % HF_RETENTION_SAMPLES_MAX;
        clock->count--;
    }
}
