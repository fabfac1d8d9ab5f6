/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The few kernel types the capture program looks into. Only names matter: every access is relocated
 * to the running kernel when the program is loaded. A ___flavour is the same type as it was, or
 * will be, in other kernels.
 */
#ifndef HF_BPF_KERNEL_TYPES_H
#define HF_BPF_KERNEL_TYPES_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct gendisk;
struct page;

struct block_device {
    __u64 bd_start_sect;
    __u64 bd_nr_sectors;
    struct gendisk *bd_disk;
};
struct block_device___number { /* to 6.9 */
    __u8 bd_partno;
};
struct hf_atomic {
    int counter;
};
struct block_device___flags { /* from 6.10: the number is in the low byte */
    struct hf_atomic __bd_flags;
};

struct gendisk {
    int major;
    int first_minor;
    struct block_device *part0;
    __u64 diskseq;
};

struct bvec_iter {
    __u64 bi_sector;
    __u32 bi_size;
    __u32 bi_idx;
    __u32 bi_bvec_done;
};

struct bio_vec {
    struct page *bv_page;
    __u32 bv_len;
    __u32 bv_offset;
};

struct bio {
    struct bio *bi_next;
    struct block_device *bi_bdev;
    __u32 bi_opf;
    __u8 bi_status;
    struct bvec_iter bi_iter;
    struct bio_vec *bi_io_vec;
};

struct request_queue {
    struct gendisk *disk;
};

struct request {
    struct request_queue *q;
    __u32 cmd_flags;
    __u32 __data_len;
    __u64 __sector;
    struct bio *bio;
};

/* To find the page of a file of our own. */
struct xa_node {
    void *slots[64];
};
struct xarray {
    void *xa_head;
};
struct address_space {
    struct xarray i_pages;
};
struct file {
    struct address_space *f_mapping;
};
struct fdtable {
    struct file **fd;
};
struct files_struct {
    struct fdtable *fdt;
};
struct mm_struct {
    void *pgd;
};
struct task_struct {
    struct mm_struct *mm;
    struct files_struct *files;
};

#pragma clang attribute pop

#endif
