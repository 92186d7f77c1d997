"""Mistakes of ours that a thread of the control plane survives: it logs them, and goes on. Kept in the crash log."""

from __future__ import annotations

import logging
from pathlib import Path

from ktool.cli.plumbing import errors


def keep(home: Path, *, debug: bool) -> None:
    """From now on: an exception that is logged goes to HOME/crash.log, and is said in one sentence the first time.
    `debug`: everything that is logged is shown already, and is left as it is."""
    root, ours = logging.getLogger(), logging.getLogger("ktool")
    if debug or any(isinstance(handler, _Keeper) for handler in ours.handlers):
        return
    ours.addHandler(_Keeper(home))
    if not root.handlers:
        root.addHandler(logging.NullHandler())  # Else Python's last resort prints the traceback.


class _Keeper(logging.Handler):
    """A thread that fails tries again and again: each kind of failure is told and kept once."""

    def __init__(self, home: Path) -> None:
        super().__init__(logging.ERROR)
        self._home = home
        self._known: set[tuple[str, str]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        key = (record.name, type(error).__name__)
        if error is None or key in self._known:
            return
        self._known.add(key)
        errors.report_mistake(error, self._home)
