"""Volumes of a pod: the directories and host paths to prepare on the node, and the bind mounts of its containers.

logic/pod/podplan, podspec and secretenv call it. A directory lies at /var/lib/ktool/pods/UID/volumes/NAME, or in
/run/ktool/... for a medium of Memory. The files of a ConfigMap are behind a symlink `..data` there, as the kubelet's
atomic writer lays them out, so that a reader sees the old set or the new one. Source: core/v1 Volume, VolumeMount,
ConfigMapVolumeSource.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ktool.api.marks import VOLUMES_IN_MEMORY, VOLUMES_ON_DISK
from ktool.api.obj import Obj, content_hash, get, uid
from ktool.api.units import quantity
from ktool.logic.node.nodeaction import PreparePath
from ktool.logic.node.volume import Volume, VolumeFile
from ktool.logic.pod import podfiles
from ktool.logic.pod.poddns import resolv_conf
from ktool.logic.pod.podenv import ConfigError, Scope

SETGID = 0o2000


@dataclass(frozen=True)
class Source:
    """The place of a volume on the node. `files` are the paths in it, for a volume whose content ktool writes."""

    path: str
    read_only: bool = False
    files: tuple[str, ...] | None = None
    host: bool = False


@dataclass(frozen=True)
class Volumes:
    """All volumes of a pod. `problems`: volume name -> why it cannot be set up now."""

    volumes: tuple[Volume, ...] = ()
    host_paths: tuple[PreparePath, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    everywhere: tuple[Mapping[str, Any], ...] = ()
    """Bind mounts of every container that has nothing else in their place."""


def directory(pod_uid: str, volume: str, medium: str = "") -> str:
    """The directory of a volume on its node."""
    return f"{VOLUMES_IN_MEMORY if medium == 'Memory' else VOLUMES_ON_DISK}/{pod_uid}/volumes/{volume}"


def volumes(scope: Scope) -> Volumes:
    """The volumes to prepare on the node, with the ConfigMaps and Secrets of now."""
    made: list[Volume] = []
    paths: list[PreparePath] = []
    sources: dict[str, Source] = {}
    problems: dict[str, str] = {}
    pod = scope.pod
    group = get(pod, "spec", "securityContext", "fsGroup")
    gid = -1 if group is None else int(group)
    for entry in get(pod, "spec", "volumes", default=()):
        name = entry["name"]
        kind = next((key for key in entry if key != "name" and entry[key] is not None), "emptyDir")
        try:
            if kind == "configMap" or kind in podfiles.IN_MEMORY:
                medium = "Memory" if kind in podfiles.IN_MEMORY else ""
                files = podfiles.files(kind, entry[kind], scope)
                made.append(_volume(name, medium, 0, files, 0o755, gid))
                sources[name] = Source(directory(uid(pod), name, medium), True, tuple(file.path for file in files))
            elif kind == "hostPath":
                host = entry[kind]
                paths.append(PreparePath(host["path"], host.get("type") or ""))
                sources[name] = Source(host["path"], host=True)
            elif kind == "emptyDir":
                empty = entry.get(kind)
                medium = str(get(empty, "medium", default=""))
                limit = get(empty, "sizeLimit")
                size = quantity.bytes_(limit) if medium == "Memory" and limit is not None else 0
                made.append(_volume(name, medium, size, (), 0o777 | (SETGID if gid >= 0 else 0), gid))
                sources[name] = Source(directory(uid(pod), name, medium))
            else:
                raise ConfigError(f"volumes of type {kind} are not supported yet")
        except ConfigError as error:
            problems[name] = f'MountVolume.SetUp failed for volume "{name}" : {error}'
    binds = []
    try:
        if text := resolv_conf(pod):
            made.append(_resolver(text, [entry["name"] for entry in get(pod, "spec", "volumes", default=())]))
            binds.append(_resolver_bind(f"{directory(uid(pod), made[-1].name)}/..data"))
    except ConfigError as error:
        problems[_RESOLVER] = str(error)
    return Volumes(tuple(made), tuple(paths), sources, problems, tuple(binds))


_RESOLVER = "resolv.conf"


def _resolver(text: str, taken: list[str]) -> Volume:
    """The volume for resolv.conf of a pod on the host network: Podman takes no DNS servers for it."""
    own = "resolv-conf"
    while own in taken:
        own += "-0"
    return _volume(own, "", 0, (VolumeFile(_RESOLVER, text.encode(), 0o644),), 0o755, -1)


def _resolver_bind(directory: str) -> dict[str, Any]:
    source = Source(directory, read_only=True)
    return _bind(f"{directory}/{_RESOLVER}", {"mountPath": f"/etc/{_RESOLVER}"}, source)


def _volume(name: str, medium: str, size: int, files: tuple[VolumeFile, ...], mode: int, gid: int) -> Volume:
    content = [[file.path, file.origin or base64.b64encode(file.content).decode(), file.mode] for file in files]
    return Volume(name, medium, size, files, content_hash([medium, size, content, mode, gid]), mode, gid)


def mounts(container: Obj, found: Volumes) -> tuple[list[dict[str, Any]], list[PreparePath], list[str]]:
    """The bind mounts of a container (OCI runtime Mounts), the directories that its subPaths need, and the problems."""
    result: list[dict[str, Any]] = []
    paths: list[PreparePath] = []
    problems: list[str] = []
    for mount in container.get("volumeMounts") or ():
        volume = mount["name"]
        if volume not in found.sources:
            problems.append(f'volume "{volume}" is not defined in the pod')
            continue
        source = found.sources[volume]
        sub = str(mount.get("subPath") or "").rstrip("/")
        if sub in ("", "."):
            path = source.path
        elif not _inside(sub):
            problems.append(f'subPath "{sub}" of volume "{volume}" must be a relative path without ".."')
            continue
        elif source.files is not None:
            if not any(file == sub or file.startswith(sub + "/") for file in source.files):
                problems.append(f'subPath "{sub}" is not in volume "{volume}"')
                continue
            path = f"{source.path}/..data/{sub}"
        else:
            path = f"{source.path.rstrip('/')}/{sub}"
            paths.append(PreparePath(path, "DirectoryOrCreate"))
        result.append(_bind(path, mount, source))
    taken = {bind["destination"] for bind in result}
    result += [dict(bind) for bind in found.everywhere if bind["destination"] not in taken]
    return result, paths, problems


def _bind(path: str, mount: Obj, source: Source) -> dict[str, Any]:
    read_only = source.read_only or bool(mount.get("readOnly"))
    options = ["rbind", "ro" if read_only else "rw", "rprivate"]
    return {"destination": mount["mountPath"], "type": "bind", "source": path, "options": options}


def _inside(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def each_once(paths: Iterable[PreparePath]) -> tuple[PreparePath, ...]:
    """Each path once; the first type for it wins (a hostPath before the subPaths in it)."""
    seen: dict[str, PreparePath] = {}
    for path in paths:
        seen.setdefault(path.path, path)
    return tuple(seen.values())
