// SPDX-License-Identifier: Apache-2.0
/* Small things everything uses: assertions that stay on, sizes, checked arithmetic. No I/O, no
 * allocation. */
#ifndef HF_BASE_BASE_H
#define HF_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF_KIB ((uint64_t)1024)
#define HF_MIB (HF_KIB * 1024)
#define HF_GIB (HF_MIB * 1024)
#define HF_NS_PER_S ((uint64_t)1000000000)
#define HF_NS_PER_MS ((uint64_t)1000000)

#define HF_ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define HF_MIN(a, b) ((a) < (b) ? (a) : (b))
#define HF_MAX(a, b) ((a) > (b) ? (a) : (b))
/* `to` is a power of two. */
#define HF_ALIGN_UP(x, to) (((x) + ((to)-1)) & ~((uint64_t)(to)-1))
#define HF_ALIGN_DOWN(x, to) ((x) & ~((uint64_t)(to)-1))

/* Invariants are checked in production too: a broken one stops the process before it can write a
 * wrong byte. */
#define HF_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            hf_assert_failed(#cond, __FILE__, __LINE__);                                           \
    } while (0)
void hf_assert_failed(const char *cond, const char *file, int line) __attribute__((noreturn, cold));

/* *ret = a + b or a * b; returns false on overflow, and then leaves *ret alone. Any thread. */
static inline bool hf_add_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
    uint64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *ret = sum;
    return true;
}

static inline bool hf_mul_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
    uint64_t product;

    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *ret = product;
    return true;
}

#endif
