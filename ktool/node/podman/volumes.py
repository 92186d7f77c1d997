"""Volume directories of pods: the tar stream and the shell scripts that create, update and remove them.
node/podman/performer calls it.

Files of a ConfigMap-like volume are laid out as the kubelet's AtomicWriter does: NAME/..STAMP/key holds the bytes,
NAME/..data points at ..STAMP and NAME/key at ..data/key, so one rename changes all keys at once for every reader.
Content travels on stdin as a tar, never in argv.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Sequence

from ktool.api.marks import VOLUMES_IN_MEMORY, VOLUMES_ON_DISK
from ktool.logic.node.volume import Volume
from ktool.logic.pod.podvolumes import directory

UID = re.compile(r"[0-9a-f-]{36}")
_NAME = re.compile(r"_?[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_HASH = re.compile(r"[0-9A-Za-z]*")

_WRITE = r"""
set -eu
umask 022
uid=$1 stamp=$2 disk=$3/$1 memory=$4/$1
shift 4
mkdir -p "$disk" "$memory"
chmod 0750 "$disk" "$memory" 2>/dev/null
place() { # place MEDIUM NAME: the volume's directory in $dir and its pod's in $top
    if [ "$1" = Memory ]; then top=$memory; else top=$disk; fi
    dir=$top/volumes/$2
}
each() { # each FUNCTION, for every volume: MEDIUM NAME SIZE MODE GID HASH
    step=$1; shift
    while [ $# -ge 6 ]; do "$step" "$1" "$2" "$3" "$4" "$5" "$6"; shift 6; done
}
prepare() {
    place "$1" "$2"
    mkdir -p "$dir"
    if [ "$1" = Memory ] && ! mountpoint -q "$dir"; then
        size=; if [ "$3" != 0 ]; then size=size=$3,; fi
        # Kernels before 6.4 do not know noswap; there a tmpfs may be swapped out.
        mount -t tmpfs -o "${size}mode=0$4,nosuid,nodev,noswap" tmpfs "$dir" 2>/dev/null ||
            mount -t tmpfs -o "${size}mode=0$4,nosuid,nodev" tmpfs "$dir"
        if [ "$5" != -1 ]; then chgrp "$5" "$dir"; chmod "0$4" "$dir"; fi
    elif [ ! -e "$top/made-$2" ]; then
        chmod "0$4" "$dir"
        if [ "$5" != -1 ]; then chgrp "$5" "$dir"; chmod "0$4" "$dir"; fi
        : >"$top/made-$2"
    fi
}
publish() {
    place "$1" "$2"
    new=$dir/..$stamp
    [ -d "$new" ] || return 0
    ln -sfn "..$stamp" "$dir/..data_tmp"
    mv -T "$dir/..data_tmp" "$dir/..data"
    for entry in "$new"/* "$new"/.[!.]*; do
        [ -e "$entry" ] || continue
        key=${entry##*/}
        [ -L "$dir/$key" ] || ln -s "..data/$key" "$dir/$key"
    done
    for link in "$dir"/* "$dir"/.[!.]*; do
        if [ -L "$link" ] && [ ! -e "$dir/..data/${link##*/}" ]; then rm -f "$link"; fi
    done
    for old in "$dir"/..[0-9]*; do # the set before, and what an interrupted call has left
        if [ -d "$old" ] && [ "$old" != "$new" ]; then rm -rf "$old"; fi
    done
}
record() {
    place "$1" "$2"
    { grep -v "^$2 " "$top/hashes" 2>/dev/null || :; echo "$2 $6"; } >"$top/hashes.new"
    mv "$top/hashes.new" "$top/hashes"
}
each prepare "$@"
tar -x -p -f - -C /
each publish "$@"
each record "$@"
"""

_REMOVE = r"""
set -eu
uid=$1
case $uid in ''|*[!0-9a-f-]*) exit 64 ;; esac
for top in "$2/$uid" "$3/$uid"; do
    for dir in "$top"/volumes/*; do
        while mountpoint -q "$dir" 2>/dev/null; do umount "$dir" 2>/dev/null || umount -l "$dir"; done
    done
    rm -rf --one-file-system "$top"
done
"""

_HOST_PATH = r"""
path=$1
is() { [ "$1" "$path" ] || { echo "is not $2"; exit 1; }; }
case $2 in
DirectoryOrCreate) [ -e "$path" ] || mkdir -p -m 0755 "$path"; is -d "a directory" ;;
FileOrCreate) [ -e "$path" ] || (umask 022; : >"$path"); is -f "a file" ;;
Directory) is -d "a directory" ;;
File) is -f "a file" ;;
Socket) is -S "a socket" ;;
CharDevice) is -c "a character device" ;;
BlockDevice) is -b "a block device" ;;
'') ;;
*) echo "has the type $2, which is not known"; exit 1 ;;
esac
"""


def write_command(uid: str, volumes: Sequence[Volume], stamp: int) -> tuple[list[str], bytes]:
    """(argv, stdin) that creates or updates the volume directories of a pod. `stamp` names the new set of files and
    must grow from call to call. Raises ValueError for names that Kubernetes would not have accepted."""
    _check_uid(uid)
    argv = ["sh", "-c", _WRITE, "ktool", uid, str(stamp), VOLUMES_ON_DISK, VOLUMES_IN_MEMORY]
    for volume in volumes:
        if not _NAME.fullmatch(volume.name) or volume.medium not in ("", "Memory") or not _HASH.fullmatch(volume.hash):
            raise ValueError(f"{volume.name!r} cannot be a volume of medium {volume.medium!r}")
        mode = f"{volume.mode & 0o7777:o}"
        argv += [volume.medium, volume.name, str(volume.size), mode, str(volume.gid), volume.hash]
    return argv, _archive(uid, volumes, stamp)


def remove_command(uid: str) -> list[str]:
    """A command that unmounts and removes a pod's files below ktool's own directories, and nothing else."""
    _check_uid(uid)
    return ["sh", "-c", _REMOVE, "ktool", uid, VOLUMES_ON_DISK, VOLUMES_IN_MEMORY]


def host_path_command(path: str, kind: str) -> list[str]:
    """A command that checks a hostPath, or creates it where its type says so (core/v1 HostPathVolumeSource). It prints
    what is wrong."""
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is not an absolute path")
    return ["sh", "-c", _HOST_PATH, "ktool", path, kind]


def _check_uid(uid: str) -> None:
    if not UID.fullmatch(uid):
        raise ValueError(f"{uid!r} is not a pod's uid")


def _archive(uid: str, volumes: Sequence[Volume], stamp: int) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for volume in volumes:
            if volume.files:
                _add_volume(archive, uid, volume, stamp)
    return target.getvalue()


def _add_volume(archive: tarfile.TarFile, uid: str, volume: Volume, stamp: int) -> None:
    root = f"{directory(uid, volume.name, volume.medium)}/..{stamp}".lstrip("/")
    gid = max(volume.gid, 0)
    mode = 0o755 | (0o2050 if volume.gid >= 0 else 0)
    directories = {root}
    for file in volume.files:
        parts = file.path.split("/")
        if file.path.startswith("/") or not all(parts) or any(part in (".", "..") for part in parts):
            raise ValueError(f"{file.path!r} cannot be a file of volume {volume.name!r}")
        directories |= {"/".join([root, *parts[:depth]]) for depth in range(1, len(parts))}
    for path in sorted(directories):
        archive.addfile(_member(path, tarfile.DIRTYPE, mode, gid, 0))
    for file in volume.files:
        content = file.content
        member = _member(f"{root}/{file.path}", tarfile.REGTYPE, file.mode & 0o7777, gid, len(content))
        archive.addfile(member, io.BytesIO(content))


def _member(name: str, kind: bytes, mode: int, gid: int, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.gid, member.size = kind, mode, gid, size
    return member
