"""A World kept up to date by watches: what every waiting command decides on. The same for both clients."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from ktool.api.errors import ApiError
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj
from ktool.api.ref import NODE, POD, GroupKind, Ref
from ktool.api.world import World

if TYPE_CHECKING:
    from ktool.registry.client import Client

Scope = tuple[GroupKind, str | None]
"""A kind, and a namespace or None for all (and for kinds of the cluster)."""


def scopes(kinds: Kinds, refs: Iterable[Ref]) -> list[Scope]:
    """What has to be watched to tell how far these objects are: their kinds, and below them every kind that their
    controllers watch and that makes progress of its own (Deployment: ReplicaSet, Pod). With Pods come the Nodes."""
    found: dict[Scope, None] = {}

    def add(gk: GroupKind, namespace: str) -> None:
        kind = kinds[gk]
        if kind.rules.redact is not None:
            return  # confidential: complete when it is written, and not read in passing
        scope = (gk, namespace if kind.namespaced and namespace else None)
        if scope in found:
            return
        found[scope] = None
        for watch in kind.controller.watches:
            below = kinds.get(watch.gk)
            if below is not None and below.controller.progress and below.namespaced:
                add(watch.gk, namespace)
        if gk == POD and NODE in kinds:
            found.setdefault((NODE, None))

    for ref in refs:
        add(ref.gk, ref.namespace)
    return list(found)


class Follower:
    """Lists once, then watches from there, one thread for each scope. `world` changes only inside `changes`."""

    def __init__(self, client: Client, scopes: Iterable[Scope]) -> None:
        self.world = World()
        self._client, self.kinds = client, client.kinds
        self._scopes = list(scopes)
        self._news: queue.SimpleQueue[tuple[str, Obj] | Exception] = queue.SimpleQueue()
        self._streams: list[object] = []
        self._stopped = threading.Event()

    def __enter__(self) -> Follower:
        for kind, namespace in self._scopes:
            listing = self._client.list(kind, namespace)
            for item in listing.items:
                self.world.set(item)
            thread = threading.Thread(
                target=self._watch, args=(kind, namespace, listing.resource_version), name=f"watch {kind}", daemon=True
            )
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        for stream in self._streams:
            close = getattr(stream, "close", None)
            try:
                if close:
                    close()
            except ValueError:  # A generator that is being waited on by its thread; its next event ends it.
                pass

    def changes(self, timeout: float | None) -> list[Ref]:
        """Wait for news (up to `timeout` seconds), take all there is into the world and say what it was about.
        Raises what a watch died of."""
        changed: dict[Ref, None] = {}
        try:
            news = self._news.get(timeout=timeout)
            while True:
                if isinstance(news, Exception):
                    raise news
                what, obj = news
                ref = Ref.of(obj)
                changed[ref] = None
                if what == "DELETED":
                    self.world.remove(ref)
                else:
                    self.world.set(obj)
                news = self._news.get_nowait()
        except queue.Empty:
            return list(changed)

    def _watch(self, kind: GroupKind, namespace: str | None, since: str) -> None:
        while not self._stopped.is_set():
            try:
                stream = self._client.watch(kind, namespace, since=since, timeout=300.0)
                self._streams.append(stream)
                for event in stream:
                    if self._stopped.is_set():
                        return
                    since = str((event.obj.get("metadata") or {}).get("resourceVersion") or since)
                    if event.type != "BOOKMARK":
                        self._news.put((event.type, event.obj))
            except ApiError as error:
                if error.code != 410:
                    self._report(error)
                    return
                since = self._again(kind, namespace)
            except Exception as error:
                self._report(error)
                return

    def _report(self, error: Exception) -> None:
        if not self._stopped.is_set():
            self._news.put(error)

    def _again(self, kind: GroupKind, namespace: str | None) -> str:
        """The history was compacted below us: list anew. Objects that are gone are found out by the diff."""
        listing = self._client.list(kind, namespace)
        present = {Ref.of(item) for item in listing.items}
        for gone in [obj for obj in self.world.list(kind, namespace) if Ref.of(obj) not in present]:
            self._news.put(("DELETED", gone))
        for item in listing.items:
            self._news.put(("MODIFIED", item))
        return listing.resource_version


def below(world: World, uid: str) -> list[Obj]:
    """Everything owned by an object, at any depth."""
    found, todo = [], [uid]
    while todo:
        for child in world.owned(todo.pop()):
            found.append(child)
            todo.append(child["metadata"]["uid"])
    return found
