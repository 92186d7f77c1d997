"""Plan of a node: from the pods bound to it and the observed facts to NodeActions in lanes.

nodeplane/nodeloop and nodeplane/drift call it. The plan of an unchanged world is empty and says why. Everything is
derived anew each time; the caller keeps only failures (for their back-off) and reserved addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from ktool.api.obj import Obj, deleting, get, name, namespace, uid
from ktool.api.pod import finished
from ktool.api.ref import POD, Ref
from ktool.logic.network import ipam
from ktool.logic.node.backoff import retry_at
from ktool.logic.node.nodeaction import (
    CreatePod,
    EnsureNetwork,
    Failure,
    Failures,
    NodeAction,
    NodeFacts,
    PodFact,
    RemoveVolumes,
    StopPod,
)
from ktool.logic.pod import podlife, podplan
from ktool.logic.pod.context import Context
from ktool.logic.pod.podfields import host_network

FORCED = 2
"""Seconds for a pod that is ending when it is deleted by force, as kubelet has it (minimumGracePeriodInSeconds)."""


@dataclass(frozen=True)
class Lane:
    """Actions for one pod, performed one after the other up to the first failure. Lanes run in parallel."""

    uid: str
    actions: tuple[NodeAction, ...]


@dataclass(frozen=True)
class Gone:
    """A terminating pod of which the node has nothing any more: its deletion is to be finished in the API."""

    ref: Ref
    uid: str


@dataclass(frozen=True)
class NodePlan:
    """A node's plan. `setup` comes first; lanes only when all of it is done. `sooner`: actions beside a running lane,
    for pods whose grace period was shortened while that lane stops them. `addresses`: pod uid -> newly reserved
    address; hold it until the pod is observed or gone. `problems`: (uid, container or "") -> why it cannot be made (a
    missing ConfigMap); podstatus.status wants them among the failures. `waiting`: uid -> why an action waits, where
    only time is in the way. `after`: replan in so many seconds, for that."""

    setup: tuple[NodeAction, ...] = ()
    lanes: tuple[Lane, ...] = ()
    sooner: tuple[StopPod, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    gone: tuple[Gone, ...] = ()
    problems: Failures = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)
    after: float | None = None
    because: str = ""


@dataclass(frozen=True)
class Underway:
    """Work in progress while a node is planned, by pod uid. `busy`: pods with a running lane; they are left alone,
    except those that are `ending` with more seconds of grace than they have now. `addresses`: reserved before. `held`:
    terminating pods that still serve -> the seconds for which they may get new connections and must not be stopped; 0
    when that is over."""

    busy: Set[str] = frozenset()
    addresses: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, float] = field(default_factory=dict)
    ending: Mapping[str, int] = field(default_factory=dict)


NOTHING = Underway()


def plan(pods: Sequence[Obj], facts: NodeFacts, context: Context, underway: Underway = NOTHING) -> NodePlan:
    """Plan a node. `pods` must be every Pod bound to it, terminating ones included: everything else of this cluster on
    the node is removed. The state written on the node comes from `facts`."""
    return _Planner(pods, facts, replace(context, written=facts.volumes), underway).plan()


class _Planner:
    """One plan under construction: lanes, reserved addresses, reasons, and times to wake."""

    def __init__(self, pods: Sequence[Obj], facts: NodeFacts, context: Context, underway: Underway) -> None:
        self.pods = sorted(pods, key=lambda pod: (namespace(pod), name(pod), uid(pod)))
        self.facts, self.context = facts, context
        self.busy, self.held, self.ending = underway.busy, underway.held, underway.ending
        self.failures, self.now = context.failures, context.now
        self.subnet = str(get(context.node, "spec", "podCIDR", default=""))
        self.on_node: dict[str, PodFact] = {fact.uid: fact for fact in facts.pods}
        self.pool = _Addresses(self.subnet, self.pods, facts, underway.addresses)
        self.lanes: list[Lane] = []
        self.sooner: list[StopPod] = []
        self.gone: list[Gone] = []
        self.problems: dict[tuple[str, str], Failure] = {}
        self.waiting: dict[str, str] = {}
        self.wake: list[float] = []
        self.reasons: dict[str, None] = {}

    def plan(self) -> NodePlan:
        setup, networked = self._setup()
        for pod in self.pods:
            if deleting(pod):
                self._end(pod)
        self._orphans()
        for pod in self.pods:
            if not deleting(pod):
                self._keep(pod, networked)
        quiet = not (setup or self.lanes or self.sooner or self.gone)
        return NodePlan(
            setup=setup,
            lanes=tuple(self.lanes),
            sooner=tuple(self.sooner),
            addresses=self.pool.reserved,
            gone=tuple(self.gone),
            problems=self.problems,
            waiting=self.waiting,
            after=max(0.0, min(self.wake) - self.now) if self.wake else None,
            because=self._because() if quiet else "",
        )

    def _because(self) -> str:
        if not self.pods:
            return "no pod is bound to this node and nothing of ours is on it"
        return "; ".join(list(self.reasons)[:3]) or "every pod is as wanted"

    def _setup(self) -> tuple[tuple[NodeAction, ...], bool]:
        """The settings a node needs before any pod, and whether pods with an address of their own can be made then."""
        actions: list[NodeAction] = []
        if self.subnet and self.facts.network != self.subnet:
            actions.append(EnsureNetwork(self.subnet))
        failure = self.failures.get(("", ""))
        if actions and failure is not None and self.now < retry_at(failure):
            self.wake.append(retry_at(failure))
            self.reasons[f"{failure.step} failed and is tried again later"] = None
            return (), bool(self.subnet) and self.facts.network == self.subnet
        return tuple(actions), bool(self.subnet)

    def _end(self, pod: Obj) -> None:
        own = uid(pod)
        if own in self.busy:
            self._hasten(own, podplan.asked_grace(pod))
            self.reasons[f"pod {name(pod)} is being worked on"] = None
        elif self.held.get(own) and podlife.is_alive(self.on_node.get(own)):
            self.wake.append(self.now + self.held[own])
            self.reasons[f"pod {name(pod)} ends when no node sends to it any more"] = None
        elif own in self.on_node:
            self._take(own, podplan.end(pod, self.on_node[own], self.context, serves=own in self.held), name(pod))
        elif own in self.facts.volumes:
            self._remove_volumes(own, name(pod))
        else:
            self.gone.append(Gone(Ref(POD, namespace(pod), name(pod)), own))

    def _orphans(self) -> None:
        """Remove pods of this cluster that are not wanted: deleted by force or while the node was away, or of another
        uid."""
        for own in sorted(self.busy - {uid(pod) for pod in self.pods}):
            self._hasten(own, FORCED)
        wanted = {uid(pod) for pod in self.pods} | self.busy
        for fact in sorted(self.facts.pods, key=lambda fact: (fact.namespace, fact.name, fact.uid)):
            if fact.uid not in wanted:
                self._take(fact.uid, podplan.end(None, fact, self.context), fact.name)
        for own in sorted(self.facts.volumes):
            if own not in wanted and own not in self.on_node:
                self._remove_volumes(own, own)

    def _hasten(self, own: str, grace: int) -> None:
        """Stop all containers at once and without hooks, which had their time or have it still."""
        fact = self.on_node.get(own)
        if fact is not None and grace < self.ending.get(own, 0) and podlife.is_alive(fact):
            self.sooner.append(podlife.stop(None, fact, grace, self.context))

    def _remove_volumes(self, own: str, shown: str) -> None:
        failure = self.failures.get((own, ""))
        step = podplan.Step([RemoveVolumes(own)])
        if failure is not None and failure.step == "RemoveVolumes" and self.now < retry_at(failure):
            step = podplan.Step([], [retry_at(failure)], because="RemoveVolumes is tried again later")
        self._take(own, step, shown)

    def _keep(self, pod: Obj, networked: bool) -> None:
        own, fact = uid(pod), self.on_node.get(uid(pod))
        if own in self.busy:
            self.reasons[f"pod {name(pod)} is being worked on"] = None
            return
        if fact is not None:
            self._take(own, podplan.carry_on(pod, fact, self.context), name(pod))
            return
        if finished(pod):
            return
        if host_network(pod):
            self._take(own, podplan.begin(pod, "", self.context), name(pod))
            return
        if not networked:
            why = "the node's pod network is not ready" if self.subnet else "the node has no podCIDR yet"
            self.waiting[own] = why
            self.reasons[why] = None
            return
        try:
            ip = self.pool.choose(pod)
        except ipam.IpamError as error:
            self.problems[(own, "")] = Failure("FailedCreatePodSandBox", str(error), "CreatePod")
            self.reasons[str(error)] = None
            return
        step = podplan.begin(pod, ip, self.context)
        if any(isinstance(action, CreatePod) for action in step.actions):
            self.pool.reserve(own, ip)
        self._take(own, step, name(pod))

    def _take(self, own: str, step: podplan.Step, shown: str) -> None:
        self.wake += step.wake
        for container, failure in step.problems.items():
            self.problems[(own, container)] = failure
        if step.actions:
            self.lanes.append(Lane(own, tuple(step.actions)))
        elif step.because and step.because != podplan.AS_WANTED:
            if step.wake:
                self.waiting[own] = step.because
            self.reasons[f"pod {shown}: {step.because}"] = None


class _Addresses:
    """The pod addresses of a node: none is ever given to two pods."""

    def __init__(self, subnet: str, pods: Iterable[Obj], facts: NodeFacts, addresses: Mapping[str, str]) -> None:
        self.subnet, self.held = subnet, dict(addresses)
        self.reserved: dict[str, str] = {}
        self.used: dict[str, str] = {}
        for pod in pods:
            if (ip := self._recorded(pod)) and not finished(pod):
                self.used.setdefault(ip, uid(pod))
        self.used |= {ip: own for own, ip in addresses.items()}
        self.used |= {fact.ip: fact.uid for fact in facts.pods if fact.ip}
        newest = max((fact for fact in facts.pods if fact.ip), key=lambda fact: fact.created_at, default=None)
        self.last = newest.ip if newest else ""

    def choose(self, pod: Obj) -> str:
        """The address held for a pod, else the one in its status if no other pod has it, else the next free one. Raises
        IpamError where there is none."""
        own = uid(pod)
        for ip in (self.held.get(own, ""), self._recorded(pod)):
            if ip and self.used.get(ip) == own and self._inside(ip):
                return ip
        return ipam.allocate(self.subnet, self.used, self.last)

    def reserve(self, own: str, ip: str) -> None:
        self.used[ip] = own
        if self.held.get(own) != ip:
            self.reserved[own] = ip
            self.last = ip

    def _recorded(self, pod: Obj) -> str:
        return "" if host_network(pod) else str(get(pod, "status", "podIP", default=""))

    def _inside(self, ip: str) -> bool:
        try:
            return ip_address(ip) in ip_network(self.subnet)
        except ValueError:
            return False
