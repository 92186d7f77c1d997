"""Kubelet loop of one node, run from the control plane: observe, plan, report, act. `nodes.Nodes` steps it.

Every pass observes the node anew and plans from that, so whatever an interrupted command, a reboot or a person left
behind is repaired by the next pass. What takes long (pulls, starts, ends) runs in lanes, one per pod, beside the loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from ktool.api.action import Action, Delete, Patch, Status
from ktool.api.marks import CONNECTION, HOST_KEY, IDENTITY, NODE_FINALIZER
from ktool.api.obj import Obj, deleting, get, meta, uid
from ktool.api.ref import NODE, Ref
from ktool.logic.network.nodefields import is_simulated
from ktool.logic.node import nodeevents, nodestatus
from ktool.logic.node.backoff import delay
from ktool.logic.node.nodeaction import Failure, Failures, NodeFacts, Outcome, PodFact, SetPolicies
from ktool.logic.plan import netplan, nodeplan
from ktool.logic.plan.nodeplan import Lane, Underway
from ktool.logic.pod import podstatus
from ktool.logic.pod.context import Context
from ktool.node.base import NodeError, Runtime, Unreachable
from ktool.nodeplane.endgate import EndGate
from ktool.nodeplane.lanes import Lanes
from ktool.nodeplane.netsettings import NetSettings
from ktool.nodeplane.netview import NetView
from ktool.nodeplane.prober import Prober
from ktool.nodeplane.vitals import VitalSigns
from ktool.nodeplane.workitems import NodeEvents
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry

log = logging.getLogger(__name__)

RESYNC = 15.0
"""Seconds after which a node is observed again although nothing was heard of it."""
GATHER, PER_LANE, SHARE, BURST = 2.0, 0.25, 8, 0.3
"""Least interval between observations while lanes run, for each costs the node processor time: PER_LANE x lanes (at
most GATHER); at least SHARE x the duration of the last observation (at most 5 s); GATHER while lanes keep ending within
BURST seconds of each other, for the last of them shows what the others did."""
COMPONENT = "kubelet"


@dataclass(frozen=True)
class NodeContext:
    """Dependencies that all node loops of one control plane share. `connect` opens a node; `clock` gives epoch
    seconds."""

    registry: Registry
    cache: Cache
    cluster: str
    connect: Callable[[Obj], Runtime]
    clock: Callable[[], float]
    net: NetView
    gate: EndGate
    prober: Prober
    events: NodeEvents


@dataclass(frozen=True)
class Observation:
    """Observation of a node: its object and pods as the store has them, what runs there, and what lanes were doing when
    it began (time.monotonic)."""

    node: Obj
    pods: list[Obj]
    facts: NodeFacts
    busy: frozenset[str]
    failed: Failures
    began: float


class NodeLoop:
    """Kubelet loop of one node. `step` is called by one thread at a time, the rest by any."""

    def __init__(self, node: str, context: NodeContext) -> None:
        self.node, self._ref = node, Ref(NODE, "", node)
        self._registry, self._cache, self._clock = context.registry, context.cache, context.clock
        self._context, self._events = context, context.events
        self._net, self._gate = context.net, context.gate
        self._signs = VitalSigns(node, context.prober)
        self._lanes = Lanes(node, self._signs, context.events, context.clock)
        self._settings = NetSettings(context.net, self._lanes, context.events, context.clock)
        self._runtime: Runtime | None = None
        self._connection: tuple[str, ...] = ()
        self._addresses: dict[str, str] = {}
        self._facts: NodeFacts | None = None
        self._reporting = threading.Lock()
        self._unreachable = 0
        self._observed_at = 0.0
        self._gather = 0.0
        self._first = False
        """Lanes began when none was running: a command wants to see the first of many pods stay before it believes the
        others, so the node is looked at as soon as one of them has ended."""
        self.seen = self.idle = 0.0
        """When the last pass began (time.monotonic) that reported what it observed, and the last one that found nothing
        to do. A node that cannot be asked counts as both."""

    @property
    def runtime(self) -> Runtime | None:
        """The open connection, for logs and exec."""
        return self._runtime

    # --- one pass

    def step(self) -> float | None:
        """One pass; the seconds to the next one, None where the node is gone from the store."""
        self._cache.sync()
        node = self._cache.world.get(self._ref)
        if node is None:
            self.close()
            return None
        try:
            return self._pass(node)
        except NodeError as error:
            return self._lost(node, error)

    def _pass(self, node: Obj) -> float:
        runtime = self._connected(node)
        busy = self._lanes.busy
        early = self._earliest(busy) - time.monotonic()
        if early > 0 and busy and not self._may_end(busy):
            self._settings.update(runtime, node)
            return early
        seen = self._observe(runtime, node)
        plan = self._plan(seen)
        self._report(seen, plan)
        again = self._act(runtime, seen, plan)
        self._forget(seen)
        self.seen = seen.began
        if not (seen.busy or plan.lanes or plan.setup):
            self.idle = seen.began
        if deleting(seen.node) and not seen.facts.pods and not plan.lanes and not seen.busy:
            runtime.release()
            self._let_go(seen.node)
        return again

    def _observe(self, runtime: Runtime, node: Obj) -> Observation:
        """Step 1: what runs on the node, and its pods as the store has them."""
        began = time.monotonic()
        busy, failed = self._lanes.look()
        facts = runtime.observe()
        self._observed_at = time.monotonic()
        self._settings.observed(facts, began)
        self._gather = min(5.0, SHARE * (self._observed_at - began))
        self._cache.sync()
        with self._cache.lock:
            node = self._cache.world.get(self._ref) or node
            pods = [] if deleting(node) else self._cache.world.on_node(self.node)
        self._signs.look(runtime, node, pods, facts, self._clock())
        return Observation(node, pods, facts, busy, failed, began)

    def _plan(self, seen: Observation) -> nodeplan.NodePlan:
        """Step 2: the actions that bring the node to its desired state."""
        context = Context(
            seen.node, self._context.cluster, seen.failed, self._lookup, self._clock(), vitals=self._signs.now()
        )
        held = self._gate.held(self.node, seen.pods)
        underway = Underway(seen.busy, dict(self._addresses), held, self._lanes.ending)
        return nodeplan.plan(seen.pods, seen.facts, context, underway)

    def _report(self, seen: Observation, plan: nodeplan.NodePlan) -> None:
        """Step 3: write the status of each pod and of the node, and remove deleted pods that are gone from here."""
        node, facts = seen.node, seen.facts
        there: dict[str, PodFact] = {fact.uid: fact for fact in facts.pods}
        with self._reporting:
            self._facts = facts
            with self._cache.lock:
                newest = {uid(pod): pod for pod in self._cache.world.on_node(self.node)}
            pods = [newest.get(uid(pod), pod) for pod in seen.pods]
            actions = self._statuses(node, pods, there, {**plan.problems, **seen.failed})
            actions += [Delete(gone.ref, gone.uid, grace=0) for gone in plan.gone]
            actions += nodestatus.ready(node, facts.boot_id, self._clock(), self._settings.standing(node, seen.failed))
            actions += nodestatus.announced(node, facts)
            self._write([*actions, *self._signs.events()])

    def _statuses(self, node: Obj, pods: list[Obj], seen: dict[str, PodFact], failures: Failures) -> list[Action]:
        """Status updates of these pods, with their Events."""
        now, vitals = self._clock(), self._signs.now()
        actions: list[Action] = []
        for pod in pods:
            fact = seen.get(uid(pod))
            status = podstatus.status(pod, fact, node=node, failures=failures, now=now, vitals=vitals)
            if status != pod.get("status"):
                actions.append(Status(Ref.of(pod), status, uid(pod)))
                actions.extend(nodeevents.of_status(pod, status))
        return actions

    def _act(self, runtime: Runtime, seen: Observation, plan: nodeplan.NodePlan) -> float:
        """Step 4: set the node up, update its settings and start the lanes; the seconds to the next pass."""
        self._addresses.update(plan.addresses)
        if self._net.hold(self.node, self._addresses):
            self._events.addresses_held()
        failures = [self._lanes.note("", runtime.perform(action), None) for action in plan.setup]
        again = self._settings.update(runtime, seen.node)
        lanes = [] if any(failures) else self._guarded(seen.node, plan.lanes)
        self._first = bool(lanes) and not seen.busy
        for action in plan.sooner:
            self._lanes.hasten(runtime, action)
        for lane in lanes:
            self._lanes.start(runtime, lane, self._pod(lane.uid))
        waits = (plan.after, again, 0.0 if plan.setup else None, 0.1 if len(lanes) < len(plan.lanes) else None)
        return min((RESYNC, *(wait for wait in waits if wait is not None)))

    def _earliest(self, busy: frozenset[str]) -> float:
        """Earliest moment of the next observation while these lanes are running (time.monotonic)."""
        if self._first and self._lanes.last_end > self._observed_at:
            self._first = False
            return 0.0
        enough = max(min(GATHER, PER_LANE * len(busy)), self._gather)
        if not self._lanes.working or not self._observed_at:
            return self._observed_at + enough
        burst = self._lanes.last_end + BURST
        return max(self._observed_at + enough, min(burst, self._observed_at + max(GATHER, enough)))

    def _may_end(self, busy: frozenset[str]) -> bool:
        """Whether the gate has opened for a pod: its end does not wait for the lanes of others."""
        with self._cache.lock:
            pods = self._cache.world.on_node(self.node)
        held = self._gate.held(self.node, pods)
        return any(not left and pod_uid not in busy for pod_uid, left in held.items())

    def hurry(self) -> None:
        """Let the next pass observe the node even while lanes are running."""
        self._observed_at = 0.0

    def report_health(self) -> None:
        """Pod statuses by the present results of probes and the last observation: the node is not asked."""
        self._cache.sync()
        with self._reporting:
            node, facts = self._cache.world.get(self._ref), self._facts
            if node is None or facts is None:
                return
            with self._cache.lock:
                pods = [] if deleting(node) else self._cache.world.on_node(self.node)
            seen = {fact.uid: fact for fact in facts.pods}
            concerned = self._signs.concerned
            pods = [pod for pod in pods if uid(pod) in concerned and uid(pod) in seen]
            actions = self._statuses(node, pods, seen, self._lanes.failures)
            self._write([*actions, *self._signs.events()])
            self._cache.sync()

    def update_settings(self) -> None:
        """Update of the node's network settings alone. It waits for no lane, and a pass may go on beside it."""
        self._cache.sync()
        node, runtime = self._cache.world.get(self._ref), self._runtime
        if node is None or runtime is None or not self._settings.ready:
            self._events.node_changed(self.node)
            return
        try:
            again = self._settings.update(runtime, node)
        except NodeError:  # the next pass meets it too, and says so
            again = 0.0
        if again is not None:
            self._events.node_changed(self.node, again)
        self._write([])

    @property
    def up_to_date(self) -> bool:
        """Whether the node has every desired network setting, as far as it can be reached."""
        node = self._cache.world.get(self._ref)
        if node is None or is_simulated(node) or self._unreachable:
            return True
        return self._settings.up_to_date(node)

    @property
    def confirmed(self) -> float:
        """Number of the last change of services whose rules the node has confirmed; inf where it cannot be sent any."""
        node = self._cache.world.get(self._ref)
        if node is None or is_simulated(node) or deleting(node) or self._unreachable:
            return inf
        return self._settings.confirmed

    def _guarded(self, node: Obj, lanes: Sequence[Lane]) -> list[Lane]:
        """Lanes without those that would start a pod whose network policies are not in force here. Where the node
        refused the policies, the pod gets an Event."""
        waiting = self._settings.unguarded(node)
        found = []
        for lane in lanes:
            action = netplan.starts(lane) if lane.uid in waiting else None
            if action is None:
                found.append(lane)
            elif refused := self._lanes.failures.get(("", SetPolicies.__name__)):
                text = f"its network policies are not in force on {self.node}: {refused.message}"
                failure = Failure("FailedCreatePodSandBox", text, SetPolicies.__name__)
                self._lanes.note(lane.uid, Outcome(action, failure), self._pod(lane.uid))
        return found

    def _lookup(self, ref: Ref) -> Obj | None:
        with self._cache.lock:
            return self._cache.world.get(ref)

    def _pod(self, pod_uid: str) -> Obj | None:
        with self._cache.lock:
            return next((pod for pod in self._cache.world.on_node(self.node) if uid(pod) == pod_uid), None)

    def _write(self, actions: list[Action]) -> None:
        """Write these and the Events that gathered in the lanes, in one transaction."""
        self._lanes.report(actions, lambda all_: self._registry.execute(all_, component=COMPONENT))

    def _forget(self, seen: Observation) -> None:
        """Drop what is remembered of pods that are gone from both store and node."""
        known = {uid(pod) for pod in seen.pods} | {fact.uid for fact in seen.facts.pods}
        self._lanes.forget(known)
        self._addresses = {key: value for key, value in self._addresses.items() if key in known}

    # --- the connection

    def _connected(self, node: Obj) -> Runtime:
        notes = meta(node).get("annotations") or {}
        wanted = (uid(node), *(notes.get(key, "") for key in (CONNECTION, IDENTITY, HOST_KEY)))
        if self._runtime is not None and wanted == self._connection:
            return self._runtime
        self.disconnect()
        self._settings.forget()
        runtime = self._context.connect(node)
        try:
            info = runtime.info()
        except NodeError:
            runtime.close()
            raise
        self._runtime, self._connection, self._unreachable = runtime, wanted, 0
        runtime.listen(lambda: self._events.node_changed(self.node, 0.05))
        self._registry.execute(nodestatus.described(node, info, self._clock()), component=COMPONENT)
        self._cache.sync()
        return runtime

    def _lost(self, node: Obj, error: NodeError) -> float:
        """Report a node that cannot be asked as unreachable; the back-off in seconds."""
        self.disconnect()
        self._signs.forget()
        if self._lanes.stopping:
            return RESYNC
        self._unreachable += 1
        self.seen = self.idle = time.monotonic()
        self._cache.sync()
        node = self._cache.world.get(self._ref) or node
        if isinstance(error, Unreachable) or self._unreachable > 1:
            self._registry.execute(nodestatus.unreachable(node, error.message, self._clock()), component=COMPONENT)
        with self._cache.lock:
            pods = self._cache.world.on_node(self.node)
        self._registry.execute(nodestatus.out_of_service(node, pods, self._clock()), component=COMPONENT)
        log.info("%s: %s: %s", self.node, error.step, error.message)
        return delay(self._unreachable, 0.5, 15.0)

    def _let_go(self, node: Obj) -> None:
        """Remove the finalizer of a deleted Node: nothing of ours is left on the machine."""
        finalizers = [entry for entry in meta(node).get("finalizers") or () if entry != NODE_FINALIZER]
        patch = {"metadata": {"finalizers": finalizers}}
        self._registry.execute([Patch(self._ref, patch, uid(node))], component=COMPONENT)

    # --- the end

    def begin_nothing(self) -> None:
        """Shut down, first half: no action begins any more; those on their way go on."""
        self._lanes.begin_nothing()

    def stop(self, timeout: float) -> None:
        """Shut down, second half: let the actions on their way end, and report their outcomes. The connection stays
        until `close`."""
        self._lanes.stop(timeout)
        self._write([])

    def disconnect(self) -> None:
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.close()

    def close(self) -> None:
        self.disconnect()
        self._lanes.close()


def wants_attention(node: Obj, pods: list[Obj]) -> bool:
    """Whether a command that runs the control plane for a moment has to reach this node at all: it has pods, it was
    never seen, or it is to go."""
    ready = get(node, "status", "nodeInfo") is not None
    return bool(pods) or not ready or deleting(node)
