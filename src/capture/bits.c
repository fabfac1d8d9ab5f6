// SPDX-License-Identifier: Apache-2.0
/*
 * The bit maps of disks: making, adopting, enlarging, and the two generations of each.
 *
 * Crash argument. A bit may be set twice or too long, never lost: folding sets the bits in the new
 * place before it clears them in the old one, with atomic instructions, because programs set bits
 * at the same time. Maps are installed in the outer map complete, in one step, and that step waits
 * for programs that still use the map before it.
 */
#include <bpf/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include "capture/capture-internal.h"

#define SHIFT_MIN 12 /* HF_CAPTURE_BIT_BYTES_MIN */
#define SHIFT_MAX 40
#define GENERATIONS 2

static uint64_t word_count_of(uint64_t disk_bytes, uint32_t shift)
{
    uint64_t bits = (disk_bytes >> shift) + ((disk_bytes & ((1ull << shift) - 1)) != 0);

    return HF_MAX(1, (bits + 63) / 64);
}

/* Memory of the four maps a disk needs for one target. */
uint64_t hf_capture_bits_memory(uint64_t disk_bytes, uint32_t shift)
{
    uint64_t bytes = (word_count_of(disk_bytes, shift) + HF_MAP_HEAD_WORDS) * sizeof(uint64_t);

    return HF_ALIGN_UP(bytes, 4096) * HF_MAP_KINDS * GENERATIONS;
}

/* The smallest bits whose four maps fit the budget; 0 when none do. */
uint32_t hf_capture_bits_shift(uint64_t disk_bytes, uint64_t budget_bytes)
{
    for (uint32_t shift = SHIFT_MIN; shift <= SHIFT_MAX; shift++)
        if (hf_capture_bits_memory(disk_bytes, shift) <= budget_bytes)
            return shift;
    return 0;
}

static unsigned generation_index(const struct hf_capture *capture, unsigned target,
                                 enum hf_capture_map_kind kind,
                                 enum hf_capture_generation generation)
{
    uint32_t generations = __atomic_load_n(&capture->control->generations, __ATOMIC_ACQUIRE);
    unsigned current = generations >> (target * HF_MAP_KINDS + kind) & 1;

    return generation == HF_GENERATION_CURRENT ? current : !current;
}

struct hf_capture_bits *hf_capture_bits_of(struct hf_capture *capture, unsigned slot,
                                           unsigned target, enum hf_capture_map_kind kind,
                                           enum hf_capture_generation generation)
{
    unsigned index;
    struct hf_capture_bits *bits;

    if (!hf_capture_slot_used(capture, slot) || target >= HF_TARGETS_MAX ||
        (unsigned)kind >= HF_MAP_KINDS)
        return NULL;
    index = HF_MAP_INDEX(slot, target, kind, generation_index(capture, target, kind, generation));
    bits = &capture->bits[index];
    return bits->words ? bits : NULL;
}

static int map_bits(const struct hf_capture *capture, int fd, uint64_t entries,
                    struct hf_capture_bits *bits)
{
    size_t bytes = HF_ALIGN_UP(entries * sizeof(uint64_t), capture->page_bytes);
    uint64_t *words = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (words == MAP_FAILED)
        return -errno;
    bits->words = words;
    bits->map_bytes = bytes;
    return 0;
}

static void read_geometry(struct hf_capture_bits *bits)
{
    bits->shift = bits->words[HF_MAP_HEAD_GEOMETRY] & 0xff;
    bits->bit_count = bits->words[HF_MAP_HEAD_GEOMETRY] >> 8;
}

static void unmap_bits(struct hf_capture_bits *bits)
{
    if (bits->words)
        munmap(bits->words, bits->map_bytes);
    *bits = (struct hf_capture_bits){.words = NULL};
}

/* A complete inner map, mapped. The descriptor is the caller's. */
static int make_bits(const struct hf_capture *capture, uint64_t disk_bytes, uint32_t shift,
                     int *ret_fd, struct hf_capture_bits *ret_bits)
{
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
    uint64_t words = word_count_of(disk_bytes, shift);
    uint64_t entries = words + HF_MAP_HEAD_WORDS;
    struct hf_capture_bits bits = {.words = NULL};
    int rc, fd;

    if (entries > UINT32_MAX)
        return -ERANGE;
    fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "hf_bits_inner", sizeof(uint32_t), sizeof(uint64_t),
                        (uint32_t)entries, &options);
    if (fd < 0)
        return fd;
    rc = map_bits(capture, fd, entries, &bits);
    if (rc || !bits.words) {
        close(fd);
        return rc ? rc : -ENOMEM;
    }
    bits.words[HF_MAP_HEAD_GEOMETRY] = words * 64 << 8 | shift;
    read_geometry(&bits);
    *ret_fd = fd;
    *ret_bits = bits;
    return 0;
}

