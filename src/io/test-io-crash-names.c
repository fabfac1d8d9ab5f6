// SPDX-License-Identifier: Apache-2.0
/* The crash back end proves journal and store; these tests prove the crash back end: names. */
#include "io/test-crash-support.h"

#include <errno.h>
#include <string.h>

static void a_synced_file_without_its_name_synced_is_gone(void **state)
{
    put("f", "text", true);
    restart(HF_CRASH_LOSE_ALL, 0);
    assert_false(exists("f"));
}

static void a_synced_name_without_its_content_synced_is_empty(void **state)
{
    put("f", "text", false);
    assert_int_equal(hf_io_sync_dir(io, ""), 0);
    restart(HF_CRASH_LOSE_ALL, 0);
    assert_string_equal(text_of("f"), "");
}

static void a_file_in_a_new_directory_needs_the_parent_synced_too(void **state)
{
    for (int sync_parent = 0; sync_parent < 2; sync_parent++) {
        assert_int_equal(hf_io_mkdir(io, "d"), 0);
        put("d/f", "text", true);
        assert_int_equal(hf_io_sync_dir(io, "d"), 0);
        if (sync_parent)
            assert_int_equal(hf_io_sync_dir(io, ""), 0);
        restart(HF_CRASH_LOSE_ALL, 0);
        assert_int_equal(exists("d/f"), sync_parent);
    }
    assert_string_equal(text_of("d/f"), "text");
}

static void an_unlinked_name_comes_back_until_its_directory_is_synced(void **state)
{
    put("f", "text", true);
    assert_int_equal(hf_io_sync_dir(io, ""), 0);
    assert_int_equal(hf_io_unlink(io, "f"), 0);
    restart(HF_CRASH_LOSE_ALL, 0);
    assert_string_equal(text_of("f"), "text");
    assert_int_equal(hf_io_unlink(io, "f"), 0);
    assert_int_equal(hf_io_sync_dir(io, ""), 0);
    restart(HF_CRASH_LOSE_ALL, 0);
    assert_false(exists("f"));
}

static void syncing_one_directory_leaves_the_others_alone(void **state)
{
    assert_int_equal(hf_io_mkdir(io, "d"), 0);
    assert_int_equal(hf_io_mkdir(io, "e"), 0);
    assert_int_equal(hf_io_sync_dir(io, ""), 0);
    put("d/f", "d", true);
    put("e/f", "e", true);
    put("f", "root", true);
    assert_int_equal(hf_io_sync_dir(io, "d"), 0);
    restart(HF_CRASH_LOSE_ALL, 0);
    assert_true(exists("d/f"));
    assert_false(exists("e/f"));
    assert_false(exists("f"));
}

/* The way every catalogue is replaced, cut at every change and with every outcome. */
static int replace_file(void)
{
    struct hf_file *file;
    int error = hf_io_open(io, "new", NEW, &file);

    if (error)
        return error;
    error = hf_io_write(file, "after", 5, 0);
    if (!error)
        error = hf_io_sync(file);
    hf_io_close(file);
    if (!error)
        error = hf_io_rename(io, "new", "f");
    return error ? error : hf_io_sync_dir(io, "");
}

static void check_replaced(bool done, bool *ret_before, bool *ret_after)
{
    const char *text = text_of("f");

    *ret_before |= strcmp(text, "before") == 0;
    *ret_after |= strcmp(text, "after") == 0;
    assert_true(strcmp(text, "after") == 0 || (!done && strcmp(text, "before") == 0));
}

static void replacing_by_rename_is_whole_wherever_the_power_goes(void **state)
{
    bool before = false, after = false;
    uint64_t changes = 5;

    for (uint64_t cut = 0; cut <= changes; cut++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            teardown(NULL);
            assert_int_equal(setup(NULL), 0);
            put("f", "before", true);
            assert_int_equal(hf_io_sync_dir(io, ""), 0);
            hf_io_crash_cut_at(io, hf_io_crash_changes(io) + cut);
            assert_int_equal(replace_file(), cut < changes ? -EIO : 0);
            restart(HF_CRASH_RANDOM, seed);
            check_replaced(cut == changes, &before, &after);
        }
    }
    assert_true(before && after);
}

