"""How the last run of a container ended, where Podman's inspect does not say.

When Podman restarts a container by its restart policy it forgets the exit code of the run before, and conmon does not
learn of an out-of-memory kill on every kernel (with cgroup v1 none of late tells it). Podman's journal of events has
the code, and the kernel's log names the container that was killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ktool.node.base import Transport
from ktool.node.facts import seconds
from ktool.node.podmanapi import PodmanApi, Refused

KILLED = 137
"""128 + SIGKILL: how a container ends that the kernel's out-of-memory killer has chosen."""

_KERNEL_LOG = r"""
log=$(dmesg 2>/dev/null) || { echo unknown; exit 0; }
case $log in *"libpod-$1"*) echo yes ;; *) echo no ;; esac
"""


def completed(inspected: Mapping[str, Any], api: PodmanApi, transport: Transport) -> dict[str, Any]:
    """An inspect whose State.ExitCode and State.OOMKilled speak of the last run that has ended, also where the
    container runs again. Raises Refused or NodeError where the node cannot be asked."""
    state = dict(inspected.get("State") or {})
    own, finished = str(inspected["Id"]), seconds(state.get("FinishedAt"))
    if not finished:
        return dict(inspected)
    deaths = _events(api, own, finished) if state.get("Running") or _may_be_oom(inspected, state) else []
    if state.get("Running"):
        state["ExitCode"] = exit_code(deaths, finished, int(state.get("ExitCode") or 0))
    if _may_be_oom(inspected, state):
        state["OOMKilled"] = not was_killed(deaths, finished) and _kernel_did(transport, own)
    return {**inspected, "State": state}


def _may_be_oom(inspected: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    limit = (inspected.get("HostConfig") or {}).get("Memory")
    return bool(limit) and not state.get("OOMKilled") and state.get("ExitCode") == KILLED


def _events(api: PodmanApi, container: str, finished: float) -> list[dict[str, Any]]:
    """What Podman noted about the container around the end of that run, in the order of time; nothing where it keeps
    no journal (events_logger = none)."""
    filters = json.dumps({"container": [container], "event": ["died", "kill"]})
    try:
        answer = api.stream("GET", "events", stream=False, since=str(int(finished) - 60), filters=filters)
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
    """The code of the run that ended at `finished`: Podman notes a death a moment after it."""
    for event in events:
        if event.get("Action") == "died" and _at(event) >= finished:
            text = str(((event.get("Actor") or {}).get("Attributes") or {}).get("containerExitCode", ""))
            return int(text) if text.isdecimal() else fallback
    return fallback


def was_killed(events: Iterable[Mapping[str, Any]], finished: float) -> bool:
    """Whether a person (podman kill) ended the run: no death lies between the kill and the end of the run."""
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
    """Whether the kernel's log has an out-of-memory kill in this container's cgroup. Where nobody may read that log, a
    kill that nobody asked for, of a container with a memory limit, is one."""
    done = transport.run(["sh", "-c", _KERNEL_LOG, "ktool", container], timeout=15)
    return done.stdout.strip() != b"no"