static int install_bits(struct hf_capture *capture, unsigned index, uint64_t disk_bytes,
                        uint32_t shift, struct hf_capture_bits *ret_before)
{
    struct hf_capture_bits bits;
    int fd = -1, rc = make_bits(capture, disk_bytes, shift, &fd, &bits);

    if (rc)
        return rc;
    rc = bpf_map_update_elem(capture->bits_fd, &index, &fd, BPF_ANY);
    close(fd);
    if (rc) {
        unmap_bits(&bits);
        return rc;
    }
    *ret_before = capture->bits[index];
    capture->bits[index] = bits;
    capture->control->maps_bytes += bits.map_bytes;
    capture->control->maps_bytes -= ret_before->map_bytes;
    return 0;
}

int hf_capture_bits_create(struct hf_capture *capture, unsigned slot, unsigned target,
                           uint64_t disk_bytes, uint32_t shift)
{
    struct hf_capture_bits before;
    unsigned first = HF_MAP_INDEX(slot, target, 0, 0);
    int rc = 0;

    for (unsigned i = 0; !rc && i < HF_MAP_KINDS * GENERATIONS; i++)
        rc = install_bits(capture, first + i, disk_bytes, shift, &before);
    return rc;
}

void hf_capture_bits_destroy(struct hf_capture *capture, unsigned slot)
{
    unsigned first = HF_MAP_INDEX(slot, 0, 0, 0);
    unsigned end = HF_MAP_INDEX(slot + 1, 0, 0, 0);

    for (unsigned index = first; index < end; index++) {
        (void)bpf_map_delete_elem(capture->bits_fd, &index);
        capture->control->maps_bytes -= capture->bits[index].map_bytes;
        unmap_bits(&capture->bits[index]);
    }
}

static int adopt_one(struct hf_capture *capture, unsigned index)
{
    struct bpf_map_info info = {.id = 0};
    uint32_t id, size = sizeof(info);
    int fd, rc;

    if (bpf_map_lookup_elem(capture->bits_fd, &index, &id))
        return 0; /* none there */
    fd = bpf_map_get_fd_by_id(id);
    if (fd < 0)
        return fd;
    rc = bpf_obj_get_info_by_fd(fd, &info, &size);
    if (!rc)
        rc = map_bits(capture, fd, info.max_entries, &capture->bits[index]);
    if (!rc)
        read_geometry(&capture->bits[index]);
    close(fd);
    return rc;
}

int hf_capture_bits_adopt(struct hf_capture *capture)
{
    uint64_t bytes = 0;
    int rc = 0;

    for (unsigned index = 0; !rc && index < HF_MAP_COUNT; index++) {
        if (!hf_capture_slot_used(capture, index / HF_MAP_INDEX(1, 0, 0, 0)))
            continue;
        rc = adopt_one(capture, index);
        bytes += capture->bits[index].map_bytes;
    }
    capture->control->maps_bytes = bytes;
    return rc;
}

static void or_word(uint64_t *word, uint64_t mask)
{
    if ((__atomic_load_n(word, __ATOMIC_RELAXED) & mask) != mask)
        __atomic_fetch_or(word, mask, __ATOMIC_SEQ_CST);
}

/* Bits [first, end). */
static void set_bits(struct hf_capture_bits *bits, uint64_t first, uint64_t end)
{
    uint64_t *words = bits->words + HF_MAP_HEAD_WORDS;

    end = HF_MIN(end, bits->bit_count);
    while (first < end) {
        uint64_t stop = HF_MIN(end, (first | 63) + 1);
        uint64_t mask = ~0ull << (first & 63);

        if (stop & 63)
            mask &= (1ull << (stop & 63)) - 1;
        or_word(&words[first / 64], mask);
        first = stop;
    }
}

static void set_bytes(struct hf_capture_bits *bits, uint64_t offset, uint64_t length)
{
    uint64_t end = offset + length;

    set_bits(bits, offset >> bits->shift, (end + (1ull << bits->shift) - 1) >> bits->shift);
}

