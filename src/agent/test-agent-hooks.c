// SPDX-License-Identifier: Apache-2.0
/* Hooks (fault 12), the configuration, the machine's description, the control socket's refusals. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/config.h"
#include "agent/control.h"
#include "agent/describe.h"
#include "agent/hooks.h"
#include "base/base.h"
#include "base/error.h"

static char directory[64];
static char output[96];

static int setup(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/hf-hooks-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    snprintf(output, sizeof(output), "%s.out", directory);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"10-a", "20-b", "30-c", "README"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        (void)unlink(path);
    }
    (void)unlink(output);
    return rmdir(directory);
}

static void hook(const char *name, const char *body, mode_t mode)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "#!/bin/sh\n%s\n", body);
    assert_int_equal(fchmod(fileno(file), mode), 0);
    assert_int_equal(fclose(file), 0);
}

static const char *said(void)
{
    static char text[256];
    FILE *file = fopen(output, "r");
    size_t size = 0;

    if (file) {
        size = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
    }
    text[size] = '\0';
    return text;
}

static void say(char *body, size_t size, const char *text)
{
    snprintf(body, size, "echo %s $1 >> %s", text, output);
}

static int run(char *reason, uint64_t each_ns)
{
    reason[0] = '\0';
    return hf_hooks_run(directory, "freeze", each_ns, reason, 256);
}

static void hooks_run_in_order_with_their_argument(void **state)
{
    char body[160], reason[256];

    (void)state;
    say(body, sizeof(body), "second");
    hook("20-b", body, 0700);
    say(body, sizeof(body), "first");
    hook("10-a", body, 0755);
    hook("README", "exit 1", 0644);
    assert_int_equal(run(reason, 5 * HF_NS_PER_S), 0);
    assert_string_equal(said(), "first freeze\nsecond freeze\n");
}

static void a_directory_that_is_not_there_is_no_error(void **state)
{
    char reason[256] = "";

    (void)state;
    assert_int_equal(hf_hooks_run("/nonexistent/freeze.d", "freeze", 1, reason, 256), 0);
}

static void the_first_failure_ends_it_and_is_named(void **state)
{
    char body[160], reason[256];

    (void)state;
    hook("10-a", "exit 3", 0700);
    say(body, sizeof(body), "second");
    hook("20-b", body, 0700);
    assert_int_equal(run(reason, 5 * HF_NS_PER_S), -ECHILD);
    assert_non_null(strstr(reason, "10-a"));
    assert_non_null(strstr(reason, "3"));
    assert_string_equal(said(), "");
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fault_12_a_hanging_hook_is_killed_with_its_children(void **state)
{
    char body[256], reason[256];
    double began = seconds();

    (void)state;
    snprintf(body, sizeof(body), "(sleep 3; echo late >> %s) &\nsleep 60", output);
    hook("10-a", body, 0700);
    assert_int_equal(run(reason, 300 * HF_NS_PER_MS), -ETIMEDOUT);
    assert_true(seconds() - began < 2.5);
    assert_non_null(strstr(reason, "killed"));
    sleep(4);
    assert_string_equal(said(), "");
}

static void hooks_that_others_can_write_are_refused(void **state)
{
    char body[160], reason[256];

    (void)state;
    say(body, sizeof(body), "evil");
    hook("10-a", body, 0777);
    assert_int_equal(run(reason, HF_NS_PER_S), -EPERM);
    assert_string_equal(said(), "");
    hook("10-a", body, 0700);
    assert_int_equal(chmod(directory, 0777), 0);
    assert_int_equal(run(reason, HF_NS_PER_S), -EPERM);
    assert_int_equal(chmod(directory, 0700), 0);
    assert_int_equal(run(reason, HF_NS_PER_S), 0);
}

/* ---- configuration ---- */

#define CONFIG_HEAD                                                                                \
    "machine: {name: db1}\ntarget: {address: 'h:1'}\n"                                             \
    "tls: {certificate: /c, key: /k, authority: /a}\n"

static int parse(const char *text, struct hf_agent_config *config, struct hf_conf_error *problem)
{
    return hf_conf_parse_memory(&hf_agent_conf_table, "t.yaml", text, strlen(text), config,
                                problem);
}

