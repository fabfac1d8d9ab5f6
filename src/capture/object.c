// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel objects: loading, pinning, adopting, upgrading.
 *
 * Everything is pinned in one directory, so that a capture lives on without its agent. The order of
 * creation is the crash argument: maps, stubs and the command program first, then the links (from
 * here on writes are seen), and the control block's magic last. A directory whose control block has
 * no magic was never in use: it is removed and begun anew.
 *
 * Upgrade. The stubs and maps stay; the programs behind the stubs are exchanged in their program
 * arrays, one atomic exchange each. New and old programs work on the same maps (same layout), so
 * the moments in between are harmless.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <capture.skel.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "capture/capture-internal.h"

struct hook {
    const char *program; /* what does the work */
    const char *stub;    /* what is attached */
    const char *slot;    /* program array between them */
    const char *link;    /* name of the link's pin */
    bool bios;           /* only once a disk without requests is protected */
};
/* In the order they are attached, which is the order they run in at one tracepoint: the twin behind
 * its first. And ends before beginnings: a write seen at its issue and not at its end would count
 * as in flight for ever. */
static const struct hook hooks[HF_CAPTURE_LINKS] = {
    {"hf_complete", "hf_stub_complete", "hf_slot_complete", "link_complete", false},
    {"hf_twin", "hf_stub_twin", "hf_slot_twin", "link_twin", false},
    {"hf_requeue", "hf_stub_requeue", "hf_slot_requeue", "link_requeue", false},
    {"hf_issue", "hf_stub_issue", "hf_slot_issue", "link_issue", false},
    {"hf_end", "hf_stub_end", "hf_slot_end", "link_end", true},
    {"hf_queue", "hf_stub_queue", "hf_slot_queue", "link_queue", true},
};

static bool verbose_messages;

void hf_capture_set_verbose(bool verbose)
{
    verbose_messages = verbose;
}

__attribute__((format(printf, 2, 0))) static int
print_message(enum libbpf_print_level level, const char *format, va_list arguments)
{
    return verbose_messages && level != LIBBPF_DEBUG ? vfprintf(stderr, format, arguments) : 0;
}

int hf_capture_pin_path(const struct hf_capture *capture, const char *name, char *path)
{
    int length = snprintf(path, HF_CAPTURE_PATH_MAX, "%s/%s", capture->directory, name);

    return length < HF_CAPTURE_PATH_MAX ? 0 : -ENAMETOOLONG;
}

uint64_t hf_capture_object_tag(void)
{
    size_t size;
    const uint8_t *bytes = hf_capture_bpf__elf_bytes(&size);
    uint64_t tag = 0xcbf29ce484222325u; /* FNV-1a: to tell builds apart, nothing else */

    for (size_t i = 0; i < size; i++)
        tag = (tag ^ bytes[i]) * 0x100000001b3u;
    return tag;
}

static int get_pin(const struct hf_capture *capture, const char *name, int *ret_fd)
{
    char path[HF_CAPTURE_PATH_MAX];
    int rc = hf_capture_pin_path(capture, name, path);

    if (rc)
        return rc;
    rc = bpf_obj_get(path);
    if (rc < 0)
        return rc;
    *ret_fd = rc;
    return 0;
}

static int put_pin(const struct hf_capture *capture, int fd, const char *name)
{
    char path[HF_CAPTURE_PATH_MAX];
    int rc = hf_capture_pin_path(capture, name, path);

    return rc ? rc : bpf_obj_pin(fd, path);
}

/* Replaces a pin in one step. */
static int replace_pin(const struct hf_capture *capture, int fd, const char *name)
{
    const char *aside = "replacement";
    int rc;

    (void)unlinkat(capture->dir_fd, aside, 0);
    rc = put_pin(capture, fd, aside);
    if (rc)
        return rc;
    if (renameat(capture->dir_fd, aside, capture->dir_fd, name))
        return -errno;
    return 0;
}

