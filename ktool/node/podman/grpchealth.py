"""gRPC health check: one call of grpc.health.v1.Health/Check over HTTP/2
(github.com/grpc/grpc/blob/master/doc/health-checking.md).

node/podman/probeclient calls it for gRPC probes. hyper-h2 does the frames; the message is two bytes. grpcio would be
several megabytes of C for that.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from ktool.logic.node.probecalls import USER_AGENT, Answer, Grpc

SERVING = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
UNIMPLEMENTED, DEADLINE_EXCEEDED = 12, 4


class _Reply:
    """The response as received so far."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False


def check(stream: Any, receive: Callable[[], bytes], handler: Grpc, timeout: float) -> Answer:
    """Make one health check. Raises OSError (TimeoutError) from the stream."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    connection.send_headers(1, _headers(handler, timeout))
    connection.send_data(1, _message(handler.service), end_stream=True)
    stream.sendall(connection.data_to_send())
    reply = _Reply()
    try:
        while not reply.ended:
            data = receive()
            if not data:
                break
            _take(connection, connection.receive_data(data), reply)
            if out := connection.data_to_send():
                stream.sendall(out)
    except h2.exceptions.ProtocolError as error:
        return Answer(False, f"error: health rpc probe failed: {error or type(error).__name__}")
    return _judged(reply, timeout)


def _headers(handler: Grpc, timeout: float) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", f"{handler.host}:{handler.port}"),
        ("content-type", "application/grpc"),
        ("user-agent", USER_AGENT),
        ("te", "trailers"),
        ("grpc-timeout", f"{max(1, int(timeout * 1000))}m"),
    ]


def _message(service: str) -> bytes:
    """HealthCheckRequest{service} as a length-prefixed message."""
    name = service.encode()
    length, digits = len(name), b""
    while True:
        length, low = length >> 7, length & 0x7F
        digits += bytes([low | (0x80 if length else 0)])
        if not length:
            break
    body = b"\x0a" + digits + name if name else b""
    return struct.pack(">BL", 0, len(body)) + body


def _take(connection: h2.connection.H2Connection, events: list[Any], reply: _Reply) -> None:
    for event in events:
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            reply.headers |= {str(name): str(value) for name, value in event.headers or ()}
        elif isinstance(event, h2.events.DataReceived):
            reply.body += event.data or b""
            connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset | h2.events.ConnectionTerminated):
            reply.ended = True


def _judged(reply: _Reply, timeout: float) -> Answer:
    status, said = reply.headers.get("grpc-status", ""), unquote(reply.headers.get("grpc-message", ""))
    if status == str(UNIMPLEMENTED):
        text = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
        return Answer(False, f"error: {text}: {said}")
    if status == str(DEADLINE_EXCEEDED):
        return Answer(False, f"timeout: health rpc did not complete within {timeout:g}s")
    if status != "0":
        why = said or (f"code {status}" if status else f"HTTP status {reply.headers.get(':status', 'none')}")
        return Answer(False, f"error: health rpc probe failed: {why}")
    state = SERVING.get(_state(reply.body), "UNKNOWN")
    return Answer(True) if state == "SERVING" else Answer(False, f'service unhealthy (responded with "{state}")')


def _state(body: bytes) -> int:
    """The enum in HealthCheckResponse{status}; 0 where it is absent."""
    message = body[5:]
    return message[1] if len(message) >= 2 and message[0] == 0x08 else 0
