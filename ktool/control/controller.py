"""The loop of all controllers: take one key, plan on the World as it is now, carry the plan out, and again.

A planner is a pure function found through the kinds' registry; this module knows no kind. Everything a planner may
have to reconsider is a key in the queue: the object itself when it changes, and what its Watches name when another
object does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ktool.api.action import Action, Plan
from ktool.api.errors import ApiError
from ktool.api.kind import Kind, Watch
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj, labels
from ktool.api.ref import GroupKind, Ref
from ktool.control import collect
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry
from ktool.registry.workqueue import WorkQueue

log = logging.getLogger(__name__)

SHARE = 0.005
"""The part of the controllers' time that planning one key again and again may take: a ReplicaSet of hundreds of pods
would be counted anew for every single one that becomes Ready."""
LONGEST_REST = 0.2
"""Seconds at most that a key waits for this."""


class Controllers:
    """All planners on one queue, handled by one thread: two plans never see each other half done."""

    def __init__(
        self,
        registry: Registry,
        cache: Cache,
        kinds: Kinds,
        *,
        clock: Callable[[], float],
        queue: WorkQueue[Ref] | None = None,
        effort: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`effort` tells the processor time of this thread in seconds (time.thread_time)."""
        self._registry, self._cache, self._kinds = registry, cache, kinds
        self._clock, self._effort = clock, effort
        self.queue: WorkQueue[Ref] = WorkQueue() if queue is None else queue
        self._planned: dict[GroupKind, Kind] = {}
        self._watches: dict[GroupKind, list[Watch]] = {}
        self._stale = False
        self._read_kinds()
        cache.listen(self._changed)
        self._end_listening = kinds.listen(self._kinds_changed)

    def close(self) -> None:
        """No further key: a `step` that waits returns."""
        self._end_listening()
        self.queue.close()

    def _kinds_changed(self) -> None:
        """Called by whoever changes the kinds, perhaps within a transaction: no lock may be waited for here."""
        self._stale = True

    def _read_kinds(self) -> None:
        self._planned = {kind.gk: kind for kind in self._kinds if kind.controller.plan is not None}
        self._watches = {}
        for kind in self._planned.values():
            for watch in kind.controller.watches:
                self._watches.setdefault(watch.gk, []).append(watch)

    def _follow_kinds(self) -> None:
        """After a change of the kinds: the new watches, and every object once more as if it had just been seen. What
        has a planner now is planned; the dependents of a kind that is new have an owner that can be missed."""
        with self._cache.lock:
            self._stale = False
            self._read_kinds()
            world = self._cache.world
            for gk in world.kinds():
                for obj in world.list(gk):
                    self._changed("ADDED", obj, None)

    def step(self, timeout: float = 0.0) -> bool:
        """Handle exactly one key; False where none was dirty in time. A key whose planner failed, or whose plan could
        not be carried out, comes back later: one object must not stop those of all others."""
        if self._stale:
            self._follow_kinds()
        ref = self.queue.get(timeout)
        if ref is None:
            return False
        rest = 0.0
        try:
            self._cache.sync()
            begun = self._effort()
            with self._cache.lock:
                who, plan = self._plan(ref, self._cache.world.get(ref))
            rest = min((self._effort() - begun) / SHARE, LONGEST_REST)
            self._carry_out(ref, who, plan)
        except Exception:
            log.exception("%s: a step failed", ref)
            self.queue.retry(ref)
        finally:
            self.queue.done(ref, rest)
        return True

    def _carry_out(self, ref: Ref, who: str, plan: Plan) -> None:
        refusals = self._execute(who, plan.actions) if plan.actions else []
        if refusals:
            log.info("%s: %s", ref, "; ".join(error.message for error in refusals))
            self.queue.retry(ref)
            return
        self.queue.forget(ref)
        if plan.after is not None:
            self.queue.add_after(ref, plan.after)

    def _execute(self, who: str, actions: tuple[Action, ...]) -> list[ApiError]:
        outcomes = self._registry.execute(actions, component=who)
        self._cache.sync()
        return [error for error in outcomes if error]

    def _plan(self, ref: Ref, obj: Obj | None) -> tuple[str, Plan]:
        """The component that acts, the garbage collector before the kind's own controller, and its plan."""
        if obj is None or ref.gk not in self._kinds:
            return "", Plan()
        if collected := collect.plan(obj, self._cache.world, self._kinds):
            return "garbage-collector", Plan(tuple(collected))
        kind = self._planned.get(ref.gk)
        if kind is None or kind.controller.plan is None:
            return "", Plan()
        return f"{ref.kind.lower()}-controller", kind.controller.plan(obj, self._cache.world, self._clock())

    def _changed(self, type_: str, obj: Obj, before: Obj | None) -> None:
        """Called by the cache, under its lock, for every change."""
        ref = Ref.of(obj)
        if type_ == "DELETED":
            for dependent in collect.orphaned_by(obj, self._cache.world):
                self.queue.add(dependent)
        elif ref.gk in self._planned or collect.concerns(obj, before):
            self.queue.add(ref)
        for watch in self._watches.get(ref.gk, ()):
            for woken in watch.wakes(obj, self._cache.world):
                self.queue.add(woken)
            if before is not None and labels(before) != labels(obj):  # whoever selected it by the old ones
                for woken in watch.wakes(before, self._cache.world):
                    self.queue.add(woken)


class Stepper:
    """A thread that calls `step` until it is stopped; what escapes from one step is logged and does not end it."""

    def __init__(self, name: str, step: Callable[[], object]) -> None:
        self._step = step
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, wake: Callable[[], None], timeout: float = 10.0) -> None:
        """End after the step on its way; `wake` makes a waiting step return at once."""
        self._stop.set()
        wake()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._step()
            except Exception:
                log.exception("%s: a step failed", self._thread.name)
                self._stop.wait(0.2)
