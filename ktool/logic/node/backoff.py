"""Back-off: doubling retry delays, the kubelet's steps for containers, and their text form.

The plans of logic/plan and logic/pod, nodeplane/ and registry/workqueue use it. Source: pkg/kubelet (initial 10 s,
doubling to 5 min, forgotten after 10 min) and
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
"""

from __future__ import annotations

import re

from ktool.logic.node.nodeaction import Failure

BASE, CAP = 10, 300
RESET = 600
"""A container that ran this many seconds has recovered: its next crash is a first one."""

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def delay(count: int, base: float = BASE, cap: float = CAP) -> float:
    """The delay in seconds after failure number `count` (1, 2, ...): base, doubled each time, at most cap. 0 for count
    0."""
    if count <= 0:
        return 0.0
    return float(min(cap, base * 2 ** min(count - 1, 30)))


def following(waited: float) -> int:
    """The next container back-off after one of `waited` seconds: 10 after none, then 20, 40, 80, 160, 300. A pause of
    RESET seconds or more starts again at 10."""
    if waited < BASE or waited >= RESET:
        return BASE
    step = BASE
    while step * 2 <= min(waited, CAP):
        step *= 2
    return CAP if waited >= CAP else min(CAP, step * 2)


def retry_at(failure: Failure) -> float:
    """The time (epoch seconds) of the next retry of a failed step: image pulls back off from 10 s to 5 min, as the
    kubelet's; everything else from 1 s to 60 s."""
    if failure.step == "EnsureImage":
        return failure.at + delay(failure.count, BASE, CAP)
    return failure.at + delay(failure.count, 1, 60)


def duration(seconds: int) -> str:
    """A duration in Go's format, which the kubelet's messages use: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def parse_duration(text: str) -> int:
    """The seconds of a text of `duration`; 0 for any other text."""
    match = _DURATION.fullmatch(text)
    if not match:
        return 0
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
