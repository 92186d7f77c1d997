"""The server: a unix socket in the state directory and a thread for each connection.

Who may connect is decided by the socket's mode (0600) and its directory. A lock beside the socket, held as long as
the server lives, says whether a socket file that is found belongs to a living server or is left over.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable

from ktool.nodeplane.podstreams import Backend
from ktool.registry.registry import Registry
from ktool.serve.connection import Connection

CONNECTIONS = 512
"""How many connections are served at once; one more is closed unanswered."""

PATH_LIMIT = 107
"""The longest path of a unix socket in bytes (unix(7): sun_path)."""

FINISH_SECONDS = 3.0
"""How long `close` lets requests finish that have been read already: what they ask is done or it is not, and their
clients are to know."""

CLOSE_SECONDS = 2.0
"""How long `close` then waits for the threads of connections that it cut."""


class ServerError(Exception):
    """The server cannot start: one plain sentence."""


class Server:
    """The Kubernetes REST face of a Registry. `say` is given one line for each fault of ours."""

    def __init__(
        self, registry: Registry, backend: Backend, socket_path: str, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.registry, self.backend, self.path, self.say = registry, backend, socket_path, say
        self.where = f"pid {os.getpid()} on {socket_path}"
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock_file: int | None = None
        self._listener: socket.socket | None = None
        self._acceptor = threading.Thread(target=self._accept, name="serve", daemon=True)

    def start(self) -> None:
        """Listen, and serve in threads from now on. Raises ServerError where another server does already, and where
        the socket cannot be made."""
        if len(os.fsencode(self.path)) > PATH_LIMIT:
            raise ServerError(
                f"the path of the control socket is longer than the {PATH_LIMIT} bytes a unix socket may have: "
                f"choose a shorter state directory than {os.path.dirname(self.path)}"
            )
        try:
            self._take_lock()
            self._listener = _listen(self.path)
        except OSError as error:
            self._drop_lock()
            raise ServerError(f"the control socket {self.path} cannot be made: {error.strerror or error}")
        self._acceptor.start()

    def close(self) -> None:
        """Stop listening, remove the socket file, answer the requests that were read, and end every stream and
        connection. Returns when their threads have ended, or after a few seconds at the most."""
        if self._listener is None or self.closing.is_set():
            return
        self.closing.set()
        _shut(self._listener)
        self._acceptor.join()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        self._listener.close()
        self._end(socket.SHUT_RD, FINISH_SECONDS)
        self._end(socket.SHUT_RDWR, CLOSE_SECONDS)
        self._drop_lock()

    def _end(self, how: int, seconds: float) -> None:
        """Shut every connection in one way, and wait so long for their threads."""
        deadline = time.monotonic() + seconds
        with self._lock:
            connections = list(self._open.items())
        for sock, _ in connections:
            _shut(sock, how)
        for _, thread in connections:
            thread.join(max(0.0, deadline - time.monotonic()))

    # --- threads

    def _accept(self) -> None:
        assert self._listener is not None
        while not self.closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError as error:  # too many open files: those that are served will end
                if not self.closing.is_set():
                    self.say(f"a connection could not be accepted: {error.strerror}")
                    self.closing.wait(0.1)
                continue
            with self._lock:
                if self.closing.is_set() or len(self._open) >= CONNECTIONS:
                    sock.close()
                    continue
                thread = threading.Thread(target=self._serve, args=(sock,), name="serve-connection", daemon=True)
                try:
                    thread.start()
                    self._open[sock] = thread
                except RuntimeError:  # no more threads: as for one connection too many
                    sock.close()

    def _serve(self, sock: socket.socket) -> None:
        try:
            Connection(sock, "", self)  # type: ignore[arg-type]
        except OSError:
            pass  # the client went away
        finally:
            self._forget(sock)

    def _forget(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.pop(sock, None)
        _shut(sock)
        sock.close()

    # --- the lock

    def _take_lock(self) -> None:
        self._lock_file = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._drop_lock()
            raise ServerError(f"a control plane is running already: it holds {self.path}")

    def _drop_lock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def _listen(path: str) -> socket.socket:
    """A listening socket at `path`, in the place of any file there. It is made under another name first: nobody can
    connect before its mode is right, and the old file is replaced in one step."""
    made = f"{path}.{os.getpid() % 1000}"
    if len(os.fsencode(made)) > PATH_LIMIT:
        made = os.path.join(os.path.dirname(path), f".{os.getpid() % 1000}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.lexists(made):
            os.unlink(made)
        sock.bind(made)
        os.chmod(made, 0o600)
        sock.listen(128)
        os.rename(made, path)
    except OSError:
        sock.close()
        raise
    return sock


def _shut(sock: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Make every thread wake up that reads from a socket, writes to it or accepts on it (Linux)."""
    try:
        sock.shutdown(how)
    except OSError:
        pass
