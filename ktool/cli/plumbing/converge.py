"""Convergence after a change: wait, report progress, and say why where it does not work out.

Every verb that changes something ends here.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TextIO

from ktool.api.errors import DONE, ApiError
from ktool.api.obj import Obj, deleting, get, is_true, name, namespace, uid
from ktool.api.pod import app_statuses, statuses_of
from ktool.api.ref import EVENT, Ref
from ktool.api.world import World
from ktool.follow.steps import homeless, pods_of, settled
from ktool.follow.wait import PATIENCE, Departure, Waited, shown, wait_for
from ktool.present import table
from ktool.present.progress import progress as telling

if TYPE_CHECKING:
    from ktool.app import Session
    from ktool.registry.client import Client

LOG_LINES = 5
MOST_PODS = 3
SLOW = 3.0
"""Seconds that a pod may take to be placed, or to become Ready once it runs, before anybody wonders."""
LOOKING = 10.0
"""Seconds at most that a command which is the control plane itself waits for nodes to say how they are."""


def converge(session: Session, refs: Iterable[Ref], *, wait: bool, timeout: float) -> int:
    """Wait until the objects are as desired, where the user asked for it or where this process is the control plane.
    The exit code, after everything was said on stderr."""
    if not (wait or session.acting):
        return DONE
    return watch(session, refs, timeout, sys.stderr).exit_code


def watch(session: Session, refs: Iterable[Ref], timeout: float, stream: TextIO) -> Waited:
    """Wait until the objects are as desired: progress on `stream`, and what went wrong on stderr."""
    refs = list(refs)
    patience = PATIENCE if session.acting else math.inf
    witness, complaints = _Witness(session.client), _Complaints(session.client)
    with _looking(session, refs, timeout), telling(stream) as progress:
        waited = wait_for(
            session.client,
            refs,
            timeout,
            progress,
            patience=patience,
            leavers=session.acting,
            witness=witness.look,
            complaint=complaints.look,
        )
    if waited.exit_code != DONE:
        _explain(session.client, waited, timeout)
    for ref, reason in waited.rolled_back.items():
        _say(f"error: {shown(ref)} was rolled back: {reason}")
    if waited.rolled_back:
        witness.tell()
    return waited


class _Witness:
    """Keeps the last lines of containers that fail while their pods are there: a rollback takes the pods away."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kept: dict[str, list[str]] = {}

    def look(self, pod: Obj) -> None:
        if uid(pod) not in self._kept and len(self._kept) < MOST_PODS and (lines := _sickness(self._client, pod)):
            self._kept[uid(pod)] = lines

    def tell(self) -> None:
        for lines in self._kept.values():
            for line in lines:
                _say(line)


