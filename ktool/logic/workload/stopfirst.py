"""Stop-first rollouts: an old pod must go before its replacement can come, because of host ports or single-writer
volumes.

The Deployment controller, kinds/deployment and logic/workload/stranded call it. Kubernetes starts a surge pod wherever
it may. With a host port that every fitting node has given to an old pod it then waits for ever, and with files that
only one process may write it does harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ktool.api.action import Action, Emit
from ktool.api.marks import SINGLE_WRITER
from ktool.api.obj import Obj, annotations_of, condition, deleting, get, labels, name, uid
from ktool.api.pod import node_of
from ktool.api.ref import NAMESPACE, NODE, POD, Ref
from ktool.api.world import World
from ktool.logic.network.nodefields import answers
from ktool.logic.workload import rollout
from ktool.logic.workload.deploymentstatus import limits, replicas
from ktool.logic.workload.rollout import Limits, Sizes

_NO_FREE_PORTS = "free ports"
"""In the scheduler's words (logic/schedule/filters)."""


def single_writer(workload: Obj) -> bool:
    return annotations_of(workload).get(SINGLE_WRITER) == "true"


def host_ports(spec: Obj) -> set[tuple[int, str]]:
    """The host ports of pods of this spec, with their protocols."""
    return {
        (int(port["hostPort"]), str(port.get("protocol") or "TCP"))
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("hostPort")
    }


def concerns(workload: Obj) -> bool:
    """Whether the order of stopping and starting may matter for the workload's pods."""
    return single_writer(workload) or bool(host_ports(get(workload, "spec", "template", "spec", default={})))


def held_ports(new: Iterable[Obj], old: Sequence[Obj], world: World) -> list[int]:
    """The host ports that old pods of the workload hold and a new pod waits for. Empty while one of the holders
    terminates: there will be room soon."""
    for pod in new:
        if deleting(pod) or (condition(pod, "PodScheduled") or {}).get("status") != "False":
            continue
        wanted = host_ports(get(pod, "spec", default={}))
        holders = [other for other in old if node_of(other) and wanted & host_ports(other["spec"])]
        if any(deleting(other) for other in holders):
            return []
        if holders and _finds_no_port(pod, world):
            return sorted(port for port, _ in wanted & {one for other in holders for one in host_ports(other["spec"])})
    return []


def _finds_no_port(pod: Obj, world: World) -> bool:
    """Ask the scheduler now: the condition it left on the pod may be older than the end of another pod."""
    from ktool.logic import schedule  # every command imports the kinds, and hardly any asks this

    spaces = {name(space): labels(space) for space in world.list(NAMESPACE)}
    found = next(iter(schedule.place([pod], world.list(NODE), world.list(POD), spaces)), None)
    return found is not None and not found.node and _NO_FREE_PORTS in found.message


def _answers(pod: Obj, world: World) -> bool:
    """Whether the pod's node answers: on a silent one nothing ends."""
    node = world.get(Ref(NODE, "", node_of(pod)))
    return node is not None and answers(node)


@dataclass(frozen=True)
class Order:
    """The order of stopping and starting: `ports` of nodes that old pods hold and new ones wait for, and whether the
    volumes have `one_writer`. A rollout with neither follows its strategy alone."""

    ports: Sequence[int] = ()
    one_writer: bool = False

    @staticmethod
    def of(deployment: Obj, new: Obj | None, old: Sequence[Obj], world: World) -> Order:
        if not concerns(deployment):
            return Order()
        coming = world.controlled(uid(new), POD) if new is not None else []
        going = [pod for rs in old for pod in world.controlled(uid(rs), POD) if _answers(pod, world)]
        return Order(held_ports(coming, going, world), single_writer(deployment))

    def step(self, deployment: Obj, new: Sizes, old: Sequence[Sizes]) -> dict[str, int]:
        if get(deployment, "spec", "strategy", "type") == "Recreate":
            return rollout.recreate(replicas(deployment), new, old)
        limit = limits(deployment)
        if self.one_writer:
            new, old = until_gone(new), [until_gone(sizes) for sizes in old]
            limit = one_writer(limit)
        elif self.ports:
            limit = with_room(limit)
        return rollout.rolling_update(replicas(deployment), new, old, limit)

    def told(
        self, deployment: Obj, old: Sequence[Obj], sizes: Mapping[str, Sizes], after: Mapping[str, int]
    ) -> list[Action]:
        """The Event for an old pod that is stopped first because of a port."""
        if not self.ports or all(after[name(rs)] >= sizes[name(rs)].wanted for rs in old):
            return []
        ports = ", ".join(str(port) for port in self.ports)
        message = f"An old pod is stopped first: no other node has host port {ports} free for a new one"
        return [Emit(Ref.of(deployment), "StopFirst", message, uid=uid(deployment))]


def with_room(limit: Limits) -> Limits:
    """Limits with at least one pod unavailable, so that one can stop first."""
    return Limits(limit.surge, max(1, limit.unavailable))


def one_writer(limit: Limits) -> Limits:
    """Limits without surge."""
    return Limits(0, max(1, limit.unavailable))


def until_gone(sizes: Sizes) -> Sizes:
    """Sizes in which a terminating pod still holds its place."""
    return replace(sizes, existing=sizes.existing + sizes.ending)
