"""Faults: what can go wrong on a simulated machine. `node add --simulated --fail` and tests name them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

SIGKILLED = 137
"""128 + SIGKILL, as shells and Podman count it."""

CRASH_AFTER = 0.5
"""Seconds that a container with the fault Crash runs."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong for every image, pod or container whose name matches `pattern` (fnmatch). `reason` is

    ErrImagePull, ErrImageNeverPull, InvalidImageName: the image cannot be had;
    CreateContainerError, RunContainerError: the container is not made, or made and not started;
    Crash (exit status 1), Crash:N (status N), OOMKilled: it ends half a second after each start;
    IgnoreSIGTERM: it ends by SIGKILL only, after the whole grace period;
    StartupProbe, LivenessProbe, ReadinessProbe, PostStart, PreStop: that probe or hook fails."""

    reason: str
    pattern: str

    def __post_init__(self) -> None:
        word, colon, code = self.reason.partition(":")
        if word not in FAULTS or (colon and not (word == "Crash" and code.isdecimal() and int(code) < 256)):
            raise ValueError(f"{self.reason!r} is no fault a simulated node knows; use one of {', '.join(FAULTS)}")

    @property
    def exit_code(self) -> int | None:
        """The status with which a container with this fault ends, None where it does not end by it."""
        word, _, code = self.reason.partition(":")
        return {"Crash": int(code or 1), "OOMKilled": SIGKILLED}.get(word)

    def hits(self, names: Iterable[str]) -> bool:
        return any(fnmatchcase(name, self.pattern) for name in names)


IMAGE_FAULTS = ("ErrImagePull", "ErrImageNeverPull", "InvalidImageName")
CALL_FAULTS = {
    "startup": "StartupProbe",
    "liveness": "LivenessProbe",
    "readiness": "ReadinessProbe",
    "postStart": "PostStart",
    "preStop": "PreStop",
}
FAULTS = (
    *IMAGE_FAULTS, "CreateContainerError", "RunContainerError", "Crash", "OOMKilled", "IgnoreSIGTERM",
    *CALL_FAULTS.values(),
)  # fmt: skip
