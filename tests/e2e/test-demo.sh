#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# P6: what a newcomer sees: `holdfast demo`. It ends well, says what it came to, and leaves nothing behind.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
dir=$(mktemp -d "${TMPDIR:-/tmp}/hf-e2e-demo.XXXXXX")
trap 'rm -rf "$dir"' EXIT
[ "$(id -u)" = 0 ] || skip "needs root: network namespaces, loop devices"

timeout 200 "$holdfast" demo --seconds 14 >"$dir/demo.log" 2>&1 || die "the demo failed"
for line in 'initial replication .* 100%' 'newest transaction [0-9]*, none missing before it' 'Ten seconds earlier' 'data lost  *[0-9.]* s' 'from .open. to first byte' \
    'replicated .*compressed'; do
    check grep -q "$line" "$dir/demo.log"
done
check_that "checked file systems" "$(grep -c 'clean$' "$dir/demo.log")" = 4
tail -n 8 "$dir/demo.log"
sleep 1
check_that "loop devices left" -z "$(losetup --noheadings --output BACK-FILE | grep holdfast-demo)"
check_that "namespaces left" -z "$(ip netns list | grep hfdemo)"
check_that "mounts left" -z "$(findmnt --noheadings --output TARGET | grep holdfast-demo)"
check_that "pins left" -z "$(find /sys/fs/bpf -maxdepth 2 -name 'demo*' 2>/dev/null)"
echo "# $e2e_checks checks passed"
