"""ChannelStream: an SSH channel with the part of socket's interface that http.client and urllib3 use.

node/reach/ssh makes it; node/podman reads and writes it.
"""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Callable

import paramiko


class ChannelStream:
    """A byte stream on an SSH channel. Errors are OSError, as a socket's are: TimeoutError after `settimeout` seconds
    without data, ConnectionResetError where the channel broke. `on_close` is called once."""

    def __init__(self, channel: paramiko.Channel, on_close: Callable[[], None] | None = None) -> None:
        self._channel = channel
        self._on_close = on_close
        self._open_files = 0
        self._closed = False

    def settimeout(self, seconds: float | None) -> None:
        self._channel.settimeout(seconds)

    def gettimeout(self) -> float | None:
        return self._channel.gettimeout()

    def setsockopt(self, *_: object) -> None:
        """Does nothing: a channel has no socket options; TCP_NODELAY is set on the connection below it."""

    def fileno(self) -> int:
        """A descriptor that is readable (select(2)) on data or at the end; made on demand, it costs two descriptors."""
        return self._channel.fileno()

    @property
    def dropped(self) -> bool:
        """Whether an idle stream cannot carry another request: it ended, or unrequested data arrived."""
        return bool(self._channel.closed or self._channel.eof_received or self._channel.recv_ready())

    def recv(self, size: int) -> bytes:
        data = self._channel.recv(size)
        if not data:
            self._raise_what_the_far_end_said()
        return data

    def recv_into(self, buffer: memoryview | bytearray) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: bytes) -> int:
        self.sendall(data)
        return len(data)

    def sendall(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except TimeoutError:
            raise
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise ConnectionResetError(f"the SSH channel is closed ({error})") from None

    def shutdown(self, how: int) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown(how)

    def makefile(self, mode: str = "rb", buffering: int = -1) -> io.BufferedReader:
        """A reader, as socket.makefile gives; the channel lives until the stream and its readers are closed."""
        self._open_files += 1
        return io.BufferedReader(_Reader(self), io.DEFAULT_BUFFER_SIZE if buffering < 1 else buffering)

    def close(self) -> None:
        self._closed = True
        self._end_if_unused()

    def abort(self) -> None:
        """Close at once, so that a reader in another thread wakes up."""
        self._closed, self._open_files = True, 0
        self._end_if_unused()

    def reader_closed(self) -> None:
        self._open_files -= 1
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        if not self._closed or self._open_files > 0:
            return
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()
        if self._on_close is not None:
            done, self._on_close = self._on_close, None
            done()

    def _raise_what_the_far_end_said(self) -> None:
        # `podman system dial-stdio` says on stderr why it could not connect; a plain end has nothing there.
        if self._channel.recv_stderr_ready():
            text = self._channel.recv_stderr(4096).decode("utf-8", "replace").strip()
            raise ConnectionResetError(text or "the far end closed the stream")


class _Reader(io.RawIOBase):
    def __init__(self, stream: ChannelStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._stream.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stream.reader_closed()


Stream = socket.socket | ChannelStream
