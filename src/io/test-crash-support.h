// SPDX-License-Identifier: Apache-2.0
/* Small steps on one crash back end, for the tests of it. Each asserts that it works. */
#ifndef HF_IO_TEST_CRASH_SUPPORT_H
#define HF_IO_TEST_CRASH_SUPPORT_H

#include "base/test-support.h"

#include <stdbool.h>

#include "io/io-test.h"

#define RW (HF_OPEN_READ | HF_OPEN_WRITE)
#define NEW (RW | HF_OPEN_CREATE)
#define SECTOR 512

extern struct hf_io *io;

int setup(void **state); /* a new io */
int teardown(void **state);
struct hf_file *open_file(const char *path, unsigned flags);
bool exists(const char *path);
/* Makes the file hold the text. */
void put(const char *path, const char *text, bool sync);
/* A file's content as a string; "?" when it is not there. */
const char *text_of(const char *path);
void restart(enum hf_crash_survive survive, uint64_t seed);
uint64_t size_of(struct hf_file *file);
/* A durable file of `sectors` sectors of the letter; open. */
struct hf_file *durable_file(const char *path, size_t sectors, char letter);
void write_letter(struct hf_file *file, size_t first_sector, size_t sectors, char letter);
/* One letter a sector ('0' for zeros); every sector must be of one letter throughout. */
const char *letters_of(const char *path);

#endif
