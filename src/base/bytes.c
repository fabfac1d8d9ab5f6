// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

#include <stdlib.h>

#include "base/base.h"
#include "base/error.h"
#include "base/utf8.h"

#define BYTES_FIRST_CAPACITY ((size_t)256)

/* ---- Growing buffer ---- */

static size_t bytes_limit(const struct hf_bytes *bytes)
{
    return bytes->size_max ? bytes->size_max : HF_BYTES_MAX;
}

/* Doubling keeps appends linear; the limit keeps the last step from going past it. */
static int bytes_grow(struct hf_bytes *bytes, size_t wanted, size_t limit)
{
    size_t capacity = HF_MAX(bytes->capacity, BYTES_FIRST_CAPACITY);
    uint8_t *data;

    while (capacity < wanted)
        capacity = capacity > limit / 2 ? limit : capacity * 2;
    data = realloc(bytes->data, capacity);
    if (!data)
        return -ENOMEM;
    bytes->data = data;
    bytes->capacity = capacity;
    return 0;
}

int hf_bytes_reserve(struct hf_bytes *bytes, size_t size)
{
    size_t limit = bytes_limit(bytes);

    HF_ASSERT(bytes->size <= bytes->capacity);
    if (bytes->size > limit || size > limit - bytes->size)
        return -HF_ETOOBIG;
    if (size <= bytes->capacity - bytes->size)
        return 0;
    return bytes_grow(bytes, bytes->size + size, limit);
}

int hf_bytes_append(struct hf_bytes *bytes, const void *data, size_t size)
{
    int error;

    if (size == 0)
        return 0;
    error = hf_bytes_reserve(bytes, size);
    if (error)
        return error;
    if (data)
        memcpy(bytes->data + bytes->size, data, size);
    else
        memset(bytes->data + bytes->size, 0, size);
    bytes->size += size;
    return 0;
}

void hf_bytes_consume(struct hf_bytes *bytes, size_t size)
{
    HF_ASSERT(size <= bytes->size);
    if (size == 0)
        return;
    bytes->size -= size;
    memmove(bytes->data, bytes->data + size, bytes->size);
}

void hf_bytes_clear(struct hf_bytes *bytes)
{
    if (!bytes)
        return;
    free(bytes->data);
    bytes->data = NULL;
    bytes->size = 0;
    bytes->capacity = 0;
}

/* ---- Writers ---- */

int hf_bytes_u8(struct hf_bytes *bytes, uint8_t value)
{
    return hf_bytes_append(bytes, &value, sizeof(value));
}

int hf_bytes_u16(struct hf_bytes *bytes, uint16_t value)
{
    hf_le16 raw = hf_le16_of(value);

    return hf_bytes_append(bytes, &raw, sizeof(raw));
}

int hf_bytes_u32(struct hf_bytes *bytes, uint32_t value)
{
    hf_le32 raw = hf_le32_of(value);

    return hf_bytes_append(bytes, &raw, sizeof(raw));
}

int hf_bytes_u64(struct hf_bytes *bytes, uint64_t value)
{
    hf_le64 raw = hf_le64_of(value);

    return hf_bytes_append(bytes, &raw, sizeof(raw));
}

/* Room for both parts is made first, so that a failure leaves no lone length behind. */
int hf_bytes_text(struct hf_bytes *bytes, const char *text)
{
    size_t size = strlen(text);
    int error;

    if (size > UINT16_MAX)
        return -HF_ETOOBIG;
    if (!hf_utf8_valid(text, size))
        return -EILSEQ;
    error = hf_bytes_reserve(bytes, sizeof(uint16_t) + size);
    if (error)
        return error;
    error = hf_bytes_u16(bytes, (uint16_t)size);
    return error ? error : hf_bytes_append(bytes, text, size);
}

/* ---- Reader ---- */

void hf_reader_init(struct hf_reader *reader, const void *data, size_t size)
{
    HF_ASSERT(data || size == 0);
    *reader = (struct hf_reader){.data = data, .size = size};
}

const void *hf_reader_bytes(struct hf_reader *reader, size_t size)
{
    const uint8_t *start;

    HF_ASSERT(reader->position <= reader->size);
    if (reader->failed || size > reader->size - reader->position) {
        reader->failed = true;
        return NULL;
    }
    if (!reader->data)
        return ""; /* nothing of an empty buffer: not NULL, which would say "failed" */
    start = reader->data + reader->position;
    reader->position += size;
    return start;
}

uint8_t hf_reader_u8(struct hf_reader *reader)
{
    const uint8_t *raw = hf_reader_bytes(reader, 1);

    return raw ? *raw : 0;
}

uint16_t hf_reader_u16(struct hf_reader *reader)
{
    const hf_le16 *raw = hf_reader_bytes(reader, sizeof(*raw));

    return raw ? hf_le16_get(*raw) : 0;
}

uint32_t hf_reader_u32(struct hf_reader *reader)
{
    const hf_le32 *raw = hf_reader_bytes(reader, sizeof(*raw));

    return raw ? hf_le32_get(*raw) : 0;
}

uint64_t hf_reader_u64(struct hf_reader *reader)
{
    const hf_le64 *raw = hf_reader_bytes(reader, sizeof(*raw));

    return raw ? hf_le64_get(*raw) : 0;
}

void hf_reader_text(struct hf_reader *reader, char *text, size_t text_size)
{
    size_t size = hf_reader_u16(reader);
    const char *raw;

    HF_ASSERT(text_size > 0);
    text[0] = '\0';
    raw = hf_reader_bytes(reader, size);
    if (!raw)
        return;
    if (size >= text_size || !hf_utf8_valid(raw, size)) {
        reader->failed = true;
        return;
    }
    memcpy(text, raw, size);
    text[size] = '\0';
}

int hf_reader_finish(const struct hf_reader *reader)
{
    return reader->failed || reader->position != reader->size ? -HF_ECORRUPT : 0;
}
