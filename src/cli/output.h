// SPDX-License-Identifier: Apache-2.0
/* What commands print with: tables, sizes and times for people, progress bars on a terminal. */
#ifndef HF_CLI_OUTPUT_H
#define HF_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/cli.h"

#define HF_TABLE_COLUMNS_MAX 12
#define HF_OUTPUT_TEXT_MAX 64

/* Columns as wide as their widest cell. Cells are copied. */
struct hf_table; /* opaque */
struct hf_table *hf_table_new(const char *const *headings,
                              size_t column_count); /* aborts when out of memory, as a CLI may */
void hf_table_row(struct hf_table *table, const char *const *cells);
void hf_table_print(const struct hf_table *table, FILE *out);
void hf_table_free(struct hf_table *table);

/* "1.5 GiB" and "2026-01-31 14:03:05.123 +0100"; text has HF_OUTPUT_TEXT_MAX bytes and is returned.
 */
const char *hf_text_bytes(uint64_t bytes, char *text);
const char *hf_text_time(int64_t wall_ns, char *text);
/* RFC 3339 in UTC, for JSON. */
const char *hf_text_time_utc(int64_t wall_ns, char *text);
/* "2h 13m", "4.2 s". */
const char *hf_text_duration(uint64_t duration_ns, char *text);

/* A bar on standard error while it is a terminal and not quiet; otherwise nothing. Redraws at most
 * ten times a second. */
struct hf_progress {
    const char *label;
    bool shown;
    uint64_t begun_ns;
    uint64_t drawn_ns;
};
void hf_progress_begin(const struct hf_cli *cli, const char *label,
                       struct hf_progress *ret_progress);
void hf_progress_update(struct hf_progress *progress, uint64_t done_bytes, uint64_t total_bytes);
/* Takes the bar off the line, so that something can be printed; the next update draws it again. */
void hf_progress_pause(struct hf_progress *progress);
void hf_progress_end(struct hf_progress *progress);

#endif
