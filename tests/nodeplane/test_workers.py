"""Worker threads of the node plane: none is missing where items block, and none stays that has nothing to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ktool.nodeplane.workers import LINGER, SPARE, Workers
from ktool.nodeplane.workitems import Health, Look, Settings, WorkItem
from ktool.registry.workqueue import WorkQueue
from tests.nodeplane.support import until

MANY = 40


class Setting:
    """Items of nodes named `dark` hang until `end`; what was handled is in `handled`."""

    def __init__(self) -> None:
        self.now, self.end = 0.0, threading.Event()
        self.queue: WorkQueue[WorkItem] = WorkQueue()
        self.hung: list[WorkItem] = []
        self.handled: list[WorkItem] = []
        self.before = set(threading.enumerate())
        self.workers = Workers(self.queue, self.handle, lambda item: not isinstance(item, Health), lambda: self.now)

    def handle(self, item: WorkItem) -> None:
        if getattr(item, "node", "").startswith("dark"):
            self.hung.append(item)
            self.end.wait()
        self.handled.append(item)
        self.queue.done(item)

    @property
    def threads(self) -> int:
        return len([thread for thread in threading.enumerate() if thread not in self.before])


@pytest.fixture
def setting() -> Iterator[Setting]:
    setting = Setting()
    yield setting
    setting.end.set()
    setting.workers.stop()
    setting.queue.close()
    setting.workers.join(time.monotonic() + 10)
    assert setting.threads == 0


def queue(setting: Setting, make: Callable[[str], WorkItem], name: str, count: int = MANY) -> list[WorkItem]:
    items = [make(f"{name}{number}") for number in range(count)]
    for item in items:
        setting.queue.add(item)
    return items


@pytest.mark.parametrize("make", [Look, Settings])
def test_items_that_hang_hold_up_no_others(setting: Setting, make: Callable[[str], WorkItem]) -> None:
    queue(setting, make, "dark")
    others = queue(setting, Look, "n")
    setting.workers.at_least(1)
    until(lambda: set(setting.handled) == set(others))
    until(lambda: len(setting.hung) == MANY)
    later = queue(setting, Settings, "n")
    until(lambda: set(setting.handled) == {*others, *later})
    assert setting.threads >= MANY + 1


def test_items_that_do_not_block_need_one_thread(setting: Setting) -> None:
    items = queue(setting, Health, "n")
    setting.workers.at_least(1)
    until(lambda: len(setting.handled) == len(items))
    assert setting.threads == 1


def test_threads_that_a_burst_needed_end_after_a_while(setting: Setting) -> None:
    queue(setting, Look, "dark")
    setting.workers.at_least(1)
    until(lambda: len(setting.hung) == MANY)
    setting.end.set()
    until(lambda: len(setting.handled) == MANY)
    assert setting.threads >= MANY, "the next burst may be near"
    setting.now += LINGER + 1

    def shrunk() -> bool:
        setting.queue.add(Health("n"))  # each ends when it next has nothing to do
        return setting.threads == SPARE

    until(shrunk)
    queue(setting, Look, "n")
    until(lambda: len({item for item in setting.handled if isinstance(item, Look)}) == 2 * MANY)


def test_the_end_does_not_wait_longer_for_each_thread_that_hangs(setting: Setting) -> None:
    queue(setting, Look, "dark")
    setting.workers.at_least(1)
    until(lambda: len(setting.hung) == MANY)
    setting.workers.stop()
    setting.queue.close()
    begun = time.monotonic()
    setting.workers.join(begun + 0.2)
    assert time.monotonic() - begun < 0.1 * MANY
    setting.workers.at_least(2 * MANY)
    until(lambda: setting.threads <= MANY)


def test_where_the_system_has_no_more_threads_those_there_are_go_on(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.workers.at_least(1)
    until(lambda: setting.threads == 1)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    items = queue(setting, Look, "n")
    until(lambda: set(setting.handled) == set(items))
