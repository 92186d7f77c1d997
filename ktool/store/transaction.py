"""Write transaction: reads see its own writes, revisions are assigned in it, and rows are written when it ends.

`Store.transaction` makes it for the writes of registry/ and control/lease.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from ktool.api.errors import already_exists, bad_request, conflict
from ktool.api.masked import UNREADABLE
from ktool.api.obj import Obj, meta
from ktool.api.ref import Ref
from ktool.store.hub import Change
from ktool.store.rows import in_prefix
from ktool.store.schema import key_in_use, use_key
from ktool.store.sealing.seal import Seal
from ktool.store.tables import HISTORY, OBJECTS

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False).encode

_INSERT = insert(OBJECTS)
_UPDATE = update(OBJECTS).where(OBJECTS.c.key == bindparam("at")).values(rv=bindparam("rv"))
_DELETE = delete(OBJECTS).where(OBJECTS.c.key == bindparam("at"))


@dataclass(frozen=True)
class _Write:
    change: Change
    prev: int
    body: str


class Transaction:
    """Made by Store.transaction. Several writes of one key become one revision: no watcher could have seen the
    others."""

    def __init__(
        self,
        connection: Connection,
        head: int,
        read: Callable[[Connection, Iterable[str]], dict[str, Obj]],
        scan: Callable[[Connection, str], list[tuple[str, Obj]]],
        seal: Seal | None = None,
    ) -> None:
        self._connection = connection
        self._next = head
        self._read = read
        self._scan = scan
        self._seal = seal
        self._key_id, self._key_is_new = "", False
        self._stored: dict[str, Obj | None] = {}
        self._log: dict[int, _Write] = {}
        self._last: dict[str, _Write] = {}
        self.discarded = False

    # --- reading

    def get(self, key: str) -> Obj | None:
        """The object as of this transaction's own writes, or None. It must not be changed in place."""
        write = self._last.get(key)
        if write is not None:
            return None if write.change.type == "DELETED" else write.change.obj
        return self._before(key)

    def prefetch(self, keys: Iterable[str]) -> None:
        """Read many objects with one statement, so that `get` and `put` find them in memory."""
        missing = [key for key in dict.fromkeys(keys) if key not in self._stored]
        if missing:
            found = self._read(self._connection, missing)
            for key in missing:
                self._stored[key] = found.get(key)

    def list(self, prefix: str) -> list[Obj]:
        """The objects whose key begins with `prefix`, in the order of their keys."""
        found = dict(self._scan(self._connection, prefix))
        self._stored.update(found)
        for key, write in self._last.items():
            if key.startswith(prefix):
                if write.change.type == "DELETED":
                    found.pop(key, None)
                else:
                    found[key] = write.change.obj
        return [found[key] for key in sorted(found)]

    def oldest(self, prefix: str, limit: int) -> Sequence[str]:
        """The keys under `prefix` that were written longest ago, without those that this transaction touched."""
        statement = select(OBJECTS.c.key).where(*in_prefix(OBJECTS.c.key, prefix)).order_by(OBJECTS.c.rv).limit(limit)
        return [key for key in self._connection.execute(statement).scalars() if key not in self._last]

    def _before(self, key: str) -> Obj | None:
        if key not in self._stored:
            self.prefetch((key,))
        return self._stored[key]

    # --- writing

    def put(self, key: str, obj: Obj, expect: int | str | None = None) -> Obj:
        """Write an object and return it with its new metadata.resourceVersion. `expect` is the revision that the stored
        object must have, 0 for no stored object.

        Raises ApiError 409 on a mismatch, and 400 for an object that is not JSON.
        """
        current = self.get(key)
        if expect is not None:
            _check(key, current, int(expect))
        rv = self._next + 1
        obj = {**obj, "metadata": {**(obj.get("metadata") or {}), "resourceVersion": str(rv)}}
        try:
            body = self._text(key, obj)
        except (ValueError, TypeError, RecursionError) as error:
            raise bad_request(f"{Ref.parse(key)} cannot be written as JSON: {error}") from None
        last = self._last.get(key)
        if last is None:
            before = self._before(key)
        elif last.change.type == "DELETED":
            before = None
        else:
            before = last.change.before
            del self._log[last.change.rv]
        self._record(Change("MODIFIED" if before is not None else "ADDED", key, obj, rv, before), body)
        return obj

    def remove(self, key: str) -> Obj | None:
        """Remove an object and return its last state with the revision of the removal; None where there is none."""
        current = self.get(key)
        if current is None:
            return None
        last = self._last.get(key)
        if last is not None:
            del self._log[last.change.rv]
            if last.change.before is None:
                self._forget(key)
                return current
        rv = self._next + 1
        obj = {**current, "metadata": {**meta(current), "resourceVersion": str(rv)}}
        before = self._before(key) if last is None else last.change.before
        body = _encode(obj) if UNREADABLE in obj else self._text(key, obj)
        self._record(Change("DELETED", key, obj, rv, before), body)
        return obj

    def _text(self, key: str, obj: Obj) -> str:
        """The body as written: sealed where it is confidential. ApiError where the secret key is not available."""
        if self._seal is None or self.discarded or not self._seal.covers(key):
            return _encode(obj)
        if not self._key_id:
            self._key_id = key_in_use(self._connection)
            if not self._key_id:
                self._key_id, self._key_is_new = self._seal.ring.first(), True
        return self._seal.sealed(key, obj, self._key_id)

    def discard(self) -> None:
        """Roll back when the transaction ends: for dry runs."""
        self.discarded = True

    def _record(self, change: Change, body: str) -> None:
        self._next = change.rv
        prev = int(meta(change.before)["resourceVersion"]) if change.before is not None else 0
        self._log[change.rv] = self._last[change.key] = _Write(change, prev, body)

    def _forget(self, key: str) -> None:
        """Drop an object that was created and removed in this transaction; the object it replaced is still removed."""
        removed = [write for write in self._log.values() if write.change.key == key]
        if removed:
            self._last[key] = removed[-1]
        else:
            del self._last[key]

    # --- ending

    def flush(self) -> Sequence[Change]:
        """Write everything to the database and return the changes in revision order."""
        if self.discarded or not self._log:
            return []
        run = self._connection.execute
        if self._key_is_new:
            use_key(self._connection, self._key_id)
        run(
            insert(HISTORY),
            [
                {"rv": w.change.rv, "key": w.change.key, "type": w.change.type, "prev": w.prev, "body": w.body}
                for w in self._log.values()
            ],
        )
        added, moved, removed = [], [], []
        for key, write in self._last.items():
            if write.change.type == "DELETED":
                removed.append({"at": key})
            elif self._stored.get(key) is None:
                added.append({"key": key, "rv": write.change.rv})
            else:
                moved.append({"at": key, "rv": write.change.rv})
        for statement, rows in ((_INSERT, added), (_UPDATE, moved), (_DELETE, removed)):
            if rows:
                run(statement, rows)
        return [write.change for write in self._log.values()]


def _check(key: str, current: Obj | None, expect: int) -> None:
    ref = Ref.parse(key)
    if expect == 0:
        if current is not None:
            raise already_exists(ref.kind, ref.name)
    elif current is None or int(meta(current)["resourceVersion"]) != expect:
        raise conflict(ref.kind, ref.name)
