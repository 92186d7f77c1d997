"""pods/NAME/log: the bytes of a container's log, as they come (core/v1 PodLogOptions)."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ktool.api.errors import bad_request, method_not_allowed
from ktool.api.obj import epoch
from ktool.node.base import LogOptions
from ktool.nodeplane.podstreams import open_logs
from ktool.serve import routes
from ktool.serve.resources import Request
from ktool.serve.routes import Query, Route

if TYPE_CHECKING:
    from ktool.serve.connection import Connection

FIRST_SECONDS = 1.0
"""How long the head of the answer waits for the first piece: a refusal within it still becomes a Status."""

LOOK_SECONDS = 0.5
"""How often a silent log looks whether its reader is still there."""


def serve(connection: Connection, route: Route, request: Request) -> None:
    if request.method != "GET":
        raise method_not_allowed("log is a GET")
    options = log_options(request.query, time.time())
    limit = routes.number(request.query, "limitBytes")
    container = routes.word(request.query, "container")
    pieces = open_logs(connection.registry, connection.server.backend, route.ref, container, options)
    with _Pump(pieces) as pump:
        data = pump.take(FIRST_SECONDS)
        connection.start_stream("text/plain; charset=utf-8")
        while data is not None:
            if connection.gone():
                return connection.end()
            if limit is not None:
                data, limit = data[:limit], max(0, limit - len(data))
            connection.chunk(data)
            if limit == 0:
                break
            data = pump.take(LOOK_SECONDS)
        connection.end_stream()


def log_options(query: Query, now: float) -> LogOptions:
    """Of the query of a log request. Raises ApiError 400."""
    since = float(now - seconds) if (seconds := routes.number(query, "sinceSeconds")) else 0.0
    if at := routes.word(query, "sinceTime"):
        if since:
            raise bad_request("at most one of sinceTime or sinceSeconds may be specified")
        try:
            since = epoch(at)
        except ValueError:
            raise bad_request(f"sinceTime is a time like 2026-01-31T12:00:00Z, not {at!r}")
    tail = routes.number(query, "tailLines")
    return LogOptions(
        follow=routes.flag(query, "follow"),
        previous=routes.flag(query, "previous"),
        tail=-1 if tail is None else tail,
        since=since,
        timestamps=routes.flag(query, "timestamps"),
    )


class _Pump:
    """Reads an iterator in a thread of its own, so that its reader can look at other things while it waits."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(64)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serve-log", daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> bytes | None:
        """What has arrived: b"" where nothing has within `timeout` seconds, None at the end. Raises what the iterator
        raised."""
        try:
            piece = self._queue.get(timeout=timeout)
        except queue.Empty:
            return b""
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def __enter__(self) -> _Pump:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
        self._thread.join(LOOK_SECONDS)  # one that cannot be closed ends with its next piece

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            for piece in self._pieces:
                if not self._put(piece):
                    return
        except Exception as error:
            end = error
        self._put(end)

    def _put(self, piece: bytes | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(piece, timeout=1.0)
                return True
            except queue.Full:
                continue
        return False
