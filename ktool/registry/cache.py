"""The cache, Kubernetes' informer: a World kept up to date by a watch of the store, and listeners to its changes.

The control plane's loops (control/, nodeplane/) read from it. It also follows what other processes commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ktool.api.errors import ApiError
from ktool.api.obj import Obj, meta, uid
from ktool.api.ref import Ref
from ktool.api.world import World
from ktool.store.store import Store

Listener = Callable[[str, Obj, Obj | None], None]
"""Called with ADDED, MODIFIED or DELETED, the object and its predecessor."""


class Cache:
    """List, then watch. `sync` takes in everything committed so far, so a planner that syncs before it plans sees its
    own writes. Readers hold `lock` while they read `world`; the objects in it never change."""

    def __init__(self, store: Store) -> None:
        self.lock = threading.RLock()
        self._store = store
        self._listeners: list[Listener] = []
        objects, revision = store.list("")
        self.world = World(objects)
        self._subscription = store.watch("", revision).poll_others()

    def listen(self, listener: Listener) -> None:
        """Hear of every change from now on, and of every object there is as ADDED."""
        with self.lock:
            for kind in self.world.kinds():
                for obj in self.world.list(kind):
                    listener("ADDED", obj, None)
            self._listeners.append(listener)

    def sync(self) -> None:
        with self.lock:
            try:
                for change in self._subscription.poll():
                    self._take(change.type, Ref.parse(change.key), change.obj)
            except ApiError:
                self._list_again()

    def _list_again(self) -> None:
        """The watch was closed because this process fell behind: tell the differences from a new list."""
        self._subscription.close()
        objects, revision = self._store.list("")
        self._subscription = self._store.watch("", revision).poll_others()
        present = {Ref.of(obj): obj for obj in objects}
        for kind in self.world.kinds():
            for obj in self.world.list(kind):
                if uid(obj) != uid(present.get(Ref.of(obj), {})):  # gone, or another one has its name
                    self._take("DELETED", Ref.of(obj), obj)
        for ref, obj in present.items():
            known = self.world.get(ref)
            if known is None:
                self._take("ADDED", ref, obj)
            elif meta(known).get("resourceVersion") != meta(obj).get("resourceVersion"):
                self._take("MODIFIED", ref, obj)

    def wait(self, timeout: float) -> bool:
        """Whether something was committed within the time; `sync` takes it in."""
        return self._subscription.wait(timeout)

    def close(self) -> None:
        self._subscription.close()

    def _take(self, type_: str, ref: Ref, obj: Obj) -> None:
        before = self.world.remove(ref) if type_ == "DELETED" else self.world.set(obj)
        for listener in self._listeners:
            listener(type_, obj, before)
