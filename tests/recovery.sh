#!/usr/bin/env bash
# Backups with the commands of docs/recovery.md, and a restore from each: a base backup and
# the WAL, to the moment before a disaster, and a dump into an empty database. Needs
# PostgreSQL, curl and python3; leaves nothing.
#
#     tests/recovery.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:-target/debug/devicegraph}")
here=$PWD/tests

say() { printf 'recovery: %s\n' "$*"; }
fail() { printf 'recovery: FAILED: %s\n' "$*" >&2; exit 1; }

scratch=$(mktemp -d)
# PostgreSQL runs as another account when this is root.
chmod 755 "$scratch"
. "$here/postgres.sh"
. "$here/ports.sh"
. "$here/limits.sh"
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
cd "$scratch"
port=$(free_ports 1)
url=http://127.0.0.1:$port
# It is in no backup of the database: without it the secrets are lost.
DEVICEGRAPH__SECRETS__KEY=$(head -c 32 /dev/urandom | base64)
export DEVICEGRAPH__SECRETS__KEY DEVICEGRAPH__SERVER__PORT=$port DEVICEGRAPH__AUTH__MODE=disabled
export DEVICEGRAPH__LOG__FILTER=warn,devicegraph::server::app=info,devicegraph::cli=info

start() { # cluster, database
    DATABASE_URL=$(url_of "$1" "$2") "$binary" >>"$scratch/service.log" 2>&1 &
    service=$!
    until_true 120 is_ready || fail 'the service is not ready after 120 s'
}
is_ready() {
    kill -0 "$service" 2>/dev/null || fail 'the service does not start'
    curl -sf -o /dev/null "$url/health/ready"
}
stop() {
    local process=$service
    service=
    kill "$process" && wait "$process"
}
command_of() { # cluster, database, arguments
    local at
    at=$(url_of "$1" "$2")
    DATABASE_URL=$at "$binary" "${@:3}" >>"$scratch/command.log" 2>&1 || { tail "$scratch/command.log"; fail "${*:3}"; }
}
writes() { python3 "$here/deploys/writes.py" "$1" "$url" "$scratch/${2:-acknowledged}"; }

say 'a base backup, with writes before it and after it'
own_folder "$scratch/wal"
make_cluster lost 'archive_mode = on' "archive_command = 'test ! -f $scratch/wal/%f && cp %p $scratch/wal/%f.new && mv $scratch/wal/%f.new $scratch/wal/%f'" \
    'archive_timeout = 60'
sql lost postgres 'CREATE DATABASE devicegraph'
start lost devicegraph
writes make
own_folder "$scratch/backup"
postgres pg_basebackup -h "$scratch/lost" -U devicegraph -D "$scratch/backup/base" --checkpoint=fast
postgres pg_verifybackup "$scratch/backup/base" >>"$scratch/lost.log"
writes make
target=$(sql lost devicegraph 'SELECT clock_timestamp()')

say 'a disaster'
cp acknowledged before
writes make
mv acknowledged lost-writes
mv before acknowledged
command_of lost devicegraph reset --yes
[ "$(curl -sf "$url/v1.0/deviceManagement/deviceConfigurations/\$count" | tr -cd '0-9')" = 0 ] || fail 'it destroys nothing'
stop
disaster=$SECONDS
segment=$(sql lost devicegraph 'SELECT pg_walfile_name(pg_switch_wal())')
until_true 120 test -e "$scratch/wal/$segment" || fail 'the last segment is not archived'
[ "$(sql lost devicegraph 'SELECT failed_count FROM pg_stat_archiver')" = 0 ] || fail 'segments failed to be archived'
stop_cluster lost

say 'the base backup and the WAL, to just before it'
own_folder "$scratch/restored"
cp -a "$scratch/backup/base" "$scratch/restored/data"
cat >>"$scratch/restored/data/postgresql.conf" <<CONFIG
unix_socket_directories = '$scratch/restored'
archive_mode = off
restore_command = 'cp $scratch/wal/%f %p'
recovery_target_time = '$target'
recovery_target_action = promote
CONFIG
touch "$scratch/restored/data/recovery.signal"
start_cluster restored
has_recovered() { [ "$(sql restored devicegraph 'SELECT pg_is_in_recovery()')" = f ]; }
until_true 120 has_recovered || fail 'the recovery does not end'
grep -q 'recovery stopping before' "$scratch/restored.log" || fail 'the recovery did not stop at the time'
start restored devicegraph
back=$((SECONDS - disaster))
said=$(writes check)
# And it goes on from there: the same versions, which are others.
writes make
writes check >/dev/null
writes lost lost-writes

say 'a dump, into an empty database'
command_of restored devicegraph export "$scratch/first"
postgres pg_dump -Fc -h "$scratch/restored" -U devicegraph devicegraph >"$scratch/devicegraph.dump"
stop
sql restored postgres 'CREATE DATABASE again'
postgres pg_restore --exit-on-error --no-owner -h "$scratch/restored" -U devicegraph -d again <"$scratch/devicegraph.dump"
start restored again
writes check >/dev/null
command_of restored again export "$scratch/second"
diff -r first second >/dev/null || fail 'the export of the restored database is another'
files=$(find first -name '*.json' | wc -l)
# Newer releases of pg_dump have a word of their own in each dump.
rows() { postgres pg_dump --data-only -h "$scratch/restored" -U devicegraph "$1" | grep -vE '^\\(un)?restrict ' | LC_ALL=C sort; }
cmp -s <(rows devicegraph) <(rows again) || fail 'the rows of the restored database are others'
stop
say "passed: $said, $back s after the disaster; $files files of the export the same from a dump"
