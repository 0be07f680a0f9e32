#!/usr/bin/env bash
# Writes and reads at full rate, and deletes as many assignments as it creates. Fails when the
# memory, the file handles or the tables of the service grow. Needs PostgreSQL, wrk, curl and
# python3; removes its files.
#
#     tests/soak.sh [SECONDS [BINARY]]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
binary=$(realpath "${2:-target/release/devicegraph}")
here=$PWD/tests

scratch=$(mktemp -d)
# PostgreSQL runs as another account when this is root.
chmod 755 "$scratch"
. "$here/postgres.sh"
. "$here/ports.sh"
service= load= watch=
cleanup() {
    status=$?
    trap - EXIT
    for process in $watch $load $service; do kill -KILL "$process" 2>/dev/null && wait "$process" 2>/dev/null || true; done
    stop_clusters
    if ((status)); then tail -n 15 "$scratch"/{service,postgres}.log || true; fi
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

make_cluster postgres
sql postgres postgres 'CREATE DATABASE devicegraph'
port=$(free_ports 1)
env DATABASE_URL="$(url_of postgres devicegraph)" DEVICEGRAPH__SERVER__PORT="$port" \
    DEVICEGRAPH__AUTH__MODE=disabled DEVICEGRAPH__LOG__FILTER=warn "$binary" 2>"$scratch/service.log" &
service=$!
until_true 120 curl -sf -o /dev/null "http://127.0.0.1:$port/health/ready" || { echo 'soak: FAILED: not ready after 120 s' >&2; exit 1; }
sql postgres devicegraph "INSERT INTO device_configurations (id, odata_type, display_name)
    SELECT ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'iosCustomConfiguration', 'c ' || n
    FROM generate_series(1, 2000) AS n"
wrk --latency -t 2 -c 64 -d "${seconds}s" -s "$here/soak/load.lua" "http://127.0.0.1:$port" >"$scratch/load" &
load=$!
PSQL="$bin/psql -XAtq -h $scratch/postgres -U devicegraph -d devicegraph" \
    python3 "$here/soak/watch.py" "$service" "$((seconds - 2))" &
watch=$!
code=0
wait "$watch" || code=$?
watch=
wait "$load"
load=
grep -E 'requests in|50%|99%|Requests/sec|Non-2xx|Socket errors' "$scratch/load"
! grep -qE 'Non-2xx|Socket errors' "$scratch/load" || { echo 'soak: FAILED: not every request was answered' >&2; exit 1; }
kill "$service" && wait "$service"
service=
exit "$code"
