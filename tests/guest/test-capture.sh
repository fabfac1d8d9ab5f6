#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test-capture.sh KERNEL: on a stock kernel, the capture sees every write to every kind of disk. For each device of
# rootfs/devices a replica is built from the ring alone while workload/device writes, and compared byte for byte. Then
# what only a guest has: devices that fail writes (hazard H3), SCSI passthrough, partition edges, a disk that grows.
# shellcheck source=SCRIPTDIR/lib.sh
. "$(dirname "$0")/lib.sh"
guest_kernel_package=${1:?kernel package}
guest_enter "$@"
guest_setup

replicate=/usr/lib/hf-guest/replicate
bad=0

captured() { # LABEL DEVICE COMMAND [CAUSE]
  step "$1 $2"
  guest_run machine -t 300 "$replicate $2 /tmp/replica '$3' ${4:-}" </dev/null || {
    echo "BAD: $1"
    bad=$((bad + 1))
  }
}

every_kind_of_disk() {
  local kind path
  guest_run machine '/usr/lib/hf-guest/devices' >"$guest_work/devices"
  while read -r kind path; do
    captured "$kind" "$path" /usr/lib/hf-guest/device-workload
  done <"$guest_work/devices"
}

# H3: what the device refuses is captured but is not on the source; only the lost map knows.
# shellcheck disable=SC2016 # the commands expand inside the guest
failed_writes() {
  guest_run machine 'dmsetup create --noudevsync hfflakey --table "0 65536 flakey /dev/ram0 0 0 3600 1 error_writes"
    dmsetup mknodes'
  captured "failing writes of a bio-based disk," /dev/mapper/hfflakey \
    'for i in 1 5 9; do ! dd if=/dev/urandom of=$DEVICE bs=64k seek=$i count=1 oflag=direct 2>/dev/null || exit 1; done' \
    write-failed
  guest_run machine 'truncate -s 64M /tmp/tmpfs.img; losetup /dev/loop7 /tmp/tmpfs.img'
  captured "zeroing refused by a request-based disk," /dev/loop7 \
    'dd if=/dev/urandom of=$DEVICE bs=1M count=4 oflag=direct status=none; blkdiscard -z -l 1048576 $DEVICE' write-failed
}

# Writes that are not block writes, and writes over the edge of a protected partition.
# shellcheck disable=SC2016 # the commands expand inside the guest
unusual_writes() {
  captured "SCSI passthrough write," /dev/sda \
    'dd if=/dev/urandom of=$DEVICE bs=1M count=4 oflag=direct status=none; /usr/lib/hf-guest/sg-write $DEVICE 2048' passthrough
  captured "over the edge of a partition," /dev/sdb2 \
    'dd if=/dev/urandom of=/dev/sdb bs=64k seek=34570240 count=1 oflag=direct,seek_bytes status=none' straddle
  captured "through the whole disk into a partition," /dev/sdb2 \
    'dd if=/dev/urandom of=/dev/sdb bs=1M seek=40 count=4 oflag=direct status=none'
}

# The disk grows while it is captured; the writer then uses the new end.
growing_disk() {
  step "a disk that grows"
  guest_run machine "setsid $replicate /dev/vdb /tmp/replica '
    dd if=/dev/urandom of=/dev/vdb bs=1M count=4 oflag=direct status=none
    touch /run/grow
    until test \$(blockdev --getsize64 /dev/vdb) = 134217728; do sleep 0.1; done
    dd if=/dev/urandom of=/dev/vdb bs=1M seek=120 count=8 oflag=direct status=none
    dd if=/dev/urandom of=/dev/vdb bs=1M seek=2 count=4 oflag=direct status=none' >/run/grow.log 2>&1 </dev/null &
    until test -e /run/grow; do sleep 0.1; done"
  guest_do qmp machine block_resize '{"device": "d1", "size": 134217728}' >/dev/null
  guest_wait machine 120 "! pgrep -x replicate"
  guest_run machine 'cat /run/grow.log'
  guest_run machine 'grep -q " 1 resizes; mode DATA, lost events 0" /run/grow.log && ! grep -q differs /run/grow.log' || {
    echo "BAD: a disk that grows"
    bad=$((bad + 1))
  }
}

guest_image "$guest_work/disk.img" "$guest_build/tests/guest/hf-guest-replicate:$replicate" \
  "$guest_build/tests/guest/hf-guest-sg-write:/usr/lib/hf-guest/sg-write" \
  "$guest_src/workload/device:/usr/lib/hf-guest/device-workload"
guest_start_kernel machine --memory 1024
step "kernel $(guest_run machine 'uname -r')"
every_kind_of_disk
failed_writes
unusual_writes
growing_disk
guest_run machine 'dmesg | grep -E "WARNING|BUG|Oops"' && fail "the kernel complains"
# shellcheck disable=SC2016 # expands inside the guest
guest_run machine 'test -z "$(ls -A /sys/fs/bpf)"' || fail "detach left something in bpffs"
[ $bad = 0 ] || fail "$bad cases were not captured whole"
guest_do poweroff machine
step "done"
