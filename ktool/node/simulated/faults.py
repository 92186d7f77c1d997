"""Faults: failures of a simulated machine, by name pattern. `node add --simulated --fail` and tests inject them."""

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
    """A failure of every image, pod or container whose name matches `pattern` (fnmatch). `reason` is one of

    ErrImagePull, ErrImageNeverPull, InvalidImageName: the image is not available;
    CreateContainerError, RunContainerError: the container is not created, or created and not started;
    Crash (exit status 1), Crash:N (status N), OOMKilled: it ends half a second after each start;
    IgnoreSIGTERM: it ends by SIGKILL only, after the whole grace period;
    StartupProbe, LivenessProbe, ReadinessProbe, PostStart, PreStop: that probe or hook fails.
    """

    reason: str
    pattern: str

    def __post_init__(self) -> None:
        word, colon, code = self.reason.partition(":")
        if word not in FAULTS or (colon and not (word == "Crash" and code.isdecimal() and int(code) < 256)):
            raise ValueError(f"{self.reason!r} is no fault a simulated node knows; use one of {', '.join(FAULTS)}")

    @property
    def exit_code(self) -> int | None:
        """The exit status of a container with this fault, None where the fault does not end it."""
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
