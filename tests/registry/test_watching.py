"""Watching through selectors."""

from __future__ import annotations

import threading

import pytest

from ktool.api.errors import ApiError
from ktool.api.obj import put
from ktool.api.ref import POD, Ref
from tests.registry.builders import THING, a, config, pod, space, thing


def told(pairs):
    return [(type_, obj["metadata"]["name"]) for type_, obj in pairs]


def test_it_begins_with_what_exists(registry):
    registry.create(thing("a"))
    registry.create(thing("b", meta={"labels": {"app": "web"}}))
    assert told(registry.watch(THING, timeout=0)) == [("ADDED", "a"), ("ADDED", "b")]
    assert told(registry.watch(THING, since="0", timeout=0, labels="app")) == [("ADDED", "b")]


def test_from_a_list_nothing_is_missed_and_nothing_seen_twice(registry):
    registry.create(thing("a"))
    _, rv = registry.list(THING)
    registry.create(thing("b"))
    watch = registry.watch(THING, "default", since=rv, timeout=0.05)
    registry.patch(a("b"), {"spec": {"size": 2}})
    registry.create(config())
    registry.create(space("other"))
    registry.create(thing("elsewhere", namespace="other"))
    registry.delete(a("b"))
    seen = list(watch)
    assert told(seen) == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]
    assert [int(obj["metadata"]["resourceVersion"]) for _, obj in seen] == sorted(
        int(obj["metadata"]["resourceVersion"]) for _, obj in seen
    )


@pytest.mark.parametrize("live", [True, False], ids=["live", "from-history"])
def test_objects_enter_and_leave_a_selector(registry, live):
    registry.create(thing("a"))
    _, rv = registry.list(THING)
    options = {"labels": "app=web", "since": rv, "timeout": 0.05}
    watch = registry.watch(THING, **options) if live else None

    def label(value):
        return registry.patch(a(), {"metadata": {"labels": {"app": value}}})

    label("web")
    registry.patch(a(), {"spec": {"size": 2}})
    left = label("db")
    registry.patch(a(), {"spec": {"size": 3}})
    label("web")
    registry.delete(a())
    seen = list(watch or registry.watch(THING, **options))
    assert told(seen) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("DELETED", "a")]
    _, last = seen[2]
    assert last["metadata"]["labels"] == {"app": "web"}  # as the watcher knew it
    assert last["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]


def test_a_pod_enters_the_watch_of_its_node(registry):
    made = registry.create(pod())
    _, rv = registry.list(POD)
    registry.update(put(made, "spec", "nodeName", "n1"))
    assert told(registry.watch(POD, fields="spec.nodeName=n1", since=rv, timeout=0)) == [("ADDED", "p")]


def test_too_old_and_nonsense(registry):
    with pytest.raises(ApiError) as caught:
        registry.watch(THING, since="999")
    assert caught.value.code == 410
    with pytest.raises(ApiError) as caught:
        registry.watch(THING, since="abc")
    assert caught.value.code == 400
    with pytest.raises(ApiError) as caught:
        registry.watch(THING, labels="a=b=c")
    assert caught.value.code == 400


def test_bookmarks_move_on_while_nothing_matches(registry):
    watch = registry.watch(THING, since=registry.list(THING)[1], labels="x", bookmark_every=0.02, timeout=5)
    registry.create(thing())
    type_, bookmark = next(watch)
    assert type_ == "BOOKMARK"
    assert bookmark == {
        "apiVersion": "test.dev/v1",
        "kind": "Thing",
        "metadata": {"resourceVersion": str(registry.store.head())},
    }
    watch.close()


def test_closing_the_store_ends_a_watch_without_a_timeout(registry, store):
    watch = registry.watch(THING)
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(watch))
    thread.start()
    registry.create(thing())
    store.close()
    thread.join(10)
    assert not thread.is_alive()


def test_other_registries_are_heard(registry, tmp_path):
    from ktool.registry.registry import Registry
    from ktool.store.store import Store

    other_store = Store(tmp_path / "ktool.db")
    other = Registry(other_store, registry.kinds)
    watch = registry.watch(THING, since=registry.list(THING)[1], timeout=10)
    other.create(thing())
    assert told([next(watch)]) == [("ADDED", "a")]
    watch.close()
    other_store.close()
    assert registry.get(Ref(THING, "default", "a"))
