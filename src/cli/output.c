// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define REDRAW_NS (100 * HF_NS_PER_MS)
#define BAR_CELLS 30

struct hf_table {
    size_t column_count;
    size_t row_count;
    size_t row_capacity;
    char **cells; /* row by row; the headings are row 0 */
    size_t width[HF_TABLE_COLUMNS_MAX];
};

static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("holdfast: out of memory\n", stderr);
        abort();
    }
    return memory;
}

struct hf_table *hf_table_new(const char *const *headings, size_t column_count)
{
    struct hf_table *table = must(calloc(1, sizeof(*table)));

    HF_ASSERT(column_count > 0 && column_count <= HF_TABLE_COLUMNS_MAX);
    table->column_count = column_count;
    hf_table_row(table, headings);
    return table;
}

void hf_table_row(struct hf_table *table, const char *const *cells)
{
    if (table->row_count == table->row_capacity) {
        table->row_capacity = table->row_capacity * 2 + 16;
        table->cells =
            must(realloc(table->cells, table->row_capacity * table->column_count * sizeof(char *)));
    }
    for (size_t i = 0; i < table->column_count; i++) {
        table->cells[table->row_count * table->column_count + i] = must(strdup(cells[i]));
        table->width[i] = HF_MAX(table->width[i], strlen(cells[i]));
    }
    table->row_count++;
}

void hf_table_print(const struct hf_table *table, FILE *out)
{
    for (size_t row = 0; row < table->row_count; row++) {
        for (size_t i = 0; i < table->column_count; i++) {
            const char *cell = table->cells[row * table->column_count + i];
            bool last = i + 1 == table->column_count;

            fprintf(out, "%-*s%s", last ? 0 : (int)table->width[i], cell, last ? "\n" : "  ");
        }
    }
}

void hf_table_free(struct hf_table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->row_count * table->column_count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}

const char *hf_text_bytes(uint64_t bytes, char *text)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < HF_ARRAY_COUNT(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(text, HF_OUTPUT_TEXT_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

static int64_t floor_seconds(int64_t wall_ns, int64_t *ret_rest_ns)
{
    int64_t seconds = wall_ns / (int64_t)HF_NS_PER_S;
    int64_t rest = wall_ns % (int64_t)HF_NS_PER_S;

    if (rest < 0) {
        rest += (int64_t)HF_NS_PER_S;
        seconds--;
    }
    *ret_rest_ns = rest;
    return seconds;
}

const char *hf_text_time(int64_t wall_ns, char *text)
{
    int64_t rest;
    time_t seconds = floor_seconds(wall_ns, &rest);
    struct tm local;
    char date[32];
    char zone[8];

    localtime_r(&seconds, &local);
    strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &local);
    strftime(zone, sizeof(zone), "%z", &local);
    snprintf(text, HF_OUTPUT_TEXT_MAX, "%s.%03d %s", date, (int)(rest / 1000000), zone);
    return text;
}

const char *hf_text_time_utc(int64_t wall_ns, char *text)
{
    int64_t rest;
    time_t seconds = floor_seconds(wall_ns, &rest);
    struct tm utc;
    char date[32];

    gmtime_r(&seconds, &utc);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text, HF_OUTPUT_TEXT_MAX, "%s.%06dZ", date, (int)(rest / 1000));
    return text;
}

const char *hf_text_duration(uint64_t duration_ns, char *text)
{
    uint64_t seconds = duration_ns / HF_NS_PER_S;

    if (seconds < 60)
        snprintf(text, HF_OUTPUT_TEXT_MAX, "%.1f s", (double)duration_ns / (double)HF_NS_PER_S);
    else if (seconds < 3600)
        snprintf(text, HF_OUTPUT_TEXT_MAX, "%" PRIu64 "m %" PRIu64 "s", seconds / 60, seconds % 60);
    else
        snprintf(text, HF_OUTPUT_TEXT_MAX, "%" PRIu64 "h %" PRIu64 "m", seconds / 3600,
                 seconds / 60 % 60);
    return text;
}

void hf_progress_begin(const struct hf_cli *cli, const char *label,
                       struct hf_progress *ret_progress)
{
    struct hf_clock *clock = hf_clock_system();

    *ret_progress = (struct hf_progress){
        .label = label, .shown = !cli->quiet && !cli->json && isatty(STDERR_FILENO) != 0};
    ret_progress->begun_ns = clock->ops->boot_ns(clock);
}

void hf_progress_update(struct hf_progress *progress, uint64_t done_bytes, uint64_t total_bytes)
{
    struct hf_clock *clock = hf_clock_system();
    uint64_t now_ns = clock->ops->boot_ns(clock);
    double part = total_bytes > 0 ? (double)done_bytes / (double)total_bytes : 1;
    double elapsed_s = (double)(now_ns - progress->begun_ns) / (double)HF_NS_PER_S;
    char rate[HF_OUTPUT_TEXT_MAX];
    char left[HF_OUTPUT_TEXT_MAX];
    char bar[BAR_CELLS + 1];

    if (!progress->shown || (now_ns - progress->drawn_ns < REDRAW_NS && done_bytes < total_bytes))
        return;
    progress->drawn_ns = now_ns;
    part = HF_MIN(part, 1.0);
    for (int i = 0; i < BAR_CELLS; i++)
        bar[i] = i < (int)(part * BAR_CELLS) ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    hf_text_bytes(elapsed_s > 0 ? (uint64_t)((double)done_bytes / elapsed_s) : 0, rate);
    hf_text_duration(part > 0 ? (uint64_t)(elapsed_s * (1 - part) / part * (double)HF_NS_PER_S) : 0,
                     left);
    fprintf(stderr, "\r%s [%s] %3d%%  %s/s  %s left\033[K", progress->label, bar, (int)(part * 100),
            rate, left);
}

void hf_progress_pause(struct hf_progress *progress)
{
    if (progress->shown && progress->drawn_ns != 0)
        fputs("\r\033[K", stderr);
    progress->drawn_ns = 0;
}

void hf_progress_end(struct hf_progress *progress)
{
    hf_progress_pause(progress);
    progress->shown = false;
}
