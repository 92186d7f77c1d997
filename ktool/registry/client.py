"""Client protocol: the verbs that commands call.

Two implementations: client/http (a server) and client/local (the registry in this process). One contract suite
(tests/contract) runs on both.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ktool.api.kinds import Kinds
from ktool.api.obj import Obj
from ktool.api.ref import GroupKind, Ref


@dataclass(frozen=True)
class Applied:
    """What `apply` did with one object: created, configured or unchanged; `warnings` name fields not acted on."""

    ref: Ref
    outcome: str
    obj: Obj
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class WatchEvent:
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    obj: Obj


@dataclass(frozen=True)
class Listing:
    items: list[Obj]
    resource_version: str


class ExecSession(Protocol):
    """One running exec; the same shape as node.base.ExecStream."""

    def send(self, data: bytes) -> None: ...
    def close_stdin(self) -> None: ...
    def resize(self, rows: int, columns: int) -> None: ...
    def frames(self) -> Iterator[tuple[int, bytes]]: ...
    def wait(self) -> int: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class LogRequest:
    """Query of the log subresource (core/v1 PodLogOptions). `since` in seconds before now; `tail` -1 is everything."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    tail: int = -1
    since: int = 0
    timestamps: bool = False


class Client(Protocol):
    """Every method raises ktool.api.errors.ApiError for a refusal and ClientError where no answer came."""

    @property
    def kinds(self) -> Kinds:
        """The kinds that this client can ask for."""

    def get(self, ref: Ref, *, version: str = "") -> Obj:
        """The object in one of its kind's versions; in the stored one (for a kind that this program was not built
        with, the preferred one) where none is named. So with `list` and `watch`."""

    def list(
        self, gk: GroupKind, namespace: str | None = None, *, labels: str = "", fields: str = "", version: str = ""
    ) -> Listing:
        """`namespace` None is all of them; `labels` and `fields` are selectors as users write them."""

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
    ) -> Iterator[WatchEvent]:
        """Changes after resourceVersion `since` ("" begins with an ADDED for each existing object), until closed or
        `timeout` seconds have passed."""

    def create(self, obj: Obj, *, dry_run: bool = False) -> Obj: ...

    def update(self, obj: Obj, *, subresource: str = "", dry_run: bool = False) -> Obj: ...

    def patch(
        self, ref: Ref, patch: object, *, type: str = "merge", subresource: str = "", dry_run: bool = False
    ) -> Obj:
        """`type` is merge (RFC 7386), json (RFC 6902) or strategic."""

    def delete(
        self,
        ref: Ref,
        *,
        grace: int | None = None,
        propagation: str = "Background",
        uid: str = "",
        dry_run: bool = False,
    ) -> Obj:
        """`propagation` is Background, Foreground or Orphan. Returns the object as it was when deletion was asked."""

    def apply(self, objects: Sequence[Obj], *, dry_run: bool = False, strict: bool = False) -> builtins.list[Applied]:
        """Create or three-way merge all of them in one transaction: all or nothing. Raises ApiError with every cause
        of every object (Cause.field begins with `[index].`) where any is refused."""

    def logs(self, pod: Ref, request: LogRequest) -> Iterator[bytes]: ...

    def exec(self, pod: Ref, container: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> ExecSession: ...

    def version(self) -> dict[str, str]:
        """The server's own version, where it runs, and the id of its cluster."""

    def close(self) -> None: ...


class ClientError(Exception):
    """The control plane could not be asked: one plain sentence."""
