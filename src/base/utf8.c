// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <stdint.h>

/* Length by the first byte, and the range the second byte must lie in. */
static size_t lead(uint8_t first, uint8_t *ret_low, uint8_t *ret_high)
{
    *ret_low = 0x80;
    *ret_high = 0xbf;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef) {
        *ret_low = first == 0xe0 ? 0xa0 : 0x80;
        *ret_high = first == 0xed ? 0x9f : 0xbf;
        return 3;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        *ret_low = first == 0xf0 ? 0x90 : 0x80;
        *ret_high = first == 0xf4 ? 0x8f : 0xbf;
        return 4;
    }
    return 0;
}

size_t hf_utf8_next(const char *text, size_t size)
{
    const uint8_t *bytes = (const uint8_t *)text;
    uint8_t low, high;
    size_t length;

    if (size == 0)
        return 0;
    length = lead(bytes[0], &low, &high);
    if (length == 0 || length > size)
        return 0;
    if (length > 1 && (bytes[1] < low || bytes[1] > high))
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

bool hf_utf8_valid(const char *text, size_t size)
{
    size_t position = 0;

    while (position < size) {
        size_t length = hf_utf8_next(text + position, size - position);

        if (length == 0 || text[position] == '\0')
            return false;
        position += length;
    }
    return true;
}
