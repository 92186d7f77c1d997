"""Waiting for what threads bring about."""

from __future__ import annotations

import time
from collections.abc import Callable

LONG = 30.0
"""Seconds that only a machine under load needs: what hangs in these tests does so until they end."""


def until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not met():
        assert time.monotonic() < end, f"not within {LONG:g} s"
        time.sleep(0.01)
