"""Progress of long work on stderr: lines in a pipe, a redrawn region on a terminal.

Every waiting command uses it. The only module that imports rich."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from ktool.importing import IMPORTING
from ktool.present.table import safe


def is_live(stream: TextIO = sys.stderr) -> bool:
    """Whether a person looks at that stream on a terminal that can redraw."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("CI")


class Progress:
    """Tells how far long work is: `update` with one line for each thing that is still going on, `say` for a line that
    stays. In a pipe each new line is printed once, plain. `detailed`: there is room for a line for each pod."""

    detailed = False

    def update(self, lines: Sequence[str]) -> None:
        raise NotImplementedError

    def say(self, line: str) -> None:
        raise NotImplementedError


class PlainProgress(Progress):
    """Lines in a pipe or CI: a line is printed when it was not among those printed last, once a second at most and not
    in the first one, so that what is quick is quiet."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: set[str] = set()
        self._printed = time.monotonic()

    def update(self, lines: Sequence[str]) -> None:
        new = [line for line in dict.fromkeys(lines) if line not in self._shown]
        if not new or time.monotonic() - self._printed < 1.0:
            return
        self._shown, self._printed = set(lines), time.monotonic()
        for line in new:
            self.say(line)

    def say(self, line: str) -> None:
        print(safe(line), file=self._stream, flush=True)


class LiveProgress(Progress):
    """A region at the bottom of a terminal that is redrawn."""

    LEAST, LEFT = 12, 8
    """Lines that are shown in any terminal, and those that a large one keeps for what was said before."""
    detailed = True

    def __init__(self, stream: TextIO) -> None:
        with IMPORTING:
            from rich.console import Console
            from rich.live import Live
            from rich.text import Text

        self._text: Any = Text
        console = Console(file=stream, no_color=bool(os.environ.get("NO_COLOR")), highlight=False, soft_wrap=False)
        self.live = Live(console=console, auto_refresh=False, transient=True)
        self._drawn = 0.0

    def update(self, lines: Sequence[str]) -> None:
        now = time.monotonic()
        if (
            lines and now - self._drawn < 0.05
        ):  # more often than that nobody can read, and drawing would slow the work down
            return
        self._drawn = now
        most = max(self.LEAST, self.live.console.height - self.LEFT)
        shown = [safe(line) for line in lines[:most]]
        if len(lines) > most:
            shown.append(f"... and {len(lines) - most} more")
        text = self._text("\n".join(shown), no_wrap=True, overflow="ellipsis")
        self.live.update(text, refresh=True)

    def say(self, line: str) -> None:
        self.live.console.print(self._text(safe(line)))


@contextmanager
def progress(stream: TextIO | None = None) -> Iterator[Progress]:
    """The way to tell progress that fits where the stream (stderr where none is given) goes."""
    stream = stream or sys.stderr
    if is_live(stream):
        live = LiveProgress(stream)
        with live.live:
            yield live
    else:
        yield PlainProgress(stream)
