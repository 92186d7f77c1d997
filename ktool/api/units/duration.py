"""Durations as kubectl prints them in AGE columns. The columns of kinds/ and `describe` use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktool.api.obj import epoch, meta

UNKNOWN = "<unknown>"

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def human(seconds: float) -> str:
    """`45s`, `3m12s`, `5h2m`, `3d4h`, `12d`, `1y20d`: the two greatest units at most, and one where the second says
    little (k8s.io/apimachinery/pkg/util/duration, HumanDuration). Up to two seconds in the future count as now."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 2 * _MINUTE:
        return f"{max(0, whole)}s"
    if whole < 10 * _MINUTE:
        return _two(whole, _MINUTE, "m", 1, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two(whole, _HOUR, "h", _MINUTE, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two(whole, _DAY, "d", _HOUR, "h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    if whole < 8 * _YEAR:
        return _two(whole, _YEAR, "y", _DAY, "d")
    return f"{whole // _YEAR}y"


def _two(seconds: int, unit: int, sign: str, smaller: int, smaller_sign: str) -> str:
    rest = seconds % unit // smaller
    return f"{seconds // unit}{sign}{f'{rest}{smaller_sign}' if rest else ''}"


def since(time: str | None, now: float) -> str:
    """The age of an RFC 3339 time; `<unknown>` where there is none."""
    return human(now - epoch(time)) if time else UNKNOWN


def age(obj: Mapping[str, Any], now: float) -> str:
    """The AGE cell of an object."""
    return since(meta(obj).get("creationTimestamp"), now)
