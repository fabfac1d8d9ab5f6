#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The console from outside: C7, P6 (a store's directory alone is enough), fault 29 (damage is named, never served), fault 39
# (a time that happened twice).   test-cli.sh CASE HOLDFAST MAKE-STORE
set -uo pipefail
case_name=$1
holdfast=$2
make_store=$3
dir=$(mktemp -d "${TMPDIR:-/tmp}/hf-cli.XXXXXX")
view_pid=
cleanup() {
    local code=$?
    [ -n "$view_pid" ] && kill "$view_pid" 2>/dev/null && wait "$view_pid" 2>/dev/null
    rm -rf "$dir"
    exit "$code"
}
trap cleanup EXIT
checks=0
fail() { printf 'FAILED: %s\n' "$*" >&2; [ -s "$dir/err" ] && head -n 20 "$dir/err" >&2; exit 1; }
expect() { # code words...: runs holdfast; output in $dir/out, messages in $dir/err
    local wanted=$1 code
    shift
    checks=$((checks + 1))
    timeout 60 "$holdfast" "$@" >"$dir/out" 2>"$dir/err"
    code=$?
    [ "$code" = "$wanted" ] || fail "holdfast $*: exit code $code, not $wanted"
}
says() { checks=$((checks + 1)); grep -q -- "$2" "$dir/$1" || fail "'$2' is not in: $(head -c 600 "$dir/$1")"; }
json() { checks=$((checks + 1)); jq -e "$1" "$dir/out" >/dev/null 2>"$dir/err" || fail "not so: $1 in $(head -c 600 "$dir/out")"; }
silent() { checks=$((checks + 1)); [ ! -s "$dir/$1" ] || fail "'$1' is not empty: $(head -c 300 "$dir/$1")"; }
same() { checks=$((checks + 1)); cmp "$1" "$2" >"$dir/err" 2>&1 || fail "$1 and $2 differ"; }

commands() { # every command as the help shows it, one a line
    "$holdfast" --help | sed -n 's/^  \([a-z][a-z ]*[a-z]\)  .*/\1/p' | sed 's/  .*//'
}

