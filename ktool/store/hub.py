"""Watch hub: delivers each committed change once, in revision order, to every subscription in this process.

store/store and store/transaction publish; registry/watching and registry/cache subscribe through Store.watch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

from ktool.api.errors import expired
from ktool.api.obj import Obj

OTHERS_SECONDS = 0.2
"""Poll interval in seconds for commits of other processes, for subscriptions with `poll_others`."""


@dataclass(frozen=True)
class Change:
    """A watch event. `type` is ADDED, MODIFIED or DELETED. `obj` is the object after the change (for DELETED its last
    state, with the revision of the deletion), `before` the one before it, None for ADDED."""

    type: str
    key: str
    obj: Obj
    rv: int
    before: Obj | None = None


class Subscription:
    """A watch on all keys that begin with `prefix`. Made by Store.watch; close it, or use it with `with`.

    A watcher that lets more than `limit` changes pile up is expired: its next read raises ApiError 410 and it must list
    again.
    """

    def __init__(self, prefix: str, limit: int, close: Callable[[Subscription], None], look: Callable[[], None]):
        self.prefix = prefix
        self._limit = limit
        self._close = close
        self._look = look
        self._condition = threading.Condition()
        self._queue: deque[Change] = deque()
        self._started = False
        self._after = 0
        self._reached = 0
        self._others = False
        self._looked = 0.0
        self._closed = False
        self._expired = False

    # --- the watcher's side

    def poll(self) -> list[Change]:
        """All changes that have arrived, in order; never blocks. ApiError 410 where this watcher was too slow."""
        self._look_for_others()
        with self._condition:
            if self._expired:
                raise expired()
            found = list(self._queue)
            self._queue.clear()
            return found

    def wait(self, timeout: float | None = None) -> bool:
        """Block until there is something to poll (True), or until the timeout in seconds or `close` (False)."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._look_for_others()
            with self._condition:
                left = None if deadline is None else deadline - time.monotonic()
                if self._queue or self._expired:
                    return True
                if self._closed or (left is not None and left <= 0):
                    return False
                slice_ = OTHERS_SECONDS if self._others else None
                self._condition.wait(min((t for t in (left, slice_) if t is not None), default=None))

    def __iter__(self) -> Iterator[Change]:
        """Changes as they arrive, until the subscription is closed."""
        while self.wait() or not self.closed:
            yield from self.poll()

    def poll_others(self) -> Subscription:
        """Also check for commits of other processes in `poll` and `wait`, five times a second."""
        self._others = True
        return self

    @property
    def reached(self) -> int:
        """The revision up to which `poll` has delivered every change of the prefix: the resourceVersion for
        bookmarks."""
        with self._condition:
            return self._queue[0].rv - 1 if self._queue else self._reached

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._close(self)
        with self._condition:
            self._closed = True
            self._queue.clear()
            self._condition.notify_all()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _look_for_others(self) -> None:
        if self._others and not self._closed and time.monotonic() - self._looked >= OTHERS_SECONDS:
            self._looked = time.monotonic()
            self._look()

    # --- the hub's side

    def offer(self, changes: Sequence[Change]) -> None:
        """Queue the changes of one commit, in revision order."""
        with self._condition:
            if self._closed or self._expired:
                return
            self._reached = max(self._reached, changes[-1].rv)
            wanted = [c for c in changes if c.rv > self._after and c.key.startswith(self.prefix)]
            if not wanted:
                return
            self._queue.extend(wanted)
            if self._started and len(self._queue) > self._limit:
                self._give_up()
            self._condition.notify_all()

    def start(self, history: Sequence[Change], reached: int) -> None:
        """Put the replayed history (up to revision `reached`) before the live changes that arrived meanwhile."""
        with self._condition:
            live = [change for change in self._queue if change.rv > reached]
            self._queue = deque((*history, *live))
            self._after = reached
            self._reached = max(self._reached, reached)
            self._started = True
            self._condition.notify_all()

    def expire(self) -> None:
        """Expire it from the hub's side: the next read raises 410."""
        with self._condition:
            self._give_up()
            self._condition.notify_all()

    def _give_up(self) -> None:
        self._expired = True
        self._queue.clear()


class Hub:
    """All subscriptions of one Store. The caller of `publish` holds the store's writer lock, so that changes are
    delivered in revision order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: tuple[Subscription, ...] = ()
        self.delivered = 0

    def __bool__(self) -> bool:
        return bool(self._subscriptions)

    def add(self, subscription: Subscription, head: int) -> None:
        """`head`: the newest revision when the subscription was added; its history read covers everything up to it."""
        with self._lock:
            if not self._subscriptions:
                self.delivered = max(self.delivered, head)
            self._subscriptions = (*self._subscriptions, subscription)

    def remove(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

    def publish(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        with self._lock:
            subscriptions = self._subscriptions
            self.delivered = max(self.delivered, changes[-1].rv)
        for subscription in subscriptions:
            subscription.offer(changes)

    def expire(self, head: int) -> None:
        """Expire all subscriptions: the history they still need was compacted, so they must list again."""
        with self._lock:
            subscriptions, self._subscriptions = self._subscriptions, ()
            self.delivered = max(self.delivered, head)
        for subscription in subscriptions:
            subscription.expire()

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
