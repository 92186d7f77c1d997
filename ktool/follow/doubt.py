"""Doubt about Ready pods: a container that ends at once runs for a moment, again and again. `wait` asks it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from ktool.api.obj import Obj, condition, epoch, get, is_true, meta, name, uid
from ktool.api.pod import app_statuses

MOMENT = 1.0
"""Seconds for which a new pod has to stay Ready. Podman needs about 0.15 to tell that a container has ended, a busy
machine several times that."""

SURE = 1.0 + MOMENT
"""The same by the pod's own condition, whose time is cut to whole seconds."""

RESTARTED = 3.0
"""Seconds for which a container has to run that was started again after it had failed. One that fails at once has
used up the restarts before its back-off by then."""


class Doubt:
    """Remembers since when each pod has been seen Ready. `until`: when to look again at those that are doubted, the
    first of them (time.monotonic)."""

    def __init__(self) -> None:
        self._first: dict[str, float] = {}
        self.until = math.inf

    def look(self, pods: Iterable[Obj]) -> None:
        """Take note of pods whose object is not done yet: the time that the first of them stay counts too."""
        for pod in pods:
            if is_true(pod, "Ready"):
                self._first.setdefault(uid(pod), time.monotonic())
            else:
                self._first.pop(uid(pod), None)

    def about(self, pods: Iterable[Obj]) -> str:
        """What is not certain yet of these pods of one object; "" where nothing. Pods of one owner have one template:
        the first of them that stays speaks for all."""
        stay: dict[str, str] = {}
        for pod in pods:
            if again := _started_again(pod):
                self._look_at(time.monotonic() + MOMENT)
                return again
            owner = next((one["uid"] for one in meta(pod).get("ownerReferences") or ()), uid(pod))
            if stay.get(owner) != "":
                stay[owner] = "" if self._stays(pod) else f"pod {name(pod)} has just become ready"
        return next((text for text in stay.values() if text), "")

    def _stays(self, pod: Obj) -> bool:
        ready = condition(pod, "Ready") or {}
        if ready.get("status") != "True" or time.time() - epoch(ready.get("lastTransitionTime")) >= SURE:
            return True
        stays = self._first.setdefault(uid(pod), time.monotonic()) + MOMENT
        if time.monotonic() >= stays:
            return True
        self._look_at(stays)
        return False

    def _look_at(self, moment: float) -> None:
        self.until = min(self.until, moment)


def _started_again(pod: Obj) -> str:
    """The container that failed just before it was started, in words."""
    for status in app_statuses(pod):
        code = get(status, "lastState", "terminated", "exitCode", default=0)
        age = time.time() - epoch(get(status, "state", "running", "startedAt"))
        if code and -1 < age < RESTARTED:
            return f"pod {name(pod)}: container {status['name']} was started again after exit code {code}"
    return ""
