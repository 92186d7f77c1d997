"""Key rotation: re-encrypts all confidential records under a new secret key in one transaction that may be killed at
any moment.

`Store.rekey` calls it. The key file holds both keys from before the transaction until after it, and the database says
which one is in use. The key file is changed only inside write transactions, so two rotations cannot take each other's
key away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, bindparam, select, update

from ktool.api.errors import ApiError
from ktool.api.masked import UNREADABLE
from ktool.store.rows import in_prefix
from ktool.store.schema import BUSY_SECONDS, key_in_use, use_key
from ktool.store.sealing.keyring import Entry, KeyRing
from ktool.store.sealing.seal import Seal
from ktool.store.tables import HISTORY, OBJECTS

_UPDATE = update(HISTORY).where(HISTORY.c.rv == bindparam("at")).values(body=bindparam("body"))


def rekey(connection: Connection, seal: Seal, entry: Entry) -> int:
    """Re-encrypt every confidential record with the key of `entry`; returns the number of records. Raises ApiError
    where a current one cannot be decrypted: then nothing has changed."""
    with _durable(connection):
        with connection.begin():
            in_use = key_in_use(connection)
            if entry.id == in_use:
                raise ApiError(409, "Conflict", f"the new secret key is the one in use, {in_use}")
            seal.ring.write([*(one for one in seal.ring.entries() if one.id == in_use), entry])
            records = list(_rewritten(connection, seal, entry.id))
            if records:
                connection.execute(_UPDATE, records)
            use_key(connection, entry.id)
        with connection.begin():
            _forget_others(connection, seal.ring)
    return len(records)


def _rewritten(connection: Connection, seal: Seal, key_id: str) -> Iterator[dict[str, object]]:
    """The re-encrypted records. An old revision that cannot be decrypted is left as it is."""
    problems = []
    for prefix in seal.prefixes:
        current = set(connection.execute(select(OBJECTS.c.rv).where(*in_prefix(OBJECTS.c.key, prefix))).scalars())
        records = select(HISTORY.c.rv, HISTORY.c.key, HISTORY.c.body).where(*in_prefix(HISTORY.c.key, prefix))
        for rv, key, body in connection.execute(records):
            obj = seal.opened(key, rv, body)
            if UNREADABLE not in obj:
                yield {"at": rv, "body": seal.sealed(key, obj, key_id)}
            elif rv in current:
                problems.append(str(obj[UNREADABLE]))
    if problems:
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        raise ApiError(500, "InternalError", f"nothing was changed, the old key stays: {problems[0]}{more}")


def _forget_others(connection: Connection, ring: KeyRing) -> None:
    """Remove keys that no record uses any more from the file."""
    entries = ring.entries()
    kept = [entry for entry in entries if entry.id == key_in_use(connection)]
    if kept and len(kept) < len(entries):
        ring.write(kept)


@contextmanager
def _durable(connection: Connection) -> Iterator[None]:
    """Full durability for the commits inside: the old key is dropped as soon as they report success. Replaced records
    are overwritten with zeros, and leave SQLite's log at once where no other process is reading."""
    if connection.dialect.name != "sqlite":
        yield
        return
    cursor = connection.connection.cursor()
    try:
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA secure_delete = ON")
        yield
        cursor.execute("PRAGMA busy_timeout = 500")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        cursor.execute("PRAGMA secure_delete = OFF")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()