class _Complaints:
    """What keeps pods that take long, once it has kept them for SLOW seconds: a deadline may be minutes away."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._since: dict[tuple[str, bool], float] = {}
        self._looked = -math.inf
        self._said: dict[str, str] = {}
        self._unplaced: set[str] = set()

    def look(self, pod: Obj, world: World) -> str:
        """The newest failure of a probe of a pod that runs, or why one has no node; "" for none, and for what was said
        of another pod already."""
        runs = get(pod, "status", "phase") == "Running"
        unplaced = "" if runs else homeless(world, pod)
        if deleting(pod) or not (runs or unplaced):
            return ""
        now = time.monotonic()
        if now - self._since.setdefault((uid(pod), runs), now) < SLOW:
            return ""
        if not runs:
            is_new = unplaced not in self._unplaced
            self._unplaced.add(unplaced)
            return f"is not placed: {unplaced}" if is_new else ""
        if now - self._looked >= SLOW:
            self._looked, self._said = now, unhealthy(self._client, namespace(pod))
        said = self._said.get(uid(pod), "")
        return f"is not ready: {said}" if said else ""


def unhealthy(client: Client, space: str) -> dict[str, str]:
    """The newest failure of a probe of each pod of a namespace, by uid."""
    events = client.list(EVENT, space, fields="reason=Unhealthy").items
    events.sort(key=lambda event: str(event.get("lastTimestamp") or ""))
    return {str(get(event, "involvedObject", "uid", default="")): str(event.get("message")) for event in events}


@contextlib.contextmanager
def _looking(session: Session, refs: Iterable[Ref], timeout: float) -> Iterator[None]:
    """Where this process is the control plane: judge by what the nodes say now, not by what the store remembers, and
    leave them when they have nothing left to do."""
    if session.plane is None:
        yield
        return
    since, longest = time.monotonic(), min(timeout or math.inf, LOOKING)
    spaces = {ref.namespace for ref in refs if ref.namespace}
    session.plane.look(spaces, since, longest)
    yield
    session.plane.rest(spaces, since, longest)


def end(session: Session, departure: Departure, targets: Mapping[Ref, str], timeout: float) -> int:
    """Wait until these objects (by uid) are gone. The exit code, after everything was said."""
    patience = PATIENCE if session.acting else math.inf
    with telling() as progress:
        waited = departure.wait(targets, timeout, progress, patience)
    if waited.exit_code != DONE:
        _explain(session.client, waited, timeout)
    return waited.exit_code


def _explain(client: Client, waited: Waited, timeout: float) -> None:
    for ref, reason in waited.failed.items():
        _say(f"error: {shown(ref)}: {reason}")
        _show_logs(client, waited, ref)
    for ref, missing in waited.pending.items():
        if waited.unreachable:
            _say(f"error: {shown(ref)}: {missing}")
        else:
            _say(f"error: timed out after {timeout:g}s waiting for {shown(ref)}: {missing}")
            _show_logs(client, waited, ref)
    for node, reason in sorted(waited.unreachable.items()):
        _say(f"error: node {node} cannot be used: {reason}")


def _show_logs(client: Client, waited: Waited, ref: Ref) -> None:
    """The last lines of the containers that do not work, of a few pods: most often they hold the reason."""
    shown_pods = 0
    for pod in pods_of(waited.world, ref):
        lines = [] if settled(pod) or shown_pods >= MOST_PODS else _sickness(client, pod)
        shown_pods += bool(lines)
        for line in lines:
            _say(line)


def _sickness(client: Client, pod: Obj) -> list[str]:
    """How the containers of a pod ended that did not end well, or what its probes say, with the last lines of both."""
    told: list[str] = []
    for container, previous, exit_status in _ended_containers(pod):
        lines = _tail(client, pod, container, previous)
        end = ", its last lines:" if lines else ""
        told.append(f"  pod {name(pod)}, container {container}: exit code {exit_status}{end}")
        told += [f"    {line}" for line in lines]
    return told or _unreadiness(client, pod)


def _unreadiness(client: Client, pod: Obj) -> list[str]:
    """What the probes say of a pod that runs and is not Ready, and what its containers said last."""
    waiting = [status["name"] for status in app_statuses(pod) if _unready(status)]
    if not waiting or is_true(pod, "Ready"):
        return []
    said = unhealthy(client, namespace(pod)).get(uid(pod), "")
    told = [f"  pod {name(pod)} is not ready{': ' + said if said else ''}"]
    for container in waiting:
        lines = _tail(client, pod, container, False)
        told += [f"  pod {name(pod)}, container {container}, its last lines:"] if lines else []
        told += [f"    {line}" for line in lines]
    return told


def _unready(status: Obj) -> bool:
    return bool(get(status, "state", "running")) and not status.get("ready")


def _ended_containers(pod: Obj) -> Iterable[tuple[str, bool, int]]:
    """Containers that ended with an error: name, whether another one runs in its place by now, exit code."""
    for status in statuses_of(pod):
        ended = get(status, "state", "terminated", default={})
        before = get(status, "lastState", "terminated", default={})
        if ended.get("exitCode"):
            yield status["name"], False, ended["exitCode"]
        elif before.get("exitCode"):
            yield status["name"], bool(get(status, "state", "running")), before["exitCode"]


def _tail(client: Client, pod: Obj, container: str, previous: bool) -> list[str]:
    from ktool.node.base import NodeError
    from ktool.registry.client import ClientError, LogRequest

    request = LogRequest(container=container, previous=previous, tail=LOG_LINES)
    try:
        data = b"".join(client.logs(Ref.of(pod), request))
    except (ApiError, ClientError, NodeError):  # The reason was said already; logs are an extra.
        return []
    return data.decode(errors="replace").splitlines()[-LOG_LINES:]


def _say(line: str) -> None:
    print(table.safe(line), file=sys.stderr)
