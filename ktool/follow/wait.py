"""Waiting until objects are as desired, or gone: driven by watches, judged by Kind.progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ktool.api.errors import DONE, ERROR, PARTIAL, ROLLED_BACK, TIMEOUT, ApiError
from ktool.api.kind import Progress as Standing
from ktool.api.obj import Obj, deleting, name, uid
from ktool.api.pod import node_of
from ktool.api.ref import NAMESPACE, NODE, POD, Ref
from ktool.api.world import World
from ktool.follow.doubt import Doubt
from ktool.follow.follower import Follower, below, scopes
from ktool.follow.steps import homeless, not_ready, pod_line, pods_of, rollout_lines, settled
from ktool.logic.workload.podtrouble import trouble
from ktool.present.progress import Progress

if TYPE_CHECKING:
    from ktool.registry.client import Client

PATIENCE = 10.0
"""Seconds that a command which is the control plane itself waits for nodes that are not Ready and for pods that fit
nowhere, once nothing else is left to wait for: nobody but itself could change that."""

LEAST_IDLE = 4.0
"""Judging takes at most one part in five of the time: each round is followed by four times its length of listening.
A large rollout brings thousands of events, and this process may be the one that produces them."""

HEAD_START = 0.1
"""Seconds that controllers get to begin with what was just changed. A look that cannot find anything yet would take the
processor from them: it lists and watches all kinds below."""


@dataclass
class Waited:
    """What came of waiting. `at_once`: what was as desired before any waiting, with its message; `failed`: reasons
    that waiting will not mend; `rolled_back`: why an earlier revision runs; `pending`: what was missing at the end of
    the time; `unreachable`: the nodes that kept pods from running (or from ending), with what is known about each."""

    at_once: dict[Ref, str] = field(default_factory=dict)
    failed: dict[Ref, str] = field(default_factory=dict)
    rolled_back: dict[Ref, str] = field(default_factory=dict)
    pending: dict[Ref, str] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    world: World = field(default_factory=World)

    @property
    def exit_code(self) -> int:
        if self.failed:
            return ERROR
        if self.rolled_back:
            return ROLLED_BACK
        if self.unreachable:
            return PARTIAL
        return TIMEOUT if self.pending else DONE


class _Patience:
    """Runs out when the same sort of trouble has been all that is left for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._since = seconds, 0.0

    def is_over(self, trouble: bool) -> bool:
        if not trouble:
            self._since = 0.0
            return False
        self._since = self._since or time.monotonic()
        return time.monotonic() - self._since >= self._seconds


# --- as desired --------------------------------------------------------------------------------------------------


def wait_for(
    client: Client,
    refs: Iterable[Ref],
    timeout: float,
    progress: Progress,
    *,
    patience: float = math.inf,
    leavers: bool = False,
    witness: Callable[[Obj], None] = lambda pod: None,
    complaint: Callable[[Obj, World], str] = lambda pod, world: "",
) -> Waited:
    """Wait until every object is as desired or has certainly failed, `timeout` seconds at most (0: for ever).

    Kinds without a progress of their own are as desired as soon as they are stored. `leavers`: also wait for what
    goes on below the objects (pods that are to end), as a command must that is the control plane itself. `witness` is
    shown each pod that certainly fails, while it is there; `complaint` tells what is the matter with one that takes
    long to become Ready."""
    refs = [ref for ref in dict.fromkeys(refs) if client.kinds[ref.gk].controller.progress]
    if not refs:
        return Waited()
    changing = _is_under_way(client, refs[0])
    if changing:
        time.sleep(HEAD_START)
    with Follower(client, scopes(client.kinds, refs)) as follower:
        return _Wait(follower, refs, timeout, progress, patience, leavers, witness, complaint).run(first=not changing)


def _is_under_way(client: Client, ref: Ref) -> bool:
    """Whether it was just changed, and its controllers have begun at best."""
    try:
        obj = client.get(ref)
    except ApiError:  # whoever judges it says so
        return False
    judge = client.kinds[ref.gk].controller.progress
    return judge is not None and not judge(obj, World([obj])).done


