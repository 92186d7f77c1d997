"""A node as a pure value that obeys NodeActions: what tests of the plans act on. No time passes by itself in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ktool.api.marks import DOMAIN
from ktool.api.obj import Obj, get, name, put
from ktool.logic.node import nodeaction as act
from ktool.logic.node.nodeaction import ContainerFact, NodeFacts, PodFact
from ktool.logic.plan.nodeplan import NodePlan, Underway, plan
from ktool.logic.pod import podstatus
from ktool.logic.pod.context import Context
from ktool.logic.pod.probes import UNKNOWN, Vitals

NODE: Obj = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node1"},
    "spec": {"podCIDR": "10.244.1.0/24"},
    "status": {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": "node1"}],
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
    },
}


def pod(
    own: str, uid: str = "", *, init: tuple[str, ...] = (), containers: tuple[str, ...] = ("web",), **spec: Any
) -> Obj:
    def made(container: str) -> Obj:
        return {"name": container, "image": f"registry.test/{container}:v1", "imagePullPolicy": "IfNotPresent"}

    body: Obj = {"nodeName": "node1", "containers": [made(container) for container in containers], **spec}
    if init:
        body["initContainers"] = [made(container) for container in init]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": own, "namespace": "default", "uid": uid or f"uid-{own}"},
        "spec": body,
    }


class Model:
    """Pods and containers by name, and the API's view of the pods. `exits`: container -> code of a container that
    ends as soon as it is started (init containers end with 0 where nothing is said)."""

    def __init__(self, pods: list[Obj], exits: Mapping[str, int] | None = None) -> None:
        self.wanted = {pod["metadata"]["uid"]: pod for pod in pods}
        self.exits = dict(exits or {})
        self.facts = NodeFacts()
        self.now = 1_700_000_000.0
        self.addresses: dict[str, str] = {}
        self.serial = 0

    # --- one pass of the node loop

    def plan(self) -> NodePlan:
        context = Context(NODE, "c1", {}, lambda ref: None, self.now, vitals=self.vitals())
        return plan(list(self.wanted.values()), self.facts, context, Underway(addresses=self.addresses))

    def vitals(self) -> Vitals:
        return UNKNOWN

    def step(self, limit: int = 10**9) -> NodePlan:
        """Plan, do at most `limit` of the actions, and write the statuses down."""
        result = self.plan()
        self.addresses |= result.addresses
        todo = [*result.setup, *(action for lane in result.lanes for action in lane.actions)]
        for action in todo[:limit]:
            self.do(action)
        for gone in result.gone:
            self.wanted.pop(gone.uid, None)
            self.addresses.pop(gone.uid, None)
        self.observe()
        return result

    def observe(self) -> None:
        seen = {fact.uid: fact for fact in self.facts.pods}
        for uid, pod in self.wanted.items():
            status = podstatus.status(pod, seen.get(uid), node=NODE, failures={}, now=self.now, vitals=self.vitals())
            self.wanted[uid] = put(pod, "status", status)

    # --- what the node does

    def do(self, action: act.NodeAction) -> None:
        self.now += 0.25
        if isinstance(action, act.EnsureNetwork):
            self.facts = replace(self.facts, network=action.subnet)
        elif isinstance(action, act.WriteVolumes):
            before = self.facts.volumes.get(action.uid, {})
            hashes = {**before, **{volume.name: volume.hash for volume in action.volumes}}
            self.facts = replace(self.facts, volumes={**self.facts.volumes, action.uid: hashes})
        elif isinstance(action, act.CreatePod):
            self._create_pod(action)
        elif isinstance(action, act.CreateContainer):
            self._create_container(action)
        elif isinstance(action, act.RemoveVolumes | act.RemovePod):
            left = {uid: hashes for uid, hashes in self.facts.volumes.items() if uid != action.uid}
            pods = self.facts.pods
            if isinstance(action, act.RemovePod):
                assert self.pod(action.uid).id == action.pod
                pods = tuple(fact for fact in pods if fact.uid != action.uid)
            self.facts = replace(self.facts, volumes=left, pods=pods)
        elif isinstance(action, act.StartPod):
            found = self.pod(action.uid)
            assert action.pod in (found.id, _pod_name(found))
            self._set(replace(found, infra="running", containers=tuple(self._start(c) for c in found.containers)))
        elif isinstance(action, act.StartContainer):
            self._set(replace(self.pod(action.uid), infra="running"))
            self._change(action.uid, action.container, self._start)
        elif isinstance(action, act.StopContainer):
            self._change(action.uid, action.container, self._stop)
        elif isinstance(action, act.StopPod):
            for container in self.pod(action.uid).containers:
                if container.id in (*action.containers, *action.last):
                    self._change(action.uid, container.name, self._stop)
        elif isinstance(action, act.RemoveContainer):
            self.remove_container(action.uid, action.container)

    def pod(self, uid: str) -> PodFact:
        return next(fact for fact in self.facts.pods if fact.uid == uid)

    def remove_container(self, uid: str, own: str) -> None:
        found = self.pod(uid)
        self._set(replace(found, containers=tuple(c for c in found.containers if c.name != own)))

    def reboot(self) -> None:
        """Everything has stopped; Podman calls it exited."""

        def ended(container: ContainerFact) -> ContainerFact:
            return self._stop(container) if container.state == "running" else container

        pods = tuple(
            replace(fact, infra="exited", containers=tuple(ended(c) for c in fact.containers))
            for fact in self.facts.pods
        )
        self.facts = replace(self.facts, pods=pods)

    def _create_pod(self, action: act.CreatePod) -> None:
        assert all(fact.uid != action.uid for fact in self.facts.pods), f"a second pod for {action.uid}"
        labels = action.payload["labels"]
        ip = labels[f"{DOMAIN}/ip"]
        assert not ip or ip not in {fact.ip for fact in self.facts.pods}, f"address {ip} was given twice"
        fact = PodFact(
            uid=action.uid,
            namespace=labels[f"{DOMAIN}/namespace"],
            name=labels[f"{DOMAIN}/pod"],
            id=self._id("p"),
            hash=labels[f"{DOMAIN}/hash"],
            ip=ip,
            infra="created",
            created_at=self.now,
        )
        self.facts = replace(self.facts, pods=(*self.facts.pods, fact))

    def _create_container(self, action: act.CreateContainer) -> None:
        found = self.pod(action.uid)
        assert action.payload["pod"] == _pod_name(found)
        assert all(c.name != action.container for c in found.containers), f"a second container {action.container}"
        made = ContainerFact(action.container, self._id("c"), "created", image=action.payload["image"])
        self._set(replace(found, containers=(*found.containers, made)))

    def _start(self, container: ContainerFact) -> ContainerFact:
        if container.state == "running":
            return container
        started = replace(container, state="running", started_at=self.now, restarts=0)
        code = self.exits.get(container.name, 0 if container.name.startswith("init") else None)
        if code is None:
            return started
        return replace(started, state="exited", finished_at=self.now, exit_code=code)

    def _stop(self, container: ContainerFact) -> ContainerFact:
        return replace(container, state="exited", finished_at=self.now, exit_code=143)

    def _change(self, uid: str, own: str, change: Any) -> None:
        found = self.pod(uid)
        assert any(c.name == own for c in found.containers), f"no container {own} to act on"
        self._set(replace(found, containers=tuple(change(c) if c.name == own else c for c in found.containers)))

    def _set(self, fact: PodFact) -> None:
        self.facts = replace(self.facts, pods=tuple(fact if f.uid == fact.uid else f for f in self.facts.pods))

    def _id(self, kind: str) -> str:
        self.serial += 1
        return f"{kind}{self.serial:04d}"


def _pod_name(fact: PodFact) -> str:
    return f"{fact.name}_{fact.namespace}_{fact.uid[:8]}"


def waiting_reasons(pod: Obj) -> list[str]:
    entries = get(pod, "status", "containerStatuses", default=())
    return [get(entry, "state", "waiting", "reason", default="") for entry in entries]


def named(pods: Mapping[str, Obj], own: str) -> Obj:
    return next(pod for pod in pods.values() if name(pod) == own)
