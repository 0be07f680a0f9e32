#!/usr/bin/env bash
# Ten clients flood the service with atomicity groups of 20 expensive requests each, and other
# clients create and change configurations. Prints how many of their requests succeed in time,
# and fails below 99 %. Needs PostgreSQL, curl and python3; removes its files.
#
#     tests/attacks/groups.sh [BINARY [SECONDS [ROWS [LIMIT]]]]
#
# SECONDS is the time of each of two floods (20), ROWS the number of configurations that a search
# reads (200,000), LIMIT the seconds within which a request of another client must succeed (1).
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=$(realpath "${1:-target/release/devicegraph}")
seconds=${2:-20} rows=${3:-200000} limit=${4:-1}
here=$PWD/tests

fail() { printf 'groups: FAILED: %s\n' "$*" >&2; exit 1; }

scratch=$(mktemp -d)
# PostgreSQL runs as another account when this is root.
chmod 755 "$scratch"
. "$here/postgres.sh"
. "$here/ports.sh"
service=
cleanup() {
    status=$?
    trap - EXIT
    [ -z "$service" ] || { kill -KILL "$service" 2>/dev/null && wait "$service" 2>/dev/null || true; }
    stop_clusters
    if ((status)); then tail -n 15 "$scratch"/*.log || true; fi
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
port=$(free_ports 1)
export DEVICEGRAPH__SERVER__PORT=$port DEVICEGRAPH__AUTH__MODE=disabled DEVICEGRAPH__LOG__FILTER=warn

make_cluster attacked 'fsync = off'
sql attacked postgres 'CREATE DATABASE devicegraph'
DATABASE_URL=$(url_of attacked devicegraph) "$binary" migrate >>"$scratch/service.log" 2>&1
sql attacked devicegraph "INSERT INTO device_configurations (id, odata_type, display_name, description, properties)
    SELECT gen_random_uuid(), 'iosUpdateConfiguration', 'policy ' || n, repeat('words of a description ', 8) || n, '{}'
    FROM generate_series(1, $rows) AS n"
DATABASE_URL=$(url_of attacked devicegraph) "$binary" >>"$scratch/service.log" 2>&1 &
service=$!
is_ready() {
    kill -0 "$service" 2>/dev/null || fail 'the service does not start'
    curl -sf -o /dev/null "http://127.0.0.1:$port/health/ready"
}
until_true 120 is_ready || fail 'the service is not ready after 120 s'
python3 "$here/attacks/groups.py" "$port" "$seconds" "$limit"
