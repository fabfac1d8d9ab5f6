// SPDX-License-Identifier: Apache-2.0
#include "base/id.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"

/* All zeros stands for "none" everywhere; a source that gives it is broken. */
int hf_id_make(struct hf_random *random, struct hf_id *ret_id)
{
    struct hf_id id;
    int error = random->ops->fill(random, id.bytes, sizeof(id.bytes));

    if (error)
        return error;
    if (hf_id_is_zero(&id))
        return -EIO;
    *ret_id = id;
    return 0;
}

void hf_id_format(const struct hf_id *id, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof(id->bytes); i++) {
        text[2 * i] = digits[id->bytes[i] >> 4];
        text[2 * i + 1] = digits[id->bytes[i] & 15];
    }
    text[2 * sizeof(id->bytes)] = '\0';
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

int hf_id_parse(const char *text, struct hf_id *ret_id)
{
    struct hf_id id;

    if (strnlen(text, HF_ID_TEXT_SIZE) != HF_ID_TEXT_SIZE - 1)
        return -EINVAL;
    for (size_t i = 0; i < sizeof(id.bytes); i++) {
        int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return -EINVAL;
        id.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret_id = id;
    return 0;
}

bool hf_id_equal(const struct hf_id *a, const struct hf_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool hf_id_is_zero(const struct hf_id *id)
{
    static const struct hf_id zero;

    return hf_id_equal(id, &zero);
}
