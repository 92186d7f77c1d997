"""A Service of another group, in two versions, with a controller: what a custom resource is to a running server."""

from __future__ import annotations

from typing import Any

from ktool.api.action import Create, Plan
from ktool.api.kind import Controller, Kind, Names, Version, owned
from ktool.api.obj import Obj, get, name, namespace, owner_reference
from ktool.api.ref import CONFIG_MAP, GroupKind, Ref
from ktool.api.schema import Field
from ktool.api.shapes.meta import resource
from ktool.api.world import World

SERVICE = GroupKind("demo.example", "Service")


def plan(obj: Obj, world: World, now: float) -> Plan:
    """A ConfigMap of its name with the port in it."""
    if world.get(Ref(CONFIG_MAP, namespace(obj), name(obj))):
        return Plan(because="it is there")
    metadata = {"name": name(obj), "namespace": namespace(obj), "ownerReferences": [owner_reference(obj)]}
    data = {"port": str(obj["spec"]["port"])}
    return Plan((Create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}),))


def _to_storage(obj: Obj) -> Obj:
    return {**obj, "spec": {"port": get(obj, "spec", "ports", default=[0])[0]}}


def _from_storage(obj: Obj) -> Obj:
    return {**obj, "spec": {"ports": [obj["spec"]["port"]]}}


def custom_service() -> Kind:
    """`v1` (stored) has one port, `v2` a list of them."""
    one = resource(Field("object", required=True, fields={"port": Field("integer", required=True)}))
    many = resource(Field("object", required=True, fields={"ports": Field("array", items=Field("integer"))}))
    return Kind(
        Names("demo.example", "Service", "services", short=("dsvc",), categories=("all",)),
        (Version("v1", one), Version("v2", many, to_storage=_to_storage, from_storage=_from_storage)),
        controller=Controller((owned(CONFIG_MAP, by=SERVICE),), plan),
    )


def manifest(version: str, spec: dict[str, Any], called: str = "front") -> Obj:
    metadata = {"name": called, "namespace": "default"}
    return {"apiVersion": f"demo.example/{version}", "kind": "Service", "metadata": metadata, "spec": spec}
