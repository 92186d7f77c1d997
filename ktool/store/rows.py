"""Row reads: current objects, key ranges and history, with a cache of parsed bodies. The store, transactions and rekey
use it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, select
from sqlalchemy.sql import Select

from ktool.api.masked import UNREADABLE
from ktool.api.obj import Obj
from ktool.api.ref import Ref
from ktool.store.errors import StoreError
from ktool.store.hub import Change
from ktool.store.sealing.seal import Seal
from ktool.store.tables import HISTORY, META, OBJECTS

CHUNK = 500
"""Keys in one IN list: below every database's limit on parameters."""

_previous = HISTORY.alias("previous")
_CURRENT = select(OBJECTS.c.key, OBJECTS.c.rv, HISTORY.c.body).join(HISTORY, HISTORY.c.rv == OBJECTS.c.rv)
_MANY = _CURRENT.where(OBJECTS.c.key.in_(bindparam("keys", expanding=True)))
_ONE = _CURRENT.where(OBJECTS.c.key == bindparam("one"))
_HEAD = select(func.coalesce(func.max(HISTORY.c.rv), 0))
_COMPACTED = select(META.c.value).where(META.c.name == "compacted")
_SINCE = (
    select(HISTORY.c.rv, HISTORY.c.key, HISTORY.c.type, HISTORY.c.prev, HISTORY.c.body, _previous.c.body.label("old"))
    .join(_previous, and_(_previous.c.rv == HISTORY.c.prev), isouter=True)
    .where(HISTORY.c.rv > bindparam("since"), HISTORY.c.rv <= bindparam("upto"))
    .order_by(HISTORY.c.rv)
)


def in_prefix(column: ColumnElement[str], prefix: str) -> list[ColumnElement[bool]]:
    """SQL conditions for a key prefix, as one range of the index."""
    if not prefix:
        return []
    return [column >= prefix, column < prefix[:-1] + chr(ord(prefix[-1]) + 1)]


class Rows:
    """Reads on a given connection. A revision's body never changes, so bodies this process has parsed or written are
    cached; only the database says which revision is current."""

    def __init__(self, where: str, seal: Seal | None = None, limit: int = 32_768) -> None:
        self._where, self._seal = where, seal
        self._limit = limit
        self._lock = threading.Lock()
        self._bodies: dict[int, Obj] = {}

    def head(self, connection: Connection) -> int:
        """The newest revision."""
        return int(connection.execute(_HEAD).scalar_one())

    def compacted(self, connection: Connection) -> int:
        """The compaction revision: the highest one whose history is gone."""
        return int(connection.execute(_COMPACTED).scalar_one())

    def many(self, connection: Connection, keys: Iterable[str]) -> dict[str, Obj]:
        """The objects at those of the keys that exist."""
        wanted = list(keys)
        if len(wanted) == 1:
            return {row[0]: self._body(*row) for row in connection.execute(_ONE, {"one": wanted[0]})}
        found: dict[str, Obj] = {}
        for at in range(0, len(wanted), CHUNK):
            for key, rv, body in connection.execute(_MANY, {"keys": wanted[at : at + CHUNK]}):
                found[key] = self._body(key, rv, body)
        return found

    def scan(self, connection: Connection, prefix: str) -> list[tuple[str, Obj]]:
        """The keys and objects under a prefix, in key order."""
        statement: Select[Any] = _CURRENT.where(*in_prefix(OBJECTS.c.key, prefix)).order_by(OBJECTS.c.key)
        return [(key, self._body(key, rv, body)) for key, rv, body in connection.execute(statement)]

    def since(self, connection: Connection, prefix: str, since: int, upto: int) -> list[Change]:
        """The changes after revision `since` up to `upto`, each with the object it replaced."""
        statement = _SINCE.where(*in_prefix(HISTORY.c.key, prefix))
        return [
            Change(
                kind, key, self._parsed(key, rv, body), rv, self._parsed(key, prev, old) if old is not None else None
            )
            for rv, key, kind, prev, body, old in connection.execute(statement, {"since": since, "upto": upto})
        ]

    def remember(self, changes: Iterable[Change]) -> None:
        """Add a committed body to the cache."""
        with self._lock:
            for change in changes:
                if change.before is not None:
                    self._bodies.pop(int(change.before["metadata"]["resourceVersion"]), None)
                if change.type != "DELETED":
                    self._bodies[change.rv] = change.obj
            self._shrink()

    def _body(self, key: str, rv: int, body: str) -> Obj:
        """The parsed body of a current revision, cached. One that could not be decrypted is not cached: its key may
        come back."""
        found = self._parsed(key, rv, body)
        if rv not in self._bodies and UNREADABLE not in found:
            with self._lock:
                self._bodies[rv] = found
                self._shrink()
        return found

    def _parsed(self, key: str, rv: int, body: str) -> Obj:
        found = self._bodies.get(rv)
        confidential = self._seal is not None and self._seal.covers(key)
        if found is not None and not (confidential and Ref.of(found).key != key):
            return found
        if self._seal is not None and confidential:
            return self._seal.opened(key, rv, body)
        try:
            parsed: Obj = json.loads(body)
        except ValueError:
            raise StoreError(
                f"the database {self._where} is damaged (revision {rv} is no JSON): restore it from a copy"
            ) from None
        return parsed

    def _shrink(self) -> None:
        while len(self._bodies) > self._limit:
            del self._bodies[next(iter(self._bodies))]
