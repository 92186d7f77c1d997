"""Network policies on the way to a node: in force before a pod they isolate starts, told to every node with pods, and
rendered anew only where something changed that they depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ktool.api.action import Status
from ktool.api.obj import Obj, get, name
from ktool.api.ref import EVENT, NAMESPACE, NETWORK_POLICY, NODE, POD, GroupKind, Ref
from ktool.logic.node.nodeaction import CreatePod, Failure, NodeAction, NodeFacts, Outcome, SetPolicies, SetRules
from ktool.node.simulated.runtime import RUNTIMES, SimulatedRuntime
from ktool.nodeplane.netview import NetView
from ktool.nodeplane.nodes import Nodes
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry
from ktool.registry.workqueue import WorkQueue
from ktool.store.store import Store
from tests.everykind import KINDS
from tests.logic.policymodel import policy
from tests.registry.conftest import Clock


class Machine(SimulatedRuntime):
    """A simulated machine with nftables, which may refuse policies. `done`: what it did."""

    def __init__(self, node: str, clock: Clock) -> None:
        super().__init__(node, clock=clock)
        self.refuses, self.done = False, list[NodeAction]()
        self.rules = self.policies = ""

    def observe(self) -> NodeFacts:
        return replace(super().observe(), rules=self.rules, policies=self.policies)

    def perform(self, action: NodeAction) -> Outcome:
        if isinstance(action, SetPolicies) and self.refuses:
            return Outcome(action, Failure("NetworkNotReady", "nft says no", "SetPolicies"))
        self.done.append(action)
        match action:
            case SetPolicies():
                self.policies = action.hash
            case SetRules():
                self.rules = action.hash
            case _:
                return super().perform(action)
        return Outcome(action)

    def close(self) -> None:
        """The machine goes on."""

    def of(self, kind: type[Any]) -> list[Any]:
        return [action for action in self.done if isinstance(action, kind)]


class Plane:
    """The node loops of two machines, stepped by hand."""

    def __init__(self, store: Store, clock: Clock) -> None:
        RUNTIMES.clear()
        self.clock, self.registry = clock, Registry(store, KINDS, clock=clock)
        self.registry.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
        self.machines = {node: Machine(node, clock) for node in ("n1", "n2")}
        for number, node in enumerate(self.machines):
            notes = {"ktool.dev/connection": f"ssh://root@192.0.2.{number + 1}"}
            spec = {"podCIDR": f"10.244.{number + 1}.0/24"}
            metadata = {"name": node, "annotations": notes}
            self.registry.create({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec})
        self.cache = Cache(store)
        self.nodes = Nodes(
            self.registry,
            self.cache,
            cluster="c",
            connect=lambda node: self.machines[name(node)],
            clock=clock,
            every_node=True,
            queue=WorkQueue(clock),
        )

    def pod(self, name: str, node: str, space: str = "default", **labels: str) -> None:
        metadata = {"name": name, "namespace": space, "labels": labels}
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "x"}]}
        self.registry.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def policy(self, name: str, **spec: Any) -> None:
        kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
        self.registry.create({**kind, **policy(name, **spec)})

    def until(self, what: Callable[[], object], seconds: int = 60) -> None:
        for _ in range(seconds * 20):
            self.cache.sync()
            while self.nodes.step():
                self.cache.sync()
            if what():
                return
            self.clock.now += 0.05
        raise AssertionError(f"not within {seconds} s")

    def get(self, kind: GroupKind, name: str, space: str = "default") -> Obj:
        return self.registry.get(Ref(kind, space, name))

    def address(self, name: str) -> str:
        return str(get(self.get(POD, name), "status", "podIP", default=""))


@pytest.fixture
def plane(store: Store, clock: Clock) -> Iterator[Plane]:
    yield Plane(store, clock)
    RUNTIMES.clear()


def test_policies_are_in_force_before_the_pod_is_made_and_known_to_other_nodes(plane: Plane) -> None:
    plane.policy("friends", ingress=[{"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}])
    plane.pod("web", "n1", app="web")
    first, second = plane.machines.values()
    plane.until(lambda: plane.address("web"))
    told = [action for action in first.done if isinstance(action, SetPolicies | CreatePod)]
    assert isinstance(told[0], SetPolicies) and plane.address("web") in told[0].text
    assert isinstance(told[1], CreatePod) and told[1].uid in told[0].pods
    assert second.of(SetPolicies) == []
    plane.pod("friend", "n2", role="friend")
    plane.until(lambda: plane.address("friend") and plane.address("friend") in first.of(SetPolicies)[-1].text)
    assert plane.nodes.up_to_date


def test_where_they_cannot_be_in_force_only_pods_they_isolate_have_to_wait(plane: Plane) -> None:
    first = plane.machines["n1"]
    first.refuses = True
    plane.policy("deny")
    plane.pod("web", "n1")
    plane.pod("free", "n1", space="other")
    plane.until(lambda: get(plane.registry.get(Ref(POD, "other", "free")), "status", "podIP"))

    def events() -> list[str]:
        found = plane.registry.list(EVENT, "default")[0]
        return [one["message"] for one in found if one["involvedObject"]["name"] == "web"]

    plane.until(events)
    assert "its network policies are not in force on n1: nft says no" in events()[0]
    assert len(first.of(CreatePod)) == 1
    first.refuses = False
    plane.until(lambda: plane.address("web"))
    plane.until(lambda: plane.nodes.up_to_date)


def test_a_flushed_table_is_repaired_and_a_needless_one_removed(plane: Plane) -> None:
    plane.policy("deny")
    plane.pod("web", "n1")
    first = plane.machines["n1"]
    plane.until(lambda: plane.address("web"))
    wanted, first.policies = first.policies, ""
    plane.until(lambda: first.policies == wanted)
    plane.registry.delete(Ref(NETWORK_POLICY, "default", "deny"))
    plane.until(lambda: first.policies == "" and first.of(SetPolicies)[-1] == SetPolicies("", ""))
    count = len(first.of(SetPolicies))
    plane.pod("another", "n1")
    plane.until(lambda: plane.address("another"))
    assert len(first.of(SetPolicies)) == count


def test_only_what_policies_depend_on_is_rendered_anew(plane: Plane) -> None:
    net = NetView(plane.cache)
    plane.cache.listen(net.moved)  # type: ignore[arg-type]
    node = plane.registry.get(Ref(NODE, "", "n1"))

    def news(change: Callable[[], object]) -> bool:
        before = net.policies(node)
        change()
        plane.cache.sync()
        return net.policies(node) is not before

    def status(**more: Any) -> None:
        pod = plane.get(POD, "web")
        entry = Status(Ref.of(pod), {**(pod.get("status") or {}), **more}, pod["metadata"]["uid"])
        plane.registry.execute([entry], component="test")

    def label(ref: Ref, **labels: str) -> None:
        plane.registry.patch(ref, {"metadata": {"labels": labels}})

    web = Ref(POD, "default", "web")
    assert not news(lambda: plane.pod("web", "n1"))
    assert not news(lambda: status(podIP="10.244.1.2")), "without policies nothing matters"
    assert news(lambda: plane.policy("deny"))
    assert "10.244.1.2 : drop" in net.policies(node).text
    assert not news(lambda: status(conditions=[{"type": "Ready", "status": "True"}]))
    assert news(lambda: label(web, role="friend"))
    assert news(lambda: label(Ref(NAMESPACE, "", "default"), team="blue"))
    assert not news(lambda: plane.pod("waiting", "n1")), "it has no address yet"
    uid = plane.get(POD, "waiting")["metadata"]["uid"]
    assert news(lambda: net.hold("n1", {uid: "10.244.1.3"})) and uid in net.policies(node).pods
    assert not news(lambda: net.hold("n1", {uid: "10.244.1.3"}))
    assert news(lambda: status(phase="Succeeded")) and "10.244.1.2" not in net.policies(node).text
    assert not news(lambda: status(message="done"))
    assert not news(lambda: plane.registry.delete(web, grace=0)), "it had left already"
