#!/usr/bin/env bash
# A failover without a lost write: a primary and a synchronous standby behind HAProxy;
# the primary is killed under load, the standby promoted, and what it has is held to what
# was acknowledged. Needs PostgreSQL, haproxy and python3; leaves nothing.
#
#     tests/failover.sh [TIMES [BINARY]]
#
# Ends with 3 when a write is lost, or is there and was never sent. ASYNCHRONOUS=1 has the
# primary not wait for its standby, which must be noticed. The standby is then behind when the
# primary is killed.
set -euo pipefail
cd "$(dirname "$0")/.."
times=${1:-5}
binary=$(realpath "${2:-target/debug/devicegraph}")
here=$PWD/tests

scratch=$(mktemp -d)
# PostgreSQL runs as another account when this is root.
chmod 755 "$scratch"
. "$here/postgres.sh"
. "$here/ports.sh"
run= haproxy=
cleanup() {
    status=$?
    trap - EXIT
    for process in $run $haproxy; do kill -KILL "$process" 2>/dev/null && wait "$process" 2>/dev/null || true; done
    pkill -KILL -f "^$scratch/devicegraph" || true
    stop_clusters
    if ((status)); then tail -n 15 "$scratch"/{service,haproxy}.log "$scratch"/{a,b}/postgres.log || true; fi
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Under a name of its own, so that it is found when its supervisor is gone.
cp "$binary" "$scratch/devicegraph"
read -r port[0] port[1] < <(free_ports 2)
as=
[ -z "$account" ] || as="runuser -u $account --"
export PORT=${port[0]}
export DATABASE="postgres://devicegraph@127.0.0.1:${port[1]}/devicegraph?sslmode=disable"
# {} is a cluster, which has its socket in its folder.
export PSQL="$bin/psql -XAtq -v ON_ERROR_STOP=1 -h $scratch/{} -U devicegraph -d devicegraph"
export PG_CTL="$as $bin/pg_ctl -w -s -D $scratch/{}/data -l $scratch/{}/postgres.log -o '-k $scratch/{}'"
export PG_BASEBACKUP="$as $bin/pg_basebackup -D $scratch/{}/data -h $scratch/{primary} -U devicegraph -R -c fast --no-sync"

make_cluster a
sql a postgres 'CREATE DATABASE devicegraph'
sql a postgres 'CREATE ROLE haproxy_check LOGIN'
own_folder "$scratch/b"
clusters+=(b)

# The configuration in docs/recovery.md.
sed -n '/^```haproxy-postgres$/,/^```$/{/^```/!p}' "$here/../docs/recovery.md" | sed \
    -e "s/bind :5000$/bind 127.0.0.1:${port[1]}/" \
    -e "s#a.example:5432#unix@$scratch/a/.s.PGSQL.5432#" -e "s#b.example:5432#unix@$scratch/b/.s.PGSQL.5432#" >"$scratch/haproxy.cfg"
haproxy -f "$scratch/haproxy.cfg" -db >"$scratch/haproxy.log" 2>&1 &
haproxy=$!
python3 -B "$here/crash/failover.py" "$scratch" "$scratch/devicegraph" "$times" &
run=$!
wait "$run"
