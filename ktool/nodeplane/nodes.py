"""All node loops of one control plane: a queue of node names, and threads that take one step at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from ktool.api.obj import Obj, annotations_of, deleting, get, meta, name, namespace
from ktool.api.ref import NAMESPACE, NODE, POD, SECRET, GroupKind, Ref
from ktool.logic.network import links
from ktool.logic.network.nodefields import is_simulated
from ktool.logic.secrets.podrefs import pull_defaults
from ktool.node.base import Runtime
from ktool.nodeplane import netview
from ktool.nodeplane.configreaders import Readers
from ktool.nodeplane.endgate import Gate
from ktool.nodeplane.nodeloop import NodeLoop, wants_attention
from ktool.nodeplane.prober import Prober
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry
from ktool.registry.workqueue import WorkQueue

log = logging.getLogger(__name__)

MOST_THREADS = 32
_NEWS = "/news"
"""Behind a node's name in the queue: it is to be told of services or policies, and need not be looked at."""
_HEALTH = "/health"
"""Behind a node's name: what probes say of its containers is to be written down."""
_GATE = "/gate"
"""The key for pods that wait until they may end."""
_SOON = 1.0
"""Seconds for which failed probes gather that have changed nothing, before Events tell of them."""


class Nodes:
    """The node loops. `every_node`: reach all nodes (a server that stays); otherwise only those with something to
    do, so that a command which touches no node opens no connection. Nothing happens before `start`, unless somebody
    calls `step`."""

    def __init__(
        self,
        registry: Registry,
        cache: Cache,
        *,
        cluster: str,
        connect: Callable[[Obj], Runtime],
        clock: Callable[[], float],
        every_node: bool,
        queue: WorkQueue[str] | None = None,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry, self._cache, self._cluster = registry, cache, cluster
        self._connect, self._clock, self._every_node = connect, clock, every_node
        self._queue: WorkQueue[str] = WorkQueue() if queue is None else queue
        self._loops: dict[str, NodeLoop] = {}
        self._threads: list[threading.Thread] = []
        self._real: set[str] = set()
        self._started = self._stopping = False
        self._net = netview.NetView(cache)
        self.prober = Prober(self._asked, ticks, spread=every_node)
        self._gate = Gate(self._net, self._real_loops, self._reach_all, self._may_end, ticks)
        self._readers = Readers()
        self._lock = threading.Lock()
        self._news = self._listening = False
        cache.listen(self._changed)
        self._listening = True

    # --- which node to look at

    def _changed(self, type_: str, obj: Obj, before: Obj | None) -> None:
        """Called by the cache, under its lock. Our own reports about a pod are no reason to look again."""
        if self._net.moved(type_, obj, before) and self._listening:
            self._tell_known()
        match obj.get("kind"):
            case "Service" | "EndpointSlice":
                self._net.changed()
                if self._listening:
                    self.tell_all()
                    if self._gate.shut:
                        self._queue.add(_GATE)
            case "Pod":
                self._pod_changed(type_, obj, before)
            case "Node":
                if type_ == "DELETED" or before is None or _moved(obj, before):
                    self._news |= self._listening and not is_simulated(obj)
                    for known in [*self._loops, meta(obj)["name"]]:
                        self._wake(known)
            case "ConfigMap" if Ref.of(obj) == links.SETTINGS:
                if self._listening:
                    self.tell_all()
            case "Namespace" if before is not None and annotations_of(obj) != annotations_of(before):
                for node in sorted(self._nodes_of(name(obj))):  # it may have other pull secrets now
                    self._wake(node)
            case "ConfigMap" | "Secret" if self._listening:
                for node in sorted(self._readers.nodes(obj["kind"], namespace(obj), name(obj)) | self._pullers(obj)):
                    self._wake(node)

    def _pod_changed(self, type_: str, pod: Obj, before: Obj | None) -> None:
        node = get(pod, "spec", "nodeName")
        if type_ == "DELETED":
            self._readers.remove(pod)
        elif before is None or get(before, "spec", "nodeName") != node:
            self._readers.add(pod)
        if node and (type_ == "DELETED" or before is None or _asks_for_more(pod, before)):
            self._wake(node)

    def _pullers(self, secret: Obj) -> set[str]:
        """The nodes with pods that may pull with a Secret because it is their namespace's default."""
        space = self._cache.world.get(Ref(NAMESPACE, "", namespace(secret)))
        if GroupKind.of(secret) != SECRET or space is None or name(secret) not in pull_defaults(space):
            return set()
        return self._nodes_of(namespace(secret))

    def _nodes_of(self, space: str) -> set[str]:
        return {node for pod in self._cache.world.list(POD, space) if (node := get(pod, "spec", "nodeName"))}

    def tell_all(self) -> None:
        """Every real node is told of every change of a service or of the mode, whether it has pods or not. What was
        there before we began, a node learns when it is reached for another reason."""
        self._news = True
        for node in self._cache.world.list(NODE):
            if is_simulated(node):
                continue
            if name(node) in self._loops:
                self._queue.add_after(name(node) + _NEWS, netview.BATCH)
            else:
                self._wake(name(node), anyway=True)

    def _reach_all(self) -> None:
        """Every real node is to be told what there is to know of services."""
        with self._cache.lock:
            found = self._cache.world.list(NODE)
        for node in found:
            if not is_simulated(node) and name(node) not in self._loops:
                self._wake(name(node), anyway=True)

    def _real_loops(self) -> list[NodeLoop]:
        return [loop for node, loop in list(self._loops.items()) if node in self._real]

    def _may_end(self, node: str) -> None:
        """A pod of this node that is being deleted gets no new connections any more."""
        if (loop := self._loops.get(node)) is not None:
            loop.hurry()
        self._wake(node)

    def _confirmed(self) -> None:
        if self._gate.shut:
            self._queue.add(_GATE)

    def _asked(self, node: str, moved: bool, act: bool) -> None:
        """Probes of this node have something to tell."""
        if moved:
            self._queue.add(node + _HEALTH)
        else:
            self._queue.add_after(node + _HEALTH, _SOON)
        if act:
            self._wake(node)

    def _tell_known(self) -> None:
        """Policies matter where there are pods, and these nodes have loops."""
        self._news = True
        for node in list(self._real):
            self._queue.add_after(node + _NEWS, netview.BATCH)

    def _wake(self, node: str, after: float = 0.0, anyway: bool = False) -> None:
        if self._stopping:
            return
        if node not in self._loops:
            found = self._cache.world.get(Ref(NODE, "", node))
            if found is None:
                return
            if not (self._every_node or anyway) and not wants_attention(found, self._cache.world.on_node(node)):
                return
            self._loops[node] = self._loop(node)
            if not is_simulated(found):
                self._real.add(node)
            self._more_threads()
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
            net=self._net,
            prober=self.prober,
            gate=self._gate,
            clock=self._clock,
            wake=lambda after: self._wake(node, after),
            confirmed=self._confirmed,
            news=self._tell_known,
        )

    # --- stepping

    def start(self) -> None:
        self._started = True
        self._more_threads()
        self.prober.start()

    def _more_threads(self) -> None:
        """One thread for each real node, for it may wait on the network, and one more that such a wait does not hold
        up; two for all the simulated ones."""
        with self._lock:
            simulated = len(self._loops) - len(self._real)
            wanted = min(MOST_THREADS, len(self._real) + bool(self._real) + min(2, simulated))
            while self._started and len(self._threads) < wanted:
                thread = threading.Thread(target=self._run, name=f"nodes-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self) -> None:
        while not self._stopping:
            self.step(timeout=5)

    def step(self, timeout: float = 0.0) -> bool:
        """Let one node that wants it take a step; False where none did in time."""
        node = self._queue.get(timeout)
        if node is None:
            return False
        try:
            self._step(node)
        except Exception:
            log.exception("%s: a step failed", node)
            self._queue.retry(node)
        finally:
            self._queue.done(node)
        return True

    def _step(self, key: str) -> None:
        if key == _GATE:
            self._gate.recheck()
            return
        node = key.removesuffix(_NEWS).removesuffix(_HEALTH)
        loop = self._loops.get(node)
        if loop is None:
            return
        if key.endswith(_NEWS):
            loop.tell_news()
            return
        if key.endswith(_HEALTH):
            loop.tell_health()
            return
        after = loop.step()
        if after is None:
            with self._lock:
                self._loops.pop(node, None)
                self._real.discard(node)
        else:
            self._queue.add_after(node, after)
        self._queue.forget(node)

    # --- waiting for them

    def look(self, nodes: Iterable[str], since: float, timeout: float) -> None:
        """Have these nodes looked at and wait until each has told what it is like, `since` that moment (monotonic) or
        later. What the store says may be old: nobody has looked while no control plane ran."""
        for node in nodes:
            self._wake(node)
        self._wait(nodes, lambda loop: loop.seen >= since, timeout)

    def rest(self, nodes: Iterable[str], since: float, timeout: float) -> None:
        """Wait until each of these nodes was found with nothing to do, `since` that moment (monotonic) or later."""
        self._wait(nodes, lambda loop: loop.idle >= since, timeout)

    def _wait(self, nodes: Iterable[str], done: Callable[[NodeLoop], bool], timeout: float) -> None:
        end = time.monotonic() + timeout
        for node in nodes:
            while (loop := self._loops.get(node)) and not done(loop) and time.monotonic() < end:
                time.sleep(0.01)

    @property
    def told(self) -> bool:
        """Whether every node that answers knows of every change of a service or policy since this began."""
        return not self._news or all(loop.told for loop in list(self._loops.values()))

    def stop(self, timeout: float = 20.0) -> None:
        self._stopping = True
        self.prober.stop()
        self._queue.close()
        for loop in list(self._loops.values()):
            loop.stop(timeout)
        for thread in self._threads:
            thread.join(timeout)
        for loop in list(self._loops.values()):
            loop.close()


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
