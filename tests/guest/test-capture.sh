#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test-capture.sh KERNEL: on a stock kernel, the capture sees every write to every kind of disk. For each device of
# rootfs/devices a replica is built from the ring alone while workload/device writes, and compared byte for byte.
# shellcheck source=SCRIPTDIR/lib.sh
. "$(dirname "$0")/lib.sh"
guest_kernel_package=${1:?kernel package}
guest_enter "$@"
guest_setup

guest_image "$guest_work/disk.img" "$guest_build/tests/guest/hf-guest-replicate:/usr/lib/hf-guest/replicate" \
  "$guest_src/workload/device:/usr/lib/hf-guest/device-workload"
guest_start_kernel machine --memory 1024
step "kernel $(guest_run machine 'uname -r')"
guest_run machine '/usr/lib/hf-guest/devices' >"$guest_work/devices"
bad=0
while read -r kind path; do
  step "$kind $path"
  guest_run machine -t 240 "/usr/lib/hf-guest/replicate $path /tmp/replica /usr/lib/hf-guest/device-workload" </dev/null || {
    echo "BAD: $kind"
    bad=$((bad + 1))
  }
done <"$guest_work/devices"
guest_run machine 'dmesg | grep -E "WARNING|BUG|Oops"' && fail "the kernel complains"
# shellcheck disable=SC2016 # expands inside the guest
guest_run machine 'test -z "$(ls -A /sys/fs/bpf)"' || fail "detach left something in bpffs"
[ $bad = 0 ] || fail "$bad kinds of disk were not captured whole"
guest_do poweroff machine
step "done"
