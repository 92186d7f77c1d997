"""Exit codes and OOM kills of earlier runs, which Podman's inspect does not show. node/podman/runtime and containerio
call it.

When Podman restarts a container by its restart policy it forgets the exit code of the run before, and conmon does not
learn of an out-of-memory kill on every kernel (with cgroup v1 none of late tells it). Podman's journal of events has
the code, and the kernel's log names the container that was killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ktool.logic.node.nodeaction import Ended
from ktool.node.base import Transport
from ktool.node.podman.facts import seconds
from ktool.node.podman.podmanapi import PodmanApi, Refused

KILLED = 137
"""128 + SIGKILL: how a container ends that the kernel's out-of-memory killer has chosen."""

_KERNEL_LOG = r"""
log=$(dmesg 2>/dev/null) || { echo unknown; exit 0; }
case $log in *"libpod-$1"*) echo yes ;; *) echo no ;; esac
"""


def completed(inspected: Mapping[str, Any], api: PodmanApi, transport: Transport) -> dict[str, Any]:
    """The inspect with State.ExitCode and State.OOMKilled corrected to the last run that has ended, even while the
    container runs again, and with the run before that under "Before" (an Ended, or None). Raises Refused or NodeError
    where the node cannot be asked."""
    state = dict(inspected.get("State") or {})
    own, finished, started = str(inspected["Id"]), seconds(state.get("FinishedAt")), seconds(state.get("StartedAt"))
    if not finished:
        return dict(inspected)
    running, restarted = bool(state.get("Running")), bool(inspected.get("RestartCount"))
    limited = bool((inspected.get("HostConfig") or {}).get("Memory"))

    def oom(code: int, at: float) -> bool:
        return limited and code == KILLED and not was_killed(deaths, at) and _kernel_did(transport, own)

    suspect = limited and not state.get("OOMKilled") and state.get("ExitCode") == KILLED
    deaths = _events(api, own, min(started, finished)) if running or restarted or suspect else []
    before = None
    if running:
        state["ExitCode"] = exit_code(deaths, finished, int(state.get("ExitCode") or 0))
    elif restarted and (last := last_death(deaths, started)):
        before = Ended(*last, oom(*last))
    if not state.get("OOMKilled"):
        state["OOMKilled"] = oom(state["ExitCode"], finished)
    return {**inspected, "State": state, "Before": before}


def end_before(inspected: Mapping[str, Any], api: PodmanApi) -> float:
    """The end (epoch seconds) of the run before the present one, or before the last one where none runs; 0 where there
    was none or it is not known."""
    if not inspected.get("RestartCount"):
        return 0.0
    state = inspected.get("State") or {}
    finished, started = seconds(state.get("FinishedAt")), seconds(state.get("StartedAt"))
    if finished <= started:
        return finished
    last = last_death(_events(api, str(inspected["Id"]), started), started)
    return last[1] if last else 0.0


def _events(api: PodmanApi, container: str, since: float) -> list[dict[str, Any]]:
    """Podman's events about the container from a minute before that time on, in order; none where it keeps no journal
    (events_logger = none)."""
    filters = json.dumps({"container": [container], "event": ["died", "kill"]})
    try:
        answer = api.stream("GET", "events", stream=False, since=str(int(since) - 60), filters=filters)
    except Refused:
        return []
    found = []
    try:
        while line := answer.line():
            found.append(json.loads(line))
    except ValueError:
        pass
    finally:
        answer.close()
    return found


def exit_code(events: Iterable[Mapping[str, Any]], finished: float, fallback: int) -> int:
    """The exit code of the run that ended at `finished`. Podman records a death a moment after it."""
    code = next((_code(event) for event in events if event.get("Action") == "died" and _at(event) >= finished), None)
    return fallback if code is None else code


def last_death(events: Iterable[Mapping[str, Any]], started: float) -> tuple[int, float] | None:
    """Exit code and time of the last run that ended before `started`; None where none is known."""
    found = None
    for event in events:
        if event.get("Action") == "died" and _at(event) < started and (code := _code(event)) is not None:
            found = (code, _at(event))
    return found


def _code(event: Mapping[str, Any]) -> int | None:
    text = str(((event.get("Actor") or {}).get("Attributes") or {}).get("containerExitCode", ""))
    return int(text) if text.isdecimal() else None


def was_killed(events: Iterable[Mapping[str, Any]], finished: float) -> bool:
    """Whether `podman kill` ended the run: no death lies between the kill and the end of the run."""
    killed = False
    for event in events:
        if event.get("Action") == "kill":
            killed = True
        elif _at(event) >= finished:
            break
        else:
            killed = False
    return killed


def _at(event: Mapping[str, Any]) -> float:
    return float(event.get("timeNano") or 0) / 1e9


def _kernel_did(transport: Transport, container: str) -> bool:
    """Whether the kernel's log has an OOM kill in this container's cgroup. Where that log is not readable, an
    unrequested SIGKILL of a container with a memory limit counts as one."""
    done = transport.run(["sh", "-c", _KERNEL_LOG, "ktool", container], timeout=15)
    return done.stdout.strip() != b"no"
