// SPDX-License-Identifier: Apache-2.0
/* The crash back end proves journal and store; these tests prove the crash back end: content
 * and the cut. */
#include "io/test-crash-support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/error.h"

/* ---- Content, by mode ---- */

static void nothing_unsynced_survives_lose_all(void **state)
{
    struct hf_file *file = durable_file("f", 3, 'a');

    write_letter(file, 1, 4, 'b');
    assert_int_equal(hf_io_punch(file, 0, SECTOR), 0);
    assert_string_equal(letters_of("f"), "0bbbb");
    hf_io_close(file);
    restart(HF_CRASH_LOSE_ALL, 0);
    assert_string_equal(letters_of("f"), "aaa");
}

static void everything_unsynced_survives_keep_all(void **state)
{
    struct hf_file *file = durable_file("f", 3, 'a');

    write_letter(file, 1, 4, 'b');
    assert_int_equal(hf_io_punch(file, 0, SECTOR), 0);
    assert_int_equal(hf_io_truncate(file, 4 * SECTOR), 0);
    put("g", "new", false);
    hf_io_close(file);
    restart(HF_CRASH_KEEP_ALL, 0);
    assert_string_equal(letters_of("f"), "0bbb");
    assert_string_equal(text_of("g"), "new");
}

static void only_the_last_write_is_torn_to_its_first_third(void **state)
{
    struct hf_file *file = durable_file("f", 8, 'a'), *other = durable_file("g", 6, 'a');

    write_letter(other, 0, 6, 'b');
    write_letter(file, 0, 2, 'c');
    write_letter(file, 1, 6, 'd');
    assert_int_equal(hf_io_sync_dir(io, ""), 0);
    hf_io_close(file);
    hf_io_close(other);
    restart(HF_CRASH_TEAR_LAST, 0);
    assert_string_equal(letters_of("f"), "cddaaaaa");
    assert_string_equal(letters_of("g"), "bbbbbb");
}

static void a_torn_append_ends_where_it_was_torn(void **state)
{
    struct hf_file *file = durable_file("f", 2, 'a');

    write_letter(file, 2, 7, 'b');
    hf_io_close(file);
    restart(HF_CRASH_TEAR_LAST, 0);
    assert_string_equal(letters_of("f"), "aabb");
}

static void a_write_inside_one_sector_does_not_tear(void **state)
{
    struct hf_file *file = durable_file("f", 1, 'a');

    assert_int_equal(hf_io_write(file, "bbbbbb", 6, 100), 0);
    hf_io_close(file);
    restart(HF_CRASH_TEAR_LAST, 0);
    assert_string_equal(letters_of("f"), "a");
}

static void a_synced_write_is_never_torn(void **state)
{
    struct hf_file *file = durable_file("f", 6, 'a'), *other = durable_file("g", 6, 'a');

    write_letter(file, 0, 6, 'b');
    write_letter(other, 0, 6, 'b');
    assert_int_equal(hf_io_sync(other), 0);
    hf_io_close(file);
    hf_io_close(other);
    restart(HF_CRASH_TEAR_LAST, 0);
    assert_string_equal(letters_of("f"), "bbaaaa");
    assert_string_equal(letters_of("g"), "bbbbbb");
}

/* Fault 29: writes are lost, torn and reordered, whatever their order was. */
static void random_loses_keeps_tears_and_reorders_writes(void **state)
{
    bool lost = false, kept = false, torn = false, reordered = false, cut = false;

    for (uint64_t seed = 0; seed < 200; seed++) {
        struct hf_file *file = durable_file("f", 8, 'a');
        const char *letters;

        assert_int_equal(hf_io_truncate(file, 8 * SECTOR), 0);
        assert_int_equal(hf_io_sync(file), 0);
        write_letter(file, 0, 4, 'b');
        write_letter(file, 4, 4, 'c');
        write_letter(file, 8, 1, 'd');
        hf_io_close(file);
        restart(HF_CRASH_RANDOM, seed);
        letters = letters_of("f");
        assert_int_equal(strspn(letters, "abcd0"), strlen(letters));
        lost |= strncmp(letters, "aaaaaaaa", 8) == 0;
        kept |= strcmp(letters, "bbbbccccd") == 0;
        torn |= strncmp(letters, "bbbb", 4) != 0 && memchr(letters, 'b', 4);
        reordered |= strncmp(letters, "aaaa", 4) == 0 && strchr(letters, 'c');
        cut |= strlen(letters) == 8 && strstr(letters, "bbbbcccc");
    }
    assert_true(lost && kept && torn && reordered && cut);
}

static void data_may_survive_without_the_size_and_the_size_without_the_data(void **state)
{
    bool zeros = false, nothing = false, both = false;

    for (uint64_t seed = 0; seed < 100; seed++) {
        struct hf_file *file = durable_file("f", 1, 'a');

        assert_int_equal(hf_io_truncate(file, 0), 0);
        assert_int_equal(hf_io_sync(file), 0);
        write_letter(file, 0, 2, 'b');
        hf_io_close(file);
        restart(HF_CRASH_RANDOM, seed);
        zeros |= strcmp(letters_of("f"), "00") == 0;
        nothing |= strcmp(letters_of("f"), "") == 0;
        both |= strcmp(letters_of("f"), "bb") == 0;
    }
    assert_true(zeros && nothing && both);
}

