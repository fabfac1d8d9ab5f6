// SPDX-License-Identifier: Apache-2.0
/*
 * The manifest: what is durably known of a machine beside its journal. Two files, written in turn:
 * the older one is overwritten and synced, so that one whole manifest survives a cut at any moment.
 * Decoding never trusts a byte. Format: docs/formats/store.md. One thread per struct.
 */
#ifndef HF_STORE_MANIFEST_H
#define HF_STORE_MANIFEST_H

#include "store/description.h"
#include "store/state.h"

/* How the bytes of a disk's base image came about. */
enum hf_base_fill {
    HF_BASE_EMPTY = 0,  /* nothing was ever put there but merges */
    HF_BASE_DIRECT = 1, /* a first pass writes, or wrote, straight into it */
};

struct hf_manifest_disk {
    uint8_t fill; /* enum hf_base_fill */
    struct hf_id fill_capture;
    uint64_t fill_pass;
    uint64_t fill_position; /* records of the disk at or below it do not count: the image begins
                               there */
};

struct hf_manifest {
    uint64_t generation;
    struct hf_id machine;
    char name[HF_MACHINE_NAME_MAX];
    uint64_t hash_secret; /* random; seeds the hashes of every disk, see hf_manifest_secret */
    uint64_t epoch;
    uint64_t base_at;                  /* base images hold every record with position <= this */
    uint64_t oldest_openable;          /* > base_at: a merge to it is under way or was cut */
    struct hf_state state;             /* at base_at */
    struct hf_description description; /* at base_at */
    struct hf_manifest_disk disks[HF_DISKS_MAX];
};

void hf_manifest_clear(struct hf_manifest *manifest); /* releases what it owns; NULL-safe */
int hf_manifest_copy(const struct hf_manifest *from, struct hf_manifest *ret_copy);
/* Records of `disk` at or below this are in its base image, or do not count. */
uint64_t hf_manifest_disk_from(const struct hf_manifest *manifest, uint16_t disk);

/* The seed of a disk's hashes; never 0. */
uint64_t hf_manifest_secret(const struct hf_manifest *manifest, uint16_t disk);

int hf_manifest_encode(const struct hf_manifest *manifest, struct hf_bytes *out);
/* HF_ECORRUPT, HF_EVERSION, HF_ETOOBIG; *ret_manifest is written on success only. */
int hf_manifest_decode(const void *data, size_t size, struct hf_manifest *ret_manifest);

/* The newer valid one of the machine's two. -ENOENT: neither file exists or both are empty;
 * HF_ECORRUPT: none is valid. */
int hf_manifest_read(struct hf_io *io, const struct hf_id *machine,
                     struct hf_manifest *ret_manifest);

/* The writer's side: which file is next, and whether a failed sync has spoilt one. */
struct hf_manifest_writer {
    struct hf_io *io;
    bool spoilt[2]; /* its file must be made anew before it is used (fault 27) */
};
/* Durable when it returns 0; *manifest then has its new generation. After an error the one before
 * is still there. */
int hf_manifest_write(struct hf_manifest_writer *writer, struct hf_manifest *manifest);

#endif
