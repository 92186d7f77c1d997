"""The answer to `ktool __complete WORD...`: `cli/main` calls it.

Each candidate is a line, with a tab and its meaning where it has one. The last line is a directive, as with kubectl:
`:4`, bit 2 no space after the word, bit 4 no file names. `--line LINE` in place of words gives the text of a whole
command up to the cursor. Nothing else is ever said, and a word that a shell could take for more than a word is left
out: no name from a cluster is run when it is completed.
"""

from __future__ import annotations

import contextlib
import io
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

from ktool.api.errors import DONE
from ktool.cli.complete import cmdline
from ktool.cli.complete.candidates import NOTHING, Candidates, candidates

SECONDS = 3.0
"""How long a Tab key may take; then there are no candidates."""

_WORD = re.compile(r"[A-Za-z0-9_./:@=,+%-]+")


class _TooLong(BaseException):
    """The time is up."""


def answer(words: Sequence[str]) -> int:
    """Print the candidates. Always DONE: to a shell an error is nothing to complete."""
    if words[:1] == ["--line"]:
        words = cmdline.split(" ".join(words[1:]))[1:]
    found, word = NOTHING, words[-1] if words else ""
    try:
        with _silence(), _time_limit():
            found = candidates(cmdline.read(words))
    except (Exception, SystemExit, _TooLong):
        pass
    sys.stdout.write(_text(found, word))
    sys.stdout.flush()
    return DONE


def _text(found: Candidates, word: str) -> str:
    lines = [
        f"{one}\t{meaning}" if meaning else one
        for one, meaning in found.words.items()
        if one.startswith(word) and _WORD.fullmatch(one)
    ]
    return "".join(f"{line}\n" for line in [*lines, f":{found.directive}"])


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing is printed, and nobody is asked for a passphrase."""
    stdin, sys.stdin = sys.stdin, io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        sys.stdin = stdin


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(signum: int, frame: FrameType | None) -> NoReturn:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
