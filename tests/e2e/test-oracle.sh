#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# P1, V1, fault 16: two disks whose hardware keeps its own record, written by eight threads; at 1,000 marks and 1,000 arbitrary positions the view holds
# every call that had ended and none that began after, per sector, on both disks at once. At rest, replica and hardware are equal.
#   test-oracle.sh zero|keep [MARKS POSITIONS]     keep: the hardware leaves old data in place on discard
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
discard=$1
marks=${2:-1000}
positions=${3:-1000}

e2e_begin "oracle-$discard"
make_recorded_disk one 1M discard="$discard"; disk_one=$disk
make_recorded_disk two 1M discard="$discard"; disk_two=$disk
start_target
write_agent_config "$disk_one" "$disk_two" <<'YAML'
marks:
  interval: 1s
YAML
start_agent
wait_protected 60

seed=${ORACLE_SEED:-$RANDOM}
seconds=$((marks / 80 + 2))
"$oracle/oracle-load" "$dir/load.record" "$seconds" 8 "$seed" "$disk_one" "$disk_two" >"$dir/load.out" 2>"$dir/load.log" &
load=$!
e2e_pids+=("$load")
mark_often "$marks" 8000 "$dir/marks"
wait "$load" || die "the load failed"
forget e2e_pids "$load"
cat "$dir/load.out"
wait_drained
say "causes of losses: $(agent_status ".causes | tojson")"
"$oracle/oracle-check" "$dir/load.record" "$store" - "$positions" "$seed" >"$dir/judged-positions" 2>"$dir/judge.log" &
judge=$!
e2e_pids+=("$judge")
check "$oracle/oracle-check" "$dir/load.record" "$store" "$dir/marks" 0 "$seed" >"$dir/judged-marks"
wait "$judge" || die "the judge of positions found: $(cat "$dir/judge.log")"
forget e2e_pids "$judge"
cat "$dir/judged-marks" "$dir/judged-positions"
check_that "marks judged" "$(sed 's/.*: \([0-9]*\) marks.*/\1/' "$dir/judged-marks")" -ge "$((marks * 9 / 10))"
check_that "positions judged" "$(sed 's/.* \([0-9]*\) positions.*/\1/' "$dir/judged-positions")" -ge "$positions"
# The judge must be able to say no: the same marks, each with the moments of one ten marks later, or earlier.
for shift in 10 -10; do
    awk -v shift="$shift" '{id[NR] = $1; moments[NR] = $2 " " $3} END {for (i = 1; i <= NR; i++) if (i + shift in moments) print id[i], moments[i + shift]}' \
        "$dir/marks" | awk 'NR % 20 == 0' >"$dir/marks-shifted"
    "$oracle/oracle-check" "$dir/load.record" "$store" "$dir/marks-shifted" 0 "$seed" >"$dir/judged-shifted" 2>&1 && die "marks shifted by $shift were found right"
    say "shifted by $shift marks: $(tail -n 1 "$dir/judged-shifted")"
done
if [ "$discard" = zero ]; then
    compare_export latest "$dir/one.img" "$dir/two.img"
    say "replica equals the hardware, byte for byte"
fi
store_is_clean
