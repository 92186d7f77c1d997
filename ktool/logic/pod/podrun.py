"""Run state of a container: restart count, termination, crash loop and back-off.

logic/pod/podplan, podlife and podstatus call it. Everything is derived from the Pod's last status and the observed
facts, so a restarted control plane continues where the last one left off. The back-off needs no counter: the pause
between lastState.terminated.finishedAt and state.running.startedAt is the previous back-off, and while a container
waits, its message contains the present one.

Podman restarts a container at once by its own restart policy. The first FREE restarts are left to it; after these a
container that Podman has just restarted is stopped, so that it waits out its back-off as in Kubernetes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ktool.api.obj import Obj, epoch, get, timestamp
from ktool.logic.node import backoff
from ktool.logic.node.nodeaction import ContainerFact, Ended

FREE = 3
"""Restarts of Podman's own before the back-off begins."""

YOUNG = 10
"""A run of more than so many seconds is left alone, however often the container crashed before."""

WINDOW = 3
"""Seconds in which Podman restarts a container by itself; one that still lies still then is started by us."""

CRASH_LOOP = "CrashLoopBackOff"
_ALIVE = frozenset({"running", "paused", "stopping", "removing"})
_ENDED = frozenset({"exited", "stopped"})
_KILLED = frozenset({137, 143})
_BACK_OFF = re.compile(r"back-off (\w+) restarting failed container")


@dataclass(frozen=True)
class Run:
    """`state`: absent, created, running or exited. `ended`: how the present run ended, `last`: how the one before it
    did (core/v1 ContainerStateTerminated). `final`: it will not run again. `delay`: the back-off in seconds of a
    crash loop, over at `until`; `stop`: it must be stopped now so that Podman lets it wait."""

    state: str
    restarts: int = 0
    ended: Obj | None = None
    last: Obj | None = None
    final: bool = False
    delay: int = 0
    until: float = 0.0
    stop: bool = False

    @property
    def succeeded(self) -> bool:
        return self.final and self.ended is not None and self.ended.get("exitCode") == 0


def assess(before: Obj, fact: ContainerFact | None, *, policy: str, init: bool, now: float) -> Run:
    """Judge a container: `before` is its entry in the Pod's status ({} if none), `policy` the Pod's restartPolicy."""
    state = _state(fact)
    known = _known_start(before)
    if fact is None or state == "created":
        return _not_running(before, fact, policy, init)
    restarts, last = _history(before, fact, known)
    if state == "running":
        if _loops(fact, restarts, last, init) and now - fact.started_at < YOUNG:
            return Run(state, restarts, last=last, delay=_delay(before, fact), until=now, stop=True)
        return Run(state, restarts, last=last)
    ended = _ended(before, fact)
    if _is_final(policy, init, ended):
        return Run(state, restarts, ended, last, final=True)
    waiting = _within(before, fact)
    if waiting and get(last, "exitCode") is not None and fact.exit_code in _KILLED and not fact.oom_killed:
        # Our own stop ended this run: what users want to read is the crash before it.
        ended = {**last, "finishedAt": ended["finishedAt"]} if last else ended
    if waiting or _loops(fact, restarts, last, init):
        pause = _delay(before, fact)
        return Run(state, restarts, ended, last, delay=pause, until=fact.finished_at + pause)
    return Run(state, restarts, ended, last, until=fact.finished_at if init else fact.finished_at + WINDOW)


def is_alive(fact: ContainerFact | None) -> bool:
    """Whether its process runs, as far as can be seen."""
    return fact is not None and fact.state in _ALIVE


def container_id(entry: Obj) -> str:
    """The runtime's id in a containerID like podman://1f2e."""
    return str(entry.get("containerID") or "").rpartition("//")[2]


def _state(fact: ContainerFact | None) -> str:
    if fact is None:
        return "absent"
    if fact.state in _ALIVE:
        return "running"
    return "exited" if fact.state in _ENDED else "created"


def _known_start(before: Obj) -> float:
    """When the newest run that the status knows of began."""
    return max(
        epoch(get(before, "state", "running", "startedAt")),
        epoch(get(before, "state", "terminated", "startedAt")),
        epoch(get(before, "lastState", "terminated", "startedAt")),
    )


def _not_running(before: Obj, fact: ContainerFact | None, policy: str, init: bool) -> Run:
    """A container that is not there, or was made and not started: by us, by a person, or by a reboot."""
    state = _state(fact)
    restarts = int(before.get("restartCount") or 0)
    last = get(before, "lastState", "terminated")
    ended = get(before, "state", "terminated")
    if ended is None and get(before, "state", "running") is not None:
        ended = _lost(before)
    if ended is not None and _is_final(policy, init, ended):
        return Run(state, restarts, ended, last, final=True)
    return Run(state, restarts, None, ended or last)


def _lost(before: Obj) -> Obj:
    return {
        "exitCode": 137,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was checked",
        "startedAt": get(before, "state", "running", "startedAt"),
    }


