#!/bin/sh
# A configuration file or a verb alone mean the registry.
set -e
case ${1:-} in
*.yaml | *.yml) set -- registry serve "$@" ;;
serve | garbage-collect | help | -*) set -- registry "$@" ;;
esac
exec "$@"
