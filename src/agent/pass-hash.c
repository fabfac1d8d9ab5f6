// SPDX-License-Identifier: Apache-2.0
/*
 * The HASH pass: a range is compared in windows. For each window the target gives its hashes of
 * 64 KiB blocks; the worker reads the same blocks here and compares; inside those that differ the
 * same is done once more with 4 KiB blocks, and what differs then is read and sent.
 *
 * It may compare with a target that moves: bytes captured since PASS_BEGIN override the pass
 * anyway, and bytes not captured since are the same at any moment, so an equality seen at any
 * moment is an equality that matters. The hashes' seed is the disk's secret.
 *
 * A window is in one state at a time: the engine's thread asks and fills in answers, the worker
 * compares and sends. Several windows are open so that questions travel while disks are read.
 */
#include "agent/pass-internal.h"

#include <string.h>

#include "base/base.h"
#include "base/error.h"

void hf_pass_windows_reset_locked(struct hf_pass *pass)
{
    for (size_t i = 0; i < HF_PASS_WINDOWS; i++)
        pass->windows[i].state = HF_WINDOW_EMPTY;
}

bool hf_pass_windows_busy_locked(const struct hf_pass *pass)
{
    for (size_t i = 0; i < HF_PASS_WINDOWS; i++)
        if (pass->windows[i].state != HF_WINDOW_EMPTY)
            return true;
    return false;
}

static struct hf_pass_window *window_in(struct hf_pass *pass, enum hf_window_state state)
{
    for (size_t i = 0; i < HF_PASS_WINDOWS; i++)
        if (pass->windows[i].state == state)
            return &pass->windows[i];
    return NULL;
}

/* ---- the engine's thread: questions and answers ---- */

/* A request names its window and where in it: a coarse block, or REQUEST_COARSE. */
#define REQUEST_SHIFT 16
#define REQUEST_COARSE 0xffffu

static uint64_t request_of(const struct hf_pass_window *window, uint32_t where)
{
    return window->serial << REQUEST_SHIFT | where;
}

/* The next run [*block, *end) of differing coarse blocks from *block on; false: none. */
static bool next_run(const struct hf_pass_window *window, uint32_t *block, uint32_t *ret_end)
{
    uint32_t end;

    while (*block < window->block_count && !window->differs[*block])
        ++*block;
    for (end = *block; end < window->block_count && window->differs[end];)
        end++;
    *ret_end = end;
    return end > *block;
}

static uint32_t fine_count(const struct hf_pass_window *window, uint32_t block, uint32_t end)
{
    uint64_t from = (uint64_t)block * HF_PASS_COARSE_BYTES;
    uint64_t to = HF_MIN((uint64_t)end * HF_PASS_COARSE_BYTES, window->length);

    return (uint32_t)((to - from + HF_PASS_FINE_BYTES - 1) / HF_PASS_FINE_BYTES);
}

static void ask_coarse(struct hf_pass_window *window, struct hf_msg_hash_get *ret_get)
{
    window->state = HF_WINDOW_WAIT_COARSE;
    *ret_get = (struct hf_msg_hash_get){
        .request = request_of(window, REQUEST_COARSE),
        .disk = window->chunk.disk,
        .block_size = HF_PASS_COARSE_BYTES,
        .offset = window->offset,
        .count = window->block_count,
    };
}

static bool ask_fine(struct hf_pass_window *window, struct hf_msg_hash_get *ret_get)
{
    uint32_t end;

    if (!next_run(window, &window->ask_block, &end))
        return false;
    *ret_get = (struct hf_msg_hash_get){
        .request = request_of(window, window->ask_block),
        .disk = window->chunk.disk,
        .block_size = HF_PASS_FINE_BYTES,
        .offset = window->offset + (uint64_t)window->ask_block * HF_PASS_COARSE_BYTES,
        .count = fine_count(window, window->ask_block, end),
    };
    window->ask_block = end;
    window->waiting++;
    return true;
}

bool hf_pass_hash_get(struct hf_pass *pass, struct hf_msg_hash_get *ret_get)
{
    struct hf_pass_window *window;
    bool found = false;

    pthread_mutex_lock(&pass->lock);
    if (pass->active && pass->running) {
        for (size_t i = 0; i < HF_PASS_WINDOWS && !found; i++)
            found =
                pass->windows[i].state == HF_WINDOW_FINE && ask_fine(&pass->windows[i], ret_get);
        window = found ? NULL : window_in(pass, HF_WINDOW_ASK_COARSE);
        if (window) {
            ask_coarse(window, ret_get);
            found = true;
        }
    }
    pthread_mutex_unlock(&pass->lock);
    return found;
}

