// SPDX-License-Identifier: Apache-2.0
#include "base/test-support.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"

static void the_text_form_comes_back(void **state)
{
    struct hf_random_seeded seeded;
    char text[HF_ID_TEXT_SIZE];
    struct hf_id id, parsed;

    hf_random_seeded_init(&seeded, 4);
    assert_int_equal(hf_id_make(&seeded.random, &id), 0);
    hf_id_format(&id, text);
    assert_int_equal(strlen(text), 32);
    assert_int_equal(strspn(text, "0123456789abcdef"), 32);
    assert_int_equal(hf_id_parse(text, &parsed), 0);
    assert_true(hf_id_equal(&id, &parsed));
    assert_false(hf_id_is_zero(&id));
}

static void text_that_is_not_32_hex_digits_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "00",
                                      "0123456789abcdef0123456789abcde",
                                      "0123456789abcdef0123456789abcdef0",
                                      "0123456789abcdef0123456789abcdeg",
                                      "0123456789abcdef 123456789abcdef"};
    struct hf_id id = {{7}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(hf_id_parse(bad[i], &id), -EINVAL);
    assert_int_equal(id.bytes[0], 7);
}

static int zero_fill(struct hf_random *random, void *data, size_t size)
{
    memset(data, 0, size);
    return 0;
}

static int no_fill(struct hf_random *random, void *data, size_t size)
{
    return -EAGAIN;
}

static void a_broken_source_makes_no_identity(void **state)
{
    static const struct hf_random_ops zeros = {zero_fill}, nothing = {no_fill};
    struct hf_random random = {&zeros};
    struct hf_id id = {{7}};

    assert_int_equal(hf_id_make(&random, &id), -EIO);
    random.ops = &nothing;
    assert_int_equal(hf_id_make(&random, &id), -EAGAIN);
    assert_int_equal(id.bytes[0], 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_form_comes_back),
        cmocka_unit_test(text_that_is_not_32_hex_digits_is_refused),
        cmocka_unit_test(a_broken_source_makes_no_identity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
