"""What would happen to the pods of workloads, played through on a copy of the World: the real planners and the real
scheduler, and pods that run as soon as they have a node.

Nothing is written and no node is asked. Time is a number that moves when there is nothing left to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from ktool.api import patch as patches
from ktool.api.action import Action, Bind, Create, Delete, Emit, Patch, Status, Update
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.obj import (
    Obj,
    condition,
    controller_of,
    deleting,
    drop,
    generation,
    get,
    is_true,
    labels,
    name,
    namespace,
    put,
    timestamp,
    uid,
    with_condition,
)
from ktool.api.pod import finished, node_of
from ktool.api.ref import NAMESPACE, NODE, POD, GroupKind, Ref
from ktool.api.world import World
from ktool.logic import schedule
from ktool.logic.workload.podtrouble import trouble

MOST_ROUNDS = 2_000
MOST_STEPS = 10_000


@dataclass(frozen=True)
class Move:
    """One pod starts or stops. `owner` is its ReplicaSet, "" for a pod of nobody; a new pod's own name is not known
    before it is made. `node` is "" where it does not fit anywhere, and `because` says why."""

    what: str
    pod: str
    owner: str
    node: str
    because: str = ""


@dataclass
class Course:
    """Rounds of moves: what one round begins has come about when the next one begins. `notes`: what the controllers
    would say about it. `unfinished`: it was not over when the rehearsal was broken off."""

    rounds: list[list[Move]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unfinished: bool = False


def play(world: World, kinds: Kinds, refs: Iterable[Ref], now: float) -> Course:
    """The course of these objects' rollouts to their end, if every new pod becomes ready. Changes `world`."""
    return Rehearsal(world, kinds, refs, now).play()


