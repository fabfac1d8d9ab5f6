// SPDX-License-Identifier: Apache-2.0
/* Recovery points of a machine in a store: what can be opened, by mark, by second, by position.
 * Reads only; any process. */
#ifndef HF_STORE_POINT_H
#define HF_STORE_POINT_H

#include "store/store.h"

struct hf_point {
    uint64_t position;
    uint8_t kind; /* enum hf_mark_kind; 0: not a mark, just a position */
    bool openable;
    const char *reason; /* when not openable: static text ("inside a pass", "below the retention
                           window", "no complete base image") */
    struct hf_id id;    /* zero when not a mark */
    struct hf_stream_id stream;
    uint64_t seq;
    int64_t wall_ns;
    int64_t receipt_ns;
    uint64_t uncertainty_ns;
    char name[HF_MARK_NAME_MAX + 1];
};

/* A machine as a reader sees it: manifest and journal at one moment. */
struct hf_machine_reader; /* opaque; one thread */
int hf_machine_reader_open(struct hf_store *store, const struct hf_id *machine,
                           struct hf_machine_reader **ret_reader);
int hf_machine_reader_refresh(struct hf_machine_reader *reader);
void hf_machine_reader_close(struct hf_machine_reader *reader); /* NULL-safe */

/* The marks, oldest first. */
int hf_points_each(struct hf_machine_reader *reader,
                   int (*each)(void *context, const struct hf_point *point), void *context);

/*
 * Finds a point: "latest" (newest openable position), "latest-mark", "latest-app", an identity (32
 * hex digits, or a prefix of at least 8), "seq:N" with the newest stream, "pos:N", or a time (RFC
 * 3339, "YYYY-MM-DD HH:MM:SS[.fff][Z|+hh:mm]", local when no zone, or "-10s" before the newest). A
 * time names the last position at or before it, by the machine's clock. HF_ENOPOINT, HF_EPARTIAL,
 * HF_EPRUNED; HF_EAMBIGUOUS with up to count_max candidates in ret_points (then *ret_count of
 * them), otherwise one.
 */
#define HF_POINT_CANDIDATES_MAX 16
int hf_point_find(struct hf_machine_reader *reader, const char *text, struct hf_point *ret_points,
                  size_t count_max, size_t *ret_count);

/* The newest description at or before a position: JSON, malloc'ed, owned by the caller. -ENOENT
 * when there is none. */
int hf_point_machine_description(struct hf_machine_reader *reader, uint64_t position,
                                 char **ret_json);
/* The disks as they were at a position (old points keep old sizes). *ret_count of them, at most
 * HF_DISKS_MAX. */
int hf_point_disks(struct hf_machine_reader *reader, uint64_t position,
                   struct hf_machine_disk *ret_disks, size_t *ret_count);

#endif
