#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test-reboot.sh: what an unclean end of the protected machine costs (promises P4 and P8, fault 4). The power is cut under
# load, a file is put onto the root disk while the machine is off, and it boots and writes before the agent runs. Then
#   - the agent makes a new capture and compares: only differences travel, counted against the initial pass;
#   - the point from before the reboot is still there, and not one byte of it has changed;
#   - a new point holds what was written while nobody watched, and boots.
# Prints the time without new points.
# shellcheck source=SCRIPTDIR/machine.sh
. "$(dirname "$0")/machine.sh"
guest_enter "$@"
machine_setup

view_hashes() { # POINT
  local uri
  serve_view "hash-$SECONDS" "$1"
  for uri in "$root_uri" "$data_uri"; do nbdcopy "$uri" - | sha256sum; done
  end_view
}

change_while_off() { # the root partition is the 501 MiB behind the first ten (build-image.sh)
  local root=$guest_work/root-partition
  dd if="$guest_work/root.img" of="$root" bs=1M skip=10 count=501 conv=sparse status=none
  e2fsck -fp "$root" >/dev/null || [ $? -le 1 ] || fail "the source's root does not survive a power cut"
  head -c 300000 /dev/urandom >"$guest_work/offline"
  debugfs -w -R "write $guest_work/offline /var/offline" "$root" >/dev/null 2>&1
  dd if="$root" of="$guest_work/root.img" bs=1M seek=10 conv=notrunc status=none
  rm "$root"
}

step "a protected machine with a point"
build_machine
start_machine
guest_data_disk machine /dev/nvme0n1
guest_run machine /usr/lib/hf-guest/start
start_agent
wait_workload 3
take_point
wait_acknowledged
first_bytes=$(status_of | jq .counters.pass_sent_bytes)
first_capture=$(status_of | jq -r .capture)
old_id=$point_id
view_hashes "$old_id" >"$guest_work/before"

step "power cut; a file appears on its disk while it is off"
guest_do kill machine
change_while_off

step "it boots, and is protected again"
off_at=$SECONDS
start_machine
booted_at=$SECONDS
start_agent
step "no new points for $((SECONDS - off_at)) s, $((SECONDS - booted_at)) of them after the boot"
again_bytes=$(status_of | jq .counters.pass_sent_bytes)
[ "$(status_of | jq -r .capture)" != "$first_capture" ] || fail "the capture outlived a reboot"
step "sent: $first_bytes bytes by the first pass, $again_bytes by this one"
[ $((again_bytes * 3)) -lt "$first_bytes" ] || fail "more than differences travelled"

step "a new point under load"
guest_run machine /usr/lib/hf-guest/start
wait_workload 3
take_point
wait_acknowledged
guest_do kill machine
stop_target

step "the old point is there and unchanged"
view_hashes "$old_id" >"$guest_work/after"
cmp "$guest_work/before" "$guest_work/after" || fail "the point from before the reboot has changed"

step "the new point boots and holds what nobody watched"
serve_view new "$point_id" --writable
guest_start replica --disk "$root_uri,driver=virtio-blk" --disk "$data_uri,driver=nvme"
guest_run replica 'cat /var/offline' | cmp "$guest_work/offline" || fail "what was written while the machine was off is missing"
guest_run replica -t 180 /usr/lib/hf-guest/check || fail "the replica breaks a promise"
guest_do kill replica
end_view
step "done"
