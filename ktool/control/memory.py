"""A transaction in memory: the objects of a World by storage key, as registry/request.Objects asks for them.

The rehearsal plays on it with the registry's own code. Nothing is undone where a verb refuses: a verb that refuses has
written nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from ktool.api.obj import Obj, put
from ktool.api.ref import CORE, GroupKind, Ref
from ktool.api.world import World


class Memory:
    """`world` is changed as the store would be. `revision` grows with every write."""

    def __init__(self, world: World) -> None:
        self.world, self.revision = world, 0

    def get(self, key: str) -> Obj | None:
        return self.world.get(Ref.parse(key))

    def list(self, prefix: str) -> list[Obj]:
        """By kind, and by kind and namespace: the prefixes that the registry lists."""
        group, kind, *within = prefix.rstrip("/").split("/")
        gk = GroupKind("" if group == CORE else group, kind)
        return sorted(self.world.list(gk, within[0] if within else None), key=lambda obj: Ref.of(obj).key)

    def prefetch(self, keys: Iterable[str]) -> None:
        """All of them are here."""

    def put(self, key: str, obj: Obj) -> Obj:
        self.revision += 1
        obj = put(obj, "metadata", "resourceVersion", f"rehearsed-{self.revision}")
        self.world.set(obj)
        return obj

    def remove(self, key: str) -> Obj | None:
        self.revision += 1
        return self.world.remove(Ref.parse(key))
