// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <stddef.h>
#include <string.h>

#include "base/base.h"

struct error_text {
    int code;
    const char *name;
    const char *text;
};

#define ENTRY(code_, text_)                                                                        \
    {                                                                                              \
        .code = code_, .name = #code_, .text = text_                                               \
    }

static const struct error_text errors[] = {
    ENTRY(HF_ECORRUPT, "damaged data: a checksum, chain or size does not fit"),
    ENTRY(HF_EDAMAGED, "data once claimed durable is lost or bad"),
    ENTRY(HF_EVERSION, "a format or protocol version that this build does not read"),
    ENTRY(HF_ETOOBIG, "a declared length is over its limit"),
    ENTRY(HF_EPROTO, "the peer broke the protocol"),
    ENTRY(HF_EDIVERGED, "both sides do not hold the same stream"),
    ENTRY(HF_EFENCED, "an older epoch or lease than the one durably kept"),
    ENTRY(HF_ENOPOINT, "no recovery point answers the request"),
    ENTRY(HF_EAMBIGUOUS, "the time names more than one moment"),
    ENTRY(HF_EPARTIAL, "the base image is not complete yet"),
    ENTRY(HF_EPRUNED, "the point lies below the oldest openable position"),
    ENTRY(HF_ESYNC, "a sync failed before on this file; it takes no more writes"),
    ENTRY(HF_EQUOTA, "a configured quota is full"),
    ENTRY(HF_EIDENTITY, "the identity is not the expected one"),
    ENTRY(HF_ECONFIG, "the configuration is wrong"),
    ENTRY(HF_EBUSY_LEASE, "a reader's lease forbids this step now"),
};
_Static_assert(HF_ARRAY_COUNT(errors) == HF_ERR_END - HF_ERR_BASE - 1, "each code has its text");

static const struct error_text *find_error(int code)
{
    int index = code - HF_ERR_BASE - 1;

    if (index < 0 || (size_t)index >= HF_ARRAY_COUNT(errors))
        return NULL;
    HF_ASSERT(errors[index].code == code);
    return &errors[index];
}

/* INT_MIN has no positive counterpart; it is no code of anything. */
static int magnitude(int error)
{
    if (error >= 0)
        return error;
    return error == -__INT_MAX__ - 1 ? __INT_MAX__ : -error;
}

const char *hf_strerror(int error)
{
    int code = magnitude(error);
    const struct error_text *entry = find_error(code);
    const char *text;

    if (entry)
        return entry->text;
    if (code == 0)
        return "success";
    text = strerrordesc_np(code);
    return text ? text : "unknown error";
}

const char *hf_error_name(int error)
{
    int code = magnitude(error);
    const struct error_text *entry = find_error(code);
    const char *name;

    if (entry)
        return entry->name;
    if (code == 0)
        return "OK";
    name = strerrorname_np(code);
    return name ? name : "UNKNOWN";
}
