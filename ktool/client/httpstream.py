"""Connections and long-lived responses of the HTTP client: watch, log and exec. client/http uses them."""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
from collections.abc import Iterator

from ktool.api.errors import ApiError
from ktool.registry import execframes
from ktool.registry.client import ClientError, WatchEvent

ANSWER_WITHIN = 120.0
"""Seconds after which a request without an answer is given up. An apply may wait for the database's lock."""


class Connection(http.client.HTTPConnection):
    """http.client.HTTPConnection over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("ktool", timeout=ANSWER_WITHIN)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self._path)
        except OSError:
            sock.close()
            raise
        self.sock = sock

    def fresh(self) -> bool:
        """Whether the idle connection is usable: open and without unread data (unread data would be its end)."""
        if self.sock is None:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


class _Stream:
    """A response that lasts until the server ends it or any thread calls `close`."""

    def __init__(self, path: str, connection: Connection, response: http.client.HTTPResponse) -> None:
        self._path, self._connection, self._response = path, connection, response
        self._sock = connection.sock
        self._closed = False

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            _shut(self._sock)

    def _chunks(self) -> Iterator[bytes]:
        """The body's bytes as they arrive. Raises ClientError where the stream breaks."""
        try:
            while not self._closed and (data := self._response.read1(1 << 16)):
                yield data
        except (OSError, http.client.HTTPException, ValueError) as error:
            if not self._closed:
                raise ClientError(f"the control plane on {self._path} went away in the middle of its answer") from error
        finally:
            self._closed = True
            self._connection.close()
            self._response.close()


class WatchStream(_Stream):
    """The events of a watch. Raises ApiError where the server ends it with an error (410: list again)."""

    def __init__(self, path: str, connection: Connection, response: http.client.HTTPResponse) -> None:
        super().__init__(path, connection, response)
        self._events = self._read()

    def __iter__(self) -> Iterator[WatchEvent]:
        return self

    def __next__(self) -> WatchEvent:
        return next(self._events)

    def _read(self) -> Iterator[WatchEvent]:
        rest = b""
        for data in self._chunks():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    self.close()
                    raise ApiError.from_status(event["object"])
                yield WatchEvent(event["type"], event["object"])


class LogStream(_Stream):
    """The bytes of a log."""

    def __init__(self, path: str, connection: Connection, response: http.client.HTTPResponse) -> None:
        super().__init__(path, connection, response)
        self._bytes = self._chunks()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._bytes)


class HttpExec:
    """Implements registry/client.ExecSession on an upgraded connection (frames: registry/execframes)."""

    def __init__(self, path: str, connection: Connection, response: http.client.HTTPResponse) -> None:
        self._path, self._connection, self._sock = path, connection, connection.sock
        self._response = response
        self._sending = threading.Lock()
        self._status: bytes | None = None
        self._closed = False

    def send(self, data: bytes) -> None:
        """Send bytes to the command's stdin. Dropped once stdin is closed, as by a pipe without a reader."""
        self._frame(execframes.STDIN, data)

    def close_stdin(self) -> None:
        self._frame(execframes.CLOSE, bytes([execframes.STDIN]))

    def resize(self, rows: int, columns: int) -> None:
        self._frame(execframes.RESIZE, execframes.resize(rows, columns))

    def frames(self) -> Iterator[tuple[int, bytes]]:
        try:
            for channel, payload in execframes.unpack(self._response.fp.read):
                if channel in (execframes.STDOUT, execframes.STDERR):
                    yield channel, payload
                elif channel == execframes.STATUS:
                    self._status = payload
                    return
        except (OSError, ValueError) as error:
            if not self._closed:
                raise self._lost() from error

    def wait(self) -> int:
        for _ in self.frames() if self._status is None else ():
            pass
        if self._status is None:
            raise self._lost()
        return execframes.exit_code(self._status)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            _shut(self._sock)
            self._connection.close()
            self._response.close()

    def _frame(self, channel: int, payload: bytes) -> None:
        with self._sending:
            try:
                self._sock.sendall(execframes.pack(channel, payload))
            except OSError:
                pass  # the command ended, or the server did: `frames` and `wait` tell which

    def _lost(self) -> ClientError:
        return ClientError(f"the control plane on {self._path} went away before the command ended")


def _shut(sock: socket.socket) -> None:
    """Shut a connection down so that a thread blocked in a read wakes up."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
