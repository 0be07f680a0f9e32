#!/usr/bin/env bash
# The crash record: clients write with ids of their own while the service, PostgreSQL,
# its sessions and the connection in between are killed, and after each recovery what is
# stored is held to what was acknowledged. Needs PostgreSQL and python3; leaves nothing.
#
#     tests/crash.sh [TIMES [BINARY]]
#
# TIMES is how often each of the faults is injected: 20 unless told.
# Ends with 3 when a write is lost, or is there and was never sent. EARLY=1 has the database
# answer before a commit is on the disk, which must be noticed. Only the postmaster is killed
# then, at most TIMES times.
set -euo pipefail
cd "$(dirname "$0")/.."
times=${1:-20}
binary=$(realpath "${2:-target/debug/devicegraph}")
here=$PWD/tests

scratch=$(mktemp -d)
# PostgreSQL runs as another account when this is root.
chmod 755 "$scratch"
. "$here/postgres.sh"
. "$here/ports.sh"
run=
cleanup() {
    status=$?
    trap - EXIT
    [ -z "$run" ] || kill -KILL "$run" 2>/dev/null || true
    pkill -KILL -f "^$scratch/devicegraph" || true
    stop_clusters
    if ((status)); then tail -n 15 "$scratch"/{service,postgres}.log || true; fi
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Under a name of its own, so that it is found when its supervisor is gone.
cp "$binary" "$scratch/devicegraph"
settings=()
# What is answered early then waits for up to ten seconds to be written, however slow the machine.
[ -z "${EARLY:-}" ] || settings+=('synchronous_commit = off' 'wal_writer_delay = 10s' 'wal_writer_flush_after = 1GB')
make_cluster postgres ${settings[@]+"${settings[@]}"}
sql postgres postgres 'CREATE DATABASE devicegraph'
as=
[ -z "$account" ] || as="runuser -u $account --"
PORT=$(free_ports 1) \
    PSQL="$bin/psql -XAtq -v ON_ERROR_STOP=1 -h $scratch/postgres -U devicegraph -d devicegraph" \
    PG_CTL="$as $bin/pg_ctl -w -s -D $scratch/postgres/data -l $scratch/postgres/postgres.log" \
    python3 -B "$here/crash/run.py" "$scratch" "$scratch/devicegraph" "$times" &
run=$!
wait "$run"
