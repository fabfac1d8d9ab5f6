// SPDX-License-Identifier: Apache-2.0
/*
 * Growing byte buffers and bounded readers. Every multi-byte number in a Holdfast format is
 * little-endian; formats are packed structs of the fixed-endian types below, or are read field by
 * field through hf_reader.
 */
#ifndef HF_BASE_BYTES_H
#define HF_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <endian.h>

typedef struct {
    uint16_t raw;
} __attribute__((packed)) hf_le16;
typedef struct {
    uint32_t raw;
} __attribute__((packed)) hf_le32;
typedef struct {
    uint64_t raw;
} __attribute__((packed)) hf_le64;

static inline uint16_t hf_le16_get(hf_le16 v)
{
    return le16toh(v.raw);
}
static inline uint32_t hf_le32_get(hf_le32 v)
{
    return le32toh(v.raw);
}
static inline uint64_t hf_le64_get(hf_le64 v)
{
    return le64toh(v.raw);
}
static inline hf_le16 hf_le16_of(uint16_t v)
{
    return (hf_le16){htole16(v)};
}
static inline hf_le32 hf_le32_of(uint32_t v)
{
    return (hf_le32){htole32(v)};
}
static inline hf_le64 hf_le64_of(uint64_t v)
{
    return (hf_le64){htole64(v)};
}

/* A growing buffer with a named maximum; zero-initialised is empty and ready with size_max = 0
 * meaning HF_BYTES_MAX. */
#define HF_BYTES_MAX ((size_t)64 << 20)
struct hf_bytes {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t size_max;
};

/* Appends (data NULL: zeros). -ENOMEM, or HF_ETOOBIG when size_max would be passed; the buffer is
 * then unchanged. */
int hf_bytes_append(struct hf_bytes *bytes, const void *data, size_t size);
/* Makes room for `size` more bytes at data + size without changing size. Errors as append. */
int hf_bytes_reserve(struct hf_bytes *bytes, size_t size);
/* Forgets the first `size` bytes (memmove). size <= bytes->size. */
void hf_bytes_consume(struct hf_bytes *bytes, size_t size);
/* Releases the memory; the buffer is empty and usable again. NULL-safe. */
void hf_bytes_clear(struct hf_bytes *bytes);

/* Reads a buffer front to back; once a read does not fit, `failed` stays set and every later read
 * gives zeros. */
struct hf_reader {
    const uint8_t *data;
    size_t size;
    size_t position;
    bool failed;
};
void hf_reader_init(struct hf_reader *reader, const void *data, size_t size);
uint8_t hf_reader_u8(struct hf_reader *reader);
uint16_t hf_reader_u16(struct hf_reader *reader);
uint32_t hf_reader_u32(struct hf_reader *reader);
uint64_t hf_reader_u64(struct hf_reader *reader);
/* The next `size` bytes in place, or NULL (and failed). Borrowed from the buffer. */
const void *hf_reader_bytes(struct hf_reader *reader, size_t size);
/* A u16 length, then that many bytes of UTF-8 without NUL, copied and terminated; at most text_size
 * - 1. */
void hf_reader_text(struct hf_reader *reader, char *text, size_t text_size);
/* 0 when nothing failed and nothing is left; HF_ECORRUPT otherwise. */
int hf_reader_finish(const struct hf_reader *reader);

/* Writers to an hf_bytes in the forms that hf_reader reads. Errors as hf_bytes_append; text that is
 * not UTF-8 is -EILSEQ, and over 65,535 bytes -HF_ETOOBIG. */
int hf_bytes_u8(struct hf_bytes *bytes, uint8_t value);
int hf_bytes_u16(struct hf_bytes *bytes, uint16_t value);
int hf_bytes_u32(struct hf_bytes *bytes, uint32_t value);
int hf_bytes_u64(struct hf_bytes *bytes, uint64_t value);
int hf_bytes_text(struct hf_bytes *bytes, const char *text);

#endif
