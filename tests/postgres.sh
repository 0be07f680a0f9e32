# A PostgreSQL of a test's own, for scripts to source that have made "$scratch".
# It only listens on a socket below that folder, trusts whoever reaches it, and
# otherwise is as initdb makes it.
# shellcheck shell=bash disable=SC2154

# As the service looks for it, what PATH has, else the latest of Debian's; but with
# the programs of a DBA beside it.
postgres_bin() {
    local initdb folder
    for initdb in "$(command -v initdb || true)" $(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -rV); do
        folder=$(dirname "$(realpath "$initdb" 2>/dev/null)")
        [ -x "$folder/initdb" ] && [ -x "$folder/psql" ] && [ -x "$folder/pg_basebackup" ] && echo "$folder" && return
    done
    echo 'PostgreSQL is not installed: apt-get install postgresql' >&2
    return 1
}
bin=$(postgres_bin)
account=
if ((EUID == 0)); then account=$(id -nu postgres 2>/dev/null || echo nobody); fi

# A program of PostgreSQL, as an account that it agrees to run as, which cannot
# enter every folder that root works in.
postgres() { # program, arguments
    local program=$bin/$1
    shift
    # No variable of the caller's chooses another database.
    local clean=(env -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -u PGPASSWORD -u PGOPTIONS -u PGSERVICE)
    if [ -n "$account" ]; then
        (cd / && exec runuser -u "$account" -- "${clean[@]}" "$program" "$@")
    else
        (cd / && exec "${clean[@]}" "$program" "$@")
    fi
}

own_folder() { # folder
    mkdir -p "$1"
    [ -z "$account" ] || chown "$account" "$1"
}

clusters=()
make_cluster() { # name, lines of postgresql.conf
    local name=$1 line
    shift
    own_folder "$scratch/$name"
    postgres initdb -D "$scratch/$name/data" -U devicegraph -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$scratch/$name.log" 2>&1
    for line in "listen_addresses = ''" "unix_socket_directories = '$scratch/$name'" "$@"; do
        echo "$line" >>"$scratch/$name/data/postgresql.conf"
    done
    start_cluster "$name"
}

start_cluster() { # name
    clusters+=("$1")
    # The log is opened by this shell: the account may write nowhere else.
    postgres pg_ctl -w -s -D "$scratch/$1/data" start >>"$scratch/$1.log" 2>&1 || { tail -20 "$scratch/$1.log" >&2; return 1; }
}

stop_cluster() { # name, mode
    postgres pg_ctl -w -s -D "$scratch/$1/data" -m "${2:-fast}" stop >>"$scratch/$1.log" 2>&1
}

stop_clusters() {
    local name
    for name in ${clusters[@]+"${clusters[@]}"}; do stop_cluster "$name" immediate || true; done
}

sql() { # cluster, database, statement
    postgres psql -XAtq -v ON_ERROR_STOP=1 -h "$scratch/$1" -U devicegraph -d "$2" -c "$3"
}

url_of() { # cluster, database
    echo "postgres://devicegraph@localhost/$2?host=$scratch/$1"
}

# Repeats a command until it succeeds. The limit only ends a test that hangs; no machine should need as long.
until_true() { # seconds, command
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}
