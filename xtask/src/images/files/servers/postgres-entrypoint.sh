#!/usr/bin/env bash
# Starts PostgreSQL as the user postgres. An empty data directory gets its first content, its
# superuser, database and what lies in /docker-entrypoint-initdb.d before the server is started.
set -Eeo pipefail

template=/usr/share/postgresql/$PG_MAJOR/initdb

# from_file NAME [DEFAULT]: a variable's value may be in the file that NAME_FILE names.
from_file() {
    local file=${1}_FILE
    if [ -n "${!file:-}" ]; then
        if [ -n "${!1:-}" ]; then
            echo >&2 "error: both $1 and $file are set (but are exclusive)"
            exit 1
        fi
        export "$1"="$(<"${!file}")"
        unset "$file"
    elif [ -z "${!1:-}" ]; then
        export "$1"="${2:-}"
    fi
}

refuse_without_password() {
    [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ] || return 0
    cat >&2 <<-'END'
	Error: Database is uninitialized and superuser password is not specified.
	       Give the superuser one: -e POSTGRES_PASSWORD=password
	       or let everyone in without: -e POSTGRES_HOST_AUTH_METHOD=trust
	END
    exit 1
}

# What initdb makes is in the image already; other options than the image's need a real run.
fill_data_directory() {
    if [ -n "${POSTGRES_INITDB_ARGS:-}${POSTGRES_INITDB_WALDIR:-}" ] || [ ! -f "$template/PG_VERSION" ]; then
        local wal=()
        [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || wal=(--waldir "$POSTGRES_INITDB_WALDIR")
        eval "initdb --username=postgres ${POSTGRES_INITDB_ARGS:-}" '"${wal[@]}"' -D '"$PGDATA"'
    else
        cp -a "$template/." "$PGDATA/"
    fi
    printf '\nhost all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >>"$PGDATA/pg_hba.conf"
}

sql() {
    psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --quiet "$@"
}

# The first superuser goes by the user's name; nobody can rename himself.
make_superuser() {
    if [ "$POSTGRES_USER" != postgres ]; then
        sql -U postgres -d postgres <<<'CREATE ROLE drydock_rename SUPERUSER LOGIN;'
        sql -U drydock_rename -d postgres -v user="$POSTGRES_USER" <<<'ALTER ROLE postgres RENAME TO :"user";'
        sql -U "$POSTGRES_USER" -d postgres <<<'DROP ROLE drydock_rename;'
    fi
    [ -z "$POSTGRES_PASSWORD" ] ||
        sql -U "$POSTGRES_USER" -d postgres -v user="$POSTGRES_USER" -v password="$POSTGRES_PASSWORD" \
            <<<"ALTER ROLE :\"user\" PASSWORD :'password';"
    [ "$POSTGRES_DB" = postgres ] ||
        sql -U "$POSTGRES_USER" -d postgres -v db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
}

run_first_start_files() {
    local file
    local -a client=(psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password -U "$POSTGRES_USER" -d "$POSTGRES_DB")
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh)
            if [ -x "$file" ]; then
                echo "$0: running $file" && "$file"
            else
                echo "$0: sourcing $file" && . "$file"
            fi
            ;;
        *.sql) echo "$0: running $file" && "${client[@]}" -f "$file" ;;
        *.sql.gz) echo "$0: running $file" && gunzip -c "$file" | "${client[@]}" ;;
        *.sql.xz) echo "$0: running $file" && xz -dc "$file" | "${client[@]}" ;;
        */'*') ;;
        *) echo "$0: ignoring $file" ;;
        esac
        echo
    done
}

case ${1:-} in
-*) set -- postgres "$@" ;;
esac

if [ "$1" = postgres ] && [[ " $* " != *\ --help\ * && " $* " != *\ --version\ * && " $* " != *\ -V\ * ]]; then
    if [ "$(id -u)" = 0 ]; then
        mkdir -p "$PGDATA" /run/postgresql
        chmod 00700 "$PGDATA"
        chmod 03775 /run/postgresql
        find "$PGDATA" /run/postgresql \! -user postgres -exec chown postgres:postgres '{}' +
        exec setpriv --reuid=postgres --regid=postgres --init-groups --inh-caps=-all "$BASH_SOURCE" "$@"
    fi
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        from_file POSTGRES_PASSWORD
        from_file POSTGRES_USER postgres
        from_file POSTGRES_DB "$POSTGRES_USER"
        from_file POSTGRES_INITDB_ARGS
        : "${POSTGRES_HOST_AUTH_METHOD:=scram-sha-256}"
        refuse_without_password
        umask 0077
        fill_data_directory
        # Nobody but this script is served until the database is as it was asked for.
        pg_ctl -D "$PGDATA" -o "-c listen_addresses= -p 5432 ${*:2}" -w start
        make_superuser
        run_first_start_files
        pg_ctl -D "$PGDATA" -m fast -w stop
        unset POSTGRES_PASSWORD
        printf '\nPostgreSQL init process complete; ready for start up.\n\n'
    else
        printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
    fi
fi

exec "$@"
