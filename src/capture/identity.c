// SPDX-License-Identifier: Apache-2.0
/* Who a block device is: sysfs and a few ioctls. Attributes that a disk does not have are empty,
 * not errors. */
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "capture/capture-internal.h"

#ifndef BLKGETDISKSEQ
#define BLKGETDISKSEQ _IOR(0x12, 128, __u64)
#endif

/* Reads a small file below dir_fd, without the newline and blanks around it. -ENOENT when there is
 * none. */
static int read_text(int dir_fd, const char *name, char *text, size_t size)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    char buffer[256], *begin = buffer;
    ssize_t count;

    text[0] = '\0';
    if (fd < 0)
        return -errno;
    count = read(fd, buffer, sizeof(buffer) - 1);
    close(fd);
    if (count < 0)
        return -EIO;
    while (count > 0 && (unsigned char)buffer[count - 1] <= ' ')
        count--;
    buffer[count] = '\0';
    while (*begin == ' ')
        begin++;
    snprintf(text, size, "%.*s", (int)size - 1, begin);
    return 0;
}

static uint64_t read_number(int dir_fd, const char *name)
{
    char text[64];

    return read_text(dir_fd, name, text, sizeof(text)) ? 0 : strtoull(text, NULL, 10);
}

static bool exists(int dir_fd, const char *name)
{
    return faccessat(dir_fd, name, F_OK, 0) == 0;
}

static int parse_device(const char *text, unsigned *ret_major, unsigned *ret_minor)
{
    char *end;
    unsigned long major = strtoul(text, &end, 10);
    unsigned long minor;

    if (*end != ':')
        return -EINVAL;
    minor = strtoul(end + 1, &end, 10);
    if (*end)
        return -EINVAL;
    *ret_major = (unsigned)major;
    *ret_minor = (unsigned)minor;
    return 0;
}

/* The kernel's name of the directory behind /sys/dev/block/M:m. */
static void read_name(const char *path, char *name, size_t size)
{
    char target[256];
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    const char *slash;

    name[0] = '\0';
    if (length <= 0)
        return;
    target[length] = '\0';
    slash = strrchr(target, '/');
    snprintf(name, size, "%.*s", (int)size - 1, slash ? slash + 1 : target);
}

static void read_partition_uuid(int dir_fd, struct hf_disk_identity *identity)
{
    int fd = openat(dir_fd, "uevent", O_RDONLY | O_CLOEXEC);
    char text[1024], *at;
    ssize_t count = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0)
        close(fd);
    text[count > 0 ? count : 0] = '\0';
    at = strstr(text, "PARTUUID=");
    if (!at)
        return;
    at += strlen("PARTUUID=");
    snprintf(identity->partition_uuid, sizeof(identity->partition_uuid), "%.*s",
             (int)strcspn(at, "\n"), at);
}

static void read_serial(int dir_fd, struct hf_disk_identity *identity)
{
    static const char *const serials[] = {"serial", "device/serial", "dm/uuid", "md/uuid"};
    static const char *const wwids[] = {"wwid", "device/wwid", "nguid", "uuid"};

    for (unsigned i = 0; i < HF_ARRAY_COUNT(serials) && !identity->serial[0]; i++)
        (void)read_text(dir_fd, serials[i], identity->serial, sizeof(identity->serial));
    for (unsigned i = 0; i < HF_ARRAY_COUNT(wwids) && !identity->wwid[0]; i++)
        (void)read_text(dir_fd, wwids[i], identity->wwid, sizeof(identity->wwid));
}

/* dir_fd: the whole disk's directory. */
static void read_disk(int dir_fd, struct hf_disk_identity *identity)
{
    char zoned[32];

    if (!identity->diskseq)
        identity->diskseq = read_number(dir_fd, "diskseq");
    identity->bio_based = !exists(dir_fd, "mq");
    identity->zoned =
        !read_text(dir_fd, "queue/zoned", zoned, sizeof(zoned)) && strcmp(zoned, "none") != 0;
    identity->dax = read_number(dir_fd, "queue/dax") == 1;
    read_serial(dir_fd, identity);
}

static int read_sysfs(struct hf_disk_identity *identity)
{
    char path[64], text[32];
    int dir_fd, disk_fd, rc;

    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", identity->major, identity->minor);
    read_name(path, identity->name, sizeof(identity->name));
    dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return -errno;
    identity->partition = (unsigned)read_number(dir_fd, "partition");
    identity->start_bytes = read_number(dir_fd, "start") * 512;
    identity->read_only = read_number(dir_fd, "ro") != 0;
    if (identity->partition)
        read_partition_uuid(dir_fd, identity);
    disk_fd = openat(dir_fd, identity->partition ? ".." : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(dir_fd);
    if (disk_fd < 0)
        return -errno;
    rc = read_text(disk_fd, "dev", text, sizeof(text));
    if (!rc)
        rc = parse_device(text, &identity->disk_major, &identity->disk_minor);
    if (!rc)
        read_disk(disk_fd, identity);
    close(disk_fd);
    return rc;
}

static int ask_device(const char *path, struct hf_disk_identity *identity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t size, sequence = 0;
    int block = 0, rc = 0;

    if (fd < 0)
        return -errno;
    if (ioctl(fd, BLKGETSIZE64, &size) || ioctl(fd, BLKSSZGET, &block))
        rc = -errno;
    if (!rc) {
        identity->size_bytes = size;
        identity->logical_block_bytes = (uint32_t)block;
        if (!ioctl(fd, BLKGETDISKSEQ, &sequence))
            identity->diskseq = sequence;
    }
    close(fd);
    return rc;
}

int hf_disk_identify(const char *path, struct hf_disk_identity *ret_identity)
{
    struct hf_disk_identity identity = {.major = 0};
    struct stat status;
    int rc;

    if (stat(path, &status))
        return -errno;
    if (!S_ISBLK(status.st_mode))
        return -ENOTBLK;
    identity.major = major(status.st_rdev);
    identity.minor = minor(status.st_rdev);
    rc = ask_device(path, &identity);
    if (!rc)
        rc = read_sysfs(&identity);
    if (!rc)
        *ret_identity = identity;
    return rc;
}