class _Wait:
    def __init__(
        self,
        follower: Follower,
        refs: list[Ref],
        timeout: float,
        progress: Progress,
        patience: float,
        leavers: bool,
        witness: Callable[[Obj], None],
        complaint: Callable[[Obj, World], str],
    ) -> None:
        self.follower, self.progress = follower, progress
        self.world, self.kinds = follower.world, follower.kinds
        self.end = time.monotonic() + timeout if timeout else math.inf
        self.refs, self.open = refs, dict.fromkeys(refs, "")
        self.result = Waited(world=follower.world)
        self.patience, self.leavers = _Patience(patience), leavers
        self.witness, self.complaint = witness, complaint
        self.complained: set[str] = set()
        self.doubt = Doubt()
        self.doubted: set[Ref] = set()
        self.was_done: frozenset[Ref] = frozenset()

    def run(self, first: bool) -> Waited:
        """`first`: nothing has been waited for yet."""
        while True:
            began = time.monotonic()
            self._judge(first)
            if first:
                self.was_done, first = frozenset(self.doubted), False
            if not self.open or self._is_hopeless() or time.monotonic() >= self.end:
                break
            end = min(self.end, self.doubt.until)
            listen(self.follower, end, (time.monotonic() - began) * LEAST_IDLE)
        self.result.pending = {ref: text for ref, text in self.open.items() if ref not in self.result.failed}
        if not self.open:
            self.result.unreachable = self._left_behind()
        return self.result

    def _judge(self, first: bool) -> None:
        """Ask every object that is not done yet; a failed one may still mend while others are waited for."""
        failed = self.result.failed
        self.doubted.clear()
        self.doubt.until = math.inf
        for ref in list(self.open):
            standing = self._standing(ref)
            self.open[ref] = standing.message
            if standing.failed:
                if failed.get(ref) != standing.failed and len(self.open) > 1:
                    self.progress.say(f"{shown(ref)}: {standing.failed}")
                failed[ref] = standing.failed
                continue
            failed.pop(ref, None)
            if standing.done:
                del self.open[ref]
                if standing.rolled_back:
                    self.result.rolled_back[ref] = standing.rolled_back
                if first or ref in self.was_done:
                    self.result.at_once[ref] = standing.message
                elif standing.message:
                    self.progress.say(standing.message)
        for pod in self._waiting():
            if trouble(pod):
                self.witness(pod)
            elif uid(pod) not in self.complained and (text := self.complaint(pod, self.world)):
                self.complained.add(uid(pod))
                self.progress.say(f"pod {name(pod)} {text}")
        if all(ref in failed for ref in self.open):
            self.open = {}
        self.progress.update(self._lines())

    def _standing(self, ref: Ref) -> Standing:
        obj = self.world.get(ref)
        if obj is None:
            return Standing(False, "", f"{shown(ref)} was deleted while it was waited for")
        judge = self.kinds[ref.gk].controller.progress
        assert judge is not None
        standing = judge(obj, self.world)
        if standing.done and self.leavers and (unrest := self._unrest(obj)):
            return Standing(False, unrest)
        pods = pods_of(self.world, ref)
        if not standing.done:
            self.doubt.look(pods)
        elif doubt := self.doubt.about(pods):
            self.doubted.add(ref)
            return Standing(False, doubt)
        return standing

    def _unrest(self, obj: Obj) -> str:
        """What still goes on below an object that says it is done: something ends, or is not done itself."""
        for child in below(self.world, uid(obj)):
            if deleting(child):
                return f"Waiting for {shown(Ref.of(child))} to end"
            kind = self.kinds.get(Ref.of(child).gk)
            judge = kind.controller.progress if kind is not None else None
            if Ref.of(child).gk != POD and judge is not None and not (standing := judge(child, self.world)).done:
                return standing.message
        return ""

    def _lines(self) -> list[str]:
        lines = [text for text in self.open.values() if text]
        if self.progress.detailed:
            lines += [line for ref in self.open for line in self._details(ref)]
        return lines

    def _details(self, ref: Ref) -> list[str]:
        obj = self.world.get(ref)
        workload = self.kinds[ref.gk].workload
        if obj is not None and workload is not None and workload.generations is not None:
            return [f"  {line}" for line in rollout_lines(workload.generations(obj, self.world))]
        return [pod_line(pod) for pod in pods_of(self.world, ref) if not settled(pod)]

    def _waiting(self) -> list[Obj]:
        pods = [pod for ref in self.open for pod in pods_of(self.world, ref)]
        return [pod for pod in pods if not settled(pod) or (self.leavers and deleting(pod))]

    def _left_behind(self) -> dict[str, str]:
        """The nodes that do not answer and keep pods from ending, which is all that is missing."""
        pods = [pod for ref in self.refs for pod in pods_of(self.world, ref) if deleting(pod)]
        return {node_of(pod): why for pod in pods if (why := not_ready(self.world, node_of(pod)))}

    def _is_hopeless(self) -> bool:
        """Whether every pod that is left is on a node that takes no orders or fits nowhere, for too long."""
        waiting = self._waiting()
        bad = {node: why for pod in waiting if (why := not_ready(self.world, node := node_of(pod)))}
        unplaced = {uid(pod): why for pod in waiting if (why := homeless(self.world, pod))}
        stuck = sum(node_of(pod) in bad for pod in waiting) + len(unplaced)
        if not self.patience.is_over(bool(waiting) and stuck == len(waiting)):
            return False
        self.result.unreachable = bad
        for ref in self.open:
            for pod in pods_of(self.world, ref):
                if uid(pod) in unplaced:
                    self.result.failed.setdefault(ref, f"pod {name(pod)}: {unplaced[uid(pod)]}")
        return True


