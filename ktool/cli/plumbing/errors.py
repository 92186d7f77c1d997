"""Error reporting: one plain sentence for the user, an exit code, and never a traceback.

`cli/main` ends every command with it.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

from ktool.api.errors import ERROR, LOCKED, TERMINATED, ApiError, UserError
from ktool.registry.client import ClientError


class Terminated(BaseException):
    """SIGTERM: leave through every `finally` and `with`, so that the lease is given back."""

    exit_code = TERMINATED


def warn(message: str) -> None:
    say(f"Warning: {message}")


def say(line: str) -> None:
    """A line for the person at the terminal, beside the output proper."""
    print(line, file=sys.stderr, flush=True)


def sentence(error: BaseException) -> str:
    """The text for the user, in kubectl's words where kubectl has some."""
    if isinstance(error, ApiError):
        return api_sentence(error)
    if isinstance(error, UserError):
        return f"error: {error.message}"
    if isinstance(error, OSError):
        name = f": {error.filename}" if error.filename else ""
        return f"error: {error.strerror or error}{name}"
    return f"error: {error}"


def api_sentence(error: ApiError) -> str:
    """As kubectl says it: `The Pod "x" is invalid: ...` for what a person can mend in the manifest, and
    `Error from server (Reason): ...` for the rest."""
    if error.reason == "Invalid" and error.causes:
        head = f'The {error.kind.split(".")[0]} "{error.name}" is invalid:'
        if len(error.causes) == 1:
            return f"{head} {error.causes[0]}"
        return "\n".join([head, *(f"* {cause}" for cause in error.causes)])
    return f"Error from server ({error.reason}): {error.message}"


def exit_code(error: BaseException) -> int:
    if type(error).__name__ == "Locked":  # control.lease raises it; importing that here would load the control plane
        return LOCKED
    return int(getattr(error, "exit_code", ERROR))


def is_expected(error: BaseException) -> bool:
    """Whether the program raises this to say something: one of its own exceptions, or the system's refusal (a file
    that is not there). Everything else is a mistake of ours."""
    if isinstance(error, (ApiError, ClientError, UserError)):
        return True
    if isinstance(error, OSError):
        return True
    own = type(error).__module__.split(".")[0] == "ktool"
    return own and isinstance(error, Exception)


def report(error: BaseException, home: Path) -> int:
    """Tell the user and return the exit code. A mistake of ours is kept in HOME/crash.log and said in one sentence."""
    if isinstance(error, BrokenPipeError):
        return ERROR  # The reader of our output has left; there is nobody to tell.
    if isinstance(error, Terminated):
        print("error: ended by SIGTERM", file=sys.stderr)
        return TERMINATED
    if os.environ.get("KTOOL_TRACEBACK") == "1":
        traceback.print_exception(error)
    if is_expected(error):
        print(sentence(error), file=sys.stderr)
        return exit_code(error)
    report_mistake(error, home)
    return ERROR


def report_mistake(error: BaseException, home: Path) -> None:
    print(f"error: ktool made a mistake ({type(error).__name__}); {_keep(error, home)}", file=sys.stderr)


def _keep(error: BaseException, home: Path) -> str:
    """Append the traceback to the crash log; the end of the sentence that says where."""
    path = home / "crash.log"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with open(descriptor, "a", encoding="utf-8", errors="replace") as log:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            # Not the command line: an argument may be a secret.
            log.write(f"--- {when} python {sys.version.split()[0]}\n")
            traceback.print_exception(error, file=log)
    except OSError as problem:
        return f"the details could not be written to {path} ({problem.strerror}); KTOOL_TRACEBACK=1 shows them"
    return f"the details are in {path}; please report them"
