"""The scheduler's loop: pods without a node meet nodes with room. The choice itself is logic/schedule."""

from __future__ import annotations

from collections.abc import Callable

from ktool.api.action import Action, Bind, Emit, Status
from ktool.api.obj import Obj, condition, deleting, get, labels, name, uid, with_condition
from ktool.api.pod import finished, node_of
from ktool.api.ref import NAMESPACE, NODE, POD, GroupKind, Ref
from ktool.logic import schedule
from ktool.logic.schedule import Decision
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry


class Scheduler:
    """Places all waiting pods in one go whenever a pod, a node or a namespace changed."""

    def __init__(self, registry: Registry, cache: Cache, *, clock: Callable[[], float]) -> None:
        self._registry, self._cache, self._clock = registry, cache, clock
        self._pending: dict[Ref, Obj] = {}
        self._dirty = False
        cache.listen(self._changed)

    @property
    def dirty(self) -> bool:
        """Whether a pod waits and something changed since it was last looked at."""
        return self._dirty and bool(self._pending)

    def step(self) -> None:
        self._cache.sync()
        with self._cache.lock:
            self._dirty = False
            pending = list(self._pending.values())
            world = self._cache.world
            namespaces = {name(ns): labels(ns) for ns in world.list(NAMESPACE)}
            decisions = schedule.place(pending, world.list(NODE), world.list(POD), namespaces)
        try:
            self._registry.execute(self._actions(pending, decisions), component="default-scheduler")
        except Exception:
            self._dirty = True  # a store that cannot be written now: all of it again
            raise
        self._cache.sync()

    def _actions(self, pending: list[Obj], decisions: list[Decision]) -> list[Action]:
        pods = {uid(pod): pod for pod in pending}
        actions: list[Action] = []
        for decision in decisions:
            pod = pods[decision.uid]
            if decision.node:
                actions.append(Bind(decision.ref, decision.node, decision.uid))
                where = f"Successfully assigned {decision.ref.namespace}/{decision.ref.name} to {decision.node}"
                actions.append(Emit(decision.ref, "Scheduled", where, uid=decision.uid))
            elif (condition(pod, "PodScheduled") or {}).get("message") != decision.message:
                actions.append(Status(decision.ref, self._unschedulable(pod, decision.message), decision.uid))
                if decision.message != schedule.GATED:
                    actions.append(Emit(decision.ref, "FailedScheduling", decision.message, "Warning", decision.uid))
        return actions

    def _unschedulable(self, pod: Obj, message: str) -> Obj:
        status = get(pod, "status", default={})
        reason = "SchedulingGated" if message == schedule.GATED else "Unschedulable"
        conditions = with_condition(
            status.get("conditions", []), "PodScheduled", "False", self._clock(), reason, message
        )
        return {**status, "phase": "Pending", "conditions": conditions}

    def _changed(self, type_: str, obj: Obj, before: Obj | None) -> None:
        gk = GroupKind.of(obj)
        if gk not in (POD, NODE, NAMESPACE):
            return
        if gk == POD:
            ref = Ref.of(obj)
            if type_ != "DELETED" and not node_of(obj) and not deleting(obj):
                self._pending[ref] = obj
                if before is not None and before.get("spec") == obj.get("spec") and labels(before) == labels(obj):
                    return  # our own word about why it waits is no reason to try again
            else:
                self._pending.pop(ref, None)
                if type_ == "MODIFIED" and not _changes_others(obj, before or {}):
                    return
        self._dirty = True


def _changes_others(pod: Obj, before: Obj) -> bool:
    """Whether a waiting pod may find a place now: this one was placed just before (others may want to be beside it),
    is another one to a selector, or leaves room."""
    if not node_of(before) or labels(pod) != labels(before):
        return True
    return finished(pod)