/* Turns the flag that stands for every bit into bits. Of a generation that no program writes. */
void hf_capture_bits_spread(struct hf_capture_bits *bits)
{
    if (!(bits->words[HF_MAP_HEAD_FLAGS] & HF_MAP_FLAG_ALL))
        return;
    set_bits(bits, 0, bits->bit_count);
    __atomic_fetch_and(&bits->words[HF_MAP_HEAD_FLAGS], ~(uint64_t)HF_MAP_FLAG_ALL,
                       __ATOMIC_SEQ_CST);
}

/* What is left in the old generation goes into the current one; the old one is empty afterwards. */
void hf_capture_bits_fold(struct hf_capture *capture, unsigned slot, unsigned target,
                          enum hf_capture_map_kind kind)
{
    struct hf_capture_bits *old =
        hf_capture_bits_of(capture, slot, target, kind, HF_GENERATION_OLD);
    struct hf_capture_bits *current =
        hf_capture_bits_of(capture, slot, target, kind, HF_GENERATION_CURRENT);
    uint64_t words;

    if (!old || !current)
        return;
    words = old->bit_count / 64 + HF_MAP_HEAD_WORDS;
    for (uint64_t i = HF_MAP_HEAD_FLAGS; i < words; i++) {
        if (!old->words[i])
            continue;
        or_word(&current->words[i], old->words[i]);
        __atomic_store_n(&old->words[i], 0, __ATOMIC_SEQ_CST);
    }
}

static void copy_bits(const struct hf_capture_bits *from, struct hf_capture_bits *to,
                      uint64_t disk_bytes)
{
    const uint64_t *words = from->words + HF_MAP_HEAD_WORDS;
    uint64_t flags = from->words[HF_MAP_HEAD_FLAGS];
    uint64_t end = from->bit_count << from->shift;

    for (uint64_t bit = 0; bit < from->bit_count; bit++) {
        if (!words[bit / 64]) {
            bit |= 63;
            continue;
        }
        if (words[bit / 64] >> (bit & 63) & 1)
            set_bytes(to, bit << from->shift, 1ull << from->shift);
    }
    if (flags & HF_MAP_FLAG_ALL)
        set_bits(to, 0, to->bit_count);
    if ((flags & HF_MAP_FLAG_BEYOND) && disk_bytes > end)
        set_bytes(to, end, disk_bytes - end);
}

/* Larger maps in place of the ones of a slot and target. Nobody uses the old map once the new one
 * is installed. */
int hf_capture_bits_regrow(struct hf_capture *capture, unsigned slot, unsigned target,
                           uint64_t disk_bytes, uint32_t shift)
{
    unsigned first = HF_MAP_INDEX(slot, target, 0, 0);
    struct hf_capture_bits before;

    for (unsigned i = 0; i < HF_MAP_KINDS * GENERATIONS; i++) {
        int rc = install_bits(capture, first + i, disk_bytes, shift, &before);

        if (rc)
            return rc;
        if (before.words)
            copy_bits(&before, &capture->bits[first + i], disk_bytes);
        unmap_bits(&before);
    }
    return 0;
}

/* All of the disk is in doubt, for every target. */
void hf_capture_bits_set_all(struct hf_capture *capture, unsigned slot, unsigned cause)
{
    for (unsigned target = 0; target < HF_TARGETS_MAX; target++) {
        struct hf_capture_bits *bits =
            hf_capture_bits_of(capture, slot, target, HF_MAP_LOST, HF_GENERATION_CURRENT);

        if (bits)
            or_word(&bits->words[HF_MAP_HEAD_FLAGS], HF_MAP_FLAG_ALL);
    }
    hf_capture_count_lost(capture, slot, cause);
}

int hf_capture_map_set(struct hf_capture *capture, unsigned slot, unsigned target,
                       enum hf_capture_map_kind kind, uint64_t offset_bytes, uint64_t length_bytes)
{
    struct hf_capture_bits *bits =
        hf_capture_bits_of(capture, slot, target, kind, HF_GENERATION_CURRENT);
    uint64_t end;

    if (!bits)
        return -ENODEV;
    if (!hf_add_u64(offset_bytes, length_bytes, &end))
        return -EINVAL;
    if (!length_bytes)
        return 0;
    set_bytes(bits, offset_bytes, length_bytes);
    if (end > bits->bit_count << bits->shift)
        or_word(&bits->words[HF_MAP_HEAD_FLAGS], HF_MAP_FLAG_BEYOND);
    if (kind == HF_MAP_LOST)
        hf_capture_count_lost(capture, slot, HF_CAUSE_FORCED);
    return 0;
}
