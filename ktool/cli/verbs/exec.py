"""`ktool exec`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.errors import UsageError, UserError
from ktool.api.obj import name
from ktool.api.pod import finished
from ktool.cli.plumbing import errors, options, podargs
from ktool.cli.plumbing.command import Verb, examples, session, settings, verbs

if TYPE_CHECKING:
    from ktool.registry.client import ExecSession

app = verbs()

EXAMPLES = """
ktool exec web -- ls -l /
ktool exec -it deploy/web -c sidecar -- sh
tar cf - data | ktool exec -i web -- tar xf - -C /tmp
"""


@app.command("exec", cls=Verb, epilog=examples(EXAMPLES))
def execute(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="POD | KIND/NAME -- COMMAND [ARG...]", show_default=False)
    ] = None,
    container: options.Container = "",
    stdin: Annotated[bool, typer.Option("-i", "--stdin", help="Pass our standard input on.")] = False,
    tty: Annotated[bool, typer.Option("-t", "--tty", help="The command gets a terminal.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only what the command says.")] = False,
) -> int:
    """Run a command in a container; its exit status is ours."""
    if not words:
        raise UsageError("pod, type/name or --filename must be specified")
    target, *argv = words
    if not argv:
        raise UsageError("you must specify at least one command for the container: ktool exec POD -- COMMAND")
    if tty and stdin and not sys.stdin.isatty():
        errors.say("Unable to use a TTY - input is not a terminal or the right kind of file")
        tty = False
    with session(ctx, act=False) as opened:
        pod = podargs.pod_of(opened.client, target, settings(ctx).namespace)
        if finished(pod):
            phase = pod["status"]["phase"]
            raise UserError(f"cannot exec into a container in a completed pod; current phase is {phase}")
        chosen = podargs.container_of(pod, container)
        running = opened.client.exec(podargs.ref(pod), chosen, argv, stdin=stdin, tty=tty)
        try:
            code = _talk(running, stdin=stdin, tty=tty)
        finally:
            running.close()
    if code and not quiet:
        errors.say(f"command terminated with exit code {code} (pod {name(pod)}, container {chosen})")
    return code


def _talk(running: ExecSession, *, stdin: bool, tty: bool) -> int:
    """Pass bytes both ways until the command ends."""
    with (
        _raw_terminal() if tty and stdin else contextlib.nullcontext(),
        _resizing(running) if tty else contextlib.nullcontext(),
    ):
        if stdin:
            threading.Thread(target=_pass_stdin, args=(running,), name="stdin", daemon=True).start()
        for stream, data in running.frames():
            out = sys.stderr if stream == 2 else sys.stdout
            out.buffer.write(data)
            out.buffer.flush()
        return running.wait()


def _pass_stdin(running: ExecSession) -> None:
    """Runs on a thread of its own: reading a terminal cannot be interrupted, and the process does not wait for it."""
    try:
        while data := os.read(sys.stdin.fileno(), 65536):
            running.send(data)
        running.close_stdin()
    except (OSError, ValueError):  # The command ended first; there is nobody to pass it to.
        pass
    except Exception as error:
        if not errors.is_expected(error):
            raise


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Each key goes to the command at once, Ctrl-C included; the terminal is put back whatever happens."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resizing(running: ExecSession) -> Iterator[None]:
    """Tell the command the size of our terminal, now and whenever it changes (SIGWINCH)."""

    def tell(*_: object) -> None:
        with contextlib.suppress(OSError, ValueError):
            size = os.get_terminal_size(sys.stdout.fileno())
            running.resize(size.lines, size.columns)

    before = signal.signal(signal.SIGWINCH, tell)
    tell()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
