#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# C5, L2, A8: two loop disks under mixed fio load (verified by fio itself) are protected while it runs; at rest the newest point equals them byte for
# byte, as does what was kept of a moment in between.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
seconds=${LOAD_SECONDS:-8}

e2e_begin load
make_loop one.img 128M; one=$disk
make_loop two.img 96M; two=$disk
check dd if=/dev/urandom of="$one" bs=1M count=40 seek=20 oflag=direct status=none # something to find, holes around it
start_target
write_agent_config "$one" "$two" <<'YAML'
marks:
  interval: 1s
YAML

mixed_load() { # seconds
    fio --output="$dir/fio.out" --direct=1 --ioengine=libaio --group_reporting \
        --name=verified --filename="$one" --rw=randwrite --bssplit=4k/60:8k/20:64k/20 --iodepth=8 --size=48m --rate=8m --verify=crc32c --verify_fatal=1 --verify_state_save=0 \
        --name=large --filename="$two" --rw=write --bs=1m --iodepth=2 --size=48m --rate=20m --time_based --runtime="$1" \
        --name=trim --filename="$two" --rw=randtrim --bs=64k --offset=48m --size=16m --rate=2m --time_based --runtime="$1" \
        --name=odd --filename="$one" --offset=64m --size=32m --rw=randrw --bs=512-16k --blockalign=512 --iodepth=4 --rate=4m --time_based \
        --runtime="$1" >"$dir/fio.log" 2>&1
}

mixed_load "$seconds" &
load=$!
e2e_pids+=("$load")
start_agent
wait_protected 60
say "protected under load: $(agent_status '"passes \(.counters.passes), lost events \(.counters.lost_events), lag p99 \(.lag_ms.p99) ms"')"
set_mark --name between
between=$mark_id
wait "$load" || die "fio failed: $(tail -n 5 "$dir/fio.out")"
forget e2e_pids "$load"
wait_drained
compare_export latest "$one" "$two"
point_opens "$between"
say "equal at rest: $(agent_status '"\(.counters.captured_records) records, \(.counters.captured_bytes) bytes captured, lag p50 \(.lag_ms.p50) ms, p99 \(.lag_ms.p99) ms"')"
store_is_clean
check ends_in_order "$target_pid" # once aborted: a connection was open, and its end was not waited for
check ends_in_order "${agent_pids[$agent]}"
