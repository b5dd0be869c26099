#!/bin/sh
# Options, and words that are no command of the image, are the program's arguments.
set -e
case ${1:-} in
-*) set -- @PROGRAM@ "$@" ;;
*) command -v "$1" >/dev/null 2>&1 || set -- @PROGRAM@ "$@" ;;
esac
exec "$@"
