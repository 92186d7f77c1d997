"""What must hold at every moment of every run, whoever steps next and whatever fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ktool.api.obj import Obj, condition, controller_of, deleting, epoch, generation, get, is_true, name, uid
from ktool.api.ref import NODE, POD
from ktool.api.units.quantity import bytes_, milli
from ktool.api.world import World
from ktool.logic.workload.rollout import Limits, limits
from ktool.logic.workload.workloadkinds import DEPLOYMENT, REPLICA_SET
from ktool.node.simulated.simmachine import Machine


class Promises:
    """`calm`: nothing breaks and nobody takes pods away, so that availability is in the control plane's hands."""

    def __init__(self) -> None:
        self.calm = True
        self._sizes: dict[str, tuple[int, int, int]] = {}
        self._owners: dict[str, str] = {}
        self._places: dict[str, str] = {}
        self._restarts: dict[tuple[str, str], int] = {}

    def check(self, world: World, machines: Mapping[str, Machine], now: float) -> None:
        for deployment in world.list(DEPLOYMENT):
            self._deployment(deployment, world, now)
        self._owners = {uid(rs): (controller_of(rs) or {}).get("uid", "") for rs in world.list(REPLICA_SET)}
        for node in world.list(NODE):
            _node_has_room(node, world)
        for pod in world.list(POD):
            self._pod(pod)
        _machines(machines)

    def _deployment(self, deployment: Obj, world: World, now: float) -> None:
        """Decisions count as if they were carried out: pods a ReplicaSet still has to make are there already, and
        available ones that it still has to delete are gone. While there are too many there will be no more, and while
        too few are available there will be no fewer."""
        if deleting(deployment):
            return
        patience = get(deployment, "spec", "minReadySeconds", default=0)
        total = available = adopted = 0
        for rs in world.owned(uid(deployment), REPLICA_SET):
            pods, wanted = world.owned(uid(rs), POD), get(rs, "spec", "replicas")
            there = max(wanted, sum(_active(pod) for pod in pods))
            total += there
            available += min(wanted, sum(is_available(pod, patience, now) for pod in pods))
            if self._owners.get(uid(rs)) == "":
                adopted += there
        replicas, limit = get(deployment, "spec", "replicas"), _limits(deployment)
        known, had_available, had_total = self._sizes.get(uid(deployment), (0, available, total))
        if known != generation(deployment):
            had_available, had_total = available, total
        had_total += adopted
        self._sizes[uid(deployment)] = (generation(deployment), available, total)
        said = f"{name(deployment)}: {replicas} wanted, {limit}: "
        if total > replicas + limit.surge:
            assert total <= had_total, f"{said}{had_total} pods became {total}"
        if self.calm and available < replicas - limit.unavailable:
            assert available >= had_available, f"{said}{had_available} available pods became {available}"

    def _pod(self, pod: Obj) -> None:
        node = get(pod, "spec", "nodeName", default="")
        if node:
            assert self._places.setdefault(uid(pod), node) == node, f"{name(pod)} has moved"
        for entry in get(pod, "status", "containerStatuses", default=()):
            key = (uid(pod), entry["name"])
            assert entry["restartCount"] >= self._restarts.get(key, 0), f"{name(pod)} has forgotten its restarts"
            self._restarts[key] = entry["restartCount"]


def is_available(pod: Obj, patience: float, now: float) -> bool:
    since = epoch((condition(pod, "Ready") or {}).get("lastTransitionTime"))
    return _active(pod) and is_true(pod, "Ready") and since + patience <= now


def _active(pod: Obj) -> bool:
    return not deleting(pod) and get(pod, "status", "phase") not in ("Succeeded", "Failed")


def _limits(deployment: Obj) -> Limits:
    replicas = get(deployment, "spec", "replicas")
    if get(deployment, "spec", "strategy", "type") == "Recreate":
        return Limits(surge=0, unavailable=replicas)
    chosen = get(deployment, "spec", "strategy", "rollingUpdate", default={})
    return limits(replicas, chosen.get("maxSurge", "25%"), chosen.get("maxUnavailable", "25%"))


def _node_has_room(node: Obj, world: World) -> None:
    allocatable = get(node, "status", "allocatable")
    if allocatable is None:
        return
    pods = [p for p in world.on_node(name(node)) if get(p, "status", "phase") not in ("Succeeded", "Failed")]
    requests = [get(c, "resources", "requests", default={}) for pod in pods for c in pod["spec"]["containers"]]
    assert len(pods) <= int(allocatable["pods"])
    assert sum(milli(request.get("cpu", "0")) for request in requests) <= milli(allocatable["cpu"])
    assert sum(bytes_(request.get("memory", "0")) for request in requests) <= bytes_(allocatable["memory"])


def _machines(machines: Mapping[str, Machine]) -> None:
    """No pod exists twice, neither on one machine nor on two, and no two have one address."""
    pods = [pod for machine in machines.values() for pod in machine.pods.values()]
    twins = [own for own, count in Counter(pod.uid for pod in pods).items() if count > 1]
    assert not twins, f"pods {twins} exist twice"
    shared = [ip for ip, count in Counter(pod.ip for pod in pods).items() if ip and count > 1]
    assert not shared, f"several pods have the address {shared}"
