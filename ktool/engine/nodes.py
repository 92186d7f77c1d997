"""All node loops of one control plane: a queue of node names, and threads that take one step at a time.

Also the way to a pod's logs and exec, over the connection its node loop keeps, or a passing one where none is kept.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence

from ktool.api.errors import bad_request
from ktool.api.obj import Obj, annotations_of, deleting, get, labels, meta, namespace
from ktool.api.ref import Ref
from ktool.engine.cache import Cache
from ktool.engine.nodeloop import NodeLoop, wants_attention
from ktool.engine.queue import WorkQueue
from ktool.engine.registry import Registry
from ktool.node.base import ExecStream, LogOptions, Runtime

log = logging.getLogger(__name__)

MOST_THREADS = 32


class Nodes:
    """The node loops. `every_node`: reach all nodes (a server that stays); otherwise only those with something to
    do, so that a command which touches no node opens no connection."""

    def __init__(
        self,
        registry: Registry,
        cache: Cache,
        *,
        cluster: str,
        connect: Callable[[Obj], Runtime],
        clock: Callable[[], float],
        every_node: bool,
    ) -> None:
        self._registry, self._cache, self._cluster = registry, cache, cluster
        self._connect, self._clock, self._every_node = connect, clock, every_node
        self._queue: WorkQueue[str] = WorkQueue()
        self._loops: dict[str, NodeLoop] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._lock = threading.Lock()
        cache.listen(self._changed)

    # --- which node to look at

    def _changed(self, type_: str, obj: Obj, before: Obj | None) -> None:
        """Called by the cache, under its lock. Our own reports about a pod are no reason to look again."""
        match obj.get("kind"):
            case "Pod":
                node = get(obj, "spec", "nodeName")
                if node and (type_ == "DELETED" or before is None or _asks_for_more(obj, before)):
                    self._wake(node)
            case "Node":
                if type_ == "DELETED" or before is None or _moved(obj, before):
                    for known in [*self._loops, meta(obj)["name"]]:
                        self._wake(known)
            case "ConfigMap" | "Secret" if before is not None:
                for pod in self._cache.world.list("Pod", namespace(obj)):
                    if node := get(pod, "spec", "nodeName"):
                        self._wake(node)

    def _wake(self, node: str, after: float = 0.0) -> None:
        if self._stopping:
            return
        if node not in self._loops:
            found = self._cache.world.get(Ref("Node", "", node))
            if found is None:
                return
            if not self._every_node and not wants_attention(found, self._cache.world.on_node(node)):
                return
            self._loops[node] = self._loop(node)
            self._more_threads(labels(found).get("ktool.dev/simulated") == "true")
        if after:
            self._queue.add_after(node, after)
        else:
            self._queue.add(node)

    def _loop(self, node: str) -> NodeLoop:
        return NodeLoop(
            node,
            self._connect,
            self._registry,
            self._cache,
            cluster=self._cluster,
            clock=self._clock,
            wake=lambda after: self._wake(node, after),
        )

    def _more_threads(self, simulated: bool) -> None:
        """One thread for each real node, for it may wait on the network; two for all the simulated ones."""
        if len(self._threads) >= (2 if simulated else MOST_THREADS):
            return
        thread = threading.Thread(target=self._run, name=f"nodes-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    # --- stepping

    def _run(self) -> None:
        while not self._stopping:
            node = self._queue.get(timeout=5)
            if node is None:
                continue
            try:
                self._step(node)
            except Exception:
                log.exception("%s: a step failed", node)
                self._queue.retry(node)
            finally:
                self._queue.done(node)

    def _step(self, node: str) -> None:
        loop = self._loops.get(node)
        if loop is None:
            return
        after = loop.step()
        if after is None:
            with self._lock:
                self._loops.pop(node, None)
        else:
            self._queue.add_after(node, after)
        self._queue.forget(node)

    def stop(self, timeout: float = 20.0) -> None:
        self._stopping = True
        self._queue.close()
        for loop in list(self._loops.values()):
            loop.stop(timeout)
        for thread in self._threads:
            thread.join(timeout)
        for loop in list(self._loops.values()):
            loop.close()

    # --- streams of a pod (engine/podstreams.Backend)

    def logs(self, pod: Obj, container: str, options: LogOptions) -> Iterator[bytes]:
        runtime, close = self._reach(pod)
        return _closing(runtime.logs(container_id(pod, container, options.previous), options), close)

    def exec(self, pod: Obj, container: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> ExecStream:
        runtime, _ = self._reach(pod)
        return runtime.exec(container_id(pod, container, False), argv, stdin=stdin, tty=tty)

    def _reach(self, pod: Obj) -> tuple[Runtime, Callable[[], None]]:
        loop = self._loops.get(pod["spec"]["nodeName"])
        if loop is not None and loop.runtime is not None:
            return loop.runtime, lambda: None
        return reach(self._registry, pod, self._connect)


class PassingNodes:
    """The same streams for a command that runs no control plane: it connects for the one call, and claims nothing."""

    def __init__(self, registry: Registry, connect: Callable[[Obj], Runtime]) -> None:
        self._registry, self._connect = registry, connect

    def logs(self, pod: Obj, container: str, options: LogOptions) -> Iterator[bytes]:
        runtime, close = reach(self._registry, pod, self._connect)
        return _closing(runtime.logs(container_id(pod, container, options.previous), options), close)

    def exec(self, pod: Obj, container: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> ExecStream:
        runtime, _ = reach(self._registry, pod, self._connect)
        return runtime.exec(container_id(pod, container, False), argv, stdin=stdin, tty=tty)


def reach(registry: Registry, pod: Obj, connect: Callable[[Obj], Runtime]) -> tuple[Runtime, Callable[[], None]]:
    """A connection to a pod's node, and what closes it again."""
    runtime = connect(registry.get(Ref("Node", "", pod["spec"]["nodeName"])))
    return runtime, runtime.close


def container_id(pod: Obj, container: str, previous: bool) -> str:
    """Podman's id of a container, as the pod's status has it. Raises ApiError 400 where there is none yet."""
    for entry in (
        *get(pod, "status", "containerStatuses", default=()),
        *get(pod, "status", "initContainerStatuses", default=()),
    ):
        if entry["name"] == container:
            if previous and not entry.get("restartCount"):
                raise bad_request(f'previous terminated container "{container}" in pod "{meta(pod)["name"]}" not found')
            if entry.get("containerID"):
                return str(entry["containerID"]).removeprefix("podman://")
            waiting = get(entry, "state", "waiting", "reason", default="ContainerCreating")
            raise bad_request(f'container "{container}" in pod "{meta(pod)["name"]}" is waiting to start: {waiting}')
    raise bad_request(f'container "{container}" in pod "{meta(pod)["name"]}" is waiting to start: ContainerCreating')


def _closing(pieces: Iterator[bytes], close: Callable[[], None]) -> Iterator[bytes]:
    try:
        yield from pieces
    finally:
        close()


def _asks_for_more(pod: Obj, before: Obj) -> bool:
    return (
        pod.get("spec") != before.get("spec")
        or deleting(pod) != deleting(before)
        or (meta(pod).get("deletionGracePeriodSeconds") != meta(before).get("deletionGracePeriodSeconds"))
    )


def _moved(node: Obj, before: Obj) -> bool:
    """Whether what other nodes route to, or how this one is reached, is not what it was."""
    return (
        node.get("spec") != before.get("spec")
        or annotations_of(node) != annotations_of(before)
        or deleting(node) != deleting(before)
        or get(node, "status", "addresses") != get(before, "status", "addresses")
    )
