"""Prober: runs liveness, readiness and startup probes, from one heap of due times and with a few threads.

`nodes.Nodes` has one for all nodes; `vitals` gives it the probes of a node and reads the results. When a probe is due
and what follows from its answer is decided in logic/pod/probes. Results are kept in memory only: readiness stands in
the Pod's status, and a new control plane believes it until it has probed itself.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ktool.api.action import Emit
from ktool.api.obj import Obj, uid
from ktool.logic.node.nodeaction import NodeFacts
from ktool.logic.node.probecalls import Answer
from ktool.logic.pod import probes
from ktool.logic.pod.probes import Health, Key, Probe, Record
from ktool.node.base import NodeError, Runtime
from ktool.nodeplane.workitems import NodeEvents

log = logging.getLogger(__name__)

AT_ONCE = 24
"""Limit of probes on their way at a time, all nodes together."""
PER_NODE = 8
"""The same limit on one node, so that one which does not answer leaves room for the others."""
TICK = 0.05
"""Period in seconds: probes that fall due within one run together, which costs fewer wake-ups."""


@dataclass
class _Entry:
    probe: Probe
    record: Record
    serial: int
    asking: bool = False


@dataclass
class _Node:
    """Probes of one node with their records. `waiting`: those beyond PER_NODE."""

    runtime: Runtime
    entries: dict[Key, _Entry] = field(default_factory=dict)
    asking: int = 0
    waiting: deque[Key] = field(default_factory=deque)
    events: list[Emit] = field(default_factory=list)


class Prober:
    """Probe scheduler of all nodes. `events` gets health_changed, on any thread, for each node with a new result to
    report. `spread`: see logic/pod/probes.begin. `clock` gives seconds that only go forward. Nothing runs before
    `start`, except by `step`. Thread-safe."""

    def __init__(self, events: NodeEvents, clock: Callable[[], float], *, spread: bool) -> None:
        self._events, self._clock, self._spread = events, clock, spread
        self._lock = threading.Condition()
        self._nodes: dict[str, _Node] = {}
        self._due: list[tuple[float, int, str, Key]] = []
        self._serial = 0
        self._pool: ThreadPoolExecutor | None = None
        self._thread: threading.Thread | None = None
        self._started = self._stopping = False

    # --- the probes

    def watch(
        self, node: str, runtime: Runtime, found: Mapping[Key, Probe], pods: Iterable[Obj], facts: NodeFacts, now: float
    ) -> None:
        """Set the probes of the node, in place of all it had; `now` in epoch seconds. One that is there already for the
        same run goes on as it is."""
        with self._lock:
            known = self._nodes.get(node)
            if not found and known is None:
                return
            if known is None:
                known = self._nodes[node] = _Node(runtime)
            known.runtime = runtime
            for key in [key for key in known.entries if key not in found]:
                del known.entries[key]
            fresh = [key for key, probe in found.items() if not self._goes_on(known, key, probe)]
            if fresh:
                self._begin(node, known, [found[key] for key in fresh], pods, facts, now)
            self._lock.notify()
        if fresh:
            self._more_threads()

    @staticmethod
    def _goes_on(known: _Node, key: Key, probe: Probe) -> bool:
        entry = known.entries.get(key)
        if entry is None or entry.probe.run != probe.run:
            return False
        entry.probe = probe
        return True

    def _begin(
        self, node: str, known: _Node, fresh: list[Probe], pods: Iterable[Obj], facts: NodeFacts, now: float
    ) -> None:
        by_uid = {uid(pod): pod for pod in pods}
        seen = {(fact.uid, container.name): container for fact in facts.pods for container in fact.containers}
        ticks = self._clock()
        for probe in sorted(fresh, key=lambda probe: probe.kind != probes.STARTUP):
            fact = seen.get((probe.uid, probe.container))
            record = probes.begin(probe, by_uid[probe.uid], fact, ticks, now - probe.since, self._spread)
            self._serial += 1
            known.entries[probe.key] = _Entry(probe, record, self._serial)
        for probe in fresh:
            self._schedule(node, known, probe.key)

    def forget(self, node: str) -> None:
        """Drop the results of a node that is not reached any more."""
        with self._lock:
            self._nodes.pop(node, None)

    # --- results

    def health(self, node: str) -> dict[tuple[str, str], Health]:
        """The health of every container of the node that has a probe."""
        with self._lock:
            known = self._nodes.get(node)
            return _health(known) if known is not None else {}

    def events(self, node: str) -> list[Emit]:
        """Events of the node that were not taken yet."""
        with self._lock:
            known = self._nodes.get(node)
            if known is None:
                return []
            events, known.events = known.events, []
            return events

    # --- running them

    def start(self) -> None:
        self._started = True
        self._more_threads()

    def _more_threads(self) -> None:
        """Start the thread that keeps the time, once there is a probe."""
        with self._lock:
            if self._started and not self._stopping and self._thread is None and self._nodes:
                self._thread = threading.Thread(target=self._run, name="prober", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self.step()
            except Exception:
                log.exception("probes: a round failed")
            with self._lock:
                if not self._stopping:
                    next_due = self._due[0][0] - self._clock() if self._due else 5.0
                    self._lock.wait(max(TICK, min(5.0, next_due)))

    def step(self) -> bool:
        """Run all probes that are due now; whether there was any."""
        with self._lock:
            now, todo = self._clock(), []
            while self._due and self._due[0][0] <= now:
                _, serial, node, key = heapq.heappop(self._due)
                known = self._nodes.get(node)
                entry = known.entries.get(key) if known is not None else None
                if known is None or entry is None or entry.serial != serial or entry.asking:
                    continue
                if known.asking >= PER_NODE:
                    known.waiting.append(key)
                    continue
                todo.append(self._take(node, known, entry))
        for node, runtime, entry in todo:
            self._ask_soon(node, runtime, entry)
        return bool(todo)

    @staticmethod
    def _take(node: str, known: _Node, entry: _Entry) -> tuple[str, Runtime, _Entry]:
        entry.asking = True
        known.asking += 1
        return node, known.runtime, entry

    def _ask_soon(self, node: str, runtime: Runtime, entry: _Entry) -> None:
        if runtime.concurrency == 1:  # answers at once; see SimulatedRuntime
            self._ask(node, runtime, entry)
            return
        with self._lock:
            if self._stopping:
                return
            if self._pool is None:
                self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe")
            self._pool.submit(self._ask, node, runtime, entry)

    def _ask(self, node: str, runtime: Runtime, entry: _Entry) -> None:
        asked, answer = self._clock(), None
        try:
            answer = runtime.call(entry.probe.call)
        except NodeError as error:  # the node cannot be asked: that says nothing about the container
            log.debug("%s: %s", node, error.message)
        except Exception:
            log.exception("%s: a probe of %s failed", node, entry.probe.container)
        report, moved, act, following = self._answered(node, entry, answer, asked)
        if report:
            self._events.health_changed(node, moved, act)
        if following is not None:
            self._ask_soon(*following)

    def _answered(
        self, node: str, entry: _Entry, answer: Answer | None, asked: float
    ) -> tuple[bool, bool, bool, tuple[str, Runtime, _Entry] | None]:
        """Record an answer: whether there is something to report, whether a verdict has changed, whether the node has
        to act, and the next probe whose turn has come."""
        with self._lock:
            entry.asking = False
            known = self._nodes.get(node)
            if known is None:
                return False, False, False, None
            known.asking = max(0, known.asking - 1)
            moved = False
            probe = entry.probe
            if known.entries.get(probe.key) is entry:
                moved = self._noted(node, known, entry, answer, asked)
            report, act = moved or bool(known.events), moved and probe.kind != probes.READINESS
            while known.waiting:
                waiting = known.entries.get(known.waiting.popleft())
                if waiting is not None and not waiting.asking:
                    return report, moved, act, self._take(node, known, waiting)
            return report, moved, act, None

    def _noted(self, node: str, known: _Node, entry: _Entry, answer: Answer | None, asked: float) -> bool:
        """Record the result of a probe; whether its verdict has changed."""
        probe, before = entry.probe, entry.record
        self._serial += 1
        entry.serial = self._serial
        if answer is None:
            entry.record = Record(
                max(self._clock(), asked + probe.period), before.verdict, before.last, before.row, before.asked
            )
            self._schedule(node, known, probe.key)
            return False
        entry.record = probes.after(probe, before, answer.ok, asked, self._clock())
        if not answer.ok:
            message = probes.unhealthy_message(probe, answer)
            known.events.append(Emit(probe.pod, "Unhealthy", message, "Warning", probe.uid))
        self._schedule(node, known, probe.key)
        moved = entry.record.verdict != before.verdict
        if moved and probe.kind == probes.STARTUP and entry.record.verdict:
            for kind in (probes.LIVENESS, probes.READINESS):
                self._schedule(node, known, (probe.uid, probe.container, kind))
        return moved

    def _schedule(self, node: str, known: _Node, key: Key) -> None:
        """Put a probe on the heap, unless it waits for its container's startup probe or is over for this run."""
        entry = known.entries.get(key)
        if entry is None or entry.record.over or entry.asking:
            return
        startup = known.entries.get((key[0], key[1], probes.STARTUP))
        if not probes.waits(entry.probe, startup.record if startup else None):
            heapq.heappush(self._due, (entry.record.due, entry.serial, node, key))

    def stop(self) -> None:
        """Shut down: no probe begins any more, and those on their way are not waited for."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _health(known: _Node) -> dict[tuple[str, str], Health]:
    grouped: dict[tuple[str, str], list[tuple[Probe, Record]]] = {}
    for (pod, container, _), entry in known.entries.items():
        grouped.setdefault((pod, container), []).append((entry.probe, entry.record))
    return {key: probes.health(records) for key, records in grouped.items()}
