#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# C4: many machines on one target at once, each under load, the target killed in the middle; every replica equals its machine.
#   test-many.sh [MACHINES]
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
machines=${1:-8}
E2E_RING=2MiB

e2e_begin many
start_target
declare -a disks=() loads=()
for ((m = 0; m < machines; m++)); do
    agent=m$m
    make_loop "$agent.img" 16M
    disks[m]=$disk
    write_agent_config "$disk" </dev/null
    start_agent
done
for ((m = 0; m < machines; m++)); do
    agent=m$m
    wait_protected 90
    fio --name=load --filename="${disks[m]}" --rw=randwrite --bs=16k --iodepth=4 --ioengine=libaio --direct=1 --time_based --runtime=8 --rate=1m \
        --output="$dir/fio-$m.out" >/dev/null 2>&1 &
    loads[m]=$!
    e2e_pids+=("${loads[m]}")
done
say "$machines machines protected"
sleep 3
stop_target KILL
sleep 0.3
start_target
for ((m = 0; m < machines; m++)); do wait "${loads[m]}" || die "the load of machine $m failed"; done
for ((m = 0; m < machines; m++)); do
    agent=m$m
    wait_protected 60
    wait_drained
    compare_export latest "${disks[m]}"
done
store_is_clean
check_that "machines in the store" "$("$holdfast" store ls "$store" -o json | jq length)" = "$machines"
check_that "threads of the target are as many as it says (3 and 4 a machine)" "$(find "/proc/$target_pid/task" -mindepth 1 -maxdepth 1 | wc -l)" -le $((8 + 5 * machines))
say "$machines machines equal at rest; target's resident memory $(awk '/VmRSS/ {print $2, $3}' "/proc/$target_pid/status")"
