"""Encryption at rest: what the database holds, how records may be changed, and how a key may be missing."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ktool.api.errors import ApiError
from ktool.api.masked import UNREADABLE
from ktool.store.sealing import keyring
from ktool.store.sealing.keyring import KeyProblem, KeyRing, key_id
from ktool.store.sealing.seal import Seal
from ktool.store.store import Store

CANARY = "canary-e11a"
B64 = base64.b64encode(CANARY.encode()).decode()
MEMBERS = {"core/Secret/": ("data", "stringData")}


class House:
    """A state directory whose environment a test may change."""

    def __init__(self, folder: Path) -> None:
        self.file, self.database = folder / "secret.key", folder / "ktool.db"
        self.environment: dict[str, str] = {}
        self.asked: list[str] = []
        self.answer = ""
        self.stores: list[Store] = []

    def ring(self) -> KeyRing:
        def ask(prompt: str) -> str:
            self.asked.append(prompt)
            return self.answer

        return KeyRing(self.file, self.environment, ask)

    def open(self) -> Store:
        self.stores.append(Store(self.database, seal=Seal(self.ring(), MEMBERS)))
        return self.stores[-1]

    def sql(self, statement: str, *values: object) -> list[Any]:
        with sqlite3.connect(self.database) as connection:
            return connection.execute(statement, values).fetchall()

    def body(self, name: str) -> dict[str, Any]:
        rows = self.sql("select body from history join objects using (rv) where objects.key = ?", key(name))
        return json.loads(rows[0][0])

    def overwrite(self, name: str, body: object) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.sql("update history set body = ? where rv = (select rv from objects where key = ?)", text, key(name))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(keyring.SCRYPT, "n", 2**10)
    house = House(tmp_path)
    yield house
    for store in house.stores:
        store.close()


def key(name: str) -> str:
    return f"core/Secret/default/{name}"


def secret(name: str, value: str = CANARY, **metadata: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", **metadata}
    data = {"password": base64.b64encode(value.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def put(store: Store, *objects: dict[str, Any]) -> None:
    with store.transaction() as tx:
        for obj in objects:
            tx.put(f"core/{obj['kind']}/default/{obj['metadata']['name']}", obj)


def problem(store: Store, name: str) -> str:
    found = store.get(key(name))
    assert found is not None and "data" not in found
    assert (found["metadata"]["name"], found["metadata"]["namespace"]) == (name, "default")
    return str(found[UNREADABLE])


# --- what is written ---------------------------------------------------------------------------------------------


def test_nothing_confidential_is_in_the_files(house: House) -> None:
    store = house.open()
    put(store, secret("a"), {"kind": "Thing", "metadata": {"name": "t"}, "data": {"plain": "seen"}})
    put(store, secret("a", "other"))
    with store.transaction() as tx:
        tx.remove(key("a"))
    watched = store.watch("", 0).poll()
    assert [(c.type, (c.obj.get("data") or {}).get("password")) for c in watched if c.key == key("a")] == [
        ("ADDED", B64),
        ("MODIFIED", base64.b64encode(b"other").decode()),
        ("DELETED", base64.b64encode(b"other").decode()),
    ]
    files = {path: path.read_bytes() for path in house.file.parent.iterdir() if path.name.startswith("ktool.db")}
    assert len(files) > 1 and any(b"seen" in content for content in files.values())
    assert not any(CANARY.encode() in content or B64.encode() in content for content in files.values())
    assert stat.S_IMODE(house.file.stat().st_mode) == 0o600
    again = House(house.file.parent).open()
    assert [c.obj for c in again.watch("", 0).poll()] == [c.obj for c in watched]
    again.close()


def test_names_labels_and_type_stay_readable_and_each_record_has_its_own_key(house: House) -> None:
    store = house.open()
    put(store, secret("a", labels={"app": "shop"}), secret("b"))
    bodies = [house.body("a"), house.body("b")]
    assert bodies[0]["metadata"]["labels"] == {"app": "shop"} and bodies[0]["type"] == "Opaque"
    assert all("data" not in body for body in bodies)
    assert len({body["sealed"]["wrapped"] for body in bodies} | {body["sealed"]["data"] for body in bodies}) == 4
    assert {body["sealed"]["key"] for body in bodies} == {store.key_in_use()}


def test_a_cluster_without_secrets_has_no_key_and_no_cryptography(house: House) -> None:
    store = house.open()
    put(store, {"kind": "Thing", "metadata": {"name": "t"}})
    assert store.key_in_use() == "" and not house.file.exists()


def test_a_dry_run_makes_no_key(house: House) -> None:
    store = house.open()
    with store.transaction() as tx:
        tx.discard()
        tx.put(key("a"), secret("a"))
    assert not house.file.exists() and store.key_in_use() == "" and store.get(key("a")) is None


# --- tampering ---------------------------------------------------------------------------------------------------


def _swapped(house: House) -> None:
    a, b = house.body("a"), house.body("b")
    house.overwrite("a", {**a, "sealed": b["sealed"]})


def _whole_record_swapped(house: House) -> None:
    house.overwrite("a", house.body("b"))


def _swapped_and_renamed(house: House) -> None:
    a, b = house.body("a"), house.body("b")
    house.overwrite("a", {**a, "sealed": {**b["sealed"], "of": key("a"), "clear": a["sealed"]["clear"]}})


def _pointer_moved(house: House) -> None:
    house.sql("update objects set rv = (select rv from objects where key = ?) where key = ?", key("b"), key("a"))


def _rolled_back(house: House) -> None:
    old = house.sql("select body from history where key = ? order by rv limit 1", key("a"))[0][0]
    house.overwrite("a", old)


def _edited(change: Callable[[dict[str, Any]], None]) -> Callable[[House], None]:
    def edit(house: House) -> None:
        body = house.body("a")
        change(body)
        house.overwrite("a", body)

    return edit


def _label(body: dict[str, Any]) -> None:
    body["metadata"]["labels"] = {"app": "thief"}


def _uid(body: dict[str, Any]) -> None:
    body["metadata"]["uid"] = "another"


def _type(body: dict[str, Any]) -> None:
    body["type"] = "kubernetes.io/tls"


def _label_and_its_digest(body: dict[str, Any]) -> None:
    from ktool.store.sealing import seal

    _label(body)
    body["sealed"]["clear"] = seal._digest({k: v for k, v in body.items() if k != "sealed"})


def _cut(body: dict[str, Any]) -> None:
    body["sealed"]["data"] = body["sealed"]["data"][:-8]


def _cut_to_nothing(body: dict[str, Any]) -> None:
    body["sealed"]["data"] = ""


def _flipped(body: dict[str, Any]) -> None:
    data = bytearray(base64.b64decode(body["sealed"]["data"]))
    data[-1] ^= 1
    body["sealed"]["data"] = base64.b64encode(data).decode()


def _plain(body: dict[str, Any]) -> None:
    del body["sealed"]
    body["data"] = {"password": B64}


def _half(house: House) -> None:
    text = json.dumps(house.body("a"))
    house.overwrite("a", text[: len(text) // 2])


ANOTHER = "it holds the ciphertext of another record (Secret default/b)"
TAMPERED: dict[str, tuple[Callable[[House], None], str]] = {
    "swapped": (_swapped, ANOTHER),
    "whole-record": (_whole_record_swapped, ANOTHER),
    "pointer": (_pointer_moved, ANOTHER),
    "renamed": (_swapped_and_renamed, "its ciphertext was changed, or belongs to another record"),
    "rolled-back": (_rolled_back, "it is a record of another time"),
    "label": (_edited(_label), "its metadata was edited in the database"),
    "uid": (_edited(_uid), "its metadata was edited in the database"),
    "type": (_edited(_type), "its metadata was edited in the database"),
    "label-and-digest": (_edited(_label_and_its_digest), "its ciphertext was changed"),
    "cut": (_edited(_cut), "its ciphertext was c"),
    "cut-to-nothing": (_edited(_cut_to_nothing), "its ciphertext was cut short"),
    "flipped": (_edited(_flipped), "its ciphertext was changed"),
    "plain": (_edited(_plain), "the record is not encrypted"),
    "half": (_half, "the record was cut short or overwritten (it is no JSON)"),
    "list": (lambda house: house.overwrite("a", "[]"), "the record was overwritten (it is no object)"),
    "version": (_edited(lambda body: body["sealed"].update(v=9)), "it is of format 9, this ktool reads 2"),
}


@pytest.mark.parametrize(("tamper", "expected"), TAMPERED.values(), ids=TAMPERED)
def test_a_record_that_was_tampered_with_is_named(house: House, tamper: Callable[[House], None], expected: str) -> None:
    store = house.open()
    put(store, secret("a", "old"), secret("b"))
    put(store, secret("a"))
    store.close()
    tamper(house)
    fresh = house.open()
    said = problem(fresh, "a")
    assert said.startswith("Secret default/a cannot be decrypted: ") and expected in said
    assert CANARY not in said and B64 not in said
    assert fresh.get(key("b"))["data"] == {"password": B64}, "the others are as they were"
    with pytest.raises(ApiError, match="Secret default/a cannot be changed"), fresh.transaction() as tx:
        tx.put(key("a"), {**tx.get(key("a")), "type": "x"})
    with fresh.transaction() as tx:
        tx.remove(key("a"))
    assert fresh.get(key("a")) is None
    assert all(change.obj.get("data") is None for change in fresh.watch(key("a"), 3).poll())


# --- keys --------------------------------------------------------------------------------------------------------


def _written(house: House) -> str:
    store = house.open()
    put(store, secret("a"), {"kind": "Thing", "metadata": {"name": "t"}})
    in_use = store.key_in_use()
    store.close()
    return in_use


def test_a_missing_key_is_named_and_all_else_works(house: House) -> None:
    lost = _written(house)
    moved = house.file.rename(house.file.with_name("elsewhere"))
    store = house.open()
    assert problem(store, "a") == (
        f"Secret default/a cannot be decrypted: the secret key {lost} is missing: there is no {house.file}; put it "
        "back, or set KTOOL_SECRET_KEY"
    )
    put(store, {"kind": "Thing", "metadata": {"name": "t"}, "n": 1})
    assert len(store.list("")[0]) == 2
    with pytest.raises(ApiError, match=f"the secret key {lost} is missing"):
        put(store, secret("b"))
    assert not house.file.exists(), "no new key takes the place of a lost one"
    moved.rename(house.file)
    assert house.open().get(key("a"))["data"] == {"password": B64}


def test_a_wrong_key_is_named(house: House) -> None:
    lost = _written(house)
    house.file.unlink()
    ring = house.ring()
    other = ring.made("file")
    ring.write([other])
    assert f"the secret key {lost} is missing: {house.file} holds {other.id}" in problem(house.open(), "a")
    document = json.loads(house.file.read_text())
    document["keys"][0]["id"] = lost
    house.file.write_text(json.dumps(document))
    said = problem(house.open(), "a")
    assert f"the key in the file is not the secret key {lost}, but {other.id}" in said


BROKEN = {
    "no-json": ("{", "is no key file of this ktool"),
    "newer": ('{"format": 2, "keys": []}', "is no key file of this ktool"),
    "unknown-source": ('{"format": 1, "keys": [{"id": "a", "source": "moon"}]}', "is no key file of this ktool"),
    "empty": ('{"format": 1, "keys": []}', "is missing"),
    "no-key": ('{"format": 1, "keys": [{"id": "ID", "source": "file"}]}', "holds no key: 32 bytes in base64 or hex"),
    "short": ('{"format": 1, "keys": [{"id": "ID", "source": "file", "key": "YWJj"}]}', "holds no key"),
    "no-salt": ('{"format": 1, "keys": [{"id": "ID", "source": "passphrase"}]}', "in a way that makes no sense"),
}


@pytest.mark.parametrize(("text", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_key_file_that_makes_no_sense(house: House, text: str, expected: str) -> None:
    lost = _written(house)
    house.file.write_text(text.replace("ID", lost))
    assert expected in problem(house.open(), "a")


def test_a_key_file_that_others_can_read_is_refused(house: House) -> None:
    _written(house)
    house.file.chmod(0o644)
    assert f"can be read by others: `chmod 600 {house.file}`" in problem(house.open(), "a")


def test_a_key_from_the_environment(house: House) -> None:
    raw = os.urandom(32)
    house.environment["KTOOL_SECRET_KEY"] = raw.hex()
    assert _written(house) == key_id(raw)
    assert raw.hex() not in house.file.read_text() and base64.b64encode(raw).decode() not in house.file.read_text()
    house.environment["KTOOL_SECRET_KEY"] = base64.b64encode(raw).decode() + "\n"
    assert house.open().get(key("a"))["data"] == {"password": B64}
    house.environment.clear()
    assert f"the secret key {key_id(raw)} is missing: set KTOOL_SECRET_KEY" in problem(house.open(), "a")
    house.environment["KTOOL_SECRET_KEY"] = os.urandom(32).hex()
    assert f"the key in KTOOL_SECRET_KEY is not the secret key {key_id(raw)}" in problem(house.open(), "a")
    house.environment["KTOOL_SECRET_KEY"] = "short"
    assert "KTOOL_SECRET_KEY holds no key: 32 bytes in base64 or hex" in problem(house.open(), "a")


def test_a_passphrase(house: House) -> None:
    house.environment["KTOOL_SECRET_PASSPHRASE"] = "correct horse"
    made, _ = house.open().rekey("passphrase")
    assert _written(house) == made
    assert "correct" not in house.file.read_text()
    house.environment.clear()
    house.answer = "correct horse"
    assert house.open().get(key("a"))["data"] == {"password": B64}
    assert house.asked == [f"Passphrase of the secret key {made}: "]
    house.answer = "wrong horse"
    assert f"what the passphrase gives is not the secret key {made}" in problem(house.open(), "a")
    house.answer = ""
    said = problem(house.open(), "a")
    assert f"passphrase of the secret key {made} is missing: set KTOOL_SECRET_PASSPHRASE" in said


def test_a_key_that_cannot_be_had_is_asked_for_once_for_all_records(house: House) -> None:
    house.environment["KTOOL_SECRET_PASSPHRASE"] = "correct horse"
    store = house.open()
    store.rekey("passphrase")
    put(store, *(secret(f"s{n}") for n in range(20)))
    house.environment.clear()
    house.answer = "wrong"
    assert all(UNREADABLE in obj for obj in house.open().list("core/Secret/")[0])
    assert len(house.asked) == 1


def test_a_command_of_a_key_manager(house: House, tmp_path: Path) -> None:
    raw = os.urandom(32)
    keeper = tmp_path / "keeper"
    keeper.write_bytes(base64.b64encode(raw))
    made, _ = house.open().rekey("command", ["cat", str(keeper)])
    assert made == key_id(raw) == _written(house)
    assert house.open().get(key("a"))["data"] == {"password": B64}
    with pytest.raises(KeyProblem, match="no-such-program, cannot be run"):
        house.open().rekey("command", ["no-such-program"])
    with pytest.raises(KeyProblem, match="the output of echo holds no key"):
        house.open().rekey("command", ["echo", "hello"])
    keeper.unlink()
    said = problem(house.open(), "a")
    assert "the command for the secret key, cat, failed with exit code 1: cat:" in said


def test_a_kind_that_comes_later_is_sealed_too(house: House) -> None:
    ring = house.ring()
    seal = Seal(ring, MEMBERS)
    store = Store(house.database, seal=seal)
    house.stores.append(store)
    seal.cover({"demo.example/Token/": ("value",)})
    with store.transaction() as tx:
        body = {"apiVersion": "demo.example/v1", "kind": "Token", "metadata": {"name": "t"}, "value": CANARY}
        tx.put("demo.example/Token//t", body)
    assert (store.get("demo.example/Token//t") or {})["value"] == CANARY
    assert CANARY not in str(house.sql("select body from history"))
