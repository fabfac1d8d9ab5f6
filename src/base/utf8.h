// SPDX-License-Identifier: Apache-2.0
/* Checking text that came from outside. */
#ifndef HF_BASE_UTF8_H
#define HF_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the well-formed UTF-8 character at text (Unicode 15, table 3-7: no surrogates, nothing
 * overlong or above U+10FFFF); 0 when there is none. NUL counts as a character. Any thread. */
size_t hf_utf8_next(const char *text, size_t size);

/* Whether all `size` bytes are well-formed UTF-8 without NUL. Any thread. */
bool hf_utf8_valid(const char *text, size_t size);

#endif
