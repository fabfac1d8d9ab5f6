// SPDX-License-Identifier: Apache-2.0
/* Opening, closing and removing a capture. The order of steps, and why a kill between them is
 * harmless, is in object.c. */
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "capture/capture-internal.h"

#define LOCK_TRIES 50
#define LOCK_TRY_US (20 * 1000)

static bool is_bpffs(const char *path)
{
    struct statfs status;

    return !statfs(path, &status) && status.f_type == BPF_FS_MAGIC;
}

static int mount_bpffs(const char *directory)
{
    size_t length = strlen(HF_CAPTURE_BPFFS);

    if (strncmp(directory, HF_CAPTURE_BPFFS "/", length + 1) != 0 || is_bpffs(HF_CAPTURE_BPFFS))
        return 0;
    return mount("bpf", HF_CAPTURE_BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700")
               ? -errno
               : 0;
}

/* The directory and what is missing above it. */
static int make_directory(const char *directory)
{
    char path[HF_CAPTURE_PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s", directory);

    if (length >= (int)sizeof(path) - 32) /* names of pins follow */
        return -ENAMETOOLONG;
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0700) && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

/* A child that has not come to its exec yet holds the lock of a parent that is gone: a little
 * patience. */
static int try_lock(int fd)
{
    for (unsigned i = 0; i < LOCK_TRIES; i++) {
        if (!flock(fd, LOCK_EX | LOCK_NB))
            return 0;
        if (errno != EWOULDBLOCK)
            return -errno;
        usleep(LOCK_TRY_US);
    }
    return -EBUSY;
}

/* Opened and locked: one process at a time. */
static int lock_directory(const char *directory, int *ret_fd)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return -errno;
    rc = try_lock(fd);
    if (!rc && !is_bpffs(directory))
        rc = -EINVAL;
    if (rc) {
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

static int read_boot_id(uint8_t *ret_id)
{
    char text[64] = "", digits[HF_ID_TEXT_SIZE];
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    struct hf_id id;
    size_t used = 0;

    if (fd >= 0)
        close(fd);
    if (count < 0)
        return -EIO;
    for (char *at = text; *at && used < sizeof(digits) - 1; at++)
        if (*at != '-' && *at != '\n')
            digits[used++] = *at;
    digits[used] = '\0';
    if (hf_id_parse(digits, &id))
        return -EIO;
    memcpy(ret_id, id.bytes, sizeof(id.bytes));
    return 0;
}

static struct hf_capture *handle_new(void)
{
    struct hf_capture *capture = calloc(1, sizeof(*capture));

    if (!capture)
        return NULL;
    capture->dir_fd = capture->epoll_fd = -1;
    capture->ring_fd = capture->control_fd = capture->state_fd = capture->counters_fd = -1;
    capture->watch_fd = capture->buckets_fd = capture->inflight_fd = capture->cells_fd = -1;
    capture->bits_fd = capture->command_fd = capture->stub_issue_fd = -1;
    capture->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    return capture;
}

void hf_capture_close(struct hf_capture *capture)
{
    if (!capture)
        return;
    hf_capture_remember_pages(capture);

    const int fds[] = {capture->ring_fd,     capture->control_fd,    capture->state_fd,
                       capture->counters_fd, capture->watch_fd,      capture->buckets_fd,
                       capture->inflight_fd, capture->cells_fd,      capture->bits_fd,
                       capture->command_fd,  capture->stub_issue_fd, capture->dir_fd};

    hf_capture_unmap_memory(capture);
    if (capture->dir_fd >= 0)
        (void)flock(capture->dir_fd, LOCK_UN); /* whatever children inherited */
    for (unsigned i = 0; i < HF_ARRAY_COUNT(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(capture);
}

/* Sizes are in the control block, which is mapped first. */
static void set_ring_size(struct hf_capture *capture, uint64_t ring_bytes)
{
    capture->ring_bytes = ring_bytes;
    capture->ring_mask = ring_bytes - 1;
}

static void describe(struct hf_capture *capture, const struct hf_capture_options *options)
{
    struct hf_capture_control *control = capture->control;

    control->layout = HF_CAPTURE_LAYOUT;
    control->size = sizeof(*control);
    control->program_tag = hf_capture_object_tag();
    control->created_boot_ns = control->dirty_since_boot_ns = hf_capture_boot_ns();
    control->heartbeat_boot_ns = control->created_boot_ns;
    control->ring_bytes = capture->ring_bytes;
    control->maps_bytes_max =
        options->maps_bytes_max ? options->maps_bytes_max : HF_CAPTURE_MAPS_BYTES_DEFAULT;
    control->wake_position = UINT64_MAX;
    control->epoch = 1;
    control->mode = HF_CAPTURE_DIRTY;
    control->cause = HF_CAUSE_START;
}

static void set_heartbeat(struct hf_capture *capture, const struct hf_capture_options *options)
{
    uint64_t ms = options->heartbeat_timeout_ms ? options->heartbeat_timeout_ms
                                                : HF_CAPTURE_HEARTBEAT_MS_DEFAULT;

    __atomic_store_n(&capture->control->heartbeat_timeout_ns, ms * HF_NS_PER_MS, __ATOMIC_SEQ_CST);
}

static int begin(struct hf_capture *capture, const struct hf_capture_options *options)
{
    uint32_t ring_bytes = options->ring_bytes ? options->ring_bytes : HF_CAPTURE_RING_BYTES_DEFAULT;
    int rc;

    if (ring_bytes & (ring_bytes - 1) || ring_bytes < capture->page_bytes)
        return -EINVAL;
    rc = hf_capture_remove_pins(capture->dir_fd);
    if (!rc)
        rc = hf_capture_object_create(capture, ring_bytes);
    if (rc)
        return rc;
    set_ring_size(capture, ring_bytes);
    rc = hf_capture_map_memory(capture);
    if (rc)
        return rc;
    describe(capture, options);
    if (getrandom(capture->control->capture_id, 16, 0) != 16)
        return -EIO;
    rc = read_boot_id(capture->control->boot_id);
    if (rc)
        return rc;
    (void)hf_capture_find_pages(capture); /* without it the mode stays DIRTY and says why */
    if (!capture->control->page_to_address)
        capture->control->cause = HF_CAUSE_NO_PAGE_ADDRESS;
    rc = hf_capture_object_attach(capture);
    if (!rc)
        __atomic_store_n(&capture->control->magic, HF_CAPTURE_MAGIC, __ATOMIC_SEQ_CST);
    return rc;
}

static int check_control(const struct hf_capture *capture)
{
    const struct hf_capture_control *control = capture->control;
    uint8_t boot_id[16];
    int rc;

    if (control->layout != HF_CAPTURE_LAYOUT || control->size != sizeof(*control))
        return -HF_EVERSION;
    rc = read_boot_id(boot_id);
    if (rc)
        return rc;
    return memcmp(boot_id, control->boot_id, sizeof(boot_id)) ? -HF_EIDENTITY : 0;
}

static int adopt(struct hf_capture *capture)
{
    int rc;

    rc = hf_capture_peek_control(capture);
    if (rc)
        return rc;
    rc = hf_capture_object_adopt(capture);
    if (rc)
        return rc;
    rc = hf_capture_map_memory(capture);
    if (!rc)
        rc = check_control(capture);
    if (!rc)
        rc = hf_capture_object_upgrade(capture);
    if (!rc)
        rc = hf_capture_object_attach(capture);
    if (!rc)
        rc = hf_capture_bits_adopt(capture);
    capture->adopted = !rc;
    return rc;
}

static int open_locked(struct hf_capture *capture, const struct hf_capture_options *options)
{
    int rc = adopt(capture);

    if (rc == -ENOENT && !options->adopt_only)
        rc = begin(capture, options);
    if (rc)
        return rc;
    set_heartbeat(capture, options);
    return hf_capture_heartbeat(capture);
}

int hf_capture_open(const struct hf_capture_options *options, struct hf_capture **ret_capture)
{
    struct hf_capture *capture = handle_new();
    uint64_t number;
    int rc;

    if (!capture)
        return -ENOMEM;
    rc = mount_bpffs(options->directory);
    if (!rc && !options->adopt_only)
        rc = make_directory(options->directory);
    if (!rc)
        rc = lock_directory(options->directory, &capture->dir_fd);
    if (!rc && getrandom(&number, sizeof(number), 0) != sizeof(number))
        rc = -EIO;
    if (!rc) {
        snprintf(capture->directory, sizeof(capture->directory), "%s", options->directory);
        capture->next_number = number;
        rc = open_locked(capture, options);
    }
    if (rc) {
        hf_capture_close(capture);
        return rc;
    }
    *ret_capture = capture;
    return 0;
}

int hf_capture_detach(const char *directory)
{
    char parent[HF_CAPTURE_PATH_MAX];
    char *slash;
    int fd = -1, rc = lock_directory(directory, &fd);

    if (rc)
        return rc == -ENOENT ? 0 : rc;
    rc = hf_capture_remove_pins(fd);
    close(fd);
    if (!rc && rmdir(directory))
        rc = -errno;
    if (rc || snprintf(parent, sizeof(parent), "%s", directory) >= (int)sizeof(parent))
        return rc;
    slash = strrchr(parent, '/');
    if (slash && slash != parent) {
        *slash = '\0';
        if (strcmp(parent, HF_CAPTURE_BPFFS) != 0)
            (void)rmdir(parent); /* ours when it is empty now */
    }
    return 0;
}

bool hf_capture_adopted(const struct hf_capture *capture)
{
    return capture->adopted;
}

void hf_capture_get_id(const struct hf_capture *capture, struct hf_id *ret_id)
{
    memcpy(ret_id->bytes, capture->control->capture_id, sizeof(ret_id->bytes));
}

void *hf_capture_agent_state(struct hf_capture *capture)
{
    return capture->state->agent;
}
