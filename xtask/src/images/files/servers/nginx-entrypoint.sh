#!/bin/sh
# Starts nginx the way its image promises: what lies in /docker-entrypoint.d runs first, then the command.
set -e

say() {
    [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$0: $*"
}

# /etc/nginx/templates/x.conf.template becomes /etc/nginx/conf.d/x.conf, with the variables of the
# environment (and only those: nginx has `$uri` and the like of its own) filled in.
fill_templates() {
    from=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
    to=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
    suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
    [ -d "$from" ] || return 0
    names=$(env | sed -n "s/^\(${NGINX_ENVSUBST_FILTER:-}[A-Za-z_0-9]*\)=.*/\${\1}/p" | tr '\n' ' ')
    find "$from" -follow -type f -name "*$suffix" | sort | while read -r template; do
        relative=${template#"$from/"}
        output=$to/${relative%"$suffix"}
        mkdir -p "$(dirname "$output")"
        say "filling $template into $output"
        envsubst "$names" <"$template" >"$output"
    done
}

case ${1:-} in
nginx | nginx-debug)
    for part in $(find /docker-entrypoint.d/ -follow -type f 2>/dev/null | sort -V); do
        case $part in
        *.envsh) [ -x "$part" ] && say "sourcing $part" && . "$part" ;;
        *.sh) [ -x "$part" ] && say "running $part" && "$part" ;;
        *) say "ignoring $part" ;;
        esac
    done
    fill_templates
    say "Configuration complete; ready for start up"
    ;;
esac

exec "$@"
