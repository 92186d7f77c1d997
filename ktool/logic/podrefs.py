"""Which ConfigMaps and Secrets a pod reads: whose changes concern its node, and what a Secret is used for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ktool.api.obj import DOMAIN, annotations_of, get

Reference = tuple[str, str]
"""Kind and name, in the pod's own namespace."""

PULL_DEFAULT = f"{DOMAIN}/image-pull-secrets"
"""Annotation of a Namespace: the pull secrets of pods that name none."""

_SOURCES = {"configMapKeyRef": "ConfigMap", "configMapRef": "ConfigMap", "configMap": "ConfigMap"}
_SOURCES |= {"secretKeyRef": "Secret", "secretRef": "Secret", "secret": "Secret"}


def reads(spec: Mapping[str, Any]) -> frozenset[Reference]:
    """Every ConfigMap and Secret that a PodSpec names, optional ones too; a namespace's default for pulls is not in
    it (`pull_defaults`)."""
    return frozenset(found for found in _all(spec) if found[1])


def _all(spec: Mapping[str, Any]) -> Iterator[Reference]:
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or ():
            yield from of_container(container)
    for volume in spec.get("volumes") or ():
        yield from _named(volume)
        for source in get(volume, "projected", "sources", default=()):
            yield from _named(source)
    for entry in spec.get("imagePullSecrets") or ():
        yield "Secret", str(entry.get("name") or "")


def of_container(container: Mapping[str, Any]) -> Iterator[Reference]:
    """What the variables of one container come from."""
    for source in container.get("envFrom") or ():
        yield from _named(source)
    for entry in container.get("env") or ():
        yield from _named(entry.get("valueFrom") or {})


def _named(holder: Mapping[str, Any]) -> Iterator[Reference]:
    for member, kind in _SOURCES.items():
        reference = holder.get(member)
        if reference is not None:
            yield kind, str(reference.get("secretName") or reference.get("name") or "")


def pull_defaults(space: Mapping[str, Any]) -> list[str]:
    """The pull secrets that a Namespace gives to pods which name none."""
    return [part.strip() for part in annotations_of(space).get(PULL_DEFAULT, "").split(",") if part.strip()]
