// SPDX-License-Identifier: Apache-2.0
/*
 * Capture: everything written to the protected disks of this machine, in order, in a ring that
 * outlives the agent. The idea, the invariants and the hazards are in README.md beside this file.
 *
 * Positions. The sequence of a record is its byte position in the ring since the capture began; a
 * record occupies [position, position_end) and the next one begins at position_end. Records stay
 * readable until hf_capture_release moves the ring's consumer position past them; that position is
 * kept by the kernel, so an agent that was killed goes on exactly where it was.
 *
 * Modes. DATA: content is captured. DIRTY: only maps grow. The kernel program leaves DATA by itself
 * (ring full, no heartbeat, a disk exchanged, ...); back to DATA is the caller's decision
 * (hf_capture_data_begin). No recovery point lies between the first lost write and the end of the
 * pass that repaired it: a mark says how many ranges had been lost when it was set (lost_events),
 * and that number must be the one of the last complete pass's beginning.
 *
 * Threads. One thread at a time uses a handle, with these exceptions: hf_capture_peek, _release and
 * _wait may run in one thread while another thread does everything else. Nothing here blocks on
 * disks or the network; calls marked "quiesces" wait for every capture program that is running at
 * the moment (milliseconds).
 *
 * Needs root or CAP_BPF + CAP_PERFMON + CAP_SYS_ADMIN to open; marks need only the descriptors
 * held.
 */
#ifndef HF_CAPTURE_CAPTURE_H
#define HF_CAPTURE_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "bpf/capture-event.h"

#define HF_CAPTURE_BPFFS "/sys/fs/bpf"
#define HF_CAPTURE_RING_BYTES_DEFAULT (64u << 20)
#define HF_CAPTURE_MAPS_BYTES_DEFAULT (24u << 20) /* with ring and tables below 96 MiB */
#define HF_CAPTURE_HEARTBEAT_MS_DEFAULT (10u * 60 * 1000)
#define HF_CAPTURE_BIT_BYTES_MIN 4096

struct hf_capture;

struct hf_capture_options {
    const char *directory; /* on a bpffs, e.g. /sys/fs/bpf/holdfast/main; made (0700) when absent,
                              and the bpffs is mounted when HF_CAPTURE_BPFFS has none */
    uint32_t ring_bytes;   /* power of two of at least a page; 0: default. Only for a new capture */
    uint64_t maps_bytes_max; /* of all bit maps together; 0: default. Only for a new capture */
    uint64_t heartbeat_timeout_ms; /* 0: default */
    bool adopt_only;               /* -ENOENT instead of a new capture */
};

/*
 * Adopts the capture pinned in the directory, or begins a new one (DIRTY, cause START, no disks).
 * Adopting loads this build's programs and exchanges them under load when they differ from the
 * pinned ones; nothing is lost either way. A half-made directory (killed while beginning) is
 * removed and begun anew. Errors: -ENOENT (adopt_only), HF_EVERSION (pinned objects of another
 * layout: detach decides, or the older agent), -EBUSY (another process has this capture open,
 * looked at for about a second),
 * -EPERM, -ENOTSUP (kernel without BTF or without the tracepoints), -EINVAL, other errno of bpf(2).
 * *ret_capture is freed by hf_capture_close.
 */
int hf_capture_open(const struct hf_capture_options *options, struct hf_capture **ret_capture);

/* Lets go of it: capturing goes on in the kernel until the ring is full. NULL is fine. */
void hf_capture_close(struct hf_capture *capture);

/* Removes every trace: links, programs, maps, pins, the directory. The capture must not be open in
 * this process. 0 also when there is nothing. -EBUSY when another process has it open. */
int hf_capture_detach(const char *directory);

bool hf_capture_adopted(const struct hf_capture *capture); /* false: begun by this open */
void hf_capture_get_id(const struct hf_capture *capture, struct hf_id *ret_id);

/* ---- the ring ---- */

/* A record in place. The pointers stay valid until the record is released or the capture is closed.
 */
