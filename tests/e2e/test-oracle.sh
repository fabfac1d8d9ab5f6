#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# P1, V1: two disks whose hardware keeps its own record, written by eight threads; at 1,000 marks and 1,000 arbitrary positions the view holds
# every call that had ended and none that began after, per sector, on both disks at once. At rest, replica and hardware are equal.
. "$(dirname "$0")/lib.sh"
marks=${ORACLE_MARKS:-1000}
positions=${ORACLE_POSITIONS:-1000}
discard=${1:-zero} # keep: the hardware leaves old data in place on discard

e2e_begin "oracle-$discard"
make_recorded_disk one 8M discard="$discard"; disk_one=$disk
make_recorded_disk two 8M discard="$discard"; disk_two=$disk
start_target
write_agent_config "$disk_one" "$disk_two" <<'YAML'
marks:
  interval: 1s
YAML
start_agent
wait_protected 60

seconds=$((marks / 40 + 5))
"$oracle/oracle-load" "$dir/load.record" "$seconds" 8 "${ORACLE_SEED:-$RANDOM}" "$disk_one" "$disk_two" >"$dir/load.out" 2>"$dir/load.log" &
load=$!
e2e_pids+=("$load")
mark_often "$marks" 20000 "$dir/marks"
wait "$load" || die "the load failed"
forget_pid "$load"
cat "$dir/load.out"
wait_drained
[ "$(agent_status .counters.lost_events)" = 0 ] || say "lost events: $(agent_status .counters.lost_events) (overlaps end in the lost map)"
check "$oracle/oracle-check" "$dir/load.record" "$store" "$dir/marks" "$positions" 4711
if [ "$discard" = zero ]; then
    compare_export latest "$dir/one.img" "$dir/two.img"
    say "replica equals the hardware, byte for byte"
fi
