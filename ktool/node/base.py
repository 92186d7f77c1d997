"""The two protocols of the node tier: Transport (bytes to and from a machine) and Runtime (the operations on a node).

Each has two real implementations: node/reach/ssh and node/reach/localhost, node/podman/runtime and
node/simulated/runtime. nodeplane/ works with Runtimes, node/ and the node commands with Transports.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ktool.logic.node.nodeaction import NodeAction, NodeFacts, NodeInfo, Outcome
from ktool.logic.node.probecalls import Answer, Call


class NodeError(Exception):
    """A node refused or failed an operation: one plain sentence. `step` is the operation."""

    def __init__(self, node: str, step: str, message: str) -> None:
        super().__init__(message)
        self.node, self.step, self.message = node, step, message


class Unreachable(NodeError):
    """No connection: name resolution, TCP, SSH handshake, host key or login failed. Nothing was done."""


@dataclass(frozen=True)
class Completed:
    """The result of a command: exit status, stdout and stderr."""

    status: int
    stdout: bytes
    stderr: bytes


class Transport(Protocol):
    """Runs commands on a machine and opens byte streams to sockets there. Every call has a deadline in seconds."""

    node: str

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0) -> Completed:
        """Run a command given as a list; quoting for the remote shell happens in here and nowhere else. Returns
        Completed for any exit status; raises NodeError where the command could not be run or did not end in time."""

    def connect_unix(self, path: str, *, timeout: float = 10.0) -> socket.socket:
        """A stream to a unix socket on the machine (an object with the socket methods http.client uses)."""

    def connect_tcp(self, host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
        """A stream to a TCP address, connected from the machine."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class LogOptions:
    """PodLogOptions of core/v1; `since` in epoch seconds, `tail` in lines (-1: all)."""

    follow: bool = False
    previous: bool = False
    tail: int = -1
    since: float = 0.0
    timestamps: bool = False


class ExecStream(Protocol):
    """A running exec: output frames, stdin and, at the end, the exit status."""

    def send(self, data: bytes) -> None: ...
    def close_stdin(self) -> None: ...
    def resize(self, rows: int, columns: int) -> None: ...
    def frames(self) -> Iterator[tuple[int, bytes]]:
        """(1, bytes) of stdout and (2, bytes) of stderr until the command ends."""

    def wait(self) -> int:
        """The exit status; call it when `frames` is exhausted."""

    def close(self) -> None: ...


class Runtime(Protocol):
    """The container runtime of one node, as the control plane uses it. Thread-safe: the lanes of several pods call
    `perform` at once."""

    node: str
    concurrency: int
    """The number of lanes the node can run at once."""

    def info(self) -> NodeInfo: ...

    def claim(self, cluster: str, token: int) -> None:
        """Fence the node: it keeps the highest token it has seen of its cluster and refuses a lower one, and other
        clusters. Raises NodeError with a sentence that names the holder."""

    def release(self) -> None:
        """Undo what made the machine a node of this cluster: pod network, routes, owner. Its pods must be gone. Raises
        NodeError."""

    def observe(self) -> NodeFacts: ...

    def perform(self, action: NodeAction) -> Outcome:
        """Perform one action; idempotent. A refusal by the node is the Outcome's failure, never an exception. Raises
        Unreachable where the connection is gone."""

    def call(self, call: Call) -> Answer:
        """Run a probe or a hook within its timeout. A failure is the answer; raises Unreachable where the node itself
        cannot be asked."""

    def listen(self, changed: Callable[[], None]) -> None:
        """Call `changed`, from a thread of the runtime's own, after every change of this cluster's pods on the node
        (Podman's events), until close."""

    def logs(self, container_id: str, options: LogOptions) -> Iterator[bytes]: ...

    def exec(self, container_id: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> ExecStream: ...

    def close(self) -> None: ...
