# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the end-to-end tests share. A test sources this, calls e2e_begin, builds its machines from the calls below, and ends;
# cleaning up is this file's affair, however the test ends. Programs come from the build tree.
# shellcheck disable=SC2034  # some of what is set here is for the tests
set -uo pipefail
exec {e2e_errors}>&2 # what a failure says is seen whatever the failing call's output went to

HF_BUILD=${HF_BUILD:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build} # set by meson
holdfast=$HF_BUILD/src/cli/holdfast
agent_program=$HF_BUILD/src/agent/holdfast-agent
target_program=$HF_BUILD/src/target/holdfast-target
oracle=$HF_BUILD/tests/oracle
e2e=$HF_BUILD/tests/e2e

declare -a e2e_pids=() e2e_mounts=() e2e_loops=() e2e_fuses=()
declare -A agent_pids=()
e2e_checks=0
dir='' store='' disk='' mark_id='' proxy_pid=''
agent=m1 # whom the agent's calls below speak of

say() { printf '# %s\n' "$*"; }
die() {
    local log
    printf 'FAILED: %s\n' "$*" >&"$e2e_errors"
    for log in "$dir"/*.log; do [ -s "$log" ] && { echo "--- $log"; tail -n 25 "$log"; } >&"$e2e_errors"; done
    exit 1
}
check() { # words... : the command must succeed
    e2e_checks=$((e2e_checks + 1))
    "$@" || die "check failed: $*"
}
check_that() { # what the numbers say, then a condition for [ ]
    e2e_checks=$((e2e_checks + 1))
    local what=$1
    shift
    [ "$@" ] || die "$what: not so: $*"
}
skip() { echo "SKIP: $*"; exit 77; }
now_ms() { date +%s%3N; }

e2e_begin() { # name
    [ "$(id -u)" = 0 ] || skip "needs root: loop devices, eBPF"
    dir=$(mktemp -d "${E2E_TMP:-/var/tmp}/hf-e2e-$1.XXXXXX")
    name=$1-$$
    store=$dir/store
    trap e2e_end EXIT
    trap 'exit 130' INT TERM
    mkdir -p "$store"
    target_port=$((20000 + ($$ * 7) % 20000))
    agent_address=127.0.0.1:$target_port
    check "$holdfast" pki init "$dir/pki" >/dev/null
    check "$holdfast" pki issue "$dir/pki" target recovery --host 127.0.0.1 --out "$dir/target-tls" >/dev/null
}

e2e_end() {
    local code=$? item config
    trap - EXIT INT TERM
    [ -n "${E2E_KEEP:-}" ] && { echo "kept: $dir"; exit "$code"; }
    exec 2>/dev/null
    for item in "${e2e_pids[@]}"; do kill -CONT "$item"; kill -9 "$item"; done
    for item in "${e2e_pids[@]}"; do wait "$item"; done
    sleep 0.1
    for config in "$dir"/agent-*.yaml; do
        [ -f "$config" ] && timeout 30 "$agent_program" detach --config "$config" >/dev/null
    done
    rmdir /sys/fs/bpf/holdfast/e2e /sys/fs/bpf/holdfast
    for item in "${e2e_mounts[@]}"; do fsfreeze -u "$item"; umount -l "$item"; done
    for item in "${e2e_loops[@]}"; do losetup -d "$item"; done
    for item in "${e2e_fuses[@]}"; do fusermount3 -u -z "$item"; done
    rm -rf "$dir"
    [ "$code" = 0 ] && echo "# $e2e_checks checks passed"
    exit "$code"
}

forget() { # list item: takes it out of e2e_pids, e2e_loops, ...
    local -n list=$1
    local item kept=()
    for item in "${list[@]}"; do [ "$item" = "$2" ] || kept+=("$item"); done
    list=("${kept[@]}")
}

end_process() { # pid signal: and waits for it
    kill "-$2" "$1" 2>/dev/null
    wait "$1" 2>/dev/null
    forget e2e_pids "$1"
}

wait_for() { # seconds, what for, words...: until the command succeeds
    local end=$(($(now_ms) + $1 * 1000)) what=$2
    shift 2
    while ! "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt "$end" ] || die "waited in vain for $what"
        sleep 0.05
    done
}

# ---- disks ----

attach_loop() { # file → $disk
    disk=$(losetup -f --show --direct-io=on "$1" 2>/dev/null) || disk=$(losetup -f --show "$1") || die "no loop device"
    e2e_loops+=("$disk")
}

make_loop() { # file size → $disk
    truncate -s "$2" "$dir/$1"
    attach_loop "$dir/$1"
}

detach_loop() { # device
    losetup -d "$1"
    forget e2e_loops "$1"
}

# A disk whose hardware keeps its own record: nbdkit plugin, nbdfuse, loop. → $disk; image $dir/NAME.img, record $dir/NAME.record
make_recorded_disk() { # name size [plugin parameters...]
    local disk_name=$1 size=$2
    shift 2
    nbdkit -f -U "$dir/$disk_name.hw" "$oracle/oracle-recording-disk.so" file="$dir/$disk_name.img" size="$size" \
        record="$dir/$disk_name.record" "$@" 2>"$dir/$disk_name.hw.log" &
    e2e_pids+=($!)
    wait_for 10 "the recording disk" test -S "$dir/$disk_name.hw"
    mkdir -p "$dir/$disk_name.fuse"
    nbdfuse "$dir/$disk_name.fuse/disk" "nbd+unix:///?socket=$dir/$disk_name.hw" 2>"$dir/$disk_name.fuse.log" &
    e2e_pids+=($!)
    e2e_fuses+=("$dir/$disk_name.fuse")
    wait_for 10 "nbdfuse" test -e "$dir/$disk_name.fuse/disk"
    attach_loop "$dir/$disk_name.fuse/disk"
}

mount_disk() { # device mountpoint [options...]
    local device=$1 mountpoint=$2
    shift 2
    mkdir -p "$mountpoint"
    mount "$@" "$device" "$mountpoint" || die "cannot mount $device"
    e2e_mounts+=("$mountpoint")
}

unmount_disk() { # mountpoint
    check umount "$1"
    forget e2e_mounts "$1"
}

# ---- target ----

write_target_config() { # extra YAML lines on standard input
    {
        cat <<YAML
store: $store
listen: 127.0.0.1:$target_port
tls:
  certificate: $dir/target-tls/cert.pem
  key: $dir/target-tls/key.pem
  authority: $dir/pki/ca.pem
YAML
        cat
    } >"$dir/target.yaml"
}

start_target() { # [NAME=VALUE...]: for its environment
    [ -f "$dir/target.yaml" ] || write_target_config </dev/null
    env "$@" "$target_program" --config "$dir/target.yaml" >>"$dir/target.log" 2>&1 &
    target_pid=$!
    e2e_pids+=("$target_pid")
}

stop_target() { end_process "$target_pid" "${1:-TERM}"; } # [signal]

ends_in_order() { # pid: told to stop, it does, with success
    kill -TERM "$1" && wait "$1" && forget e2e_pids "$1"
}

# A bad network between: agents that are configured after this go through it. proxy COMMAND speaks to it (proxy.c).
start_proxy() {
    local port=$((target_port + 1))
    mkfifo "$dir/proxy.in"
    "$e2e/e2e-proxy" "$port" "$target_port" <"$dir/proxy.in" >"$dir/proxy.out" 2>"$dir/proxy.log" &
    proxy_pid=$!
    e2e_pids+=("$proxy_pid")
    exec {proxy_fd}>"$dir/proxy.in"
    agent_address=127.0.0.1:$port
}
proxy() { printf '%s\n' "$*" >&"$proxy_fd"; }
proxy_count() { # field: up, down, flips, cuts
    local before
    before=$(wc -l <"$dir/proxy.out")
    proxy count
    wait_for 5 "the proxy's count" eval "[ \$(wc -l <'$dir/proxy.out') -gt $before ]"
    tail -n 1 "$dir/proxy.out" | sed "s/.*$1 \([0-9]*\).*/\1/"
}

