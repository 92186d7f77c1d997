"""Rehearsal of rollouts on a copy of the World. `apply --dry-run=server` shows it.

The planners, the scheduler and the registry's verbs are the real ones, on a transaction in memory; pods run as soon as
they have a node. Nothing is written and no node is asked. Time is a number that moves when there is nothing left to
decide.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from ktool.api.action import Action, Bind, Delete, Emit, Status
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.obj import (
    Obj,
    condition,
    controller_of,
    deleting,
    get,
    is_true,
    labels,
    name,
    namespace,
    uid,
    with_condition,
)
from ktool.api.pod import finished, node_of
from ktool.api.ref import EVENT, NAMESPACE, NODE, POD, GroupKind, Ref
from ktool.api.world import World
from ktool.control.memory import Memory
from ktool.logic import schedule
from ktool.logic.schedule import Decision
from ktool.logic.workload.podtrouble import trouble
from ktool.registry import admission
from ktool.registry.execute import Batch
from ktool.registry.request import component
from ktool.registry.verbs import Setup, Verbs

_ACTOR = component("rehearsal")
_UIDS = itertools.count(1)
"""Of this process, so that two rehearsals on one World give nothing the identity of something else."""

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


def _new_uid() -> str:
    return f"rehearsed-{next(_UIDS)}"


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
        self._memory = Memory(world)
        self._setup = Setup(kinds, _new_uid, lambda: "", chain=admission.FOR_COMPONENTS, judge=admission.SpecMemo())

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
        return self.execute(plan.actions), plan.after

    def place(self) -> bool:
        """One step of the scheduler; whether a pod found a node, or was told for the first time that there is none."""
        waiting = [pod for pod in self.world.list(POD) if not node_of(pod) and not deleting(pod)]
        if not waiting:
            return False
        spaces = {name(space): labels(space) for space in self.world.list(NAMESPACE)}
        decisions = schedule.place(waiting, self.world.list(NODE), self.world.list(POD), spaces)
        moved = self.execute([Bind(found.ref, found.node, found.uid) for found in decisions if found.node])
        for decision in decisions:
            if not decision.node:
                moved = self._without_place(decision) or moved
        return moved

    def _without_place(self, decision: Decision) -> bool:
        """Say on the pod that there is no node for it; whether that is new."""
        pod = self.world.get(decision.ref)
        before = condition(pod, "PodScheduled") if pod is not None else None
        if pod is None or (before or {}).get("message") == decision.message:
            return False
        status = get(pod, "status", default={})
        conditions = with_condition(
            status.get("conditions", ()), "PodScheduled", "False", self.now, "Unschedulable", decision.message
        )
        self.execute([Status(decision.ref, {**status, "conditions": conditions}, decision.uid)])
        if before is None:
            self._note(Move("wait", name(pod), _owner(pod), "", decision.message), pod)
        return True

    # --- what comes about

    def come_about(self, chosen: Callable[[Obj], bool] = lambda pod: True) -> bool:
        """Pods that end are gone, and those that have a node are ready; whether there were any. Those that are known
        not to run stay so."""
        actions: list[Action] = []
        for pod in [pod for pod in self.world.list(POD) if self._below(pod) and chosen(pod)]:
            if deleting(pod):
                actions.append(Delete(Ref.of(pod), uid(pod), grace=0))
            elif node_of(pod) and not is_true(pod, "Ready") and not trouble(pod) and not finished(pod):
                actions.append(Status(Ref.of(pod), _running(pod, self.now), uid(pod)))
        return self.execute(actions)

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

    def execute(self, actions: Sequence[Action]) -> bool:
        """As Registry.execute, in memory; whether anything changed. What is refused, and what a user would be warned
        of, becomes a note."""
        verbs = Verbs(self._memory, self._setup, _ACTOR, self.now)
        refusals = Batch(verbs).run(actions)
        for told in [error.message for error in refusals if error is not None]:
            self._tell(told)
        for action in actions:
            if isinstance(action, Emit) and (action.type == "Warning" or action.reason == "StopFirst"):
                self._tell(action.message)
        for record in verbs.records:
            if record.attributes.gk == POD:
                self._seen(record.old, record.new)
        return any(record.attributes.gk != EVENT for record in verbs.records)

    def _tell(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _seen(self, old: Obj | None, new: Obj | None) -> None:
        """The move that a change of a Pod is."""
        if new is None or old is None:
            return
        node = node_of(new)
        if deleting(new) and not deleting(old):
            self._note(Move("stop", name(new), _owner(new), node), new)
        elif node and not node_of(old):
            self._note(Move("start", name(new), _owner(new), node), new)

    def _note(self, move: Move, pod: Obj) -> None:
        if self._below(pod):
            self.moves.append(move)


def _makes_pods(kind: Kind) -> bool:
    return kind.controller.plan is not None and kind.workload is not None


def _owner(pod: Obj) -> str:
    return str((controller_of(pod) or {}).get("name", ""))


def _running(pod: Obj, now: float) -> Obj:
    """The status of a pod that runs and is ready."""
    status = get(pod, "status", default={})
    conditions = with_condition(status.get("conditions", ()), "Ready", "True", now)
    return {**status, "phase": "Running", "conditions": conditions}


def concerned(kinds: Kinds, refs: Iterable[Ref]) -> Collection[Ref]:
    """Those of the objects that have pods, and pods themselves."""
    return [ref for ref in refs if ref.gk == POD or ((kind := kinds.get(ref.gk)) is not None and _makes_pods(kind))]
