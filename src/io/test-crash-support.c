// SPDX-License-Identifier: Apache-2.0
#include "io/test-crash-support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct hf_io *io;

int setup(void **state)
{
    return hf_io_crash_new(&io);
}

int teardown(void **state)
{
    hf_io_free(io);
    return 0;
}

struct hf_file *open_file(const char *path, unsigned flags)
{
    struct hf_file *file = NULL;

    assert_int_equal(hf_io_open(io, path, flags, &file), 0);
    return file;
}

bool exists(const char *path)
{
    struct hf_file *file;
    int error = hf_io_open(io, path, HF_OPEN_READ, &file);

    if (error == -EISDIR)
        return true;
    if (error)
        return false;
    hf_io_close(file);
    return true;
}

void put(const char *path, const char *text, bool sync)
{
    struct hf_file *file = open_file(path, NEW);

    assert_int_equal(hf_io_truncate(file, 0), 0);
    assert_int_equal(hf_io_write(file, text, strlen(text), 0), 0);
    if (sync)
        assert_int_equal(hf_io_sync(file), 0);
    hf_io_close(file);
}

/* A file's content as a string; "?" when it is not there. */
const char *text_of(const char *path)
{
    static char text[256];
    struct hf_file *file;
    size_t got = 0;

    if (hf_io_open(io, path, HF_OPEN_READ, &file) != 0)
        return "?";
    assert_int_equal(hf_io_read(file, text, sizeof(text) - 1, 0, &got), 0);
    text[got] = '\0';
    hf_io_close(file);
    return text;
}

void restart(enum hf_crash_survive survive, uint64_t seed)
{
    assert_int_equal(hf_io_crash_restart(io, survive, seed), 0);
}

uint64_t size_of(struct hf_file *file)
{
    struct hf_io_stat info;

    assert_int_equal(hf_io_stat(file, &info), 0);
    return info.size;
}

/* A durable file of `sectors` sectors of the letter; open. */
struct hf_file *durable_file(const char *path, size_t sectors, char letter)
{
    struct hf_file *file = open_file(path, NEW);
    char *data = malloc(sectors * SECTOR);

    memset(data, letter, sectors * SECTOR);
    assert_int_equal(hf_io_write(file, data, sectors * SECTOR, 0), 0);
    assert_int_equal(hf_io_sync(file), 0);
    assert_int_equal(hf_io_sync_dir(io, ""), 0);
    free(data);
    return file;
}

void write_letter(struct hf_file *file, size_t first_sector, size_t sectors, char letter)
{
    char *data = malloc(sectors * SECTOR);

    memset(data, letter, sectors * SECTOR);
    assert_int_equal(hf_io_write(file, data, sectors * SECTOR, first_sector * SECTOR), 0);
    free(data);
}

/* One letter a sector; every sector must be of one letter throughout. */
const char *letters_of(const char *path)
{
    static char letters[64];
    char data[SECTOR];
    struct hf_file *file = open_file(path, HF_OPEN_READ);
    size_t count = size_of(file) / SECTOR;

    assert_true(count < sizeof(letters));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(hf_io_read_full(file, data, SECTOR, i * SECTOR), 0);
        for (size_t j = 1; j < SECTOR; j++)
            assert_int_equal(data[j], data[0]);
        letters[i] = data[0] ? data[0] : '0';
    }
    letters[count] = '\0';
    hf_io_close(file);
    return letters;
}
