#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test-whole-machine.sh: a machine on Debian's stock kernel protects itself and is lost; its replica boots by its own
# boot loader, nothing injected. The agent runs inside the guest and protects the guest's own root disk (virtio) and a
# data disk (NVMe) over the network, while both are written. An application-consistent point is taken with the root file
# system frozen. Then the power is cut, the source's disks and the target process are gone, and from the store alone
#   - the point's root file system needs no journal replay and holds exactly the transactions the hook had counted;
#   - the replica boots under SeaBIOS, and under UEFI on other hardware (root on NVMe, data on SCSI);
#   - the newest moment boots, too, and breaks no promise of the workload.
# shellcheck source=SCRIPTDIR/machine.sh
. "$(dirname "$0")/machine.sh"
guest_enter "$@"
machine_setup

check_frozen_root() { # the root partition begins at 10 MiB (build-image.sh)
  local root="$guest_work/replica-root.img?offset=10485760"
  nbdcopy "$root_uri" "$guest_work/replica-root.img"
  dumpe2fs -h "$root" 2>/dev/null | grep -q '^Filesystem UUID: *68660000-6775' || fail "no root file system in the view"
  dumpe2fs -h "$root" 2>/dev/null | grep -q needs_recovery && fail "the root was not frozen: its journal wants replay"
  e2fsck -fn "$root" || fail "the frozen root file system is not clean"
  rm -f "$guest_work/replica-root.img"
}

step "a target on the loopback, a machine with its certificates"
build_machine
start_machine
guest_data_disk machine /dev/nvme0n1
guest_run machine /usr/lib/hf-guest/start

step "the agent inside it, protecting root and data disk"
start_agent
step "protected: $(status_of | jq -c '{mode, counters, memory_bytes}')"
wait_workload 3

step "an application-consistent point with the root file system frozen"
take_point
step "after it the machine goes on"
# shellcheck disable=SC2016 # expands inside the guest
guest_run machine -t 60 'before=$(cut -d" " -f1 /run/txn.status); sleep 5; test "$(cut -d" " -f1 /run/txn.status)" -gt "$before" && sync' ||
  fail "the machine is still frozen"
wait_acknowledged
status_of >"$guest_work/last-status.json"

step "the machine, its disks and the target process are gone; $frozen transactions at the point"
guest_do kill machine
rm -f "$guest_work/root.img" "$guest_work/data.img"
stop_target
"$holdfast" store points "$guest_work/store" --machine machine --last 3

step "the point: frozen means frozen"
serve_view frozen "$point_id"
check_frozen_root
end_view

step "the point boots under SeaBIOS"
serve_view bios "$point_id" --writable
boot_replica replica-bios bios virtio-blk nvme
[ "$transactions" = "$frozen $frozen" ] || fail "the point holds transactions $transactions, not $frozen"
[ "$fsck_rc" = 0 ] || fail "the root file system of the point had to be repaired"
end_view

step "the point boots under UEFI, on other hardware"
serve_view uefi "$point_id" --writable
boot_replica replica-uefi uefi nvme virtio-scsi
[ "$transactions" = "$frozen $frozen" ] || fail "the point holds transactions $transactions, not $frozen"
end_view

step "the newest moment boots"
serve_view latest latest --writable
boot_replica replica-latest bios virtio-blk nvme
[ "${transactions% *}" -gt "$frozen" ] || fail "nothing newer than the point: $transactions"
end_view
step "done"
