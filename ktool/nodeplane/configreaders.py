"""Index of ConfigMap and Secret readers: the nodes with a pod that reads one of them.

`nodes.Nodes` keeps it from the cache's changes and looks at those nodes when the object changes."""

from __future__ import annotations

from ktool.api.obj import Obj, namespace, uid
from ktool.api.pod import node_of
from ktool.logic.secrets.podrefs import reads

Key = tuple[str, str, str]


class ConfigReaders:
    """Index from ConfigMap or Secret to nodes, over the pods that are bound to one; what a Pod reads never changes in
    its life. Used under the cache's lock only."""

    def __init__(self) -> None:
        self._nodes: dict[Key, dict[str, str]] = {}

    def add(self, pod: Obj) -> None:
        node = node_of(pod)
        if node:
            for key in _keys(pod):
                self._nodes.setdefault(key, {})[uid(pod)] = node

    def remove(self, pod: Obj) -> None:
        for key in _keys(pod):
            pods = self._nodes.get(key, {})
            pods.pop(uid(pod), None)
            if not pods:
                self._nodes.pop(key, None)

    def nodes(self, kind: str, space: str, name: str) -> set[str]:
        """The nodes with a pod that reads this object."""
        return set(self._nodes.get((kind, space, name), {}).values())


def _keys(pod: Obj) -> list[Key]:
    return [(kind, namespace(pod), name) for kind, name in reads(pod.get("spec") or {})]
