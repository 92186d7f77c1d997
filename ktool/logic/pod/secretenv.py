"""Secret environment variables: passed to containers through tmpfs, never through the node's disk.

logic/pod/podplan, podlife and podspec plan with it. Podman writes the variables of a container into its database and,
whenever the container starts, into a config.json beside its log: both on disk. So their values are files in a tmpfs
volume of the pod, and

- Podman knows a `secret` for each, whose driver runs a command that reads this file: its database has the command;
- before such a container is started, its directory becomes a link into the same tmpfs (KeepInMemory), where config.json
  is then written, and what `exec` needs. The log is not worth the memory and has a path of its own on disk.

After a reboot the tmpfs is gone: Podman alone cannot start the container, and our next pass writes it all anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from ktool.api.marks import VOLUMES_ON_DISK
from ktool.api.obj import Obj, content_hash, uid
from ktool.api.pod import containers_of
from ktool.logic.node.nodeaction import KeepInMemory
from ktool.logic.node.volume import Volume, VolumeFile
from ktool.logic.pod.podenv import ConfigError, Environment, Scope, environment
from ktool.logic.pod.podvolumes import directory
from ktool.logic.secrets.podrefs import of_container

VOLUME = "_env"
"""No name that a volume of a Pod could have."""

PREFIX = "ktool-"
"""Name prefix of ktool's Podman secrets; the pod's uid follows."""


def concerns(container: Obj) -> bool:
    """Whether a container refers to Secrets in its environment, existing or not."""
    return any(use.kind == "Secret" for use in of_container(container))


def names(container: Obj, pod: Obj, found: Environment) -> dict[str, str]:
    """The secret variables of a container, and the names of their Podman secrets."""
    return {variable: _secret_name(uid(pod), container["name"], variable) for variable in sorted(found.secret)}


def log_path(container: Obj, pod: Obj) -> str:
    """The path of a container's log. It depends on the image, because the log of a recreated container starts anew."""
    return f"{VOLUMES_ON_DISK}/{uid(pod)}/{container['name']}-{content_hash(container.get('image', ''))}.log"


def lookups(container: Obj, pod: Obj, found: Environment) -> dict[str, str]:
    """The Podman secrets of a container: name -> the file that each is read from."""
    own, top = container["name"], directory(uid(pod), VOLUME, "Memory")
    return {
        _secret_name(uid(pod), own, variable): f"{top}/..data/{own}/{_file_name(variable)}" for variable in found.secret
    }


def keep_in_memory(pod: Obj, own: str, container_id: str) -> KeepInMemory:
    return KeepInMemory(uid(pod), own, container_id, f"{directory(uid(pod), VOLUME, 'Memory')}/..run/{own}")


def volume(pod: Obj, found: Mapping[str, Environment]) -> Volume | None:
    """The tmpfs volume with the values for containers whose Environment is known; None where the pod needs none."""
    wanted = {container["name"]: container for container in containers_of(pod) if concerns(container)}
    if not wanted:
        return None
    files: list[VolumeFile] = []
    state = []
    for own in sorted(found.keys() & wanted.keys()):
        env = found[own]
        state.append([own, sorted(env.secret), sorted(env.sources), env.plain])
        # A file of its own marks the directory: without variables there would be none, and reading must not fail.
        files.append(VolumeFile(f"{own}/.present", b"", 0o400))
        files += [VolumeFile(f"{own}/{_file_name(name)}", value, 0o400) for name, value in sorted(env.secret.items())]
    return Volume(VOLUME, "Memory", files=tuple(files), hash=content_hash(state), mode=0o700)


def changed(scope: Scope) -> Volume | None:
    """The volume with the present values of the Secrets; None where one is missing: then the written values stay."""
    try:
        found = {c["name"]: environment(c, scope) for c in containers_of(scope.pod) if concerns(c)}
    except ConfigError:
        return None
    return volume(scope.pod, found)


def _secret_name(pod_uid: str, container: str, variable: str) -> str:
    return f"{PREFIX}{pod_uid}-{content_hash([container, variable], 14)}"


def _file_name(variable: str) -> str:
    """A file name for a variable: its name may hold anything but `=`, a file's may not."""
    return content_hash(variable, 20)
