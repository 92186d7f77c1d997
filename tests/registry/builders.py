"""Objects for these tests, as a user would write them."""

from __future__ import annotations

from typing import Any

from ktool.api.obj import Obj
from ktool.api.ref import GroupKind, Ref

THING = GroupKind("test.dev", "Thing")
CONFIG = GroupKind("", "Config")


def thing(name: str = "a", namespace: str = "", meta: Obj | None = None, **spec: Any) -> Obj:
    metadata: Obj = {"name": name, **(meta or {})}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": "test.dev/v1", "kind": "Thing", "metadata": metadata, "spec": spec}


def pod(name: str = "p", meta: Obj | None = None, **spec: Any) -> Obj:
    metadata: Obj = {"name": name, "namespace": "default", **(meta or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "c"}], **spec}}


def config(name: str = "c", **data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Config", "metadata": {"name": name}, "data": data}


def space(name: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def owned_by(owner: Obj, block: bool = True) -> Obj:
    """The ownerReferences member of a dependent's metadata."""
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": block,
    }
    return {"ownerReferences": [reference]}


def a(name: str = "a") -> Ref:
    return Ref(THING, "default", name)
