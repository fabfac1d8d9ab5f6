#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# P1 for a database: PostgreSQL started on points of a load; no commit acknowledged before the point is missing, pg_amcheck finds nothing.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
points=${PG_POINTS:-5}
pg=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
port=$((40000 + $$ % 10000))
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups env -C / "$@"; }
sql() { psql -qXAt -h "$dir/sock" -p "$port" -U postgres postgres "$@"; }
server_options() { echo "-c listen_addresses='' -p $port -k $dir/sock"; }

e2e_begin postgres
chmod 755 "$dir"
install -d -o postgres -m 755 "$dir/sock"
make_loop source.img 512M; source=$disk
check mkfs.ext4 -q "$source"
mount_disk "$source" "$dir/mnt"
install -d -o postgres -m 700 "$dir/mnt/pg"
check as_postgres "$pg/initdb" -D "$dir/mnt/pg" -A trust >/dev/null
check as_postgres "$pg/pg_ctl" -D "$dir/mnt/pg" -l "$dir/mnt/pg/server.out" -o "$(server_options)" -w start >/dev/null
check sql -c 'create table told(id bigint primary key)' -c 'create extension amcheck'
check as_postgres "$pg/pgbench" -q -i -s 2 -h "$dir/sock" -p "$port" -U postgres postgres >"$dir/pgbench.log" 2>&1
start_target
write_agent_config "$source" </dev/null
start_agent
wait_protected 120

as_postgres "$pg/pgbench" -n -c 3 -T 120 -h "$dir/sock" -p "$port" -U postgres postgres >"$dir/pgbench.log" 2>&1 &
e2e_pids+=($!)
(
    i=0
    while i=$((i + 1)); do printf 'insert into told values (%d);\n\\echo %d\n' "$i" "$i"; done
) | sql -v ON_ERROR_STOP=1 2>/dev/null | while read -r i; do echo "$i" >"$dir/told.new" && mv "$dir/told.new" "$dir/told"; done &
e2e_pids+=($!)
wait_for 30 "the first commit" test -s "$dir/told"
for ((n = 0; n < points; n++)); do
    sleep 1.5
    told=$(cat "$dir/told") # acknowledged before the mark is asked for
    set_mark
    echo "$mark_id $told" >>"$dir/points"
done
sleep 1
as_postgres "$pg/pg_ctl" -D "$dir/mnt/pg" -m immediate stop >/dev/null
unmount_disk "$dir/mnt"
wait_drained
compare_export latest "$source"

port=$((port + 1))
while read -r id told; do
    open_view "$id" --writable --overlay "$dir"
    attach_view 0
    mount_disk "$view_loop" "$dir/replica"
    rm -f "$dir/replica/pg/postmaster.pid"
    check as_postgres "$pg/pg_ctl" -D "$dir/replica/pg" -l "$dir/replica/pg/recovered.out" -o "$(server_options)" -t 90 -w start >/dev/null
    found=$(sql -c "select count(*) from told where id <= $told")
    check_that "commits acknowledged before point $id" "$told" = "$found"
    check as_postgres "$pg/pg_amcheck" -h "$dir/sock" -p "$port" -U postgres -d postgres --heapallindexed
    check as_postgres "$pg/pg_ctl" -D "$dir/replica/pg" -m fast -w stop >/dev/null
    unmount_disk "$dir/replica"
    detach_view
    close_view
    say "point $id: all $told acknowledged commits there, amcheck clean"
done <"$dir/points"
store_is_clean
