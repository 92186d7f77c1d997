"""A new key for everything: all records under it, in one step, whenever the process is killed."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from ktool.api.errors import ApiError
from ktool.api.masked import UNREADABLE
from ktool.store.sealing import keyring
from ktool.store.sealing.keyring import KeyRing
from ktool.store.sealing.seal import Seal
from ktool.store.store import Store

MEMBERS = {"core/Secret/": ("data",)}


def opened(folder: Path, **environment: str) -> Store:
    return Store(folder / "ktool.db", seal=Seal(KeyRing(folder / "secret.key", environment), MEMBERS))


def secret(number: int, text: str = "") -> dict[str, object]:
    data = {"n": base64.b64encode(f"value {number}{text}".encode()).decode()}
    return {"kind": "Secret", "metadata": {"name": f"s{number}", "namespace": "default"}, "data": data}


def fill(store: Store, count: int, text: str = "") -> None:
    with store.transaction() as tx:
        for number in range(count):
            tx.put(f"core/Secret/default/s{number}", secret(number, text))


def check(store: Store, count: int, text: str = "") -> None:
    found = {obj["metadata"]["name"]: obj.get("data") for obj in store.list("core/Secret/")[0]}
    assert found == {f"s{number}": secret(number, text)["data"] for number in range(count)}


def key_file(folder: Path) -> list[str]:
    return [entry["id"] for entry in json.loads((folder / "secret.key").read_text())["keys"]]


def keys_of_records(folder: Path) -> set[str]:
    with sqlite3.connect(folder / "ktool.db") as connection:
        query = "select distinct json_extract(body, '$.sealed.key') from history where key like 'core/Secret/%'"
        return {found for (found,) in connection.execute(query)}


def test_all_records_and_their_history_come_under_the_new_key(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store, 5)
    fill(store, 5, "!")
    with store.transaction() as tx:
        tx.remove("core/Secret/default/s4")
    old, head = store.key_in_use(), store.head()
    new, records = store.rekey("file")
    assert records == 11 and new != old
    assert (key_file(tmp_path), keys_of_records(tmp_path), store.key_in_use()) == ([new], {new}, new)
    assert store.head() == head, "nobody's watch sees a change"
    fresh = opened(tmp_path)
    check(fresh, 4, "!")
    assert [UNREADABLE in change.obj for change in fresh.watch("", 0).poll()] == [False] * 11
    for one in (store, fresh):
        one.close()


def test_another_process_goes_on_through_a_rotation(tmp_path: Path) -> None:
    server, command = opened(tmp_path), opened(tmp_path)
    fill(server, 3)
    command.rekey("file")
    fill(server, 3, "!")
    assert len(keys_of_records(tmp_path)) == 1
    check(command, 3, "!")
    command.rekey("file")
    check(opened(tmp_path), 3, "!")
    check(server, 3, "!")


def test_two_rotations_at_once_lose_nothing(tmp_path: Path) -> None:
    fill(opened(tmp_path), 20)
    stores = [opened(tmp_path) for _ in range(4)]
    threads = [threading.Thread(target=store.rekey, args=("file",)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    fresh = opened(tmp_path)
    check(fresh, 20)
    assert key_file(tmp_path) == [fresh.key_in_use()]


def test_a_record_that_cannot_be_read_keeps_the_old_key(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store, 3)
    old = store.key_in_use()
    with sqlite3.connect(tmp_path / "ktool.db") as connection:
        connection.execute("update history set body = '{' where key = 'core/Secret/default/s1'")
    with pytest.raises(ApiError, match="the old key stays: Secret default/s1 cannot be decrypted"):
        store.rekey("file")
    fresh = opened(tmp_path)
    assert fresh.key_in_use() == old in key_file(tmp_path)
    assert fresh.get("core/Secret/default/s2")["data"] == secret(2)["data"]
    with fresh.transaction() as tx:
        tx.remove("core/Secret/default/s1")
    new, _ = fresh.rekey("file")
    assert key_file(tmp_path) == [new]
    assert opened(tmp_path).get("core/Secret/default/s0")["data"] == secret(0)["data"]


def test_from_one_source_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(keyring.SCRYPT, "n", 2**10)
    first, second = os.urandom(32).hex(), os.urandom(32).hex()
    fill(opened(tmp_path), 2)
    opened(tmp_path, KTOOL_SECRET_KEY=first).rekey("environment")
    with pytest.raises(ApiError, match="the new secret key is the one in use"):
        opened(tmp_path, KTOOL_SECRET_KEY=first).rekey("environment")
    with pytest.raises(ApiError, match="the key in KTOOL_SECRET_KEY is not the secret key"):
        opened(tmp_path, KTOOL_SECRET_KEY=second).rekey("environment")
    opened(tmp_path, KTOOL_SECRET_KEY=second, KTOOL_SECRET_KEY_OLD=first).rekey("environment")
    check(opened(tmp_path, KTOOL_SECRET_KEY=second), 2)
    with pytest.raises(ApiError, match="passphrase is missing: set KTOOL_SECRET_NEW_PASSPHRASE"):
        opened(tmp_path, KTOOL_SECRET_KEY=second).rekey("passphrase")
    opened(tmp_path, KTOOL_SECRET_KEY=second, KTOOL_SECRET_NEW_PASSPHRASE="horse").rekey("passphrase")
    check(opened(tmp_path, KTOOL_SECRET_PASSPHRASE="horse"), 2)


COUNT, KILLS = 1000, 50


def test_a_thousand_secrets_outlive_fifty_kills(tmp_path: Path) -> None:
    """Each child begins a rotation and is killed at a random moment of it; the next one goes on from what is there."""
    store = opened(tmp_path)
    fill(store, COUNT)
    store.close()
    began = time.monotonic()
    _rotate_in_child(tmp_path, None)
    length = time.monotonic() - began
    moments, finished = random.Random(7), 0
    for _ in range(KILLS):
        finished += _rotate_in_child(tmp_path, moments.uniform(0.0, length * 1.1))
        survivor = opened(tmp_path)
        in_use = survivor.key_in_use()
        assert in_use in key_file(tmp_path) and len(key_file(tmp_path)) <= 2
        assert keys_of_records(tmp_path) == {in_use}
        check(survivor, COUNT)
        survivor.close()
    assert 0 < finished < KILLS, "some were killed and some came to their end"
    _rotate_in_child(tmp_path, None)
    survivor = opened(tmp_path)
    assert key_file(tmp_path) == [survivor.key_in_use()]
    check(survivor, COUNT)
    survivor.close()


def _rotate_in_child(folder: Path, kill_after: float | None) -> bool:
    """Whether the child came to its end."""
    child = os.fork()
    if not child:
        try:
            opened(folder).rekey("file")
            os._exit(0)
        finally:
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status == 0
