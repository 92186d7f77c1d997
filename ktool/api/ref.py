"""Ref and GroupKind: the identity of an object and of its kind, used as queue key, storage key and (with the Kind) URL
path.

Every layer uses them. A GroupKind (apimachinery's schema.GroupKind) is needed because two groups may have kinds of the
same name. Constants here name the kinds that more than one module plans with.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ktool.api.marks import DOMAIN

CORE = "core"
"""The core group's name in storage keys."""


class GroupKind(NamedTuple):
    """An API group ("" for core) and the kind's name in it."""

    group: str
    kind: str

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> GroupKind:
        """The GroupKind of a mapping with apiVersion and kind: an object, an ownerReference or an involvedObject."""
        return group_kind(str(obj.get("apiVersion") or ""), str(obj.get("kind") or ""))

    @property
    def prefix(self) -> str:
        """The prefix of the storage keys of all objects of the kind: `core/Pod/`, `apps/Deployment/`."""
        return f"{self.group or CORE}/{self.kind}/"

    def in_namespace(self, namespace: str | None) -> str:
        """The prefix of the storage keys in one namespace; of all of them for None."""
        return self.prefix if namespace is None else f"{self.prefix}{namespace}/"

    def display(self, name: str) -> str:
        """An object as command output names it: `deployment.apps/web`, `pod/web`."""
        word = self.kind.lower()
        return f"{word}.{self.group}/{name}" if self.group else f"{word}/{name}"

    def __str__(self) -> str:
        """The kind as messages name it: `Pod`, `Deployment.apps`."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


@lru_cache(maxsize=4096)
def group_kind(api_version: str, kind: str) -> GroupKind:
    """The GroupKind for an apiVersion and a kind: `apps/v1`, `Deployment` -> (apps, Deployment). All versions of a kind
    share it."""
    return GroupKind(api_version.rpartition("/")[0], kind)


class Ref(NamedTuple):
    """The identity of an object: GroupKind, namespace ("" for cluster-scoped objects) and name."""

    gk: GroupKind
    namespace: str
    name: str

    @property
    def group(self) -> str:
        return self.gk.group

    @property
    def kind(self) -> str:
        return self.gk.kind

    @property
    def key(self) -> str:
        """The storage key, e.g. `apps/Deployment/default/web` or `core/Node//node1`. No part may hold a slash."""
        group, kind = self.gk
        return f"{group or CORE}/{kind}/{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, key: str) -> Ref:
        group, kind, namespace, name = key.split("/")
        return cls(GroupKind("" if group == CORE else group, kind), namespace, name)

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Ref:
        meta = obj.get("metadata") or {}
        return cls(GroupKind.of(obj), str(meta.get("namespace") or ""), str(meta.get("name", "")))

    def __str__(self) -> str:
        """The object as messages name it: `Deployment default/web`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


NAMESPACE = GroupKind("", "Namespace")
NODE = GroupKind("", "Node")
POD = GroupKind("", "Pod")
SERVICE = GroupKind("", "Service")
ENDPOINTS = GroupKind("", "Endpoints")
ENDPOINT_SLICE = GroupKind("discovery.k8s.io", "EndpointSlice")
NETWORK_POLICY = GroupKind("networking.k8s.io", "NetworkPolicy")
CONFIG_MAP = GroupKind("", "ConfigMap")
SECRET = GroupKind("", "Secret")
SEALED_SECRET = GroupKind(DOMAIN, "SealedSecret")
EVENT = GroupKind("", "Event")
LEASE = GroupKind("coordination.k8s.io", "Lease")

LOCK = Ref(LEASE, "kube-system", "ktool")
"""The Lease of the active control plane."""
