#!/usr/bin/env bash
# A deploy without a failed request: two processes of the service on one database
# behind HAProxy, restarted in turn under load, and first starts at the same moment.
# Needs PostgreSQL, haproxy and python3; leaves nothing.
#
#     tests/deploy.sh [BINARY]
#
# A drain lasts until HAProxy sends no more requests, and a second signal then ends it: no time is
# measured. DRAIN_SECONDS=0 or SHUTDOWN_SECONDS=0 take out what it relies on, and it must fail.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:-target/debug/devicegraph}")
here=$PWD/tests
rounds=3
migrations=$(find migrations -name '*.sql' | wc -l)

say() { printf 'deploy: %s\n' "$*"; }
fail() { printf 'deploy: FAILED: %s\n' "$*" >&2; exit 1; }

scratch=$(mktemp -d)
# PostgreSQL runs as another account when this is root.
chmod 755 "$scratch"
. "$here/postgres.sh"
. "$here/ports.sh"
. "$here/limits.sh"
declare -A service=() port=()
haproxy= load= drain=0
cleanup() {
    status=$?
    trap - EXIT
    for process in $load $haproxy "${service[@]}"; do kill -KILL "$process" 2>/dev/null && wait "$process" 2>/dev/null || true; done
    stop_clusters
    if ((status)); then tail -n 15 "$scratch"/{a,b,haproxy,load}.log 2>/dev/null || true; fi
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$scratch"

start() { # name, database
    env DATABASE_URL="$(url_of postgres "$2")" \
        DEVICEGRAPH__SERVER__PORT="${port[$1]}" DEVICEGRAPH__AUTH__MODE=disabled \
        DEVICEGRAPH__LOG__FILTER=warn,devicegraph::server::app=info \
        DEVICEGRAPH__SERVER__DRAIN_SECONDS="$drain" \
        DEVICEGRAPH__SERVER__SHUTDOWN_SECONDS="${SHUTDOWN_SECONDS:-600}" \
        "$binary" >>"$scratch/$1.log" 2>&1 &
    service[$1]=$!
}
stop() { # names
    local name code
    for name in "$@"; do kill "${service[$name]}"; done
    if ((drain)); then
        for name in "$@"; do
            until_true 120 is_not_proxied "$name" || fail "HAProxy still has $name up after 120 s"
            kill "${service[$name]}"
        done
    fi
    for name in "$@"; do echo "$name $(date +%s.%N)" >>stops; done
    for name in "$@"; do
        code=0
        wait "${service[$name]}" || code=$?
        unset "service[$name]"
        ((code == 0)) || fail "$name ends with $code"
    done
}
until_ready() { # name
    until_true 120 is_ready "$1" || fail "$1 is not ready after 120 s"
}
is_ready() { # name
    kill -0 "${service[$1]}" 2>/dev/null || fail "$1 ended"
    curl -sf -o /dev/null "http://127.0.0.1:${port[$1]}/health/ready"
}
until_proxied() { # name
    until_true 120 is_proxied "$1" || fail "HAProxy does not have $1 up after 120 s"
}
is_proxied() { [ "$(statistic "$1" status)" = UP ]; }
is_not_proxied() { [ "$(statistic "$1" status)" = DOWN ]; }
statistic() { # name, what HAProxy knows of it
    python3 - "$scratch/haproxy.sock" "$@" <<'PYTHON'
import csv, socket, sys
_, path, name, what = sys.argv
s = socket.socket(socket.AF_UNIX)
s.connect(path)
s.sendall(b"show stat\n")
rows = csv.DictReader(b"".join(iter(lambda: s.recv(65536), b"")).decode().removeprefix("# ").splitlines())
print(*(row[what] for row in rows if (row["pxname"], row["svname"]) == ("devicegraph", name)))
PYTHON
}
# Waits until each has answered as many requests more: it reads what the other wrote.
until_both_answer() { # how many
    local a b
    a=$(($(statistic a hrsp_2xx) + $1)) b=$(($(statistic b hrsp_2xx) + $1))
    until_true 120 has_answered a $a || fail 'a does not answer'
    until_true 120 has_answered b $b || fail 'b does not answer'
}
has_answered() { (($(statistic "$1" hrsp_2xx) >= $2)); } # name, how many

make_cluster postgres 'fsync = off'
read -r port[a] port[b] port[haproxy] < <(free_ports 3)

say 'first starts at the same moment migrate once'
for n in 1 2 3; do
    sql postgres postgres "CREATE DATABASE first$n"
    for name in a b; do start $name "first$n"; done
    for name in a b; do until_ready $name; done
    stop a b
    applied=$(sql postgres "first$n" 'SELECT count(*), count(DISTINCT version), bool_and(success) FROM _sqlx_migrations')
    [ "$applied" = "$migrations|$migrations|t" ] || fail "of $migrations migrations: $applied"
done

# The configuration in docs/operating.md, with names for the processes that a client can ask for.
# `retries 0` is stricter than there: not even a connection that was refused is tried elsewhere. Its times are longer,
# for a slow machine.
{
    printf 'global\n    stats socket %s/haproxy.sock\n\n' "$scratch"
    sed -n '/^```haproxy$/,/^```$/{/^```/!p}' "$here/../docs/operating.md" | sed \
        -e "s/bind :8080$/bind 127.0.0.1:${port[haproxy]}/" \
        -e "s/127.0.0.1:8081$/127.0.0.1:${port[a]}/" -e "s/127.0.0.1:8082$/127.0.0.1:${port[b]}/" \
        -e 's/^    mode http$/&\n    retries 0/' -e 's/^\(    timeout [a-z]*\) .*/\1 120s/' \
        -e 's/^    balance roundrobin$/&\n    use-server a if { req.hdr(x-to) a }\n    use-server b if { req.hdr(x-to) b }\n    http-response set-header X-From %s/'
} >haproxy.cfg
drain=${DRAIN_SECONDS:-600}
for name in a b; do start $name first1; done
for name in a b; do until_ready $name; done
haproxy -f haproxy.cfg -db >haproxy.log 2>&1 &
haproxy=$!
until_true 120 test -S haproxy.sock || fail 'HAProxy does not start'
for name in a b; do until_proxied $name; done

say "restarts in turn, $rounds of each, under load"
python3 "$here/deploys/load.py" "${port[haproxy]}" 16 "$scratch" >figures 2>load.log &
load=$!
until_both_answer 50
rm stops
began=$SECONDS
for _ in $(seq $rounds); do
    for name in a b; do
        stop $name
        start $name first1
        until_proxied $name
        until_both_answer 50
    done
done
took=$((SECONDS - began))
touch stop
code=0
wait $load || code=$?
load=
((code == 0)) || { cat figures; fail 'not every request was answered as it should be'; }

say 'what was acknowledged is there once, and nothing else'
sql postgres first1 'SELECT id, group_id FROM device_configuration_assignments ORDER BY id' | tr '|' ',' >stored
LC_ALL=C sort kept >expected
LC_ALL=C sort -o stored stored
diff expected stored >difference || { head -5 difference; fail 'the rows are not what was acknowledged'; }
twice=$(sql postgres first1 'SELECT count(*) FROM (SELECT FROM device_configuration_assignments GROUP BY device_configuration_id, group_id HAVING count(*) > 1) AS twice')
[ "$twice" = 0 ] || fail "$twice targets are there twice"

stop a b
say "passed: $((2 * rounds)) restarts in $took s; $(wc -l <stored) assignments there and $(wc -l <gone) gone, none twice; $(cat figures)"