static void a_configuration_is_read_with_its_defaults(void **state)
{
    static struct hf_agent_config config;
    struct hf_conf_error problem;
    char text[256];

    (void)state;
    assert_int_equal(parse(CONFIG_HEAD "disks: [/dev/vda, /dev/vdb]\n", &config, &problem), 0);
    assert_int_equal(config.disk_count, 2);
    assert_string_equal(config.disks[1], "/dev/vdb");
    assert_int_equal(config.ring_bytes, 64 * HF_MIB);
    assert_int_equal(config.marks_interval_ns, 5 * HF_NS_PER_S);
    assert_int_equal(config.freeze_ns, 10 * HF_NS_PER_S);
    assert_int_equal(config.compression_level, -5);
    assert_int_equal(hf_agent_config_check(&config, text, sizeof(text)), 0);
}

static void wrong_configurations_name_line_and_remedy(void **state)
{
    static struct hf_agent_config config;
    struct hf_conf_error problem;
    char text[256];

    (void)state;
    assert_int_equal(parse(CONFIG_HEAD "disks: [/dev/vda]\ndisk: /dev/vdb\n", &config, &problem),
                     -HF_ECONFIG);
    assert_int_equal(problem.line, 5);
    assert_int_equal(parse(CONFIG_HEAD "disks: []\n", &config, &problem), -HF_ECONFIG);
    assert_int_equal(parse(CONFIG_HEAD "disks: [vda]\n", &config, &problem), -HF_ECONFIG);
    assert_int_equal(
        parse(CONFIG_HEAD "disks: [/dev/a]\nfreeze: {timeout: 11s}\n", &config, &problem),
        -HF_ECONFIG);
    assert_int_equal(
        parse(CONFIG_HEAD "disks: [/dev/a]\ncapture: {ring: 3MiB}\n", &config, &problem), 0);
    assert_int_equal(hf_agent_config_check(&config, text, sizeof(text)), -HF_ECONFIG);
    assert_non_null(strstr(text, "power of two"));
}

static void the_sample_configuration_is_valid(void **state)
{
    static struct hf_agent_config config;
    struct hf_conf_error problem;
    struct hf_bytes sample = {0};

    (void)state;
    assert_int_equal(hf_conf_print_sample(&hf_agent_conf_table, &sample), 0);
    assert_int_equal(hf_conf_parse_memory(&hf_agent_conf_table, "sample", sample.data, sample.size,
                                          &config, &problem),
                     0);
    hf_bytes_clear(&sample);
}

static void the_description_says_what_a_boot_needs(void **state)
{
    char *json;

    (void)state;
    assert_int_equal(hf_describe_machine("db1", &json), 0);
    assert_non_null(strstr(json, "\"name\":\"db1\""));
    assert_non_null(strstr(json, "\"firmware\":\""));
    assert_non_null(strstr(json, "\"cpus\":"));
    assert_non_null(strstr(json, "\"memory_bytes\":"));
    assert_non_null(strstr(json, "\"nics\":["));
    free(json);
}

/* ---- the control socket ---- */

static void refused(const char *request, const char *word)
{
    char *answer = hf_control_answer(NULL, request);

    assert_non_null(answer);
    assert_non_null(strstr(answer, "\"ok\":false"));
    assert_non_null(strstr(answer, word));
    free(answer);
}

static void requests_that_are_wrong_change_nothing_and_say_why(void **state)
{
    (void)state;
    refused("", "verb");
    refused("[]", "verb");
    refused("{\"verb\": 1}", "verb");
    refused("{\"verb\": \"format\"}", "format");
    refused("{\"verb\": \"mark\", \"verb\": \"mark\"}", "verb");
    refused("{\"verb\": \"status\", \"all\": true}", "all");
    refused("{\"verb\": \"mark\", \"app\": \"yes\"}", "app");
    refused("{\"verb\": \"resync\", \"full\": 1}", "full");
    refused("{\"verb\": \"disk-add\"}", "path");
    assert_int_equal(HF_CONTROL_REQUEST_MAX, 4096); /* as the document says */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hooks_run_in_order_with_their_argument, setup, teardown),
        cmocka_unit_test(a_directory_that_is_not_there_is_no_error),
        cmocka_unit_test_setup_teardown(the_first_failure_ends_it_and_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(fault_12_a_hanging_hook_is_killed_with_its_children, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(hooks_that_others_can_write_are_refused, setup, teardown),
        cmocka_unit_test(a_configuration_is_read_with_its_defaults),
        cmocka_unit_test(wrong_configurations_name_line_and_remedy),
        cmocka_unit_test(the_sample_configuration_is_valid),
        cmocka_unit_test(the_description_says_what_a_boot_needs),
        cmocka_unit_test(requests_that_are_wrong_change_nothing_and_say_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
