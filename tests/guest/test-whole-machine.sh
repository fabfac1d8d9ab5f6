#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test-whole-machine.sh: a machine on Debian's stock kernel protects itself and is lost; its replica boots by its own
# boot loader, nothing injected. The agent runs inside the guest and protects the guest's own root disk (virtio) and a
# data disk (NVMe) over the network, while both are written. An application-consistent point is taken with the root file
# system frozen. Then the power is cut, the source's disks and the target process are gone, and from the store alone
#   - the point's root file system needs no journal replay and holds exactly the transactions the hook had counted;
#   - the replica boots under SeaBIOS, and under UEFI on other hardware (root on NVMe, data on SCSI);
#   - the newest moment boots, too, and breaks no promise of the workload.
# shellcheck source=SCRIPTDIR/lib.sh
. "$(dirname "$0")/lib.sh"
guest_enter "$@"
guest_setup

holdfast=$guest_build/src/cli/holdfast
agent=$guest_build/src/agent/holdfast-agent
target=$guest_build/src/target/holdfast-target
for program in "$holdfast" "$agent" "$target"; do [ -x "$program" ] || skip "${program##*/} is not built"; done
require_programs nbdkit nbdcopy jq
port=7440
target_pid=
view_pid=

test_cleanup() {
  local pid
  for pid in $view_pid $target_pid; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
  if [ "${status:-0}" -ne 0 ]; then
    for log in "$guest_work"/*.log; do echo "--- $log (end)"; tail -n 15 "$log"; done
  fi
  true
}

make_certificates() {
  "$holdfast" pki init "$guest_work/pki" >/dev/null
  "$holdfast" pki issue "$guest_work/pki" target recovery --host 10.0.2.2 --out "$guest_work/target-tls" >/dev/null
  "$holdfast" pki issue "$guest_work/pki" agent machine --out "$guest_work/agent-tls" >/dev/null
}

start_target() {
  mkdir -p "$guest_work/store"
  cat >"$guest_work/target.yaml" <<YAML
store: $guest_work/store
listen: 127.0.0.1:$port
tls:
  certificate: $guest_work/target-tls/cert.pem
  key: $guest_work/target-tls/key.pem
  authority: $guest_work/target-tls/ca.pem
YAML
  "$target" --config "$guest_work/target.yaml" >"$guest_work/target.log" 2>&1 &
  target_pid=$!
}

write_agent_config() {
  cat >"$guest_work/agent.yaml" <<YAML
machine:
  name: machine
  id: 68660000677545738400000000000001
target:
  address: 10.0.2.2:$port
tls:
  certificate: /etc/holdfast/cert.pem
  key: /etc/holdfast/key.pem
  authority: /etc/holdfast/ca.pem
disks:
  - /dev/vda
  - /dev/nvme0n1
marks:
  interval: 5s
YAML
}

build_machine() {
  local etc=/etc/holdfast
  guest_image "$guest_work/root.img" "${guest_workload[@]}" "$agent:/usr/sbin/holdfast-agent" "$holdfast:/usr/bin/holdfast" \
    "$guest_work/agent.yaml:$etc/agent.yaml:600" "$guest_work/agent-tls/cert.pem:$etc/cert.pem:644" \
    "$guest_work/agent-tls/key.pem:$etc/key.pem:600" "$guest_work/agent-tls/ca.pem:$etc/ca.pem:644" \
    "$guest_src/workload/freeze-hook:$etc/freeze.d/10-txn" "$guest_src/workload/thaw-hook:$etc/thaw.d/10-txn"
  truncate -s 384M "$guest_work/data.img"
}

status_of() { guest_run machine 'holdfast agent status -o json'; }

start_agent() {
  guest_run machine 'mkdir -p /run/holdfast /var/lib/holdfast
    setsid holdfast-agent --config /etc/holdfast/agent.yaml >/run/agent.log 2>&1 </dev/null & sleep 1'
  guest_wait machine 300 'holdfast agent status -o json | grep -q "\"protected\": *true"' || {
    guest_run machine 'tail -20 /run/agent.log; holdfast agent status' || true
    fail "the machine did not become protected"
  }
}

take_point() {
  guest_run machine -t 90 'holdfast agent mark --app --name whole -o json' >"$guest_work/point.json" || fail "no point"
  cat "$guest_work/point.json"
  [ "$(jq -r .kind "$guest_work/point.json")" = application-consistent ] || fail "$(jq -r .reason "$guest_work/point.json")"
  point_seq=$(jq -r .seq "$guest_work/point.json")
  frozen=$((10#$(guest_run machine 'cut -d" " -f1 /run/txn.frozen')))
}

wait_acknowledged() {
  local acked
  for _ in {1..120}; do
    acked=$(status_of | jq -r .seq_acked)
    [ "$acked" -gt "$point_seq" ] && return
    sleep 0.5
  done
  fail "the point was never acknowledged: $acked of $point_seq"
}

serve_view() { # NAME POINT option...
  local dir=$guest_work/view-$1 point=$2
  shift 2
  mkdir -p "$dir"
  "$holdfast" view serve "$guest_work/store" --machine machine --point "$point" --socket "$dir" -o json "$@" \
    >"$dir/view.json" 2>"$dir.log" &
  view_pid=$!
  for _ in {1..200}; do
    [ -s "$dir/view.json" ] && break
    kill -0 "$view_pid" 2>/dev/null || fail "the view does not open: $(cat "$dir.log")"
    sleep 0.1
  done
  root_uri="nbd+unix:///?socket=$(jq -r '.disks[0].socket' "$dir/view.json")"
  data_uri="nbd+unix:///?socket=$(jq -r '.disks[1].socket' "$dir/view.json")"
}

end_view() {
  kill "$view_pid"
  wait "$view_pid" 2>/dev/null || true
  view_pid=
}

check_frozen_root() { # the root partition begins at 10 MiB (build-image.sh)
  local root="$guest_work/replica-root.img?offset=10485760"
  nbdcopy "$root_uri" "$guest_work/replica-root.img"
  dumpe2fs -h "$root" 2>/dev/null | grep -q '^Filesystem UUID: *68660000-6775' || fail "no root file system in the view"
  dumpe2fs -h "$root" 2>/dev/null | grep -q needs_recovery && fail "the root was not frozen: its journal wants replay"
  e2fsck -fn "$root" || fail "the frozen root file system is not clean"
  rm -f "$guest_work/replica-root.img"
}

boot_replica() { # NAME FIRMWARE ROOT-DRIVER DATA-DRIVER
  local rc=0
  guest_start "$1" --firmware "$2" --disk "$root_uri,driver=$3" --disk "$data_uri,driver=$4"
  guest_run "$1" -t 180 /usr/lib/hf-guest/check >"$guest_work/$1.check" || rc=1
  cat "$guest_work/$1.check"
  [ $rc = 0 ] || fail "replica $1 breaks a promise"
  transactions=$(sed -n 's/^transactions: FIRST \([0-9]*\) SECOND \([0-9]*\)$/\1 \2/p' "$guest_work/$1.check")
  fsck_rc=$(sed -n 's/^root fsck: \([0-9]*\);.*/\1/p' "$guest_work/$1.check")
  guest_do kill "$1"
}

step "a target on the loopback, a machine with its certificates"
make_certificates
start_target
write_agent_config
build_machine
guest_start machine --net --disk "$guest_work/root.img,driver=virtio-blk" --disk "$guest_work/data.img,driver=nvme"
guest_data_disk machine /dev/nvme0n1
guest_run machine /usr/lib/hf-guest/start

step "the agent inside it, protecting root and data disk"
start_agent
step "protected: $(status_of | jq -c '{mode, counters, memory_bytes}')"
# shellcheck disable=SC2016 # expands inside the guest
guest_wait machine 240 'test "$(cat /run/copier.round)" -ge 3' || fail "the workload does not get on"

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
kill "$target_pid"
wait "$target_pid" 2>/dev/null || true
target_pid=
"$holdfast" store points "$guest_work/store" --machine machine --last 3

step "the point: frozen means frozen"
point_id=$(jq -r .point "$guest_work/point.json")
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