int hf_capture_remove_pins(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int rc = 0;

    if (!dir)
        return -errno;
    for (unsigned i = 0; i < HF_CAPTURE_LINKS; i++) /* nothing runs any more before maps go */
        (void)unlinkat(dir_fd, hooks[i].link, 0);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.' && unlinkat(dir_fd, entry->d_name, 0) && errno != ENOENT)
            rc = -errno;
    closedir(dir);
    return rc;
}

/* Maps are pinned when created and taken over when pinned already: one code for begin and upgrade.
 */
static int set_map_pins(const struct hf_capture *capture, struct bpf_object *object)
{
    char path[HF_CAPTURE_PATH_MAX];
    struct bpf_map *map;
    int rc;

    bpf_object__for_each_map(map, object)
    {
        if (bpf_map__is_internal(map))
            continue;
        rc = hf_capture_pin_path(capture, bpf_map__name(map), path);
        if (!rc)
            rc = bpf_map__set_pin_path(map, path);
        if (rc)
            return rc;
    }
    return 0;
}

static int load_object(const struct hf_capture *capture, uint32_t ring_bytes, bool with_stubs,
                       struct hf_capture_bpf **ret_skeleton)
{
    struct hf_capture_bpf *skeleton;
    int rc;

    *ret_skeleton = NULL;
    libbpf_set_print(print_message);
    skeleton = hf_capture_bpf__open();
    if (!skeleton)
        return errno == EINVAL ? -ENOTSUP : -errno;
    rc = bpf_map__set_max_entries(skeleton->maps.hf_ring, ring_bytes);
    for (unsigned i = 0; !rc && !with_stubs && i < HF_CAPTURE_LINKS; i++)
        rc = bpf_program__set_autoload(
            bpf_object__find_program_by_name(skeleton->obj, hooks[i].stub), false);
    if (!rc)
        rc = set_map_pins(capture, skeleton->obj);
    if (!rc)
        rc = hf_capture_bpf__load(skeleton);
    if (rc) {
        hf_capture_bpf__destroy(skeleton);
        return rc == -ESRCH ? -ENOTSUP : rc; /* no such tracepoint, no BTF */
    }
    *ret_skeleton = skeleton;
    return 0;
}

static int program_fd(const struct hf_capture_bpf *skeleton, const char *name)
{
    HF_ASSERT(skeleton);
    return bpf_program__fd(bpf_object__find_program_by_name(skeleton->obj, name));
}

static int install_programs(const struct hf_capture *capture, struct hf_capture_bpf *skeleton)
{
    uint32_t zero = 0;
    int rc;

    HF_ASSERT(skeleton);
    for (unsigned i = 0; i < HF_CAPTURE_LINKS; i++) {
        int map_fd = bpf_map__fd(bpf_object__find_map_by_name(skeleton->obj, hooks[i].slot));
        int fd = program_fd(skeleton, hooks[i].program);

        rc = bpf_map_update_elem(map_fd, &zero, &fd, BPF_ANY);
        if (rc)
            return rc;
    }
    return replace_pin(capture, program_fd(skeleton, "hf_command"), "hf_command");
}

static int pin_stubs(const struct hf_capture *capture, struct hf_capture_bpf *skeleton)
{
    int rc = 0;

    for (unsigned i = 0; !rc && i < HF_CAPTURE_LINKS; i++)
        rc = put_pin(capture, program_fd(skeleton, hooks[i].stub), hooks[i].stub);
    return rc;
}

static int open_pins(struct hf_capture *capture)
{
    const struct {
        const char *name;
        int *fd;
    } pins[] = {
        {"hf_ring", &capture->ring_fd},
        {"hf_control", &capture->control_fd},
        {"hf_state", &capture->state_fd},
        {"hf_counters", &capture->counters_fd},
        {"hf_watch", &capture->watch_fd},
        {"hf_buckets", &capture->buckets_fd},
        {"hf_inflight", &capture->inflight_fd},
        {"hf_cells", &capture->cells_fd},
        {"hf_bits", &capture->bits_fd},
        {"hf_command", &capture->command_fd},
        {"hf_stub_issue", &capture->stub_issue_fd},
    };
    int rc = 0;

    for (unsigned i = 0; !rc && i < HF_ARRAY_COUNT(pins); i++) {
        if (*pins[i].fd >= 0)
            close(*pins[i].fd);
        *pins[i].fd = -1;
        rc = get_pin(capture, pins[i].name, pins[i].fd);
    }
    return rc;
}

