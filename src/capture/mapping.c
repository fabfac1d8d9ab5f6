// SPDX-License-Identifier: Apache-2.0
/*
 * The pinned memory in our address space. The ring's data pages appear twice in a row there, so
 * that every record is contiguous; its pages are the kernel's own, nothing is copied.
 */
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "capture/capture-internal.h"

static int map_array(int fd, size_t bytes, size_t page_bytes, void **ret_memory)
{
    void *memory =
        mmap(NULL, HF_ALIGN_UP(bytes, page_bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (memory == MAP_FAILED)
        return -errno;
    *ret_memory = memory;
    return 0;
}

static void unmap_array(void *memory, size_t bytes, size_t page_bytes)
{
    if (memory)
        munmap(memory, HF_ALIGN_UP(bytes, page_bytes));
}

/* First page: consumer position (ours to write); second: producer position; then the data, twice.
 */
static int map_ring(struct hf_capture *capture)
{
    size_t page = capture->page_bytes;
    size_t rest = page + 2 * capture->ring_bytes;
    void *consumer, *producer;

    consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, capture->ring_fd, 0);
    if (consumer == MAP_FAILED)
        return -errno;
    capture->consumer = consumer;
    producer = mmap(NULL, rest, PROT_READ, MAP_SHARED, capture->ring_fd, (off_t)page);
    if (producer == MAP_FAILED)
        return -errno;
    capture->producer = producer;
    capture->data = (const uint8_t *)producer + page;
    return 0;
}

static int watch_ring(struct hf_capture *capture)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};

    capture->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (capture->epoll_fd < 0 ||
        epoll_ctl(capture->epoll_fd, EPOLL_CTL_ADD, capture->ring_fd, &event))
        return -errno;
    return 0;
}

int hf_capture_map_memory(struct hf_capture *capture)
{
    size_t page = capture->page_bytes;
    void *memory[5] = {NULL};
    int rc = map_array(capture->control_fd, sizeof(*capture->control), page, &memory[0]);

    capture->control = memory[0];
    if (!rc)
        rc = map_array(capture->state_fd, sizeof(*capture->state), page, &memory[1]);
    capture->state = memory[1];
    if (!rc)
        rc = map_array(capture->buckets_fd, HF_CAPTURE_BUCKETS * sizeof(*capture->buckets), page,
                       &memory[2]);
    capture->buckets = memory[2];
    if (!rc)
        rc = map_array(capture->inflight_fd, HF_CAPTURE_INFLIGHT_MAX * sizeof(*capture->inflight),
                       page, &memory[3]);
    capture->inflight = memory[3];
    if (!rc)
        rc = map_array(capture->cells_fd, HF_CAPTURE_CELLS * sizeof(*capture->cells), page,
                       &memory[4]);
    capture->cells = memory[4];
    if (!rc)
        rc = map_ring(capture);
    return rc ? rc : watch_ring(capture);
}

void hf_capture_unmap_memory(struct hf_capture *capture)
{
    size_t page = capture->page_bytes;

    unmap_array(capture->control, sizeof(*capture->control), page);
    unmap_array(capture->state, sizeof(*capture->state), page);
    unmap_array(capture->buckets, HF_CAPTURE_BUCKETS * sizeof(*capture->buckets), page);
    unmap_array(capture->inflight, HF_CAPTURE_INFLIGHT_MAX * sizeof(*capture->inflight), page);
    unmap_array(capture->cells, HF_CAPTURE_CELLS * sizeof(*capture->cells), page);
    if (capture->consumer)
        munmap((void *)capture->consumer, page);
    if (capture->producer)
        munmap((void *)capture->producer, page + 2 * capture->ring_bytes);
    for (unsigned i = 0; i < HF_MAP_COUNT; i++)
        unmap_array(capture->bits[i].words, capture->bits[i].map_bytes, page);
    if (capture->epoll_fd >= 0)
        close(capture->epoll_fd);
}
