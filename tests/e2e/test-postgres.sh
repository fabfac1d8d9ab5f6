#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# P1 for a database: PostgreSQL started on points of a load; no commit acknowledged before the point is missing, pg_amcheck finds nothing.
. "$(dirname "$0")/lib.sh"
points=${PG_POINTS:-6}
pg=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
port=$((30000 + $$ % 10000))
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups env -C / "$@"; }
sql() { psql -qXAt -h "$dir/sock" -p "$port" -U postgres postgres "$@"; }

e2e_begin postgres
chmod 755 "$dir"
install -d -o postgres -m 755 "$dir/sock"
make_loop source.img 512M; source=$disk
check mkfs.ext4 -q "$source"
mount_disk "$source" "$dir/mnt"
install -d -o postgres -m 700 "$dir/mnt/pg"
check as_postgres "$pg/initdb" -D "$dir/mnt/pg" -A trust >/dev/null
check as_postgres "$pg/pg_ctl" -D "$dir/mnt/pg" -l "$dir/mnt/pg/server.out" -o "-c listen_addresses='' -p $port -k $dir/sock" -w start >/dev/null
check sql -c 'create table told(id bigint primary key)' -c 'create extension amcheck'
check setpriv --reuid=postgres --regid=postgres --init-groups "$pg/pgbench" -q -i -s 2 -h "$dir/sock" -p "$port" postgres >/dev/null 2>&1
start_target
write_agent_config "$source" </dev/null
start_agent
wait_protected 120

as_postgres "$pg/pgbench" -n -c 4 -T 120 -h "$dir/sock" -p "$port" postgres >/dev/null 2>&1 &
e2e_pids+=($!)
( i=0; while i=$((i + 1)); do printf 'insert into told values (%d);\n\\echo %d\n' "$i" "$i"; done ) |
    sql -v ON_ERROR_STOP=1 2>/dev/null | while read -r i; do echo "$i" >"$dir/told.new" && mv "$dir/told.new" "$dir/told"; done &
e2e_pids+=($!)
for ((n = 0; n < points; n++)); do
    sleep 2
    told=$(cat "$dir/told") # acknowledged before the mark is asked for
    mark || die "cannot set a mark"
    echo "$mark_id $told" >>"$dir/points"
done
sleep 1
as_postgres "$pg/pg_ctl" -D "$dir/mnt/pg" -m immediate stop >/dev/null
check umount "$dir/mnt"
wait_drained

port=$((port + 1))
while read -r id told; do
    open_view view "$id" --writable --overlay "$dir" || die "cannot open $id"
    : >"$dir/view.img"
    nbdfuse "$dir/view.img" "nbd+unix:///?socket=$(jq -r '.disks[0].socket' "$dir/view.json")" &
    fuse=$!
    for ((i = 0; i < 100; i++)); do [ -s "$dir/view.img" ] && break; sleep 0.02; done
    loop=$(losetup -f --show "$dir/view.img") || die "no loop device"
    mkdir -p "$dir/replica"
    check mount "$loop" "$dir/replica"
    rm -f "$dir/replica/pg/postmaster.pid"
    check as_postgres "$pg/pg_ctl" -D "$dir/replica/pg" -l "$dir/replica/pg/recovered.out" -o "-c listen_addresses='' -p $port -k $dir/sock" -t 90 -w start >/dev/null
    found=$(sql -c 'select count(*) from told where id <= '"$told")
    [ "$found" = "$told" ] || die "point $id: $told commits were acknowledged before it, $found are there"
    check as_postgres "$pg/pg_amcheck" -h "$dir/sock" -p "$port" -U postgres -d postgres --heapallindexed
    check as_postgres "$pg/pg_ctl" -D "$dir/replica/pg" -m fast -w stop >/dev/null
    check umount "$dir/replica"
    losetup -d "$loop"
    fusermount3 -u "$dir/view.img"
    wait "$fuse"
    close_view
    say "point $id: all $told acknowledged commits there, amcheck clean"
done <"$dir/points"