static void renaming_without_syncing_the_content_may_leave_nothing_in_it(void **state)
{
    put("f", "before", true);
    put("new", "after", false);
    assert_int_equal(hf_io_rename(io, "new", "f"), 0);
    assert_int_equal(hf_io_sync_dir(io, ""), 0);
    restart(HF_CRASH_LOSE_ALL, 0);
    assert_string_equal(text_of("f"), "");
}

static void a_move_between_directories_is_whole_after_either_is_synced(void **state)
{
    static const char *const synced[] = {"d", "e"};

    assert_int_equal(hf_io_mkdir(io, "d"), 0);
    assert_int_equal(hf_io_mkdir(io, "e"), 0);
    put("d/f", "text", true);
    assert_int_equal(hf_io_sync_dir(io, "d"), 0);
    assert_int_equal(hf_io_sync_dir(io, ""), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(hf_io_rename(io, i ? "e/f" : "d/f", i ? "d/f" : "e/f"), 0);
        assert_int_equal(hf_io_sync_dir(io, synced[i]), 0);
        restart(HF_CRASH_LOSE_ALL, 0);
        assert_string_equal(text_of(i ? "d/f" : "e/f"), "text");
        assert_false(exists(i ? "e/f" : "d/f"));
    }
}

static void a_file_is_never_lost_by_moving_it(void **state)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        teardown(NULL);
        assert_int_equal(setup(NULL), 0);
        assert_int_equal(hf_io_mkdir(io, "old"), 0);
        put("old/f", "text", true);
        assert_int_equal(hf_io_sync_dir(io, "old"), 0);
        assert_int_equal(hf_io_sync_dir(io, ""), 0);
        assert_int_equal(hf_io_mkdir(io, "p"), 0);
        assert_int_equal(hf_io_mkdir(io, "p/new"), 0);
        assert_int_equal(hf_io_rename(io, "old/f", "p/new/f"), 0);
        assert_int_equal(hf_io_unlink(io, "old"), 0);
        assert_int_equal(hf_io_rename(io, "p/new/f", "g"), 0);
        if (seed % 3 == 1)
            assert_int_equal(hf_io_sync_dir(io, "p/new"), 0);
        if (seed % 3 == 2)
            assert_int_equal(hf_io_sync_dir(io, ""), 0);
        restart(HF_CRASH_RANDOM, seed);
        assert_int_equal(exists("old/f") + exists("p/new/f") + exists("g"), 1);
        if (seed % 3 != 0)
            assert_string_equal(text_of("g"), "text");
    }
}

static void directories_moved_into_each_other_never_form_a_ring(void **state)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        teardown(NULL);
        assert_int_equal(setup(NULL), 0);
        assert_int_equal(hf_io_mkdir(io, "y"), 0);
        assert_int_equal(hf_io_mkdir(io, "y/x"), 0);
        if (seed % 2) {
            assert_int_equal(hf_io_sync_dir(io, "y"), 0);
            assert_int_equal(hf_io_sync_dir(io, ""), 0);
        }
        assert_int_equal(hf_io_rename(io, "y/x", "x"), 0);
        assert_int_equal(hf_io_rename(io, "y", "x/y"), 0);
        restart(seed < 2 ? HF_CRASH_LOSE_ALL : HF_CRASH_RANDOM, seed);
        if (seed % 2)
            assert_int_equal(exists("y/x") + exists("x/y") + (exists("x") && exists("y")), 1);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_synced_file_without_its_name_synced_is_gone),
        TEST(a_synced_name_without_its_content_synced_is_empty),
        TEST(a_file_in_a_new_directory_needs_the_parent_synced_too),
        TEST(an_unlinked_name_comes_back_until_its_directory_is_synced),
        TEST(syncing_one_directory_leaves_the_others_alone),
        TEST(replacing_by_rename_is_whole_wherever_the_power_goes),
        TEST(renaming_without_syncing_the_content_may_leave_nothing_in_it),
        TEST(a_move_between_directories_is_whole_after_either_is_synced),
        TEST(a_file_is_never_lost_by_moving_it),
        TEST(directories_moved_into_each_other_never_form_a_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
