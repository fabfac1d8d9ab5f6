#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# build-tree.sh CACHE [KERNEL]: unpack the guest's Debian packages into CACHE/tree-KEY and print that path.
#
# KERNEL is a package as apt names it, PACKAGE or PACKAGE/SUITE (default linux-image-cloud-amd64). A suite that the
# machine's own apt does not list is read from the same mirror with lists kept in the cache.
# KEY is a hash of this folder's recipe and of every package's resolved version, so an unchanged recipe costs one
# apt resolution (about 2 s) and no download. The tree is complete before it gets its final name: a build that was
# interrupted leaves only a temporary directory behind. Nothing is installed on the machine that builds.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=$1
kernel_meta=${2:-linux-image-cloud-amd64}
mkdir -p "$cache/debs/partial" "$cache/lists"
cache=$(cd "$cache" && pwd)

say() { echo "build-tree: $*" >&2; }

# apt as on an empty machine: with no installed package known, the whole closure is resolved and downloaded.
: >"$cache/empty-status"
apt_empty=(apt-get -q -o "Dir::State::status=$cache/empty-status" -o "Dir::Cache::archives=$cache/debs"
  -o APT::Install-Recommends=false -o Debug::NoLocking=1 -o APT::Sandbox::User=root)

names() { grep -Ev '^(#|-|$)' "$here/packages.txt"; }
unwanted() { sed -n 's/^-//p' "$here/packages.txt"; }

is_unwanted() {
  local pattern
  while read -r pattern; do
    # shellcheck disable=SC2053 # the right side is a pattern on purpose
    [[ $1 == $pattern ]] && return 0
  done < <(unwanted)
  return 1
}

# "name version" of every package in the closure that is wanted.
resolve() {
  local name version
  # shellcheck disable=SC2046 # one word per package
  "${apt_empty[@]}" -s -y install $(names) | sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1 \2/p' | sort -u |
    while read -r name version; do
      is_unwanted "${name%%:*}" || echo "$name $version"
    done
}

