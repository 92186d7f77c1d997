"""Who reads a Secret: the references that a pod's spec holds."""

from __future__ import annotations

from collections.abc import Iterator

from ktool.api.obj import Obj


def uses(spec: Obj, secret: str) -> list[str]:
    """In what ways a pod with this spec reads the Secret, in words; nothing where it does not."""
    found = list(_volumes(spec, secret))
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(group) or ():
            found += _environment(container, secret)
    if any(one.get("name") == secret for one in spec.get("imagePullSecrets") or ()):
        found.append("imagePullSecrets")
    return found


def _volumes(spec: Obj, secret: str) -> Iterator[str]:
    for volume in spec.get("volumes") or ():
        own = (volume.get("secret") or {}).get("secretName")
        projected = [(source.get("secret") or {}).get("name") for source in _sources(volume)]
        if secret == own or secret in projected:
            yield f"volume {volume.get('name', '')}"


def _sources(volume: Obj) -> list[Obj]:
    return (volume.get("projected") or {}).get("sources") or []


def _environment(container: Obj, secret: str) -> Iterator[str]:
    where = f"container {container.get('name', '')}"
    for entry in container.get("env") or ():
        reference = (entry.get("valueFrom") or {}).get("secretKeyRef") or {}
        if reference.get("name") == secret:
            yield f"env {entry.get('name', '')} (key {reference.get('key', '')}), {where}"
    for source in container.get("envFrom") or ():
        if (source.get("secretRef") or {}).get("name") == secret:
            yield f"envFrom, {where}"
