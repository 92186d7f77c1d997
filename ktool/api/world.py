"""World: the indexed view of all objects that planners read.

registry/cache feeds it from the watch; control/, nodeplane/ and follow/ read it; tests build it from a list. Planners
never write to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ktool.api.obj import Obj, controller_of, get, meta
from ktool.api.ref import POD, GroupKind, Ref

Objects = list[Obj]


class World:
    """Objects by Ref, with indexes by kind and namespace, by owner, and (for Pods) by node."""

    def __init__(self, objects: Iterable[Obj] = ()) -> None:
        self._kinds: dict[GroupKind, dict[Ref, Obj]] = {}
        self._namespaces: dict[tuple[GroupKind, str], dict[Ref, Obj]] = {}
        self._owned: dict[str, dict[Ref, Obj]] = {}
        self._on_node: dict[str, dict[Ref, Obj]] = {}
        self._ownerless: dict[tuple[GroupKind, str], dict[Ref, Obj]] = {}
        self._controlled: dict[str, dict[Ref, Obj]] = {}
        for obj in objects:
            self.set(obj)

    # --- reading

    def get(self, ref: Ref) -> Obj | None:
        return self._kinds.get(ref.gk, {}).get(ref)

    def list(
        self, kind: GroupKind, namespace: str | None = None, where: Callable[[Mapping[str, str]], bool] | None = None
    ) -> Objects:
        """The objects of a kind, in one namespace or in all. `where` is a predicate on their labels (see
        api/selector)."""
        found = self._kinds.get(kind, {}) if namespace is None else self._namespaces.get((kind, namespace), {})
        if where is None:
            return list(found.values())
        return [obj for obj in found.values() if where(meta(obj).get("labels") or {})]

    def owned(self, uid: str, kind: GroupKind | None = None) -> Objects:
        """The objects with an ownerReference to `uid`, of one kind or of all kinds."""
        return [obj for ref, obj in self._owned.get(uid, {}).items() if kind is None or ref.gk == kind]

    def controlled(self, uid: str, kind: GroupKind) -> Objects:
        """The objects of a kind whose controller is `uid`."""
        return [obj for ref, obj in self._controlled.get(uid, {}).items() if ref.gk == kind]

    def ownerless(self, kind: GroupKind, namespace: str) -> Objects:
        """The orphans of a kind: objects without a controller, candidates for adoption."""
        return list(self._ownerless.get((kind, namespace), {}).values())

    def on_node(self, node: str) -> Objects:
        """The Pods bound to a node (spec.nodeName)."""
        return list(self._on_node.get(node, {}).values())

    def count(self, kind: GroupKind) -> int:
        return len(self._kinds.get(kind, {}))

    def kinds(self) -> Iterator[GroupKind]:
        return iter([kind for kind, objects in self._kinds.items() if objects])

    # --- feeding: for the cache and for tests

    def set(self, obj: Obj) -> Obj | None:
        """Insert or replace an object. Returns the one it replaces."""
        ref = Ref.of(obj)
        before = self._kinds.setdefault(ref.gk, {}).get(ref)
        if before is not None:
            self._unindex(ref, before)
        self._kinds[ref.gk][ref] = obj
        self._namespaces.setdefault((ref.gk, ref.namespace), {})[ref] = obj
        for reference in meta(obj).get("ownerReferences") or ():
            self._owned.setdefault(reference["uid"], {})[ref] = obj
        controller = controller_of(obj)
        if controller is None:
            self._ownerless.setdefault((ref.gk, ref.namespace), {})[ref] = obj
        else:
            self._controlled.setdefault(controller["uid"], {})[ref] = obj
        if ref.gk == POD and (node := get(obj, "spec", "nodeName")):
            self._on_node.setdefault(node, {})[ref] = obj
        return before

    def remove(self, ref: Ref) -> Obj | None:
        """Remove an object and return it."""
        before = self._kinds.get(ref.gk, {}).pop(ref, None)
        if before is not None:
            self._namespaces.get((ref.gk, ref.namespace), {}).pop(ref, None)
            self._unindex(ref, before)
        return before

    def _unindex(self, ref: Ref, before: Obj) -> None:
        for reference in meta(before).get("ownerReferences") or ():
            self._drop(self._owned, reference["uid"], ref)
        controller = controller_of(before)
        if controller is None:
            self._ownerless.get((ref.gk, ref.namespace), {}).pop(ref, None)
        else:
            self._drop(self._controlled, controller["uid"], ref)
        if ref.gk == POD and (node := get(before, "spec", "nodeName")):
            self._drop(self._on_node, node, ref)

    @staticmethod
    def _drop(index: dict[str, dict[Ref, Obj]], key: str, ref: Ref) -> None:
        entries = index.get(key)
        if entries is not None:
            entries.pop(ref, None)
            if not entries:
                del index[key]
