"""The cache follows the store, also where it fell so far behind that it has to list again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ktool.api.obj import Obj, name, uid
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry
from ktool.store.store import Store
from tests.registry.builders import THING, a, thing
from tests.registry.conftest import Clock
from tests.registry.kinds_for_tests import small_kinds


@pytest.fixture
def registry(tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    """On a store that gives up on a watcher after four changes."""
    store = Store(tmp_path / "ktool.db", backlog=4)
    yield Registry(store, small_kinds(), clock=clock)
    store.close()


@pytest.fixture
def heard(registry: Registry) -> Iterator[tuple[Cache, list[tuple[str, str, str, str]]]]:
    """A cache, and what its listener hears: type, name, uid, and the uid before."""
    cache, found = Cache(registry.store), []

    def listen(type_: str, obj: Obj, before: Obj | None) -> None:
        if obj["kind"] == "Thing":
            found.append((type_, name(obj), uid(obj), uid(before) if before else ""))

    cache.listen(listen)
    yield cache, found
    cache.close()


def test_it_tells_every_change(registry: Registry, heard) -> None:
    cache, found = heard
    own = uid(registry.create(thing()))
    registry.patch(a(), {"spec": {"size": 3}})
    registry.delete(a())
    assert found == []
    cache.sync()
    assert [entry[0] for entry in found] == ["ADDED", "MODIFIED", "DELETED"]
    assert {entry[2] for entry in found} == {own}
    assert cache.world.get(a()) is None


def test_a_listener_that_comes_late_hears_of_what_there_is(registry: Registry) -> None:
    registry.create(thing())
    cache, found = Cache(registry.store), []
    cache.listen(lambda type_, obj, before: found.append((type_, obj["kind"], before)))
    assert ("ADDED", "Thing", None) in found
    cache.close()


def test_after_falling_behind_it_tells_the_differences(registry: Registry, heard) -> None:
    cache, found = heard
    for letter in "abc":
        registry.create(thing(letter))
    cache.sync()
    found.clear()
    registry.delete(a("a"))
    registry.patch(a("b"), {"spec": {"size": 5}})
    for letter in "defg":
        registry.create(thing(letter))
    cache.sync()
    assert sorted(entry[:2] for entry in found) == [
        ("ADDED", "d"),
        ("ADDED", "e"),
        ("ADDED", "f"),
        ("ADDED", "g"),
        ("DELETED", "a"),
        ("MODIFIED", "b"),
    ]
    assert {name(obj) for obj in cache.world.list(THING)} == set("bcdefg")
    registry.create(thing("h"))
    cache.sync()
    assert found[-1][:2] == ("ADDED", "h"), "and it follows on"


def test_after_falling_behind_an_object_made_anew_is_another_one(registry: Registry, heard) -> None:
    """What belonged to the first one must not be taken for the second one's."""
    cache, found = heard
    first = uid(registry.create(thing()))
    cache.sync()
    found.clear()
    registry.delete(a())
    second = uid(registry.create(thing()))
    for letter in "defg":
        registry.create(thing(letter))
    cache.sync()
    assert [entry for entry in found if entry[1] == "a"] == [("DELETED", "a", first, first), ("ADDED", "a", second, "")]


def test_its_own_writes_are_there_after_a_sync(registry: Registry, heard) -> None:
    cache, _ = heard
    made = registry.create(thing())
    cache.sync()
    assert cache.world.get(a()) == made


OTHER_PROCESS = """
import sys, time
from ktool.registry.registry import Registry
from ktool.store.store import Store
from tests.registry.builders import thing
from tests.registry.kinds_for_tests import small_kinds

registry = Registry(Store(sys.argv[1]), small_kinds())
print("ready", flush=True)
for line in sys.stdin:
    registry.create(thing(line.strip()))
    print(time.monotonic(), flush=True)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Callable[[str], float]]:
    """A process with a store of its own on the same file: it creates the thing it is given the name of, and says when
    that was done (the monotonic clock is the machine's)."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "ktool.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None and process.stdout is not None
    sent, said = process.stdin, process.stdout
    assert said.readline() == "ready\n"

    def create(wanted: str) -> float:
        sent.write(wanted + "\n")
        sent.flush()
        return float(said.readline())

    yield create
    sent.close()
    process.wait(10)


def seen(cache: Cache, wanted: str) -> float:
    """When the cache has it, by the monotonic clock."""
    give_up = time.monotonic() + 10
    while cache.world.get(a(wanted)) is None:
        assert time.monotonic() < give_up, f"{wanted} is never seen"
        cache.wait(1)
        cache.sync()
    return time.monotonic()


def test_commits_of_another_process_are_seen_within_half_a_second(registry: Registry, heard, other) -> None:
    """Also after the cache has fallen behind and listed again; this process writes nothing meanwhile."""
    cache, found = heard
    done = other("first")
    assert seen(cache, "first") - done < 0.5
    for letter in "abcdefg":
        other(letter)
    cache.sync()
    done = other("last")
    assert seen(cache, "last") - done < 0.5
    assert [entry[:2] for entry in found if entry[1] in ("first", "last")] == [("ADDED", "first"), ("ADDED", "last")]
