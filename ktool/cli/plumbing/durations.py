"""Durations as kubectl's users write them (Go's time.ParseDuration): 30s, 5m, 1h30m; a bare number is seconds."""

from __future__ import annotations

import re

from ktool.api.errors import UsageError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|us|µs|ns|[hmsd])", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def seconds(text: str, option: str = "duration") -> float:
    """The seconds that `text` means. UsageError where it means none."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    position, total = 0, 0.0
    while match := _PART.match(text, position):
        total += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if not text or position != len(text):
        raise UsageError(f"{option}: {text!r} is not a duration; write it like 30s, 5m or 1h30m")
    return total