# apt for the kernel: the machine's own, or one that sees another suite of the same mirror.
apt_kernel=()
use_suite() { # SUITE
  local dir=$cache/$1 mirror
  mkdir -p "$dir/lists/partial"
  # shellcheck disable=SC2016 # apt's own placeholder
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" >"$dir/sources.list"
  apt_kernel=(-o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$dir/lists" -o "Dir::Cache=$dir" -o APT::Sandbox::User=root)
  if [ -z "$(find "$dir/updated" -mtime -1 2>/dev/null)" ]; then
    if timeout 120 apt-get -q -q "${apt_kernel[@]}" update >&2; then
      touch "$dir/updated"
    else
      say "no new lists of $1; trying those at hand"
    fi
  fi
}

# The kernel's meta package names the image package of the day.
resolve_kernel() {
  local name
  name=$(apt-cache "${apt_kernel[@]}" depends "$kernel_meta" | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -1)
  [ -n "$name" ] || name=$kernel_meta
  echo "$name $(apt-cache "${apt_kernel[@]}" show "$name" | sed -n 's/^Version: //p' | head -1)"
}

fetch_debs() { # list [apt option]...
  local list=()
  while read -r name version; do
    local deb="${name%%:*}_${version//:/%3a}_*.deb"
    compgen -G "$cache/debs/$deb" >/dev/null || list+=("$name=$version")
  done <"$1"
  shift
  [ ${#list[@]} -eq 0 ] && return
  say "downloading ${#list[@]} packages"
  (cd "$cache/debs" && timeout 300 apt-get -q -q "$@" -o APT::Sandbox::User=root download "${list[@]}" >&2)
}

unpack() { # list root
  local name version
  mkdir -p "$2"/usr/{bin,sbin,lib,lib64}
  for name in bin sbin lib lib64; do ln -s "usr/$name" "$2/$name"; done
  while read -r name version; do
    dpkg-deb --fsys-tarfile "$cache/debs/${name%%:*}_${version//:/%3a}"_*.deb |
      tar -x -C "$2" --keep-directory-symlink --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
        --exclude='./usr/share/locale/*' --exclude='./usr/share/i18n/*' --exclude='./usr/lib/*/gconv/*' \
        --exclude='./usr/lib/udev/hwdb*'
  done <"$1"
}

module_files() { # kernel-root version name...
  local root=$1 version=$2
  shift 2
  for name in "$@"; do
    { modprobe -d "$root" -S "$version" --show-depends "$name" 2>/dev/null || true; } | sed -n 's/^insmod \([^ ]*\).*/\1/p'
  done | sort -u
}

copy_modules() { # kernel-root version target-root name...
  local root=$1 version=$2 target=$3
  shift 3
  local file
  while read -r file; do
    install -D -m 644 "$file" "$target/usr/lib/modules/$version/${file#*/lib/modules/"$version"/}"
  done < <(module_files "$root" "$version" "$@")
  find "$target/usr/lib/modules/$version" -name '*.ko.xz' -exec xz -d {} +
  cp "$root/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$target/usr/lib/modules/$version/" 2>/dev/null || true
  depmod -b "$target" "$version"
}

# Files that programs of the guest need to run, as the guest's own loader finds them; paths inside the guest.
with_libraries() { # root program...
  local root=$1 libraries=$1/usr/lib/x86_64-linux-gnu program
  shift
  for program in "$@"; do
    echo "$program"
    "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" --list "$root$program" |
      sed -n "s|.* => $root\(/[^ ]*\) .*|\1|p"
  done | sort -u
}

build_initramfs() { # root kernel-root version out
  local work file
  work=$(mktemp -d "$cache/hf-guest-initrd.XXXXXX")
  mkdir -p "$work"/{dev,proc,sys,run,root,conf,usr/{bin,sbin,lib,lib64}}
  for file in bin sbin lib lib64; do ln -s "usr/$file" "$work/$file"; done
  with_libraries "$1" /usr/sbin/e2fsck | while read -r file; do install -D "$1$file" "$work$file"; done
  install "$1/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" "$work/usr/lib64/"
  install -m 755 "$1/bin/busybox" "$work/usr/bin/busybox"
  install -m 755 "$here/rootfs/initramfs-init" "$work/init"
  sed -n 's/^+//p' "$here/modules.txt" >"$work/conf/modules"
  # shellcheck disable=SC2046 # one word per module
  copy_modules "$2" "$3" "$work" $(cat "$work/conf/modules")
  (cd "$work" && find . | sort | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$4"
  rm -rf "$work"
}

finish_root() { # root
  local root=$1
  rm -rf "$root"/usr/share/{lintian,bash-completion,doc-base,info,perl5,zoneinfo,common-licenses} "$root"/var/cache/*
  mkdir -p "$root"/{data,dev,proc,sys,run,tmp,mnt,root,boot/grub,usr/lib/hf-guest} "$root"/etc/hf-guest/start.d
  ln -sf busybox "$root/usr/bin/sh"
  ln -sf bash "$root/usr/bin/sh"
  for name in init poweroff reboot halt; do ln -sf ../bin/busybox "$root/usr/sbin/$name"; done
  for name in vi less awk wget nc ping hexdump xxd; do
    [ -e "$root/usr/bin/$name" ] || ln -s busybox "$root/usr/bin/$name"
  done
  cp "$here"/rootfs/{inittab,fstab,hostname,hosts,passwd,group,profile} "$root/etc/"
  install -m 755 "$here"/rootfs/{rc,rc.shutdown} "$root/etc/hf-guest/"
  install -m 755 "$here/rootfs/devices" "$root/usr/lib/hf-guest/devices"
  ln -sf ../proc/self/mounts "$root/etc/mtab"
}

add_kernel() { # kernel-root version root
  cp "$1/boot/vmlinuz-$2" "$3/boot/vmlinuz"
  # shellcheck disable=SC2046 # one word per module
  copy_modules "$1" "$2" "$3" $(sed -n 's/^+\{0,1\}\([a-z0-9_-]*\)$/\1/p' "$here/modules.txt")
}

wanted=$(mktemp "$cache/lists/list.XXXXXX")
kernel=$(mktemp "$cache/lists/kernel.XXXXXX")
trap 'rm -f "$wanted" "$kernel"' EXIT
[ "${kernel_meta#*/}" = "$kernel_meta" ] || use_suite "${kernel_meta#*/}"
kernel_meta=${kernel_meta%%/*}
resolve >"$wanted"
resolve_kernel >"$kernel"
[ -s "$wanted" ] || { say "apt could not resolve the guest's packages (apt-get update?)"; exit 1; }
key=$(cat "$wanted" "$kernel" "$here"/{build-tree.sh,packages.txt,modules.txt} "$here"/rootfs/* | sha256sum | cut -c1-16)
tree=$cache/tree-$key
exec 8>"$cache/lock-$key"
flock 8
find "$cache" -maxdepth 2 -path '*/tree-*/complete' -mtime +7 -printf '%h\n' | xargs -r rm -rf
if [ ! -e "$tree/complete" ]; then
  work=$(mktemp -d "$cache/hf-guest-tree.XXXXXX")
  trap 'rm -rf "$wanted" "$kernel" "$work"' EXIT
  fetch_debs "$wanted"
  fetch_debs "$kernel" "${apt_kernel[@]}"
  unpack "$wanted" "$work/rootfs"
  unpack "$kernel" "$work/kernel"
  version=$(basename "$work"/kernel/usr/lib/modules/*)
  depmod -b "$work/kernel" "$version"
  add_kernel "$work/kernel" "$version" "$work/rootfs"
  build_initramfs "$work/rootfs" "$work/kernel" "$version" "$work/rootfs/boot/initrd.img"
  finish_root "$work/rootfs"
  rm -rf "$work/kernel"
  echo "$version" >"$work/kernel-version"
  cat "$wanted" "$kernel" >"$work/packages"
  : >"$work/complete"
  rm -rf "$tree"
  chmod 755 "$work"
  mv "$work" "$tree"
  say "built $tree: kernel $version, $(du -sh "$tree/rootfs" | cut -f1)"
fi
touch "$tree/complete" # unused for a week: another build removes it
echo "$tree"
