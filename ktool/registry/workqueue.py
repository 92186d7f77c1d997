"""The work queue: a key is the whole message.

The rules of client-go's workqueue: a key that is added twice is handled once; a key that is added while it is being
handled is handled again afterwards, never at the same time; a key that failed comes back with a growing delay.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ktool.logic.node.backoff import delay

K = TypeVar("K", bound=Hashable)

MOST_RESTS = 1000
"""Keys whose rest is remembered before those that are over are forgotten."""


class WorkQueue(Generic[K]):
    """Keys in the order they became dirty, plus keys that become dirty later. Safe for any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, retry: float = 0.05, longest: float = 30.0):
        self._clock, self._retry, self._longest = clock, retry, longest
        self._changed = threading.Condition()
        self._dirty: dict[K, None] = {}
        self._processing: set[K] = set()
        self._again: set[K] = set()
        self._delayed: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._rests: dict[K, float] = {}
        self._held: set[K] = set()
        self._sequence = 0
        self._closed = False

    def add(self, key: K) -> None:
        with self._changed:
            self._add(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Make a key dirty in so many seconds; of several such wishes the earliest counts."""
        with self._changed:
            self._add_at(key, self._clock() + seconds)

    def retry(self, key: K) -> None:
        """Bring back a key that failed, each time later; `forget` ends the series."""
        with self._changed:
            count = self._failures[key] = self._failures.get(key, 0) + 1
        self.add_after(key, delay(count, self._retry, self._longest))

    def forget(self, key: K) -> None:
        with self._changed:
            self._failures.pop(key, None)

    def get(self, timeout: float | None = None) -> K | None:
        """The next key, which is then being handled until `done`; None when the time is up or the queue closed."""
        end = None if timeout is None else self._clock() + timeout
        with self._changed:
            while True:
                self._ripen()
                if self._closed:
                    return None
                if self._dirty:
                    key = next(iter(self._dirty))
                    del self._dirty[key]
                    self._processing.add(key)
                    return key
                wait = self._until_next(end)
                if wait is not None and wait <= 0:
                    return None
                self._changed.wait(wait)

    def done(self, key: K, rest: float = 0.0) -> None:
        """It was handled. It is not handed out again for `rest` seconds, however often it becomes dirty."""
        with self._changed:
            self._processing.discard(key)
            self._rests.pop(key, None)
            if rest > 0:
                self._rests[key] = self._clock() + rest
            if key in self._again:
                self._again.discard(key)
                self._add(key)

    @property
    def idle(self) -> bool:
        """Whether nothing is dirty or being handled; what was added for later does not count."""
        with self._changed:
            self._ripen()
            return not self._dirty and not self._processing and not self._held

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _add(self, key: K) -> None:
        if key in self._processing:
            self._again.add(key)
        elif self._rests.get(key, 0.0) > self._clock():
            self._held.add(key)
            self._add_at(key, self._rests[key])
        elif key not in self._dirty:
            self._dirty[key] = None
            self._held.discard(key)
            self._changed.notify()

    def _add_at(self, key: K, due: float) -> None:
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        self._sequence += 1
        heapq.heappush(self._delayed, (due, self._sequence, key))
        self._changed.notify()

    def _ripen(self) -> None:
        now = self._clock()
        while self._delayed and self._delayed[0][0] <= now:
            due, _, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                del self._due[key]
                self._add(key)
        if len(self._rests) > MOST_RESTS:
            self._rests = {key: until for key, until in self._rests.items() if until > now}

    def _until_next(self, end: float | None) -> float | None:
        moments = [moment for moment in (end, self._delayed[0][0] if self._delayed else None) if moment is not None]
        if not moments:
            return None
        wait = min(moments) - self._clock()
        return max(wait, 0.0) if end is not None and min(moments) == end else max(wait, 0.001)
