"""Migrations: ordered steps that bring a database of an older format to the current one, in one transaction.

`schema.ready` calls them when a Store opens a database. A step works on rows and texts alone and needs no secret key,
so that a database whose key is lost can be opened too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Connection, Table, bindparam, not_, select, update
from sqlalchemy.sql.elements import ColumnElement

from ktool.store.errors import StoreError
from ktool.store.tables import HISTORY, META, OBJECTS

_GROUPS = {
    "apps": "Deployment ReplicaSet",
    "coordination.k8s.io": "Lease",
    "discovery.k8s.io": "EndpointSlice",
    "ktool.dev": "SealedSecret",
    "networking.k8s.io": "NetworkPolicy",
}
"""The kinds of format 1 that are not of the core group; their keys did not name it."""

_LOCK = "Lease/kube-system/ktool"
_HELD_SECONDS = 15.0
"""A Lease of format 1 that was renewed within this time has a living holder."""


def _keys_with_groups(connection: Connection, where: str) -> None:
    """Format 2: `Deployment/default/web` becomes `apps/Deployment/default/web`, `Pod/...` becomes `core/Pod/...`.

    Sealed records stay as they are: one of envelope version 1 is bound to its old key (sealing/seal)."""
    _refuse_while_held(connection, where)
    for table in (OBJECTS, HISTORY):
        named: list[ColumnElement[bool]] = []
        for group, kinds in _GROUPS.items():
            for kind in kinds.split():
                _prefixed(connection, table, group, _below(table, f"{kind}/"))
            named.append(_below(table, f"{group}/"))
        _prefixed(connection, table, "core", not_(named[0]), *(not_(one) for one in named[1:]))


def _below(table: Table, prefix: str) -> ColumnElement[bool]:
    return (table.c.key >= prefix) & (table.c.key < prefix[:-1] + chr(ord(prefix[-1]) + 1))


def _prefixed(connection: Connection, table: Table, group: str, *where: ColumnElement[bool]) -> None:
    connection.execute(
        update(table).where(*where).values(key=bindparam("group").concat(table.c.key)), {"group": f"{group}/"}
    )


def _refuse_while_held(connection: Connection, where: str) -> None:
    """StoreError while an older program holds the Lease: it would go on writing keys of the old format."""
    statement = select(HISTORY.c.body).join(OBJECTS, OBJECTS.c.rv == HISTORY.c.rv).where(OBJECTS.c.key == _LOCK)
    body = connection.execute(statement).scalar()
    spec = json.loads(body).get("spec") or {} if body else {}
    renewed = str(spec.get("renewTime") or "")
    if not spec.get("holderIdentity") or not renewed:
        return
    age = time.time() - datetime.fromisoformat(renewed.replace("Z", "+00:00")).timestamp()
    if age < _HELD_SECONDS:
        raise StoreError(
            f"the database {where} is in use by an older ktool ({spec['holderIdentity']}): end that one first; "
            "this ktool then brings the database to its own format"
        )


MIGRATIONS: Mapping[int, Callable[[Connection, str], None]] = {2: _keys_with_groups}
"""By the format that a step leads to. Every released format has a file in tests/store/formats that is opened."""

FORMAT = max(MIGRATIONS)
"""Raised when an older ktool could no longer read what a newer one wrote."""


def migrate(connection: Connection, found: int, where: str) -> None:
    """Migrate a database from format `found` to FORMAT. StoreError where an older program is using it."""
    for number in range(found + 1, FORMAT + 1):
        MIGRATIONS[number](connection, where)
    connection.execute(update(META).where(META.c.name == "format").values(value=str(FORMAT)))
