"""LocalTransport: the transport to the machine that ktool itself runs on. node/connect makes it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Sequence

from ktool.node.base import Completed, NodeError


class LocalTransport:
    """Implements base.Transport without a shell in between. Where the user is not root, commands run through `sudo
    -n`."""

    def __init__(self, node: str) -> None:
        self.node = node

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0) -> Completed:
        command = list(argv) if os.geteuid() == 0 else ["sudo", "-n", "--", *argv]
        step = argv[0] if argv else "run"
        try:
            # A session of its own: an interrupt at our terminal must not reach a half-done command, and its whole
            # process group can be ended.
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
        except FileNotFoundError:
            return Completed(127, b"", f"{command[0]}: not found\n".encode())
        except (OSError, ValueError) as error:
            raise NodeError(self.node, step, f"{step} on {self.node} cannot be run: {error}") from None
        with process:
            try:
                stdout, stderr = process.communicate(stdin, timeout)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                raise NodeError(self.node, step, f"{step} on {self.node} did not end within {timeout:g} s") from None
        return Completed(process.returncode, stdout, stderr)

    def connect_unix(self, path: str, *, timeout: float = 10.0) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.settimeout(timeout)
        try:
            stream.connect(path)
        except OSError as error:
            stream.close()
            raise NodeError(self.node, "connect", f"{path} on {self.node}: {error.strerror or error}") from None
        return stream

    def connect_tcp(self, host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
        try:
            return socket.create_connection((host, port), timeout=timeout)
        except OSError as error:
            message = f"{host}:{port} from {self.node}: {error.strerror or error}"
            raise NodeError(self.node, "connect", message) from None

    def close(self) -> None:
        """Does nothing: no connection is held open."""
