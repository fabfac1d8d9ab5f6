#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""grub-embed.py DISK BOOT_IMG CORE_IMG LBA SECTORS: install GRUB for BIOS into a disk image without a loop device.

grub-install wants a block device it can probe. What it does to a GPT disk is small: the first 440 bytes of boot.img
go into the first sector, pointing at the BIOS-boot partition, and core.img goes there, its first sector pointing at
the second. The offsets are those of GRUB's include/grub/i386/pc/boot.h.
"""
import struct
import sys

SECTOR = 512
BOOT_CODE_BYTES = 440        # what lies beyond belongs to the partition table
BOOT_KERNEL_SECTOR = 0x5C    # u64: where the boot sector finds core.img
CORE_BLOCKLIST_START = 0x1F4  # u64: where core.img's first sector finds the rest


def embed(disk_path, boot_path, core_path, lba, sectors):
    with open(boot_path, 'rb') as file:
        boot = bytearray(file.read()[:BOOT_CODE_BYTES])
    with open(core_path, 'rb') as file:
        core = bytearray(file.read())
    if len(core) > sectors * SECTOR:
        raise SystemExit(f'grub-embed: core.img has {len(core)} bytes, the partition {sectors * SECTOR}')
    struct.pack_into('<Q', boot, BOOT_KERNEL_SECTOR, lba)
    struct.pack_into('<Q', core, CORE_BLOCKLIST_START, lba + 1)
    with open(disk_path, 'r+b') as disk:
        disk.write(boot)
        disk.seek(lba * SECTOR)
        disk.write(core)


if __name__ == '__main__':
    embed(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