fresh_store() {
    mkdir -p "$dir/store" "$dir/expected"
    "$make_store" "$dir/store" "$dir/expected" || fail "no store to look at"
    mapfile -t points <"$dir/expected/points"
    read -r first_id first_position _ <<<"${points[0]}"
    read -r app_id app_position _ <<<"${points[1]}"
    read -r last_id last_position _ <<<"${points[2]}"
    machine_dir=$(printf '%s\n' "$dir"/store/machines/*)
}

flip_byte() { # file offset
    local old
    old=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf '%b' "\\x$(printf %02x $((old ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

case $case_name in
help)
    mapfile -t all < <(commands)
    [ "${#all[@]}" -ge 14 ] || fail "the help lists ${#all[@]} commands"
    for one in "${all[@]}"; do
        read -ra words <<<"$one"
        expect 0 "${words[@]}" --help
        says out "^Usage: holdfast $one"
        says out '^Options:'
        silent err
        [ "$(awk 'length > 120' "$dir/out" | wc -l)" = 0 ] || fail "the help of $one is wider than a terminal"
    done
    for group in store view agent pki; do
        expect 0 "$group" --help
        says out "holdfast $group COMMAND"
    done
    expect 0 --version
    says out '^holdfast [0-9]'
    ;;
usage)
    expect 2
    for words in bogus "store bogus" "store ls --bogus x" "store ls" "store ls a b" "store export a" "view serve a" "agent disk add" \
        "store ls a --output xml" "store ls a --machine" "pki issue d wizard n" "pki issue d agent n --days soon" "completion fish" "store"; do
        # shellcheck disable=SC2086
        expect 2 $words
        [ "$words" = store ] || [ "$(grep -c . "$dir/err")" -le 2 ] || fail "more than two lines about '$words'"
        [ "$words" = store ] || says err '^holdfast: .'
    done
    expect 1 store ls "$dir/nothing"
    says err "is not a store"
    expect 1 store ls "$dir/nothing" -o json
    checks=$((checks + 1))
    jq -e '.error == "ENOENT" and (.message | length > 0)' "$dir/err" >/dev/null || fail "the error is no JSON object"
    expect 1 agent status --socket "$dir/nothing.sock"
    says err '^holdfast: .*nothing.sock'
    ;;
man)
    expect 0 man
    silent err
    groff -ww -man -Tutf8 "$dir/out" >"$dir/page" 2>"$dir/err" || fail "groff refuses the page"
    silent err
    mapfile -t all < <(commands)
    for one in "${all[@]}"; do
        checks=$((checks + 1))
        grep -q "holdfast $one" "$dir/page" || fail "the manual says nothing of '$one'"
    done
    ;;
completion)
    expect 0 completion bash
    bash -n "$dir/out" || fail "bash cannot read it"
    complete_words() { # words...: what is offered for the last
        bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _holdfast; printf "%s\n" "${COMPREPLY[@]}"' - "$dir/out" holdfast "$@"
    }
    offers() { # expected words...
        local expected=$1
        shift
        checks=$((checks + 1))
        complete_words "$@" >"$dir/offered"
        grep -qx -- "$expected" "$dir/offered" || fail "completing '$*' does not offer '$expected' but: $(tr '\n' ' ' <"$dir/offered")"
    }
    offers store st
    offers completion ""
    offers points store p
    offers serve view ""
    offers --machine store points S --m
    offers --seconds demo --s
    offers --writable view serve S --w
    offers --watch agent status --w
    ;;
store)
    fresh_store
    expect 0 store ls "$dir/store"
    says out '^NAME  *MACHINE  *STATE'
    says out '^db1 .* protected'
    expect 0 store ls "$dir/store" --output json
    json 'length == 1 and .[0].name == "db1" and .[0].disks == 2 and .[0].consistent and (.[0].partial | not)'
    expect 0 store points "$dir/store"
    says out 'before-upgrade'
    [ "$(grep -c ' yes ' "$dir/out")" = 3 ] || fail "not three points that can be opened"
    expect 0 store points "$dir/store" -o json
    json "length == 3 and .[1].id == \"$app_id\" and .[1].kind == \"application-consistent\" and .[1].position == $app_position"
    json 'all(.openable)'
    expect 0 store points "$dir/store" --last 1 -o json
    json "length == 1 and .[0].id == \"$last_id\""
    expect 2 store points "$dir/store" --last many
    expect 0 store points "$dir/store" --find "${first_id:0:8}" -o json
    json ".[0].position == $first_position"
    expect 0 store points "$dir/store" --find latest-app -o json
    json ".[0].id == \"$app_id\""
    expect 1 store points "$dir/store" --find 00000000000000000000000000000000
    says err 'no recovery point answers'
    expect 1 store points "$dir/store" --find gibberish
    says err 'is not a point'
    expect 1 store points "$dir/store" --machine other
    says err "holds no machine 'other'"
    expect 0 store check "$dir/store"
    says out '^db1: all is well'
    expect 0 store check "$dir/store" -o json
    json '.[0].damages == 0 and .[0].points == 3 and (.[0].damage | length) == 0'
    for line in "${points[@]}"; do
        read -r id position _ <<<"$line"
        expect 0 store export "$dir/store" "$dir/out-$position" --point "$id"
        same "$dir/out-$position/da.raw" "$dir/expected/$position-0.raw"
        same "$dir/out-$position/db.raw" "$dir/expected/$position-1.raw"
        jq -e '.name == "db1"' "$dir/out-$position/machine.json" >/dev/null || fail "the machine's description is not there"
    done
    expect 0 store export "$dir/store" "$dir/one" --disk db --point latest
    [ ! -e "$dir/one/da.raw" ] || fail "--disk db wrote da too"
    same "$dir/one/db.raw" "$dir/expected/$last_position-1.raw"
    ;;
ambiguous-39)
    fresh_store
    time=$("$holdfast" store points "$dir/store" -o json | jq -r '.[0].time')
    expect 1 store points "$dir/store" --find "$time"
    says err 'happened more than once'
    [ "$(grep -c -- '--point pos:' "$dir/err")" = 2 ] || fail "not two candidates"
    mapfile -t candidates < <(sed -n 's/.*--point \(pos:[0-9]*\).*/\1/p' "$dir/err")
    for one in "${candidates[@]}"; do
        expect 0 store points "$dir/store" --find "$one" -o json
        json '.[0].openable'
    done
    expect 1 store export "$dir/store" "$dir/never" --point "$time"
    [ ! -e "$dir/never/da.raw" ] || fail "an ambiguous time was exported"
    expect 1 store points "$dir/store" --find "2001-01-01 00:00:00Z"
    says err 'older than the history'
    ;;
damage-29)
    fresh_store
    mapfile -t segments < <(find "$machine_dir/journal" -type f -size +8k | sort)
    [ "${#segments[@]}" -ge 2 ] || fail "the journal has no segments to damage"
    for file in "${segments[0]}" "$machine_dir/disk-00/base"; do
        cp "$file" "$dir/good"
        offset=$(($(stat -c %s "$file") / 2))
        [ "$file" = "${segments[0]}" ] || offset=$(($(od -An -v -tu1 -w512 "$file" | awk '{for (i = 1; i <= NF; i++) if ($i) {print NR; exit}}') * 512 - 256))
        flip_byte "$file" "$offset"
        expect 3 store check "$dir/store"
        says out '^db1: damaged in'
        says out 'may be affected'
        case $file in
        */base) says out 'base image:' ;;
        *) says out 'journal:' && says out 'segment [0-9]*, at byte [0-9]*' ;;
        esac
        expect 3 store check "$dir/store" -o json
        json '.[0].damages >= 1 and (.[0].damage[0] | .text | length > 0)'
        for line in "${points[@]}"; do # right bytes or a refusal, never others
            read -r id position _ <<<"$line"
            rm -rf "$dir/exported"
            if timeout 60 "$holdfast" store export "$dir/store" "$dir/exported" --point "$id" >/dev/null 2>"$dir/err"; then
                same "$dir/exported/da.raw" "$dir/expected/$position-0.raw"
                same "$dir/exported/db.raw" "$dir/expected/$position-1.raw"
            else
                says err '^holdfast: .'
            fi
        done
        cp "$dir/good" "$file"
        expect 0 store check "$dir/store"
    done
    ;;
