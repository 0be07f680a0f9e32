#!/usr/bin/env bash
# The compose stack as its users have it: built, brought up, tested, restarted,
# read with psql, taken down. Needs docker-compose, a running dockerd, the base
# images, curl, git and cargo; leaves the images, which are a cache, and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

. tests/limits.sh
. tests/ports.sh
HTTP_PORT=$(free_ports 1)
export HTTP_PORT COMPOSE_PROJECT_NAME=devicegraph-test
# Passwords with characters that a URL must encode.
export ALLOWED_HOSTS=devices.example.com
# The folder may belong to another account than the one that tests.
COMMIT=$(git -c safe.directory='*' rev-parse HEAD)
export COMMIT
export POSTGRES_PASSWORD='p@ss/w#rd%' DEVICEGRAPH_SERVICE_PASSWORD="it's:mine?"
url=http://127.0.0.1:$HTTP_PORT
all=$url/v1.0/deviceManagement/deviceConfigurations
files=(-f docker-compose.yml -f tests/compose.limits.yml)
if docker compose version >/dev/null 2>&1; then compose() { docker compose "${files[@]}" "$@"; }; else compose() { docker-compose "${files[@]}" "$@"; }; fi

scratch=$(mktemp -d)
cleanup() {
    status=$?
    if ((status)); then compose logs --no-color --tail 40 || true; fi
    compose down --volumes --timeout 5 >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap cleanup EXIT

say() { printf 'compose: %s\n' "$*"; }
fail() { printf 'compose: FAILED: %s\n' "$*" >&2; exit 1; }
# Waits until a command succeeds: at most three minutes, far longer than it takes.
wait_for() { # what is awaited, command
    local what=$1
    shift
    for _ in $(seq 600); do "$@" && return; sleep 0.3; done
    fail "not after 3 minutes: $what"
}
ready() { wait_for "the service is ready: $1" curl -sf -o /dev/null "$url/health/ready"; }
healthy() { [ "$(docker inspect "$(compose ps -q "$1")" --format '{{.State.Health.Status}}')" = healthy ]; }
create() { # URL, body: prints the id
    local id
    id=$(curl -sf "$1" -H 'Content-Type: application/json' -d "$2" | sed -n 's/.*"id":"\([^"]*\)".*/\1/p') && printf '%s\n' "$id"
}
owner() { compose exec -T postgres psql -AtqU devicegraph devicegraph -c "$1"; }
service_role() {
    compose exec -T -e PGPASSWORD="$DEVICEGRAPH_SERVICE_PASSWORD" postgres psql -Atq postgres://devicegraph_service@127.0.0.1/devicegraph -c "$1" 2>&1
}

say 'build'
compose build >"$scratch/build" 2>&1 || { tail -40 "$scratch/build"; fail 'the image does not build'; }

say 'a change of the source does not build the dependencies again'
mkdir "$scratch/context"
tar -c Cargo.toml Cargo.lock sqlx.toml build.rs .cargo .sqlx migrations docs/sample.json src Dockerfile .dockerignore | tar -xC "$scratch/context"
before=$(docker build -q --target dependencies . 2>/dev/null)
echo '// changed' >>"$scratch/context/src/lib.rs"
[ "$(docker build -q --target dependencies "$scratch/context" 2>/dev/null)" = "$before" ] || fail 'the dependencies are built again'

say 'the image is small, runs as an account without a name and holds no tools'
size=$(docker image inspect devicegraph --format '{{.Size}}')
say "$((size / 1024 / 1024)) MiB"
((size < 120 * 1024 * 1024)) || fail 'over 120 MiB'
[ "$(docker image inspect devicegraph --format '{{.Config.User}}')" = devicegraph ] || fail 'runs as root'
docker create --name "$COMPOSE_PROJECT_NAME-files" devicegraph >/dev/null
docker export "$COMPOSE_PROJECT_NAME-files" | tar -t >"$scratch/files"
docker rm "$COMPOSE_PROJECT_NAME-files" >/dev/null
! grep -E '/(cc|gcc|ld|make|cargo|rustc|apt|apt-get|dpkg|curl|wget|perl)$' "$scratch/files" || fail 'these are in it'
[ "$(docker run --rm --entrypoint id devicegraph -u)" != 0 ] || fail 'runs as root'

say 'the image says what it is'
of_package() { sed -n "/^\[package\]/,/^\[/s/^$1 = \"\(.*\)\"/\1/p" Cargo.toml; } # key
label() { docker image inspect devicegraph --format "{{index .Config.Labels \"org.opencontainers.image.$1\"}}"; } # name
has_label() { [ "$(label "$1")" = "$2" ] || fail "the label $1 is '$(label "$1")' and not '$2'"; } # name, value
has_label title "$(of_package name)"
has_label description "$(of_package description)"
has_label licenses "$(of_package license)"
has_label version "$(of_package version)"
has_label revision "$COMMIT"
said=$(docker run --rm devicegraph --version)
[ "$said" = "devicegraph $(of_package version) (${COMMIT::12})" ] || fail "--version prints '$said'"

say 'up'
compose up -d >"$scratch/up" 2>&1 || { cat "$scratch/up"; fail 'the stack does not come up'; }
ready 'the first start'
for service in postgres devicegraph; do
    wait_for "$service is healthy" healthy "$service"
done
[ "$(docker port "$(compose ps -q devicegraph)")" = "8080/tcp -> 127.0.0.1:$HTTP_PORT" ] || fail 'it is not on the loopback alone'
[ -z "$(docker port "$(compose ps -q postgres)")" ] || fail 'the database is published'

say 'without tokens it answers to its names only'
named() { curl -s -o /dev/null -w '%{http_code}' -H "Host: $1" "$all"; }
for name in localhost devicegraph:8080 devices.example.com; do [ "$(named "$name")" = 200 ] || fail "not by the name $name"; done
[ "$(named rebound.example.com)" = 421 ] || fail 'a request is answered under any name'

# Without tokens, who calls is unknown and everything is allowed. The rest is the same
# with tokens, with which all tests run below.
say 'the API tests that tokens make a difference to, without tokens'
api_tests() { cargo test --locked --test api -- "$@"; }
DEVICEGRAPH_TEST_URL=$url api_tests assignments:: configurations:: batch:: etags:: openapi::

say 'restarts'
configuration=$(create "$all" '{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"kept"}')
group='{"target":{"@odata.type":"#microsoft.graph.groupAssignmentTarget","groupId":"kept group"}}'
assignment=$(create "$all/$configuration/assignments" "$group")
kept() { curl -sf "$all/$configuration/assignments/$assignment" | grep -q '"groupId":"kept group"' || fail "$1: the assignment is gone"; }
compose restart postgres >/dev/null 2>&1
ready 'the database restarted'
kept 'the database restarted'
compose restart devicegraph >/dev/null 2>&1
ready 'the service restarted'
kept 'the service restarted'
compose down >/dev/null 2>&1
compose up -d >/dev/null 2>&1
ready 'down and up'
kept 'down and up'

say 'a stop loses nothing that was acknowledged, and takes no more than the grace time'
for worker in 1 2 3 4; do
    for n in $(seq 500); do
        body="{\"target\":{\"@odata.type\":\"#microsoft.graph.groupAssignmentTarget\",\"groupId\":\"w$worker-$n\"}}"
        create "$all/$configuration/assignments" "$body" >>"$scratch/acknowledged.$worker" || break
    done &
done
wait_for 'creates are acknowledged' eval '(($(cat "$scratch"/acknowledged.* 2>/dev/null | wc -l) >= 40))'
container=$(compose ps -q devicegraph)
compose stop devicegraph >/dev/null 2>&1
wait
code=$(docker inspect "$container" --format '{{.State.ExitCode}}')
[ "$code" = 0 ] || fail "exit code $code"
acknowledged=$(cat "$scratch"/acknowledged.* | wc -l)
((acknowledged > 0)) || fail 'nothing was acknowledged'
ids=$(sed "s/.*/'&'/" "$scratch"/acknowledged.* | paste -sd,)
stored=$(owner "SELECT count(*) FROM device_configuration_assignments WHERE id IN ($ids)")
[ "$stored" = "$acknowledged" ] || fail "$acknowledged acknowledged, $stored stored"
say "$acknowledged acknowledged, $stored stored"
compose start devicegraph >/dev/null 2>&1
ready 'started again'

say 'as a DBA'
overview=$(owner "SELECT display_name, group_id FROM device_configuration_assignment_overview WHERE assignment_id = '$assignment'")
[ "$overview" = 'kept|kept group' ] || fail "the overview says '$overview'"
[ "$(owner "SELECT count(*) FROM pg_class WHERE relowner = 'devicegraph_service'::regrole")" = 0 ] || fail 'the service owns something'
[ "$(service_role "SELECT count(*) FROM device_configurations WHERE id = '$configuration'")" = 1 ] || fail 'the service cannot read'
for statement in 'DROP TABLE device_configurations' 'TRUNCATE device_configurations CASCADE' 'CREATE TABLE x ()' \
    'ALTER TABLE device_configurations ADD x int' 'CREATE ROLE x' 'CREATE TEMPORARY TABLE x ()' \
    'DELETE FROM _sqlx_migrations'; do
    said=$(service_role "$statement" || true)
    grep -qE 'permission denied|must be owner' <<<"$said" || fail "the service may $statement: $said"
done

say 'export, reset, seed'
mkdir -m 777 "$scratch/export"
once() { compose run --rm -T -v "$scratch/export:/data/export" devicegraph "$@" >"$scratch/once" 2>&1 || { cat "$scratch/once"; fail "$*"; }; }
once export export
cp -r "$scratch/export" "$scratch/first"
once reset --yes
[ "$(owner 'SELECT count(*) FROM device_configurations')" = 0 ] || fail 'reset leaves something'
once seed export
kept 'seeded'
once export export
diff -r "$scratch/first" "$scratch/export" >/dev/null || fail 'the second export differs'

say 'the API tests, with tokens'
# A key pair in the volume, as docs/operating.md has it, and a copy for the tests to sign with.
compose run --rm --no-deps -T devicegraph token 2>/dev/null >"$scratch/token"
mkdir "$scratch/keys"
compose run --rm --no-deps -T --entrypoint cat devicegraph .devicegraph/postgres/token-key.pem 2>/dev/null >"$scratch/keys/token-key.pem"
export AUTH_MODE=jwt AUTH_ISSUER=https://devicegraph.localhost AUTH_AUDIENCE=https://devicegraph.localhost
export AUTH_JWKS_FILE=.devicegraph/postgres/jwks.json
compose up -d >"$scratch/up" 2>&1 || { cat "$scratch/up"; fail 'the stack does not come up with tokens'; }
ready 'with tokens'
status() { curl -s -o /dev/null -w '%{http_code}' "$@" "$all"; }
[ "$(status)" = 401 ] || fail 'nobody is asked for a token'
[ "$(status -H "Authorization: Bearer $(cat "$scratch/token")")" = 200 ] || fail 'a token of its own is refused'
DEVICEGRAPH_TEST_URL=$url DEVICEGRAPH_TEST_KEYS=$scratch/keys api_tests --skip process:: --skip private_server:: --skip commands::

say 'passed'
