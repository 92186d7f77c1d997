"""Requests: who asks (Actor) for what (Attributes), and the transaction in which it is done.

Made by the registry's methods and verbs; read by authorization, admission and whoever observes writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, Protocol

from ktool.api.obj import Obj
from ktool.api.ref import GroupKind, Ref

MASTERS = "system:masters"
"""Kubernetes' group of those who may do everything."""


@dataclass(frozen=True)
class Actor:
    """A user as authentication found it (authentication/v1 UserInfo), and the field manager that writes for it."""

    user: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    manager: str = ""

    def managing(self, manager: str) -> Actor:
        """The same user through another program."""
        return replace(self, manager=manager)


@lru_cache(maxsize=256)
def component(name: str) -> Actor:
    """A part of the control plane: controllers, the scheduler, node loops, the garbage collector."""
    return Actor(f"system:{name}", (MASTERS,), manager=name)


LOCAL = Actor("system:admin", (MASTERS, "system:authenticated"), manager="ktool")
"""Whoever may open the database or the local socket: its owner."""

APISERVER = component("apiserver")


class Attributes(NamedTuple):
    """What is asked for (authorization/v1 ResourceAttributes): a verb of the API on an object, or on a kind where
    `name` is "". `namespace` "" is the cluster, or all namespaces for list and watch."""

    verb: str
    gk: GroupKind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def ref(self) -> Ref:
        return Ref(self.gk, self.namespace, self.name)


class Record(NamedTuple):
    """One write as it was done. `old` is None for a new object, `new` is None for one that was removed."""

    actor: Actor
    attributes: Attributes
    old: Obj | None
    new: Obj | None


class Objects(Protocol):
    """The objects of one transaction by storage key, with its own writes in them. There are two: the database's
    (store/transaction) and one in memory (control/rehearsal)."""

    def get(self, key: str) -> Obj | None: ...

    def list(self, prefix: str) -> list[Obj]: ...

    def prefetch(self, keys: Iterable[str]) -> None: ...

    def put(self, key: str, obj: Obj) -> Obj:
        """Write it and give it back with its new resourceVersion."""

    def remove(self, key: str) -> Obj | None:
        """Remove it and give back what it was last; None where there is none."""