view)
    fresh_store
    timeout 60 "$holdfast" view serve "$dir/store" --point "$app_id" --socket "$dir/view" -o json >"$dir/out" 2>"$dir/err" &
    view_pid=$!
    for ((i = 0; i < 200; i++)); do [ -s "$dir/out" ] && break; kill -0 "$view_pid" 2>/dev/null || fail "the view ended"; sleep 0.05; done
    json ".machine == \"db1\" and .position == $app_position and (.disks | length) == 2"
    for i in 0 1; do
        nbdcopy "nbd+unix:///?socket=$(jq -r ".disks[$i].socket" "$dir/out")" "$dir/served-$i" || fail "nbdcopy"
        same "$dir/served-$i" "$dir/expected/$app_position-$i.raw"
    done
    nbdinfo "nbd+unix:///?socket=$(jq -r '.disks[0].socket' "$dir/out")" >"$dir/info" || fail "nbdinfo"
    grep -q 'is_read_only: true' "$dir/info" || fail "the view is not read-only"
    kill "$view_pid"
    wait "$view_pid" || fail "the view did not end in order"
    view_pid=
    checks=$((checks + 1))
    [ -z "$(find "$dir/view" -type s)" ] || fail "sockets are left"
    expect 1 view serve "$dir/store" --point gibberish --socket "$dir/view"
    ;;
*) fail "no such case: $case_name" ;;
esac
echo "# $checks checks passed"
