#!/usr/bin/env bash
# Runs unchanged clients of Graph against the service: the Python SDK with and without
# tokens, IntuneCD, the requests of other administration tools, a linter for OpenAPI, and
# requests that Schemathesis generates from the document. Needs python3 with venv, npm and
# PostgreSQL. Installs the clients in CI_CACHE, else below target.
#
#     tests/clients/run.sh [BINARY]
#     tests/clients/run.sh --install      installs the clients and ends
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/tests/clients
clients=${CI_CACHE:-$PWD/target/ci}/clients
redocly_version=2.77.0

say() { printf 'clients: %s\n' "$*"; }
fail() { printf 'clients: FAILED: %s\n' "$*" >&2; exit 1; }

say 'install'
python=$clients/python-$(cat "$here/requirements.txt" <(python3 -V) | sha256sum | cut -c 1-16)
if [ ! -e "$python/complete" ]; then
    rm -rf "$python"
    python3 -m venv "$python"
    # Most modules are never imported, so let Python compile a module when it imports it.
    "$python/bin/python" -m pip install --quiet --no-input --no-compile --disable-pip-version-check -r "$here/requirements.txt"
    touch "$python/complete"
fi
redocly=$clients/redocly-$redocly_version
if [ ! -e "$redocly/complete" ]; then
    rm -rf "$redocly"
    npm install --silent --no-audit --no-fund --prefix "$redocly" "@redocly/cli@$redocly_version"
    touch "$redocly/complete"
fi
[ "${1:-}" != --install ] || exit 0
binary=$(realpath "${1:-target/debug/devicegraph}")

. "$here/../limits.sh"
scratch=$(mktemp -d)
# The private PostgreSQL runs as another account when this is root.
chmod 755 "$scratch"
service=
stop() {
    local process=$service
    service=
    [ -z "$process" ] || { kill "$process" 2>/dev/null && wait "$process"; }
}
cleanup() {
    status=$?
    stop || true
    if ((status)) && [ -e "$scratch/log" ]; then tail -n 20 "$scratch/log"; fi
    rm -rf "$scratch"
}
trap cleanup EXIT

start() { # settings
    # The new process may open the log late. Until then the loop must not find the address of the process before it.
    : >"$scratch/log"
    env -u DATABASE_URL DEVICEGRAPH__SERVER__PORT=0 DEVICEGRAPH__DATABASE__DATA_DIR="$scratch/postgres" "$@" \
        "$binary" >"$scratch/log" 2>&1 &
    service=$!
    for _ in $(seq 600); do
        url=$(sed -n 's/.*listening on \(http:[^ ]*\).*/\1/p' "$scratch/log")
        [ -z "$url" ] || return 0
        kill -0 "$service" 2>/dev/null || break
        sleep 0.1
    done
    fail 'the service does not start'
}

# Create no __pycache__ in the sources, and no file in the working folder.
export PYTHONPYCACHEPREFIX=$python/pycache
cd "$scratch"

say 'the SDK, with tokens'
"$python/bin/python" "$here/tokens.py" "$scratch"
chmod 644 "$scratch/jwks.json"
start DEVICEGRAPH__AUTH__MODE=jwt DEVICEGRAPH__AUTH__ISSUER=https://issuer.test \
    DEVICEGRAPH__AUTH__AUDIENCE=api://devicegraph DEVICEGRAPH__AUTH__JWKS_FILE="$scratch/jwks.json"
"$python/bin/python" "$here/sdk.py" "$url" "$scratch"
stop

say 'the SDK, without'
start
"$python/bin/python" "$here/sdk.py" "$url"

stop

say 'IntuneCD'
mkdir intunecd
# The tool calls graph.microsoft.com. A proxy with a certificate for that name leads it to the service.
start DEVICEGRAPH__SERVER__FORWARDED_HEADERS=true DEVICEGRAPH__SERVER__ALLOWED_HOSTS=graph.microsoft.com
"$python/bin/python" "$here/intunecd.py" "$url" "$scratch/intunecd"
stop

say 'the requests of other tools'
start DEVICEGRAPH__SECRETS__KEY="$(head -c 32 /dev/zero | base64)"
"$python/bin/python" "$here/replays.py" "$url"

say 'the linter'
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
"$redocly/node_modules/.bin/redocly" lint --extends=recommended --format=json "$url/openapi.json" >lint.json 2>lint.log ||
    { cat lint.json lint.log; fail 'it finds errors'; }
"$python/bin/python" -c 'import json; totals = json.load(open("lint.json"))["totals"]; print(totals); assert not any(totals.values())' ||
    { cat lint.json; fail 'it finds something'; }

say 'made-up requests'
stop
# A generated array can be larger than the default limit of a body. The service would refuse
# it for its size, before it checks the array.
start DEVICEGRAPH__SERVER__MAX_BODY_BYTES=16777216
"$python/bin/python" - "$url" "$here/rows.json" <<'END'
import json, sys, urllib.request
url, rows = sys.argv[1:]
request = urllib.request.Request(f"{url}/v1.0/$batch", open(rows, "rb"), {"Content-Type": "application/json"})
answers = json.load(urllib.request.urlopen(request))["responses"]
assert all(answer["status"] == 201 for answer in answers), answers
END
"$python/bin/schemathesis" --no-color --config-file "$here/schemathesis.toml" run "$url/openapi.json"
stop

say 'passed'
