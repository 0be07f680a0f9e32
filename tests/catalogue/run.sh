#!/usr/bin/env bash
# Compares the catalogue with the packages of Graph's SDKs. Downloads them into CI_CACHE,
# else below target. Needs python3 with venv, and npm.
#
#     tests/catalogue/run.sh              prints the differences, and fails if there is one
#     tests/catalogue/run.sh --write      brings src/catalogue/graph.csdl.json up to date
#     tests/catalogue/run.sh --install    downloads the packages and ends
#
# To use a new version of an SDK, change the version here, run with --write, review the
# difference, and commit it.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/tests/catalogue

sdk=1.65.0 beta_sdk=1.66.0 declarations=0.44.0-preview

packages=${CI_CACHE:-$PWD/target/ci}/catalogue/$sdk-$beta_sdk-$declarations
if [ ! -e "$packages/complete" ]; then
    rm -rf "$packages"
    mkdir -p "$packages"
    python3 -m venv "$packages/venv"
    "$packages/venv/bin/python" -m pip download --quiet --no-input --no-deps --disable-pip-version-check \
        --dest "$packages" "msgraph-sdk==$sdk" "msgraph-beta-sdk==$beta_sdk"
    (cd "$packages" && npm pack --silent "@microsoft/microsoft-graph-types-beta@$declarations" >/dev/null)
    rm -rf "$packages/venv"
    touch "$packages/complete"
fi
[ "${1:-}" != --install ] || exit 0
PYTHONDONTWRITEBYTECODE=1 python3 "$here/compare.py" "$packages" "$@"