# ---- agent: all of these speak of $agent ----

write_agent_config() { # disks...; extra YAML lines on standard input. E2E_RING is the ring's size
    local one
    [ -d "$dir/$agent-tls" ] || check "$holdfast" pki issue "$dir/pki" agent "$agent" --out "$dir/$agent-tls" >/dev/null
    [ -f "$dir/$agent.id" ] || tr -d - </proc/sys/kernel/random/uuid >"$dir/$agent.id"
    mkdir -p "$dir/$agent.state" /sys/fs/bpf/holdfast
    {
        cat <<YAML
machine:
  name: $agent
  id: $(cat "$dir/$agent.id")
target:
  address: $agent_address
tls:
  certificate: $dir/$agent-tls/cert.pem
  key: $dir/$agent-tls/key.pem
  authority: $dir/pki/ca.pem
state_dir: $dir/$agent.state
control_socket: $dir/$agent.sock
bpffs_dir: /sys/fs/bpf/holdfast/e2e-$name-$agent
capture:
  ring: ${E2E_RING:-32MiB}
  maps: 4MiB
  dirty_return: 1s
disks:
YAML
        for one in "$@"; do echo "  - $one"; done
        cat
    } >"$dir/agent-$agent.yaml"
}

start_agent() { # [NAME=VALUE...]: for its environment
    env "$@" "$agent_program" --config "$dir/agent-$agent.yaml" >>"$dir/$agent.log" 2>&1 &
    agent_pid=$!
    agent_pids[$agent]=$agent_pid
    e2e_pids+=("$agent_pid")
}

