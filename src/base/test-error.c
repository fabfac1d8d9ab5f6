// SPDX-License-Identifier: Apache-2.0
#include "base/test-support.h"

#include <limits.h>
#include <string.h>

#include "base/error.h"

static void every_code_of_ours_has_a_name_and_a_text(void **state)
{
    for (int code = HF_ERR_BASE + 1; code < HF_ERR_END; code++) {
        assert_int_equal(strncmp(hf_error_name(code), "HF_E", 4), 0);
        assert_string_not_equal(hf_strerror(code), "unknown error");
    }
}

static void the_sign_is_ignored(void **state)
{
    assert_string_equal(hf_error_name(-HF_ECORRUPT), "HF_ECORRUPT");
    assert_string_equal(hf_error_name(-EIO), "EIO");
    assert_string_equal(hf_error_name(EIO), "EIO");
    assert_ptr_equal(hf_strerror(-HF_ESYNC), hf_strerror(HF_ESYNC));
}

static void numbers_that_are_no_code_are_unknown(void **state)
{
    const int strange[] = {HF_ERR_BASE, HF_ERR_END, 4000, INT_MAX, INT_MIN};

    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        assert_string_equal(hf_strerror(strange[i]), "unknown error");
        assert_string_equal(hf_error_name(strange[i]), "UNKNOWN");
    }
}

static void zero_is_success(void **state)
{
    assert_string_equal(hf_strerror(0), "success");
    assert_string_equal(hf_error_name(0), "OK");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_of_ours_has_a_name_and_a_text),
        cmocka_unit_test(the_sign_is_ignored),
        cmocka_unit_test(numbers_that_are_no_code_are_unknown),
        cmocka_unit_test(zero_is_success),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
