"""What keeps a pod from running that waiting will not mend: said in seconds, not at a deadline."""

from __future__ import annotations

from ktool.api.obj import Obj, get, name

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

REFUSED = ("manifest unknown", "name unknown", "unauthorized", "denied")
"""What a registry says that is there and will not give the image (OCI distribution spec, error codes)."""


def trouble(pod: Obj) -> str:
    """One sentence that names the pod, the container, the reason and the last exit; "" where nothing is certain."""
    if get(pod, "status", "phase") == "Failed":
        reason = get(pod, "status", "reason", default="") or _exit(pod) or "a container ended with an error"
        return f"pod {name(pod)} failed: {reason}"
    statuses = [
        *get(pod, "status", "initContainerStatuses", default=()),
        *get(pod, "status", "containerStatuses", default=()),
    ]
    for status in statuses:
        waiting = get(status, "state", "waiting", default={})
        if waiting.get("reason") in CERTAIN or _is_refused(waiting):
            parts = [f"pod {name(pod)}: container {status['name']}: {waiting['reason']}"]
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
    for status in get(pod, "status", "containerStatuses", default=()):
        ended = get(status, "state", "terminated", default={})
        if ended.get("exitCode"):
            return f"container {status['name']} exited with code {ended['exitCode']} ({ended.get('reason', 'Error')})"
    return ""