static void the_same_seed_gives_the_same_disk(void **state)
{
    char first[64] = "";

    for (int round = 0; round < 3; round++) {
        struct hf_file *file = durable_file("f", 8, 'a');

        write_letter(file, 0, 8, 'b');
        put("x", "1", false);
        put("y", "2", false);
        hf_io_close(file);
        restart(HF_CRASH_RANDOM, 77);
        if (round == 0)
            snprintf(first, sizeof(first), "%s%d%d", letters_of("f"), exists("x"), exists("y"));
        else
            assert_int_equal(strncmp(first, letters_of("f"), 8), 0);
        assert_int_equal(first[8], '0' + exists("x"));
        assert_int_equal(first[9], '0' + exists("y"));
        hf_io_unlink(io, "x");
        hf_io_unlink(io, "y");
    }
}

/* ---- The cut ---- */

static void changes_before_the_cut_happen_and_none_after(void **state)
{
    struct hf_file *file = durable_file("f", 1, 'a');
    uint64_t start = hf_io_crash_changes(io);
    char data[SECTOR];
    struct hf_file *other;

    hf_io_crash_cut_at(io, start + 2);
    write_letter(file, 0, 1, 'b');
    assert_int_equal(hf_io_sync(file), 0);
    assert_int_equal(hf_io_write(file, "c", 1, 0), -EIO);
    assert_int_equal(hf_io_truncate(file, 0), -EIO);
    assert_int_equal(hf_io_punch(file, 0, 1), -EIO);
    assert_int_equal(hf_io_allocate(file, 0, 100000), -EIO);
    assert_int_equal(hf_io_open(io, "g", NEW, &other), -EIO);
    assert_int_equal(hf_io_mkdir(io, "d"), -EIO);
    assert_int_equal(hf_io_rename(io, "f", "g"), -EIO);
    assert_int_equal(hf_io_unlink(io, "f"), -EIO);
    assert_int_equal(hf_io_sync_dir(io, ""), -EIO);
    assert_int_equal(hf_io_sync(file), -EIO);
    assert_int_equal(hf_io_read_full(file, data, SECTOR, 0), 0);
    hf_io_close(file);
    assert_int_equal(hf_io_crash_changes(io), start + 12);
    restart(HF_CRASH_KEEP_ALL, 0);
    assert_string_equal(letters_of("f"), "b");
    assert_int_equal(hf_io_crash_changes(io), 0);
    put("g", "the power is back", true);
}

static void a_sync_that_the_cut_stops_makes_nothing_durable(void **state)
{
    struct hf_file *file = durable_file("f", 1, 'a');

    write_letter(file, 0, 1, 'b');
    hf_io_crash_cut_at(io, hf_io_crash_changes(io));
    assert_int_equal(hf_io_sync(file), -EIO);
    assert_int_equal(hf_io_sync(file), -HF_ESYNC);
    hf_io_close(file);
    restart(HF_CRASH_LOSE_ALL, 0);
    assert_string_equal(letters_of("f"), "a");
}

static void opening_what_is_there_is_no_change(void **state)
{
    uint64_t changes;

    put("f", "text", true);
    changes = hf_io_crash_changes(io);
    hf_io_close(open_file("f", NEW));
    assert_int_equal(hf_io_crash_changes(io), changes);
}

static void an_open_file_forbids_the_restart(void **state)
{
    struct hf_file *file = open_file("f", NEW);

    assert_int_equal(hf_io_crash_restart(io, HF_CRASH_LOSE_ALL, 0), -EBUSY);
    hf_io_close(file);
    restart(HF_CRASH_LOSE_ALL, 0);
}

static void unsynced_changes_of_an_unlinked_file_leave_with_it(void **state)
{
    struct hf_file *file = durable_file("f", 2, 'a');

    write_letter(file, 0, 2, 'b');
    assert_int_equal(hf_io_unlink(io, "f"), 0);
    assert_int_equal(hf_io_sync_dir(io, ""), 0);
    write_letter(file, 0, 1, 'c');
    hf_io_close(file);
    restart(HF_CRASH_KEEP_ALL, 0);
    assert_false(exists("f"));
}

/* ---- Against a model that keeps every state the file has had ---- */

#define MODEL_SIZE (8 * SECTOR)
#define MODEL_STATES 64

struct model_state {
    uint8_t data[MODEL_SIZE];
    uint64_t size;
};

struct model {
    struct model_state states[MODEL_STATES]; /* from the last sync on; the last is the present */
    size_t count;
};

static void model_write(struct model_state *now, struct hf_random_seeded *seeded, uint64_t offset,
                        uint64_t length, struct hf_file *file)
{
    memset(now->data + offset, (int)(1 + hf_random_seeded_next(seeded) % 255), length);
    now->size = HF_MAX(now->size, offset + length);
    assert_int_equal(hf_io_write(file, now->data + offset, length, offset), 0);
}