struct hf_capture_view {
    uint64_t position;
    uint64_t position_end;
    const struct hf_capture_record *record;
    const void *content; /* record->content_bytes bytes, contiguous */
};

/*
 * The first record at or behind from_position (which is a position_end seen before, or the consumer
 * position); discarded reservations in between are skipped. Zero copy, no system call.
 * -EAGAIN: nothing committed there yet. -EINVAL: the position was released or lies ahead of the
 * ring. HF_ECORRUPT: no record begins there.
 */
int hf_capture_peek(struct hf_capture *capture, uint64_t from_position,
                    struct hf_capture_view *ret_view);

/* Frees everything before `position` (acknowledged; a position_end seen before). Never goes back:
 * an older position changes nothing. -EINVAL when it lies ahead of the ring. */
int hf_capture_release(struct hf_capture *capture, uint64_t position);

uint64_t hf_capture_consumer_position(const struct hf_capture *capture); /* first not released */
uint64_t
hf_capture_producer_position(const struct hf_capture *capture); /* end of the last reserved */

/* Sleeps until about `level_bytes` lie behind from_position or timeout_ms passed. 0 always, or
 * -errno. */
int hf_capture_wait(struct hf_capture *capture, uint64_t from_position, uint32_t level_bytes,
                    int timeout_ms);

/* ---- marks ---- */

/*
 * Puts a MARK into the ring: every write completed before the call lies before it, every write
 * submitted after the call behind it. `kind` and up to HF_CAPTURE_MARK_MAX bytes of payload are the
 * caller's. need_data: -ESTALE instead of a mark when the mode is DIRTY. -ENOSPC: the ring is full
 * (the mode is left alone). ret_position is that of the mark (its sequence), ret_position_end its
 * end; either may be NULL. Any thread.
 */
int hf_capture_mark(struct hf_capture *capture, uint32_t kind, const void *payload,
                    size_t payload_bytes, bool need_data, uint64_t *ret_position,
                    uint64_t *ret_position_end);

/* ---- modes, passes, generations ---- */

/* DIRTY from now on. cause: HF_CAUSE_FORCED or HF_CAUSE_BUDGET. -EINVAL for any other. Quiesces. */
int hf_capture_force_dirty(struct hf_capture *capture, enum hf_capture_cause cause);

/*
 * From DIRTY back to DATA. GAP goes into the ring; the mode becomes DATA and content flows; the
 * lost generation of every target is swapped; a new epoch begins; the MARK (kind, payload: the
 * caller's PASS_BEGIN) follows. From its position on the caller runs a pass: each range of the old
 * lost generation, once hf_capture_inflight_before(..., *ret_epoch) says 0 for it, is read from the
 * disk with O_DIRECT, is ordered at the mark, and its bits are cleared when the target has
 * confirmed it. -EALREADY: the mode is DATA (use hf_capture_pass_begin). -EAGAIN: overflowed again
 * meanwhile, the mode is DIRTY. -ENOSPC: no room for the marks. -ESTALE: a disk waits for
 * hf_capture_disk_confirm. -ENODATA: page addresses could not be verified (cause NO_PAGE_ADDRESS):
 * this kernel stays DIRTY. Quiesces.
 */
int hf_capture_data_begin(struct hf_capture *capture, uint32_t kind, const void *payload,
                          size_t payload_bytes, uint64_t *ret_position, uint64_t *ret_epoch);

/* The same without leaving DATA mode: for initial and checksum passes and when lost_events rose.
 * `target_mask`: whose lost generations are swapped. -EAGAIN when the mode is DIRTY. Quiesces. */
int hf_capture_pass_begin(struct hf_capture *capture, uint32_t target_mask, uint32_t kind,
                          const void *payload, size_t payload_bytes, uint64_t *ret_position,
                          uint64_t *ret_epoch);

