"""How long to wait before trying again: doubling delays, the kubelet's steps for containers, and their text form.

Source: pkg/kubelet (initial 10 s, doubling to 5 min, forgotten after 10 min) and
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
    """Seconds to wait after failure number `count` (1, 2, ...): base, doubled each time, at most cap. 0 for none."""
    if count <= 0:
        return 0.0
    return float(min(cap, base * 2 ** min(count - 1, 30)))


def following(waited: float) -> int:
    """The container back-off after one of `waited` seconds: 10 after none, then 20, 40, 80, 160, 300. What lay
    still for longer than RESET begins anew."""
    if waited < BASE or waited >= RESET:
        return BASE
    step = BASE
    while step * 2 <= min(waited, CAP):
        step *= 2
    return CAP if waited >= CAP else min(CAP, step * 2)


def retry_at(failure: Failure) -> float:
    """When the step that failed may be tried again (epoch seconds): an image pull waits 10 s doubling to 5 min, as
    the kubelet's, everything else 1 s doubling to 60 s."""
    if failure.step == "EnsureImage":
        return failure.at + delay(failure.count, BASE, CAP)
    return failure.at + delay(failure.count, 1, 60)


def duration(seconds: int) -> str:
    """As Go prints one, which the kubelet's messages show: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def parse_duration(text: str) -> int:
    """The seconds of `duration`'s text; 0 where it is none."""
    match = _DURATION.fullmatch(text)
    if not match:
        return 0
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