class Rehearsal:
    """`world` is changed as the store would be. The methods are single steps, for tests that take them in another
    order; `play` takes them in the order in which they come when nothing goes wrong."""

    def __init__(self, world: World, kinds: Kinds, refs: Iterable[Ref], now: float) -> None:
        self.world, self.kinds, self.now = world, kinds, now
        self.refs = list(refs)
        self.moves: list[Move] = []
        self.notes: list[str] = []
        self._made = 0

    def play(self) -> Course:
        course = Course(notes=self.notes)
        for _ in range(MOST_ROUNDS):
            after = self.decide()
            if self.moves:
                course.rounds.append(self.moves)
                self.moves = []
            if self.come_about():
                continue
            if after is None:
                return course
            self.now += after
            if not self._is_waiting():
                return course
        course.unfinished = True
        return course

    # --- deciding

    def decide(self) -> float | None:
        """Let controllers and scheduler do all they would do at this moment; the seconds after which one of them wants
        to look again."""
        for _ in range(MOST_STEPS):
            after: list[float] = []
            moved = False
            for ref in self.planned():
                done, again = self.plan(ref)
                moved = moved or done
                after += [again] if again is not None else []
            if not (self.place() or moved):
                return min(after, default=None)
        raise RuntimeError("the controllers keep each other busy without end")

    def planned(self) -> list[Ref]:
        """The objects and, below them, every one that makes pods."""
        found, todo = list(self.refs), list(self.refs)
        while todo:
            obj = self.world.get(todo.pop())
            below = [Ref.of(child) for child in self.world.owned(uid(obj))] if obj is not None else []
            new = [ref for ref in below if ref.gk != POD and ref not in found]
            found += new
            todo += new
        return [ref for ref in found if _makes_pods(self.kinds[ref.gk])]

    def plan(self, ref: Ref) -> tuple[bool, float | None]:
        """One step of one controller; whether it did anything, and when it wants to look again."""
        obj, planner = self.world.get(ref), self.kinds[ref.gk].controller.plan
        if obj is None or planner is None:
            return False, None
        plan = planner(obj, self.world, self.now)
        for action in plan.actions:
            self.execute(action)
        return bool(plan.actions), plan.after

    def place(self) -> bool:
        """One step of the scheduler; whether a pod found a node, or was told for the first time that there is none."""
        waiting = [pod for pod in self.world.list(POD) if not node_of(pod) and not deleting(pod)]
        if not waiting:
            return False
        spaces = {name(space): labels(space) for space in self.world.list(NAMESPACE)}
        moved = False
        for decision in schedule.place(waiting, self.world.list(NODE), self.world.list(POD), spaces):
            if decision.node:
                self.execute(Bind(decision.ref, decision.node, decision.uid))
                moved = True
            else:
                moved = self._refused(decision.ref, decision.message) or moved
        return moved

    def _refused(self, ref: Ref, message: str) -> bool:
        pod = self.world.get(ref)
        if pod is None or (condition(pod, "PodScheduled") or {}).get("message") == message:
            return False
        before = condition(pod, "PodScheduled")
        status = get(pod, "status", default={})
        conditions = with_condition(
            status.get("conditions", ()), "PodScheduled", "False", self.now, "Unschedulable", message
        )
        self._set(put(pod, "status", {**status, "conditions": conditions}))
        if before is None:
            self._note(Move("wait", name(pod), _owner(pod), "", message), pod)
        return True

    # --- what comes about

    def come_about(self, chosen: Callable[[Obj], bool] = lambda pod: True) -> bool:
        """Pods that end are gone, and those that have a node are ready; whether there were any. Those that are known
        not to run stay so."""
        found = [pod for pod in self.world.list(POD) if self._below(pod) and chosen(pod)]
        moved = False
        for pod in found:
            if deleting(pod):
                self.world.remove(Ref.of(pod))
            elif node_of(pod) and not is_true(pod, "Ready") and not trouble(pod) and not _ended(pod):
                self._set(_running(pod, self.now))
            else:
                continue
            moved = True
        return moved

    def _is_waiting(self) -> bool:
        """Whether one of the objects is not yet as it should be, so that time is worth waiting for."""
        for ref in self.refs:
            obj, judge = self.world.get(ref), self.kinds[ref.gk].controller.progress
            if obj is not None and judge is not None and not (found := judge(obj, self.world)).done:
                return not found.failed
        return False

    def _below(self, pod: Obj) -> bool:
        """Whether a pod belongs to one of the objects."""
        here: Obj | None = pod
        for _ in range(4):
            if here is None:
                return False
            if Ref.of(here) in self.refs:
                return True
            owner = controller_of(here)
            here = self.world.get(Ref(GroupKind.of(owner), namespace(pod), owner["name"])) if owner else None
        return False

    # --- actions

    def execute(self, action: Action) -> None:
        match action:
            case Create(obj):
                self._create(obj)
            case Update(obj):
                if (old := self.world.get(Ref.of(obj))) is not None:
                    self._change(old, {**obj, "status": old.get("status")})
            case Patch(patch=patch):
                if (old := self._same(action)) is not None:
                    self._change(old, patches.merge(old, patch))
            case Status(status=status):
                if (old := self._same(action)) is not None:
                    self._set({**old, "status": status})
            case Delete():
                if (old := self._same(action)) is not None:
                    self._delete(old)
            case Bind(node=node):
                if (old := self._same(action)) is not None:
                    self._bind(old, node)
            case Emit(type="Warning") | Emit(reason="StopFirst"):
                if action.message not in self.notes:
                    self.notes.append(action.message)

    def _same(self, action: Patch | Status | Delete | Bind) -> Obj | None:
        found = self.world.get(action.ref)
        return found if found is not None and action.uid in ("", uid(found)) else None

    def _set(self, obj: Obj) -> None:
        """What changed here has no version of the store any more."""
        self.world.set(drop(obj, "metadata", "resourceVersion"))

    def _create(self, obj: Obj) -> None:
        ref = Ref.of(obj)
        if self.world.get(ref) is not None:
            return
        self._made += 1
        kind = self.kinds[ref.gk]
        given = {"uid": f"rehearsed-{self._made}", "creationTimestamp": timestamp(self.now), "generation": 1}
        obj = {**obj, "metadata": {**obj["metadata"], **given}}
        self._set(kind.rules.default(obj) if kind.rules.default is not None else obj)

    def _change(self, old: Obj, new: Obj) -> None:
        if new.get("spec") != old.get("spec"):
            new = put(new, "metadata", "generation", generation(old) + 1)
        self._set(new)

    def _delete(self, obj: Obj) -> None:
        if Ref.of(obj).gk != POD or not node_of(obj) or _ended(obj):
            self.world.remove(Ref.of(obj))
        elif not deleting(obj):
            self._set(put(obj, "metadata", "deletionTimestamp", timestamp(self.now)))
            self._note(Move("stop", name(obj), _owner(obj), str(obj["spec"]["nodeName"])), obj)

    def _bind(self, pod: Obj, node: str) -> None:
        conditions = with_condition(get(pod, "status", "conditions", default=()), "PodScheduled", "True", self.now)
        pod = put(put(pod, "spec", "nodeName", node), "status", "conditions", conditions)
        self._set(pod)
        self._note(Move("start", name(pod), _owner(pod), node), pod)

    def _note(self, move: Move, pod: Obj) -> None:
        if self._below(pod):
            self.moves.append(move)


def _makes_pods(kind: Kind) -> bool:
    return kind.controller.plan is not None and kind.workload is not None


def _owner(pod: Obj) -> str:
    return str((controller_of(pod) or {}).get("name", ""))


def _ended(pod: Obj) -> bool:
    return finished(pod)


def _running(pod: Obj, now: float) -> Obj:
    status = get(pod, "status", default={})
    conditions = with_condition(status.get("conditions", ()), "Ready", "True", now)
    return put(pod, "status", {**status, "phase": "Running", "conditions": conditions})


def concerned(kinds: Kinds, refs: Iterable[Ref]) -> Collection[Ref]:
    """Those of the objects that have pods, and pods themselves."""
    return [ref for ref in refs if ref.gk == POD or ((kind := kinds.get(ref.gk)) is not None and _makes_pods(kind))]
