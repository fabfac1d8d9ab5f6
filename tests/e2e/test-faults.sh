#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One machine under steady load, and what can go wrong around it. After each fault the stream heals by itself, earlier points stay, and at rest
# source and replica are equal.  test-faults.sh CASE
. "$(dirname "$0")/lib.sh"
case_name=$1

steady_load() { # seconds: writes that the checks can count on
    fio --name=load --filename="$source" --rw=randwrite --bs=16k --iodepth=8 --ioengine=libaio --direct=1 --time_based --runtime="$1" \
        --rate="${LOAD_RATE:-20m}" --output="$dir/fio.out" >/dev/null 2>&1 &
    load=$!
    e2e_pids+=("$load")
}
end_load() { wait "$load" 2>/dev/null; forget_pid "$load"; }

begin_protected() { # extra agent YAML on standard input
    e2e_begin "fault-$case_name"
    make_loop source.img 256M; source=$disk
    start_target
    write_agent_config "$source"
    start_agent
    wait_protected 60
    mark --name first || die "cannot set a mark"
    first=$mark_id
    wait_drained
}

finish_equal() {
    end_load
    wait_protected 120
    wait_drained 120
    compare_export latest "$source"
    check "$holdfast" store points "$store" --find "$first" -q >/dev/null
    check "$holdfast" store check "$store" -q >/dev/null
    say "healed; equal at rest; the first point still opens; store check clean"
}

passes() { agent_status .counters.passes; }

case $case_name in
01-ring-overflow) # fault 1: the ring is far too small for the load
    LOAD_RATE=400m begin_protected <<'YAML'
capture: {ring: 1MiB, dirty_return: 1s}
YAML
    before=$(passes)
    LOAD_RATE=400m steady_load 8
    end_load
    steady_load 1
    finish_equal
    [ "$(agent_status .counters.lost_events)" -gt 0 ] || die "the ring never overflowed: the test proves nothing"
    [ "$(passes)" -gt "$before" ] || die "no pass repaired the overflow"
    ;;
15-agent-killed-and-restarted) # H8, P4: kill -9 under load, twenty times; no pass is needed while the ring holds
    begin_protected </dev/null
    before=$(passes)
    steady_load 25
    for ((i = 0; i < 20; i++)); do
        sleep 0.5
        kill_agent KILL
        sleep 0.3
        start_agent
        wait_status '.link == "connected"' 30 "the agent to come back"
    done
    finish_equal
    [ "$(passes)" = "$before" ] || say "passes: $before before, $(passes) after"
    [ "$(agent_status '.causes["ring-full"] // 0')" = 0 ] || die "writes were lost although the ring held"
    ;;
12-agent-stopped-60s) # the machine goes on writing while the agent stands still
    begin_protected </dev/null
    LOAD_RATE=4m steady_load 70
    kill -STOP "$agent_pid"
    sleep 60
    kill -CONT "$agent_pid"
    finish_equal
    ;;
04-target-killed-50-times)
    begin_protected </dev/null
    steady_load 90
    for ((i = 0; i < 50; i++)); do
        sleep "0.$((RANDOM % 90 + 10))"
        kill_target KILL
        start_target
        [ $((i % 10)) = 9 ] && wait_status '.link == "connected"' 60 "the target to be found again"
    done
    finish_equal
    ;;
17-link-cut) # the connection is broken in the middle, again and again
    begin_protected </dev/null
    steady_load 20
    for ((i = 0; i < 10; i++)); do
        sleep 1.5
        ss -K dst 127.0.0.1 dport = "$target_port" >/dev/null 2>&1
    done
    finish_equal
    ;;
28-store-full)
    E2E_STORE_SIZE=200M
    e2e_begin "fault-$case_name"
    truncate -s "$E2E_STORE_SIZE" "$dir/store.img"
    store_loop=$(losetup -f --show "$dir/store.img"); e2e_loops+=("$store_loop")
    check mkfs.ext4 -q "$store_loop"
    mount_disk "$store_loop" "$store"
    rmdir "$store/lost+found"
    make_loop source.img 64M; source=$disk
    write_target_config <<'YAML'
retention:
  window: 2h
  free_warn: 60MiB
  free_refuse: 30MiB
segment_size: 4MiB
YAML
    start_target
    write_agent_config "$source" </dev/null
    start_agent
    wait_protected 60
    mark --name first; first=$mark_id
    wait_drained
    LOAD_RATE=30m steady_load 15
    end_load
    wait_protected 120
    wait_drained 120
    compare_export latest "$source"
    check "$holdfast" store check "$store" -q >/dev/null
    say "the store filled, shortened its window or refused, and healed"
    ;;
*) die "no such case: $case_name" ;;
esac
