"""The work queue keeps client-go's promises."""

from __future__ import annotations

import threading

from ktool.registry.workqueue import WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_added_twice_is_handled_once():
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert queue.get(0) == "a"
    assert queue.get(0) is None


def test_keys_come_in_the_order_they_became_dirty():
    queue: WorkQueue[str] = WorkQueue()
    for key in "cab":
        queue.add(key)
    assert [queue.get(0) for _ in range(3)] == ["c", "a", "b"]


def test_a_key_added_while_it_is_handled_comes_again_afterwards():
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add("a")
    assert queue.get(0) is None, "never two handlers of one key"
    queue.done("a")
    assert queue.get(0) == "a"


def test_a_delayed_key_comes_when_it_is_due_and_the_earliest_wish_counts():
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add_after("a", 10)
    queue.add_after("a", 3)
    queue.add_after("a", 7)
    assert queue.get(0) is None and queue.idle
    clock.now = 3.0
    assert queue.get(0) == "a"
    queue.done("a")
    clock.now = 20.0
    assert queue.get(0) is None, "one wish, one visit"


def test_a_failing_key_comes_back_later_each_time_until_it_is_forgotten():
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock, retry=1.0, longest=4.0)
    waits = []
    for _ in range(4):
        queue.retry("a")
        begun = clock.now
        while queue.get(0) is None:
            clock.now += 0.5
        queue.done("a")
        waits.append(clock.now - begun)
    assert waits == [1.0, 2.0, 4.0, 4.0]
    queue.forget("a")
    queue.retry("a")
    clock.now += 1.0
    assert queue.get(0) == "a"


def test_a_key_that_rests_is_not_idle_and_comes_once_when_its_rest_is_over():
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add("a")
    queue.done("a", rest=2.0)
    queue.add("b")
    queue.add("a")
    assert queue.get(0) == "b", "nobody waits for another's rest"
    queue.done("b")
    assert queue.get(0) is None and not queue.idle
    clock.now = 2.0
    assert queue.get(0) == "a"
    queue.done("a")
    assert queue.get(0) is None and queue.idle


def test_a_rest_that_nobody_disturbs_is_nothing_to_wait_for():
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add("a")
    assert queue.get(0) == "a"
    queue.done("a", rest=2.0)
    assert queue.idle
    clock.now = 2.5
    queue.add("a")
    assert queue.get(0) == "a"


def test_get_wakes_for_a_key_from_another_thread_and_for_the_end():
    queue: WorkQueue[str] = WorkQueue()
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(queue.get(5)))
    thread.start()
    queue.add("a")
    thread.join(5)
    assert found == ["a"]
    thread = threading.Thread(target=lambda: found.append(queue.get(60)))
    thread.start()
    queue.close()
    thread.join(5)
    assert found == ["a", None]
