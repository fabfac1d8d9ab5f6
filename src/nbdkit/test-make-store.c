// SPDX-License-Identifier: Apache-2.0
/* For the plugin's test: DIR/store holds the reference workload; DIR/latest.N.raw and DIR/old.N.raw
 * are disk N as the naive model has it at the newest and at an older position, which is printed. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/base.h"
#include "store/store-test.h"

static uint64_t an_older_point(const struct hf_test_source *source, uint64_t oldest)
{
    uint64_t newest = hf_test_position(source);

    for (uint64_t at = oldest + (newest - oldest) / 2; at < newest; at++) {
        if (hf_model_openable(&source->model, at))
            return at;
    }
    return newest;
}

static void write_image(const struct hf_test_source *source, const char *directory,
                        const char *name, uint64_t position, uint16_t disk)
{
    static uint8_t image[HF_TEST_DISK_BYTES_MAX];
    uint64_t size = hf_model_size(&source->model, position, disk);
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s.%u.raw", directory, name, disk);
    hf_model_image(&source->model, position, disk, image, size);
    file = fopen(path, "w");
    HF_ASSERT(file != NULL && fwrite(image, 1, size, file) == size && fclose(file) == 0);
}

int main(int argc, char **argv)
{
    struct hf_machine_status status;
    struct hf_test_source source;
    struct hf_test_store store;
    struct hf_io *io;
    char path[4096];
    uint64_t older;

    HF_ASSERT(argc == 2);
    snprintf(path, sizeof(path), "%s/store", argv[1]);
    HF_ASSERT(mkdir(path, 0700) == 0 && hf_io_file_new(path, &io) == 0);
    hf_test_store_init(&store, io, 5);
    hf_test_source_init(&source, &store, 6);
    store.options.retention.window_ns = 3 * HF_NS_PER_S;
    HF_ASSERT(hf_test_store_open(&store) == 0 && hf_test_workload(&source) == 0);
    HF_ASSERT(hf_machine_status(store.machine, &status) == 0);
    older = an_older_point(&source, status.summary.oldest_openable);
    for (uint16_t disk = 0; disk < 2; disk++) {
        write_image(&source, argv[1], "latest", hf_test_position(&source), disk);
        write_image(&source, argv[1], "old", older, disk);
    }
    printf("%llu\n", (unsigned long long)older);
    hf_test_source_done(&source);
    hf_test_store_close(&store);
    hf_io_free(io);
    return 0;
}
