"""Who may act: taken, renewed, let go, and taken over from those who cannot give it back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktool.api.obj import Obj, get, micro_timestamp
from ktool.control.lease import LOCK, Holder, Leadership, Locked
from ktool.registry.registry import Registry
from ktool.store.store import Store
from tests.everykind import KINDS

LIFE = 1.0


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    store = Store(tmp_path / "ktool.db")
    registry = Registry(store, KINDS)
    registry.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    yield registry
    store.close()


@pytest.fixture
def leaders(registry: Registry) -> Iterator[list[Leadership]]:
    """Leaderships that are let go at the end of the test."""
    made: list[Leadership] = []
    yield made
    for leadership in made:
        leadership.release()


def leader(registry: Registry, leaders: list[Leadership], what: str = "ktool apply") -> Leadership:
    leaders.append(Leadership(registry, what, life=LIFE))
    return leaders[-1]


def spec(registry: Registry) -> Obj:
    found: Obj = registry.get(LOCK)["spec"]
    return found


def held_by(registry: Registry, identity: str, renewed: float | None = None, transitions: int = 7) -> None:
    """The Lease as somebody else has left it."""
    stamp = micro_timestamp(time.time() if renewed is None else renewed)
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": LOCK.name, "namespace": LOCK.namespace},
        "spec": {
            "holderIdentity": identity,
            "leaseDurationSeconds": 1,
            "acquireTime": stamp,
            "renewTime": stamp,
            "leaseTransitions": transitions,
        },
    }
    registry.create(lease)


def test_taken_and_let_go(registry: Registry, leaders: list[Leadership]) -> None:
    first = leader(registry, leaders)
    token = first.acquire(timeout=0)
    held = spec(registry)
    assert held["holderIdentity"].split(" ", 3)[::3] == [socket.gethostname(), "ktool apply"]
    assert (held["leaseTransitions"], held["leaseDurationSeconds"]) == (token, 1)
    first.release()
    assert not spec(registry).get("holderIdentity")
    second = leader(registry, leaders, "ktool delete")
    assert second.acquire(timeout=0) > token


def test_whoever_comes_second_is_told_who_holds_it(registry: Registry, leaders: list[Leadership]) -> None:
    leader(registry, leaders, "ktool apply -f shop").acquire(timeout=0)
    began = time.monotonic()
    with pytest.raises(Locked) as locked:
        leader(registry, leaders, "ktool delete").acquire(timeout=0.3)
    assert time.monotonic() - began >= 0.3
    said = str(locked.value)
    assert f"`ktool apply -f shop` (pid {os.getpid()} on {socket.gethostname()})" in said
    assert "waited 0.3 s" in said and "--lock-timeout" in said


def test_whoever_waits_gets_it_when_it_is_let_go(registry: Registry, leaders: list[Leadership]) -> None:
    first = leader(registry, leaders)
    first.acquire(timeout=0)
    first.keep()
    code = (
        "import sys; from ktool.app import kinds;"
        "from ktool.control.lease import Leadership; from ktool.registry.registry import Registry;"
        "from ktool.store.store import Store;"
        "mine = Leadership(Registry(Store(sys.argv[1]), kinds()), 'ktool wait', life=1.0);"
        "print('waiting', flush=True); print(mine.acquire(timeout=20), flush=True); mine.release()"
    )
    argv = [sys.executable, "-c", code, registry.store.where]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "waiting\n"
        time.sleep(2.5 * LIFE)
        assert other.poll() is None, "a holder that renews it keeps it, however long"
        assert not first.lost.is_set()
        first.release()
        assert int(other.stdout.readline()) > first.token
    assert other.returncode == 0


def test_it_is_renewed(registry: Registry, leaders: list[Leadership]) -> None:
    first = leader(registry, leaders)
    first.acquire(timeout=0)
    before = spec(registry)
    first.keep()
    time.sleep(0.8 * LIFE)
    after = spec(registry)
    assert after["renewTime"] > before["renewTime"]
    assert {**after, "renewTime": ""} == {**before, "renewTime": ""}


def test_a_killed_holder_of_this_machine_is_noticed_at_once(registry: Registry, leaders: list[Leadership]) -> None:
    code = (
        "import sys, time; from ktool.app import kinds;"
        "from ktool.control.lease import Leadership; from ktool.registry.registry import Registry;"
        "from ktool.store.store import Store;"
        "mine = Leadership(Registry(Store(sys.argv[1]), kinds()), 'ktool serve', life=600.0);"
        "print(mine.acquire(timeout=0), flush=True); mine.keep(); time.sleep(60)"
    )
    argv = [sys.executable, "-c", code, registry.store.where]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        token = int(other.stdout.readline())
        with pytest.raises(Locked):
            leader(registry, leaders).acquire(timeout=0)
        other.send_signal(signal.SIGKILL)
        other.wait()
    began = time.monotonic()
    assert leader(registry, leaders).acquire(timeout=5) == token + 1
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("age", [0, 3600, -3600], ids=["in step", "behind", "ahead"])
def test_a_silent_holder_elsewhere_keeps_it_for_a_life_by_our_own_clock(
    registry: Registry, leaders: list[Leadership], age: float
) -> None:
    """Whatever its own clock says."""
    held_by(registry, "elsewhere 4711 b007-1-99 ktool serve", renewed=time.time() - age)
    began = time.monotonic()
    assert leader(registry, leaders).acquire(timeout=10) == 8
    assert LIFE <= time.monotonic() - began < 3 * LIFE


def test_a_holder_elsewhere_that_renews_it_keeps_it(registry: Registry, leaders: list[Leadership]) -> None:
    held_by(registry, "elsewhere 4711 b007-1-99 ktool serve", renewed=1_000.0)
    done = threading.Event()

    def renew() -> None:
        ticks = 0
        while not done.wait(LIFE / 4):
            ticks += 1
            registry.patch(LOCK, {"spec": {"renewTime": micro_timestamp(1_000.0 + ticks)}})

    holder = threading.Thread(target=renew)
    holder.start()
    try:
        with pytest.raises(Locked, match="pid 4711 on elsewhere"):
            leader(registry, leaders).acquire(timeout=2.5 * LIFE)
    finally:
        done.set()
        holder.join()


HOLDERS = {
    "of this process": (lambda me: str(me), False),
    "of a pid that does not exist": (lambda me: f"{me.host} 4194305 {me.started} ktool", True),
    "of a pid that is used again": (lambda me: f"{me.host} {me.pid} {me.started}1 ktool", True),
    "of a boot before this one": (lambda me: f"{me.host} {me.pid} 00000000-{_rest(me)} ktool", True),
    "of another PID namespace": (lambda me: f"{me.host} 4194305 {_boot(me)}-1-5 ktool", False),
    "of another machine": (lambda me: f"elsewhere 4194305 {me.started} ktool", False),
    "that says nothing of itself": (lambda me: "somebody", False),
}


def _boot(me: Holder) -> str:
    return me.started.split("-", 1)[0]


def _rest(me: Holder) -> str:
    return me.started.split("-", 1)[1]


@pytest.mark.parametrize("identity, gone", HOLDERS.values(), ids=HOLDERS.keys())
def test_who_is_surely_gone(identity, gone: bool) -> None:
    assert Holder.parse(identity(Holder.me("ktool"))).surely_gone() is gone


def test_a_holder_that_was_taken_over_is_told(registry: Registry, leaders: list[Leadership]) -> None:
    first = leader(registry, leaders)
    first.acquire(timeout=0)
    told: list[bool] = []
    first.keep(on_lost=lambda: told.append(True))
    lease = registry.get(LOCK)
    taken = {**lease["spec"], "holderIdentity": "elsewhere 1 x ktool", "leaseTransitions": first.token + 1}
    registry.update({**lease, "spec": taken})
    assert first.lost.wait(2 * LIFE)
    assert told == [True]
    first.release()
    assert spec(registry)["holderIdentity"] == "elsewhere 1 x ktool", "what is another's is not let go"


def test_a_deleted_lease_is_lost_and_the_next_token_is_higher_all_the_same(
    registry: Registry, leaders: list[Leadership]
) -> None:
    for _ in range(5):
        first = leader(registry, leaders)
        first.acquire(timeout=0)
        first.release()
    first = leader(registry, leaders)
    token = first.acquire(timeout=0)
    first.keep()
    registry.delete(LOCK)
    assert first.lost.wait(2 * LIFE)
    second = leader(registry, leaders, "ktool serve")
    assert second.acquire(timeout=0) > token


def test_a_store_that_cannot_be_written_loses_it_before_its_life_is_over(
    registry: Registry, leaders: list[Leadership], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else may hold it while this one still believes it does."""
    from ktool.store.store import StoreError

    first = Leadership(registry, "ktool apply", life=3.0)
    leaders.append(first)
    first.acquire(timeout=0)
    began = time.monotonic()

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(registry.store, "transaction", full)
        first.keep()
        assert first.lost.wait(6.0)
        assert 1.5 < time.monotonic() - began < 3.0


def test_the_token_always_grows(registry: Registry, leaders: list[Leadership]) -> None:
    tokens = []
    for number in range(4):
        one = leader(registry, leaders, f"ktool {number}")
        tokens.append(one.acquire(timeout=0))
        one.release()
    assert tokens == sorted(set(tokens))
    assert get(registry.get(LOCK), "spec", "leaseTransitions") == tokens[-1]