/*
 * Writes to [offset, offset + length) of the disk in flight that were issued before `epoch` began:
 * their number. A pass of that epoch reads the range when it is 0, and need not look again
 * afterwards: data_begin and pass_begin return when every program of an earlier epoch has finished,
 * so entries of earlier epochs only disappear, and a write of this epoch has its record behind the
 * pass's mark and wins over what was read. Entries of completions the kernel kept from us never
 * leave by themselves: hf_capture_inflight_expire. -ENODEV: no such disk.
 */
int hf_capture_inflight_before(struct hf_capture *capture, unsigned slot, uint64_t offset_bytes,
                               uint64_t length_bytes, uint64_t epoch);

/* Puts writes in flight for longer than age_ms into the lost map and forgets them (should one still
 * be in flight, its completion, now unknown, sets the bits again). Returns how many, or negative
 * errno. */
int hf_capture_inflight_expire(struct hf_capture *capture, uint64_t age_ms);

/*
 * Begins a new generation of the unconfirmed (or lost) map of a target: bits that were set before
 * are now the OLD generation, and for UNCONFIRMED every one of them has its record before the MARK
 * put into the ring here (or is in a lost map). Clear OLD when the target has confirmed the mark's
 * position. Bits of OLD that were not cleared by the next swap go back into the current generation:
 * no bit is ever lost. Quiesces.
 */
int hf_capture_generation_swap(struct hf_capture *capture, enum hf_capture_map_kind kind,
                               unsigned target, uint32_t mark_kind, const void *payload,
                               size_t payload_bytes, uint64_t *ret_position);

enum hf_capture_generation { HF_GENERATION_OLD = 0, HF_GENERATION_CURRENT = 1 };

/* Bytes one bit of the disk's maps stands for (a power of two), or negative errno. */
int64_t hf_capture_map_bit_bytes(struct hf_capture *capture, unsigned slot);

/* The first run of set bits at or behind from_bytes, at most length_max bytes long and cut at the
 * disk's end. 1: found, 0: none, -ENODEV: no such disk or target. */
int hf_capture_map_next(struct hf_capture *capture, unsigned slot, unsigned target,
                        enum hf_capture_map_kind kind, enum hf_capture_generation generation,
                        uint64_t from_bytes, uint64_t length_max, uint64_t *ret_offset_bytes,
                        uint64_t *ret_length_bytes);

/* Copies the generation's bits: bit i is the block [i, i + 1) * bit size. word_count words are
 * written; bits behind the disk's end are 0. -ERANGE: too few words for the disk. */
int hf_capture_map_read(struct hf_capture *capture, unsigned slot, unsigned target,
                        enum hf_capture_map_kind kind, enum hf_capture_generation generation,
                        uint64_t *ret_words, size_t word_count);

/* Clears bits of the OLD generation; narrowed to whole bits, except that the disk's end counts as
 * whole. */
int hf_capture_map_clear(struct hf_capture *capture, unsigned slot, unsigned target,
                         enum hf_capture_map_kind kind, uint64_t offset_bytes,
                         uint64_t length_bytes);

/* Sets bits of the CURRENT generation (a hop lost what it had acknowledged, a pass failed); widened
 * to whole bits. For LOST it counts as a lost event. */
int hf_capture_map_set(struct hf_capture *capture, unsigned slot, unsigned target,
                       enum hf_capture_map_kind kind, uint64_t offset_bytes, uint64_t length_bytes);

/* Set bits times bit size, cut at the disk's end. */
int hf_capture_map_bytes(struct hf_capture *capture, unsigned slot, unsigned target,
                         enum hf_capture_map_kind kind, enum hf_capture_generation generation,
                         uint64_t *ret_bytes);

/* ---- disks ---- */

#define HF_DISK_TEXT_MAX 128
struct hf_disk_identity {
    char name[32];                   /* kernel name of the node given: "vda", "sda2" */
    unsigned major, minor;           /* of the node given */
    unsigned disk_major, disk_minor; /* of the whole disk */
    unsigned partition;              /* 0 for a whole disk */
    uint64_t diskseq;
    uint64_t start_bytes; /* of the partition */
    uint64_t size_bytes;
    uint32_t logical_block_bytes;
    bool bio_based; /* dm, md, zram: no requests of its own */
    bool zoned, dax, read_only;
    char serial[HF_DISK_TEXT_MAX]; /* "" when the disk has none */
    char wwid[HF_DISK_TEXT_MAX];
    char partition_uuid[64];
};

