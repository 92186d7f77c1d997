# A node's init, second half: the network, sshd and Podman's API. PID 1 is catatonit, which reaps.
# Filled in by ktool.lab.config: NAME, ADDRESS, PREFIX, GATEWAY.
set -eu
. /etc/ktool-lab/node
umask 022
echo "$NAME" >/proc/sys/kernel/hostname
ip link set lo up
ip address add "$ADDRESS/$PREFIX" dev eth0
ip link set eth0 up
ip route add default via "$GATEWAY"
echo 1 >/proc/sys/net/ipv4/ip_forward

keep() { # keep COMMAND...: start it again whenever it ends, as a service manager does
    while :; do
        "$@" </dev/null || echo "$1 ended with exit code $?"
        sleep 0.3
    done
}
keep /usr/sbin/sshd -D -e &
keep podman system service --time=0 unix:///run/podman/podman.sock &
wait