def listen(follower: Follower, end: float, at_least: float) -> None:
    """Wait for news, then take in what comes for `at_least` more seconds; not beyond `end` (monotonic)."""
    if follower.changes(min(1.0, max(0.0, end - time.monotonic()))):
        until = time.monotonic() + min(at_least, 0.5)
        while (left := until - time.monotonic()) > 0:
            follower.changes(left)


def shown(ref: Ref) -> str:
    """As output names it: `deployment.apps/web`."""
    return ref.gk.display(ref.name)


# --- gone --------------------------------------------------------------------------------------------------------


class Departure:
    """What is going to be deleted, watched from before it is asked for: an owner may be gone a moment later, and then
    nothing tells any more what hung on it.

    `dependents`: also wait for what the objects own, at any depth, as a command must that is the control plane."""

    def __init__(self, client: Client, refs: Iterable[Ref], *, dependents: bool) -> None:
        refs = list(refs)
        watched = scopes(client.kinds, refs)
        for ref in refs:
            if ref.gk == NAMESPACE:
                watched += [(POD, ref.name), (NODE, None)]
        self._follower = Follower(client, dict.fromkeys(watched))
        self._refs, self._dependents = refs, dependents
        self._doomed: set[str] = set()

    def __enter__(self) -> Departure:
        self._follower.__enter__()
        if self._dependents:
            present = [obj for ref in self._refs if (obj := self._follower.world.get(ref)) is not None]
            self._doomed = {uid(obj) for obj in present}
            self._descendants()
        return self

    def __exit__(self, *details: Any) -> None:
        self._follower.__exit__(*details)

    def wait(self, targets: Mapping[Ref, str], timeout: float, progress: Progress, patience: float) -> Waited:
        """Wait until these very objects (by uid) are gone, `timeout` seconds at most (0: for ever)."""
        end = time.monotonic() + timeout if timeout else math.inf
        patient, world = _Patience(patience), self._follower.world
        while True:
            began = time.monotonic()
            left = self._left(targets)
            bad = _kept_by(world, left)
            if not left or time.monotonic() >= end or patient.is_over(bool(bad)):
                pending = {ref: _ending(world, ref) for ref in left}
                return Waited(pending=pending, unreachable=bad if left else {}, world=world)
            progress.update(_left_lines(world, left))
            listen(self._follower, end, (time.monotonic() - began) * LEAST_IDLE)

    def _left(self, targets: Mapping[Ref, str]) -> list[Ref]:
        world = self._follower.world
        left = [ref for ref, wanted in targets.items() if (obj := world.get(ref)) is not None and uid(obj) == wanted]
        return left + sorted(self._descendants() - set(left))

    def _descendants(self) -> set[Ref]:
        """What descends from the doomed and is still there. Each one met is doomed itself, so that its own children
        are known when it is gone."""
        todo, seen = list(self._doomed), set()
        while todo:
            for child in self._follower.world.owned(todo.pop()):
                ref = Ref.of(child)
                if ref not in seen:
                    seen.add(ref)
                    self._doomed.add(uid(child))
                    todo.append(uid(child))
        return seen


def _kept_by(world: World, left: list[Ref]) -> dict[str, str]:
    """The nodes that keep pods from ending, if nothing but such pods and their owners is left."""
    pods = [obj for ref in left if ref.gk == POD and (obj := world.get(ref)) is not None]
    for ref in left:
        if ref.gk == NAMESPACE:
            pods += world.list(POD, ref.name)
    bad = {node_of(pod): not_ready(world, node_of(pod)) for pod in pods}
    return bad if pods and all(bad.values()) else {}


MOST_LINES = 5


def _left_lines(world: World, left: list[Ref]) -> list[str]:
    if len(left) > MOST_LINES:
        return [f"waiting for {len(left)} objects to end"]
    return [_ending(world, ref) for ref in left]


def _ending(world: World, ref: Ref) -> str:
    obj = world.get(ref)
    if obj is None:
        return f"{shown(ref)} is gone"
    if ref.gk == NAMESPACE:
        return f"{shown(ref)} is ending, {len(world.list(POD, name(obj)))} pods left"
    on = f" on {node_of(obj)}" if ref.gk == POD and node_of(obj) else ""
    return f"{shown(ref)} {'is ending' if deleting(obj) else 'waits for its turn'}{on}"
