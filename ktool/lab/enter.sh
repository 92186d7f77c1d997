#!/bin/sh
# Run on the host by ktool.lab.machine: write down who we are, join the machine's cgroups, then become
# `unshare`, which holds the new namespaces until the machine's PID 1 ends (and ends it, if it is ended itself).
#   enter.sh STATE_DIR CGROUP_DIRS(space separated) SCRIPT ARGUMENTS...
set -eu
state=$1 groups=$2 script=$3
shift 3

record() { # record FILE: "PID STARTTIME BOOT_ID" of this shell; three fields name one process for ever (proc(5))
    read -r stat </proc/self/stat
    file=$1 pid=${stat%% *} boot=$(cat /proc/sys/kernel/random/boot_id)
    set -- ${stat##*) }
    echo "$pid ${20} $boot" >"$file.new"
    mv "$file.new" "$file"
}

if [ "${KTOOL_LAB_INSIDE:-}" = 1 ]; then
    # PID 1 of the new machine. /proc is still the host's, so the record holds the host's view of us.
    record "$state/init"
    unset KTOOL_LAB_INSIDE
    exec sh "$script" "$state" "$@"
fi
record "$state/holder"
for group in $groups; do echo $$ >"$group/cgroup.procs"; done
ulimit -n "$(ulimit -Hn)"
export KTOOL_LAB_INSIDE=1
exec unshare --net --mount --uts --ipc --pid --cgroup --fork --kill-child --propagation private \
    sh "$0" "$state" "" "$script" "$@"
