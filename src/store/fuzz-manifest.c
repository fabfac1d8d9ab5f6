// SPDX-License-Identifier: Apache-2.0
/* Any bytes as a manifest: as they are, and once more with the closing hash made right. Whatever is
 * taken must come out again as it went in. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/hash.h"
#include "fuzz.h"
#include "store/manifest.h"
#include "store/store-internal.h"

#define SIZE_AT 16 /* total_size in the header */

static void decode(const uint8_t *data, size_t size)
{
    struct hf_manifest *manifest = calloc(1, sizeof(*manifest));
    struct hf_manifest *again = calloc(1, sizeof(*again));
    struct hf_bytes bytes = {.size_max = HF_MANIFEST_BYTES_MAX};

    HF_ASSERT(manifest != NULL && again != NULL);
    if (hf_manifest_decode(data, size, manifest) == 0) {
        HF_ASSERT(manifest->oldest_openable >= manifest->base_at);
        HF_ASSERT(hf_manifest_encode(manifest, &bytes) == 0);
        HF_ASSERT(hf_manifest_decode(bytes.data, bytes.size, again) == 0);
        HF_ASSERT(again->generation == manifest->generation);
        HF_ASSERT(again->base_at == manifest->base_at && again->epoch == manifest->epoch);
        hf_manifest_clear(again);
        hf_manifest_clear(manifest);
    }
    hf_bytes_clear(&bytes);
    free(manifest);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;
    uint32_t total;
    uint64_t hash;

    decode(data, size);
    if (size < 40 || size > HF_MANIFEST_BYTES_MAX)
        return 0;
    copy = malloc(size);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    total = htole32((uint32_t)size);
    memcpy(copy + SIZE_AT, &total, sizeof(total));
    hash = htole64(hf_hash64(copy, size - sizeof(hash)));
    memcpy(copy + size - sizeof(hash), &hash, sizeof(hash));
    decode(copy, size);
    free(copy);
    return 0;
}
