"""The bytes of an exec session on one stream: frames of a channel, a length and a payload.

The channels and what travels on them are those of Kubernetes' `v5.channel.k8s.io` (client-go, remotecommand): 0 stdin,
1 stdout, 2 stderr, 3 the outcome as a metav1.Status, 4 terminal sizes, 255 "this channel is closed". Kubernetes puts
each frame in a websocket message; here a frame is one byte of channel, four bytes of length (big-endian) and the
payload, directly on a connection that was upgraded from HTTP/1.1 to `PROTOCOL`.

A session: the client sends STDIN frames and, once it has no more input, CLOSE with the payload `\\x00`; RESIZE at any
time. The server sends STDOUT and STDERR frames, then exactly one STATUS frame, then closes the connection.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator

from ktool.api.errors import ApiError, Cause

PROTOCOL = "exec.ktool.dev/v1"
"""The value of the Upgrade header of a request that asks for this framing."""

STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255

LIMIT = 1 << 20
"""The longest payload of one frame in bytes; senders cut longer data into several."""

_HEAD = struct.Struct("!BI")


class FrameError(ValueError):
    """What arrived is no frame: one plain sentence."""


def pack(channel: int, payload: bytes) -> bytes:
    """The frames that carry `payload`: several where it is longer than LIMIT, and one where it is empty."""
    if len(payload) <= LIMIT:
        return _HEAD.pack(channel, len(payload)) + payload
    parts = (payload[start : start + LIMIT] for start in range(0, len(payload), LIMIT))
    return b"".join(_HEAD.pack(channel, len(part)) + part for part in parts)


def unpack(read: Callable[[int], bytes]) -> Iterator[tuple[int, bytes]]:
    """The frames of a stream until its end. `read(n)` returns exactly n bytes, or fewer at the end of the stream.
    Raises FrameError for a frame that is cut short or longer than LIMIT."""
    while head := read(_HEAD.size):
        if len(head) < _HEAD.size:
            raise FrameError("the stream ended inside the head of a frame")
        channel, length = _HEAD.unpack(head)
        if length > LIMIT:
            raise FrameError(f"a frame of {length} bytes is longer than the {LIMIT} allowed")
        payload = read(length) if length else b""
        if len(payload) < length:
            raise FrameError(f"the stream ended after {len(payload)} of a frame's {length} bytes")
        yield channel, payload


def exit_status(code: int) -> bytes:
    """The STATUS payload for a command that ended: Success, or NonZeroExitCode with the code as a cause."""
    if code == 0:
        return json.dumps({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"}).encode()
    message = f"command terminated with non-zero exit code: {code}"
    error = ApiError(500, "NonZeroExitCode", message, causes=[Cause("", str(code), "ExitCode")])
    return json.dumps(error.to_status()).encode()


def exit_code(payload: bytes) -> int:
    """The exit code a STATUS payload tells. Raises the ApiError it carries where the command could not be run."""
    status = json.loads(payload)
    if status.get("status") == "Success":
        return 0
    error = ApiError.from_status(status)
    if error.reason == "NonZeroExitCode":
        for cause in error.causes:
            if cause.reason == "ExitCode" and cause.message.isdigit():
                return int(cause.message)
    raise error


def resize(rows: int, columns: int) -> bytes:
    """The RESIZE payload, as client-go's TerminalSize."""
    return json.dumps({"Width": columns, "Height": rows}).encode()


def size(payload: bytes) -> tuple[int, int]:
    """Rows and columns of a RESIZE payload. Raises FrameError where it is none."""
    try:
        told = json.loads(payload)
        rows, columns = int(told["Height"]), int(told["Width"])
    except (ValueError, KeyError, TypeError):
        raise FrameError("a terminal size is an object with Width and Height")
    if not (0 < rows < 65536 and 0 < columns < 65536):
        raise FrameError(f"{rows} rows by {columns} columns is not the size of a terminal")
    return rows, columns
