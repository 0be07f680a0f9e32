#!/usr/bin/env bash
# Prints how long each migration locks tables with many rows. It measures all migrations
# after those that create the tables (1 to 5). Each migration runs in its own transaction,
# so its locks last as long as the migration. Then prints how long each constraint takes to
# validate, under a lock that allows reads and writes. Needs PostgreSQL; removes its files.
# CI does not run it: 10 million rows take about 12 GB and half an hour.
#
#     tests/migration-locks.sh [ROWS]      rows of each of the five tables (default 10000000)
set -euo pipefail
cd "$(dirname "$0")/.."
rows=${1:-10000000}
scratch=$(mktemp -d)
# PostgreSQL runs as another account when this is root.
chmod 755 "$scratch"
. tests/postgres.sh
cleanup() {
    stop_clusters
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

make_cluster postgres 'fsync = off' 'max_wal_size = 8GB'
sql postgres postgres 'CREATE DATABASE devicegraph'
run() { postgres psql -XAtq1 -v ON_ERROR_STOP=1 -h "$scratch/postgres" -U devicegraph -d devicegraph; }
# Prints the milliseconds that the commands of standard input take, as one transaction.
milliseconds() { { echo '\timing on'; cat; } | run | awk '/^Time:/ { sum += $2 } END { printf "%.0f", sum }'; }

for migration in migrations/000[1-5]*; do run <"$migration"; done
fill() { # table, columns beside the id, their values
    run <<<"SET session_replication_role = replica;
        INSERT INTO $1 (id, $2) SELECT gen_random_uuid(), $3 FROM generate_series(1, $rows) AS n"
    echo "filled $1: $(run <<<"SELECT pg_size_pretty(pg_table_size('$1'))")"
}
fill device_configurations 'odata_type, display_name, properties' "'windows10CustomConfiguration', 'a name ' || n, '{}'"
of="('00000000-0000-0000-0000-' || lpad((n % 1000000)::text, 12, '0'))::uuid"
fill device_configuration_assignments 'device_configuration_id, target_type, group_id' "$of, 'groupAssignmentTarget', 'group ' || n"
fill device_configuration_device_statuses device_configuration_id "$of"
fill device_configuration_user_statuses device_configuration_id "$of"
fill device_configuration_setting_summaries device_configuration_id "$of"

for migration in migrations/*; do
    case $migration in migrations/000[1-5]*) continue ;; esac
    echo "$(basename "$migration" .sql): $(milliseconds <"$migration") ms"
done
run <<<"SELECT format('%s %s', conrelid::regclass, conname) FROM pg_constraint
        WHERE NOT convalidated AND connamespace = current_schema()::regnamespace" |
    while read -r table constraint; do
        echo "validates $constraint: $(milliseconds <<<"ALTER TABLE $table VALIDATE CONSTRAINT $constraint;") ms"
    done
