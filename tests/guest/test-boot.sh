#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test-boot.sh bios|uefi: the guest image boots by its own boot loader, its root file system checks clean, and the
# control channel carries output, exit codes and files. What the other guest tests stand on.
# shellcheck source=SCRIPTDIR/lib.sh
. "$(dirname "$0")/lib.sh"
firmware=${1:?bios or uefi}
guest_enter "$@"
guest_setup

step "image"
guest_image "$guest_work/disk.img"
truncate -s 64M "$guest_work/data.img"

step "boot ($firmware)"
guest_start machine --firmware "$firmware" --net --disk "$guest_work/disk.img,driver=virtio-blk" \
  --disk "$guest_work/data.img,driver=nvme"

step "what runs is the stock kernel, with BTF, from the image's own disk"
[ "$(guest_run machine 'uname -r')" = "$(cat "$guest_tree/kernel-version")" ] || fail "another kernel runs"
guest_run machine 'test -s /sys/kernel/btf/vmlinux' || fail "no BTF in the guest"
efi=$(guest_run machine 'test -d /sys/firmware/efi && echo uefi || echo bios')
[ "$efi" = "$firmware" ] || fail "booted by $efi"
[ "$(guest_run machine 'cat /run/initramfs/root-device /run/initramfs/fsck.rc' | tr '\n' ' ')" = "/dev/vda3 0 " ] ||
  fail "root file system: $(guest_run machine 'cat /run/initramfs/*')"

step "control channel: exit code, time limit, both directions of a file"
rc=0; guest_run machine 'exit 7' || rc=$?
[ $rc = 7 ] || fail "exit code 7 arrived as $rc"
rc=0; guest_run machine -t 1 'sleep 30' 2>/dev/null || rc=$?
[ $rc = 124 ] || fail "a script over its time ended with $rc"
head -c 3000000 /dev/urandom >"$guest_work/in"
guest_do put machine "$guest_work/in" /root/blob 600
guest_do get machine /root/blob "$guest_work/out"
cmp "$guest_work/in" "$guest_work/out" || fail "a file changed on its way"

step "a second boot sees what the first one wrote"
guest_do poweroff machine
guest_start machine --firmware "$firmware" --disk "$guest_work/disk.img,driver=virtio-scsi"
guest_run machine 'cat /root/blob' | cmp "$guest_work/in" || fail "the file is not there after a reboot"
[ "$(guest_run machine 'cat /run/initramfs/root-device')" = /dev/sda3 ] || fail "root is not on the SCSI disk"
guest_do poweroff machine
step "done"
