"""Pod workers of one node, called lanes: the actions of a pod run one after the other, beside those of other pods.

`nodeloop.NodeLoop` starts them. Failures and Events of all actions gather here until it reports them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ktool.api.action import Action, Emit
from ktool.api.obj import Obj
from ktool.api.ref import NODE, Ref
from ktool.logic.node import nodeevents
from ktool.logic.node.nodeaction import (
    DrainPod,
    Failure,
    Failures,
    NodeAction,
    Outcome,
    RemoveContainer,
    RemovePod,
    RemoveVolumes,
    RunHook,
    StopContainer,
    StopPod,
)
from ktool.logic.plan import netplan
from ktool.logic.plan.nodeplan import Lane
from ktool.node.base import NodeError, Runtime
from ktool.nodeplane.vitals import VitalSigns
from ktool.nodeplane.workitems import NodeEvents

log = logging.getLogger(__name__)

MOST = 32
"""Limit of lanes at a time, those included that only wait for a container to end or for its hook."""
_WAITING = (DrainPod, StopPod, StopContainer, RunHook)
"""Actions that only wait. They hold no work slot, so another lane may run meanwhile."""
_ENDING = (RemoveContainer, RemovePod, RemoveVolumes)
"""Actions that cost the node little more than waiting for its own locks: twice as many of them at a time."""


class Lanes:
    """The lanes of one node, each on a thread of its own. `signs` gets every action that was done, `events` every lane
    that ended. Thread-safe."""

    def __init__(self, node: str, signs: VitalSigns, events: NodeEvents, clock: Callable[[], float]) -> None:
        self._node, self._ref = node, Ref(NODE, "", node)
        self._signs, self._events, self._clock = signs, events, clock
        self._pool: ThreadPoolExecutor | None = None
        self._room = self._leaving = threading.Semaphore(1)
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._ending: dict[str, int] = {}
        self._acting = self._waits = 0
        self.last_end = 0.0
        """When a lane ended last (time.monotonic)."""
        self._failures: dict[tuple[str, str], Failure] = {}
        self._unreported: list[Action] = []
        self.stopping = False

    @property
    def busy(self) -> frozenset[str]:
        """The uids of the pods that are being worked on."""
        with self._lock:
            return frozenset(self._busy)

    @property
    def working(self) -> bool:
        """Whether any lane does more than wait for the end of containers or for a hook."""
        with self._lock:
            return len(self._busy) > self._waits

    @property
    def failures(self) -> Failures:
        """What failed last, by (uid, container or "")."""
        with self._lock:
            return dict(self._failures)

    def look(self) -> tuple[frozenset[str], Failures]:
        """Snapshot of `busy` and `failures` at one moment."""
        with self._lock:
            return frozenset(self._busy), dict(self._failures)

    @property
    def ending(self) -> dict[str, int]:
        """Grace period in seconds of each busy pod that is being stopped."""
        with self._lock:
            return dict(self._ending)

    # --- acting

    def start(self, runtime: Runtime, lane: Lane, pod: Obj | None) -> None:
        """Begin a lane, unless its pod has one already. `pod`: the object that Events are about."""
        with self._lock:
            if self.stopping or lane.uid in self._busy:
                return
            self._busy.add(lane.uid)
            for action in lane.actions:
                if isinstance(action, StopPod):
                    self._ending[lane.uid] = action.grace
            if runtime.concurrency > 1:  # under the lock: a pool that was shut down takes nothing
                self._threads(runtime).submit(self._run, runtime, lane, pod)
                return
        self._run(runtime, lane, pod)

    def _threads(self, runtime: Runtime) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(MOST, thread_name_prefix=f"lane-{self._node}")
            self._room = threading.Semaphore(runtime.concurrency)
            self._leaving = threading.Semaphore(2 * runtime.concurrency)
        return self._pool

    def _run(self, runtime: Runtime, lane: Lane, pod: Obj | None) -> None:
        """Body of a lane: the actions of one pod in their order, up to the first that fails."""
        with self._lock:
            self._acting += 1
        try:
            for action in lane.actions:
                if self.stopping or self.note(lane.uid, self._perform(runtime, action), pod):
                    return
            with self._lock:
                self._failures = {key: value for key, value in self._failures.items() if key[0] != lane.uid}
        except NodeError as error:
            log.info("%s: %s", self._node, error.message)
        except Exception:
            log.exception("%s: the lane of pod %s failed", self._node, lane.uid)
        finally:
            with self._lock:
                self._acting -= 1
                self.last_end = time.monotonic()
                self._busy.discard(lane.uid)
                self._ending.pop(lane.uid, None)
            self._events.node_changed(self._node, 0.05 if self._pool is None else 0.0)

    def hasten(self, runtime: Runtime, action: StopPod) -> None:
        """Shorten the grace period of a pod whose lane waits for its end: stop it once more, beside the lane. It needs
        no work slot: those are taken by what takes too long."""
        with self._lock:
            if self.stopping or action.uid not in self._ending:
                return
            self._ending[action.uid] = action.grace
        name = f"sooner-{self._node}"
        threading.Thread(target=self._end_sooner, args=(runtime, action), name=name, daemon=True).start()

    def _end_sooner(self, runtime: Runtime, action: StopPod) -> None:
        try:
            if failure := runtime.perform(action).failure:
                log.info("%s: pod %s: %s: %s", self._node, action.uid, failure.step, failure.message)
        except NodeError as error:
            log.info("%s: %s", self._node, error.message)
        except Exception:
            log.exception("%s: ending pod %s sooner failed", self._node, action.uid)

    def _perform(self, runtime: Runtime, action: NodeAction) -> Outcome:
        if isinstance(action, _WAITING):
            return self._wait(runtime, action)
        with self._leaving if isinstance(action, _ENDING) else self._room:
            return runtime.perform(action)

    def _wait(self, runtime: Runtime, action: NodeAction) -> Outcome:
        with self._lock:
            self._waits += 1
        try:
            return runtime.perform(action)
        finally:
            with self._lock:
                self._waits -= 1

    def note(self, pod_uid: str, outcome: Outcome, pod: Obj | None) -> bool:
        """Record an outcome, with an Event for the user; whether it was a failure."""
        action = outcome.action
        setting = type(action).__name__ if isinstance(action, netplan.Setting) else ""
        key = (pod_uid, str(getattr(action, "container", setting)))
        failure = outcome.failure
        if failure is not None:
            failure = self._counted(key, failure)
        else:
            self._signs.done(action)
        with self._lock:
            if pod is not None:
                self._unreported += nodeevents.of_outcome(pod, replace(outcome, failure=failure))
            elif failure is not None:
                text = f"{failure.step}: {failure.message}"
                self._unreported.append(Emit(self._ref, failure.reason, text, "Warning"))
            elif not pod_uid:
                self._failures.pop(key, None)
        return failure is not None

    def _counted(self, key: tuple[str, str], failure: Failure) -> Failure:
        with self._lock:
            before = self._failures.get(key)
            count = before.count + 1 if before and before.step == failure.step else 1
            self._failures[key] = failure = replace(failure, at=self._clock(), count=count)
            return failure

    # --- reporting

    def report(self, actions: list[Action], write: Callable[[list[Action]], object]) -> None:
        """Write these and the Events that gathered, in one transaction; Events that could not be written are kept."""
        with self._lock:
            unreported, self._unreported = self._unreported, []
        if not (actions or unreported):
            return
        try:
            write([*actions, *unreported])
        except Exception:
            with self._lock:
                self._unreported = [*unreported, *self._unreported]
            raise

    def forget(self, known: Collection[str]) -> None:
        """Drop the failures of all pods but these."""
        with self._lock:
            self._failures = {key: value for key, value in self._failures.items() if not key[0] or key[0] in known}

    # --- the end

    def begin_nothing(self) -> None:
        """Shut down: no lane begins any more, and none goes on to its next action."""
        with self._lock:
            self.stopping = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def stop(self, timeout: float) -> None:
        """Let the actions on their way end, and begin none."""
        self.begin_nothing()
        end = time.monotonic() + timeout
        while self._acting and time.monotonic() < end:
            time.sleep(0.02)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
