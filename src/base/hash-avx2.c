// SPDX-License-Identifier: Apache-2.0
/* Compiled with -mavx2; called only where the processor has it. */
#include "base/hash-variant.h"

const struct hf_hash_variant hf_hash_avx2 = {variant_hash64, variant_hash128};
