"""`ktool logs`."""

from __future__ import annotations

import math
import queue
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.errors import DONE, ERROR, UsageError, UserError
from ktool.api.obj import Obj, name
from ktool.api.pod import containers_of
from ktool.api.ref import POD
from ktool.cli.plumbing import errors, options, podargs
from ktool.cli.plumbing.command import Verb, examples, session, settings, verbs
from ktool.cli.plumbing.durations import seconds
from ktool.registry.client import LogRequest

if TYPE_CHECKING:
    from ktool.registry.client import Client

app = verbs()

EXAMPLES = """
ktool logs web                            # of the pod web
ktool logs deploy/web -c sidecar --tail=20
ktool logs web -f --timestamps
ktool logs web --previous                 # of the container before the last restart
ktool logs -l app=web --prefix --all-containers
"""

MOST_STREAMS = 20


@dataclass(frozen=True)
class Source:
    """One container of one pod."""

    pod: Obj
    container: str

    @property
    def prefix(self) -> bytes:
        return f"[pod/{name(self.pod)}/{self.container}] ".encode()


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def logs(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="POD | KIND/NAME [CONTAINER]", show_default=False)
    ] = None,
    container: options.Container = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is still to come.")] = False,
    previous: Annotated[
        bool, typer.Option("-p", "--previous", help="Of the container before its last restart.")
    ] = False,
    tail: Annotated[
        int, typer.Option("--tail", metavar="N", help="The last N lines only; -1: all.", show_default=False)
    ] = -2,
    since: Annotated[str, typer.Option("--since", metavar="DURATION", help="Not older than e.g. 5m.")] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", help="With the time of each line.")] = False,
    selector: options.Selector = "",
    all_containers: Annotated[bool, typer.Option("--all-containers", help="All containers of the pods.")] = False,
    prefix: Annotated[bool, typer.Option("--prefix", help="Each line with its pod and container.")] = False,
) -> int:
    """Print the logs of containers."""
    words = list(words or ())
    _check(words, container, selector, all_containers)
    if len(words) == 2:
        container = words.pop()
    if tail < -2:
        raise UsageError("--tail must be -1 or more")
    request = LogRequest(
        follow=follow,
        previous=previous,
        tail=tail if tail != -2 else (10 if selector else -1),
        since=math.ceil(seconds(since, "--since")) if since else 0,
        timestamps=timestamps,
    )
    with session(ctx, act=False) as opened:
        found = _sources(opened.client, words, settings(ctx).namespace, selector, container, all_containers)
        if not found:
            errors.say(f"No resources found in {settings(ctx).namespace} namespace.")
            return DONE
        if follow and len(found) > 1:
            return _together(opened.client, found, request, prefix)
        return _one_by_one(opened.client, found, request, prefix)


def _check(words: Sequence[str], container: str, selector: str, all_containers: bool) -> None:
    if selector and words:
        raise UsageError("either a pod or a selector, not both")
    if not selector and not words:
        raise UsageError("say whose logs: a pod, kind/name or -l SELECTOR")
    if len(words) > 2 or (len(words) == 2 and container):
        raise UsageError("only one pod and one container can be named; -l SELECTOR takes several pods")
    if all_containers and (container or len(words) == 2):
        raise UsageError("--all-containers goes with no container name")


def _sources(
    client: Client, words: Sequence[str], namespace: str, selector: str, container: str, every: bool
) -> list[Source]:
    if selector:
        chosen = sorted(client.list(POD, namespace, labels=selector).items, key=name)
    else:
        chosen = [podargs.pod_of(client, words[0], namespace)]
    result = []
    for pod in chosen:
        if every:
            result += [Source(pod, container["name"]) for container in containers_of(pod)]
        else:
            result.append(Source(pod, podargs.container_of(pod, container)))
    return result


def _asked(source: Source, request: LogRequest) -> LogRequest:
    return LogRequest(
        source.container, request.follow, request.previous, request.tail, request.since, request.timestamps
    )


def _one_by_one(client: Client, sources: Sequence[Source], request: LogRequest, prefix: bool) -> int:
    """One after the other. Of several, one that cannot be had does not keep the others back."""
    code = DONE
    out = sys.stdout.buffer
    for source in sources:
        try:
            lines = _Lines(source.prefix if prefix else b"")
            for piece in client.logs(podargs.ref(source.pod), _asked(source, request)):
                out.write(lines.feed(piece))
                if request.follow:
                    out.flush()
            out.write(lines.end())
            out.flush()
        except BrokenPipeError:
            raise
        except Exception as error:
            if len(sources) == 1 or not errors.is_expected(error):
                raise
            errors.say(f"{source.prefix.decode()}{errors.sentence(error)}")
            code = ERROR
    return code


class _Lines:
    """Puts a prefix before each line of a stream that comes in pieces."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix, self._rest = prefix, b""

    def feed(self, piece: bytes) -> bytes:
        if not self._prefix:
            return piece
        *whole, self._rest = (self._rest + piece).split(b"\n")
        return b"".join(self._prefix + line + b"\n" for line in whole)

    def end(self) -> bytes:
        return self._prefix + self._rest + b"\n" if self._rest else b""


def _together(client: Client, sources: Sequence[Source], request: LogRequest, prefix: bool) -> int:
    """Follow several at once, whole lines at a time."""
    if len(sources) > MOST_STREAMS:
        raise UserError(
            f"{len(sources)} logs would be followed at once, {MOST_STREAMS} is the limit; narrow the selector"
        )
    lines: queue.SimpleQueue[bytes | Exception | None] = queue.SimpleQueue()
    for source in sources:
        reading = (client, source, _asked(source, request), source.prefix if prefix else b"", lines)
        threading.Thread(target=_read, args=reading, name=f"logs {name(source.pod)}", daemon=True).start()
    running, code = len(sources), DONE
    while running:
        piece = lines.get()
        if piece is None:
            running -= 1
        elif isinstance(piece, Exception):
            if not errors.is_expected(piece):
                raise piece
            errors.say(errors.sentence(piece))
            code = ERROR
        else:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    return code


def _read(
    client: Client,
    source: Source,
    request: LogRequest,
    prefix: bytes,
    lines: queue.SimpleQueue[bytes | Exception | None],
) -> None:
    rest = b""
    try:
        for piece in client.logs(podargs.ref(source.pod), request):
            *whole, rest = (rest + piece).split(b"\n")
            if whole:
                lines.put(b"".join(prefix + line + b"\n" for line in whole))
        if rest:
            lines.put(prefix + rest + b"\n")
    except Exception as error:
        lines.put(error)
    lines.put(None)
