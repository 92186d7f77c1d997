"""Podman secrets for secret environment variables, and container directories in tmpfs (see logic/pod/secretenv).

node/podman/performer calls it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ktool.logic.pod.secretenv import PREFIX
from ktool.node.base import Completed, NodeError, Transport
from ktool.node.podman.podmanapi import PodmanApi, Refused

_PATH = re.compile(r"/run/ktool/pods/[0-9a-f-]{36}/volumes/_env/\.\.data/[-a-z0-9]+/[a-z0-9]+")

_LINK = r"""
set -eu
kept=$1 target=$2
top=${target%/*/*} # the mount point above DIRECTORY/..run/NAME
case $(stat -f -c %T "$top" 2>/dev/null || :) in
tmpfs) ;;
*) echo "$top is not in memory, and secret variables must not reach the disk" >&2; exit 1 ;;
esac
mkdir -p "$target"
chmod 0700 "${target%/*}" "$target"
[ "$(readlink "$kept" || :)" != "$target" ] || exit 0
# Whatever step this is interrupted at, it can be done again: Podman has not started the container yet.
if [ -d "$kept" ] && [ ! -L "$kept" ]; then
    cp -a "$kept/." "$target/"
    rm -rf --one-file-system "$kept"
fi
ln -sfn "$target" "$kept.new"
mv -T "$kept.new" "$kept"
"""


def make(api: PodmanApi, secrets: Mapping[str, str]) -> None:
    """Create Podman secrets: name -> the file that each is read from when its container starts. A missing file is an
    empty value; without its directory, as after a reboot, the container does not start."""
    for name, path in secrets.items():
        if not _PATH.fullmatch(path):
            raise ValueError(f"{path!r} is not where secret variables are kept")
        directory, _, file = path.rpartition("/")
        options = {
            "lookup": f"cd {directory} && {{ [ ! -e {file} ] || cat {file}; }}",
            "store": "cat >/dev/null",
            "delete": ":",
            "list": ":",
        }
        try:
            # The body would be the value; the driver reads another one.
            api.post("secrets/create", {}, name=name, driver="shell", driveropts=options)
        except Refused as refused:
            if "in use" not in refused.message and "already exists" not in refused.message:
                raise


def remove(api: PodmanApi, uid: str) -> None:
    """Delete the Podman secrets of a pod."""
    prefix = f"{PREFIX}{uid}-"
    for secret in api.get("secrets/json", filters=json.dumps({"name": [f"^{prefix}"]})) or ():
        name = str((secret.get("Spec") or {}).get("Name", ""))
        if not name.startswith(prefix):
            continue
        try:
            api.delete(f"secrets/{name}")
        except Refused as refused:
            if refused.status != 404:
                raise


def keep_in_memory(api: PodmanApi, transport: Transport, container: str, directory: str) -> Completed:
    """Replace Podman's directory of a container by a link to `directory`. Raises Refused or NodeError."""
    inspected: dict[str, Any] = api.get(f"containers/{container}/json")
    own, kept = str(inspected["Id"]), str(inspected.get("StaticDir") or "")
    if not kept.endswith(f"/{own}/userdata"):
        raise NodeError(transport.node, "secrets", f"Podman on {transport.node} keeps containers in an unknown way")
    return transport.run(["sh", "-c", _LINK, "ktool", kept, directory], timeout=30.0)