/* Who a block device is. -ENOTBLK, -ENOENT, other errno. Reads sysfs and asks the device; any
 * thread. */
int hf_disk_identify(const char *path, struct hf_disk_identity *ret_identity);

/*
 * Protects a disk: from here its writes are captured (or put into the maps). Puts DISK(ADD) into
 * the ring before the first of them. target_mask: the targets that need maps. Bits are as small as
 * the map budget allows. The disk's content up to now is in no map: the caller runs a full pass, or
 * hf_capture_map_set over everything. -EOPNOTSUPP: zoned or DAX. -EEXIST: protected already.
 * -ENOSPC: no slot, no map budget, or no room in the ring. Quiesces.
 */
int hf_capture_disk_add(struct hf_capture *capture, const struct hf_disk_identity *identity,
                        uint32_t target_mask, unsigned *ret_slot);

/* Ends the protection; DISK(REMOVE) follows the last record of the disk. -ENODEV, -ENOSPC.
 * Quiesces. */
int hf_capture_disk_remove(struct hf_capture *capture, unsigned slot);

/* After a DISK(RESIZE) record: maps for the new size, old bits kept, the part that is new set in
 * the lost maps. -ENOSPC: no map budget. Quiesces. */
int hf_capture_disk_resized(struct hf_capture *capture, unsigned slot);

/* The disk in the slot was exchanged, and the operator says that the new one is meant: takes its
 * identity, puts all of it into the lost maps. The mode stays DIRTY until hf_capture_data_begin.
 * Quiesces. */
int hf_capture_disk_confirm(struct hf_capture *capture, unsigned slot,
                            const struct hf_disk_identity *identity);

/* The slot's state: a copy. -ENODEV when it is not in use. */
int hf_capture_disk_get(struct hf_capture *capture, unsigned slot,
                        struct hf_capture_disk *ret_disk);

/* The slot that protects this disk or partition, or -ENOENT. */
int hf_capture_disk_find(struct hf_capture *capture, const struct hf_disk_identity *identity);

/* ---- housekeeping ---- */

/* "The agent lives": at least every few seconds. Also accounts what the kernel can only tell when
 * asked: a skipped capture program (its recursion guard) puts every disk into the lost maps. 0 or
 * -errno. */
int hf_capture_heartbeat(struct hf_capture *capture);

struct hf_capture_stats {
    enum hf_capture_mode mode;
    enum hf_capture_cause cause; /* of DIRTY */
    uint64_t dirty_since_boot_ns;
    uint64_t records, content_bytes, requests;
    uint64_t dirty_requests, dirty_bytes;
    uint64_t lost_events;
    uint64_t causes[HF_CAUSE_COUNT];
    uint64_t ring_bytes, fill_bytes, fill_bytes_max;
    uint64_t reserve_failures;
    uint64_t missed_completions; /* put into the lost map */
    uint64_t twin_completions;   /* that only the second completion program saw */
    uint64_t overlaps, overlap_checks;
    uint64_t oldest_age_ns; /* of the record at the consumer position */
    uint64_t stall_ns_max;  /* the longest such age that the ring survived */
    uint64_t inflight;
    uint64_t epoch;
    uint64_t maps_bytes, maps_bytes_max;
    uint64_t memory_bytes; /* everything together */
};
int hf_capture_get_stats(struct hf_capture *capture, struct hf_capture_stats *ret_stats);

const char *hf_capture_cause_name(enum hf_capture_cause cause); /* "ring-full"; static */

/* HF_AGENT_STATE_BYTES of memory pinned with the capture, zero at first, the agent's own: what must
 * survive kill -9 but not a reboot. Valid until close. */
void *hf_capture_agent_state(struct hf_capture *capture);

#endif
