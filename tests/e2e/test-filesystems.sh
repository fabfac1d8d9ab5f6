#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# C5, L4: mkfs, mount and mixed work on one file system while captured; equal at rest; the file system is clean at 50 points taken under load.
. "$(dirname "$0")/lib.sh"
fs=$1
points=${FS_POINTS:-50}

e2e_begin "fs-$fs"
make_loop source.img 320M; source=$disk
start_target
write_agent_config "$source" <<'YAML'
marks:
  interval: 1h
YAML
start_agent
wait_protected 60

work() { # seconds seed
    mkdir -p "$dir/mnt/ex"
    "$oracle/fs-exerciser" "$dir/mnt/ex" "$1" "$2" >>"$dir/exerciser.out" 2>>"$dir/exerciser.log" &
    local exerciser=$!
    for ((c = 0; c < $1; c++)); do
        cp -r /usr/share/perl5 "$dir/mnt/tree$((c % 2))" 2>/dev/null
        rm -rf "$dir/mnt/tree$(((c + 1) % 2))"
        fstrim "$dir/mnt" 2>/dev/null
        sleep 0.3
    done
    wait "$exerciser"
}

for cycle in 1 2; do # mkfs/mount cycles
    case $fs in
    ext4) check mkfs.ext4 -q -F "$source" ;;
    xfs) check mkfs.xfs -q -f "$source" ;;
    btrfs) check mkfs.btrfs -q -f "$source" ;;
    esac
    mount_disk "$source" "$dir/mnt" -o noatime
    if [ "$cycle" = 1 ]; then
        check work 3 "$cycle"
    else
        work 12 "$cycle" &
        worker=$!
        for ((i = 0; i < points; i++)); do
            mark || die "cannot set a mark"
            echo "$mark_id" >>"$dir/points"
            sleep 0.2
        done
        wait "$worker" || die "the exerciser found other bytes than it wrote: $(cat "$dir/exerciser.log")"
    fi
    check umount "$dir/mnt"
done
cat "$dir/exerciser.out"
wait_drained
compare_export latest "$source"
say "equal at rest after $fs work"

clean=0
while read -r id; do
    open_view view "$id" --writable --overlay "$dir" || die "cannot open $id"
    nbdfuse "$dir/view.img" "nbd+unix:///?socket=$(jq -r '.disks[0].socket' "$dir/view.json")" &
    fuse=$!
    : >"$dir/view.img"
    for ((i = 0; i < 100; i++)); do [ -s "$dir/view.img" ] && break; sleep 0.02; done
    loop=$(losetup -f --show "$dir/view.img") || die "no loop device"
    mkdir -p "$dir/replica"
    check mount "$loop" "$dir/replica"
    check umount "$dir/replica"
    case $fs in # after the log was replayed by mounting, a check must find nothing
    ext4) check e2fsck -fn "$loop" >/dev/null ;;
    xfs) check xfs_repair -n "$loop" >/dev/null 2>&1 ;;
    btrfs) check btrfs check -q "$loop" >/dev/null 2>&1 ;;
    esac
    losetup -d "$loop"
    fusermount3 -u "$dir/view.img"
    wait "$fuse"
    close_view
    clean=$((clean + 1))
done <"$dir/points"
say "$fs clean at $clean of $points points taken under load"
[ "$clean" = "$points" ] || die "only $clean of $points points were checked"