stop_agent() { end_process "${agent_pids[$agent]}" "${1:-TERM}"; } # [signal]

agent_status() { # jq filter
    timeout 10 "$holdfast" agent status --socket "$dir/$agent.sock" -o json 2>/dev/null | jq -r "$1"
}

status_is() { [ "$(agent_status "$1")" = true ]; } # jq condition

wait_status() { # jq condition, seconds, what for
    local end=$(($(now_ms) + $2 * 1000))
    while ! status_is "$1"; do
        [ "$(now_ms)" -lt "$end" ] || { agent_status . >&2; die "$agent: waited $2 s in vain for ${3:-$1}"; }
        kill -0 "${agent_pids[$agent]}" 2>/dev/null || die "$agent: the agent has ended"
        sleep 0.1
    done
}

wait_protected() { wait_status '.protected' "${1:-60}" "the machine to be protected"; }

mark() { # [options] → $mark_id; the whole answer in $dir/mark.json
    timeout 60 "$holdfast" agent mark --socket "$dir/$agent.sock" -o json "$@" >"$dir/mark.json" 2>>"$dir/mark.log"
    mark_id=$(jq -r .point "$dir/mark.json" 2>/dev/null)
    [ -n "$mark_id" ] && [ "$mark_id" != null ]
}

set_mark() { # [options]: tried again while a pass is under way
    local i
    for ((i = 0; i < 300; i++)); do
        mark "$@" && return 0
        sleep 0.1
    done
    die "$agent: no mark could be set"
}

# Many marks with the moments before and after each request, for oracle-check.
mark_often() { # count interval_us file
    "$oracle/oracle-mark" "$dir/$agent.sock" "$1" "$2" >"$3" 2>>"$dir/mark.log" || die "cannot set marks"
}

# Waits until everything captured so far is durable at the target: a mark that came through says so.
wait_drained() { # [seconds]
    set_mark --name drain
    wait_for "${1:-60}" "the mark to reach the store" "$holdfast" store points "$store" --machine "$agent" --find "$mark_id" -o json
}

# ---- the store ----

point_opens() { check "$holdfast" store points "$store" --machine "$agent" --find "$1" -q >/dev/null; } # id
store_is_clean() { check "$holdfast" store check "$store" -q >"$dir/check.out"; }

# Exports a point and compares it with files, in the order of the disks.
compare_export() { # point file...
    local point=$1 out=$dir/export i=0 image
    shift
    rm -rf "$out"
    check "$holdfast" store export "$store" "$out" --machine "$agent" --point "$point" -q >/dev/null
    for image in "$out"/*.raw; do
        i=$((i + 1))
        check cmp "$image" "${!i}"
    done
    [ "$i" = $# ] || die "the export has $i disks, expected $#"
    rm -rf "$out"
}

open_view() { # point [options...] → $view_pid; what is served in $dir/view.json
    local point=$1
    shift
    rm -rf "$dir/view" "$dir/view.json"
    "$holdfast" view serve "$store" --machine "$agent" --point "$point" --socket "$dir/view" -o json "$@" >"$dir/view.json" 2>"$dir/view.log" &
    view_pid=$!
    e2e_pids+=("$view_pid")
    wait_for 20 "the view of $point" test -s "$dir/view.json"
}

close_view() { end_process "$view_pid" TERM; }

# The view's disk N as a block device: the kernel need not know NBD, so a FUSE file and a loop device stand between. → $view_loop
attach_view() { # N
    : >"$dir/view.img"
    nbdfuse "$dir/view.img" "nbd+unix:///?socket=$(jq -r ".disks[$1].socket" "$dir/view.json")" 2>"$dir/view.fuse.log" &
    view_fuse=$!
    e2e_pids+=("$view_fuse")
    e2e_fuses+=("$dir/view.img")
    wait_for 10 "the view's file" test -s "$dir/view.img"
    view_loop=$(losetup -f --show "$dir/view.img") || die "no loop device"
    e2e_loops+=("$view_loop")
}

detach_view() {
    detach_loop "$view_loop"
    wait_for 10 "the loop device to let go" fusermount3 -u "$dir/view.img"
    wait "$view_fuse" 2>/dev/null
    forget e2e_pids "$view_fuse"
    forget e2e_fuses "$dir/view.img"
}
