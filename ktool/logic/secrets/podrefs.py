"""Which ConfigMaps and Secrets a pod reads: whose changes concern its node, and what a Secret is used for."""

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
    """One ConfigMap or Secret, and the keys that are read; none for all of them."""

    kind: str
    name: str
    keys: tuple[str, ...] = ()
    optional: bool = False


def reads(spec: Mapping[str, Any]) -> frozenset[Reference]:
    """Every ConfigMap and Secret that a PodSpec names, optional ones and pull secrets too; a namespace's default for
    pulls is not in it (`pull_defaults`)."""
    pulls = {("Secret", str(entry.get("name") or "")) for entry in spec.get("imagePullSecrets") or ()}
    return frozenset(found for found in {(use.kind, use.name) for use in uses(spec)} | pulls if found[1])


def uses(spec: Mapping[str, Any]) -> set[Use]:
    """What the containers of pods of this spec read: env, envFrom, volumes and projected volumes."""
    found = {use for container in containers_in(spec) for use in of_container(container)}
    for volume in spec.get("volumes") or ():
        for source in (volume, *get(volume, "projected", "sources", default=())):
            found |= set(_named(source))
    return found


def of_container(container: Mapping[str, Any]) -> Iterator[Use]:
    """What the variables of one container come from."""
    for source in container.get("envFrom") or ():
        yield from _named(source)
    for entry in container.get("env") or ():
        yield from _named(entry.get("valueFrom") or {})


def _named(holder: Mapping[str, Any]) -> Iterator[Use]:
    for member, kind in _SOURCES.items():
        reference = holder.get(member)
        if reference is not None:
            keys = {str(one.get("key") or "") for one in (reference, *(reference.get("items") or ()))} - {""}
            own = str(reference.get("secretName") or reference.get("name") or "")
            yield Use(kind, own, tuple(sorted(keys)), bool(reference.get("optional")))


def pull_defaults(space: Mapping[str, Any]) -> list[str]:
    """The pull secrets that a Namespace gives to pods which name none."""
    return [part.strip() for part in annotations_of(space).get(PULL_SECRETS, "").split(",") if part.strip()]
