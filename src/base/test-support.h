// SPDX-License-Identifier: Apache-2.0
/* What every unit test includes first: cmocka needs these headers in this order. */
#ifndef HF_BASE_TEST_SUPPORT_H
#define HF_BASE_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
