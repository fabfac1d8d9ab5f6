// SPDX-License-Identifier: Apache-2.0
/*
 * Any bytes as a segment file: as they are, and once more with every checksum and the chain made
 * right, so that what lies behind them is met too. Readers and the writer's recovery must come
 * through with an answer, and what they give must be within its bounds.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "fuzz.h"
#include "journal/format.h"
#include "journal/journal-test.h"
#include "stream/stream-test.h"

#define SEGMENT_PATH "journal/seg-0000000000000001"
#define FUZZ_BYTES_MAX (1u << 20)

/* ---- Signing ---- */

static bool batch_can_be_signed(const struct hf_batch_header *header, size_t size)
{
    uint64_t need;

    if (size < sizeof(*header) || hf_le16_get(header->header_size) < sizeof(*header))
        return false;
    need = hf_le16_get(header->header_size) +
           (uint64_t)hf_le32_get(header->record_count) * sizeof(struct hf_batch_record) +
           (uint64_t)hf_le32_get(header->frame_count) * sizeof(struct hf_batch_frame) +
           hf_le32_get(header->payload_size);
    return need <= size;
}

static uint64_t sign_head(uint8_t *data)
{
    struct hf_segment_header *header = (struct hf_segment_header *)data;
    uint64_t hash;

    header->magic = hf_le64_of(HF_SEGMENT_MAGIC);
    header->version = hf_le32_of(HF_SEGMENT_VERSION);
    header->number = hf_le64_of(1);
    hash = hf_hash64(header, offsetof(struct hf_segment_header, header_hash));
    header->header_hash = hf_le64_of(hash);
    return hash;
}

/* Returns the bytes it takes; 0 when it does not fit. */
static size_t sign_entry(uint8_t *data, size_t at, size_t size, uint32_t number, uint64_t *chain)
{
    struct hf_entry_header *entry = (struct hf_entry_header *)(data + at);
    uint8_t *body = data + at + sizeof(*entry);
    uint32_t body_size;
    size_t whole;

    if (size - at < sizeof(*entry))
        return 0;
    body_size = hf_le32_get(entry->size);
    whole = HF_ALIGN_UP(sizeof(*entry) + (size_t)body_size, HF_ENTRY_ALIGN);
    if (body_size > HF_BATCH_SIZE_MAX || whole > size - at)
        return 0;
    if (batch_can_be_signed((void *)body, body_size))
        hf_test_batch_sign(body);
    entry->magic = hf_le32_of(HF_ENTRY_MAGIC);
    entry->number = hf_le32_of(number);
    memcpy(&entry->segment_tag, data + offsetof(struct hf_segment_header, id), 8);
    entry->offset = hf_le64_of(at);
    entry->previous = hf_le64_of(*chain);
    entry->body_hash = hf_le64_of(hf_hash64(body, body_size));
    *chain = hf_hash64(entry, offsetof(struct hf_entry_header, header_hash));
    entry->header_hash = hf_le64_of(*chain);
    return whole;
}

static void sign_all(uint8_t *data, size_t size)
{
    uint64_t chain = sign_head(data);
    size_t at = HF_SEGMENT_DATA_OFFSET;

    for (uint32_t number = 0; at < size; number++) {
        size_t whole = sign_entry(data, at, size, number, &chain);

        if (whole == 0)
            return;
        at += whole;
    }
}

/* ---- Reading ---- */

static int fuzz_extent(void *context, const struct hf_journal_extent *extent)
{
    static uint8_t content[HF_FRAME_CONTENT_MAX];

    if (extent->type == HF_RECORD_WRITE) {
        HF_ASSERT(extent->length <= HF_FRAME_CONTENT_MAX);
        (void)hf_journal_reader_content(context, extent, content);
    }
    return 0;
}

static int fuzz_event(void *context, const struct hf_journal_event *event)
{
    HF_ASSERT(event->body_length <= HF_RECORD_CONTENT_MAX);
    return 0;
}

static int fuzz_batch(void *context, const struct hf_batch *batch, uint64_t position_base)
{
    return 0;
}

static void read_all(struct hf_io *io)
{
    struct hf_journal_reader *reader = NULL;

    if (hf_journal_reader_open(io, "journal", &reader) < 0)
        return;
    (void)hf_journal_reader_extents(reader, 0, 0, UINT64_MAX, 0, UINT64_MAX, fuzz_extent, reader);
    (void)hf_journal_reader_events(reader, 0, UINT64_MAX, fuzz_event, NULL);
    (void)hf_journal_reader_batches(reader, 0, UINT64_MAX, fuzz_batch, NULL);
    (void)hf_journal_reader_check(reader, NULL, NULL, NULL);
    hf_journal_reader_close(reader);
}

static void recover(struct hf_io *io)
{
    struct hf_journal_bench bench;
    struct hf_journal *journal = NULL;

    hf_journal_bench_init(&bench, io, 1);
    if (hf_journal_open(&bench.options, NULL, &journal) == 0)
        hf_journal_close(journal);
}

static void try_file(const uint8_t *data, size_t size)
{
    struct hf_io *io = NULL;
    struct hf_file *file = NULL;

    HF_ASSERT(hf_io_memory_new(&io) == 0);
    HF_ASSERT(hf_io_mkdir(io, "journal") == 0);
    HF_ASSERT(hf_io_open(io, SEGMENT_PATH, HF_OPEN_WRITE | HF_OPEN_CREATE, &file) == 0);
    HF_ASSERT(size == 0 || hf_io_write(file, data, size, 0) == 0);
    hf_io_close(file);
    read_all(io);
    recover(io);
    read_all(io);
    hf_io_free(io);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;

    if (size > FUZZ_BYTES_MAX)
        return 0;
    try_file(data, size);
    copy = malloc(size + 1);
    if (!copy || size < HF_PAGE_BYTES) {
        free(copy);
        return 0;
    }
    memcpy(copy, data, size);
    sign_all(copy, size);
    try_file(copy, size);
    free(copy);
    return 0;
}
