"""`ktool serve`."""

from __future__ import annotations

import signal
import threading

import typer

from ktool.api.errors import DONE
from ktool.cli.plumbing import errors
from ktool.cli.plumbing.command import Verb, examples, settings, verbs
from ktool.cli.plumbing.durations import seconds

app = verbs()

EXAMPLES = """
ktool serve                       # until Ctrl-C or SIGTERM
KTOOL_HOME=/srv/shop ktool serve  # of another cluster
"""


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def serve(ctx: typer.Context) -> int:
    """Run the control plane in the foreground.

    It keeps the connections to the nodes, heals what breaks and answers other commands on a unix socket in the state
    folder (KTOOL_HOME), which they find by themselves.
    """
    from ktool import app as composition
    from ktool.cli.plumbing import crashlog

    crashlog.keep(composition.home(), debug=settings(ctx).debug)
    stop = threading.Event()

    def held() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())

    composition.serve(errors.say, stop, seconds(settings(ctx).lock_timeout, "--lock-timeout"), held)
    return DONE
