"""?watch=true: changes as they come, one JSON line each (API concepts, "Efficient detection of changes")."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from ktool.api.errors import ApiError
from ktool.api.obj import Obj
from ktool.serve import routes
from ktool.serve.resources import Request
from ktool.serve.routes import Route

if TYPE_CHECKING:
    from ktool.serve.connection import Connection

LOOK_SECONDS = 0.5
"""How often a watch looks whether its client is still there and the server is not closing."""

BOOKMARK_SECONDS = 30.0
"""How often a client that allows bookmarks is sent one."""


def serve(connection: Connection, route: Route, request: Request) -> None:
    """Until timeoutSeconds have passed or either side ends it. A resourceVersion that is too old (410) is an ERROR
    event, as every error after the first byte must be."""
    options = routes.list_options(request.query)
    try:
        events = connection.registry.watch(
            route.kind.gk,
            route.namespace,
            options.labels,
            options.fields,
            options.since,
            options.timeout,
            bookmark_every=LOOK_SECONDS,
        )
    except ApiError as error:
        if error.code != 410:
            raise
        connection.start_stream("application/json")
        connection.chunk(_line("ERROR", error.to_status()))
        return connection.end_stream()
    connection.start_stream("application/json")
    bookmark: Obj | None = None
    sent = time.monotonic()
    try:
        for type_, obj in events:
            if type_ != "BOOKMARK":
                bookmark = None
                connection.chunk(_line(type_, route.shown(obj)))
                continue
            if connection.gone():
                return connection.end()
            bookmark = obj
            if options.bookmarks and time.monotonic() - sent >= BOOKMARK_SECONDS:
                sent = time.monotonic()
                connection.chunk(_line("BOOKMARK", obj))
    except ApiError as error:
        connection.chunk(_line("ERROR", error.to_status()))
    finally:
        events.close()
    if options.bookmarks and bookmark is not None:  # nothing has come after it: where to go on from
        connection.chunk(_line("BOOKMARK", bookmark))
    connection.end_stream()


def _line(type_: str, obj: Obj) -> bytes:
    return json.dumps({"type": type_, "object": obj}, separators=(",", ":")).encode() + b"\n"
