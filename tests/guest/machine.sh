# SPDX-License-Identifier: Apache-2.0
# A guest that protects itself with Holdfast, and its replica: for the tests that need the whole product. Sources lib.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the tests use what is set here
# shellcheck source=SCRIPTDIR/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

holdfast=$guest_build/src/cli/holdfast
agent=$guest_build/src/agent/holdfast-agent
target=$guest_build/src/target/holdfast-target
port=7440
target_pid=
view_pid=
# What the functions below find out.
point_id=
point_seq=
frozen=
transactions=
fsck_rc=

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
  point_id=$(jq -r .point "$guest_work/point.json")
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

machine_setup() {
  local program
  guest_setup
  for program in "$holdfast" "$agent" "$target"; do [ -x "$program" ] || skip "${program##*/} is not built"; done
  require_programs nbdkit nbdcopy jq
  make_certificates
  write_agent_config
  start_target
}

start_machine() {
  guest_start machine --net --disk "$guest_work/root.img,driver=virtio-blk" --disk "$guest_work/data.img,driver=nvme"
}

stop_target() {
  kill "$target_pid"
  wait "$target_pid" 2>/dev/null || true
  target_pid=
}

wait_workload() { # ROUNDS: until so many trees have been copied
  guest_wait machine 240 "test \$(cat /run/copier.round) -ge $1" || fail "the workload does not get on"
}
