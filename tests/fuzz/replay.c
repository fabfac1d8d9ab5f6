// SPDX-License-Identifier: Apache-2.0
/*
 * Runs a fuzz target over the files of a directory, for compilers without libFuzzer. Each input is
 * handed over in a heap block of exactly its size, so that a sanitizer or valgrind sees a read past
 * its end. An empty directory is a failure: it would prove nothing.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_BYTES_MAX ((size_t)64 * 1024 * 1024)

static int read_all(FILE *file, size_t size, uint8_t **ret_data)
{
    uint8_t *data = malloc(size ? size : 1);

    if (!data)
        return -ENOMEM;
    if (fread(data, 1, size, file) != size) {
        free(data);
        return -EIO;
    }
    *ret_data = data;
    return 0;
}

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rbe");
    struct stat st;
    uint8_t *data = NULL;
    int r;

    if (!file)
        return -errno;
    if (fstat(fileno(file), &st) < 0) {
        r = -errno;
        goto out;
    }
    if ((size_t)st.st_size > INPUT_BYTES_MAX) {
        r = -EFBIG;
        goto out;
    }
    r = read_all(file, (size_t)st.st_size, &data);
    if (r == 0)
        LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
out:
    free(data);
    fclose(file);
    return r;
}

/* Replays every entry that is not hidden; stops at none. */
static void replay_directory(const char *path, struct dirent **entries, int count,
                             int *ret_replayed, int *ret_failed)
{
    int replayed = 0, failed = 0;

    for (int i = 0; i < count; i++) {
        char file[4096];
        int r;

        if (entries[i]->d_name[0] == '.')
            continue;
        snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        r = replay_file(file);
        if (r < 0) {
            fprintf(stderr, "%s: %s\n", file, strerror(-r));
            failed++;
        } else {
            replayed++;
        }
    }
    *ret_replayed = replayed;
    *ret_failed = failed;
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    int count, replayed, failed;

    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS-DIRECTORY\n", argv[0]);
        return 2;
    }
    count = scandir(argv[1], &entries, NULL, alphasort);
    if (count < 0) {
        fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    replay_directory(argv[1], entries, count, &replayed, &failed);
    printf("%d inputs replayed, %d failed\n", replayed, failed);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    return replayed > 0 && failed == 0 ? 0 : 1;
}
