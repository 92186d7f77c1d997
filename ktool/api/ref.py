"""A Ref names one object: it is the queue key, the storage key and (with its Kind) the URL path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Ref(NamedTuple):
    """Kind, namespace ("" for objects of the cluster) and name. Kind names are unique in the REGISTRY."""

    kind: str
    namespace: str
    name: str

    @property
    def key(self) -> str:
        """The storage key, e.g. `Deployment/default/web` or `Node//node1`. No part may hold a slash."""
        return f"{self.kind}/{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, key: str) -> Ref:
        kind, namespace, name = key.split("/")
        return cls(kind, namespace, name)

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Ref:
        meta = obj.get("metadata") or {}
        return cls(str(obj.get("kind", "")), str(meta.get("namespace") or ""), str(meta.get("name", "")))

    def __str__(self) -> str:
        """As messages name it: `Deployment default/web`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def prefix(kind: str, namespace: str | None = None) -> str:
    """What the storage keys of a kind (in one namespace, or in all where it is None) begin with."""
    return f"{kind}/" if namespace is None else f"{kind}/{namespace}/"
