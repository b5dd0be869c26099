#!/bin/sh
# Makes what an SSH server needs on its first start: host keys, an account, and who may use it.
# USER_NAME (root), USER_PASSWORD, PUBLIC_KEY; without a password or a key nobody gets in.
set -e

if [ "${1:-}" = /usr/sbin/sshd ]; then
    mkdir -p /run/sshd
    # No RSA: looking for its primes takes an emulated processor seconds.
    for kind in ed25519 ecdsa; do
        key=/etc/ssh/ssh_host_${kind}_key
        [ -s "$key" ] || ssh-keygen -q -t $kind -N '' -f "$key"
    done
    user=${USER_NAME:-root}
    id "$user" >/dev/null 2>&1 || useradd -m -s /bin/bash "$user"
    if [ -n "${USER_PASSWORD:-}" ]; then
        echo "$user:$USER_PASSWORD" | chpasswd
    fi
    if [ -n "${PUBLIC_KEY:-}" ]; then
        keys=$(getent passwd "$user" | cut -d: -f6)/.ssh/authorized_keys
        if ! grep -qsxF "$PUBLIC_KEY" "$keys"; then
            install -d -m 700 -o "$user" -g "$(id -g "$user")" "${keys%/*}"
            printf '%s\n' "$PUBLIC_KEY" >>"$keys"
            chmod 600 "$keys"
            chown "$user:$(id -g "$user")" "$keys"
        fi
    fi
fi

exec "$@"
