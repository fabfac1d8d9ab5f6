// SPDX-License-Identifier: Apache-2.0
#include "agent/describe.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <jansson.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/base.h"

#define LINE_MAX_BYTES 256
#define SECTOR_BYTES 512

/* The first line of a small file, "" when it cannot be read. */
static void read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");

    line[0] = '\0';
    if (!file)
        return;
    if (!fgets(line, (int)size, file))
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    fclose(file);
}

static void set_number(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void set_text(json_t *object, const char *key, const char *text)
{
    json_t *value = json_string(text);

    json_object_set_new(object, key, value ? value : json_string("?")); /* not UTF-8 */
}

/* ---- network ---- */

static json_t *nic_of(json_t *nics, const char *name)
{
    char path[LINE_MAX_BYTES], mac[64];
    json_t *nic;
    size_t i;

    json_array_foreach(nics, i, nic) if (strcmp(json_string_value(json_object_get(nic, "name")),
                                                name) == 0) return nic;
    if (json_array_size(nics) == HF_DESCRIBE_NICS_MAX)
        return NULL;
    nic = json_object();
    snprintf(path, sizeof(path), "/sys/class/net/%s/address", name);
    read_line(path, mac, sizeof(mac));
    set_text(nic, "name", name);
    set_text(nic, "mac", mac);
    json_object_set_new(nic, "addresses", json_array());
    json_array_append_new(nics, nic);
    return nic;
}

static unsigned prefix_of(const struct sockaddr *mask)
{
    const uint8_t *bytes;
    size_t size;
    unsigned prefix = 0;

    if (!mask)
        return 0;
    if (mask->sa_family == AF_INET) {
        bytes = (const uint8_t *)&((const struct sockaddr_in *)(const void *)mask)->sin_addr;
        size = 4;
    } else {
        bytes = (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)mask)->sin6_addr;
        size = 16;
    }
    for (size_t i = 0; i < size; i++)
        prefix += (unsigned)__builtin_popcount(bytes[i]);
    return prefix;
}

static void add_address(json_t *nic, const struct ifaddrs *entry)
{
    int family = entry->ifa_addr ? entry->ifa_addr->sa_family : AF_UNSPEC;
    char text[INET6_ADDRSTRLEN], full[INET6_ADDRSTRLEN + 8];
    const void *address;

    if (!nic || (family != AF_INET && family != AF_INET6))
        return;
    address = family == AF_INET
                  ? (const void *)&((struct sockaddr_in *)(void *)entry->ifa_addr)->sin_addr
                  : (const void *)&((struct sockaddr_in6 *)(void *)entry->ifa_addr)->sin6_addr;
    if (!inet_ntop(family, address, text, sizeof(text)))
        return;
    snprintf(full, sizeof(full), "%s/%u", text, prefix_of(entry->ifa_netmask));
    json_array_append_new(json_object_get(nic, "addresses"), json_string(full));
}

static json_t *describe_nics(void)
{
    json_t *nics = json_array();
    struct ifaddrs *list = NULL;

    if (getifaddrs(&list))
        return nics;
    for (struct ifaddrs *entry = list; entry; entry = entry->ifa_next)
        if (strcmp(entry->ifa_name, "lo") != 0)
            add_address(nic_of(nics, entry->ifa_name), entry);
    freeifaddrs(list);
    return nics;
}

/* ---- disks and file systems ---- */

static int is_disk(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && strncmp(entry->d_name, "ram", 3) != 0;
}

static json_t *describe_disks(void)
{
    json_t *disks = json_array();
    struct dirent **names;
    int count = scandir("/sys/block", &names, is_disk, alphasort);

    for (int i = 0; i < count; i++) {
        char path[sizeof(names[i]->d_name) + 64], line[LINE_MAX_BYTES];
        json_t *disk;
        uint64_t sectors;

        snprintf(path, sizeof(path), "/sys/block/%s/size", names[i]->d_name);
        read_line(path, line, sizeof(line));
        sectors = strtoull(line, NULL, 10);
        if (sectors) {
            disk = json_object();
            set_text(disk, "name", names[i]->d_name);
            set_number(disk, "size_bytes", sectors * SECTOR_BYTES);
            snprintf(path, sizeof(path), "/sys/block/%s/serial", names[i]->d_name);
            read_line(path, line, sizeof(line));
            set_text(disk, "serial", line);
            json_array_append_new(disks, disk);
        }
        free(names[i]);
    }
    if (count >= 0)
        free(names);
    return disks;
}

static json_t *describe_filesystems(void)
{
    json_t *filesystems = json_array();
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    struct mntent *entry;

    while (mounts && (entry = getmntent(mounts)) != NULL) {
        json_t *filesystem;

        if (entry->mnt_fsname[0] != '/' || json_array_size(filesystems) == HF_DESCRIBE_MOUNTS_MAX)
            continue;
        filesystem = json_object();
        set_text(filesystem, "mount", entry->mnt_dir);
        set_text(filesystem, "source", entry->mnt_fsname);
        set_text(filesystem, "type", entry->mnt_type);
        json_array_append_new(filesystems, filesystem);
    }
    if (mounts)
        endmntent(mounts);
    return filesystems;
}

/* ---- all of it ---- */

static void describe_system(json_t *machine)
{
    char line[LINE_MAX_BYTES];
    struct utsname system;
    struct sysinfo memory;

    if (uname(&system) == 0) {
        set_text(machine, "hostname", system.nodename);
        set_text(machine, "kernel", system.release);
        set_text(machine, "architecture", system.machine);
    }
    read_line("/etc/machine-id", line, sizeof(line));
    set_text(machine, "machine_id", line);
    set_text(machine, "firmware", access("/sys/firmware/efi", F_OK) == 0 ? "uefi" : "bios");
    json_object_set_new(machine, "cpus", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    if (sysinfo(&memory) == 0)
        set_number(machine, "memory_bytes", (uint64_t)memory.totalram * memory.mem_unit);
}

int hf_describe_machine(const char *name, char **ret_json)
{
    json_t *machine = json_object();
    char *text;

    json_object_set_new(machine, "version", json_integer(1));
    set_text(machine, "name", name);
    describe_system(machine);
    json_object_set_new(machine, "nics", describe_nics());
    json_object_set_new(machine, "disks", describe_disks());
    json_object_set_new(machine, "filesystems", describe_filesystems());
    text = json_dumps(machine, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(machine);
    if (!text)
        return -ENOMEM;
    *ret_json = text;
    return 0;
}
