"""Store: objects by key, one global revision, a bounded history, and watches. registry/ and control/lease use it.

It knows keys and JSON, no kind. Any number of threads and processes may use one database.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from ktool.api.errors import expired
from ktool.api.obj import Obj
from ktool.store.errors import StoreError, explained
from ktool.store.hub import Change, Hub, Subscription
from ktool.store.rows import Rows
from ktool.store.schema import connect, key_in_use, ready
from ktool.store.sealing.rekey import rekey
from ktool.store.sealing.seal import Seal
from ktool.store.tables import HISTORY, META
from ktool.store.transaction import Transaction

__all__ = ["Change", "Store", "StoreError", "Subscription", "Transaction"]

_IN_STEP = (HISTORY.c.rv > bindparam("old"), HISTORY.c.rv <= bindparam("new"))
_SUPERSEDED = delete(HISTORY).where(HISTORY.c.rv.in_(select(HISTORY.c.prev).where(*_IN_STEP, HISTORY.c.prev > 0)))
_REMOVED = delete(HISTORY).where(*_IN_STEP, HISTORY.c.type == "DELETED")
_COMPACTED = update(META).where(META.c.name == "compacted").values(value=bindparam("upto"))


class Store:
    """Opens the database at a path (created where it is missing) or at a URL.

    `keep`: how many of the newest revisions a watch can start from. `backlog`: how many changes a watcher may leave
    unread before it is expired. `seal` encrypts confidential members; without it everything is written in the clear.
    Every method raises StoreError where the database cannot be used.
    """

    def __init__(
        self,
        where: str | os.PathLike[str],
        *,
        keep: int = 10_000,
        backlog: int = 20_000,
        seal: Seal | None = None,
    ) -> None:
        self._keep, self._backlog = keep, backlog
        self._writer = threading.Lock()
        self._writing = 0
        self._hub = Hub()
        self._engine, self.where = connect(where)
        self._seal = seal
        self._rows = Rows(self.where, seal)
        with self._plainly():
            self.cluster_id = ready(self._engine, self.where)
            with self._reading() as connection:
                self._floor = self._rows.compacted(connection)

    def close(self) -> None:
        """Close all subscriptions and connections."""
        self._hub.close()
        self._engine.dispose()

    # --- reading

    def get(self, key: str) -> Obj | None:
        """The object at a key, or None. It is shared: do not change it in place."""
        return self.get_many((key,)).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, Obj]:
        """The objects at those of the keys that exist, from one snapshot."""
        with self._plainly(), self._reading() as connection:
            return self._rows.many(connection, keys)

    def list(self, prefix: str) -> tuple[list[Obj], int]:
        """The objects under a prefix in key order, and the revision of that snapshot."""
        with self._plainly(), self._reading() as connection:
            head = self._rows.head(connection)
            return [obj for _, obj in self._rows.scan(connection, prefix)], head

    def head(self) -> int:
        """The newest revision."""
        with self._plainly(), self._reading() as connection:
            return self._rows.head(connection)

    # --- writing

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A write transaction: an exception inside rolls it back. Serialized within this process by a lock and between
        processes by SQLite's own. Watchers have the changes when this returns."""
        if self._writing == threading.get_ident():
            raise RuntimeError("a transaction was begun inside another one of the same thread")
        with self._writer, self._plainly(), self._connected(writes=True) as connection:
            self._writing = threading.get_ident()
            try:
                yield from self._transacted(connection)
            finally:
                self._writing = 0

    def _transacted(self, connection: Connection) -> Iterator[Transaction]:
        with connection.begin():
            head = self._rows.head(connection)
            if self._hub:
                self._deliver(connection, head)
            transaction = Transaction(connection, head, self._rows.many, self._rows.scan, self._seal)
            yield transaction
            changes = transaction.flush()
            if changes and changes[-1].rv - self._floor > self._keep + self._keep // 10:
                self._compact(connection, changes[-1].rv - self._keep)
        self._rows.remember(changes)
        self._hub.publish(changes)

    def _compact(self, connection: Connection, upto: int) -> None:
        """Delete the history up to a revision, except current bodies. Costs what was written since the last time; runs
        once in a thousand revisions or so."""
        old = self._rows.compacted(connection)
        if upto > old:
            connection.execute(_SUPERSEDED, {"old": old, "new": upto})
            connection.execute(_REMOVED, {"old": old, "new": upto})
            connection.execute(_COMPACTED, {"upto": str(upto)})
        self._floor = max(old, upto)

    # --- the secret key

    def key_in_use(self) -> str:
        """The id of the secret key in use; "" before the first confidential record."""
        with self._plainly(), self._reading() as connection:
            return key_in_use(connection)

    def rekey(self, source: str, argv: Sequence[str] = ()) -> tuple[str, int]:
        """Rotate the secret key: re-encrypt every confidential record and forget the old key. Returns the id of the new
        key and the number of records. One transaction: a kill inside it changes nothing.

        Raises ApiError where a key is not available or a record cannot be decrypted; nothing has changed then.
        """
        assert self._seal is not None
        ring, in_use = self._seal.ring, self.key_in_use()
        if in_use:
            ring.key(in_use)  # a person may be asked for a passphrase, and nobody should have to wait for that
        entry = ring.made(source, argv, anew=bool(in_use))
        with self._writer, self._plainly(), self._connected(writes=True) as connection:
            return entry.id, rekey(connection, self._seal, entry)

    # --- watching

    def watch(self, prefix: str, since: int) -> Subscription:
        """Watch `prefix` from revision `since` on: first the history, then live changes.

        Raises ApiError 410 where the history after `since` was compacted, or `since` lies in the future.
        """
        subscription = Subscription(prefix, self._backlog, self._hub.remove, self._look)
        self._hub.add(subscription, self.head())
        try:
            with self._plainly(), self._reading() as connection:
                head = self._rows.head(connection)
                if not self._rows.compacted(connection) <= since <= head:
                    raise expired()
                subscription.start(self._rows.since(connection, prefix, since, head), head)
        except BaseException:
            subscription.close()
            raise
        return subscription

    def _look(self) -> None:
        """Publish the commits of other processes."""
        if self.head() > self._hub.delivered:
            with self._writer, self._plainly(), self._reading() as connection:
                self._deliver(connection, self._rows.head(connection))

    def _deliver(self, connection: Connection, head: int) -> None:
        delivered = self._hub.delivered
        if head <= delivered:
            return
        if self._rows.compacted(connection) > delivered:
            self._hub.expire(head)
        else:
            self._hub.publish(self._rows.since(connection, "", delivered, head))
            self._hub.delivered = head

    # --- connections

    @contextmanager
    def _connected(self, writes: bool = False) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            yield connection.execution_options(writes=writes)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection in a read transaction: all statements see one snapshot."""
        with self._connected() as connection, connection.begin():
            yield connection

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise explained(error, self.where) from error
