# A Docker host in namespaces of its own (mount, network, process ids, host name): the first process of them.
# `cargo xtask judge` starts it twice: for the cgroups, and again in a cgroup namespace for the rest. When it
# ends the kernel ends everything else in here, and the mounts are gone with the last process.
#   STAGE    which of both
#   LOWER    the trees the root is made of, uppermost first
#   RUN      the run's own folder: session.sh, and what comes out
#   GROUP    the name of the run's cgroups
#   CGROUP   v1 or v2
#   HUB      what serves as the Hub; IMAGES, TLS: its folders
set -e
root=$RUN/root
groups=$root/sys/fs/cgroup
controllers="cpu cpuacct cpuset memory blkio pids devices freezer"

mount_cgroups() {
    if [ "$CGROUP" = v2 ]; then
        mount -t cgroup2 none "$groups"
        return
    fi
    mount -t tmpfs tmpfs "$groups"
    for controller in $controllers systemd; do
        mkdir "$groups/$controller"
        option=$controller
        [ $controller = systemd ] && option=none,name=systemd
        mount -t cgroup -o "$option" cgroup "$groups/$controller" || rmdir "$groups/$controller"
    done
}

# A folder of cgroups for this run, and us in it.
enter_cgroups() {
    for hierarchy in "$groups" "$groups"/*; do
        [ -e "$hierarchy/cgroup.procs" ] && [ "$hierarchy" != "$groups/$GROUP" ] || continue
        [ "$CGROUP" = v2 ] && [ "$hierarchy" != "$groups" ] && continue
        mkdir "$hierarchy/$GROUP"
        for file in cpuset.cpus cpuset.mems; do
            [ -e "$hierarchy/$GROUP/$file" ] && cat "$hierarchy/$file" > "$hierarchy/$GROUP/$file"
        done
        echo $$ > "$hierarchy/$GROUP/cgroup.procs"
    done
}

if [ "$STAGE" = cgroups ]; then
    mkdir -p "$RUN/upper" "$root"
    mount -t tmpfs tmpfs "$RUN/upper"
    mkdir "$RUN/upper/files" "$RUN/upper/work"
    mount -t overlay -o "lowerdir=$LOWER,upperdir=$RUN/upper/files,workdir=$RUN/upper/work" overlay "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sys "$root/sys"
    mount_cgroups
    enter_cgroups
    umount -R "$groups"
    export STAGE=host
    exec unshare --cgroup /bin/bash "$0"
fi

mount_cgroups
if [ "$CGROUP" = v2 ]; then
    # Only a cgroup without processes hands controllers down.
    mkdir "$groups/init"
    while read -r pid; do echo "$pid" > "$groups/init/cgroup.procs"; done < "$groups/cgroup.procs"
    sed 's/[^ ]*/+&/g' "$groups/cgroup.controllers" > "$groups/cgroup.subtree_control"
fi
mount --rbind /dev "$root/dev"
for directory in run tmp var/lib/docker; do
    mkdir -p "$root/$directory"
done
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
# Docker's data is on a disk: in memory its files would count against containers' limits.
truncate -s 3G "$RUN/disk"
mkfs.ext4 -q -E nodiscard "$RUN/disk"
mount -o loop "$RUN/disk" "$root/var/lib/docker"
rm "$RUN/disk"
chmod 1777 "$root/tmp"
mkdir -p "$root/run/judge" "$root/run/old" "$root/run/lock"
mount --bind "$RUN" "$root/run/judge"

hostname node1
ip link set lo up
ip link add eth0 type veth peer name gateway
ip address add 192.168.0.8/23 dev eth0
ip address add 192.168.0.1/32 dev gateway
ip link set gateway up
ip link set eth0 up
ip route add default via 192.168.0.1
echo 1 > "$root/proc/sys/net/ipv4/ip_forward"

unshare --mount python3 "$HUB" "$IMAGES" "$TLS" 192.168.0.1 > "$RUN/hub.log" 2>&1 &
# It must have its view of the files before ours changes.
for _ in $(seq 300); do
    (: < /dev/tcp/127.0.0.1/443) 2> /dev/null && break
    sleep 0.1
done

cd "$root"
pivot_root . run/old
umount -l /run/old
rmdir /run/old
hash -r
# From here on the programs are the node's.
printf '%s\n' '127.0.0.1	localhost' '192.168.0.8	node1' \
    '127.0.0.1	registry-1.docker.io auth.docker.io index.docker.io' > /etc/hosts
echo node1 > /etc/hostname
echo 'nameserver 192.168.0.1' > /etc/resolv.conf
export SSL_CERT_FILE=/run/judge/hub.pem
# As its systemd unit starts it, so far as this computer lets us.
for limit in 1048576 $(ulimit -Hn); do ulimit -n $limit 2> /dev/null && break; done
ulimit -c unlimited
ulimit -u unlimited 2> /dev/null || true
# As init would, it starts one again that was killed.
supervise() {
    while :; do
        status=0
        dockerd >> /run/judge/dockerd.log 2>&1 || status=$?
        [ $status -gt 128 ] || break
        sleep 2
    done
}
supervise &
for _ in $(seq 300); do
    docker version > /dev/null 2>&1 && break
    sleep 0.1
done
cd /root
ulimit -c 0
ulimit -Sn 1024
env -i HOME=/root USER=root LOGNAME=root SHELL=/bin/bash LANG=C.UTF-8 PWD_IP_ADDRESS=192.168.0.8 \
    DOCKER_DEFAULT_PLATFORM=linux/riscv64 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /bin/bash /run/judge/session.sh > /run/judge/printed 2> /run/judge/errors < /dev/null || true
