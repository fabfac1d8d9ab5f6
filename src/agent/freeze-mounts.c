// SPDX-License-Identifier: Apache-2.0
#include "agent/freeze-mounts.h"

#include <dirent.h>
#include <errno.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define STACK_MAX 8 /* devices on devices, loops on loops */
#define SYSFS_PATH_MAX 320

static bool is_one_of(dev_t device, const dev_t *disks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (disks[i] == device)
            return true;
    return false;
}

static bool read_dev(const char *path, dev_t *ret_device)
{
    FILE *file = fopen(path, "re");
    unsigned major, minor;
    bool found;

    if (!file)
        return false;
    found = fscanf(file, "%u:%u", &major, &minor) == 2; /* NOLINT(cert-err34-c) */
    fclose(file);
    if (found)
        *ret_device = makedev(major, minor);
    return found;
}

static bool lies_on(dev_t device, const dev_t *disks, size_t count, int depth);

static bool slaves_lie_on(dev_t device, const dev_t *disks, size_t count, int depth)
{
    char path[SYSFS_PATH_MAX];
    struct dirent *entry;
    bool found = false;
    dev_t slave;
    DIR *directory;

    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/slaves", major(device), minor(device));
    directory = opendir(path);
    while (directory && !found && (entry = readdir(directory)) != NULL) {
        snprintf(path, sizeof(path), "/sys/class/block/%s/dev", entry->d_name);
        found = entry->d_name[0] != '.' && read_dev(path, &slave) &&
                lies_on(slave, disks, count, depth + 1);
    }
    if (directory)
        closedir(directory);
    return found;
}

/* The device itself, the disk it is a partition of, or what it is built from. */
static bool lies_on(dev_t device, const dev_t *disks, size_t count, int depth)
{
    char path[SYSFS_PATH_MAX];
    dev_t whole;

    if (depth > STACK_MAX)
        return false;
    if (is_one_of(device, disks, count))
        return true;
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major(device), minor(device));
    if (access(path, F_OK) == 0) {
        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major(device), minor(device));
        if (read_dev(path, &whole) && lies_on(whole, disks, count, depth + 1))
            return true;
    }
    return slaves_lie_on(device, disks, count, depth);
}

/* ---- order ---- */

/* The file system that holds the loop device's file. */
static bool loop_holder(dev_t device, dev_t *ret_dev)
{
    char path[SYSFS_PATH_MAX], backing[HF_FREEZE_MOUNT_PATH_MAX];
    struct stat status;
    FILE *file;
    bool found;

    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/loop/backing_file", major(device),
             minor(device));
    file = fopen(path, "re");
    if (!file)
        return false;
    found = fgets(backing, sizeof(backing), file) != NULL;
    fclose(file);
    if (!found)
        return false;
    backing[strcspn(backing, "\n")] = '\0';
    if (stat(backing, &status))
        return false;
    *ret_dev = status.st_dev;
    return true;
}

static int level_of(const struct hf_freeze_mount *mounts, size_t count, dev_t device, int depth)
{
    dev_t holder;

    if (depth > STACK_MAX || !loop_holder(device, &holder))
        return 0;
    for (size_t i = 0; i < count; i++)
        if (mounts[i].dev == holder)
            return 1 + level_of(mounts, count, mounts[i].device, depth + 1);
    return 0;
}

static int leaf_first(const void *a_, const void *b_)
{
    const struct hf_freeze_mount *a = a_, *b = b_;

    if (a->level != b->level)
        return b->level - a->level;
    return (int)strlen(b->path) - (int)strlen(a->path);
}

/* ---- the list ---- */

static bool is_listed(const struct hf_freeze_mount *mounts, size_t count, dev_t dev)
{
    for (size_t i = 0; i < count; i++)
        if (mounts[i].dev == dev)
            return true;
    return false;
}

static bool mount_of(const struct mntent *entry, const dev_t *disks, size_t disk_count,
                     struct hf_freeze_mount *ret_mount)
{
    struct stat source, directory;

    if (entry->mnt_fsname[0] != '/' || hasmntopt(entry, "ro") ||
        strlen(entry->mnt_dir) >= HF_FREEZE_MOUNT_PATH_MAX || stat(entry->mnt_fsname, &source) ||
        !S_ISBLK(source.st_mode) || !lies_on(source.st_rdev, disks, disk_count, 0) ||
        stat(entry->mnt_dir, &directory))
        return false;
    *ret_mount = (struct hf_freeze_mount){
        .dev = directory.st_dev,
        .device = source.st_rdev,
        .fd = -1,
    };
    snprintf(ret_mount->path, sizeof(ret_mount->path), "%s", entry->mnt_dir);
    return true;
}

int hf_freeze_mounts(const dev_t *disks, size_t disk_count, struct hf_freeze_mount *ret_mounts,
                     size_t max)
{
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    struct hf_freeze_mount mount;
    struct mntent *entry;
    size_t count = 0;

    if (!mounts)
        return -errno;
    while (count < max && (entry = getmntent(mounts)) != NULL)
        if (mount_of(entry, disks, disk_count, &mount) && !is_listed(ret_mounts, count, mount.dev))
            ret_mounts[count++] = mount;
    endmntent(mounts);
    for (size_t i = 0; i < count; i++)
        ret_mounts[i].level = level_of(ret_mounts, count, ret_mounts[i].device, 0);
    qsort(ret_mounts, count, sizeof(*ret_mounts), leaf_first);
    return (int)count;
}
