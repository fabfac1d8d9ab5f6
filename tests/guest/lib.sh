# SPDX-License-Identifier: Apache-2.0
# Shared by the guest tests; source it first. HF_GUEST_BUILD is the build directory (default build/ of this tree);
# unpacked packages are kept in its guest-cache/ or where HF_GUEST_CACHE says.
# shellcheck shell=bash
set -euo pipefail

guest_src=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest_tree_top=$(cd "$guest_src/../.." && pwd)
guest_build=${HF_GUEST_BUILD:-$guest_tree_top/build}
guest_cache=${HF_GUEST_CACHE:-$guest_build/guest-cache}
guest_work=
guest_tree=${HF_GUEST_TREE:-} # where the guest's packages are unpacked
guest_started=()

skip() { echo "SKIP: $*"; exit 77; }
fail() { echo "FAIL: $*" >&2; exit 1; }
step() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

require_programs() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || skip "$program is not installed (see tools/packages.txt)"
  done
}

# Unpacks the guest's packages (which may need the machine's network to download them), then runs the script again
# where it and its guests see no network but a loopback of their own: the guest's user-mode network reaches the host's
# 127.0.0.1 as 10.0.2.2, and nothing else exists. Call it as: guest_enter "$@"
guest_enter() {
  [ -n "$guest_tree" ] && return
  require_programs qemu-system-x86_64 grub-mkimage mformat mke2fs sfdisk apt-get python3 cpio modprobe ip
  [ -e /usr/share/OVMF/OVMF_CODE.fd ] || skip "ovmf is not installed (see tools/packages.txt)"
  local become=()
  [ "$(id -u)" = 0 ] || become=(-r)
  unshare "${become[@]}" -n true 2>/dev/null || skip "no network namespace can be made here"
  HF_GUEST_TREE=$("$guest_src/build-tree.sh" "$guest_cache" "${guest_kernel_package:-linux-image-cloud-amd64}") ||
    skip "the guest's Debian packages cannot be had here"
  export HF_GUEST_TREE
  exec unshare "${become[@]}" -n "$0" "$@"
}

guest_setup() {
  ip link set lo up
  guest_work=$(mktemp -d "${TMPDIR:-/tmp}/hf-guest-XXXXXX")
  trap guest_cleanup EXIT
}

guest_cleanup() {
  local status=$? dir
  for dir in "${guest_started[@]}"; do "$guest_src/guest.py" kill "$dir" || true; done
  type test_cleanup >/dev/null 2>&1 && test_cleanup
  if [ $status -ne 0 ] && [ $status -ne 77 ]; then
    for dir in "${guest_started[@]}"; do
      echo "--- serial console of $dir (end)"
      tail -n 25 "$dir/serial.log" 2>/dev/null | tr -d '\033' || true
    done
  fi
  if [ -n "${HF_GUEST_KEEP:-}" ]; then echo "kept: $guest_work"; else rm -rf "$guest_work"; fi
  exit $status
}

guest_image() { # OUT [SRC:DST[:MODE]]...: a bootable disk
  local out=$1
  shift
  "$guest_src/build-image.sh" "$guest_tree" "$out" -s "${guest_image_mib:-512}" "$guest_build/tests/guest/hf-guest-control:/usr/lib/hf-guest/control" "$@"
}

guest_start() { # NAME options...
  local dir=$guest_work/$1
  shift
  guest_started+=("$dir")
  "$guest_src/guest.py" start "$dir" "$@"
}

guest_run() { # NAME [-t SECONDS] SCRIPT
  local dir=$guest_work/$1
  shift
  "$guest_src/guest.py" run "$dir" "$@"
}

guest_do() { # VERB NAME args...: any other verb of guest.py
  local verb=$1 dir=$guest_work/$2
  shift 2
  "$guest_src/guest.py" "$verb" "$dir" "$@"
}

# A guest started without its boot loader, root disk thrown away afterwards, with test disks on every driver:
# vdb, vdc (virtio), sda, sdb (SCSI), nvme0n1, nvme1n1.
guest_start_kernel() { # NAME [options...]
  local name=$1 disks=() disk
  shift
  for disk in vdb,virtio-blk,96 vdc,virtio-blk,192 sda,virtio-scsi,96 sdb,virtio-scsi,96 nvme0,nvme,96 nvme1,nvme,128; do
    truncate -s "${disk##*,}M" "$guest_work/$name-${disk%%,*}.img"
    disk=${disk%,*}
    disks+=(--disk "$guest_work/$name-${disk%,*}.img,driver=${disk#*,}")
  done
  guest_start "$name" --kernel "$guest_tree/rootfs/boot/vmlinuz" --initrd "$guest_tree/rootfs/boot/initrd.img" \
    --append "root=UUID=68660000-6775-4573-8400-000000000001 console=ttyS0 quiet panic=-1 no_timer_check" \
    --disk "$guest_work/disk.img,snapshot" "${disks[@]}" "$@"
}

# The workload of workload/, as arguments for guest_image.
guest_workload=("$guest_build/tests/guest/hf-guest-txn:/usr/lib/hf-guest/txn")
for guest_file in copier check freeze-hook thaw-hook start; do
  guest_workload+=("$guest_src/workload/$guest_file:/usr/lib/hf-guest/$guest_file")
done

guest_data_disk() { # NAME DEVICE: makes and mounts the data file system
  guest_run "$1" "modprobe xfs && mkfs.xfs -q -L hfdata $2 && mount $2 /data && findfs LABEL=hfdata >/dev/null"
}

guest_wait() { # NAME SECONDS SCRIPT: until the script succeeds in the guest
  guest_run "$1" -t "$2" "until { $3; } >/dev/null 2>&1; do sleep 0.3; done"
}
