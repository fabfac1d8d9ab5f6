// SPDX-License-Identifier: Apache-2.0
/*
 * Where the content of a page lies: address = K + page * 64, with page the address of its struct
 * page and K constant for a boot. K = page_offset_base - vmemmap_base * 64.
 *
 * Sources, in order: the two symbols where the kernel names them; otherwise one page of our own. Of
 * that page (a memfd's) we know its struct page (the file's mapping has it), its frame number
 * (pagemap) and its content, 4 KiB of random bytes: vmemmap_base follows from the first two.
 * page_offset_base is the start of the linear mapping, aligned to 1 GiB, and no more than the
 * machine's memory below the address of our page table's root, which the kernel knows by its linear
 * address: the candidates are tried until the page reads as what we wrote. No luck is involved and
 * no disk is touched.
 *
 * Verified always: K from any source must show the random bytes of two pages made now.
 *
 * Frame numbers are shown to the privileged only, and an agent gives that privilege up once its
 * first capture stands. What was verified then is tried first for a later capture of the same
 * process.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "capture/capture-internal.h"

#define PAGE 4096
#define PAGE_STRUCT 64
#define LINEAR_ALIGN (1ull << 30)
#define CANDIDATES_MAX 65536 /* 64 TiB of memory */

static _Atomic uint64_t k_verified; /* by this process; 0: none yet */

struct probe {
    int fd;
    uint8_t *memory;
    uint8_t expected[PAGE];
    uint64_t page; /* address of its struct page */
    uint64_t root; /* of our page table */
};

static void probe_done(struct probe *probe)
{
    if (probe->memory)
        munmap(probe->memory, PAGE);
    if (probe->fd >= 0)
        close(probe->fd);
}

static int ask_page(struct hf_capture *capture, struct probe *probe)
{
    struct hf_capture_command command = {.command = HF_COMMAND_PAGE,
                                         .argument = (uint64_t)probe->fd};
    int rc = hf_capture_run(capture, &command);

    probe->page = command.ret_values[0];
    probe->root = command.ret_values[1];
    return rc;
}

static int probe_init(struct hf_capture *capture, struct probe *probe)
{
    *probe = (struct probe){.fd = memfd_create("hf-capture-probe", MFD_CLOEXEC)};
    if (probe->fd < 0 || ftruncate(probe->fd, PAGE))
        return -errno;
    probe->memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, probe->fd, 0);
    if (probe->memory == MAP_FAILED) {
        probe->memory = NULL;
        return -errno;
    }
    if (getrandom(probe->expected, PAGE, 0) != PAGE)
        return -EIO;
    memcpy(probe->memory, probe->expected, PAGE);
    (void)mlock(probe->memory, PAGE); /* stays where it is */
    return ask_page(capture, probe);
}

/* Does the probe's page read as expected with this K? */
static bool shows(struct hf_capture *capture, const struct probe *probe, uint64_t k)
{
    struct hf_capture_command command = {.command = HF_COMMAND_READ,
                                         .argument = k + probe->page * (PAGE / PAGE_STRUCT)};

    return !hf_capture_run(capture, &command) &&
           memcmp(capture->state->page, probe->expected, PAGE) == 0;
}

static int k_from_symbols(struct hf_capture *capture, uint64_t *ret_k)
{
    struct hf_capture_command command = {.command = HF_COMMAND_KSYMS};
    int rc = hf_capture_run(capture, &command);

    if (!rc)
        *ret_k = command.ret_values[0] - command.ret_values[1] * (PAGE / PAGE_STRUCT);
    return rc;
}

static int frame_number(const void *memory, uint64_t *ret_frame)
{
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t entry = 0;
    ssize_t count;

    if (fd < 0)
        return -errno;
    count = pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)memory / PAGE * sizeof(entry)));
    close(fd);
    *ret_frame = entry & ((1ull << 55) - 1);
    return count == sizeof(entry) && *ret_frame ? 0 : -ENODATA;
}

static int k_from_probe(struct hf_capture *capture, const struct probe *probe, uint64_t *ret_k)
{
    uint64_t frame = 0, map_base, base = HF_ALIGN_DOWN(probe->root, LINEAR_ALIGN);
    int rc = frame_number(probe->memory, &frame);

    if (rc)
        return rc;
    map_base = probe->page - frame * PAGE_STRUCT;
    for (unsigned i = 0; i < CANDIDATES_MAX; i++, base -= LINEAR_ALIGN) {
        uint64_t k = base - map_base * (PAGE / PAGE_STRUCT);

        if (!shows(capture, probe, k))
            continue;
        *ret_k = k;
        return 0;
    }
    return -ENODATA;
}

/* K as this process found or adopted it. pagemap shows frames to CAP_SYS_ADMIN alone; an agent that
 * has given that up and begins a new capture needs no more than the verification. */
static uint64_t known_k;

static int k_from_before_or_probe(struct hf_capture *capture, const struct probe *probe,
                                  uint64_t *ret_k)
{
    if (known_k == 0 || !shows(capture, probe, known_k))
        return k_from_probe(capture, probe, ret_k);
    *ret_k = known_k;
    return 0;
}

void hf_capture_remember_pages(const struct hf_capture *capture)
{
    if (capture->control && capture->control->page_to_address)
        known_k = capture->control->page_to_address;
}

int hf_capture_find_pages(struct hf_capture *capture)
{
    struct probe probe, second = {.fd = -1};
    uint64_t k = 0;
    int rc = probe_init(capture, &probe);

    if (!rc)
        rc = probe_init(capture, &second);
    if (!rc && (k_from_symbols(capture, &k) || !shows(capture, &probe, k)))
        rc = k_from_before_or_probe(capture, &probe, &k);
    if (!rc && (!shows(capture, &probe, k) || !shows(capture, &second, k)))
        rc = -ENODATA;
    if (!rc) {
        k_verified = k;
        capture->control->page_to_address = k;
    }
    memset(capture->state->page, 0, PAGE);
    probe_done(&second);
    probe_done(&probe);
    return rc ? -ENODATA : 0;
}
