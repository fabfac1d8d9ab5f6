// SPDX-License-Identifier: Apache-2.0
#include "base/test-support.h"

#include <string.h>

#include "base/utf8.h"

static void well_formed_text_is_accepted(void **state)
{
    static const char *const good[] = {"",
                                       "plain",
                                       "\xc2\x80",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(hf_utf8_valid(good[i], strlen(good[i])));
}

static void overlong_surrogate_cut_and_stray_bytes_are_refused(void **state)
{
    static const char *const bad[] = {"\x80",
                                      "\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xe2\x82",
                                      "\xe2\x28\xa1",
                                      "a\xff"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(hf_utf8_valid(bad[i], strlen(bad[i])));
    assert_false(hf_utf8_valid("a\0b", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_formed_text_is_accepted),
        cmocka_unit_test(overlong_surrogate_cut_and_stray_bytes_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
