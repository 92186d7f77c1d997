"""Streaming of logs and exec: from the name of a Pod to an open stream of its node.

`client/local` and `serve` call it, so that they refuse the same things in the same words. A stream may
stay open and silent for hours, and a connection carries few channels (sshd's MaxSessions): so streams never share
the one a node loop works with, they claim nothing, and ending one is closing its connection.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ktool.api.errors import ApiError, bad_request, unavailable
from ktool.api.obj import Obj, get, name
from ktool.api.pod import app_containers, app_statuses, init_containers, init_statuses, node_of
from ktool.api.ref import NODE, Ref
from ktool.node.base import ExecStream, LogOptions, NodeError, Runtime, Unreachable


class Backend(Protocol):
    """Opener of streams on the node of a bound Pod. Both methods raise NodeError, or ApiError where the answer is about
    the Pod.

    The iterator of `logs` may have a `close` that ends it from another thread at once; one without is left to its
    next line. `close` of an exec ends its `frames` from another thread."""

    def logs(self, pod: Obj, container: str, options: LogOptions) -> Iterator[bytes]: ...

    def exec(self, pod: Obj, container: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> ExecStream: ...


class Reader(Protocol):
    """The part of the Registry that streams need, for the Actor who asks."""

    def get(self, ref: Ref) -> Obj: ...

    def connect(self, ref: Ref, subresource: str) -> Obj:
        """The Pod, if the Actor may open its `log` or `exec`."""


def open_logs(registry: Reader, backend: Backend, ref: Ref, container: str, options: LogOptions) -> Iterator[bytes]:
    """The log of a container; "" is the only one there is. What the node refuses comes as ApiError, at once or with
    the first piece."""
    pod, container = _target(registry.connect(ref, "log"), container)
    try:
        return _Guarded(backend.logs(pod, container, options))
    except NodeError as error:
        raise as_api_error(error)


def open_exec(
    registry: Reader, backend: Backend, ref: Ref, container: str, argv: Sequence[str], *, stdin: bool, tty: bool
) -> ExecStream:
    """A running command in a container. Raises ApiError where it cannot be started."""
    if not argv:
        raise bad_request("you must specify at least one command for the container")
    pod, container = _target(registry.connect(ref, "exec"), container)
    try:
        return backend.exec(pod, container, list(argv), stdin=stdin, tty=tty)
    except NodeError as error:
        raise as_api_error(error)


def as_api_error(error: NodeError) -> ApiError:
    """A node's refusal as a Status: 503 where the node could not be reached, 500 where it would not do it."""
    if isinstance(error, Unreachable):
        return unavailable(f"node {error.node} cannot be reached: {error}")
    return ApiError(500, "InternalError", f"node {error.node}: {error}")


class _Guarded:
    """An iterator whose NodeErrors are ApiErrors."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except NodeError as error:
            raise as_api_error(error)

    def close(self) -> None:
        """End it, from any thread. A generator that another thread waits in cannot be: it ends after its next piece."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            try:
                close()
            except ValueError:  # "generator already executing"
                pass


def _target(pod: Obj, container: str) -> tuple[Obj, str]:
    """The Pod and the name of the container, chosen as the API server does (registry/core/pod, ValidateLogs)."""
    ordinary = [c["name"] for c in app_containers(pod)]
    starting = [c["name"] for c in init_containers(pod)]
    if container:
        if container not in (*ordinary, *starting):
            raise bad_request(f"container {container} is not valid for pod {name(pod)}")
    elif len(ordinary) == 1:
        container = ordinary[0]
    else:
        others = f" or one of the init containers: [{' '.join(starting)}]" if starting else ""
        raise bad_request(
            f"a container name must be specified for pod {name(pod)}, choose one of: [{' '.join(ordinary)}]{others}"
        )
    if not node_of(pod):
        raise bad_request(f"pod {name(pod)} does not have a host assigned")
    return pod, container


# --- on the node ------------------------------------------------------------


class NodeStreams:
    """Backend of a real control plane: opens a connection to the node for each stream."""

    def __init__(self, registry: Reader, connect: Callable[[Obj], Runtime]) -> None:
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
        return self._connect(self._registry.get(Ref(NODE, "", pod["spec"]["nodeName"])))


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
        *app_statuses(pod),
        *init_statuses(pod),
    ):
        if entry["name"] == container:
            if previous and not entry.get("restartCount"):
                raise bad_request(f'previous terminated container "{container}" in pod "{name(pod)}" not found')
            if entry.get("containerID"):
                return str(entry["containerID"]).removeprefix("podman://")
            waiting = get(entry, "state", "waiting", "reason", default="ContainerCreating")
            raise bad_request(f'container "{container}" in pod "{name(pod)}" is waiting to start: {waiting}')
    raise bad_request(f'container "{container}" in pod "{name(pod)}" is waiting to start: ContainerCreating')
