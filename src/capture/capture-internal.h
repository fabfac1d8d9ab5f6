// SPDX-License-Identifier: Apache-2.0
/* Private to this folder: the handle and what its files lend each other. */
#ifndef HF_CAPTURE_INTERNAL_H
#define HF_CAPTURE_INTERNAL_H

#include <stdatomic.h>

#include "base/base.h"
#include "base/error.h"
#include "capture/capture.h"

#define HF_CAPTURE_PATH_MAX 256
#define HF_CAPTURE_LINKS 6

/* The pinned value behind the agent's state. */
struct hf_capture_state_page {
    uint8_t agent[HF_AGENT_STATE_BYTES];
    uint8_t page[4096];
};

/* One inner map, mapped. words is NULL when the slot, target, kind and generation have none. */
struct hf_capture_bits {
    uint64_t *words;
    size_t map_bytes;
    uint64_t bit_count;
    uint32_t shift;
};

struct hf_capture {
    char directory[HF_CAPTURE_PATH_MAX];
    int dir_fd; /* locked: one process at a time */
    bool adopted;
    int ring_fd, control_fd, state_fd, counters_fd, watch_fd, buckets_fd, inflight_fd, cells_fd,
        bits_fd, command_fd, stub_issue_fd;
    int epoll_fd;
    _Atomic uint64_t next_number; /* of records put by commands */
    size_t page_bytes;

    struct hf_capture_control *control;
    struct hf_capture_state_page *state;
    struct hf_capture_bucket *buckets;
    struct hf_capture_inflight *inflight;
    uint64_t *cells;

    _Atomic unsigned long *consumer;
    const _Atomic unsigned long *producer;
    const uint8_t *data;
    uint64_t ring_mask;
    uint64_t ring_bytes;

    struct hf_capture_bits bits[HF_MAP_COUNT];
};

/* object.c: the program, its pins. */
int hf_capture_object_create(struct hf_capture *capture, uint32_t ring_bytes);
int hf_capture_object_adopt(struct hf_capture *capture);
/* Looks at the pinned control block before anything else is opened. -ENOENT: none, or never
 * finished; -HF_EVERSION: of another layout. Sets the ring's size. */
int hf_capture_peek_control(struct hf_capture *capture);
int hf_capture_object_attach(struct hf_capture *capture); /* pins the links of requests */
int hf_capture_object_attach_bios(struct hf_capture *capture);
int hf_capture_object_upgrade(struct hf_capture *capture); /* when this build's program differs */
uint64_t hf_capture_object_tag(void);
int hf_capture_pin_path(const struct hf_capture *capture, const char *name, char *path);
int hf_capture_remove_pins(int dir_fd);
/* Developer's aid: libbpf's and the verifier's messages on stderr. Off unless asked for. */
void hf_capture_set_verbose(bool verbose);

/* mapping.c */
int hf_capture_map_memory(struct hf_capture *capture);
void hf_capture_unmap_memory(struct hf_capture *capture);

/* ring.c */
uint64_t hf_capture_record_end(const struct hf_capture *capture, uint64_t position,
                               const struct hf_capture_record **ret_record);
void hf_capture_note_fill(struct hf_capture *capture, uint64_t *ret_fill, uint64_t *ret_age);

/* command.c */
int hf_capture_run(struct hf_capture *capture, struct hf_capture_command *command);
int hf_capture_put(struct hf_capture *capture, struct hf_capture_command *command,
                   const void *payload, size_t payload_bytes, struct hf_capture_view *ret_view);

/* page-address.c: finds and verifies K; 0, or -ENODATA when it cannot be verified. */
/* Before it is closed: what this process has found out holds for a later capture too. */
void hf_capture_remember_pages(const struct hf_capture *capture);
int hf_capture_find_pages(struct hf_capture *capture);

/* bits.c */
int hf_capture_bits_create(struct hf_capture *capture, unsigned slot, unsigned target,
                           uint64_t disk_bytes, uint32_t shift);
void hf_capture_bits_destroy(struct hf_capture *capture, unsigned slot);
int hf_capture_bits_adopt(struct hf_capture *capture);
int hf_capture_bits_regrow(struct hf_capture *capture, unsigned slot, unsigned target,
                           uint64_t disk_bytes, uint32_t shift);
uint64_t hf_capture_bits_memory(uint64_t disk_bytes, uint32_t shift);
uint32_t hf_capture_bits_shift(uint64_t disk_bytes, uint64_t budget_bytes);
void hf_capture_bits_fold(struct hf_capture *capture, unsigned slot, unsigned target,
                          enum hf_capture_map_kind kind);
void hf_capture_bits_spread(struct hf_capture_bits *bits);
void hf_capture_bits_set_all(struct hf_capture *capture, unsigned slot, unsigned cause);
struct hf_capture_bits *hf_capture_bits_of(struct hf_capture *capture, unsigned slot,
                                           unsigned target, enum hf_capture_map_kind kind,
                                           enum hf_capture_generation generation);

/* inflight.c: entries of a disk that nobody watches any more. */
void hf_capture_inflight_forget(struct hf_capture *capture, uint32_t dev);

/* mode.c */
int hf_capture_quiesce(struct hf_capture *capture);
int hf_capture_check_misses(struct hf_capture *capture);
void hf_capture_count_lost(struct hf_capture *capture, unsigned slot, unsigned cause);

uint64_t hf_capture_boot_ns(void);

static inline bool hf_capture_slot_used(const struct hf_capture *capture, unsigned slot)
{
    return slot < HF_CAPTURE_DISKS_MAX && (capture->control->disks[slot].flags & HF_DISK_ACTIVE);
}

#endif
