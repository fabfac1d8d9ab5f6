// SPDX-License-Identifier: Apache-2.0
/*
 * Plain files, with batches through io_uring. Single calls stay with pread and pwrite, which cost
 * less for one operation. A batch takes a ring of its own for as long as it runs, so several
 * threads run batches side by side; there are few rings, made when first needed.
 *
 * The rule that everything here serves: `run` does not return while the kernel may still read or
 * write a caller's buffer.
 */
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/clock.h"
#include "io/file-internal.h"

#define RINGS_MAX 4
#define BEST_DEPTH 32
#define OP_BYTES_MAX                                                                               \
    ((size_t)1 << 30) /* a ring's lengths are 32 bits; the rest goes the short way */
#define DRAIN_POLL_NS (HF_NS_PER_MS)

struct ring {
    struct io_uring uring;
    bool made;
    bool busy;
};

struct uring_io {
    struct hf_file_io base;
    struct hf_io_ops ops;
    unsigned depth;
    pthread_mutex_t lock; /* guards made and busy of the rings */
    pthread_cond_t freed;
    struct ring rings[RINGS_MAX];
};

struct batch {
    struct ring *ring;
    struct hf_io_op *ops;
    size_t count;
    size_t next;     /* the first that the ring has not been given */
    size_t inflight; /* given and not completed */
    size_t depth;
    bool done[HF_IO_BATCH_MAX];
};

/* ---- Rings ---- */

static int ring_make(struct ring *ring, unsigned depth)
{
    int error = io_uring_queue_init(depth, &ring->uring, 0);

    if (!error)
        ring->made = true;
    return error;
}

static void ring_destroy(struct ring *ring)
{
    if (ring->made)
        io_uring_queue_exit(&ring->uring);
    ring->made = false;
}

/* A free ring that is made or can be made. ret_wait: none is free, but one will be. */
static struct ring *find_ring(struct uring_io *self, bool *ret_wait)
{
    *ret_wait = false;
    for (size_t i = 0; i < RINGS_MAX; i++)
        if (self->rings[i].made && !self->rings[i].busy)
            return &self->rings[i];
    for (size_t i = 0; i < RINGS_MAX; i++) {
        if (!self->rings[i].busy && ring_make(&self->rings[i], self->depth) == 0)
            return &self->rings[i];
        if (self->rings[i].busy)
            *ret_wait = true;
    }
    return NULL;
}

/* NULL when no ring can be had at all: the batch then goes without. */
static struct ring *ring_take(struct uring_io *self)
{
    struct ring *ring;
    bool wait;

    pthread_mutex_lock(&self->lock);
    while (!(ring = find_ring(self, &wait)) && wait)
        pthread_cond_wait(&self->freed, &self->lock);
    if (ring)
        ring->busy = true;
    pthread_mutex_unlock(&self->lock);
    return ring;
}

static void ring_give(struct uring_io *self, struct ring *ring)
{
    pthread_mutex_lock(&self->lock);
    ring->busy = false;
    pthread_cond_signal(&self->freed);
    pthread_mutex_unlock(&self->lock);
}

/* ---- Batches ---- */

static void prepare(struct batch *batch, size_t index)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&batch->ring->uring);
    const struct hf_io_op *op = &batch->ops[index];
    int fd = ((struct hf_file_file *)op->file)->fd;
    unsigned size = (unsigned)HF_MIN(op->size, OP_BYTES_MAX);

    HF_ASSERT(sqe); /* no more are in flight than the ring holds */
    if (op->kind == HF_IO_READ)
        io_uring_prep_read(sqe, fd, op->data, size, op->offset);
    else
        io_uring_prep_write(sqe, fd, op->data, size, op->offset);
    io_uring_sqe_set_data64(sqe, index);
    batch->inflight++;
}

/* What came out short or was put off is done again as a whole with blocking calls, which know how
 * to go on: rare, and the same bytes go to the same place. */
static void complete(struct batch *batch, size_t index, int result)
{
    struct hf_io_op *op = &batch->ops[index];

    HF_ASSERT(index < batch->count && !batch->done[index]);
    if (result == -EINTR || result == -EAGAIN || (result >= 0 && (size_t)result < op->size))
        op->result = hf_file_run_op(op);
    else
        op->result = result < 0 ? result : 0;
    batch->done[index] = true;
    batch->inflight--;
}

