"""Every released format opens: the files in `formats/` were written by the programs of their time (formats/make.sh)."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktool.api.masked import UNREADABLE
from ktool.api.obj import get, micro_timestamp
from ktool.api.ref import NODE, POD, SECRET, GroupKind, Ref
from ktool.store.errors import StoreError
from ktool.store.migrations import FORMAT, MIGRATIONS
from ktool.store.sealing.keyring import KeyRing
from ktool.store.sealing.seal import Seal
from ktool.store.store import Store

FORMATS = Path(__file__).with_name("formats")
MEMBERS = {SECRET.prefix: ("data", "stringData")}
LOGIN = Ref(SECRET, "shop", "login")
PASSWORD = "Y2FuYXJ5LW9mLWZvcm1hdA=="


@pytest.fixture(params=range(1, FORMAT))
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A state directory as a program of that format left it."""
    with sqlite3.connect(tmp_path / "ktool.db") as connection:
        connection.executescript((FORMATS / f"format-{request.param}.sql").read_text())
    shutil.copy(FORMATS / f"format-{request.param}.key", tmp_path / "secret.key")
    (tmp_path / "secret.key").chmod(0o600)
    return tmp_path


@contextmanager
def opened(home: Path) -> Iterator[Store]:
    store = Store(home / "ktool.db", seal=Seal(KeyRing(home / "secret.key", {}), MEMBERS))
    try:
        yield store
    finally:
        store.close()


def rows(home: Path, statement: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(home / "ktool.db") as connection:
        return connection.execute(statement).fetchall()


def edit_lock(home: Path, **spec: str) -> None:
    ((rv, body),) = rows(home, "select rv, body from history join objects using (rv) where objects.key like 'Lease/%'")
    obj = json.loads(str(body))
    obj["spec"] = {**(obj.get("spec") or {}), **spec}
    with sqlite3.connect(home / "ktool.db") as connection:
        connection.execute("update history set body = ? where rv = ?", (json.dumps(obj), rv))


def test_a_step_leads_to_every_format() -> None:
    assert sorted(MIGRATIONS) == list(range(2, FORMAT + 1))


def test_every_object_is_found_under_the_key_of_its_identity(written: Path) -> None:
    before = rows(written, "select rv from objects order by rv")
    with opened(written) as store:
        objects, head = store.list("")
        assert [(int(obj["metadata"]["resourceVersion"]),) for obj in sorted(objects, key=_revision)] == before
        assert all(store.get(Ref.of(obj).key) == obj for obj in objects)
        assert head == max(int(rv) for (rv,) in rows(written, "select rv from history"))
        assert {obj["metadata"]["name"] for obj in store.list(NODE.prefix)[0]} == {"sim-1", "sim-2"}
        assert len(store.list(POD.in_namespace("shop"))[0]) == 2
        assert get(store.get(Ref(GroupKind("apps", "Deployment"), "shop", "web").key), "spec", "replicas") == 2
    assert rows(written, "select value from meta where name = 'format'") == [(str(FORMAT),)]


def _revision(obj: dict[str, dict[str, str]]) -> int:
    return int(obj["metadata"]["resourceVersion"])


def test_a_watch_from_before_goes_on_through_it(written: Path) -> None:
    with opened(written) as store:
        changes = store.watch("", 0).poll()
        assert len(changes) == len(rows(written, "select 1 from history")) > 20
        assert all(Ref.parse(change.key) == Ref.of(change.obj) for change in changes)


def test_secrets_are_readable_and_come_under_their_new_key_when_they_are_written(written: Path) -> None:
    with opened(written) as store:
        login = store.get(LOGIN.key)
        assert login is not None and login["data"] == {"password": PASSWORD}
        with store.transaction() as tx:
            tx.put(LOGIN.key, {**login, "type": "Opaque"})
        store.rekey("file")
    with opened(written) as store:
        assert (store.get(LOGIN.key) or {})["data"] == {"password": PASSWORD}


def test_a_database_whose_key_is_lost_is_brought_up_to_date_too(written: Path) -> None:
    shutil.move(written / "secret.key", written / "elsewhere")
    with opened(written) as store:
        assert "is missing" in (store.get(LOGIN.key) or {})[UNREADABLE]
    shutil.move(written / "elsewhere", written / "secret.key")
    with opened(written) as store:
        assert (store.get(LOGIN.key) or {})["data"] == {"password": PASSWORD}


def test_a_record_of_the_old_format_that_was_moved_is_noticed(written: Path) -> None:
    with opened(written):
        pass
    with sqlite3.connect(written / "ktool.db") as connection:
        connection.execute("update objects set key = 'core/Secret/shop/other' where key = ?", (LOGIN.key,))
    with opened(written) as store:
        said = (store.get("core/Secret/shop/other") or {})[UNREADABLE]
        assert "it holds the ciphertext of another record (Secret shop/login)" in said


def test_two_that_open_it_at_once_migrate_it_once(written: Path) -> None:
    found: list[int] = []

    def run() -> None:
        with opened(written) as store:
            found.append(len(store.list("")[0]))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4 and len(set(found)) == 1
    assert rows(written, "select count(*) from objects where key like 'core/core/%'") == [(0,)]


def test_an_older_program_that_acts_keeps_its_database(written: Path) -> None:
    before = rows(written, "select key from objects order by key")
    edit_lock(written, holderIdentity="host 1 2 ktool serve", renewTime=micro_timestamp(time.time()))
    with pytest.raises(StoreError, match="in use by an older ktool"), opened(written):
        pass
    assert rows(written, "select key from objects order by key") == before
    assert rows(written, "select value from meta where name = 'format'") == [("1",)]
    edit_lock(written, renewTime=micro_timestamp(time.time() - 60))
    with opened(written) as store:
        assert store.get(LOGIN.key) is not None
