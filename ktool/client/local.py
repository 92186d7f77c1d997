"""LocalClient: the client without a server, on the Registry in this process. app.py makes it for commands."""

from __future__ import annotations

import builtins
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ktool import __version__
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj
from ktool.api.ref import GroupKind, Ref
from ktool.node.base import ExecStream, LogOptions
from ktool.nodeplane.podstreams import Backend, open_exec, open_logs
from ktool.registry import apply as applying
from ktool.registry.client import Applied, ClientError, Listing, LogRequest, WatchEvent
from ktool.registry.registry import Registry
from ktool.store.errors import StoreError

_LOOK_SECONDS = 0.5
"""Seconds between a waiting watch's checks for `close`."""


@contextmanager
def _plainly() -> Iterator[None]:
    """Turn a StoreError into ClientError: a failing database is a control plane that cannot be reached."""
    try:
        yield
    except StoreError as error:
        raise ClientError(str(error)) from error


class LocalClient:
    """Implements registry/client.Client on a Registry. Returned objects are shared and must not be changed in place."""

    def __init__(self, registry: Registry, backend: Backend) -> None:
        self._registry, self._backend = registry, backend

    @property
    def kinds(self) -> Kinds:
        return self._registry.kinds

    def get(self, ref: Ref, *, version: str = "") -> Obj:
        with _plainly():
            return self._shown(self._registry.get(ref), version)

    def list(
        self, gk: GroupKind, namespace: str | None = None, *, labels: str = "", fields: str = "", version: str = ""
    ) -> Listing:
        with _plainly():
            items, revision = self._registry.list(gk, namespace, labels, fields)
        return Listing([self._shown(item, version) for item in items] if version else items, revision)

    def _shown(self, obj: Obj, version: str) -> Obj:
        """A stored object in a version; as it is where none is named."""
        return self.kinds[GroupKind.of(obj)].shown(obj, version) if version else obj

    def watch(
        self,
        gk: GroupKind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        since: str = "",
        timeout: float | None = None,
        version: str = "",
    ) -> LocalWatch:
        with _plainly():
            found = self._registry.watch(gk, namespace, labels, fields, since, timeout, bookmark_every=_LOOK_SECONDS)
        return LocalWatch(found, lambda obj: self._shown(obj, version))

    def create(self, obj: Obj, *, dry_run: bool = False) -> Obj:
        with _plainly():
            made = self._registry.create(obj, dry_run)
        return self._shown(made, self.kinds[GroupKind.of(made)].version_of(obj))

    def update(self, obj: Obj, *, subresource: str = "", dry_run: bool = False) -> Obj:
        with _plainly():
            changed = self._registry.update(obj, subresource, dry_run)
        if subresource == "scale":
            return changed
        return self._shown(changed, self.kinds[GroupKind.of(changed)].version_of(obj))

    def patch(
        self, ref: Ref, patch: object, *, type: str = "merge", subresource: str = "", dry_run: bool = False
    ) -> Obj:
        with _plainly():
            return self._registry.patch(ref, patch, type, subresource, dry_run)

    def delete(
        self,
        ref: Ref,
        *,
        grace: int | None = None,
        propagation: str = "Background",
        uid: str = "",
        dry_run: bool = False,
    ) -> Obj:
        with _plainly():
            return self._registry.delete(ref, grace, propagation, uid, dry_run)

    def apply(self, objects: Sequence[Obj], *, dry_run: bool = False, strict: bool = False) -> builtins.list[Applied]:
        with _plainly():
            done = applying.apply(self._registry, objects, dry_run=dry_run, strict=strict)
        return [Applied(*one) for one in done]

    def logs(self, pod: Ref, request: LogRequest) -> Iterator[bytes]:
        options = LogOptions(
            follow=request.follow,
            previous=request.previous,
            tail=request.tail,
            since=time.time() - request.since if request.since else 0.0,
            timestamps=request.timestamps,
        )
        with _plainly():
            return open_logs(self._registry, self._backend, pod, request.container, options)

    def exec(self, pod: Ref, container: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> ExecStream:
        with _plainly():
            return open_exec(self._registry, self._backend, pod, container, argv, stdin=stdin, tty=tty)

    def version(self) -> dict[str, str]:
        return {
            "gitVersion": f"v{__version__}",
            "platform": f"{platform.system().lower()}/{platform.machine()}",
            "where": "this process",
            "cluster": self._registry.store.cluster_id,
        }

    def close(self) -> None:
        """Does nothing: the caller owns the registry."""


class LocalWatch:
    """The events of a watch from its creation on. `close` ends it from any thread, within half a second."""

    def __init__(self, found: Iterator[tuple[str, Obj]], shown: Callable[[Obj], Obj]) -> None:
        self._closed = threading.Event()
        self._events = self._read(found, shown)

    def __iter__(self) -> Iterator[WatchEvent]:
        return self

    def __next__(self) -> WatchEvent:
        return next(self._events)

    def close(self) -> None:
        self._closed.set()

    def _read(self, found: Iterator[tuple[str, Obj]], shown: Callable[[Obj], Obj]) -> Iterator[WatchEvent]:
        """The events. A bookmark only serves as a moment to check for `close`."""
        with _plainly():
            for type_, obj in found:
                if self._closed.is_set():
                    return
                if type_ != "BOOKMARK":
                    yield WatchEvent(type_, shown(obj))
