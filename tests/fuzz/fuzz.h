// SPDX-License-Identifier: Apache-2.0
/* What a fuzz target defines. Include it from fuzz-*.c only. */
#ifndef HF_TESTS_FUZZ_H
#define HF_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Called with one input; returns 0. Must not depend on earlier calls and must free what it
 * allocates. The name is libFuzzer's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
