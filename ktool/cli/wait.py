"""Waiting until objects are as desired, or gone: driven by watches, judged by Kind.progress."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ktool.api.kind import REGISTRY
from ktool.api.kind import Progress as Standing
from ktool.api.obj import Obj, condition, deleting, get, is_true, name, uid
from ktool.api.ref import Ref
from ktool.api.world import World
from ktool.cli.errors import DONE, ERROR, PARTIAL, TIMEOUT
from ktool.cli.follow import Follower, below, scopes
from ktool.cli.render import Progress

if TYPE_CHECKING:
    from ktool.client.base import Client

UNREACHABLE_PATIENCE = 20.0
"""Seconds to wait for pods on nodes that are not Ready, once nothing else is left to wait for."""

LEAST_IDLE = 4.0
"""Judging takes at most one part in five of the time: each round is followed by four times its length of listening.
A large rollout brings thousands of events, and this process may be the one that produces them."""


@dataclass
class Waited:
    """What came of waiting. `failed`: reasons that waiting will not mend; `pending`: what was missing at the end of
    the time; `unreachable`: the nodes that kept pods from running, with what is known about each."""

    done: list[Ref] = field(default_factory=list)
    failed: dict[Ref, str] = field(default_factory=dict)
    pending: dict[Ref, str] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    world: World = field(default_factory=World)

    @property
    def exit_code(self) -> int:
        if self.failed:
            return ERROR
        if self.unreachable:
            return PARTIAL
        return TIMEOUT if self.pending else DONE


def wait_for(client: Client, refs: Iterable[Ref], timeout: float, progress: Progress) -> Waited:
    """Wait until every object is as desired or has certainly failed, `timeout` seconds at most (0: for ever).

    Kinds without a progress of their own are as desired as soon as they are stored."""
    refs = [ref for ref in dict.fromkeys(refs) if REGISTRY[ref.kind].progress]
    if not refs:
        return Waited()
    with Follower(client, scopes(refs)) as follower:
        return _Wait(follower, refs, timeout, progress).run()


class _Wait:
    def __init__(self, follower: Follower, refs: list[Ref], timeout: float, progress: Progress) -> None:
        self.follower, self.progress = follower, progress
        self.world = follower.world
        self.end = time.monotonic() + timeout if timeout else None
        self.open = dict.fromkeys(refs, "")
        self.result = Waited(world=follower.world)
        self.stuck_since = 0.0

    def run(self) -> Waited:
        while True:
            began = time.monotonic()
            self._judge()
            if not self.open or self._nodes_are_gone():
                break
            if self.end is not None and time.monotonic() >= self.end:
                break
            if not self._listen((time.monotonic() - began) * LEAST_IDLE):
                break
        self.result.pending = {ref: text for ref, text in self.open.items() if ref not in self.result.failed}
        return self.result

    def _judge(self) -> None:
        """Ask every object that is not done yet; a failed one may still mend while others are waited for."""
        for ref in list(self.open):
            standing = self._standing(ref)
            self.open[ref] = standing.message
            if standing.done:
                del self.open[ref]
                self.result.failed.pop(ref, None)
                self.result.done.append(ref)
            elif standing.failed:
                if self.result.failed.get(ref) != standing.failed:
                    self.progress.say(f"{shown(ref)}: {standing.failed}")
                self.result.failed[ref] = standing.failed
            else:
                self.result.failed.pop(ref, None)
        lines = [text for text in self.open.values() if text]
        if self.progress.detailed:
            lines += [pod_line(pod) for ref in self.open for pod in pods_of(self.world, ref) if not settled(pod)][:10]
        self.progress.update(lines)
        if all(ref in self.result.failed for ref in self.open):
            self.open = {}

    def _standing(self, ref: Ref) -> Standing:
        obj = self.world.get(ref)
        if obj is None:
            return Standing(False, "", f"{shown(ref)} was deleted while it was waited for")
        judge = REGISTRY[ref.kind].progress
        assert judge is not None
        return judge(obj, self.world)

    def _listen(self, at_least: float) -> bool:
        """Take in news; for `at_least` seconds if there is any. False where the time is over."""
        timeout = 1.0 if self.end is None else min(1.0, max(0.0, self.end - time.monotonic()))
        if self.follower.changes(timeout):
            until = time.monotonic() + min(at_least, 0.5)
            while (left := until - time.monotonic()) > 0:
                self.follower.changes(left)
        return True

    def _nodes_are_gone(self) -> bool:
        """Whether all that is left waits for nodes that are not Ready, for longer than patience goes."""
        waiting = [pod for ref in self.open for pod in pods_of(self.world, ref) if not settled(pod)]
        nodes = {str(get(pod, "spec", "nodeName", default="")) for pod in waiting}
        bad = {node: why for node in nodes if (why := not_ready(self.world, node))}
        if not nodes or set(bad) != nodes:
            self.stuck_since = 0.0
            return False
        self.stuck_since = self.stuck_since or time.monotonic()
        if time.monotonic() - self.stuck_since < UNREACHABLE_PATIENCE:
            return False
        self.result.unreachable = bad
        return True


def shown(ref: Ref) -> str:
    """As output names it: `deployment.apps/web`."""
    return REGISTRY[ref.kind].display(ref.name)


def pods_of(world: World, ref: Ref) -> list[Obj]:
    """The pods of an object: itself, or what it owns."""
    obj = world.get(ref)
    if obj is None:
        return []
    return [found for found in (obj, *below(world, uid(obj))) if found.get("kind") == "Pod"]


def settled(pod: Obj) -> bool:
    """Whether nobody waits for this pod."""
    return is_true(pod, "Ready") or get(pod, "status", "phase") == "Succeeded"


def pod_line(pod: Obj) -> str:
    """Which pod, where, and which step it is at."""
    on = get(pod, "spec", "nodeName", default="")
    return f"  pod {name(pod)}{f' on {on}' if on else ''}: {pod_step(pod)}"


def pod_step(pod: Obj) -> str:
    """The step a pod is at, in one short phrase: its first container that waits, or its phase."""
    if deleting(pod):
        return "ending"
    for status in (
        *get(pod, "status", "initContainerStatuses", default=()),
        *get(pod, "status", "containerStatuses", default=()),
    ):
        if waiting := get(status, "state", "waiting", default={}):
            return f"{status['name']}: {waiting.get('message') or waiting.get('reason') or 'waiting'}"
    scheduled = condition(pod, "PodScheduled") or {}
    if scheduled.get("status") == "False":
        return str(scheduled.get("message") or "waits for a node")
    return str(get(pod, "status", "phase", default="Pending"))


def not_ready(world: World, node: str) -> str:
    """Why a node takes no orders; "" where it does, or is not known."""
    found = world.get(Ref("Node", "", node)) if node else None
    if found is None:
        return ""
    ready = condition(found, "Ready")
    if ready is None or ready.get("status") == "True":
        return ""
    return str(ready.get("message") or ready.get("reason") or "not Ready")


# --- gone --------------------------------------------------------------------------------------------------------


def wait_gone(
    client: Client, targets: Mapping[Ref, str], timeout: float, progress: Progress, *, dependents: bool
) -> list[Ref]:
    """Wait until these very objects (by uid) are gone, `timeout` seconds at most (0: for ever); what is left then.

    `dependents`: also what they own, at any depth. A command that is the control plane itself has to stay for that."""
    watched = scopes(targets)
    for ref in targets:
        if ref.kind == "Namespace" and ("Pod", ref.name) not in watched:
            watched.append(("Pod", ref.name))
    end = time.monotonic() + timeout if timeout else None
    with Follower(client, watched) as follower:
        doomed = set(targets.values())
        while True:
            left = _left(follower.world, targets, doomed if dependents else set())
            remaining = None if end is None else end - time.monotonic()
            if not left or (remaining is not None and remaining <= 0):
                return left
            progress.update([_ending(follower.world, ref) for ref in left])
            follower.changes(remaining)


def _left(world: World, targets: Mapping[Ref, str], doomed: set[str]) -> list[Ref]:
    """The targets that still exist, and what descends from them. `doomed` grows by the uids of those."""
    left = [ref for ref, wanted in targets.items() if (obj := world.get(ref)) is not None and uid(obj) == wanted]
    todo, seen = list(doomed), set()
    while todo:
        for child in world.owned(todo.pop()):
            ref = Ref.of(child)
            if ref not in seen:
                seen.add(ref)
                doomed.add(uid(child))
                todo.append(uid(child))
    return left + sorted(seen - set(left))


def _ending(world: World, ref: Ref) -> str:
    obj = world.get(ref)
    if obj is None:
        return ""
    on = get(obj, "spec", "nodeName") if ref.kind == "Pod" else ""
    if ref.kind == "Namespace":
        return f"{shown(ref)} is ending, {len(world.list('Pod', name(obj)))} pods left"
    word = "is ending" if deleting(obj) else "waits for its turn"
    return f"{shown(ref)} {word}{f' on {on}' if on else ''}"
