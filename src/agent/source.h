// SPDX-License-Identifier: Apache-2.0
/*
 * Where captured records come from. The agent sees its capture only through this table, so that the
 * same engine runs over eBPF (capture-source.c), in unit tests and under the simulator
 * (fake-source.c). Each call means what the hf_capture_ call of the same name in capture/capture.h
 * says, errors and threads included: peek, release and wait belong to the engine's thread, mark may
 * come from any thread; the back end serialises the others itself.
 */
#ifndef HF_AGENT_SOURCE_H
#define HF_AGENT_SOURCE_H

#include "capture/capture.h"

struct hf_source;

/* The table a back end fills: size and version first, it only grows at its end; every slot is
 * required. */
struct hf_source_ops {
    uint32_t size;
    uint32_t version; /* 1 */
    void (*free)(struct hf_source *source);
    void (*get_id)(struct hf_source *source, struct hf_id *ret_id);

    int (*peek)(struct hf_source *source, uint64_t from, struct hf_capture_view *ret_view);
    int (*release)(struct hf_source *source, uint64_t position);
    int (*wait)(struct hf_source *source, uint64_t from, uint32_t level_bytes, int timeout_ms);
    uint64_t (*consumer)(struct hf_source *source);
    uint64_t (*producer)(struct hf_source *source);

    int (*mark)(struct hf_source *source, uint32_t kind, const void *payload, size_t payload_bytes,
                bool need_data, uint64_t *ret_position, uint64_t *ret_position_end);
    int (*force_dirty)(struct hf_source *source, enum hf_capture_cause cause);
    int (*data_begin)(struct hf_source *source, uint32_t kind, const void *payload,
                      size_t payload_bytes, uint64_t *ret_position, uint64_t *ret_epoch);
    int (*pass_begin)(struct hf_source *source, uint32_t target_mask, uint32_t kind,
                      const void *payload, size_t payload_bytes, uint64_t *ret_position,
                      uint64_t *ret_epoch);
    int (*inflight_before)(struct hf_source *source, unsigned slot, uint64_t offset_bytes,
                           uint64_t length_bytes, uint64_t epoch);
    int (*inflight_expire)(struct hf_source *source, uint64_t age_ms);

    int (*generation_swap)(struct hf_source *source, enum hf_capture_map_kind kind, unsigned target,
                           uint32_t mark_kind, const void *payload, size_t payload_bytes,
                           uint64_t *ret_position);
    int64_t (*map_bit_bytes)(struct hf_source *source, unsigned slot);
    int (*map_read)(struct hf_source *source, unsigned slot, unsigned target,
                    enum hf_capture_map_kind kind, enum hf_capture_generation generation,
                    uint64_t *ret_words, size_t word_count);
    int (*map_next)(struct hf_source *source, unsigned slot, unsigned target,
                    enum hf_capture_map_kind kind, enum hf_capture_generation generation,
                    uint64_t from_bytes, uint64_t length_max, uint64_t *ret_offset_bytes,
                    uint64_t *ret_length_bytes);
    int (*map_clear)(struct hf_source *source, unsigned slot, unsigned target,
                     enum hf_capture_map_kind kind, uint64_t offset_bytes, uint64_t length_bytes);
    int (*map_set)(struct hf_source *source, unsigned slot, unsigned target,
                   enum hf_capture_map_kind kind, uint64_t offset_bytes, uint64_t length_bytes);

    int (*disk_add)(struct hf_source *source, const struct hf_disk_identity *identity,
                    uint32_t target_mask, unsigned *ret_slot);
    int (*disk_remove)(struct hf_source *source, unsigned slot);
    int (*disk_resized)(struct hf_source *source, unsigned slot);
    int (*disk_confirm)(struct hf_source *source, unsigned slot,
                        const struct hf_disk_identity *identity);
    int (*disk_get)(struct hf_source *source, unsigned slot, struct hf_capture_disk *ret_disk);
    int (*disk_find)(struct hf_source *source, const struct hf_disk_identity *identity);

    int (*heartbeat)(struct hf_source *source);
    int (*stats)(struct hf_source *source, struct hf_capture_stats *ret_stats);
    void *(*state)(struct hf_source *source); /* HF_AGENT_STATE_BYTES, pinned with the capture */
    /* Ends this capture and begins a new one without disks: new id, positions from 0, the state
     * zeros. The caller adds the disks again. */
    int (*restart)(struct hf_source *source);
};

struct hf_source {
    const struct hf_source_ops *ops;
};

/* Over a capture, pinned or new. Takes over nothing: the options are kept and must outlive it.
 * Errors as hf_capture_open. Freed with ops->free, which lets capturing go on in the kernel. */
int hf_capture_source_new(const struct hf_capture_options *options, struct hf_source **ret_source);

#endif
