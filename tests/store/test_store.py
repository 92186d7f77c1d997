"""Objects and revisions in a real SQLite file."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading

import pytest

from ktool.api.errors import ApiError
from ktool.store.store import Store, StoreError


def obj(name: str, **body: object) -> dict:
    return {"kind": "Thing", "metadata": {"name": name}, **body}


def put(store: Store, *names: str, **body: object) -> list[dict]:
    with store.transaction() as tx:
        return [tx.put(f"core/Thing/default/{name}", obj(name, **body)) for name in names]


def test_what_was_put_is_read_with_its_revision(store):
    (written,) = put(store, "a", size=1)
    found = store.get("core/Thing/default/a")
    assert found == written
    assert found == {"kind": "Thing", "metadata": {"name": "a", "resourceVersion": "1"}, "size": 1}
    assert store.get("core/Thing/default/b") is None


def test_each_changed_object_gets_its_own_revision_from_one_counter(store):
    put(store, "a", "b")
    put(store, "c")
    put(store, "a")
    items, head = store.list("core/Thing/default/")
    assert [(o["metadata"]["name"], o["metadata"]["resourceVersion"]) for o in items] == [
        ("a", "4"),
        ("b", "2"),
        ("c", "3"),
    ]
    assert head == 4


def test_a_prefix_ends_at_its_slash(store):
    with store.transaction() as tx:
        for key in ("core/Thing/a/x", "core/Thing/ab/x", "core/Thing//x", "core/Things/a/x", "core/Thing/a/\U0001f600"):
            tx.put(key, obj(key))
    names = lambda prefix: [o["metadata"]["name"] for o in store.list(prefix)[0]]  # noqa: E731
    assert names("core/Thing/a/") == ["core/Thing/a/x", "core/Thing/a/\U0001f600"]
    assert names("core/Thing//") == ["core/Thing//x"]
    assert len(names("core/Thing/")) == 4
    assert len(names("")) == 5


def test_an_exception_undoes_everything(store):
    put(store, "a", size=1)
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.put("core/Thing/default/a", obj("a", size=2))
        tx.put("core/Thing/default/b", obj("b"))
        raise ZeroDivisionError
    assert store.get("core/Thing/default/a")["size"] == 1
    assert store.get("core/Thing/default/b") is None
    assert store.head() == 1
    put(store, "c")  # the lock was given back


def test_a_discarded_transaction_writes_nothing_but_sees_its_own_writes(store):
    subscription = store.watch("", 0)
    with store.transaction() as tx:
        tx.discard()
        tx.put("core/Thing/default/a", obj("a"))
        assert tx.get("core/Thing/default/a") is not None
    assert (store.list("")[0], store.head(), subscription.poll()) == ([], 0, [])


def test_a_transaction_reads_its_own_writes(store):
    put(store, "a", "b", "c")
    with store.transaction() as tx:
        tx.remove("core/Thing/default/a")
        tx.put("core/Thing/default/b", obj("b", new=True))
        tx.put("core/Thing/default/d", obj("d"))
        assert tx.get("core/Thing/default/a") is None
        assert tx.get("core/Thing/default/b")["new"]
        assert [o["metadata"]["name"] for o in tx.list("core/Thing/default/")] == ["b", "c", "d"]
        tx.remove("core/Thing/default/d")
        assert [o["metadata"]["name"] for o in tx.list("core/Thing/")] == ["b", "c"]
    assert [o["metadata"]["name"] for o in store.list("core/Thing/")[0]] == ["b", "c"]


@pytest.mark.parametrize(
    ("exists", "expect", "reason"),
    [
        pytest.param(True, 0, "AlreadyExists", id="must-be-new"),
        pytest.param(True, 7, "Conflict", id="another-revision"),
        pytest.param(False, 1, "Conflict", id="gone"),
        pytest.param(True, 1, None, id="the-current-one"),
        pytest.param(False, 0, None, id="new"),
        pytest.param(True, None, None, id="whatever-it-is"),
    ],
)
def test_expected_revision(store, exists, expect, reason):
    if exists:
        put(store, "a")
    if reason is None:
        with store.transaction() as tx:
            tx.put("core/Thing/default/a", obj("a"), expect=expect)
        return
    with pytest.raises(ApiError) as caught, store.transaction() as tx:
        tx.put("core/Thing/default/a", obj("a"), expect=expect)
    assert (caught.value.code, caught.value.reason) == (409, reason)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"x"], ids=["nan", "set", "bytes"])
def test_what_is_no_json_is_refused(store, value):
    with pytest.raises(ApiError) as caught, store.transaction() as tx:
        tx.put("core/Thing/default/a", obj("a", value=value))
    assert caught.value.code == 400
    assert store.head() == 0


def test_the_file_is_for_its_owner_alone(store, path):
    put(store, "a")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path):
    file = tmp_path / "ktool.db"
    Store(file).close()
    file.chmod(0o644)
    Store(file).close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_directory_that_was_there_keeps_its_mode(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    Store(home / "ktool.db").close()
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


def test_the_cluster_keeps_its_id(opened):
    assert opened().cluster_id == opened().cluster_id


def test_another_store_on_the_file_sees_what_was_written(store, opened):
    put(store, "a")
    other = opened()
    assert other.list("") == store.list("")
    put(other, "a", size=2)
    assert store.get("core/Thing/default/a")["size"] == 2


def test_many_keys_are_read_in_one_go(store):
    names = [f"n{i:04}" for i in range(1500)]
    put(store, *names)
    found = store.get_many([f"core/Thing/default/{name}" for name in [*names, "missing"]])
    assert len(found) == 1500
    with store.transaction() as tx:
        tx.prefetch(found)
        assert all(tx.get(key) == found[key] for key in found)


def test_threads_lose_no_update(store):
    put(store, "counter", n=0)
    errors = []

    def count() -> None:
        try:
            for _ in range(50):
                with store.transaction() as tx:
                    now = tx.get("core/Thing/default/counter")
                    tx.put("core/Thing/default/counter", {**now, "n": now["n"] + 1})
                store.list("core/Thing/")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.get("core/Thing/default/counter")["n"] == 400


# --- what goes wrong with the file


def test_a_newer_format_is_refused_with_the_fix(store, path):
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=r"written by a newer ktool \(format 99.*upgrade ktool"):
        Store(path)


def test_a_file_of_something_else_is_named(path):
    path.parent.mkdir()
    path.write_text("not a database, but long enough to be looked at " * 100)
    with pytest.raises(StoreError, match=r"is not a ktool database: move it away") as caught:
        Store(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_named(store, path):
    put(store, *[f"n{i}" for i in range(500)], text="x" * 500)
    store.close()
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    with pytest.raises(StoreError, match=r"is damaged|is not a ktool database"):
        Store(path).list("")


def test_a_path_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(tmp_path / "file" / "ktool.db")


def test_a_full_disk_is_one_sentence_and_changes_nothing(store):
    put(store, "a")
    subscription = store.watch("", 1)
    # SQLite's own limit on the size of the file gives the very error of a full disk.
    with store._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        held = [store._engine.connect() for _ in range(12)]  # the limit is each connection's own
        for each in (connection, *held):
            each.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")
        for each in held:
            each.close()
    with pytest.raises(StoreError, match="no space is left for the database"):
        put(store, *[f"n{i}" for i in range(200)], text="x" * 2000)
    assert [o["metadata"]["name"] for o in store.list("")[0]] == ["a"]
    assert subscription.poll() == []
    assert store.head() == 1


def test_a_transaction_inside_a_transaction_is_refused_instead_of_waiting_for_itself(store):
    with store.transaction(), pytest.raises(RuntimeError, match="inside another"), store.transaction():
        pass
    put(store, "a")
