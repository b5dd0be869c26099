#!/bin/sh
# haproxy in the foreground, with a master that replaces workers on SIGHUP.
set -e
case ${1:-} in
-*) set -- haproxy "$@" ;;
esac
if [ "$1" = haproxy ]; then
    shift
    set -- haproxy -W -db "$@"
fi
exec "$@"
