// SPDX-License-Identifier: Apache-2.0
#include "base/test-support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static struct hf_log_component net = HF_LOG_COMPONENT("net");
static struct hf_log_component store = HF_LOG_COMPONENT("store");

/* Standard error goes through a pipe while a test writes. */
static int saved_stderr, pipe_read;

static int capture_begin(void **state)
{
    int fds[2];

    if (pipe(fds) != 0)
        return -1;
    saved_stderr = dup(STDERR_FILENO);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    pipe_read = fds[0];
    return 0;
}

static void captured(char *text, size_t size)
{
    ssize_t got;

    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    got = read(pipe_read, text, size - 1);
    close(pipe_read);
    text[got > 0 ? got : 0] = '\0';
    hf_log_set_format(HF_LOG_TEXT);
}

static void levels_are_set_by_component(void **state)
{
    char text[512];

    assert_int_equal(hf_log_set_levels("warn,net=debug"), 0);
    hf_log_debug(&net, "one");
    hf_log_info(&store, "two");
    hf_log_warn(&store, "three %d", 3);
    assert_int_equal(hf_log_set_levels("error"), 0);
    hf_log_warn(&net, "four");
    captured(text, sizeof(text));
    assert_string_equal(text, "DEBUG net: one\nWARN store: three 3\n");
}

static void a_wrong_specification_changes_nothing(void **state)
{
    char text[512];

    assert_int_equal(hf_log_set_levels("info"), 0);
    assert_int_equal(hf_log_set_levels("debug,net=loud"), -EINVAL);
    assert_int_equal(hf_log_set_levels(""), -EINVAL);
    assert_int_equal(hf_log_set_levels("=info"), -EINVAL);
    assert_int_equal(hf_log_set_levels("info,"), -EINVAL);
    hf_log_debug(&net, "hidden");
    captured(text, sizeof(text));
    assert_string_equal(text, "");
}

static void a_message_is_one_line_whatever_it_holds(void **state)
{
    char text[512];

    hf_log_error(&net, "%s", "a\nERROR forged: b\x1b[0m");
    captured(text, sizeof(text));
    assert_string_equal(text, "ERROR net: a?ERROR forged: b?[0m\n");
}

static void json_lines_are_escaped(void **state)
{
    char text[512];

    hf_log_set_format(HF_LOG_JSON);
    hf_log_error(&net, "%s", "q\" b\\ n\n u\xc3\xbc x\xff");
    captured(text, sizeof(text));
    assert_non_null(strstr(text, "\"level\":\"error\",\"component\":\"net\",\"message\":"
                                 "\"q\\\" b\\\\ n\\u000a u\xc3\xbc x\\ufffd\"}\n"));
    assert_int_equal(strncmp(text, "{\"time\":\"20", 11), 0);
}

static void a_long_message_is_cut_not_overrun(void **state)
{
    static char text[20000], long_text[5000];

    memset(long_text, 1, sizeof(long_text) - 1);
    hf_log_set_format(HF_LOG_JSON);
    hf_log_error(&net, "%s", long_text);
    captured(text, sizeof(text));
    assert_true(strlen(text) > 2047 * 6);
    assert_string_equal(text + strlen(text) - 3, "\"}\n");
}

static void errno_is_left_alone(void **state)
{
    char text[512];

    errno = ENOSPC;
    hf_log_error(&net, "%m");
    assert_int_equal(errno, ENOSPC);
    captured(text, sizeof(text));
    assert_string_equal(text, "ERROR net: No space left on device\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(levels_are_set_by_component, capture_begin),
        cmocka_unit_test_setup(a_wrong_specification_changes_nothing, capture_begin),
        cmocka_unit_test_setup(a_message_is_one_line_whatever_it_holds, capture_begin),
        cmocka_unit_test_setup(json_lines_are_escaped, capture_begin),
        cmocka_unit_test_setup(a_long_message_is_cut_not_overrun, capture_begin),
        cmocka_unit_test_setup(errno_is_left_alone, capture_begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
