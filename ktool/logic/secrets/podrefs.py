"""References from pods to ConfigMaps and Secrets: which ones a PodSpec names, and in which ways.

nodeplane/ wakes nodes by them; logic/workload/configuse, kinds/namespace and the secret commands use them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ktool.api.marks import PULL_SECRETS
from ktool.api.obj import annotations_of, get
from ktool.api.pod import containers_in

Reference = tuple[str, str]
"""Kind and name, in the pod's own namespace."""


_SOURCES = {"configMapKeyRef": "ConfigMap", "configMapRef": "ConfigMap", "configMap": "ConfigMap"}
_SOURCES |= {"secretKeyRef": "Secret", "secretRef": "Secret", "secret": "Secret"}


@dataclass(frozen=True, order=True)
class Use:
    """A referenced ConfigMap or Secret, and the keys that are read; no keys for all of them."""

    kind: str
    name: str
    keys: tuple[str, ...] = ()
    optional: bool = False


def reads(spec: Mapping[str, Any]) -> frozenset[Reference]:
    """Every ConfigMap and Secret that a PodSpec names, including optional ones and pull secrets, without a namespace's
    default pull secrets (`pull_defaults`)."""
    pulls = {("Secret", str(entry.get("name") or "")) for entry in spec.get("imagePullSecrets") or ()}
    return frozenset(found for found in {(use.kind, use.name) for use in uses(spec)} | pulls if found[1])


def uses(spec: Mapping[str, Any]) -> set[Use]:
    """The references of a pod's containers and volumes: env, envFrom, volumes and projected volumes."""
    return {use for _, use in _places(spec)}


def ways(spec: Mapping[str, Any], secret: str) -> list[str]:
    """The ways in which pods of this spec read the Secret, in words; empty where they do not."""
    found = [where for where, use in _places(spec) if (use.kind, use.name) == ("Secret", secret)]
    if any(entry.get("name") == secret for entry in spec.get("imagePullSecrets") or ()):
        found.append("imagePullSecrets")
    return list(dict.fromkeys(found))


def _places(spec: Mapping[str, Any]) -> Iterator[tuple[str, Use]]:
    """Each reference of a PodSpec to a ConfigMap or Secret, with its place in words."""
    for volume in spec.get("volumes") or ():
        for source in (volume, *get(volume, "projected", "sources", default=())):
            for use in _named(source):
                yield f"volume {volume.get('name', '')}", use
    for container in (*containers_in(spec), *(spec.get("ephemeralContainers") or ())):
        for where, use in _of_container(container):
            yield f"{where}, container {container.get('name', '')}", use


def of_container(container: Mapping[str, Any]) -> Iterator[Use]:
    """The references of one container's environment."""
    return (use for _, use in _of_container(container))


def _of_container(container: Mapping[str, Any]) -> Iterator[tuple[str, Use]]:
    for entry in container.get("env") or ():
        for use in _named(entry.get("valueFrom") or {}):
            yield f"env {entry.get('name', '')} (key {use.keys[0] if use.keys else ''})", use
    for source in container.get("envFrom") or ():
        for use in _named(source):
            yield "envFrom", use


def _named(holder: Mapping[str, Any]) -> Iterator[Use]:
    for member, kind in _SOURCES.items():
        reference = holder.get(member)
        if reference is not None:
            keys = {str(one.get("key") or "") for one in (reference, *(reference.get("items") or ()))} - {""}
            own = str(reference.get("secretName") or reference.get("name") or "")
            yield Use(kind, own, tuple(sorted(keys)), bool(reference.get("optional")))


def pull_defaults(space: Mapping[str, Any]) -> list[str]:
    """The default pull secrets of a Namespace, for pods that name none."""
    return [part.strip() for part in annotations_of(space).get(PULL_SECRETS, "").split(",") if part.strip()]
