// SPDX-License-Identifier: Apache-2.0
/* The verdicts of ATTACH: promises P2, P7; faults 7, 18, 35, 43; hazard H9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "target/attach.h"

static const struct hf_id capture = {{7, 7, 7}};

static struct hf_msg_attach source(uint64_t epoch, uint64_t oldest, uint64_t acked, uint64_t newest)
{
    struct hf_msg_attach attach = {.stream = {.epoch = epoch, .capture = capture}};

    attach.seq_oldest = oldest;
    attach.seq_acked = acked;
    attach.seq_newest = newest;
    return attach;
}

static struct hf_attach_have target(uint64_t epoch, bool known, uint64_t seq)
{
    struct hf_attach_have have = {.epoch = epoch, .stream_known = known};

    have.progress.stream.epoch = epoch;
    have.progress.stream.capture = capture;
    have.progress.seq = seq;
    return have;
}

static struct hf_msg_attach_ok decide(struct hf_msg_attach attach, struct hf_attach_have have)
{
    struct hf_msg_attach_ok ok;

    hf_attach_decide(&attach, &have, &ok);
    return ok;
}

static void a_new_machine_gets_the_first_epoch_and_a_full_pass(void **state)
{
    struct hf_msg_attach_ok ok = decide(source(0, 0, 0, 4096), target(0, false, 0));

    assert_int_equal(ok.verdict, HF_ATTACH_NEW);
    assert_int_equal(ok.stream.epoch, 1);
}

static void a_new_capture_over_a_whole_base_needs_a_checksum_pass(void **state)
{
    struct hf_attach_have have = target(1, false, 0);
    struct hf_msg_attach_ok ok;

    have.complete_mask = 1;
    ok = decide(source(1, 0, 0, 4096), have);
    assert_int_equal(ok.verdict, HF_ATTACH_CHECKSUM);
    assert_int_equal(ok.disk_complete_mask, 1);
}

static void a_known_stream_resumes_where_the_target_is_durable(void **state)
{
    struct hf_msg_attach_ok ok = decide(source(1, 1000, 1000, 9000), target(1, true, 5000));

    assert_int_equal(ok.verdict, HF_ATTACH_RESUME);
    assert_int_equal(ok.seq, 5000);
}

static void fault_07_a_target_behind_what_it_acknowledged_is_diverged(void **state)
{
    assert_int_equal(decide(source(1, 1000, 6000, 9000), target(1, true, 5000)).verdict,
                     HF_ATTACH_DIVERGED);
}

static void fault_19_a_source_that_no_longer_holds_what_follows_is_diverged(void **state)
{
    assert_int_equal(decide(source(1, 6000, 0, 9000), target(1, true, 5000)).verdict,
                     HF_ATTACH_DIVERGED);
}

static void a_target_ahead_of_the_source_is_diverged(void **state)
{
    assert_int_equal(decide(source(1, 0, 0, 4000), target(1, true, 5000)).verdict,
                     HF_ATTACH_DIVERGED);
}

static void hazard_9_a_digest_that_differs_at_the_same_sequence_is_diverged(void **state)
{
    struct hf_msg_attach attach = source(1, 1000, 5000, 9000);

    attach.digest_acked.value.bytes[3] = 1;
    assert_int_equal(decide(attach, target(1, true, 5000)).verdict, HF_ATTACH_DIVERGED);
}

static void fault_35_a_store_that_lost_its_history_is_diverged_not_new(void **state)
{
    assert_int_equal(decide(source(1, 1000, 5000, 9000), target(1, false, 0)).verdict,
                     HF_ATTACH_DIVERGED);
}

static void fault_43_a_source_of_an_old_epoch_is_superseded(void **state)
{
    struct hf_msg_attach_ok ok = decide(source(1, 0, 0, 9000), target(2, true, 0));

    assert_int_equal(ok.verdict, HF_ATTACH_SUPERSEDED);
    assert_int_equal(ok.stream.epoch, 2);
}

static void fault_43_a_source_that_forgot_its_epoch_is_superseded_after_a_failover(void **state)
{
    assert_int_equal(decide(source(0, 0, 0, 9000), target(2, false, 0)).verdict,
                     HF_ATTACH_SUPERSEDED);
    assert_int_equal(decide(source(0, 0, 0, 9000), target(1, false, 0)).verdict, HF_ATTACH_NEW);
}

static void an_epoch_this_target_never_issued_is_not_taken_over(void **state)
{
    struct hf_msg_attach_ok ok = decide(source(5, 0, 0, 9000), target(1, false, 0));

    assert_int_equal(ok.verdict, HF_ATTACH_DIVERGED);
    assert_int_equal(ok.stream.epoch, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_machine_gets_the_first_epoch_and_a_full_pass),
        cmocka_unit_test(a_new_capture_over_a_whole_base_needs_a_checksum_pass),
        cmocka_unit_test(a_known_stream_resumes_where_the_target_is_durable),
        cmocka_unit_test(fault_07_a_target_behind_what_it_acknowledged_is_diverged),
        cmocka_unit_test(fault_19_a_source_that_no_longer_holds_what_follows_is_diverged),
        cmocka_unit_test(a_target_ahead_of_the_source_is_diverged),
        cmocka_unit_test(hazard_9_a_digest_that_differs_at_the_same_sequence_is_diverged),
        cmocka_unit_test(fault_35_a_store_that_lost_its_history_is_diverged_not_new),
        cmocka_unit_test(fault_43_a_source_of_an_old_epoch_is_superseded),
        cmocka_unit_test(fault_43_a_source_that_forgot_its_epoch_is_superseded_after_a_failover),
        cmocka_unit_test(an_epoch_this_target_never_issued_is_not_taken_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
