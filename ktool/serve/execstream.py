"""pods/NAME/exec: a connection that leaves HTTP for the frames of registry/execframes.

The request is `POST .../pods/NAME/exec?command=..&command=..&container=..&stdin=true&tty=true` with `Connection:
Upgrade` and `Upgrade: exec.ktool.dev/v1`; 101 answers it, and frames follow in both directions. A refusal before that
is an ordinary Status. What Kubernetes itself speaks here (SPDY, or v5.channel.k8s.io in websocket messages) carries the
same channels and belongs beside this module.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from ktool.api.errors import ApiError, bad_request, method_not_allowed
from ktool.node.base import ExecStream, NodeError
from ktool.nodeplane.podstreams import as_api_error, open_exec
from ktool.registry import execframes
from ktool.serve import routes
from ktool.serve.resources import Request
from ktool.serve.routes import Route

if TYPE_CHECKING:
    from ktool.serve.connection import Connection


def serve(connection: Connection, route: Route, request: Request) -> None:
    """Start the command, upgrade, and carry frames until the command or the client ends."""
    if request.method not in ("POST", "GET"):
        raise method_not_allowed("exec is a POST")
    if connection.headers.get("Upgrade") != execframes.PROTOCOL:
        raise bad_request(f"exec needs a connection upgrade to {execframes.PROTOCOL}")
    stream = open_exec(
        connection.registry,
        connection.server.backend,
        route.ref,
        routes.word(request.query, "container"),
        request.query.get("command", []),
        stdin=routes.flag(request.query, "stdin"),
        tty=routes.flag(request.query, "tty"),
    )
    try:
        connection.upgrade(execframes.PROTOCOL)
        reader = threading.Thread(target=_from_client, args=(connection, stream), name="serve-stdin", daemon=True)
        reader.start()
        _to_client(connection, stream)
        connection.end()
        reader.join()
    finally:
        stream.close()


def _to_client(connection: Connection, stream: ExecStream) -> None:
    send = connection.connection.sendall
    try:
        for channel, data in stream.frames():
            send(execframes.pack(channel, data))
        status = execframes.exit_status(stream.wait())
    except NodeError as error:
        status = json.dumps(as_api_error(error).to_status()).encode()
    except ApiError as error:
        status = json.dumps(error.to_status()).encode()
    if not connection.server.closing.is_set():  # it ended by itself, not because the server does
        send(execframes.pack(execframes.STATUS, status))


def _from_client(connection: Connection, stream: ExecStream) -> None:
    """Until the client goes away, which ends the command's stream too."""
    try:
        for channel, payload in execframes.unpack(connection.rfile.read):
            if channel == execframes.STDIN:
                stream.send(payload)
            elif channel == execframes.CLOSE and payload == bytes([execframes.STDIN]):
                stream.close_stdin()
            elif channel == execframes.RESIZE:
                stream.resize(*execframes.size(payload))
    except (OSError, ValueError, NodeError):
        pass  # the command has ended, or what the client sends is no frame: either way nothing more is taken
    finally:
        stream.close()
