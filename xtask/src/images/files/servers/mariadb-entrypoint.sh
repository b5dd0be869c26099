#!/usr/bin/env bash
# Starts MariaDB as the user mysql. An empty data directory gets its first content, its accounts,
# database and what lies in /docker-entrypoint-initdb.d before the server is started.
set -Eeo pipefail

template=/usr/share/mariadb/datadir
data=/var/lib/mysql
socket=/run/mysqld/mysqld.sock

say() {
    echo "$(date '+%Y-%m-%d %H:%M:%S%:z') [Note] [Entrypoint]: $*"
}

fail() {
    echo >&2 "$(date '+%Y-%m-%d %H:%M:%S%:z') [ERROR] [Entrypoint]: $*"
    exit 1
}

# setting NAME: the value of MARIADB_NAME or MYSQL_NAME, or what is in the file that ..._FILE names.
setting() {
    local name file
    for name in "MARIADB_$1" "MYSQL_$1"; do
        file=${name}_FILE
        if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then
            fail "Both $name and $file are set (but are exclusive)"
        elif [ -n "${!name:-}" ]; then
            printf %s "${!name}" && return
        elif [ -n "${!file:-}" ]; then
            printf %s "$(<"${!file}")" && return
        fi
    done
}

# A text as an SQL string.
text() {
    local value=${1//\\/\\\\}
    printf "'%s'" "${value//\'/\\\'}"
}

# A name as an SQL identifier.
name() {
    printf '`%s`' "${1//\`/\`\`}"
}

sql() {
    mariadb --protocol=socket --socket="$socket" -uroot ${password:+-p"$password"} --binary-mode "$@"
}

start_for_setup() {
    "$@" --skip-networking --socket="$socket" &
    server=$!
    local try
    for try in {1..300}; do
        mariadb --protocol=socket --socket="$socket" -uroot -e 'SELECT 1' >/dev/null 2>&1 && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    fail "The server did not start for its setup."
}

accounts() {
    local host
    host=$(setting ROOT_HOST)
    local root=$1
    echo "SET @@SESSION.SQL_LOG_BIN=0;"
    # What the template was made with: root at addresses of its machine, and nobody.
    echo "DELETE FROM global_priv WHERE User = '' OR User = 'root' AND Host <> 'localhost';"
    echo "DELETE FROM proxies_priv WHERE Host <> 'localhost';"
    echo "FLUSH PRIVILEGES;"
    echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $(text "$root");"
    if [ "${host:-%}" != localhost ]; then
        echo "CREATE USER 'root'@$(text "${host:-%}") IDENTIFIED BY $(text "$root");"
        echo "GRANT ALL ON *.* TO 'root'@$(text "${host:-%}") WITH GRANT OPTION;"
    fi
    local database user
    database=$(setting DATABASE)
    user=$(setting USER)
    [ -z "$database" ] || echo "CREATE DATABASE IF NOT EXISTS $(name "$database");"
    if [ -n "$user" ]; then
        echo "CREATE USER $(text "$user")@'%' IDENTIFIED BY $(text "$(setting PASSWORD)");"
        [ -z "$database" ] ||
            echo "GRANT ALL ON $(name "${database//_/\\_}").* TO $(text "$user")@'%';"
    fi
}

run_first_start_files() {
    local file database
    database=$(setting DATABASE)
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh)
            say "$0: running $file"
            if [ -x "$file" ]; then "$file"; else . "$file"; fi
            ;;
        *.sql) say "$0: running $file" && sql ${database:+-D "$database"} <"$file" ;;
        *.sql.gz) say "$0: running $file" && gunzip -c "$file" | sql ${database:+-D "$database"} ;;
        */'*') ;;
        *) say "$0: ignoring $file" ;;
        esac
    done
}

set_up() {
    local root
    root=$(setting ROOT_PASSWORD)
    if [ -z "$root" ] && [ -n "$(setting RANDOM_ROOT_PASSWORD)" ]; then
        root=$(head -c 24 /dev/urandom | base64 | tr -d '=\n')
        say "GENERATED ROOT PASSWORD: $root"
    elif [ -z "$root" ] && [ -z "$(setting ALLOW_EMPTY_PASSWORD)$(setting ALLOW_EMPTY_ROOT_PASSWORD)" ]; then
        fail $'Database is uninitialized and password option is not specified\n\tYou need to specify one of MARIADB_ROOT_PASSWORD, MARIADB_ALLOW_EMPTY_ROOT_PASSWORD and MARIADB_RANDOM_ROOT_PASSWORD'
    fi
    say "Initializing database files"
    cp -a "$template/." "$data/"
    say "Starting temporary server"
    start_for_setup "$@"
    accounts "$root" | sql mysql
    password=$root
    run_first_start_files
    say "Stopping temporary server"
    kill "$server"
    wait "$server" || true
    say "MariaDB init process done. Ready for start up."
}

case ${1:-} in
-*) set -- mariadbd "$@" ;;
esac

if [ "$1" = mariadbd ] || [ "$1" = mysqld ]; then
    if [ "$(id -u)" = 0 ]; then
        mkdir -p "$data" /run/mysqld
        find "$data" /run/mysqld \! -user mysql -exec chown mysql:mysql '{}' +
        exec setpriv --reuid=mysql --regid=mysql --init-groups --inh-caps=-all "$BASH_SOURCE" "$@"
    fi
    [ -d "$data/mysql" ] || set_up "$@"
fi

exec "$@"
