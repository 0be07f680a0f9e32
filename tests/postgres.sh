# Functions that run a PostgreSQL for a test. Scripts source this file after they have
# created "$scratch". PostgreSQL listens only on a socket below that folder, trusts every
# client, and otherwise has the settings of initdb.
# shellcheck shell=bash disable=SC2154

# Prints the folder of PostgreSQL's programs. Like the service, it prefers PATH to the
# latest release of Debian. The folder must also have the programs for administrators.
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

# Runs a program of PostgreSQL. As root it runs as another account, because PostgreSQL
# refuses root. That account cannot enter every folder of root.
postgres() { # program, arguments
    local program=$bin/$1
    shift
    # Variables of the caller must not choose another database.
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
    # This shell opens the log, because the account may not write in other folders.
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

# Repeats a command until it succeeds. The limit only ends a test that hangs.
until_true() { # seconds, command
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}