static void model_truncate(struct model_state *now, uint64_t size, struct hf_file *file)
{
    memset(now->data + size, 0, MODEL_SIZE - size);
    now->size = size;
    assert_int_equal(hf_io_truncate(file, size), 0);
}

static void model_punch(struct model_state *now, uint64_t offset, uint64_t length,
                        struct hf_file *file)
{
    memset(now->data + offset, 0, length);
    assert_int_equal(hf_io_punch(file, offset, length), 0);
}

static void model_step(struct model *model, struct hf_random_seeded *seeded, struct hf_file *file)
{
    struct model_state *now = &model->states[model->count];
    uint64_t offset = hf_random_seeded_next(seeded) % MODEL_SIZE;
    uint64_t length = 1 + hf_random_seeded_next(seeded) % (MODEL_SIZE - offset);

    *now = model->states[model->count - 1];
    model->count++;
    switch (hf_random_seeded_next(seeded) % 8) {
    case 0:
        model_truncate(now, offset, file);
        return;
    case 1:
        model_punch(now, offset, length, file);
        return;
    case 2:
        assert_int_equal(hf_io_sync(file), 0);
        model->states[0] = *now;
        model->count = 1;
        return;
    case 3:
        now->size = HF_MAX(now->size, offset + length);
        assert_int_equal(hf_io_allocate(file, offset, length), 0);
        return;
    default:
        model_write(now, seeded, offset, HF_MIN(length, (uint64_t)1500), file);
    }
}

/* The sector, as far as the file reaches, is what it was in one of the states. */
static bool sector_was_so(const struct model *model, const uint8_t *data, uint64_t size,
                          uint64_t sector)
{
    uint64_t start = sector * SECTOR, length = HF_MIN(size - start, (uint64_t)SECTOR);

    for (size_t i = 0; i < model->count; i++)
        if (memcmp(model->states[i].data + start, data + start, length) == 0)
            return true;
    return false;
}

static bool size_was_so(const struct model *model, uint64_t size)
{
    for (size_t i = 0; i < model->count; i++)
        if (model->states[i].size == size)
            return true;
    return false;
}

static void check_outcome(struct model *model, enum hf_crash_survive survive)
{
    const struct model_state *first = &model->states[0], *last = &model->states[model->count - 1];
    struct hf_file *file = open_file("f", RW);
    struct model_state found = {.size = size_of(file)};
    size_t got;

    assert_int_equal(hf_io_read(file, found.data, MODEL_SIZE, 0, &got), 0);
    assert_int_equal(got, found.size);
    hf_io_close(file);
    if (survive == HF_CRASH_LOSE_ALL)
        assert_memory_equal(&found, first, sizeof(found));
    if (survive == HF_CRASH_KEEP_ALL)
        assert_memory_equal(&found, last, sizeof(found));
    if (survive == HF_CRASH_RANDOM) {
        assert_true(size_was_so(model, found.size));
        for (uint64_t sector = 0; sector * SECTOR < found.size; sector++)
            assert_true(sector_was_so(model, found.data, found.size, sector));
    }
    model->states[0] = found;
    model->count = 1;
}

static void every_outcome_is_one_that_a_page_cache_could_leave(void **state)
{
    static const enum hf_crash_survive modes[] = {HF_CRASH_LOSE_ALL, HF_CRASH_KEEP_ALL,
                                                  HF_CRASH_RANDOM, HF_CRASH_RANDOM};
    struct model *model = calloc(1, sizeof(*model));
    struct hf_random_seeded seeded;

    hf_random_seeded_init(&seeded, 29);
    put("f", "", true);
    assert_int_equal(hf_io_sync_dir(io, ""), 0);
    model->count = 1;
    for (uint64_t round = 0; round < 2000; round++) {
        enum hf_crash_survive survive = modes[round % HF_ARRAY_COUNT(modes)];
        struct hf_file *file = open_file("f", RW);
        uint64_t steps = hf_random_seeded_next(&seeded) % (MODEL_STATES - 1);

        for (uint64_t i = 0; i < steps; i++)
            model_step(model, &seeded, file);
        hf_io_close(file);
        restart(survive, round);
        check_outcome(model, survive);
    }
    free(model);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_unsynced_survives_lose_all),
        TEST(everything_unsynced_survives_keep_all),
        TEST(only_the_last_write_is_torn_to_its_first_third),
        TEST(a_torn_append_ends_where_it_was_torn),
        TEST(a_write_inside_one_sector_does_not_tear),
        TEST(a_synced_write_is_never_torn),
        TEST(random_loses_keeps_tears_and_reorders_writes),
        TEST(data_may_survive_without_the_size_and_the_size_without_the_data),
        TEST(the_same_seed_gives_the_same_disk),
        TEST(changes_before_the_cut_happen_and_none_after),
        TEST(a_sync_that_the_cut_stops_makes_nothing_durable),
        TEST(opening_what_is_there_is_no_change),
        TEST(an_open_file_forbids_the_restart),
        TEST(unsynced_changes_of_an_unlinked_file_leave_with_it),
        TEST(every_outcome_is_one_that_a_page_cache_could_leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
