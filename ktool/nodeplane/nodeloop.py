"""The kubelet's loop, one per node, run from the control plane: observe, plan, act, report.

Every pass observes the node anew and plans from that, so whatever an interrupted command, a reboot or a person left
behind is repaired by the next pass. What takes long (pulls, starts, ends) runs in lanes, one per pod, beside the loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from math import inf

from ktool.api.action import Action, Delete, Patch, Status
from ktool.api.marks import CONNECTION, HOST_KEY, IDENTITY, NODE_FINALIZER
from ktool.api.obj import Obj, deleting, get, meta, uid
from ktool.api.ref import NODE, Ref
from ktool.logic.network.nodefields import is_simulated
from ktool.logic.node import nodeevents, nodestatus
from ktool.logic.node.backoff import delay
from ktool.logic.node.nodeaction import Failure, NodeFacts, Outcome, PodFact, SetPolicies
from ktool.logic.plan import netplan, nodeplan
from ktool.logic.plan.nodeplan import Lane
from ktool.logic.pod import podstatus
from ktool.node.base import NodeError, Runtime, Unreachable
from ktool.nodeplane.endgate import Gate
from ktool.nodeplane.lanes import Failures, Lanes
from ktool.nodeplane.netsettings import Teller
from ktool.nodeplane.netview import NetView
from ktool.nodeplane.prober import Prober
from ktool.nodeplane.vitals import VitalSigns
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry

log = logging.getLogger(__name__)

RESYNC = 15.0
"""Seconds after which a node is observed again although nothing was heard of it."""
GATHER, PER_LANE, SHARE, BURST = 2.0, 0.25, 8, 0.3
"""While lanes are running, an observation costs the node some of its processor, and waits for the containers that are
just being started or ended. So from one to the next it is PER_LANE seconds for each lane up to GATHER, and SHARE times
as long as the last one took up to 5 s; and while one lane after the other ends within BURST seconds, GATHER: the last
one of them shows what the others did."""
COMPONENT = "kubelet"


class NodeLoop:
    """One node. `step` is called by one thread at a time; `wake` asks for another step."""

    def __init__(
        self,
        node: str,
        connect: Callable[[Obj], Runtime],
        registry: Registry,
        cache: Cache,
        *,
        cluster: str,
        net: NetView,
        prober: Prober,
        gate: Gate,
        clock: Callable[[], float],
        wake: Callable[[float], None],
        confirmed: Callable[[], None],
        news: Callable[[], None],
    ) -> None:
        self.node, self._ref = node, Ref(NODE, "", node)
        self._connect, self._registry, self._cache = connect, registry, cache
        self._cluster, self._net, self._clock, self._wake, self._news = cluster, net, clock, wake, news
        self._gate, self._signs = gate, VitalSigns(node, prober)
        self._lanes = Lanes(node, find=self._pod, done=self._signs.done, clock=clock, wake=self._lane_ended)
        self._runtime: Runtime | None = None
        self._connection: tuple[str, ...] = ()
        self._addresses: dict[str, str] = {}
        self._facts: NodeFacts | None = None
        self._reporting = threading.Lock()
        self._unreachable = 0
        self._observed_at = 0.0
        self._teller = Teller(
            net, lambda: self._lanes.failures, lambda outcome: self._lanes.note("", outcome, None), confirmed, clock
        )
        self._gather = 0.0
        self._first = False
        self.seen = self.idle = 0.0
        """When the last pass began (time.monotonic) that has told what it saw, and the last one that found nothing
        to do. A node that cannot be asked counts as both."""

    @property
    def runtime(self) -> Runtime | None:
        """The open connection, for logs and exec."""
        return self._runtime

    # --- one pass

    def step(self) -> float | None:
        """One pass; the seconds after which the node wants another one, None where it is no node any more."""
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
            self._teller.tell(runtime, node)
            return early
        began = time.monotonic()
        busy, failed = self._lanes.look()
        facts = runtime.observe()
        self._observed_at = time.monotonic()
        self._teller.saw(facts, began)
        self._gather = min(5.0, SHARE * (self._observed_at - began))
        self._cache.sync()
        with self._cache.lock:
            node = self._cache.world.get(self._ref) or node
            pods = [] if deleting(node) else self._cache.world.on_node(self.node)
        self._signs.look(runtime, node, pods, facts, self._clock())
        plan = nodeplan.plan(
            pods,
            facts,
            node=node,
            cluster=self._cluster,
            failures=failed,
            busy=busy,
            addresses=dict(self._addresses),
            lookup=self._lookup,
            now=self._clock(),
            vitals=self._signs.now(),
            held=self._gate.held(self.node, pods),
            ending=self._lanes.ending,
        )
        self._report(node, pods, facts, plan, failed)
        self._addresses.update(plan.addresses)
        if self._net.hold(self.node, self._addresses):
            self._news()
        failures = [self._lanes.note("", runtime.perform(action), None) for action in plan.setup]
        again = self._teller.tell(runtime, node)
        lanes = [] if any(failures) else self._guarded(node, plan.lanes)
        self._first = bool(lanes) and not busy
        for action in plan.sooner:
            self._lanes.hasten(runtime, action)
        for lane in lanes:
            self._lanes.start(runtime, lane)
        self._forget(pods, facts)
        self.seen = began
        if not (busy or plan.lanes or plan.setup):
            self.idle = began
        if deleting(node) and not facts.pods and not plan.lanes and not busy:
            runtime.release()
            self._let_go(node)
        waits = (plan.after, again, 0.0 if plan.setup else None, 0.1 if len(lanes) < len(plan.lanes) else None)
        return min((RESYNC, *(wait for wait in waits if wait is not None)))

    def _earliest(self, busy: frozenset[str]) -> float:
        """When the node may be looked at while these lanes are running (time.monotonic)."""
        enough = max(min(GATHER, PER_LANE * len(busy)), self._gather)
        if not self._lanes.working or not self._observed_at:
            return self._observed_at + enough
        burst = self._lanes.last_end + BURST
        return max(self._observed_at + enough, min(burst, self._observed_at + max(GATHER, enough)))

    def _may_end(self, busy: frozenset[str]) -> bool:
        """Whether the gate has opened for a pod: that is not held up by the lanes of others."""
        with self._cache.lock:
            pods = self._cache.world.on_node(self.node)
        held = self._gate.held(self.node, pods)
        return any(not left and own not in busy for own, left in held.items())

    def hurry(self) -> None:
        """Have the next pass look at the node even where lanes are running."""
        self._observed_at = 0.0

    def tell_health(self) -> None:
        """Write down what probes say now, of what was seen last, without looking at the node."""
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
            self._tell([*actions, *self._signs.events()])
            self._cache.sync()

    def tell_news(self) -> None:
        """Tell the node of the cluster's services and policies without looking at its pods. It waits for no lane, and a
        pass may go on beside it."""
        self._cache.sync()
        node, runtime = self._cache.world.get(self._ref), self._runtime
        if node is None or runtime is None or not self._teller.ready:
            self._wake(0.0)
            return
        try:
            again = self._teller.tell(runtime, node)
        except NodeError:  # the next pass meets it too, and says so
            again = 0.0
        if again is not None:
            self._wake(again)
        self._tell([])

    @property
    def told(self) -> bool:
        """Whether nothing about nodes, services and policies is left to be told to this node, as far as it can be."""
        node = self._cache.world.get(self._ref)
        if node is None or is_simulated(node) or self._unreachable:
            return True
        return self._teller.told(node)

    @property
    def confirmed(self) -> float:
        """The number of the last change of services that the node has for certain; inf where it cannot be told."""
        node = self._cache.world.get(self._ref)
        if node is None or is_simulated(node) or deleting(node) or self._unreachable:
            return inf
        return self._teller.confirmed

    def _guarded(self, node: Obj, lanes: Sequence[Lane]) -> list[Lane]:
        """The lanes without those that would start a pod whose network policies are not in force here. Where the node
        refused them, the pod says so."""
        waiting = self._teller.unguarded(node)
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

    def _report(
        self,
        node: Obj,
        pods: list[Obj],
        facts: NodeFacts,
        plan: nodeplan.NodePlan,
        failed: Failures,
    ) -> None:
        """Say in the store what was seen: the status of each pod, and which deleted pods are gone from here."""
        seen: dict[str, PodFact] = {fact.uid: fact for fact in facts.pods}
        with self._reporting:
            self._facts = facts
            with self._cache.lock:
                newest = {uid(pod): pod for pod in self._cache.world.on_node(self.node)}
            pods = [newest.get(uid(pod), pod) for pod in pods]
            actions = self._statuses(node, pods, seen, {**plan.problems, **failed})
            actions += [Delete(gone.ref, gone.uid, grace=0) for gone in plan.gone]
            actions += nodestatus.ready(node, facts.boot_id, self._clock(), self._teller.standing(node, failed))
            actions += nodestatus.announced(node, facts)
            self._tell([*actions, *self._signs.events()])

    def _statuses(self, node: Obj, pods: list[Obj], seen: dict[str, PodFact], failures: Failures) -> list[Action]:
        """What there is to write of these pods."""
        now, vitals = self._clock(), self._signs.now()
        actions: list[Action] = []
        for pod in pods:
            fact = seen.get(uid(pod))
            status = podstatus.status(pod, fact, node=node, failures=failures, now=now, vitals=vitals)
            if status != pod.get("status"):
                actions.append(Status(Ref.of(pod), status, uid(pod)))
                actions.extend(nodeevents.of_status(pod, status))
        return actions

    def _lane_ended(self, after: float) -> None:
        if self._first:  # a command wants to see the first of many pods stay before it believes the others
            self._first = False
            self.hurry()
        self._wake(after)

    def _pod(self, pod_uid: str) -> Obj | None:
        with self._cache.lock:
            return next((pod for pod in self._cache.world.on_node(self.node) if uid(pod) == pod_uid), None)

    def _tell(self, actions: list[Action]) -> None:
        """Write what was seen, and the Events that gathered in the lanes, in one transaction."""
        self._lanes.tell(actions, lambda all_: self._registry.execute(all_, component=COMPONENT))

    def _forget(self, pods: list[Obj], facts: NodeFacts) -> None:
        """What concerned pods that are gone from the store and the node is not kept."""
        known = {uid(pod) for pod in pods} | {fact.uid for fact in facts.pods}
        self._lanes.forget(known)
        self._addresses = {key: value for key, value in self._addresses.items() if key in known}

    # --- the connection

    def _connected(self, node: Obj) -> Runtime:
        notes = meta(node).get("annotations") or {}
        wanted = (uid(node), *(notes.get(key, "") for key in (CONNECTION, IDENTITY, HOST_KEY)))
        if self._runtime is not None and wanted == self._connection:
            return self._runtime
        self.disconnect()
        self._teller.forget()
        runtime = self._connect(node)
        try:
            info = runtime.info()
        except NodeError:
            runtime.close()
            raise
        self._runtime, self._connection, self._unreachable = runtime, wanted, 0
        runtime.listen(lambda: self._wake(0.05))
        self._registry.execute(nodestatus.described(node, info, self._clock()), component=COMPONENT)
        self._cache.sync()
        return runtime

    def _lost(self, node: Obj, error: NodeError) -> float:
        """The node cannot be asked: say so on the Node, and try again later, each time later."""
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
        """Nothing of ours is left on a node that is being removed: the Node object may go."""
        finalizers = [entry for entry in meta(node).get("finalizers") or () if entry != NODE_FINALIZER]
        patch = {"metadata": {"finalizers": finalizers}}
        self._registry.execute([Patch(self._ref, patch, uid(node))], component=COMPONENT)

    # --- the end

    def stop(self, timeout: float) -> None:
        """Let the actions on their way end, begin none, and tell what came of them. The connection stays until
        `close`."""
        self._lanes.stop(timeout)
        self._tell([])

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
