"""The two protocols of the node tier: Transport (how bytes reach a machine) and Runtime (what can be done there).

Each has two real implementations: node/reach/ssh and node/reach/localhost, node/podman/runtime and
node/simulated/runtime.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ktool.logic.node.nodeaction import NodeAction, NodeFacts, NodeInfo, Outcome
from ktool.logic.node.probecalls import Answer, Call


class NodeError(Exception):
    """A node could not be reached or would not do it: one plain sentence. `step` is what was tried."""

    def __init__(self, node: str, step: str, message: str) -> None:
        super().__init__(message)
        self.node, self.step, self.message = node, step, message


class Unreachable(NodeError):
    """No connection: name resolution, TCP, SSH handshake, host key or login. Nothing was done."""


@dataclass(frozen=True)
class Completed:
    """What a command left: exit status and both outputs, whole."""

    status: int
    stdout: bytes
    stderr: bytes


class Transport(Protocol):
    """Runs commands on a machine and opens byte streams to sockets there. Every call has a deadline in seconds."""

    node: str

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0) -> Completed:
        """Run a command given as a list; quoting for the remote shell happens in here and nowhere else.
        Raises NodeError where it could not be run or did not end in time; a non-zero exit is a Completed."""

    def connect_unix(self, path: str, *, timeout: float = 10.0) -> socket.socket:
        """A stream to a unix socket of that machine (an object with the socket methods http.client uses)."""

    def connect_tcp(self, host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
        """A stream to an address that machine reaches."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class LogOptions:
    """As PodLogOptions of core/v1; `since` in epoch seconds, `tail` in lines (-1: all)."""

    follow: bool = False
    previous: bool = False
    tail: int = -1
    since: float = 0.0
    timestamps: bool = False


class ExecStream(Protocol):
    """A running exec: frames out, bytes in, an exit status at the end."""

    def send(self, data: bytes) -> None: ...
    def close_stdin(self) -> None: ...
    def resize(self, rows: int, columns: int) -> None: ...
    def frames(self) -> Iterator[tuple[int, bytes]]:
        """(1, bytes) of stdout and (2, bytes) of stderr until the command ends."""

    def wait(self) -> int:
        """The exit status; call it after `frames` is exhausted."""

    def close(self) -> None: ...


class Runtime(Protocol):
    """A node as the control plane uses it. Thread-safe: lanes of several pods call `perform` at once."""

    node: str
    concurrency: int
    """How many lanes of pods the node takes at once."""

    def info(self) -> NodeInfo: ...

    def claim(self, cluster: str, token: int) -> None:
        """Say who acts: the node keeps the highest token it has seen of its cluster and refuses a lower one, and
        another cluster. Raises NodeError with a sentence that says who holds the node."""

    def release(self) -> None:
        """Leave the machine as it was before it became a node of ours: no network, routes or owner. Its pods must be
        gone. Raises NodeError."""

    def observe(self) -> NodeFacts: ...

    def perform(self, action: NodeAction) -> Outcome:
        """Do one action. Never raises for what the node refused: that is the Outcome's failure. Raises Unreachable
        where the connection is gone. Doing again what is done already succeeds."""

    def call(self, call: Call) -> Answer:
        """Carry out a probe or a hook within its time. What goes wrong is the answer; raises Unreachable where the node
        itself cannot be asked."""

    def listen(self, changed: Callable[[], None]) -> None:
        """Call `changed` from a thread of the runtime's own whenever something of ours changed on the node
        (Podman's events), until close."""

    def logs(self, container_id: str, options: LogOptions) -> Iterator[bytes]: ...

    def exec(self, container_id: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> ExecStream: ...

    def close(self) -> None: ...
