#!/bin/sh
# Starts redis-server as the user redis, with the directory it is in belonging to that user.
set -e

# Options alone, or a configuration file alone, mean the server.
case ${1:-} in
-* | *.conf) set -- redis-server "$@" ;;
esac

if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    find . \! -user redis -exec chown redis '{}' +
    exec setpriv --reuid=redis --regid=redis --init-groups --inh-caps=-all "$0" "$@"
fi

# Only the container is on its network, so the server answers other hosts, unless the user's
# configuration decides that itself.
if [ "$1" = redis-server ]; then
    umask 0077
    case ${2:-} in
    -h | --help | -v | --version | --test-memory) ;;
    '' | -*) shift && set -- redis-server --protected-mode no "$@" ;;
    *)
        if ! grep -Eqs '^[[:space:]]*(protected-mode|bind|requirepass)[[:space:]]' "$2"; then
            set -- "$@" --protected-mode no
        fi
        ;;
    esac
fi

exec "$@"