def _history(before: Obj, fact: ContainerFact, known: float) -> tuple[int, Obj | None]:
    """restartCount and lastState.terminated, given a container that runs or has run."""
    restarts = int(before.get("restartCount") or 0)
    last: Obj | None = get(before, "lastState", "terminated")
    if known and _is_new(before, fact, known) and not _within(before, fact):
        restarts += 1
        terminated, running = get(before, "state", "terminated"), get(before, "state", "running")
        if terminated is not None:
            last = terminated
        elif running is not None:
            last = _lost(before) if container_id(before) != fact.id else _previous(fact, known)
        elif get(before, "state", "waiting") is None:
            last = _previous(fact, known)
    elif not known and (fact.before is not None or (fact.finished_at and fact.state in _ALIVE)):
        last = _previous(fact, fact.finished_at)
    return max(restarts, fact.restarts), last


def _is_new(before: Obj, fact: ContainerFact, known: float) -> bool:
    """Whether the node tells of a run that the status does not know. Times in a status are whole seconds, and two
    runs may begin in one of them: then another container, or the end of the run before, tells them apart."""
    if int(fact.started_at) > known or container_id(before) not in ("", fact.id):
        return True
    if fact.state not in _ALIVE:
        return False
    written = epoch(get(before, "lastState", "terminated", "finishedAt"))
    return get(before, "state", "terminated") is not None or int(fact.finished_at) > written


def _previous(fact: ContainerFact, started: float) -> Obj:
    """The run before the present one, of which a node tells the end alone. A run that ended in a restart of the same
    container cannot have begun after it ended."""
    alive = fact.state in _ALIVE
    if fact.before is not None and not alive:
        run = fact.before
    else:
        run = Ended(
            fact.exit_code, fact.finished_at if alive and fact.finished_at else fact.started_at, fact.oom_killed
        )
    return _terminated(run.exit_code, min(started, run.at), run.at, fact.id, run.oom_killed)


def _ended(before: Obj, fact: ContainerFact) -> Obj:
    """How the present run ended; as it was written down the first time, so that nothing moves."""
    written: Obj | None = get(before, "state", "terminated")
    if written is not None and epoch(written.get("startedAt")) == int(fact.started_at):
        return written
    return _terminated(fact.exit_code, fact.started_at, fact.finished_at, fact.id, fact.oom_killed, fact.error)


def _terminated(
    code: int, started: float, finished: float, container: str, oom: bool = False, message: str = ""
) -> Obj:
    entry: dict[str, Any] = {
        "exitCode": code,
        "reason": "OOMKilled" if oom else "Completed" if code == 0 else "Error",
        "startedAt": timestamp(started),
        "finishedAt": timestamp(finished),
        "containerID": f"podman://{container}",
    }
    if message:
        entry["message"] = message
    return entry


def _is_final(policy: str, init: bool, ended: Obj) -> bool:
    if init:
        return ended.get("exitCode") == 0 or policy == "Never"
    return policy == "Never" or (policy == "OnFailure" and ended.get("exitCode") == 0)


def _loops(fact: ContainerFact, restarts: int, last: Obj | None, init: bool) -> bool:
    """Whether the container crashed again and again: enough restarts, and a short run before this one."""
    if init:
        return fact.state in _ENDED and restarts >= 1
    # One that lies still was ended by us (a probe or a hook failed) or by a person, or Podman is about to start it.
    again = fact.restarts >= 1 or fact.state in _ENDED
    return again and restarts >= FREE and last is not None and _length(last) < backoff.RESET


def _waiting(before: Obj) -> int:
    """The back-off that the status says a container is in; 0 for none."""
    waiting = get(before, "state", "waiting", default={})
    if waiting.get("reason") != CRASH_LOOP:
        return 0
    found = _BACK_OFF.match(str(waiting.get("message", "")))
    return backoff.parse_duration(found[1]) if found else backoff.BASE


def _within(before: Obj, fact: ContainerFact) -> bool:
    """Whether a run belongs to the crash that the status says is being waited out: it is that run, or one that Podman
    began before it was told to stop. A run that began when the back-off was over is a new one; half of the back-off
    is the line between them, so that a node's clock may differ by seconds."""
    waited = _waiting(before)
    crashed = epoch(get(before, "lastState", "terminated", "finishedAt"))
    return bool(waited) and fact.started_at < crashed + waited / 2


def _length(run: Obj) -> float:
    return epoch(run.get("finishedAt")) - epoch(run.get("startedAt"))


def _delay(before: Obj, fact: ContainerFact) -> int:
    """The back-off of this crash: the one its message says already, or the step after the pause kept last time."""
    if waited := _waiting(before):
        return waited if _within(before, fact) else backoff.following(waited)
    recorded = get(before, "lastState", "terminated")
    running = epoch(get(before, "state", "running", "startedAt") or get(before, "state", "terminated", "startedAt"))
    if recorded is None or not running:
        return backoff.BASE
    return backoff.following(running - epoch(recorded.get("finishedAt")))
