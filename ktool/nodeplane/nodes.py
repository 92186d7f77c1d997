"""Node controller: turns changes in the cache and events of the node plane into work items, and hands each to the loop
of its node.

`app.ControlPlane` owns one; the simulator in tests steps one by hand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from enum import Enum

from ktool.api.obj import Obj, annotations_of, deleting, get, meta, name, namespace
from ktool.api.pod import node_of
from ktool.api.ref import CONFIG_MAP, NAMESPACE, NODE, POD, SECRET, GroupKind, Ref
from ktool.logic.network import links
from ktool.logic.network.nodefields import is_simulated
from ktool.logic.secrets.podrefs import pull_defaults
from ktool.node.base import Runtime
from ktool.nodeplane import netview
from ktool.nodeplane.configreaders import ConfigReaders
from ktool.nodeplane.endgate import EndGate
from ktool.nodeplane.nodeloop import NodeContext, NodeLoop, wants_attention
from ktool.nodeplane.prober import Prober
from ktool.nodeplane.workers import Workers
from ktool.nodeplane.workitems import Gate, Health, Look, Settings, WorkItem
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry
from ktool.registry.workqueue import WorkQueue

log = logging.getLogger(__name__)

_SOON = 1.0
"""Batching period in seconds of failed probes that change no verdict, before their Events are written."""
_SIMULATED = 2
"""Threads for all simulated nodes together: they compute, and never wait."""


class _Phase(Enum):
    """Life of the node controller. `LISTING`: the cache lists what there is already. `READY`: only `step` does
    anything. `RUNNING`: threads do, until `STOPPED`."""

    LISTING = 0
    READY = 1
    RUNNING = 2
    STOPPED = 3


class Nodes:
    """Node loops and their queue. `every_node`: reach all nodes (a server that stays); otherwise only those with
    something to do, so that a command which touches no node opens no connection. Nothing happens before `start`, except
    by `step`."""

    def __init__(
        self,
        registry: Registry,
        cache: Cache,
        *,
        cluster: str,
        connect: Callable[[Obj], Runtime],
        clock: Callable[[], float],
        every_node: bool,
        queue: WorkQueue[WorkItem] | None = None,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache, self._every_node = cache, every_node
        self._queue: WorkQueue[WorkItem] = WorkQueue() if queue is None else queue
        self._loops: dict[str, NodeLoop] = {}
        self._real: set[str] = set()
        self._workers = Workers(self._queue, self._handle, self._blocks)
        self._net = netview.NetView(cache)
        self.prober = Prober(self, ticks, spread=every_node)
        self._gate = EndGate(self._net, self, ticks)
        self._context = NodeContext(
            registry, cache, cluster, connect, clock, self._net, self._gate, self.prober, events=self
        )
        self._readers = ConfigReaders()
        self._lock = threading.Lock()
        self._settings_moved = False
        """Whether nodes may lack a setting that changed since this began."""
        self._phase = _Phase.LISTING
        cache.listen(self._changed)
        self._phase = _Phase.READY

    # --- which node to look at

    def _changed(self, type_: str, obj: Obj, before: Obj | None) -> None:
        """Listener of the cache, called under its lock. A change of status by a node loop is no reason to look
        again."""
        listening = self._phase is not _Phase.LISTING
        if self._net.moved(type_, obj, before) and listening:
            self.addresses_held()
        gk = GroupKind.of(obj)
        if gk in netview.KINDS:
            self._net.changed()
            if listening:
                self.settings_changed()
                self.rules_confirmed()
        elif gk == POD:
            self._pod_changed(type_, obj, before)
        elif gk == NODE:
            if type_ == "DELETED" or before is None or _moved(obj, before):
                self._settings_moved |= listening and not is_simulated(obj)
                for known in [*self._loops, name(obj)]:
                    self._queue_look(known)
        elif gk == NAMESPACE:
            if before is not None and annotations_of(obj) != annotations_of(before):
                for node in sorted(self._nodes_of(name(obj))):  # it may have other pull secrets now
                    self._queue_look(node)
        elif gk in (CONFIG_MAP, SECRET) and listening:
            self._config_changed(obj)

    def _config_changed(self, obj: Obj) -> None:
        if Ref.of(obj) == links.SETTINGS:
            self.settings_changed()
            return
        for node in sorted(self._readers.nodes(obj["kind"], namespace(obj), name(obj)) | self._pullers(obj)):
            self._queue_look(node)

    def _pod_changed(self, type_: str, pod: Obj, before: Obj | None) -> None:
        node = node_of(pod)
        if type_ == "DELETED":
            self._readers.remove(pod)
        elif before is None or node_of(before) != node:
            self._readers.add(pod)
        if node and (type_ == "DELETED" or before is None or _desired_changed(pod, before)):
            self._queue_look(node)

    def _pullers(self, secret: Obj) -> set[str]:
        """Nodes with pods that may pull with a Secret because it is their namespace's default."""
        space = self._cache.world.get(Ref(NAMESPACE, "", namespace(secret)))
        if GroupKind.of(secret) != SECRET or space is None or name(secret) not in pull_defaults(space):
            return set()
        return self._nodes_of(namespace(secret))

    def _nodes_of(self, space: str) -> set[str]:
        return {node for pod in self._cache.world.list(POD, space) if (node := node_of(pod))}

    def settings_changed(self) -> None:
        """Queue an update of settings for every real node, whether it has pods or not: a service or the network mode
        has changed. What was there before `listen`, a node gets when it is reached for another reason."""
        self._settings_moved = True
        for node in self._cache.world.list(NODE):
            if is_simulated(node):
                continue
            if name(node) in self._loops:
                self._queue.add_after(Settings(name(node)), netview.BATCH)
            else:
                self._queue_look(name(node), anyway=True)

    def _queue_look(self, node: str, after: float = 0.0, anyway: bool = False) -> None:
        """Queue a Look, with a loop where the node has none yet. `anyway`: also where there is nothing to do and a
        command runs the control plane for a moment."""
        if self._phase is _Phase.STOPPED:
            return
        if node not in self._loops:
            found = self._cache.world.get(Ref(NODE, "", node))
            if found is None:
                return
            if not (self._every_node or anyway) and not wants_attention(found, self._cache.world.on_node(node)):
                return
            self._loops[node] = NodeLoop(node, self._context)
            if not is_simulated(found):
                self._real.add(node)
            self._more_threads()
        if after:
            self._queue.add_after(Look(node), after)
        else:
            self._queue.add(Look(node))

    # --- events (workitems.NodeEvents)

    def node_changed(self, node: str, after: float = 0.0) -> None:
        self._queue_look(node, after)

    def health_changed(self, node: str, verdict: bool, act: bool) -> None:
        if verdict:
            self._queue.add(Health(node))
        else:
            self._queue.add_after(Health(node), _SOON)
        if act:
            self._queue_look(node)

    def addresses_held(self) -> None:
        """Queue an update of settings for the real nodes with a loop: policies matter where there are pods."""
        self._settings_moved = True
        for node in list(self._real):
            self._queue.add_after(Settings(node), netview.BATCH)

    def rules_confirmed(self) -> None:
        if self._gate.shut:
            self._queue.add(Gate())

    def may_end(self, node: str) -> None:
        if (loop := self._loops.get(node)) is not None:
            loop.hurry()
        self._queue_look(node)

    def reach_all(self) -> None:
        with self._cache.lock:
            found = self._cache.world.list(NODE)
        for node in found:
            if not is_simulated(node) and name(node) not in self._loops:
                self._queue_look(name(node), anyway=True)

    def confirmations(self) -> list[float]:
        return [loop.confirmed for node, loop in list(self._loops.items()) if node in self._real]

    # --- stepping

    def start(self) -> None:
        self._phase = _Phase.RUNNING
        self._more_threads()
        self.prober.start()

    def _more_threads(self) -> None:
        """Keep a thread for the next item, and a second one where simulated nodes compute."""
        if self._phase is _Phase.RUNNING:
            self._workers.at_least(min(_SIMULATED, len(self._loops) - len(self._real)) or min(1, len(self._real)))

    def _blocks(self, item: WorkItem) -> bool:
        """Whether an item may wait on the network."""
        return isinstance(item, (Look, Settings)) and item.node in self._real

    def step(self, timeout: float = 0.0) -> bool:
        """Handle one item; False where there was none in time."""
        item = self._queue.get(timeout)
        if item is None:
            return False
        self._handle(item)
        return True

    def _handle(self, item: WorkItem) -> None:
        try:
            match item:
                case Gate():
                    self._gate.recheck()
                case Look(node) if (loop := self._loops.get(node)) is not None:
                    self._step(item, loop)
                case Settings(node) if (loop := self._loops.get(node)) is not None:
                    loop.update_settings()
                case Health(node) if (loop := self._loops.get(node)) is not None:
                    loop.report_health()
        except Exception:
            log.exception("%s: a step failed", item)
            self._queue.retry(item)
        finally:
            self._queue.done(item)

    def _step(self, item: Look, loop: NodeLoop) -> None:
        after = loop.step()
        if after is None:
            with self._lock:
                self._loops.pop(item.node, None)
                self._real.discard(item.node)
        else:
            self._queue.add_after(item, after)
        self._queue.forget(item)

    # --- waiting for them

    def look(self, nodes: Iterable[str], since: float, timeout: float) -> None:
        """Wait until each of these nodes was observed and reported, `since` that moment (monotonic) or later. What the
        store has may be old: nothing was observed while no control plane ran."""
        for node in nodes:
            self._queue_look(node)
        self._wait(nodes, lambda loop: loop.seen >= since, timeout)

    def rest(self, nodes: Iterable[str], since: float, timeout: float) -> None:
        """Wait until each of these nodes was observed with nothing to do, `since` that moment (monotonic) or later."""
        self._wait(nodes, lambda loop: loop.idle >= since, timeout)

    def _wait(self, nodes: Iterable[str], done: Callable[[NodeLoop], bool], timeout: float) -> None:
        end = time.monotonic() + timeout
        for node in nodes:
            while (loop := self._loops.get(node)) and not done(loop) and time.monotonic() < end:
                time.sleep(0.01)

    @property
    def up_to_date(self) -> bool:
        """Whether every node that answers has the settings of every change of services and policies since this
        began."""
        return not self._settings_moved or all(loop.up_to_date for loop in list(self._loops.values()))

    def stop(self, timeout: float = 20.0) -> None:
        """Shut down within about `timeout` seconds: actions that are under way on nodes end and are reported, none
        begins."""
        self._phase = _Phase.STOPPED
        end = time.monotonic() + timeout
        self.prober.stop()
        self._workers.stop()
        self._queue.close()
        loops = list(self._loops.values())
        for loop in loops:  # all of them first: a node that does not answer takes no time from the others
            loop.begin_nothing()
        for loop in loops:
            loop.stop(max(0.0, end - time.monotonic()))
        self._workers.join(end)
        for loop in list(self._loops.values()):
            loop.close()


def _desired_changed(pod: Obj, before: Obj) -> bool:
    """Whether the desired state of a pod has changed: its spec, its deletion or its grace period."""
    return (
        pod.get("spec") != before.get("spec")
        or deleting(pod) != deleting(before)
        or (meta(pod).get("deletionGracePeriodSeconds") != meta(before).get("deletionGracePeriodSeconds"))
    )


def _moved(node: Obj, before: Obj) -> bool:
    """Whether the routes of other nodes to this one, or the connection to it, have changed."""
    return (
        node.get("spec") != before.get("spec")
        or annotations_of(node) != annotations_of(before)
        or deleting(node) != deleting(before)
        or get(node, "status", "addresses") != get(before, "status", "addresses")
    )
