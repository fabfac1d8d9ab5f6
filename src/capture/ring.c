// SPDX-License-Identifier: Apache-2.0
/*
 * Reading the ring in place. Each record has a word of length in front of it, with a bit while the
 * kernel is still writing it. Positions are bytes since the capture began; the kernel keeps both
 * ends, and only a release moves the consumer's: whatever was not acknowledged is still there for
 * the next agent.
 */
#include <sys/epoll.h>

#include "capture/capture-internal.h"

#define RING_HEAD_BYTES 8
#define RING_BUSY (1u << 31)
#define RING_DISCARDED (1u << 30)

uint64_t hf_capture_consumer_position(const struct hf_capture *capture)
{
    return atomic_load_explicit(capture->consumer, memory_order_acquire);
}

uint64_t hf_capture_producer_position(const struct hf_capture *capture)
{
    return atomic_load_explicit(capture->producer, memory_order_acquire);
}

static const uint8_t *ring_at(const struct hf_capture *capture, uint64_t position)
{
    return capture->data + (position & capture->ring_mask);
}

uint64_t hf_capture_record_end(const struct hf_capture *capture, uint64_t position,
                               const struct hf_capture_record **ret_record)
{
    const uint8_t *at = ring_at(capture, position);
    uint32_t head = __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);
    uint64_t length = head & ~(RING_BUSY | RING_DISCARDED);

    *ret_record = (const void *)(at + RING_HEAD_BYTES);
    return position + HF_ALIGN_UP(length + RING_HEAD_BYTES, RING_HEAD_BYTES);
}

static bool record_plausible(const struct hf_capture_record *record, uint32_t length)
{
    return length >= sizeof(*record) && record->layout == HF_CAPTURE_LAYOUT &&
           record->content_bytes <= length - sizeof(*record) && record->slot < HF_CAPTURE_DISKS_MAX;
}

int hf_capture_peek(struct hf_capture *capture, uint64_t from_position,
                    struct hf_capture_view *ret_view)
{
    uint64_t producer = hf_capture_producer_position(capture);
    uint64_t position = from_position;

    if (from_position < hf_capture_consumer_position(capture) || from_position > producer ||
        from_position % RING_HEAD_BYTES)
        return -EINVAL;
    while (position < producer) {
        const uint8_t *at = ring_at(capture, position);
        uint32_t head = __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);
        uint32_t length = head & ~(RING_BUSY | RING_DISCARDED);
        uint64_t end = position + HF_ALIGN_UP((uint64_t)length + RING_HEAD_BYTES, RING_HEAD_BYTES);
        const struct hf_capture_record *record = (const void *)(at + RING_HEAD_BYTES);

        if (head & RING_BUSY)
            return -EAGAIN;
        if (end > producer)
            return -HF_ECORRUPT;
        position = end;
        if (head & RING_DISCARDED)
            continue;
        if (!record_plausible(record, length))
            return -HF_ECORRUPT;
        *ret_view = (struct hf_capture_view){.position = from_position,
                                             .position_end = end,
                                             .record = record,
                                             .content = record + 1};
        return 0;
    }
    return -EAGAIN;
}

/* How long the oldest record has been waiting, 0 when there is none. */
static uint64_t oldest_age_ns(struct hf_capture *capture)
{
    struct hf_capture_view view;
    uint64_t now = hf_capture_boot_ns();

    if (hf_capture_peek(capture, hf_capture_consumer_position(capture), &view))
        return 0;
    return now > view.record->boot_ns ? now - view.record->boot_ns : 0;
}

void hf_capture_note_fill(struct hf_capture *capture, uint64_t *ret_fill, uint64_t *ret_age)
{
    struct hf_capture_control *control = capture->control;
    uint64_t fill = hf_capture_producer_position(capture) - hf_capture_consumer_position(capture);
    uint64_t age = oldest_age_ns(capture);

    if (control->fill_bytes_max < fill)
        control->fill_bytes_max = fill;
    if (control->stall_ns_max < age)
        control->stall_ns_max = age;
    *ret_fill = fill;
    *ret_age = age;
}

int hf_capture_release(struct hf_capture *capture, uint64_t position)
{
    uint64_t fill, age;

    if (position > hf_capture_producer_position(capture))
        return -EINVAL;
    if (position <= hf_capture_consumer_position(capture))
        return 0;
    hf_capture_note_fill(capture, &fill, &age);
    atomic_store_explicit(capture->consumer, position, memory_order_release);
    return 0;
}

int hf_capture_wait(struct hf_capture *capture, uint64_t from_position, uint32_t level_bytes,
                    int timeout_ms)
{
    uint64_t level = from_position + level_bytes;
    uint64_t *wake = &capture->control->wake_position;
    struct epoll_event event;
    int rc = 0;

    __atomic_store_n(wake, level, __ATOMIC_SEQ_CST);
    if (hf_capture_producer_position(capture) < level &&
        epoll_wait(capture->epoll_fd, &event, 1, timeout_ms) < 0 && errno != EINTR)
        rc = -errno;
    __atomic_store_n(wake, UINT64_MAX, __ATOMIC_RELAXED);
    return rc;
}
