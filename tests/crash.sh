#!/usr/bin/env bash
# The crash test. Clients write with ids of their own, while this test kills the service,
# PostgreSQL, its sessions, and the connection between them. After each recovery it compares the
# stored rows with the acknowledged writes. Needs PostgreSQL and python3; removes its files.
#
#     tests/crash.sh [TIMES [BINARY]]
#
# TIMES is how often each fault is injected (default 20). Ends with exit code 3 when a write is
# lost, or when a row is stored that no client sent. With EARLY=1 the database answers before a
# commit is on disk, and the test must find a loss. It then kills only the postmaster, at most TIMES
# times.
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

# Copy the binary to a path of its own, so that it can be found when its supervisor has ended.
cp "$binary" "$scratch/devicegraph"
settings=()
# A commit that is answered early then waits up to ten seconds before it is written, on a machine of
# any speed.
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
