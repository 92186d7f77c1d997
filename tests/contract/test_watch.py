"""Watches through both clients."""

from __future__ import annotations

import threading
import time

import pytest

from ktool.api.errors import ApiError
from ktool.api.ref import CONFIG_MAP, Ref
from tests.contract.conftest import configmap

A = Ref(CONFIG_MAP, "default", "a")


class Reader:
    """Reads a watch in a thread."""

    def __init__(self, stream) -> None:
        self.stream, self.events, self.error = stream, [], None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for event in self.stream:
                with self._changed:
                    self.events.append(event)
                    self._changed.notify_all()
        except Exception as error:
            self.error = error

    def until(self, count: int) -> list[tuple[str, str]]:
        """Type and name of the events, once there are `count`."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.events) >= count, 10), self.seen()
            return self.seen()

    def seen(self) -> list[tuple[str, str]]:
        return [(event.type, event.obj["metadata"]["name"]) for event in self.events]

    def end(self) -> list[tuple[str, str]]:
        self.stream.close()
        self._thread.join(5)
        assert not self._thread.is_alive(), "close does not end the watch"
        assert self.error is None, self.error
        return self.seen()


def test_a_watch_from_a_listing_sees_what_comes_after_it(client):
    client.create(configmap("a"))
    listing = client.list(CONFIG_MAP, "default")
    reader = Reader(client.watch(CONFIG_MAP, "default", since=listing.resource_version))
    client.patch(A, {"data": {"k": "1"}})
    client.create(configmap("b"))
    client.delete(A)
    assert reader.until(3) == [("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    assert reader.events[0].obj["data"] == {"k": "1"}
    versions = [int(event.obj["metadata"]["resourceVersion"]) for event in reader.events]
    assert versions == sorted(set(versions)) and versions[0] > int(listing.resource_version)
    assert len(reader.end()) == 3


def test_a_watch_can_start_in_the_past(client):
    before = client.list(CONFIG_MAP).resource_version
    client.create(configmap("a"))
    client.delete(A)
    events = list(client.watch(CONFIG_MAP, since=before, timeout=0.3))
    assert [event.type for event in events] == ["ADDED", "DELETED"]


def test_a_watch_from_nothing_begins_with_what_there_is(client):
    client.create(configmap("b"))
    client.create(configmap("a"))
    reader = Reader(client.watch(CONFIG_MAP, "default"))
    assert reader.until(2) == [("ADDED", "a"), ("ADDED", "b")]
    client.create(configmap("c"))
    assert reader.until(3)[2] == ("ADDED", "c")
    reader.end()


def test_a_label_that_comes_or_goes_is_an_object_that_comes_or_goes(client):
    client.create(configmap("a"))
    reader = Reader(client.watch(CONFIG_MAP, "default", labels="on=yes"))
    client.patch(A, {"metadata": {"labels": {"on": "yes"}}})
    client.patch(A, {"data": {"k": "1"}})
    client.create(configmap("other"))
    client.patch(A, {"metadata": {"labels": {"on": "no"}}})
    client.patch(A, {"data": {"k": "2"}})
    client.patch(A, {"metadata": {"labels": {"on": "yes"}}})
    client.delete(A)
    expected = ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
    assert reader.until(5) == [(type_, "a") for type_ in expected]
    reader.end()


def test_a_watch_of_one_object_and_one_namespace(client):
    client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    reader = Reader(client.watch(CONFIG_MAP, "other", fields="metadata.name=b"))
    for namespace in ("default", "other"):
        for name in ("a", "b"):
            client.create(configmap(name, namespace))
    reader.until(1)
    assert reader.end() == [("ADDED", "b")]
    assert reader.events[0].obj["metadata"]["namespace"] == "other"


def test_a_watch_ends_after_its_timeout(client):
    started = time.monotonic()
    assert list(client.watch(CONFIG_MAP, timeout=0.4)) == []
    assert 0.3 < time.monotonic() - started < 5


def test_a_version_that_is_too_old_or_none(client):
    for since, code in (("999999999", 410), ("soon", 400)):
        with pytest.raises(ApiError) as refused:
            list(client.watch(CONFIG_MAP, since=since, timeout=5))
        assert refused.value.code == code


def test_a_selector_that_is_none_is_refused(client):
    with pytest.raises(ApiError) as refused:
        list(client.watch(CONFIG_MAP, labels="a in (", timeout=5))
    assert refused.value.code == 400
