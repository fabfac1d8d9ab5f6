#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# build-image.sh TREE OUT [-s SIZE_MIB] [SRC:DST[:MODE]]...: a bootable raw disk from a tree made by build-tree.sh.
#
# GPT with a BIOS-boot partition, an EFI system partition and an ext4 root; GRUB for SeaBIOS and for UEFI's removable
# path. No loop device and no mount is used: ext4 is filled by mke2fs -d, the ESP by mtools, GRUB's sectors are
# written by grub-embed.py. Each SRC is copied into the guest (mode 755 unless given); a program that needs a library
# the guest lacks is refused here, because inside the guest it would only say "not found".
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tree=$1
out=$2
shift 2
size_mib=512
if [ "${1:-}" = -s ]; then size_mib=$2; shift 2; fi

root_uuid=68660000-6775-4573-8400-000000000001
bios_lba=2048    # 1 MiB for GRUB's core image
esp_lba=4096
esp_mib=8
root_lba=$((esp_lba + esp_mib * 2048))
root_mib=$((size_mib - 3 - esp_mib))

work=$(mktemp -d "$(dirname "$out")/hf-guest-image.XXXXXX")
trap 'rm -rf "$work"' EXIT

missing_libraries() { # program: libraries it needs, directly or not, that the guest does not have
  { ldd "$1" 2>/dev/null || true; } | sed -n 's/^\t\([^ ]*\.so[^ ]*\) => .*/\1/p' | while read -r library; do
    compgen -G "$work/root/usr/lib/x86_64-linux-gnu/$library" >/dev/null || echo "$library"
  done
}

add_file() { # SRC:DST[:MODE]
  local src dst mode lacking
  IFS=: read -r src dst mode <<<"$1"
  lacking=$(missing_libraries "$src")
  if [ -n "$lacking" ]; then
    echo "build-image: $src needs ${lacking//$'\n'/ }, which tests/guest/packages.txt does not bring" >&2
    exit 1
  fi
  if [ -d "$src" ]; then
    mkdir -p "$work/root/$dst"
    cp -rL "$src/." "$work/root/$dst"
  else
    install -D -m "${mode:-755}" "$src" "$work/root/$dst"
  fi
}

write_grub_config() {
  cat >"$work/root/boot/grub/grub.cfg" <<CFG
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
menuentry "Debian in a Holdfast test guest" {
  search --no-floppy --fs-uuid --set=root $root_uuid
  linux /boot/vmlinuz root=UUID=$root_uuid console=ttyS0 quiet panic=-1 no_timer_check
  initrd /boot/initrd.img
}
CFG
  cat >"$work/early.cfg" <<CFG
search.fs_uuid $root_uuid root
set prefix=(\$root)/boot/grub
normal
CFG
}

make_grub_images() {
  local common="part_gpt ext2 search search_fs_uuid normal configfile linux echo serial terminal"
  # shellcheck disable=SC2086 # one word per module
  grub-mkimage -O i386-pc -p /boot/grub -c "$work/early.cfg" -o "$work/core.img" biosdisk $common
  # shellcheck disable=SC2086
  grub-mkimage -O x86_64-efi -p /boot/grub -c "$work/early.cfg" -o "$work/bootx64.efi" fat $common
}

make_partitions() {
  truncate -s "${size_mib}M" "$work/disk"
  sfdisk -q "$work/disk" <<TABLE
label: gpt
label-id: 68660000-6775-4573-8400-000000000000
start=$bios_lba, size=2048, type=21686148-6449-6E6F-744E-656564454649, uuid=68660000-6775-4573-8400-000000000011
start=$esp_lba, size=$((esp_mib * 2048)), type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=68660000-6775-4573-8400-000000000012
start=$root_lba, size=$((root_mib * 2048)), type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=68660000-6775-4573-8400-000000000013
TABLE
}

make_esp() {
  local esp="$work/disk@@$((esp_lba * 512))"
  mformat -i "$esp" -T $((esp_mib * 2048)) -h 64 -s 32 -H "$esp_lba" -N 68660001 ::
  mmd -i "$esp" ::/EFI ::/EFI/BOOT
  mcopy -i "$esp" "$work/bootx64.efi" ::/EFI/BOOT/BOOTX64.EFI
}

make_root() {
  mke2fs -q -F -t ext4 -b 4096 -m 1 -U "$root_uuid" -L hfroot -E "offset=$((root_lba * 512)),lazy_itable_init=0" \
    -d "$work/root" "$work/disk" $((root_mib * 256))
}

cp -al "$tree/rootfs" "$work/root"
rm -f "$work/root/boot/grub/grub.cfg"
for file in "$@"; do add_file "$file"; done
write_grub_config
make_grub_images
make_partitions
make_esp
make_root
python3 "$here/grub-embed.py" "$work/disk" /usr/lib/grub/i386-pc/boot.img "$work/core.img" "$bios_lba" 2048
mv "$work/disk" "$out"
