"""Database setup: creating, opening and recognising a database, and bringing it to the current format. `Store` and
rekey call it.
"""

from __future__ import annotations

import os
import stat
import time
import uuid
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    delete,
    event,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from ktool.store.errors import StoreError
from ktool.store.migrations import FORMAT, migrate
from ktool.store.tables import META, TABLES

BUSY_SECONDS = 15.0
"""Seconds a writer waits for another process's lock."""


def connect(where: str | os.PathLike[str]) -> tuple[Engine, str]:
    """The SQLAlchemy engine for a path or a database URL, and the name that messages use for it. A missing file is
    created with mode 0600, a missing directory with 0700."""
    text = os.fspath(where)
    if "://" in text and not text.startswith("sqlite:"):
        return create_engine(text), make_url(text).render_as_string(hide_password=True)
    path = Path(make_url(text).database or "" if text.startswith("sqlite:") else text).absolute()
    _prepare(path)
    # A pool without an upper bound: a watch thread of the server must never wait for another one's connection.
    engine = create_engine(f"sqlite:///{path}", pool_size=8, max_overflow=-1, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine, str(path)


def _prepare(path: Path) -> None:
    """Create the file with mode 0600. An existing one is not opened here: closing a file drops every lock that this
    process has on it (fcntl(2)), those of another Store in it too."""
    try:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                path.chmod(0o600)
    except OSError as error:
        raise StoreError(f"the database {path} cannot be opened: {error.strerror or error}") from None


def _on_connect(connection: Any, _record: object) -> None:
    # The driver must not open transactions of its own: BEGIN and BEGIN IMMEDIATE are said here.
    connection.isolation_level = None
    cursor = connection.cursor()
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        _to_wal(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA journal_size_limit = 16777216")
    cursor.close()


def _to_wal(cursor: Any) -> None:
    """Switch to WAL with retries. SQLite does not wait for locks when it changes the journal mode, so two processes
    that create one file together have to wait here."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def ready(engine: Engine, where: str) -> str:
    """Create missing tables, check the format, migrate, and return the cluster id. StoreError for a database of a newer
    ktool."""
    with engine.connect() as connection:
        found = _read_meta(connection) if inspect(connection).has_table("meta") else {}
    if not found:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            TABLES.create_all(connection)
            found = _read_meta(connection)
            if not found:
                found = {"format": str(FORMAT), "cluster": str(uuid.uuid4()), "compacted": "0"}
                connection.execute(insert(META), [{"name": name, "value": value} for name, value in found.items()])
    if int(found["format"]) > FORMAT:
        raise StoreError(
            f"the database {where} was written by a newer ktool (format {found['format']}, this one reads up to "
            f"{FORMAT}): upgrade ktool"
        )
    if int(found["format"]) < FORMAT:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            migrate(connection, int(_read_meta(connection)["format"]), where)
    return found["cluster"]


def key_in_use(connection: Connection) -> str:
    """The id of the secret key in use; "" before the first confidential record."""
    return connection.execute(select(META.c.value).where(META.c.name == "key")).scalar() or ""


def use_key(connection: Connection, key_id: str) -> None:
    connection.execute(delete(META).where(META.c.name == "key"))
    connection.execute(insert(META), {"name": "key", "value": key_id})


def _read_meta(connection: Connection) -> dict[str, str]:
    try:
        return {row.name: row.value for row in connection.execute(select(META.c.name, META.c.value))}
    except OperationalError as error:
        if "no such table" in str(error):
            return {}
        raise
