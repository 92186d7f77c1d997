"""Logs and exec on the node of a pod, each over a connection of its own.

A stream may stay open and silent for hours, and a connection carries few channels (sshd's MaxSessions): so streams
never share the one a node loop works with, they claim nothing, and ending one is closing its connection.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from ktool.api.errors import bad_request
from ktool.api.obj import Obj, get, name
from ktool.api.ref import Ref
from ktool.engine.registry import Registry
from ktool.node.base import ExecStream, LogOptions, NodeError, Runtime


class NodeStreams:
    """Opens the node of a pod for one stream (engine/podstreams.Backend)."""

    def __init__(self, registry: Registry, connect: Callable[[Obj], Runtime]) -> None:
        self._registry, self._connect = registry, connect

    def logs(self, pod: Obj, container: str, options: LogOptions) -> Iterator[bytes]:
        found = container_id(pod, container, options.previous)
        return _Logs(self._reach(pod), found, options)

    def exec(self, pod: Obj, container: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> ExecStream:
        found = container_id(pod, container, False)
        runtime = self._reach(pod)
        try:
            return _Exec(runtime, runtime.exec(found, argv, stdin=stdin, tty=tty))
        except BaseException:
            runtime.close()
            raise

    def _reach(self, pod: Obj) -> Runtime:
        return self._connect(self._registry.get(Ref("Node", "", pod["spec"]["nodeName"])))


class _Logs:
    """The pieces of a log; `close` ends it from any thread at once."""

    def __init__(self, runtime: Runtime, container: str, options: LogOptions) -> None:
        self._runtime, self._closed = runtime, False
        self._pieces = runtime.logs(container, options)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except (StopIteration, NodeError):
            closed = self._closed
            self.close()
            if closed:
                raise StopIteration from None
            raise

    def close(self) -> None:
        self._closed = True
        self._runtime.close()


class _Exec:
    """A running exec that takes its connection with it when it ends."""

    def __init__(self, runtime: Runtime, stream: ExecStream) -> None:
        self._runtime, self._stream = runtime, stream
        self.send, self.close_stdin, self.resize = stream.send, stream.close_stdin, stream.resize
        self.frames, self.wait = stream.frames, stream.wait

    def close(self) -> None:
        with contextlib.suppress(NodeError, OSError):
            self._stream.close()
        self._runtime.close()


def container_id(pod: Obj, container: str, previous: bool) -> str:
    """Podman's id of a container, as the pod's status has it. Raises ApiError 400 where there is none yet."""
    for entry in (
        *get(pod, "status", "containerStatuses", default=()),
        *get(pod, "status", "initContainerStatuses", default=()),
    ):
        if entry["name"] == container:
            if previous and not entry.get("restartCount"):
                raise bad_request(f'previous terminated container "{container}" in pod "{name(pod)}" not found')
            if entry.get("containerID"):
                return str(entry["containerID"]).removeprefix("podman://")
            waiting = get(entry, "state", "waiting", "reason", default="ContainerCreating")
            raise bad_request(f'container "{container}" in pod "{name(pod)}" is waiting to start: {waiting}')
    raise bad_request(f'container "{container}" in pod "{name(pod)}" is waiting to start: ContainerCreating')
