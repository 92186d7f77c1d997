#!/bin/sh
# PID 1 of a node, first half: build the node's own root directory out of the host's, then hand over to its init.
#   node.sh STATE_DIR CGROUPS       CGROUPS: "unified" or a list of NAME=HOST_DIRECTORY of the cgroup v1 controllers
set -eu
state=$1 cgroups=$2
# The host has made our network link once it says so. Without its word (it was ended) there is nothing to do.
read -r go
exec </dev/null
cd "$state/rootfs"

# The host's files below, a tmpfs above: the node's root may write anywhere and the host never sees it.
# Relative names, because overlayfs gives ',' and ':' in a path a meaning of their own.
mount -t tmpfs -o mode=0755 ktool-lab .
cd "$state/rootfs"
layer() { # layer DIRECTORY: `root/DIRECTORY` is the host's directory with an upper layer of its own
    mkdir -p "upper$1" "work$1"
    mount -t overlay -o "lowerdir=$1,upperdir=upper$1,workdir=work$1" overlay "root$1"
}
mkdir -p upper/0 work/0 root
mount -t overlay -o lowerdir=/,upperdir=upper/0,workdir=work/0 overlay root
for part in /usr /var /opt; do # a layer does not reach into another file system mounted below it
    if mountpoint -q "$part"; then layer "$part"; fi
done
# /etc and /root outlive a reboot, as on any machine: their upper layers are on disk.
mkdir disk
mount --bind "$state/disk" disk
mkdir -p disk/etc disk/work disk/root
mount -t overlay -o lowerdir=/etc,upperdir=disk/etc,workdir=disk/work overlay root/etc
mount --bind disk/root root/root
chmod 0700 root/root
cd root

mount -t proc proc proc
mount -t sysfs sysfs sys
if [ "$cgroups" = unified ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    # cgroup v1. On a hybrid host the v2 tree beside the controllers is left out: crun refuses to work with both.
    mount -t tmpfs -o mode=0755 cgroup sys/fs/cgroup
    for pair in $cgroups; do
        mkdir "sys/fs/cgroup/${pair%%=*}"
        mount --bind "${pair#*=}" "sys/fs/cgroup/${pair%%=*}"
        case ${pair%%=*} in
        *,*) for one in $(echo "${pair%%=*}" | tr , ' '); do ln -s "${pair%%=*}" "sys/fs/cgroup/$one"; done ;;
        esac
    done
fi

mount -t tmpfs -o mode=0755 dev dev
mkdir dev/pts dev/shm dev/mqueue dev/net
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mknod -m 666 dev/fuse c 10 229
mknod -m 666 dev/net/tun c 10 200
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
ln -s pts/ptmx dev/ptmx
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
# Private, or else the Podmans of two nodes share one lock table and corrupt each other.
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t mqueue mqueue dev/mqueue

mount -t tmpfs -o mode=0755 run run
mkdir -p run/lock run/sshd run/podman run/old var/lib/containers var/lib/ktool etc/containers var/tmp root home
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=1777 tmp var/tmp
mount -t tmpfs -o mode=0755 home home
mount --bind "$state/containers" var/lib/containers
mount --bind "$state/var-lib-ktool" var/lib/ktool
mount --bind "$state/etc-containers" etc/containers
rm -f etc/resolv.conf etc/hosts etc/hostname etc/machine-id
cp -a "$state/etc/." etc/
# A locked root ("!" on Ubuntu) is refused by an sshd without PAM even with the right key.
sed -i 's/^root:[^:]*:/root:*:/' etc/shadow
# A machine that boots has a new boot id, and the kernel's own is the host's.
cat proc/sys/kernel/random/uuid >run/boot_id
mount --bind run/boot_id proc/sys/kernel/random/boot_id

pivot_root . run/old
cd /
umount -l /run/old
rmdir /run/old
exec catatonit -- sh /etc/ktool-lab/init