/* Without usable hashes (the target has no whole image of this disk) everything differs. */
static void take_coarse(struct hf_pass_window *window, const struct hf_msg_hash_list *list)
{
    bool usable = list->error == 0 && list->count == window->block_count;

    window->secret = list->secret;
    if (usable)
        memcpy(window->coarse, list->hashes, list->count * sizeof(window->coarse[0]));
    for (uint32_t i = 0; i < window->block_count; i++) {
        window->differs[i] = !usable;
        for (uint32_t j = 0; j < HF_PASS_FINE_PER_COARSE; j++)
            window->fine_differs[i][j] = !usable;
    }
    window->state = usable ? HF_WINDOW_COMPARE : HF_WINDOW_SEND;
}

static void take_fine(struct hf_pass_window *window, const struct hf_msg_hash_list *list)
{
    uint32_t block = (uint32_t)(list->request & REQUEST_COARSE), end, rest;
    bool usable;

    if (!next_run(window, &block, &end) || window->waiting == 0)
        return;
    usable = list->error == 0 && list->count == fine_count(window, block, end) &&
             list->secret == window->secret;
    for (uint32_t i = 0; i < fine_count(window, block, end); i++) {
        uint32_t coarse = block + i / HF_PASS_FINE_PER_COARSE;
        uint32_t fine = i % HF_PASS_FINE_PER_COARSE;

        window->fine_differs[coarse][fine] =
            !usable || hf_hash128_compare(&list->hashes[i], &window->fine[coarse][fine]) != 0;
    }
    window->waiting--;
    rest = window->ask_block;
    if (window->waiting == 0 && !next_run(window, &rest, &end))
        window->state = HF_WINDOW_SEND;
}

void hf_pass_hash_list(struct hf_pass *pass, const struct hf_msg_hash_list *list)
{
    pthread_mutex_lock(&pass->lock);
    for (size_t i = 0; i < HF_PASS_WINDOWS; i++) {
        struct hf_pass_window *window = &pass->windows[i];

        if (window->serial != list->request >> REQUEST_SHIFT)
            continue;
        if (window->state == HF_WINDOW_WAIT_COARSE)
            take_coarse(window, list);
        else if (window->state == HF_WINDOW_FINE)
            take_fine(window, list);
        pthread_cond_broadcast(&pass->changed);
    }
    pthread_mutex_unlock(&pass->lock);
}

/* ---- the worker's thread: comparing and sending ---- */

/* Opens windows until all are in use; false when nothing was left to take. */
static bool windows_fill(struct hf_pass *pass)
{
    bool taken = false;

    pthread_mutex_lock(&pass->lock);
    while (hf_pass_same_run_locked(pass)) {
        struct hf_pass_window *window = window_in(pass, HF_WINDOW_EMPTY);
        uint64_t bytes = (uint64_t)(HF_PASS_WINDOW_BLOCKS - 2) * HF_PASS_COARSE_BYTES;
        struct hf_pass_chunk chunk;
        uint64_t end;

        if (!window || !hf_pass_take_locked(pass, bytes, &chunk))
            break;
        pass->worker_busy = false; /* the window has it */
        HF_ASSERT(chunk.length <= bytes);
        end = HF_ALIGN_UP(chunk.offset + chunk.length, (uint64_t)HF_PASS_COARSE_BYTES);
        window->chunk = chunk;
        window->offset = HF_ALIGN_DOWN(chunk.offset, (uint64_t)HF_PASS_COARSE_BYTES);
        window->length = HF_MIN(end, pass->disk_bytes[chunk.disk]) - window->offset;
        window->block_count =
            (uint32_t)((window->length + HF_PASS_COARSE_BYTES - 1) / HF_PASS_COARSE_BYTES);
        window->serial = ++pass->window_serial;
        window->ask_block = 0;
        window->waiting = 0;
        window->state = HF_WINDOW_ASK_COARSE;
        taken = true;
    }
    pthread_mutex_unlock(&pass->lock);
    return taken;
}

static void hash_fine(const uint8_t *data, uint64_t length, uint64_t secret,
                      struct hf_hash128 *ret_hashes)
{
    for (uint64_t at = 0, i = 0; at < length; at += HF_PASS_FINE_BYTES, i++)
        ret_hashes[i] = hf_hash128(data + at, HF_MIN(HF_PASS_FINE_BYTES, length - at), secret);
}

