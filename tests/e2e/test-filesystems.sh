#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# C5, L4: mkfs, mount and mixed work on one file system while captured; equal at rest; the file system is clean at 50 points taken under load.
#   test-filesystems.sh ext4|xfs|btrfs
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
fs=$1
points=${FS_POINTS:-50}

e2e_begin "fs-$fs"
make_loop source.img 304M; source=$disk
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
    local exerciser=$! c=0
    while kill -0 "$exerciser" 2>/dev/null; do
        cp -r /usr/share/perl5/Debconf "$dir/mnt/tree$((c % 2))" 2>/dev/null
        rm -rf "$dir/mnt/tree$(((c + 1) % 2))"
        fstrim "$dir/mnt" 2>/dev/null
        c=$((c + 1))
        sleep 0.2
    done
    wait "$exerciser"
}

make_file_system() {
    case $fs in
    ext4) mkfs.ext4 -q -F "$source" ;;
    xfs) mkfs.xfs -q -f "$source" ;;
    btrfs) mkfs.btrfs -q -f "$source" ;;
    esac
}

take_points() {
    local i
    for ((i = 0; i < points; i++)); do
        set_mark
        echo "$mark_id" >>"$dir/points"
        sleep 0.1
    done
}

for cycle in 1 2; do # mkfs/mount cycles
    check make_file_system
    mount_disk "$source" "$dir/mnt" -o noatime
    if [ "$cycle" = 1 ]; then
        check work 2 "$cycle"
    else
        work $((points / 5)) "$cycle" &
        worker=$!
        take_points
        wait "$worker" || die "the exerciser found other bytes than it wrote: $(cat "$dir/exerciser.log")"
    fi
    unmount_disk "$dir/mnt"
done
cat "$dir/exerciser.out"
wait_drained
compare_export latest "$source"
say "equal at rest after $fs work, $(agent_status .counters.captured_bytes) bytes captured, $(agent_status .counters.lost_events) lost"

is_clean() { # after the log was replayed by mounting, a check must find nothing
    case $fs in
    ext4) e2fsck -fn "$1" ;;
    xfs) xfs_repair -n "$1" ;;
    btrfs) btrfs check "$1" ;;
    esac >"$dir/fsck.log" 2>&1
}

clean=0
while read -r id; do
    open_view "$id" --writable --overlay "$dir"
    attach_view 0
    mount_disk "$view_loop" "$dir/replica"
    unmount_disk "$dir/replica"
    check is_clean "$view_loop"
    [ "$fs" = btrfs ] && btrfs device scan --forget "$view_loop" >/dev/null 2>&1 # else the next one is taken for its older self
    detach_view
    close_view
    clean=$((clean + 1))
done <"$dir/points"
say "$fs clean at $clean of $points points taken under load"
check_that "points checked" "$clean" = "$points"
store_is_clean
