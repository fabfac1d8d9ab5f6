#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test-freeze-root.sh: fault 11 on the file system where it hurts, the root that the agent itself runs from. While
# application-consistent points are taken, the agent, or its freeze helper, is killed, or the agent is stopped, at the
# moment when the root is seen to be frozen. Every time it takes writes again within the deadline of ten seconds; the
# agent, started again, goes on with the same capture, nothing is lost, and the replica breaks no promise.
# shellcheck source=SCRIPTDIR/machine.sh
. "$(dirname "$0")/machine.sh"
guest_enter "$@"
machine_setup
rounds=6
thaw_limit_s=11 # ten for the freeze, one for a busy host

step "a protected machine"
build_machine
start_machine
guest_data_disk machine /dev/nvme0n1
guest_run machine /usr/lib/hf-guest/start
start_agent
capture=$(status_of | jq -r .capture)
cat >"$guest_work/round" <<'SCRIPT'
#!/bin/bash
# round VICTIM: takes a point, does it to the victim the moment a writer to the root blocks on its freeze lock, and
# prints how long after that the root took a write.
main=$(pgrep -o -x holdfast-agent)
helper=$(pgrep -x hf-freeze)
while :; do echo >/var/prober; done &
prober=$!
holdfast agent mark --app >/run/mark.log 2>&1 &
mark=$!
seen=no
give_up=$((SECONDS + 40))
while [ $seen = no ] && [ $SECONDS -lt $give_up ]; do
  for _ in {1..200}; do
    read -r where <"/proc/$prober/wchan"
    [ "$where" = percpu_rwsem_wait ] && seen=yes && break
  done
  [ -e "/proc/$mark" ] || break
done
case $1 in
agent) kill -KILL "$main" ;;
helper) kill -KILL "$helper" || exit 1 ;;
stopped) kill -STOP "$main" ;;
esac
began=${EPOCHREALTIME/[.,]/}
echo "$1" >/var/probe
echo "frozen $seen; root writable after $(((${EPOCHREALTIME/[.,]/} - began) / 1000)) ms"
[ "$1" != stopped ] || kill -CONT "$main"
kill "$prober"
wait
head -c 300 /run/mark.log | tr '\n' ' '
echo
kill -USR2 "$(cat /run/txn.pid)"
SCRIPT
guest_do put machine "$guest_work/round" /run/round

victims=(agent helper stopped)
hits=0
for ((round = 0; round < rounds; round++)); do
  victim=${victims[round % 3]}
  step "round $round: $victim"
  guest_run machine -t 100 "/run/round $victim" >"$guest_work/round.out" ||
    fail "round $round: the root stays frozen, or the mark never ends: $(cat "$guest_work/round.out")"
  cat "$guest_work/round.out"
  grep -q '^frozen yes' "$guest_work/round.out" && hits=$((hits + 1))
  [ "$(sed -n 's/.*root writable after \([0-9]*\) ms.*/\1/p' "$guest_work/round.out")" -le $((thaw_limit_s * 1000)) ] ||
    fail "the root was frozen for longer than the deadline"
  # Whoever was killed: a new agent, with a new helper, takes over.
  if [ "$victim" != stopped ]; then
    guest_run machine 'pkill -KILL -x holdfast-agent; true'
    start_agent
  fi
done
[ $hits -ge 3 ] || fail "only $hits of $rounds rounds met a frozen root: this proves nothing"

step "afterwards"
[ "$(status_of | jq -r .capture)" = "$capture" ] || fail "the capture was begun anew"
[ "$(status_of | jq -r .counters.lost_events)" -le 4 ] || fail "something was lost: $(status_of | jq -c .causes)"
take_point
wait_acknowledged
guest_do kill machine
stop_target

step "the point taken after all that boots"
serve_view last "$point_id" --writable
boot_replica replica bios virtio-blk nvme
[ "$transactions" = "$frozen $frozen" ] || fail "the point holds transactions $transactions, not $frozen"
end_view
step "done"
