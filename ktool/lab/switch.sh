#!/bin/sh
# PID 1 of the lab's switch: its network namespace holds the bridge, and the registries listen on the bridge's address.
#   switch.sh STATE_DIR
set -eu
state=$1
# The host has made the bridge and its links once it says so. Without its word (it was ended) there is nothing to do.
read -r go
exec </dev/null
mount -t proc proc /proc
echo 1 >/proc/sys/net/ipv4/ip_forward
serve() { # serve CONFIG: a registry, started again whenever it ends
    while :; do
        docker-registry serve "$state/$1" || echo "the registry of $1 ended with exit code $?"
        sleep 0.3
    done
}
serve private.yml &
serve registry.yml