int hf_capture_peek_control(struct hf_capture *capture)
{
    struct hf_capture_control *control;
    struct bpf_map_info info = {.id = 0};
    uint32_t size = sizeof(info);
    int fd, rc = get_pin(capture, "hf_control", &fd);

    if (rc)
        return rc;
    rc = bpf_obj_get_info_by_fd(fd, &info, &size);
    if (!rc && info.value_size != sizeof(*control))
        rc = -HF_EVERSION;
    control = rc ? MAP_FAILED
                 : mmap(NULL, HF_ALIGN_UP(sizeof(*control), capture->page_bytes), PROT_READ,
                        MAP_SHARED, fd, 0);
    if (!rc && control == MAP_FAILED)
        rc = -errno;
    if (!rc && control->magic != HF_CAPTURE_MAGIC)
        rc = -ENOENT;
    if (!rc && control->layout != HF_CAPTURE_LAYOUT)
        rc = -HF_EVERSION;
    if (!rc) {
        capture->ring_bytes = control->ring_bytes;
        capture->ring_mask = control->ring_bytes - 1;
    }
    if (control != MAP_FAILED)
        munmap(control, HF_ALIGN_UP(sizeof(*control), capture->page_bytes));
    close(fd);
    return rc;
}

int hf_capture_object_create(struct hf_capture *capture, uint32_t ring_bytes)
{
    struct hf_capture_bpf *skeleton = NULL;
    int rc = load_object(capture, ring_bytes, true, &skeleton);

    if (!rc)
        rc = install_programs(capture, skeleton);
    if (!rc)
        rc = pin_stubs(capture, skeleton);
    if (!rc)
        rc = open_pins(capture);
    hf_capture_bpf__destroy(skeleton);
    return rc;
}

/* The pinned objects as they are. -ENOENT when there is no control block. */
int hf_capture_object_adopt(struct hf_capture *capture)
{
    return open_pins(capture);
}

int hf_capture_object_upgrade(struct hf_capture *capture)
{
    struct hf_capture_bpf *skeleton = NULL;
    uint64_t tag = hf_capture_object_tag();
    int rc;

    if (capture->control->program_tag == tag)
        return 0;
    rc = load_object(capture, (uint32_t)capture->control->ring_bytes, false, &skeleton);
    if (!rc)
        rc = install_programs(capture, skeleton);
    if (!rc)
        rc = open_pins(capture); /* the command program is another one */
    if (!rc)
        capture->control->program_tag = tag;
    hf_capture_bpf__destroy(skeleton);
    return rc;
}

static int attach_hook(const struct hf_capture *capture, const struct hook *hook)
{
    int stub_fd = -1, link_fd = -1, rc;

    rc = get_pin(capture, hook->link, &link_fd);
    if (!rc) {
        close(link_fd); /* attached already */
        return 0;
    }
    rc = get_pin(capture, hook->stub, &stub_fd);
    if (rc)
        return rc;
    link_fd = bpf_raw_tracepoint_open(NULL, stub_fd);
    rc = link_fd < 0 ? link_fd : put_pin(capture, link_fd, hook->link);
    if (link_fd >= 0)
        close(link_fd);
    close(stub_fd);
    return rc;
}

static int attach_hooks(const struct hf_capture *capture, bool bios)
{
    int rc = 0;

    for (unsigned i = 0; !rc && i < HF_CAPTURE_LINKS; i++)
        if (hooks[i].bios == bios)
            rc = attach_hook(capture, &hooks[i]);
    return rc;
}

int hf_capture_object_attach(struct hf_capture *capture)
{
    return attach_hooks(capture, false);
}

int hf_capture_object_attach_bios(struct hf_capture *capture)
{
    return attach_hooks(capture, true);
}
