"""Validation of a core/v1 Volume beyond its schema: rules between fields. rules/podrules calls it.

Every value has passed `schema.check` before. Source: the field documentation of core/v1, and pkg/apis/core/validation
for what it leaves open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ktool.api.errors import Cause
from ktool.api.rules import names
from ktool.api.rules.containerrules import DUPLICATE, NOT_SUPPORTED, REQUIRED, one_of
from ktool.api.schema import show
from ktool.api.shapes.volumes import SOURCES
from ktool.api.units import quantity

FACTS = ("metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations")
_RESOURCES = tuple(f"{group}.{name}" for group in ("limits", "requests") for name in ("cpu", "memory"))
_RESOURCES += ("limits.ephemeral-storage", "requests.ephemeral-storage")

_PROJECTED = ("configMap", "secret", "downwardAPI", "serviceAccountToken", "podCertificate", "clusterTrustBundle")
_CANNOT = {
    "serviceAccountToken": "ktool has no service accounts, so there is no token to give; remove this source",
    "podCertificate": "is not supported: ktool signs no certificates; remove this source",
    "clusterTrustBundle": "is not supported yet; put the certificates into a ConfigMap",
}


def volume_causes(volume: Mapping[str, Any], path: str, volumes: dict[str, str]) -> Iterator[Cause]:
    """Validate one volume and add its name and source to `volumes`."""
    name = volume["name"]
    if problem := names.dns_label(name):
        yield Cause(f"{path}.name", f'"{name}" {problem}')
    if name in volumes:
        yield Cause(f"{path}.name", f'two volumes are named "{name}"', DUPLICATE)
    source = next((member for member in SOURCES if volume.get(member) is not None), "")
    volumes[name] = source
    yield from one_of(volume, path, SOURCES, "source")
    if source == "hostPath":
        if problem := names.absolute_path(volume["hostPath"]["path"]):
            yield Cause(f"{path}.hostPath.path", f"{show(volume['hostPath']['path'])} {problem}")
    elif source == "emptyDir":
        yield from _empty_dir(volume["emptyDir"], f"{path}.emptyDir")
    elif source == "configMap":
        yield from _reference(volume["configMap"], "name", f"{path}.configMap")
    elif source == "secret":
        yield from _reference(volume["secret"], "secretName", f"{path}.secret")
    elif source == "downwardAPI":
        yield from _facts(volume["downwardAPI"].get("items"), f"{path}.downwardAPI.items")
    elif source == "projected":
        yield from _projected(volume["projected"], f"{path}.projected")


def _empty_dir(source: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if source.get("medium", "") not in ("", "Memory"):
        yield Cause(f"{path}.medium", f'must be "" or "Memory", not {show(source["medium"])}', NOT_SUPPORTED)
    limit = source.get("sizeLimit")
    if limit is not None and quantity.value(limit) < 0:
        yield Cause(f"{path}.sizeLimit", f"must not be less than 0, not {show(limit)}")


def _projected(source: Mapping[str, Any], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, part in enumerate(source.get("sources") or ()):
        here = f"{path}.sources[{index}]"
        yield from one_of(part, here, _PROJECTED, "source")
        for member in _PROJECTED:
            inner = part.get(member)
            if inner is None:
                continue
            if member in _CANNOT:
                yield Cause(f"{here}.{member}", _CANNOT[member], NOT_SUPPORTED)
            elif member == "downwardAPI":
                yield from _facts(inner.get("items"), f"{here}.downwardAPI.items")
            else:
                yield from _reference(inner, "name", f"{here}.{member}")
            for number, item in enumerate(() if member in _CANNOT else inner.get("items") or ()):
                if item["path"] in seen:
                    message = f'two files of the volume have the path "{item["path"]}"'
                    yield Cause(f"{here}.{member}.items[{number}].path", message, DUPLICATE)
                seen.add(item["path"])


def _reference(source: Mapping[str, Any], member: str, path: str) -> Iterator[Cause]:
    """Validate a reference to a ConfigMap or Secret: its name and the selected keys."""
    name = source.get(member) or ""
    if not name:
        yield Cause(f"{path}.{member}", "is required", REQUIRED)
    elif problem := names.dns_subdomain(name):
        yield Cause(f"{path}.{member}", f'"{name}" {problem}')
    for index, item in enumerate(source.get("items") or ()):
        if problem := names.config_key(item["key"]):
            yield Cause(f"{path}.items[{index}].key", f'"{item["key"]}" {problem}')
        yield from _path(item["path"], f"{path}.items[{index}].path")


def _facts(items: Sequence[Mapping[str, Any]] | None, path: str) -> Iterator[Cause]:
    for index, item in enumerate(items or ()):
        here = f"{path}[{index}]"
        yield from _path(item["path"], f"{here}.path")
        yield from one_of(item, here, ("fieldRef", "resourceFieldRef"), "source")
        if reference := item.get("fieldRef"):
            wanted = reference["fieldPath"]
            if wanted not in FACTS and not wanted.startswith(("metadata.labels['", "metadata.annotations['")):
                message = f"must be one of {', '.join(FACTS)}, or like metadata.labels['key'], not {show(wanted)}"
                yield Cause(f"{here}.fieldRef.fieldPath", message, NOT_SUPPORTED)
        if reference := item.get("resourceFieldRef"):
            if not reference.get("containerName"):
                yield Cause(f"{here}.resourceFieldRef.containerName", "is required in a volume", REQUIRED)
            if reference["resource"] not in _RESOURCES:
                message = f"must be one of {', '.join(_RESOURCES)}, not {show(reference['resource'])}"
                yield Cause(f"{here}.resourceFieldRef.resource", message, NOT_SUPPORTED)


def _path(target: str, path: str) -> Iterator[Cause]:
    if not target:
        yield Cause(path, "is required", REQUIRED)
    elif problem := names.relative_path(target):
        yield Cause(path, f'"{target}" {problem}')
    elif target.startswith(".."):
        yield Cause(path, f"\"{target}\" must not begin with '..'")
