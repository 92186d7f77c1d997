"""Worker threads of the node plane: as many as there are items that wait on the network, and a few that stand ready.

`nodes.Nodes` starts them on its queue and gives the handler of an item."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ktool.nodeplane.workitems import WorkItem
from ktool.registry.workqueue import WorkQueue

log = logging.getLogger(__name__)

SPARE, LINGER = 4, 10.0
"""Idle threads that are kept, and the seconds for which there have to be more before one of them ends. Each idle thread
wakes up whenever an item falls due, so a hundred left over from a burst are not free."""


class Workers:
    """Thread pool that no blocked item can exhaust. Before a thread begins an item that `blocks`, another one stands
    ready for the next: however many nodes are dark, the others are looked at without waiting for them. A node has at
    most two items under way that ask it something (Look, Settings), which bounds the number of threads."""

    def __init__(
        self,
        queue: WorkQueue[WorkItem],
        handle: Callable[[WorkItem], None],
        blocks: Callable[[WorkItem], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._handle, self._blocks, self._clock = queue, handle, blocks, clock
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._idle = self._made = 0
        self._scarce = 0.0
        """When fewer than SPARE threads were idle last."""
        self._stopped = False

    def at_least(self, count: int) -> None:
        """Have so many threads, unless they were stopped."""
        with self._lock:
            while len(self._threads) < count and not self._stopped and self._one_more():
                pass

    def _one_more(self) -> bool:
        thread = threading.Thread(target=self._run, name=f"nodes-{self._made}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has none left: those there are go on
            log.warning("no more threads for nodes: %s", error)
            return False
        self._made += 1
        self._threads.add(thread)
        return True

    def _run(self) -> None:
        while self._goes_idle():
            item = self._queue.get(timeout=5)
            self._leaves_idle(item)
            if item is not None:
                self._handle(item)

    def _goes_idle(self) -> bool:
        """Count this thread as idle; False where it ends instead."""
        with self._lock:
            now = self._clock()
            if self._idle < SPARE:
                self._scarce = now
            if self._stopped or now - self._scarce > LINGER:
                self._threads.discard(threading.current_thread())
                return False
            self._idle += 1
            return True

    def _leaves_idle(self, item: WorkItem | None) -> None:
        with self._lock:
            self._idle -= 1
            if self._idle < SPARE:
                self._scarce = self._clock()
            if self._idle == 0 and not self._stopped and item is not None and self._blocks(item):
                self._one_more()

    def stop(self) -> None:
        """Begin no item more. Close the queue too, so that idle threads end at once."""
        with self._lock:
            self._stopped = True

    def join(self, end: float) -> None:
        """Wait until all have ended, until `end` (time.monotonic) at the latest. A thread may hang in a connect."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
