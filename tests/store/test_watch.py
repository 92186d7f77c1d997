"""Watches: every change, once, in the order of the revisions."""

from __future__ import annotations

import threading
import time

import pytest

from ktool.api.errors import ApiError


def obj(name: str, **body: object) -> dict:
    return {"kind": "Thing", "metadata": {"name": name}, **body}


def put(store, *names, **body):
    with store.transaction() as tx:
        for name in names:
            tx.put(f"core/Thing/default/{name}", obj(name, **body))


def remove(store, name):
    with store.transaction() as tx:
        tx.remove(f"core/Thing/default/{name}")


def told(changes):
    return [(c.type, c.key.rpartition("/")[2], c.rv) for c in changes]


def test_history_first_then_what_happens(store):
    put(store, "a", "b")
    put(store, "a", size=2)
    remove(store, "b")
    subscription = store.watch("core/Thing/", 1)
    put(store, "c")
    changes = subscription.poll()
    assert told(changes) == [("ADDED", "b", 2), ("MODIFIED", "a", 3), ("DELETED", "b", 4), ("ADDED", "c", 5)]
    assert subscription.poll() == []


def test_live_and_replayed_changes_are_the_same(store, opened):
    live = store.watch("", 0)
    put(store, "a", "b")
    put(store, "a", size=2)
    remove(store, "a")
    put(store, "a", size=3)
    seen = live.poll()
    assert seen == store.watch("", 0).poll() == opened().watch("", 0).poll()
    assert [c.before and c.before.get("size") for c in seen] == [None, None, None, 2, None]
    assert [c.obj["metadata"]["resourceVersion"] for c in seen] == ["1", "2", "3", "4", "5"]


def test_several_writes_of_a_key_in_one_transaction_are_one_change(store):
    put(store, "kept", "gone", "anew")
    subscription = store.watch("", store.head())
    with store.transaction() as tx:
        tx.put("core/Thing/default/kept", obj("kept", size=1))
        tx.put("core/Thing/default/kept", obj("kept", size=2))
        tx.put("core/Thing/default/brief", obj("brief"))
        tx.remove("core/Thing/default/brief")
        tx.put("core/Thing/default/gone", obj("gone", size=1))
        tx.remove("core/Thing/default/gone")
        tx.remove("core/Thing/default/anew")
        tx.put("core/Thing/default/anew", obj("anew", size=1))
    changes = subscription.poll()
    assert [(c.type, c.key.rpartition("/")[2]) for c in changes] == [
        ("MODIFIED", "kept"),
        ("DELETED", "gone"),
        ("DELETED", "anew"),
        ("ADDED", "anew"),
    ]
    assert changes[0].obj["size"] == 2
    assert [c.rv for c in changes] == sorted({c.rv for c in changes})
    assert changes == store.watch("", 3).poll()
    assert sorted(o["metadata"]["name"] for o in store.list("")[0]) == ["anew", "kept"]


def test_only_the_prefix(store):
    subscription = store.watch("core/Thing/other/", 0)
    put(store, "a")
    with store.transaction() as tx:
        tx.put("core/Thing/other/b", obj("b"))
    assert told(subscription.poll()) == [("ADDED", "b", 2)]


def test_the_future_is_gone(store):
    put(store, "a")
    with pytest.raises(ApiError) as caught:
        store.watch("", 2)
    assert caught.value.code == 410


def test_compaction_keeps_the_newest_and_everything_current(opened):
    store = opened(keep=100)
    put(store, "still")
    for i in range(300):
        put(store, "busy", n=i)
    remove(store, "busy")
    put(store, "late")
    head = store.head()
    with pytest.raises(ApiError) as caught:
        store.watch("", 0)
    assert (caught.value.code, caught.value.reason) == (410, "Expired")
    assert len(store.watch("", head - 100).poll()) == 100
    assert [o["metadata"]["name"] for o in store.list("")[0]] == ["late", "still"]
    # What is current stays readable after its history has gone, and knows what it replaced.
    subscription = store.watch("", head)
    put(store, "still", n=1)
    (change,) = subscription.poll()
    assert change.before["metadata"]["resourceVersion"] == "1"
    (again,) = opened(keep=100).watch("", head).poll()
    assert again == change
    with store._engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM history").scalar_one()
    assert rows <= 100 + 10 + 3


