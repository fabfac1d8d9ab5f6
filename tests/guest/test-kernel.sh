#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test-kernel.sh KERNEL: a stock Debian kernel, started directly, with disks on every driver the capture has to know.
# Checks that each kind of device is there and takes a write, and prints which there are.
# shellcheck source=SCRIPTDIR/lib.sh
. "$(dirname "$0")/lib.sh"
guest_kernel_package=${1:?kernel package}
guest_enter "$@"
guest_setup

step "image"
guest_image "$guest_work/disk.img"
step "boot"
guest_start_kernel machine
step "kernel $(guest_run machine 'uname -r')"
guest_run machine 'test -s /sys/kernel/btf/vmlinux' || fail "no BTF"
guest_run machine '/usr/lib/hf-guest/devices' >"$guest_work/devices" || true
cat "$guest_work/devices"
for kind in virtio-blk scsi nvme partition loop null_blk brd dm-linear dm-stripe dm-crypt md-raid1; do
  grep -q "^$kind " "$guest_work/devices" || fail "no $kind device: $(guest_run machine 'dmesg | tail; cat /tmp/mdadm.log')"
done

step "each takes a write and gives it back"
# shellcheck disable=SC2016 # expands inside the guest
guest_run machine 'dd if=/dev/urandom of=/tmp/block bs=1M count=4 2>/dev/null
while read -r kind path; do
  dd if=/tmp/block of=$path bs=1M oflag=direct 2>/dev/null && dd if=$path bs=1M count=4 iflag=direct 2>/dev/null |
    cmp - /tmp/block || { echo "$kind $path"; exit 1; }
done' -i "$guest_work/devices" || fail "a device lost a write"
guest_do poweroff machine
step "done"
