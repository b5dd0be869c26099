#!/bin/sh
# Puts WordPress into the working directory when it is empty, and a configuration that reads the
# environment when there is none; then the command.
set -e

case ${1:-} in
apache2* | php)
    if [ ! -e index.php ] && [ ! -e wp-includes/version.php ]; then
        echo >&2 "WordPress not found in $PWD - copying now..."
        cp -r /usr/src/wordpress/. .
        chown -R www-data:www-data .
        echo >&2 "Complete! WordPress has been successfully copied to $PWD"
    fi
    if [ ! -s wp-config.php ] && env | grep -q '^WORDPRESS_'; then
        echo >&2 "No 'wp-config.php' found in $PWD, but 'WORDPRESS_...' variables supplied; copying 'wp-config-docker.php'"
        # Every key is one of its own.
        while IFS= read -r line; do
            case $line in
            *@RANDOM@*) line=${line%%@*}$(head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \n')${line##*@} ;;
            esac
            printf '%s\n' "$line"
        done <wp-config-docker.php >wp-config.php
        chown www-data:www-data wp-config.php
    fi
    ;;
esac

exec "$@"