def test_reached_is_where_a_bookmark_may_stand(store):
    subscription = store.watch("core/Thing/other/", 0)
    put(store, "a", "b")
    assert subscription.reached == 2  # nothing of the prefix is waiting
    with store.transaction() as tx:
        tx.put("core/Thing/other/c", obj("c"))
    put(store, "d")
    assert subscription.reached == 2  # c at 3 has not been handed out
    subscription.poll()
    assert subscription.reached == 4


def test_a_slow_watcher_is_closed_and_the_writer_never_waits(opened):
    store = opened(backlog=50)
    slow, quick = store.watch("", 0), store.watch("", 0)
    seen = []
    for i in range(120):
        put(store, f"n{i}")
        seen += quick.poll()
    assert len(seen) == 120
    with pytest.raises(ApiError) as caught:
        slow.poll()
    assert caught.value.code == 410
    with pytest.raises(ApiError):
        slow.poll()


def test_closing_wakes_who_waits(store):
    subscription = store.watch("", 0)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(subscription.wait(30)))
    thread.start()
    time.sleep(0.05)
    subscription.close()
    thread.join(5)
    assert answers == [False]
    put(store, "a")
    assert subscription.poll() == []


def test_wait_ends_when_something_comes_or_time_is_up(store):
    subscription = store.watch("", 0)
    assert subscription.wait(0.01) is False
    timer = threading.Timer(0.05, put, (store, "a"))
    timer.start()
    assert subscription.wait(10) is True
    timer.join()


def test_iterating_gives_changes_until_it_is_closed(store):
    subscription = store.watch("", 0)
    put(store, "a", "b")
    seen = []
    for change in subscription:
        seen.append(change.rv)
        if change.rv == 2:
            put(store, "c")
        if change.rv == 3:
            subscription.close()
    assert seen == [1, 2, 3]


def test_commits_of_another_store_arrive_in_order_with_ones_own(store, opened):
    other = opened()
    subscription = store.watch("", 0).poll_others()
    put(other, "a")
    put(store, "b")  # delivers the other's change first
    put(other, "c")
    deadline = time.monotonic() + 5
    seen = []
    while len(seen) < 3 and time.monotonic() < deadline:
        assert subscription.wait(5)
        seen += subscription.poll()
    assert told(seen) == [("ADDED", "a", 1), ("ADDED", "b", 2), ("ADDED", "c", 3)]


def test_a_store_that_fell_behind_compaction_tells_its_watchers(store, opened):
    other = opened(keep=20)
    subscription = store.watch("", 0).poll_others()
    for i in range(60):
        put(other, "a", n=i)
    with pytest.raises(ApiError) as caught:
        for _ in range(20):
            subscription.wait(0.3)
            subscription.poll()
    assert caught.value.code == 410


def test_every_watcher_sees_every_revision_in_order_while_threads_write_and_subscribe(store):
    """Subscriptions that begin at any moment miss nothing and see nothing twice."""
    writers = 4
    results: list[list[int]] = []
    stop = threading.Event()
    errors: list[BaseException] = []

    def write(number: int) -> None:
        for i in range(60):
            put(store, f"{number}-{i % 7}", f"{number}-x{i % 3}", n=i)

    def read() -> None:
        try:
            while not stop.is_set():
                since = store.head()
                seen = [since]
                with store.watch("", since) as subscription:
                    for _ in range(5):
                        subscription.wait(0.02)
                        seen += [change.rv for change in subscription.poll()]
                results.append(seen)
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    whole = store.watch("", 0)
    for thread in (*readers, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert errors == []
    assert [c.rv for c in whole.poll()] == list(range(1, writers * 60 * 2 + 1))
    assert results
    for seen in results:
        assert seen == list(range(seen[0], seen[0] + len(seen)))