static void reap(struct batch *batch)
{
    struct io_uring_cqe *cqe;

    while (batch->inflight > 0 && io_uring_peek_cqe(&batch->ring->uring, &cqe) == 0) {
        size_t index = (size_t)io_uring_cqe_get_data64(cqe);
        int result = cqe->res;

        io_uring_cqe_seen(&batch->ring->uring, cqe);
        complete(batch, index, result);
    }
}

/* The ring refuses to work. What the kernel has taken is waited for without it; then the ring goes,
 * and with it what it had not taken. */
static void drain(struct batch *batch)
{
    struct hf_clock *clock = hf_clock_system();

    while (batch->inflight > io_uring_sq_ready(&batch->ring->uring)) {
        reap(batch);
        clock->ops->sleep_ns(clock, DRAIN_POLL_NS);
    }
    ring_destroy(batch->ring);
}

static void run_on_ring(struct batch *batch)
{
    while (batch->next < batch->count || batch->inflight > 0) {
        int result;

        while (batch->next < batch->count && batch->inflight < batch->depth)
            prepare(batch, batch->next++);
        result = io_uring_submit_and_wait(&batch->ring->uring, 1);
        if (result < 0 && result != -EINTR && result != -EAGAIN && result != -EBUSY) {
            drain(batch);
            return;
        }
        reap(batch);
    }
}

static int uring_run(struct hf_io *io, struct hf_io_op *ops, size_t count)
{
    struct uring_io *self = (struct uring_io *)io;
    struct batch batch = {.ops = ops, .count = count, .depth = self->depth};
    int first = 0;

    HF_ASSERT(count <= HF_IO_BATCH_MAX);
    if (count > 1)
        batch.ring = ring_take(self);
    if (batch.ring) {
        run_on_ring(&batch);
        ring_give(self, batch.ring);
    }
    for (size_t i = 0; i < count; i++) {
        if (!batch.done[i])
            ops[i].result = hf_file_run_op(&ops[i]);
        if (first == 0)
            first = ops[i].result;
    }
    return first;
}

/* ---- Making ---- */

static void uring_free(struct hf_io *io)
{
    struct uring_io *self = (struct uring_io *)io;

    for (size_t i = 0; i < RINGS_MAX; i++) {
        HF_ASSERT(!self->rings[i].busy);
        ring_destroy(&self->rings[i]);
    }
    pthread_cond_destroy(&self->freed);
    pthread_mutex_destroy(&self->lock);
    hf_file_io_done(&self->base);
    free(self);
}

/* io_uring may be there and yet be too old, or refused by sysctl or seccomp. */
static int check_support(struct ring *ring)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->uring);
    bool supported = probe && io_uring_opcode_supported(probe, IORING_OP_READ) &&
                     io_uring_opcode_supported(probe, IORING_OP_WRITE);

    io_uring_free_probe(probe);
    return supported ? 0 : -ENOSYS;
}

static int uring_init(struct uring_io *self, const char *root, unsigned depth)
{
    int error;

    self->ops = hf_file_ops;
    self->ops.free = uring_free;
    self->ops.run = uring_run;
    self->depth = depth;
    error = hf_file_io_init(&self->base, &self->ops, root);
    if (error)
        return error;
    error = ring_make(&self->rings[0], depth);
    if (!error)
        error = check_support(&self->rings[0]);
    if (error) {
        ring_destroy(&self->rings[0]);
        hf_file_io_done(&self->base);
        return error;
    }
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->freed, NULL);
    return 0;
}

int hf_io_uring_new(const char *root, unsigned depth, struct hf_io **ret_io)
{
    struct uring_io *self;
    int error;

    if (depth == 0 || depth > HF_IO_BATCH_MAX)
        return -EINVAL;
    self = calloc(1, sizeof(*self));
    if (!self)
        return -ENOMEM;
    error = uring_init(self, root, depth);
    if (error) {
        free(self);
        return error;
    }
    *ret_io = &self->base.io;
    return 0;
}

int hf_io_best_new(const char *root, struct hf_io **ret_io)
{
    return hf_io_uring_new(root, BEST_DEPTH, ret_io) == 0 ? 0 : hf_io_file_new(root, ret_io);
}
