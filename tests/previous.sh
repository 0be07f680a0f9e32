#!/usr/bin/env bash
# Runs this release and the previous one side by side on one database, as during a deploy.
# The previous release is the commit before the last change of migrations/. It is built in
# CI_CACHE, else below target/ci. The build uses the dependencies that were built for
# BINARY, if possible. Needs PostgreSQL, git, cargo and python3; removes all other files.
#
#     tests/previous.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:-target/debug/devicegraph}")
here=$PWD/tests

say() { printf 'previous: %s\n' "$*"; }
fail() { printf 'previous: FAILED: %s\n' "$*" >&2; exit 1; }

# The folder may belong to an account other than the one that runs the test.
git() { command git -c safe.directory='*' "$@"; }
added=$(git log -1 --diff-filter=A --format=%H -- migrations 2>/dev/null || true)
before=$(git rev-parse --verify --quiet "${added:-none}^" 2>/dev/null || true)
if [ -z "$before" ] || [ -z "$(git ls-tree --name-only "$before" migrations/)" ]; then
    say 'the history does not reach back to an earlier set of migrations: not tested'
    exit 0
fi

scratch=$(mktemp -d)
# PostgreSQL runs as another account when this is root.
chmod 755 "$scratch"
. "$here/postgres.sh"
. "$here/ports.sh"
. "$here/limits.sh"
declare -A service=() port=() program=()
cleanup() {
    status=$?
    trap - EXIT
    for process in "${service[@]}"; do kill -KILL "$process" 2>/dev/null && wait "$process" 2>/dev/null || true; done
    stop_clusters
    if ((status)); then tail -n 15 "$scratch"/*.log || true; fi
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

previous=${CI_CACHE:-$PWD/target/ci}/previous
say "build $(git log -1 --format='%h (%s)' "$before")"
if [ "$(cat "$previous/built" 2>/dev/null)" != "$before" ]; then
    rm -rf "$previous"
    mkdir -p "$previous/source" "$previous/target/debug"
    git archive "$before" | tar -xC "$previous/source"
    built=$(dirname "$binary")
    if [ -d "$built/.fingerprint" ]; then
        # Copy everything except the files of this crate, which are mostly its tests.
        names=$(find benches tests -maxdepth 1 -mindepth 1 -printf '--exclude=*/%f-* ' | sed 's/\.rs-/-/g')
        # shellcheck disable=SC2086
        tar -cC "$built" --exclude='*/devicegraph-*' --exclude='*/libdevicegraph-*' $names deps build .fingerprint |
            tar -xC "$previous/target/debug"
    fi
    # cargo uses the settings of that commit, and no variable of this build.
    (cd "$previous/source" && CARGO_TARGET_DIR=$previous/target cargo build --locked --quiet --bin devicegraph)
    mv "$previous/target/debug/devicegraph" "$previous"
    rm -rf "$previous/target"
    echo "$before" >"$previous/built"
fi
program=([previous]=$previous/devicegraph [new]=$binary)
cd "$scratch"
read -r port[previous] port[new] < <(free_ports 2)
make_cluster postgres
sql postgres postgres 'CREATE DATABASE devicegraph'

start() { # name
    local from
    from=$(wc -c 2>/dev/null <"$scratch/$1.log" || echo 0)
    env DATABASE_URL="$(url_of postgres devicegraph)" DEVICEGRAPH__SERVER__PORT="${port[$1]}" \
        DEVICEGRAPH__AUTH__MODE=disabled DEVICEGRAPH__LOG__FILTER=warn,devicegraph::app=info,devicegraph::server::app=info,devicegraph::database=info \
        "${program[$1]}" >>"$scratch/$1.log" 2>&1 &
    service[$1]=$!
    until_true 120 is_ready "$1" || fail "the $1 release is not ready after 120 s"
    tail -c +$((from + 1)) "$scratch/$1.log" >"$scratch/$1.start"
}
is_ready() { # name
    kill -0 "${service[$1]}" 2>/dev/null || fail "the $1 release does not start"
    curl -sf -o /dev/null "http://127.0.0.1:${port[$1]}/health/ready"
}
stop() { # name
    local process=${service[$1]} code=0
    unset "service[$1]"
    kill "$process"
    wait "$process" || code=$?
    ((code == 0)) || fail "the $1 release ends with $code"
}
migrations() { sql postgres devicegraph 'SELECT count(*) FROM _sqlx_migrations WHERE success'; }
both() { python3 "$here/deploys/both.py" "http://127.0.0.1:${port[previous]}" "http://127.0.0.1:${port[new]}"; }

say 'the previous release makes the database, the new one migrates it under it'
start previous
old=$(migrations)
python3 "$here/deploys/both.py" "http://127.0.0.1:${port[previous]}" >/dev/null
start new
new=$(migrations)
((old < new)) || fail "the database has $new migrations, and had $old"
[ "$(find "$previous/source/migrations" -name '*.sql' | wc -l)" = "$old" ] || fail "the previous release made $old migrations"
first=$(both)

say 'the previous release starts again on the newer database'
stop previous
start previous
[ "$(migrations)" = "$new" ] || fail 'it took migrations away'
said=$(grep -c 'a migration of a later release, which' previous.start || true)
[ "$said" = $((new - old)) ] || { cat previous.start; fail "it names $said of $((new - old)) migrations"; }
second=$(both)

stop new
stop previous
! grep -E '\b(ERROR|panicked)\b' new.log previous.log || fail 'these are in the logs'
say "passed: $old migrations, then $new; $first, then $second"