/* Compares the coarse blocks in [from, from + part) of the window, which the buffer holds. */
static bool compare_part(struct hf_pass *pass, struct hf_pass_window *window, uint64_t from,
                         uint64_t part)
{
    bool any = false;

    for (uint64_t at = 0; at < part; at += HF_PASS_COARSE_BYTES) {
        uint32_t block = (uint32_t)((from + at) / HF_PASS_COARSE_BYTES);
        uint64_t length = HF_MIN(HF_PASS_COARSE_BYTES, part - at);
        struct hf_hash128 here = hf_hash128(pass->buffer + at, length, window->secret);

        window->differs[block] = hf_hash128_compare(&here, &window->coarse[block]) != 0;
        if (window->differs[block]) {
            hash_fine(pass->buffer + at, length, window->secret, window->fine[block]);
            any = true;
        }
    }
    return any;
}

/* What the worker leaves a window in, unless the run ended meanwhile. */
static void window_leave(struct hf_pass *pass, struct hf_pass_window *window,
                         enum hf_window_state state, bool equal)
{
    pthread_mutex_lock(&pass->lock);
    if (hf_pass_same_run_locked(pass)) {
        if (equal)
            hf_pass_clear_locked(pass, &window->chunk);
        window->state = state;
        pthread_cond_broadcast(&pass->changed);
    }
    pthread_mutex_unlock(&pass->lock);
}

static int window_compare(struct hf_pass *pass, struct hf_pass_window *window)
{
    bool any = false;
    int error = hf_pass_may_read(pass, window->chunk.disk, window->offset, window->length);

    for (uint64_t from = 0; from < window->length && !error;) {
        uint64_t part = HF_MIN(HF_PASS_CHUNK_BYTES, window->length - from);

        error = hf_pass_read(pass, window->chunk.disk, window->offset + from, part);
        if (!error)
            any = compare_part(pass, window, from, part) || any;
        from += part;
    }
    if (!error)
        window_leave(pass, window, any ? HF_WINDOW_FINE : HF_WINDOW_EMPTY, !any);
    return error;
}

static bool fine_at(const struct hf_pass_window *window, uint64_t at)
{
    return window
        ->fine_differs[at / HF_PASS_COARSE_BYTES][at % HF_PASS_COARSE_BYTES / HF_PASS_FINE_BYTES];
}

static int window_send(struct hf_pass *pass, struct hf_pass_window *window)
{
    int error = hf_pass_may_read(pass, window->chunk.disk, window->offset, window->length);
    bool any = false;

    for (uint64_t from = 0; from < window->length && !error;) {
        uint64_t to = from;

        while (to < window->length && fine_at(window, to))
            to += HF_PASS_FINE_BYTES;
        if (to > from) {
            error = hf_pass_send_range(pass, window->chunk.disk, window->offset + from,
                                       HF_MIN(to, window->length) - from);
            any = true;
        }
        from = HF_MAX(to, from + HF_PASS_FINE_BYTES);
    }
    if (error)
        return error;
    if (any)
        hf_pass_commit(pass, &window->chunk, true);
    window_leave(pass, window, HF_WINDOW_EMPTY, !any);
    return 0;
}

/* A read that met an older write in flight: the window waits for its next turn. */
static int turn_over(int error, uint64_t *ret_wait_ns)
{
    if (error == -EAGAIN) {
        *ret_wait_ns = HF_PASS_IN_FLIGHT_WAIT_NS;
        return 0;
    }
    return error ? error : 1;
}

static struct hf_pass_window *my_turn(struct hf_pass *pass)
{
    struct hf_pass_window *window;

    pthread_mutex_lock(&pass->lock);
    window = window_in(pass, HF_WINDOW_SEND);
    if (!window)
        window = window_in(pass, HF_WINDOW_COMPARE);
    pthread_mutex_unlock(&pass->lock);
    return window;
}

static int end_of_hash_walk(struct hf_pass *pass)
{
    bool busy;
    int error;

    pthread_mutex_lock(&pass->lock);
    busy = hf_pass_windows_busy_locked(pass);
    pthread_mutex_unlock(&pass->lock);
    if (busy || !pass->open)
        return 0;
    error = hf_pass_flush(pass);
    return error ? error : 1;
}

int hf_pass_hash_work(struct hf_pass *pass, uint64_t *ret_wait_ns)
{
    bool taken = windows_fill(pass);
    struct hf_pass_window *window = my_turn(pass);

    if (window && window->state == HF_WINDOW_SEND)
        return turn_over(window_send(pass, window), ret_wait_ns);
    if (window)
        return turn_over(window_compare(pass, window), ret_wait_ns);
    return taken ? 1 : end_of_hash_walk(pass);
}
