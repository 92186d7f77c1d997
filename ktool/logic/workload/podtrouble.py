"""Pod failure detection: reasons why a pod will not run that waiting does not mend, found within seconds and not at a
deadline.

follow/wait, logic/workload/rollback, control/rehearsal and kinds/pod call it.
"""

from __future__ import annotations

from ktool.api.obj import Obj, condition, get, name
from ktool.api.pod import app_statuses, node_of, statuses_of

CERTAIN = frozenset(
    {
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Waiting reasons that stay until a person changes something. A first ErrImagePull may be the network; the second
one is an ImagePullBackOff."""

TAKEN = "address already in use"
"""Error texts for a port that is already in use: no restart mends that."""

REFUSED = ("manifest unknown", "name unknown", "unauthorized", "denied")
"""Error texts of a registry that answers and refuses the image (OCI distribution spec, error codes)."""


def trouble(pod: Obj) -> str:
    """The certain failure of a pod in one sentence, with pod, container, reason and last exit; "" where none is
    certain."""
    if get(pod, "status", "phase") == "Failed":
        reason = get(pod, "status", "reason", default="") or _exit(pod) or "a container ended with an error"
        return f"pod {name(pod)} failed: {reason}"
    for status in statuses_of(pod):
        waiting = get(status, "state", "waiting", default={})
        if waiting.get("reason") in CERTAIN or _is_refused(waiting) or TAKEN in str(waiting.get("message")):
            reason = "port in use" if TAKEN in str(waiting.get("message")) else waiting["reason"]
            parts = [f"pod {name(pod)}: container {status['name']}: {reason}"]
            if last := get(status, "lastState", "terminated", default={}):
                parts.append(f"last exit code {last.get('exitCode')} ({last.get('reason', 'Error')})")
            if waiting.get("message"):
                parts.append(waiting["message"])
            return "; ".join(parts)
    return ""


def _is_refused(waiting: Obj) -> bool:
    text = str(waiting.get("message", "")).lower()
    return waiting.get("reason") == "ErrImagePull" and any(words in text for words in REFUSED)


def _exit(pod: Obj) -> str:
    for status in app_statuses(pod):
        ended = get(status, "state", "terminated", default={})
        if ended.get("exitCode"):
            return f"container {status['name']} exited with code {ended['exitCode']} ({ended.get('reason', 'Error')})"
    return ""


def unready(pod: Obj) -> str:
    """Why a pod without a certain failure is not Ready, in one sentence; "" for a Ready pod."""
    ready = condition(pod, "Ready") or {}
    if ready.get("status") == "True":
        return ""
    placed = condition(pod, "PodScheduled") or {}
    if not node_of(pod):
        return f"pod {name(pod)} is not placed: {placed.get('message') or 'it waits for the scheduler'}"
    for status in statuses_of(pod):
        waiting = get(status, "state", "waiting", default={})
        if waiting:
            text = waiting.get("message") or waiting.get("reason", "waiting")
            return f"pod {name(pod)}: container {status['name']}: {text}"
    return f"pod {name(pod)} runs and is not ready{': ' + ready['message'] if ready.get('message') else ''}"
