# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the end-to-end tests share. A test sources this, calls e2e_begin, builds its machine from the calls below, and ends;
# cleaning up is this file's affair, however the test ends. Programs come from the build tree (HF_BUILD, set by meson).
set -uo pipefail

: "${HF_BUILD:?set by meson: the build directory}"
holdfast=$HF_BUILD/src/cli/holdfast
agent_program=$HF_BUILD/src/agent/holdfast-agent
target_program=$HF_BUILD/src/target/holdfast-target
oracle=$HF_BUILD/tests/oracle

declare -a e2e_pids=() e2e_mounts=() e2e_loops=() e2e_fuses=()
e2e_checks=0

say() { printf '# %s\n' "$*"; }
die() {
    printf 'FAILED: %s\n' "$*" >&2
    for log in "$dir"/*.log; do [ -f "$log" ] && { echo "--- $log"; tail -n 30 "$log"; } >&2; done
    exit 1
}
check() { # words... : the command must succeed
    e2e_checks=$((e2e_checks + 1))
    "$@" || die "check failed: $*"
}
skip() { echo "SKIP: $*"; exit 77; }
now_ms() { date +%s%3N; }

e2e_begin() { # name
    [ "$(id -u)" = 0 ] || skip "needs root: loop devices, eBPF"
    dir=$(mktemp -d "${E2E_TMP:-/var/tmp}/hf-e2e-$1.XXXXXX")
    name=$1-$$
    bpffs=/sys/fs/bpf/holdfast/e2e-$name
    store=$dir/store
    trap e2e_end EXIT
    trap 'exit 130' INT TERM
    mkdir -p "$store" "$dir/state"
    check "$holdfast" pki init "$dir/pki" >/dev/null
    check "$holdfast" pki issue "$dir/pki" target recovery --host 127.0.0.1 --out "$dir/target-tls" >/dev/null
    check "$holdfast" pki issue "$dir/pki" agent m1 --out "$dir/agent-tls" >/dev/null
    target_port=$((20000 + ($$ * 7) % 20000))
    agent_address=127.0.0.1:$target_port
}

e2e_end() {
    local code=$? item
    trap - EXIT INT TERM
    exec 2>>"$dir/cleanup.err"
    for item in "${e2e_pids[@]}"; do kill -CONT "$item"; kill -9 "$item"; done
    for item in "${e2e_pids[@]}"; do wait "$item"; done
    [ -f "$dir/agent.yaml" ] && timeout 30 "$agent_program" detach --config "$dir/agent.yaml" >/dev/null
    for item in "${e2e_mounts[@]}"; do umount -l "$item"; done
    for item in "${e2e_loops[@]}"; do losetup -d "$item"; done
    for item in "${e2e_fuses[@]}"; do fusermount3 -u -z "$item"; done
    rm -rf "$dir"
    [ "$code" = 0 ] && echo "# $e2e_checks checks passed"
    exit "$code"
}

forget_pid() { # pid: it has ended
    local pid kept=()
    for pid in "${e2e_pids[@]}"; do [ "$pid" = "$1" ] || kept+=("$pid"); done
    e2e_pids=("${kept[@]}")
}

# ---- disks ----

make_loop() { # file size → $disk
    truncate -s "$2" "$dir/$1"
    disk=$(losetup -f --show --direct-io=on "$dir/$1" 2>/dev/null) || disk=$(losetup -f --show "$dir/$1") || die "no loop device"
    e2e_loops+=("$disk")
}

# A disk whose hardware keeps its own record: nbdkit plugin, nbdfuse, loop. → $disk; image $dir/NAME.img, record $dir/NAME.record
make_recorded_disk() { # name size [plugin parameters...]
    local disk_name=$1 size=$2 i
    shift 2
    nbdkit -f -U "$dir/$disk_name.hw" "$oracle/oracle-recording-disk.so" file="$dir/$disk_name.img" size="$size" \
        record="$dir/$disk_name.record" "$@" 2>"$dir/$disk_name.hw.log" &
    e2e_pids+=($!)
    for ((i = 0; i < 100; i++)); do [ -S "$dir/$disk_name.hw" ] && break; sleep 0.05; done
    mkdir -p "$dir/$disk_name.fuse"
    nbdfuse "$dir/$disk_name.fuse/disk" "nbd+unix:///?socket=$dir/$disk_name.hw" 2>"$dir/$disk_name.fuse.log" &
    e2e_pids+=($!)
    e2e_fuses+=("$dir/$disk_name.fuse")
    for ((i = 0; i < 100; i++)); do [ -e "$dir/$disk_name.fuse/disk" ] && break; sleep 0.05; done
    disk=$(losetup -f --show "$dir/$disk_name.fuse/disk") || die "no loop device over nbdfuse"
    e2e_loops+=("$disk")
}

mount_disk() { # device mountpoint [options...]
    local device=$1 mountpoint=$2
    shift 2
    mkdir -p "$mountpoint"
    mount "$@" "$device" "$mountpoint" || die "cannot mount $device"
    e2e_mounts+=("$mountpoint")
}

# ---- target ----

write_target_config() { # extra YAML lines on standard input
    cat >"$dir/target.yaml" <<YAML
store: $store
listen: 127.0.0.1:$target_port
tls:
  certificate: $dir/target-tls/cert.pem
  key: $dir/target-tls/key.pem
  authority: $dir/pki/ca.pem
YAML
    [ -t 0 ] || cat >>"$dir/target.yaml"
}

start_target() {
    [ -f "$dir/target.yaml" ] || write_target_config </dev/null
    "$target_program" --config "$dir/target.yaml" >>"$dir/target.log" 2>&1 &
    target_pid=$!
    e2e_pids+=("$target_pid")
}

kill_target() { # [signal]
    kill "-${1:-KILL}" "$target_pid"
    wait "$target_pid" 2>/dev/null
    forget_pid "$target_pid"
}

# ---- agent ----

write_agent_config() { # disks...; extra YAML lines on standard input
    local one
    {
        cat <<YAML
machine:
  name: m1
target:
  address: $agent_address
tls:
  certificate: $dir/agent-tls/cert.pem
  key: $dir/agent-tls/key.pem
  authority: $dir/pki/ca.pem
state_dir: $dir/state
control_socket: $dir/agent.sock
bpffs_dir: $bpffs
disks:
YAML
        for one in "$@"; do echo "  - $one"; done
        [ -t 0 ] || cat
    } >"$dir/agent.yaml"
}

start_agent() {
    "$agent_program" --config "$dir/agent.yaml" >>"$dir/agent.log" 2>&1 &
    agent_pid=$!
    e2e_pids+=("$agent_pid")
}

kill_agent() { # [signal]
    kill "-${1:-KILL}" "$agent_pid"
    wait "$agent_pid" 2>/dev/null
    forget_pid "$agent_pid"
}

agent_status() { # jq filter
    "$holdfast" agent status --socket "$dir/agent.sock" -o json 2>/dev/null | jq -r "$1"
}

wait_status() { # jq condition, seconds, what for
    local end=$(($(now_ms) + $2 * 1000))
    while [ "$(now_ms)" -lt "$end" ]; do
        [ "$(agent_status "$1")" = true ] && return 0
        sleep 0.1
    done
    agent_status . >&2
    die "waited $2 s in vain for: ${3:-$1}"
}

wait_protected() { wait_status '.protected' "${1:-60}" "the machine to be protected"; }

mark() { # [options] → $mark_id
    mark_id=$("$holdfast" agent mark --socket "$dir/agent.sock" -o json "$@" | jq -r .point)
    [ -n "$mark_id" ] && [ "$mark_id" != null ]
}

# Many marks with the moments before and after each request, for oracle-check.
mark_often() { # count interval_us file
    "$oracle/oracle-mark" "$dir/agent.sock" "$1" "$2" >"$3" || die "cannot set marks"
}

# Waits until everything captured so far is durable at the target.
wait_drained() { # [seconds]
    sync
    mark --name drain || die "cannot set a mark"
    local id=$mark_id end=$(($(now_ms) + ${1:-60} * 1000))
    while [ "$(now_ms)" -lt "$end" ]; do
        "$holdfast" store points "$store" --find "$id" -o json >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    die "the mark did not reach the store in ${1:-60} s"
}

# ---- views ----

# Exports a point and compares it with files, in the order of the disks.
compare_export() { # point file...
    local point=$1 out=$dir/export i=0 image
    shift
    rm -rf "$out"
    check "$holdfast" store export "$store" "$out" --point "$point" -q >/dev/null
    for image in "$out"/*.raw; do
        i=$((i + 1))
        check cmp "$image" "${!i}"
    done
    [ "$i" = $# ] || die "the export has $i disks, expected $#"
    rm -rf "$out"
}

open_view() { # name point [options...] → $view_pid, sockets in $dir/NAME.json
    local view=$1 point=$2 i
    shift 2
    "$holdfast" view serve "$store" --point "$point" --socket "$dir/$view" -o json "$@" >"$dir/$view.json" 2>"$dir/$view.log" &
    view_pid=$!
    e2e_pids+=("$view_pid")
    for ((i = 0; i < 200; i++)); do
        [ -s "$dir/$view.json" ] && jq -e .disks "$dir/$view.json" >/dev/null 2>&1 && return 0
        kill -0 "$view_pid" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

close_view() {
    kill "$view_pid" 2>/dev/null
    wait "$view_pid" 2>/dev/null
    forget_pid "$view_pid"
}
