"""Volume files made from objects: ConfigMaps, Secrets, the downward API, and projected volumes of several of these.

logic/pod/podvolumes calls it. Source: core/v1 ConfigMapVolumeSource, SecretVolumeSource, ProjectedVolumeSource,
DownwardAPIVolumeSource; pkg/volume/{configmap,secret,projected,downwardapi}.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence

from ktool.api.masked import Masked
from ktool.api.obj import Obj, get, meta
from ktool.logic.node.volume import VolumeFile
from ktool.logic.pod.podenv import ConfigError, Scope, field_value, resource_value, version

MODE = 0o644
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\"\\]")

IN_MEMORY = frozenset({"secret", "projected", "downwardAPI"})
"""Volumes that never touch the node's disk, as in Kubernetes."""


def files(kind: str, source: Obj, scope: Scope) -> tuple[VolumeFile, ...]:
    """The files of a volume, sorted by path. Raises ConfigError for a missing object or key."""
    mode = _mode(source.get("defaultMode"), MODE)
    found = _projected(source, scope, mode) if kind == "projected" else _one(kind, source, scope, mode)
    group = get(scope.pod, "spec", "securityContext", "fsGroup")
    shared = 0 if group is None else 0o440  # what the kubelet adds so that the group of fsGroup can read
    return tuple(VolumeFile(path, file.data, file.mode | shared, file.origin) for path, file in sorted(found.items()))


def _projected(source: Obj, scope: Scope, mode: int) -> dict[str, VolumeFile]:
    """All sources in one directory; of two files with the same path the later one wins."""
    found: dict[str, VolumeFile] = {}
    for part in source.get("sources") or ():
        for kind, inner in part.items():
            if kind not in ("configMap", "secret", "downwardAPI"):
                raise ConfigError(f"projected volumes cannot have a {kind} yet")
            found |= _one(kind, inner or {}, scope, mode)
    return found


def _one(kind: str, source: Obj, scope: Scope, mode: int) -> dict[str, VolumeFile]:
    if kind == "downwardAPI":
        return _facts(source.get("items") or (), scope, mode)
    data = _secret(source, scope) if kind == "secret" else _config_map(source, scope)
    if not source.get("items"):
        return {key: VolumeFile(key, value, mode, origin) for key, (value, origin) in data.items()}
    missing = (
        "references non-existent secret key" if kind == "secret" else "configmap references non-existent config key"
    )
    found: dict[str, VolumeFile] = {}
    for item in source["items"]:
        if item["key"] in data:
            value, origin = data[item["key"]]
            found[item["path"]] = VolumeFile(item["path"], value, _mode(item.get("mode"), mode), origin)
        elif not source.get("optional"):
            raise ConfigError(f"{missing}: {item['key']}")
    return found


def _config_map(source: Obj, scope: Scope) -> Mapping[str, tuple[bytes, str]]:
    wanted = str(source.get("name", ""))
    config = scope.config_map(wanted)
    if config is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'configmap "{wanted}" not found')
    data = {key: str(text).encode() for key, text in (config.get("data") or {}).items()}
    data |= {key: base64.b64decode(text) for key, text in (config.get("binaryData") or {}).items()}
    return {key: (value, "") for key, value in data.items()}


def _secret(source: Obj, scope: Scope) -> Mapping[str, tuple[Masked, str]]:
    wanted = str(source.get("secretName") or source.get("name") or "")
    secret = scope.secret(wanted)
    if secret is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'secret "{wanted}" not found')
    return {key: (value, f"{version(secret[0])}/{key}") for key, value in secret[1].items()}


def _facts(items: Sequence[Obj], scope: Scope, mode: int) -> dict[str, VolumeFile]:
    found = {}
    for item in items:
        if (reference := item.get("resourceFieldRef")) is not None:
            text = resource_value(reference, {}, scope)
        else:
            text = _fact(str(get(item, "fieldRef", "fieldPath", default="")), scope)
        found[item["path"]] = VolumeFile(item["path"], text.encode(), _mode(item.get("mode"), mode))
    return found


def _fact(path: str, scope: Scope) -> str:
    """A field of the pod; all labels or annotations as lines of key="value" (pkg/fieldpath FormatMap)."""
    if path in ("metadata.labels", "metadata.annotations"):
        entries = meta(scope.pod).get(path.removeprefix("metadata.")) or {}
        return "\n".join(f"{key}={_quoted(str(value))}" for key, value in sorted(entries.items()))
    return field_value(path, scope)


def _quoted(text: str) -> str:
    """A string quoted like Go's %q."""
    return '"' + _UNPRINTABLE.sub(lambda found: _ESCAPES.get(found[0], f"\\x{ord(found[0]):02x}"), text) + '"'


def _mode(given: object, fallback: int) -> int:
    return fallback if given is None else int(str(given))
