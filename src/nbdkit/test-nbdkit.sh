#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The plugin against real clients: nbdinfo, nbdcopy, qemu-img, qemu-io.
# usage: test-nbdkit.sh PLUGIN MAKE_STORE
set -eu
plugin=$1
make_store=$2
for tool in nbdkit nbdinfo nbdcopy qemu-img qemu-io; do
    command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
older=$("$make_store" "$dir")
serve() { timeout 60 nbdkit -U - "$plugin" store="$dir/store" "$@"; }
fail() { echo "FAILED: $1"; exit 1; }
same() { cmp "$1" "$2" || fail "$3"; }

for disk in 0 1; do
    serve disk=$disk --run "nbdcopy \"\$uri\" $dir/got && qemu-img compare -f raw -F raw \"\$uri\" $dir/latest.$disk.raw"
    same "$dir/got" "$dir/latest.$disk.raw" "newest point, disk $disk"
    serve disk=$disk point=pos:$older --run "nbdcopy \"\$uri\" $dir/got"
    same "$dir/got" "$dir/old.$disk.raw" "older point, disk $disk"
done
echo "ok: nbdcopy and qemu-img read what the model has"

serve --run 'nbdinfo --list "$uri"' | grep -c '^export=' | grep -qx 2 || fail "two exports"
serve disk=da --run 'nbdinfo --json "$uri"' | grep -q '"is_read_only": true' || fail "read-only by default"
serve disk=0 --run 'nbdinfo --map --totals "$uri"' | grep -q 'hole,zero' || fail "holes are told"
echo "ok: exports, flags, extents"

# fault_37: what a client may not do is refused, and the server goes on.
serve disk=0 --run 'qemu-io -r -f raw -c "read 262144 512" "$uri"' 2>&1 | grep -qi 'invalid\|error' \
    || fail "fault_37: out of range is refused"
if serve disk=0 --run 'qemu-io -f raw -c "write 0 512" "$uri"' >/dev/null 2>&1; then
    fail "fault_37: a write to a read-only point is refused"
fi
serve disk=0 --run 'for i in 1 2 3 4 5 6 7 8; do nbdinfo --size "$uri" & done; wait' | grep -c '^262144$' \
    | grep -qx 8 || fail "fault_37: several clients at once"
echo "ok: fault_37_an_export_refuses_what_it_must"

# fault_38: what is written to an overlay never reaches the point, and a full one is an error.
serve disk=0 writable=1 --run 'qemu-io -f raw -c "write -P 0x5a 1000 3000" -c "read -P 0x5a 1000 3000" \
    -c "write -z 65536 65536" -c "read -P 0 65536 65536" -c flush "$uri"' >/dev/null || fail "overlay"
mkdir "$dir/overlay"
serve disk=0 writable=1 overlay="$dir/overlay" --run 'qemu-io -f raw -c "write -P 7 0 256k" -c "read -P 7 0 256k" "$uri"' \
    >/dev/null || fail "overlay in a directory"
[ -z "$(ls -A "$dir/overlay")" ] || fail "the overlay is thrown away"
if serve disk=0 writable=1 overlay-size=8k --run 'qemu-io -f raw -c "write -P 1 0 64k" "$uri"' >"$dir/out" 2>&1 &&
    ! grep -qi 'no space' "$dir/out"; then
    fail "fault_38: a full overlay is an error"
fi
serve disk=0 --run "nbdcopy \"\$uri\" $dir/got"
same "$dir/got" "$dir/latest.0.raw" "fault_38: the point is untouched"
echo "ok: fault_38_a_writable_view_leaves_its_point_alone"

if serve point=2001-01-01T00:00:00Z --run true 2>"$dir/out"; then
    fail "a point below the window"
fi
grep -q "point '2001" "$dir/out" || fail "the reason is told"
if serve disk=nosuch --run true 2>/dev/null; then
    fail "a disk that is not there"
fi
[ -z "$(ls -A "$dir"/store/machines/*/leases)" ] || fail "leases are given back"
echo "ok: wrong parameters are told at the start, leases are given back"
